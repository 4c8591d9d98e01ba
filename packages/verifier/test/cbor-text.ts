/** CBOR by hand, so that a test can write what no encoder would. */
import { concatBytes, fromHex, utf8Encode } from '@haca/primitives';

function head(major: number, value: number): Uint8Array {
  if (value < 24) return Uint8Array.of((major << 5) | value);
  if (value < 256) return Uint8Array.of((major << 5) | 24, value);
  return Uint8Array.of((major << 5) | 25, value >> 8, value & 0xff);
}

export const raw = fromHex;
export const NULL = raw('f6');

export function byteString(bytes: Uint8Array): Uint8Array {
  return concatBytes(head(2, bytes.length), bytes);
}

export function textString(text: string): Uint8Array {
  const bytes = utf8Encode(text);
  return concatBytes(head(3, bytes.length), bytes);
}

export function smallUint(value: number): Uint8Array {
  return head(0, value);
}

export function array(...items: readonly Uint8Array[]): Uint8Array {
  return concatBytes(head(4, items.length), ...items);
}

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

export function map(...entries: readonly Entry[]): Uint8Array {
  return concatBytes(head(5, entries.length), ...entries.flat());
}

export function indefiniteArray(...items: readonly Uint8Array[]): Uint8Array {
  return concatBytes(raw('9f'), ...items, raw('ff'));
}

export function indefiniteMap(...entries: readonly Entry[]): Uint8Array {
  return concatBytes(raw('bf'), ...entries.flat(), raw('ff'));
}
