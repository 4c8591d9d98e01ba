/** A kernel for tests: configfs-tsm entries that behave as the kernel documentation says. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { nodeTsmFiles, type TsmFiles } from '../src/index.ts';

export interface FakeGuest {
  readonly provider: string;
  readonly outblob: (inblob: Uint8Array, privlevel: number | null) => Uint8Array;
  /** Undefined: the entry has no such attribute. */
  readonly auxblob?: Uint8Array;
  readonly hasPrivlevel?: boolean;
  /** Error codes that reading `outblob` gives before it works. */
  readonly failures?: string[];
  /** Runs between the request and the reading of the report. */
  readonly meddle?: (entry: FakeEntry) => void;
}

export interface FakeEntry {
  inblob: Uint8Array;
  privlevel: number | null;
  generation: number;
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as a kernel says it`), { code });
}

export interface FakeTsm {
  readonly files: TsmFiles;
  readonly root: string;
  /** Entries that are there now. */
  readonly entries: () => readonly string[];
}

/** In memory. */
export function memoryTsm(guest: FakeGuest): FakeTsm {
  const entries = new Map<string, FakeEntry>();
  const entryAt = (path: string): FakeEntry => {
    const entry = entries.get(dirname(path));
    if (entry === undefined) throw systemError('ENOENT');
    return entry;
  };
  const files: TsmFiles = {
    makeFolder: async (path) => {
      if (entries.has(path)) throw systemError('EEXIST');
      entries.set(path, { inblob: new Uint8Array(0), privlevel: null, generation: 0 });
    },
    removeFolder: async (path) => {
      if (!entries.delete(path)) throw systemError('ENOENT');
    },
    write: async (path, bytes) => {
      const entry = entryAt(path);
      const name = basename(path);
      if (name === 'inblob') entry.inblob = bytes.slice();
      else if (name === 'privlevel' && guest.hasPrivlevel)
        entry.privlevel = Number(Buffer.from(bytes).toString());
      else throw systemError('ENOENT');
      entry.generation++;
    },
    read: async (path) => {
      const entry = entryAt(path);
      const name = basename(path);
      if (name === 'provider') return Buffer.from(`${guest.provider}\n`);
      if (name === 'generation') return Buffer.from(`${entry.generation}\n`);
      if (name === 'auxblob' && guest.auxblob !== undefined) return guest.auxblob;
      if (name !== 'outblob') throw systemError('ENOENT');
      const failure = guest.failures?.shift();
      if (failure !== undefined) throw systemError(failure);
      guest.meddle?.(entry);
      return guest.outblob(entry.inblob, entry.privlevel);
    },
  };
  return { files, root: '/config', entries: () => [...entries.keys()] };
}

/** In a folder: the real file operations, and files that change after each of them as the kernel's would. */
export function folderTsm(guest: FakeGuest): FakeTsm & { readonly remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), 'haca-tsm-'));
  const generationOf = (entry: string): number => Number(readFileSync(join(entry, 'generation'), 'utf8'));
  const files: TsmFiles = {
    ...nodeTsmFiles,
    makeFolder: async (path) => {
      await nodeTsmFiles.makeFolder(path);
      writeFileSync(join(path, 'provider'), `${guest.provider}\n`);
      writeFileSync(join(path, 'generation'), '0\n');
      writeFileSync(join(path, 'inblob'), '');
      writeFileSync(join(path, 'outblob'), '');
      if (guest.auxblob !== undefined) writeFileSync(join(path, 'auxblob'), guest.auxblob);
    },
    write: async (path, bytes) => {
      await nodeTsmFiles.write(path, bytes);
      const entry = dirname(path);
      writeFileSync(join(entry, 'generation'), `${generationOf(entry) + 1}\n`);
      const inblob = new Uint8Array(readFileSync(join(entry, 'inblob')));
      writeFileSync(join(entry, 'outblob'), guest.outblob(inblob, null));
    },
    removeFolder: async (path) => {
      // The kernel takes the attributes away with the entry.
      for (const name of readdirSync(path)) rmSync(join(path, name));
      await nodeTsmFiles.removeFolder(path);
    },
  };
  return {
    files,
    root,
    entries: () => readdirSync(root),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-attester-'));
  mkdirSync(folder, { recursive: true });
  return folder;
}
