/** Reading JSON that somebody else wrote: every accessor names the place and throws `MalformedError`. */
import { fromHex, MalformedError } from '@haca/primitives';

export type JsonObject = Readonly<Record<string, unknown>>;

export function asObject(value: unknown, path: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(path, 'an object', value);
  return value as JsonObject;
}

export function asArray(value: unknown, path: string, maxLength: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > maxLength)
    throw bad(path, `a list of at most ${maxLength}`, value);
  return value;
}

export function asText(value: unknown, path: string, maxLength = 1024): string {
  if (typeof value !== 'string' || value.length > maxLength) {
    throw bad(path, `text of at most ${maxLength} characters`, value);
  }
  return value;
}

export function asTextOrNull(value: unknown, path: string, maxLength = 1024): string | null {
  return value === null || value === undefined ? null : asText(value, path, maxLength);
}

export function asInteger(value: unknown, path: string): number {
  const number = typeof value === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) {
    throw bad(path, 'a non-negative integer', value);
  }
  return number;
}

export function asAmount(value: unknown, path: string): bigint {
  const text = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? `${value}` : value;
  if (typeof text !== 'string' || !/^(0|[1-9][0-9]{0,19})$/.test(text)) throw bad(path, 'an amount', value);
  return BigInt(text);
}

export function asHex(value: unknown, path: string, sizeBytes: number): Uint8Array {
  if (typeof value !== 'string' || value.length !== 2 * sizeBytes) {
    throw bad(path, `${sizeBytes} bytes as hex`, value);
  }
  return fromHex(value, path);
}

export function bad(path: string, expected: string, got: unknown): MalformedError {
  const shown =
    typeof got === 'string' ? JSON.stringify(got.slice(0, 80)) : got === null ? 'null' : typeof got;
  return new MalformedError('json.shape', path, expected, shown);
}

/** Parses JSON text; what is not JSON is a `MalformedError` too. */
export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad(path, 'JSON', text);
  }
}
