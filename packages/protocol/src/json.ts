import { toHex } from '@haca/primitives';

/**
 * The JSON view of any protocol object: amounts (`bigint`) as decimal strings, bytes as lower-case hex, maps of pairs as
 * they are. For people and tools; nothing is ever hashed or signed in this form.
 */
export function toJsonView(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(toJsonView);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toJsonView(member)]));
  }
  return value;
}
