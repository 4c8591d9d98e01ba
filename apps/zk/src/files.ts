/** Reading within limits, and writing so that a file is whole or not there. */
import { accessSync, constants, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { MalformedError } from '@haca/primitives';

/** The size is looked at first: nobody waits for a file that is refused. */
export function readFile(path: string, maxBytes: number, code: string): Uint8Array {
  const stat = statSync(path);
  if (stat.size > maxBytes) throw new MalformedError(code, path, `at most ${maxBytes} bytes`, `${stat.size}`);
  return new Uint8Array(readFileSync(path));
}

/** Throws where a file could not be written there, before hours are spent on what would go into it. */
export function checkWritable(path: string): void {
  accessSync(dirname(path), constants.W_OK);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new MalformedError('output.path', path, 'a file', 'a folder');
}

export function writeWhole(path: string, bytes: Uint8Array): void {
  const partial = `${path}.${process.pid}.part`;
  try {
    writeFileSync(partial, bytes);
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
}
