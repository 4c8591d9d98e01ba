/**
 * The node's promise keeper: an append-only file of records, each synced to disk before anything it stands for leaves the
 * node. Records that arrive while a sync runs share the next one.
 *
 * File: 8 bytes `HACAWAL1`, then one frame per sync: u32 length and u32 CRC-32 of what follows (both big-endian), then records,
 * each u32 length and bytes. One sync is one frame, so whatever a crash leaves of an unfinished one, nothing whole stands
 * behind it: a whole frame behind a broken one is damage to data that was synced.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
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
  /** Resolves with the record's place when it, and all before it, are on disk. Order of calls is order on disk. */
  readonly append: (payload: Uint8Array) => Promise<number>;
  /** A record that is on disk, by its place. */
  readonly read: (place: number) => Promise<Uint8Array>;
  /** Set once a write failed; every later append rejects. */
  readonly failure: () => WalFailedError | undefined;
  /** Waits for what was appended. */
  readonly close: () => Promise<void>;
}

/**
 * On Linux a write to a file opened with O_DSYNC returns when its data are on disk, as fdatasync after it would, for one call
 * less. Elsewhere the flag is missing or promises less than the sync that Node calls.
 */
const WRITES_SYNC = process.platform === 'linux';
const APPEND_SYNCED =
  constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | (WRITES_SYNC ? constants.O_DSYNC : 0);

const MAGIC = Buffer.from('HACAWAL1', 'latin1');
const FRAME_HEAD_BYTES = 8;
const RECORD_HEAD_BYTES = 4;
const RECORD_MAX_BYTES = 1 << 20;
/** A frame is written as soon as it holds this much, and so never exceeds it by more than one record. */
const FRAME_FULL_BYTES = 4 << 20;
const FRAME_MAX_BYTES = FRAME_FULL_BYTES + RECORD_HEAD_BYTES + RECORD_MAX_BYTES;

/**
 * Opens or creates a log and shows `take` every record with its place, oldest first. An unfinished frame at the end (the
 * process died while writing) is cut off. Throws `WalCorruptError` where anything else is wrong.
 */
