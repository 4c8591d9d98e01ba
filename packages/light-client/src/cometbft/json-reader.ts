/**
 * Strict reading of parsed JSON from an RPC server: every value is checked for type, range and length before it is used,
 * and each failure is a `MalformedError` that says where. Members nobody asked for are passed over, because versions of
 * CometBFT differ in them; nothing that is not hashed or signed is believed anyway.
 */
import {
  BASE64,
  readBase64 as decodeBase64,
  readHex as decodeHex,
  type HexForm,
  MalformedError,
  toHex,
  writeBase64,
} from '@haca/primitives';

const INTEGER = /^(0|-?[1-9][0-9]{0,18})$/;
const UPPER: HexForm = { digits: 'upper', blanks: 'forbidden' };
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** A value inside a JSON document and where it was found. */
export interface JsonNode {
  readonly value: unknown;
  readonly path: string;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

function show(text: string): string {
  return JSON.stringify(text.length > 48 ? `${text.slice(0, 48)}...` : text);
}

/** A member; `undefined` inside where it is missing. */
export function member({ value, path }: JsonNode, name: string): JsonNode {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('json.type', path, 'an object', kindOf(value));
  }
  const found: unknown = Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
  return { value: found, path: path === '' ? name : `${path}.${name}` };
}

export function isAbsent({ value }: JsonNode): boolean {
  return value === undefined || value === null;
}

export function readList({ value, path }: JsonNode, maxLength: number): readonly JsonNode[] {
  if (!Array.isArray(value)) throw new MalformedError('json.type', path, 'an array', kindOf(value));
  if (value.length > maxLength) {
    throw new MalformedError('json.length', path, `at most ${maxLength} entries`, `${value.length}`);
  }
  return value.map((each: unknown, i) => ({ value: each, path: `${path}[${i}]` }));
}

/** CometBFT writes an empty list as `[]` or as `null`. */
export function readListOrNull(node: JsonNode, maxLength: number): readonly JsonNode[] {
  return isAbsent(node) ? [] : readList(node, maxLength);
}

export function readText({ value, path }: JsonNode, maxChars: number): string {
  if (typeof value !== 'string') throw new MalformedError('json.type', path, 'a string', kindOf(value));
  if (value.length > maxChars) {
    throw new MalformedError('json.length', path, `at most ${maxChars} characters`, `${value.length}`);
  }
  return value;
}

/** A number of JSON itself: an integer between the bounds. */
export function readSmallInteger({ value, path }: JsonNode, min: number, max: number): number {
  if (typeof value !== 'number') throw new MalformedError('json.type', path, 'a number', kindOf(value));
  if (!Number.isInteger(value) || value < min || value > max || Object.is(value, -0)) {
    throw new MalformedError('json.range', path, `an integer from ${min} to ${max}`, `${value}`);
  }
  return value;
}

/** A 64-bit integer, which CometBFT writes as a decimal string. */
export function readInt64(node: JsonNode): bigint {
  const text = readText(node, 20);
  const value = INTEGER.test(text) ? BigInt(text) : undefined;
  if (value === undefined || value < INT64_MIN || value > INT64_MAX) {
    throw new MalformedError('json.int64', node.path, 'a 64-bit integer as a decimal string', show(text));
  }
  return value;
}

/** A 64-bit integer that must be a safe non-negative `number`, e.g. a height. */
export function readHeight(node: JsonNode): number {
  const value = readInt64(node);
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new MalformedError('json.range', node.path, 'a non-negative safe integer', `${value}`);
  }
  return Number(value);
}

/** Upper-case hexadecimal of `sizes` bytes, e.g. [0, 32] for a hash that may be missing. */
export function readHex(node: JsonNode, sizes: readonly number[]): Uint8Array {
  const bytes = readHexUpTo(node, Math.max(...sizes));
  if (!sizes.includes(bytes.length)) {
    throw new MalformedError('json.length', node.path, `${sizes.join(' or ')} bytes`, `${bytes.length}`);
  }
  return bytes;
}

export function readHexUpTo(node: JsonNode, maxBytes: number): Uint8Array {
  return fromUpperHex(readText(node, 2 * maxBytes), node.path);
}

export function readBase64(node: JsonNode, maxBytes: number): Uint8Array {
  const bytes = fromBase64(readText(node, 4 * Math.ceil(maxBytes / 3)), node.path);
  if (bytes.length > maxBytes) {
    throw new MalformedError('json.length', node.path, `at most ${maxBytes} bytes`, `${bytes.length}`);
  }
  return bytes;
}

/** Hexadecimal as CometBFT writes hashes and addresses: upper case. */
export function toUpperHex(bytes: Uint8Array): string {
  return toHex(bytes).toUpperCase();
}

export function fromUpperHex(text: string, path = ''): Uint8Array {
  const reading = decodeHex(text, UPPER);
  if (reading.ok) return reading.bytes;
  throw new MalformedError('hex.format', path, 'pairs of the digits 0-9 and A-F', show(text));
}

/** Base64 with padding (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  return writeBase64(bytes, BASE64);
}

/** Canonical base64 only: padded, no other characters, unused bits zero. */
export function fromBase64(text: string, path = ''): Uint8Array {
  const reading = decodeBase64(text, BASE64);
  if (reading.ok) return reading.bytes;
  throw new MalformedError('base64.format', path, 'canonical padded base64', show(text));
}
