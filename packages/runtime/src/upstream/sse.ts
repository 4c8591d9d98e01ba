import { EngineError } from '../engine.ts';

/** Incremental reader of `text/event-stream` (WHATWG HTML 9.2.6), for events whose only field of interest is `data`. */
export interface SseReader {
  /** Throws `EngineError` if a line or event is over the limit. */
  readonly push: (chunk: Uint8Array) => void;
  /** End of the stream. An event that lacks only its blank line counts. */
  readonly finish: () => void;
}

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const DATA = [0x64, 0x61, 0x74, 0x61];
const FIRST_BUFFER_BYTES = 4096;

/**
 * Lines end with LF, CR or CRLF, wherever the chunks are cut. Comments and other fields are passed over; several `data` lines
 * of one event are joined by LF. Neither a line nor the data of an event may exceed `maxEventBytes`.
 */
export function createSseReader(onData: (data: string) => void, maxEventBytes: number): SseReader {
  let partial = new Uint8Array(0);
  let partialLength = 0;
  let afterCr = false;
  let atStart = true;
  let data: string | undefined;
  let dataBytes = 0;

  const tooLong = (what: string): EngineError =>
    new EngineError('E_ENGINE', `the upstream server sent ${what} of more than ${maxEventBytes} bytes`);
  const keep = (bytes: Uint8Array): void => {
    const length = partialLength + bytes.length;
    if (length > maxEventBytes) throw tooLong('a line');
    if (length > partial.length) {
      const larger = new Uint8Array(Math.max(length, 2 * partial.length, FIRST_BUFFER_BYTES));
      larger.set(partial.subarray(0, partialLength));
      partial = larger;
    }
    partial.set(bytes, partialLength);
    partialLength = length;
  };
  const dispatch = (): void => {
    if (data === undefined) return;
    const complete = data;
    data = undefined;
    dataBytes = 0;
    onData(complete);
  };
  const takeLine = (bytes: Uint8Array, from: number, to: number): void => {
    let start = from;
    if (atStart) {
      atStart = false;
      // A byte order mark may open the stream.
      if (bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf) start += 3;
    }
    if (start >= to) {
      dispatch();
      return;
    }
    const valueAt = dataValueStart(bytes, start, to);
    if (valueAt < 0) return;
    dataBytes += to - valueAt + 1;
    if (dataBytes > maxEventBytes) throw tooLong('an event');
    const value = decodeUtf8(bytes, valueAt, to);
    data = data === undefined ? value : `${data}\n${value}`;
  };
  const endLine = (bytes: Uint8Array, from: number, to: number): void => {
    if (partialLength === 0) {
      if (to - from > maxEventBytes) throw tooLong('a line');
      takeLine(bytes, from, to);
      return;
    }
    keep(bytes.subarray(from, to));
    const length = partialLength;
    partialLength = 0;
    takeLine(partial, 0, length);
  };
  return {
    push: (chunk) => {
      let from = 0;
      if (afterCr && chunk.length > 0) {
        afterCr = false;
        if (chunk[0] === LF) from = 1;
      }
      for (let at = from; at < chunk.length; at++) {
        const byte = chunk[at];
        if (byte !== LF && byte !== CR) continue;
        endLine(chunk, from, at);
        if (byte === CR) {
          if (at + 1 === chunk.length) afterCr = true;
          else if (chunk[at + 1] === LF) at++;
        }
        from = at + 1;
      }
      if (from < chunk.length) keep(chunk.subarray(from));
    },
    finish: () => {
      if (partialLength > 0) endLine(partial, 0, 0);
      dispatch();
    },
  };
}

/** Where the value of a `data` line begins, or -1 if the line is a comment or another field. */
function dataValueStart(bytes: Uint8Array, from: number, to: number): number {
  for (let i = 0; i < DATA.length; i++) if (bytes[from + i] !== DATA[i] || from + i >= to) return -1;
  const at = from + DATA.length;
  if (at === to) return at;
  if (bytes[at] !== COLON) return -1;
  return at + 1 < to && bytes[at + 1] === SPACE ? at + 2 : at + 1;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Bytes that are no UTF-8 become U+FFFD, as the format demands. */
function decodeUtf8(bytes: Uint8Array, from: number, to: number): string {
  return decoder.decode(bytes.subarray(from, to));
}
