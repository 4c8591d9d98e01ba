import { MalformedError } from '@haca/primitives';

/** Reads fields of fixed width, little-endian, one after another. Throws `MalformedError` where the input ends too early. */
export interface ByteCursor {
  readonly take: (length: number, name: string) => Uint8Array;
  readonly u16: (name: string) => number;
  readonly u32: (name: string) => number;
  /** A field that must be zero. */
  readonly zeros: (length: number, name: string) => void;
  /** How many bytes were read. */
  readonly offset: () => number;
  readonly fail: (code: string, name: string, expected: string, got: string) => never;
  /** Throws unless every byte was read. */
  readonly end: () => void;
}

export function openByteCursor(bytes: Uint8Array, path: string): ByteCursor {
  let offset = 0;
  const fail = (code: string, name: string, expected: string, got: string): never => {
    throw new MalformedError(code, name === '' ? path : `${path}.${name}`, expected, got);
  };
  const take = (length: number, name: string): Uint8Array => {
    const left = bytes.length - offset;
    if (length > left) fail('quote.truncated', name, `${length} bytes`, `${left}`);
    offset += length;
    return bytes.subarray(offset - length, offset);
  };
  const little = (width: number, name: string): number =>
    take(width, name).reduceRight((value, byte) => value * 256 + byte, 0);
  return {
    take,
    u16: (name) => little(2, name),
    u32: (name) => little(4, name),
    zeros: (length, name) => {
      if (take(length, name).some((byte) => byte !== 0)) fail('quote.reserved', name, 'zero bytes', 'others');
    },
    offset: () => offset,
    fail,
    end: () => {
      const left = bytes.length - offset;
      if (left !== 0) fail('quote.trailing-bytes', '', 'the end', `${left} more bytes`);
    },
  };
}
