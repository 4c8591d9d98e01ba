import { MalformedError } from '@haca/primitives';

/** Reads fields one after another. Throws `MalformedError` with a code that begins with `azure.` */
export interface ByteReader {
  /** A view of the input. */
  readonly take: (length: number, name: string) => Uint8Array;
  /** An unsigned integer of at most 6 bytes. */
  readonly big: (width: number, name: string) => number;
  readonly little: (width: number, name: string) => number;
  /** A field of one possible value. */
  readonly expect: (value: number, got: number, name: string) => void;
  readonly zeros: (length: number, name: string) => void;
  /** Throws unless every byte was read. */
  readonly end: () => void;
}

export function openByteReader(bytes: Uint8Array, path: string): ByteReader {
  let offset = 0;
  const fail = (code: string, name: string, expected: string, got: string): never => {
    throw new MalformedError(code, name === '' ? path : `${path}.${name}`, expected, got);
  };
  const take = (length: number, name: string): Uint8Array => {
    const left = bytes.length - offset;
    if (length > left) fail('azure.truncated', name, `${length} bytes`, `${left}`);
    offset += length;
    return bytes.subarray(offset - length, offset);
  };
  return {
    take,
    big: (width, name) => take(width, name).reduce((value, byte) => value * 256 + byte, 0),
    little: (width, name) => take(width, name).reduceRight((value, byte) => value * 256 + byte, 0),
    expect: (value, got, name) => {
      if (got !== value) fail('azure.value', name, `${value}`, `${got}`);
    },
    zeros: (length, name) => {
      if (take(length, name).some((byte) => byte !== 0)) fail('azure.reserved', name, 'zero bytes', 'others');
    },
    end: () => {
      const left = bytes.length - offset;
      if (left !== 0) fail('azure.trailing-bytes', '', 'the end', `${left} more bytes`);
    },
  };
}
