/**
 * A record of every ABCI call, one JSON line each. A request is on file before its method runs, so that after a SIGKILL the
 * file tells what was asked for; what the kill may tear is the last line, and the next process cuts that off.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { MalformedError } from '@haca/primitives';
import { ABCI_METHODS, type AbciMethod } from './requests.ts';

/** What is kept of a call; hashes in lower-case hex. */
export interface CallFacts {
  readonly height?: number;
  /** Hash of the block. */
  readonly hash?: string;
  readonly appHash?: string;
  readonly txs?: number;
  /** How the application decided, or why there is no answer. */
  readonly result?: string;
}

export type CallLogEntry =
  /** This process began to serve. */
  | { readonly event: 'process'; readonly pid: number; readonly timeMs: number }
  /** A new CometBFT process: the first of its connections. */
  | { readonly event: 'peer' }
  | ({
      readonly event: 'request';
      readonly connection: number;
      readonly method: AbciMethod;
    } & CallFacts)
  | ({
      readonly event: 'response';
      readonly connection: number;
      readonly method: AbciMethod | 'exception';
    } & CallFacts);

export interface CallRecorder {
  readonly record: (entry: CallLogEntry) => void;
  /** Hands what was recorded to the operating system. */
  readonly flush: () => void;
}

export interface CallLog extends CallRecorder {
  readonly close: () => void;
}

const BUFFERED_CHARS_MAX = 64 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const LINE_BYTES_MAX = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Opens the log for appending and makes it if need be. A log that cannot be written on (a full disk) says so through `log`
 * once and records nothing more: it is no reason to stop the chain.
 */
export function openCallLog(path: string, log: (line: string) => void = () => undefined): CallLog {
  const file = openSync(path, 'a+');
  const size = wholeLinesOf(file);
  if (size < fstatSync(file).size) ftruncateSync(file, size);
  let pending = '';
  let isBroken = false;

  const flush = (): void => {
    if (pending === '' || isBroken) return;
    const bytes = Buffer.from(pending);
    pending = '';
    try {
      for (let offset = 0; offset < bytes.length; ) offset += writeSync(file, bytes, offset);
    } catch (error) {
      isBroken = true;
      log(`the call log ${path} ends here: ${error instanceof Error ? error.message : error}`);
    }
  };
  const record = (entry: CallLogEntry): void => {
    if (isBroken) return;
    pending += lineOf(entry);
    if (pending.length > BUFFERED_CHARS_MAX) flush();
  };
  const close = (): void => {
    flush();
    closeSync(file);
    isBroken = true;
  };
  record({ event: 'process', pid: process.pid, timeMs: Date.now() });
  flush();
  return { record, flush, close };
}

/** All entries of a log; a torn last line is left out. Throws `MalformedError` where another line is not an entry. */
export function readCallLog(path: string): readonly CallLogEntry[] {
  return [...callLogEntries(path)];
}

/** The same one by one, for logs larger than memory. */
export function* callLogEntries(path: string): Generator<CallLogEntry, void> {
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest: Buffer = Buffer.alloc(0);
    let number = 0;
    for (let count = readSync(file, chunk); count > 0; count = readSync(file, chunk)) {
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)]);
      let start = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
        number++;
        yield parseLine(bytes.toString('utf8', start, end), number);
        start = end + 1;
      }
      rest = bytes.subarray(start);
      if (rest.length > LINE_BYTES_MAX) throw lineError(number + 1, 'a line that does not end');
    }
  } finally {
    closeSync(file);
  }
}

/** Size of the file without a torn last line. */
function wholeLinesOf(file: number): number {
  const { size } = fstatSync(file);
  const tail = Buffer.alloc(Math.min(size, LINE_BYTES_MAX));
  const count = readSync(file, tail, 0, tail.length, size - tail.length);
  const newline = tail.subarray(0, count).lastIndexOf(NEWLINE);
  if (newline >= 0) return size - tail.length + newline + 1;
  if (size < LINE_BYTES_MAX) return 0;
  throw new MalformedError('call-log.line', '', 'lines of JSON', 'something else');
}

function lineOf(entry: CallLogEntry): string {
  if (entry.event === 'process') return `{"process":${entry.pid},"timeMs":${entry.timeMs}}\n`;
  if (entry.event === 'peer') return '{"peer":true}\n';
  const { event, method, connection, ...facts } = entry;
  const key = event === 'request' ? 'q' : 'r';
  return `${JSON.stringify({ [key]: method, c: connection, ...facts })}\n`;
}

function parseLine(line: string, number: number): CallLogEntry {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw lineError(number, quoted(line));
  }
  const entry = typeof json === 'object' && json !== null ? entryOf(json as Record<string, unknown>) : null;
  if (entry === null) throw lineError(number, quoted(line));
  return entry;
}

function entryOf(json: Readonly<Record<string, unknown>>): CallLogEntry | null {
  const { process: pid, timeMs, peer, q, r, c: connection, ...facts } = json;
  if (peer === true) return { event: 'peer' };
  if (isCount(pid) && isCount(timeMs)) return { event: 'process', pid, timeMs };
  if (!isCount(connection) || !isFacts(facts)) return null;
  if (isMethod(q)) return { event: 'request', connection, method: q, ...facts };
  if (isMethod(r) || r === 'exception') return { event: 'response', connection, method: r, ...facts };
  return null;
}

function isFacts(facts: object): facts is CallFacts {
  return Object.entries(facts).every(([name, value]) => {
    if (name === 'height' || name === 'txs') return isCount(value);
    return (name === 'hash' || name === 'appHash' || name === 'result') && typeof value === 'string';
  });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isMethod(value: unknown): value is AbciMethod {
  return (ABCI_METHODS as readonly unknown[]).includes(value);
}

function lineError(number: number, got: string): MalformedError {
  return new MalformedError('call-log.line', `line ${number}`, 'an entry of a call log', got);
}

function quoted(line: string): string {
  return JSON.stringify(line.slice(0, 60));
}
