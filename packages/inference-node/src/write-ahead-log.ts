/**
 * The node's promise keeper: an append-only file of records, each synced to disk before anything it stands for leaves the
 * node. Records that arrive while a sync runs share the next one.
 *
 * File: 8 bytes `HACAWAL1`, then one frame per sync: u32 length and u32 CRC-32 of what follows (both big-endian), then records,
 * each u32 length and bytes. One sync is one frame, so whatever a crash leaves of an unfinished one, nothing whole stands
 * behind it: a whole frame behind a broken one is damage to data that was synced.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/** The log on disk is damaged in its middle: nothing may be signed on top of it. Restore the file, or retire the key. */
export class WalCorruptError extends Error {
  override readonly name = 'WalCorruptError';
}

/** The disk refused a write: the node takes no new work until it is started again on a healthy disk. */
export class WalFailedError extends Error {
  override readonly name = 'WalFailedError';
}

export interface WriteAheadLog {
  /** Resolves when the record, and all before it, are on disk. Order of calls is order on disk. */
  readonly append: (payload: Uint8Array) => Promise<void>;
  /** Set once a write failed; every later append rejects. */
  readonly failure: () => WalFailedError | undefined;
  readonly close: () => Promise<void>;
}

const MAGIC = Buffer.from('HACAWAL1', 'latin1');
const FRAME_HEAD_BYTES = 8;
const RECORD_MAX_BYTES = 1 << 20;
const FRAME_MAX_BYTES = 64 << 20;

/** Opens or creates a log; returns its records. A torn last record (the process died while writing) is cut off. */
export async function openWriteAheadLog(
  path: string,
): Promise<{ readonly log: WriteAheadLog; readonly records: readonly Uint8Array[] }> {
  const file = await open(path, 'a+', 0o600);
  const bytes = await file.readFile();
  const { records, validBytes } = parseRecords(bytes, path);
  if (validBytes < bytes.length) await file.truncate(validBytes);
  if (validBytes === 0) await file.appendFile(MAGIC);
  await file.datasync();
  return { log: openAppender(file), records };
}

function parseRecords(bytes: Buffer, path: string): { records: Uint8Array[]; validBytes: number } {
  const records: Uint8Array[] = [];
  if (bytes.length < MAGIC.length) {
    // Only a crash while creating the file leaves less than its mark; nothing was promised yet.
    if (!MAGIC.subarray(0, bytes.length).equals(bytes))
      throw new WalCorruptError(`${path} is not a write-ahead log`);
    return { records, validBytes: 0 };
  }
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new WalCorruptError(`${path} is not a write-ahead log`);
  let offset = MAGIC.length;
  for (;;) {
    const payload = frameAt(bytes, offset);
    if (payload === undefined) break;
    records.push(...recordsOf(payload));
    offset += FRAME_HEAD_BYTES + payload.length;
  }
  for (let at = offset + 1; at + FRAME_HEAD_BYTES < bytes.length; at++) {
    if (frameAt(bytes, at) !== undefined) throw new WalCorruptError(`${path} is damaged at byte ${offset}`);
  }
  return { records, validBytes: offset };
}

function frameAt(bytes: Buffer, offset: number): Buffer | undefined {
  if (offset + FRAME_HEAD_BYTES > bytes.length) return undefined;
  const length = bytes.readUInt32BE(offset);
  const start = offset + FRAME_HEAD_BYTES;
  if (length === 0 || length > FRAME_MAX_BYTES || start + length > bytes.length) return undefined;
  const payload = bytes.subarray(start, start + length);
  return crc32(payload) === bytes.readUInt32BE(offset + 4) ? payload : undefined;
}

function* recordsOf(frame: Buffer): Generator<Uint8Array> {
  for (let offset = 0; offset < frame.length; ) {
    const length = frame.readUInt32BE(offset);
    yield new Uint8Array(frame.subarray(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
}

interface Waiter {
  readonly settle: () => void;
  readonly fail: (error: Error) => void;
}

function openAppender(file: FileHandle): WriteAheadLog {
  let records: Uint8Array[] = [];
  let sizeBytes = 0;
  let waiters: Waiter[] = [];
  let running: Promise<void> | undefined;
  let failure: WalFailedError | undefined;

  const flush = async (): Promise<void> => {
    while (records.length > 0 && failure === undefined) {
      const frame = frameOf(records, sizeBytes);
      const waiting = waiters;
      records = [];
      sizeBytes = 0;
      waiters = [];
      try {
        await file.appendFile(frame);
        await file.datasync();
        for (const { settle } of waiting) settle();
      } catch (cause) {
        failure = new WalFailedError('the write-ahead log could not be written', { cause });
        for (const { fail } of [...waiting, ...waiters]) fail(failure);
        waiters = [];
        records = [];
      }
    }
    running = undefined;
  };

  return {
    append: (payload) => {
      if (failure !== undefined) return Promise.reject(failure);
      if (payload.length === 0 || payload.length > RECORD_MAX_BYTES) {
        return Promise.reject(new RangeError(`a record of ${payload.length} bytes`));
      }
      records.push(payload);
      sizeBytes += 4 + payload.length;
      const durable = new Promise<void>((settle, fail) => {
        waiters.push({ settle, fail });
      });
      running ??= flush();
      return durable;
    },
    failure: () => failure,
    close: async () => {
      await running;
      await file.close();
    },
  };
}

function frameOf(records: readonly Uint8Array[], sizeBytes: number): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + sizeBytes);
  let offset = FRAME_HEAD_BYTES;
  for (const record of records) {
    frame.writeUInt32BE(record.length, offset);
    frame.set(record, offset + 4);
    offset += 4 + record.length;
  }
  frame.writeUInt32BE(sizeBytes, 0);
  frame.writeUInt32BE(crc32(frame.subarray(FRAME_HEAD_BYTES)), 4);
  return frame;
}
