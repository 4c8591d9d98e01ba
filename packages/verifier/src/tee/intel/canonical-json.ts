/**
 * JSON as Intel signs it: compact, printable ASCII without escapes, every key once. Any other spelling of the same value is
 * malformed, so two readers never see different things in one text. Members that are not asked for are ignored, as Intel adds
 * some from time to time.
 */
import { fromHex, MalformedError, utf8Decode } from '@haca/primitives';
import { COLLATERAL_MAX_BYTES } from '@haca/protocol';
import { parseGeneralizedTime } from '../../der/time.ts';

const DEPTH_MAX = 12;
const TEXT_MAX = 256;
const ARRAY_MAX = 256;

/** An object of the text; `path` is where it stands. The functions below read its members and throw `MalformedError`. */
export interface JsonObject {
  readonly path: string;
  readonly members: Readonly<Record<string, unknown>>;
}

/** Parses a text that is one object; throws `MalformedError`. */
export function parseCanonicalJson(body: Uint8Array, path: string): JsonObject {
  if (body.length > COLLATERAL_MAX_BYTES)
    throw new MalformedError(
      'json.too-large',
      path,
      `at most ${COLLATERAL_MAX_BYTES} bytes`,
      `${body.length}`,
    );
  const text = utf8Decode(body, path);
  assertBounded(text, path);
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

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Bounds what `JSON.parse` is given: characters and depth. */
function assertBounded(text: string, path: string): void {
  let depth = 0;
  let isInText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e || code === BACKSLASH)
      throw new MalformedError('json.character', path, 'printable ASCII, no escapes', `${code} at ${at}`);
    if (code === QUOTE) isInText = !isInText;
    else if (isInText) continue;
    else if (code === 0x7b || code === 0x5b) depth++;
    else if (code === 0x7d || code === 0x5d) depth--;
    if (depth > DEPTH_MAX)
      throw new MalformedError('json.depth', path, `at most ${DEPTH_MAX} levels`, 'more');
  }
}

function objectOf(value: unknown, path: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedError('json.type', path, 'an object', kindOf(value));
  return { path, members: value as Readonly<Record<string, unknown>> };
}

export function failAt(
  { path }: JsonObject,
  name: string,
  code: string,
  expected: string,
  got: string,
): never {
  throw new MalformedError(code, `${path}.${name}`, expected, got);
}

export function hasMember({ members }: JsonObject, name: string): boolean {
  return Object.hasOwn(members, name);
}

function member(object: JsonObject, name: string): unknown {
  if (!hasMember(object, name)) return failAt(object, name, 'json.missing', 'a member', 'none');
  return object.members[name];
}

export function readText(object: JsonObject, name: string): string {
  const got = member(object, name);
  if (typeof got !== 'string') return failAt(object, name, 'json.type', 'a string', kindOf(got));
  if (got.length > TEXT_MAX)
    failAt(object, name, 'json.length', `at most ${TEXT_MAX} characters`, `${got.length}`);
  return got;
}

export function readOneOf<const T extends string>(object: JsonObject, name: string, values: readonly T[]): T {
  const got = readText(object, name);
  const found = values.find((each) => each === got);
  return found ?? failAt(object, name, 'json.value', values.join(' | '), JSON.stringify(got));
}

export function readUint(object: JsonObject, name: string, max: number): number {
  const got = member(object, name);
  if (typeof got !== 'number' || !Number.isSafeInteger(got) || got < 0 || got > max)
    return failAt(object, name, 'json.number', `an integer from 0 to ${max}`, kindOf(got));
  return got;
}

/** Hexadecimal of either case, as Intel writes both. */
export function readHex(object: JsonObject, name: string, bytes: number): Uint8Array {
  const text = readText(object, name);
  if (text.length !== 2 * bytes)
    failAt(object, name, 'json.hex', `${2 * bytes} digits`, `${text.length} characters`);
  return fromHex(text.toLowerCase(), `${object.path}.${name}`);
}

const TIME_FORM = 'dddd-dd-ddTdd:dd:ddZ';

/** `YYYY-MM-DDTHH:MM:SSZ`, as Unix milliseconds. */
export function readTime(object: JsonObject, name: string): number {
  const text = readText(object, name);
  const digits = new Uint8Array(15);
  let length = 0;
  let isForm = text.length === TIME_FORM.length;
  for (let at = 0; isForm && at < TIME_FORM.length; at++) {
    const form = TIME_FORM[at];
    if (form === 'd' || form === 'Z') digits[length++] = text.charCodeAt(at);
    else isForm = text[at] === form;
  }
  const ms = isForm ? parseGeneralizedTime(digits) : null;
  return ms ?? failAt(object, name, 'json.time', 'YYYY-MM-DDTHH:MM:SSZ', JSON.stringify(text.slice(0, 40)));
}

export function readObject(object: JsonObject, name: string): JsonObject {
  return objectOf(member(object, name), `${object.path}.${name}`);
}

/** An array of one object at least. */
export function readObjects(object: JsonObject, name: string): readonly JsonObject[] {
  return array(object, name, 1).map((each, i) => objectOf(each, `${object.path}.${name}.${i}`));
}

/** Strings, none perhaps. */
export function readTexts(object: JsonObject, name: string): readonly string[] {
  return array(object, name, 0).map((each) =>
    typeof each === 'string' && each.length <= TEXT_MAX
      ? each
      : failAt(object, name, 'json.type', `strings of at most ${TEXT_MAX} characters`, kindOf(each)),
  );
}

function array(object: JsonObject, name: string, minLength: number): readonly unknown[] {
  const got = member(object, name);
  if (!Array.isArray(got)) return failAt(object, name, 'json.type', 'an array', kindOf(got));
  if (got.length < minLength || got.length > ARRAY_MAX)
    failAt(object, name, 'json.length', `${minLength} to ${ARRAY_MAX} elements`, `${got.length}`);
  return got;
}

function kindOf(value: unknown): string {
  if (typeof value === 'number') return `${value}`;
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}
