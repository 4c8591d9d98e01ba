/**
 * The file operations that configfs-tsm takes. Its attributes are files with behaviour: what `stat` says of their size is not so,
 * each write is one message, and what is read comes from the firmware.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rmdir } from 'node:fs/promises';
import { concatBytes } from '@haca/primitives';
import { AttesterError } from './attester.ts';

/** Errors are those of the operating system, with their `code`. */
export interface TsmFiles {
  readonly makeFolder: (path: string) => Promise<void>;
  readonly removeFolder: (path: string) => Promise<void>;
  /** One write of all bytes, then close: the kernel takes a binary attribute when it is closed. */
  readonly write: (path: string, bytes: Uint8Array) => Promise<void>;
  /** To the end. Throws `AttesterError` where that is more than `maxBytes`. */
  readonly read: (path: string, maxBytes: number) => Promise<Uint8Array>;
}

export const nodeTsmFiles: TsmFiles = {
  makeFolder: async (path) => {
    await mkdir(path);
  },
  removeFolder: rmdir,
  write: async (path, bytes) => {
    // Attributes that can only be written refuse to be opened for reading too.
    const file = await open(path, constants.O_WRONLY);
    try {
      await file.write(bytes, 0, bytes.length);
    } finally {
      await file.close();
    }
  },
  read: async (path, maxBytes) => {
    const file = await open(path, 'r');
    try {
      return await readToEnd(file, path, maxBytes);
    } finally {
      await file.close();
    }
  },
};

async function readToEnd(file: FileHandle, path: string, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(maxBytes + 1 - length), 0);
    if (bytesRead === 0) return concatBytes(...chunks);
    chunks.push(buffer.subarray(0, bytesRead));
    length += bytesRead;
    if (length > maxBytes)
      throw new AttesterError('attester.malformed', `${path} has more than ${maxBytes} bytes`);
  }
}
