/**
 * JSON as Intel signs it: compact, printable ASCII without escapes, every key once. Any other spelling of the same value is
 * malformed, so two readers never see different things in one text. Members that are not asked for are ignored, as Intel adds
 * some from time to time.
 */
import { fromHex, MalformedError } from '@haca/primitives';
import { parseGeneralizedTime } from '../../der/time.ts';

const DEPTH_MAX = 12;
export const JSON_TEXT_MAX = 256;
const ARRAY_MAX = 256;

/** Reads one object and its members; every function throws `MalformedError` with the path of what it read. */
export interface JsonObject {
  readonly path: string;
  readonly has: (name: string) => boolean;
  readonly text: (name: string) => string;
  readonly oneOf: <const T extends string>(name: string, ...values: readonly T[]) => T;
  readonly uint: (name: string, max: number) => number;
  /** Hexadecimal of either case. */
  readonly hex: (name: string, bytes: number) => Uint8Array;
  /** `YYYY-MM-DDTHH:MM:SSZ`, as Unix milliseconds. */
  readonly time: (name: string) => number;
  readonly object: (name: string) => JsonObject;
  /** One element at least unless `minLength` says otherwise. */
  readonly objects: (name: string, minLength?: number) => readonly JsonObject[];
  readonly texts: (name: string) => readonly string[];
  readonly fail: (code: string, name: string, expected: string, got: string) => never;
}

/** Throws `MalformedError`. */
export function parseStrictJson(body: Uint8Array, path: string): JsonObject {
  const text = scan(body, path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new MalformedError('json.malformed', path, 'JSON', 'another text');
  }
  // Writing the value again gives another text for a repeated key, white space, `1e2`, `-0` and every other second spelling.
  if (JSON.stringify(value) !== text)
    throw new MalformedError(
      'json.not-canonical',
      path,
      'compact JSON with every key once',
      'another spelling',
    );
  return objectOf(value, path);
}

/** One pass over the bytes that bounds what `JSON.parse` is given. */
function scan(body: Uint8Array, path: string): string {
  let depth = 0;
  let isInText = false;
  let text = '';
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number;
    if (byte < 0x20 || byte > 0x7e || byte === 0x5c)
      throw new MalformedError(
        'json.character',
        `${path}@${at}`,
        'printable ASCII, no escapes',
        `byte ${byte}`,
      );
    if (byte === 0x22) isInText = !isInText;
    else if (!isInText && (byte === 0x7b || byte === 0x5b)) depth++;
    else if (!isInText && (byte === 0x7d || byte === 0x5d)) depth--;
    if (depth > DEPTH_MAX)
      throw new MalformedError('json.depth', path, `at most ${DEPTH_MAX} levels`, 'more');
  }
  for (let at = 0; at < body.length; at += 4096) text += String.fromCharCode(...body.subarray(at, at + 4096));
  return text;
}

function objectOf(value: unknown, path: string): JsonObject {
  const fail = (code: string, name: string, expected: string, got: string): never => {
    throw new MalformedError(code, name === '' ? path : `${path}.${name}`, expected, got);
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail('json.type', '', 'an object', kindOf(value));
  const members = value as Readonly<Record<string, unknown>>;
  const has = (name: string): boolean => Object.hasOwn(members, name);
  const member = (name: string): unknown =>
    has(name) ? members[name] : fail('json.missing', name, 'a member', 'none');
  const text = (name: string): string => {
    const got = member(name);
    if (typeof got !== 'string') return fail('json.type', name, 'a string', kindOf(got));
    if (got.length > JSON_TEXT_MAX)
      return fail('json.length', name, `at most ${JSON_TEXT_MAX} characters`, `${got.length}`);
    return got;
  };
  const array = (name: string, minLength: number): readonly unknown[] => {
    const got = member(name);
    if (!Array.isArray(got)) return fail('json.type', name, 'an array', kindOf(got));
    if (got.length < minLength || got.length > ARRAY_MAX)
      return fail('json.length', name, `${minLength} to ${ARRAY_MAX} elements`, `${got.length}`);
    return got;
  };
  return {
    path,
    has,
    text,
    oneOf: (name, ...values) => {
      const got = text(name);
      const found = values.find((each) => each === got);
      return found ?? fail('json.value', name, values.join(' | '), JSON.stringify(got));
    },
    uint: (name, max) => {
      const got = member(name);
      if (typeof got !== 'number' || !Number.isSafeInteger(got) || got < 0 || got > max)
        return fail('json.number', name, `an integer from 0 to ${max}`, kindOf(got));
      return got;
    },
    hex: (name, bytes) => hexOf(text(name), bytes, `${path}.${name}`),
    time: (name) => timeOf(text(name), `${path}.${name}`),
    object: (name) => objectOf(member(name), `${path}.${name}`),
    objects: (name, minLength = 1) =>
      array(name, minLength).map((each, i) => objectOf(each, `${path}.${name}.${i}`)),
    texts: (name) =>
      array(name, 0).map((each) =>
        typeof each === 'string' && each.length <= JSON_TEXT_MAX
          ? each
          : fail('json.type', name, 'strings', kindOf(each)),
      ),
    fail,
  };
}

function kindOf(value: unknown): string {
  if (typeof value === 'number') return `${value}`;
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

function hexOf(text: string, bytes: number, path: string): Uint8Array {
  if (text.length !== 2 * bytes)
    throw new MalformedError('json.hex', path, `${2 * bytes} digits`, `${text.length} characters`);
  return fromHex(text.toLowerCase(), path);
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z$/;

function timeOf(text: string, path: string): number {
  const digits = TIME.exec(text)?.slice(1).join('');
  const ms =
    digits === undefined
      ? null
      : parseGeneralizedTime(Uint8Array.from(`${digits}Z`, (character) => character.charCodeAt(0)));
  if (ms === null)
    throw new MalformedError('json.time', path, 'YYYY-MM-DDTHH:MM:SSZ', JSON.stringify(text.slice(0, 40)));
  return ms;
}
