/** Files of the `evidence` command: bounded, whatever is behind their names. */
import { closeSync, openSync, readdirSync, readSync, realpathSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { COLLATERAL_LIMITS, type CollateralFile } from '@haca/verifier';
import { CommandLineError } from './command.ts';

const CHUNK_BYTES = 64 * 1024;

/** `-` is standard input. Throws `CommandLineError` where it can't be read, or holds more than `maxBytes`. */
export async function readInput(path: string, what: string, maxBytes: number): Promise<Uint8Array> {
  const bytes = path === '-' ? await readStandardInput(maxBytes) : readFileUpTo(path, what, maxBytes);
  if (bytes.length > maxBytes)
    throw new CommandLineError(`${what} ${path} has more than ${maxBytes} bytes, which none needs`);
  return bytes;
}

async function readStandardInput(maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of process.stdin as AsyncIterable<Uint8Array>) {
    parts.push(part);
    length += part.length;
    if (length > maxBytes) break;
  }
  return joined(parts);
}

/** One byte more than `maxBytes` at most: a name may be that of a device without an end. */
function readFileUpTo(path: string, what: string, maxBytes: number): Uint8Array {
  return withReason(path, what, () => {
    const file = openSync(path, 'r');
    try {
      const parts: Uint8Array[] = [];
      let length = 0;
      while (length <= maxBytes) {
        const part = new Uint8Array(Math.min(CHUNK_BYTES, maxBytes + 1 - length));
        const count = readSync(file, part);
        if (count === 0) break;
        parts.push(part.subarray(0, count));
        length += count;
      }
      return joined(parts);
    } finally {
      closeSync(file);
    }
  });
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function withReason<T>(path: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === undefined ? message : (REASONS[code] ?? message);
    throw new CommandLineError(`${what} ${JSON.stringify(path)} can't be read: ${reason}`);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'its name is too long',
};

/** Files and folders, folders with all that is below them but what is hidden, in the order of their names. */
export function readCollateralFiles(paths: readonly string[]): readonly CollateralFile[] {
  const files: CollateralFile[] = [];
  let left = COLLATERAL_LIMITS.bytes;
  const add = (path: string, name: string): void => {
    const bytes = readFileUpTo(path, 'collateral', left);
    left -= bytes.length;
    if (left < 0 || files.length === COLLATERAL_LIMITS.files)
      throw new CommandLineError(
        `collateral of more than ${COLLATERAL_LIMITS.files} files or ${COLLATERAL_LIMITS.bytes} bytes: give a smaller folder`,
      );
    files.push({ name, bytes });
  };
  const seen = new Set<string>();
  for (const path of paths) {
    const isFolder = withReason(path, 'collateral', () => statSync(path).isDirectory());
    if (isFolder) addFolder(path, '', seen, add);
    else add(path, path);
  }
  return files;
}

/** Each folder once, wherever links lead. */
function addFolder(
  folder: string,
  below: string,
  seen: Set<string>,
  add: (path: string, name: string) => void,
): void {
  const real = withReason(folder, 'collateral', () => realpathSync(folder));
  if (seen.has(real)) return;
  seen.add(real);
  const names = withReason(folder, 'collateral', () => readdirSync(folder)).sort();
  for (const name of names.filter((each) => !each.startsWith('.'))) {
    const path = join(folder, name);
    const shown = below === '' ? name : `${below}/${name}`;
    const found = statOrNull(path);
    if (found?.isDirectory() === true) addFolder(path, shown, seen, add);
    else if (found?.isFile() === true) add(path, shown);
  }
}

/** Null for a link that leads nowhere. */
function statOrNull(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** Text of a file that a person wrote: UTF-8, or UTF-16 as some shells redirect it. */
export function textOfFile(bytes: Uint8Array): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe;
  return new TextDecoder(isUtf16 ? 'utf-16le' : 'utf-8').decode(bytes);
}