export async function openWriteAheadLog(
  path: string,
  take: (record: Uint8Array, place: number) => void,
): Promise<WriteAheadLog> {
  const file = await open(path, APPEND_SYNCED, 0o600);
  try {
    const sizeBytes = (await file.stat()).size;
    let end = await readFrames(file, sizeBytes, path, take);
    if (end < sizeBytes) await file.truncate(end);
    if (end === 0) {
      await file.appendFile(MAGIC);
      end = MAGIC.length;
    }
    await file.sync();
    await syncFolder(dirname(path));
    return openAppender(file, end);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A new file is not safe before its name is. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Returns where the last whole frame ends; 0 for a file without its mark. */
async function readFrames(
  file: FileHandle,
  sizeBytes: number,
  path: string,
  take: (record: Uint8Array, place: number) => void,
): Promise<number> {
  const mark = await readAt(file, 0, Math.min(sizeBytes, MAGIC.length));
  // Only a crash while creating the file leaves less than its mark; nothing was promised yet.
  if (!MAGIC.subarray(0, mark.length).equals(mark))
    throw new WalCorruptError(`${path} is not a write-ahead log`);
  if (mark.length < MAGIC.length) return 0;
  let offset = MAGIC.length;
  for (;;) {
    const frame = await frameAt(file, offset, sizeBytes);
    if (frame === undefined) break;
    takeRecords(frame, offset + FRAME_HEAD_BYTES, path, take);
    offset += FRAME_HEAD_BYTES + frame.length;
  }
  await checkTail(file, offset, sizeBytes, path);
  return offset;
}

async function frameAt(file: FileHandle, offset: number, sizeBytes: number): Promise<Buffer | undefined> {
  if (offset + FRAME_HEAD_BYTES > sizeBytes) return undefined;
  const head = await readAt(file, offset, FRAME_HEAD_BYTES);
  const length = head.readUInt32BE(0);
  if (!isFrameLength(length, sizeBytes - offset)) return undefined;
  const frame = await readAt(file, offset + FRAME_HEAD_BYTES, length);
  return crc32(frame) === head.readUInt32BE(4) ? frame : undefined;
}

function isFrameLength(length: number, available: number): boolean {
  return length > RECORD_HEAD_BYTES && length <= FRAME_MAX_BYTES && FRAME_HEAD_BYTES + length <= available;
}

/** What a crash leaves is a piece of one frame, with nothing whole behind it. */
async function checkTail(file: FileHandle, offset: number, sizeBytes: number, path: string): Promise<void> {
  const damaged = (): WalCorruptError => new WalCorruptError(`${path} is damaged at byte ${offset}`);
  const length = sizeBytes - offset;
  if (length > FRAME_HEAD_BYTES + FRAME_MAX_BYTES) throw damaged();
  const tail = await readAt(file, offset, length);
  for (let at = 1; at + FRAME_HEAD_BYTES < tail.length; at++) {
    const frameBytes = tail.readUInt32BE(at);
    if (!isFrameLength(frameBytes, tail.length - at)) continue;
    const start = at + FRAME_HEAD_BYTES;
    if (crc32(tail.subarray(start, start + frameBytes)) === tail.readUInt32BE(at + 4)) throw damaged();
  }
}

function takeRecords(
  frame: Buffer,
  place: number,
  path: string,
  take: (record: Uint8Array, place: number) => void,
): void {
  for (let offset = 0; offset < frame.length; ) {
    const length = offset + RECORD_HEAD_BYTES <= frame.length ? frame.readUInt32BE(offset) : 0;
    const start = offset + RECORD_HEAD_BYTES;
    if (length === 0 || start + length > frame.length) {
      throw new WalCorruptError(`${path} has no record at byte ${place + offset}`);
    }
    take(new Uint8Array(frame.subarray(start, start + length)), place + offset);
    offset = start + length;
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new WalCorruptError(`the log ends at byte ${position + done}`);
    done += bytesRead;
  }
  return bytes;
}

interface Pending {
  readonly payload: Uint8Array;
  readonly settle: (place: number) => void;
  readonly fail: (error: Error) => void;
}

function openAppender(file: FileHandle, sizeBytes: number): WriteAheadLog {
  const queue: Pending[] = [];
  let end = sizeBytes;
  let running: Promise<void> | undefined;
  let failure: WalFailedError | undefined;

  const writeOne = async (): Promise<void> => {
    const batch = takeFrame(queue);
    try {
      const frame = frameOf(batch);
      await writeSynced(file, frame);
      let place = end + FRAME_HEAD_BYTES;
      end += frame.length;
      for (const { settle, payload } of batch) {
        settle(place);
        place += RECORD_HEAD_BYTES + payload.length;
      }
    } catch (cause) {
      failure = new WalFailedError('the write-ahead log could not be written', { cause });
      for (const { fail } of [...batch, ...queue.splice(0)]) fail(failure);
    }
  };
  const flush = async (): Promise<void> => {
    while (queue.length > 0) await writeOne();
    running = undefined;
  };

  return {
    append: (payload) => {
      if (failure !== undefined) return Promise.reject(failure);
      if (payload.length === 0 || payload.length > RECORD_MAX_BYTES) {
        return Promise.reject(new RangeError(`a record of ${payload.length} bytes`));
      }
      const durable = new Promise<number>((settle, fail) => {
        queue.push({ payload, settle, fail });
      });
      running ??= flush();
      return durable;
    },
    read: async (place) => {
      const length = (await readAt(file, place, RECORD_HEAD_BYTES)).readUInt32BE(0);
      if (length === 0 || length > RECORD_MAX_BYTES) throw new WalCorruptError(`no record at byte ${place}`);
      return new Uint8Array(await readAt(file, place + RECORD_HEAD_BYTES, length));
    },
    failure: () => failure,
    close: async () => {
      await running;
      failure ??= new WalFailedError('the write-ahead log is closed');
      await file.close();
    },
  };
}

/** Resolves when the bytes are on disk. */
async function writeSynced(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten;
  }
  if (!WRITES_SYNC) await file.datasync();
}

function takeFrame(queue: Pending[]): Pending[] {
  let count = 0;
  for (let sizeBytes = 0; count < queue.length && sizeBytes < FRAME_FULL_BYTES; count++) {
    sizeBytes += RECORD_HEAD_BYTES + (queue[count] as Pending).payload.length;
  }
  return queue.splice(0, count);
}

function frameOf(batch: readonly Pending[]): Buffer {
  const sizeBytes = batch.reduce((sum, { payload }) => sum + RECORD_HEAD_BYTES + payload.length, 0);
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + sizeBytes);
  let offset = FRAME_HEAD_BYTES;
  for (const { payload } of batch) {
    frame.writeUInt32BE(payload.length, offset);
    frame.set(payload, offset + RECORD_HEAD_BYTES);
    offset += RECORD_HEAD_BYTES + payload.length;
  }
  frame.writeUInt32BE(sizeBytes, 0);
  frame.writeUInt32BE(crc32(frame.subarray(FRAME_HEAD_BYTES)), 4);
  return frame;
}
