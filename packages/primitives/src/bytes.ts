import { MalformedError } from './errors.ts';

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Equality of public values; not constant-time, never for secrets. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Bytewise lexicographic order, a prefix before its extensions: the one order used wherever bytes are sorted. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

// The two encoders exist in every runtime this code is meant for, but belong to no ECMAScript library.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
  label: string,
  options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string };

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of well-formed text; throws `MalformedError` on a lone surrogate, which UTF-8 can't carry. */
export function utf8Encode(text: string, path = ''): Uint8Array {
  if (!text.isWellFormed())
    throw new MalformedError('utf8.surrogate', path, 'well-formed Unicode', 'a lone surrogate');
  return utf8Encoder.encode(text);
}

/** Strict UTF-8: throws `MalformedError` on overlong forms, surrogates and truncation; keeps a byte order mark. */
export function utf8Decode(bytes: Uint8Array, path = ''): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch {
    throw new MalformedError('utf8.invalid', path, 'valid UTF-8', `${bytes.length} bytes that are not`);
  }
}
