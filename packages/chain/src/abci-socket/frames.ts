/** Frames of the ABCI socket protocol: the length of a message as an unsigned varint, then the message. */
import { MalformedError } from '@haca/primitives';

export interface FrameParser {
  /**
   * Takes what arrived and calls `onFrame` with each message that is whole. The message is valid during the call only: it
   * may be a view of `chunk`. Returning false ends the call, and with it the use of the parser. Throws `MalformedError`
   * where a length is above the limit; the parser is of no use after that.
   */
  readonly push: (chunk: Uint8Array, onFrame: (frame: Uint8Array) => boolean) => void;
}

/** More than any length within a limit of 2^32 takes. */
const LENGTH_BYTES_MAX = 5;
const FIRST_CAPACITY_BYTES = 64 * 1024;

export function createFrameParser(frameBytesMax: number): FrameParser {
  let lengthBytes = 0;
  let length = 0;
  let isBody = false;
  /** Of a message that came in pieces, what there is of it. Grows with what arrives, not with what was announced. */
  let body = new Uint8Array(0);
  let received = 0;

  /** Reads the length from `offset`; returns where it stopped. */
  const readLength = (chunk: Uint8Array, from: number): number => {
    let offset = from;
    while (!isBody && offset < chunk.length) {
      const byte = chunk[offset++] as number;
      length += (byte & 0x7f) * 128 ** lengthBytes;
      lengthBytes++;
      if (length > frameBytesMax || (byte >= 0x80 && lengthBytes === LENGTH_BYTES_MAX)) {
        const got = byte >= 0x80 ? 'more' : `${length}`;
        throw new MalformedError('abci-frame.size', '', `a message of at most ${frameBytesMax} bytes`, got);
      }
      isBody = byte < 0x80;
    }
    return offset;
  };

  const keep = (piece: Uint8Array): void => {
    const needed = received + piece.length;
    if (needed > body.length) {
      const capacity = Math.min(length, Math.max(needed, 2 * body.length, FIRST_CAPACITY_BYTES));
      const grown = new Uint8Array(capacity);
      grown.set(body.subarray(0, received));
      body = grown;
    }
    body.set(piece, received);
    received = needed;
  };

  const push = (chunk: Uint8Array, onFrame: (frame: Uint8Array) => boolean): void => {
    let offset = 0;
    for (;;) {
      offset = readLength(chunk, offset);
      if (!isBody) return;
      const missing = length - received;
      if (chunk.length - offset < missing) {
        keep(chunk.subarray(offset));
        return;
      }
      const piece = chunk.subarray(offset, offset + missing);
      offset += missing;
      if (received > 0) keep(piece);
      const frame = received > 0 ? body.subarray(0, length) : piece;
      isBody = false;
      length = 0;
      lengthBytes = 0;
      received = 0;
      body = new Uint8Array(0);
      if (!onFrame(frame)) return;
    }
  };
  return { push };
}
