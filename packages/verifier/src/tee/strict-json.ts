/**
 * JSON (RFC 8259) of which two readers can't make different things: every member name at most once, well-formed Unicode, bounded
 * nesting, nothing behind the value. For JSON that evidence vouches for, where a second member of one name could say the
 * opposite of the first.
 */
import { MalformedError } from '@haca/primitives';

export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | number | string | JsonObject | readonly JsonValue[];

export const STRICT_JSON_DEPTH_MAX = 8;

/** `path` names the text in errors. Throws `MalformedError`. */
export function parseStrictJson(text: string, path: string): JsonValue {
  const reader = new JsonReader(text, path);
  const value = reader.value(0);
  reader.end();
  return value;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const BLANKS = /[ \t\n\r]*/y;
/** Up to the quotation mark that ends it; `JSON.parse` judges what stands between. */
const STRING = /"(?:[^"\\]|\\.)*"/y;
const LITERALS: ReadonlyMap<string, null | boolean> = new Map([
  ['null', null],
  ['true', true],
  ['false', false],
]);

class JsonReader {
  readonly #text: string;
  readonly #path: string;
  #offset = 0;

  constructor(text: string, path: string) {
    this.#text = text;
    this.#path = path;
    this.#skipBlanks();
  }

  end(): void {
    if (this.#offset !== this.#text.length) this.#fail('json.trailing', 'the end of the text');
  }

  value(depth: number): JsonValue {
    if (depth > STRICT_JSON_DEPTH_MAX)
      this.#fail('json.depth', `at most ${STRICT_JSON_DEPTH_MAX} levels of nesting`);
    const first = this.#text[this.#offset];
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#array(depth);
    if (first === '"') return this.#string();
    return this.#scalar();
  }

  #object(depth: number): JsonObject {
    const members = new Map<string, JsonValue>();
    this.#items('{', '}', () => {
      const name = this.#string();
      if (members.has(name)) this.#fail('json.duplicate-member', 'each member once');
      this.#take(':');
      members.set(name, this.value(depth + 1));
    });
    return members;
  }

  #array(depth: number): readonly JsonValue[] {
    const elements: JsonValue[] = [];
    this.#items('[', ']', () => elements.push(this.value(depth + 1)));
    return elements;
  }

  #items(open: string, close: string, readItem: () => void): void {
    this.#take(open);
    if (this.#takeIf(close)) return;
    do readItem();
    while (this.#takeIf(','));
    this.#take(close);
  }

  #string(): string {
    const token = this.#match(STRING) ?? this.#fail('json.malformed', 'a string');
    let value: string;
    try {
      value = JSON.parse(token) as string;
    } catch {
      return this.#fail('json.malformed', 'a string without bare control characters and unknown escapes');
    }
    if (!value.isWellFormed()) this.#fail('json.surrogate', 'well-formed Unicode');
    return value;
  }

  #scalar(): null | boolean | number {
    for (const [literal, value] of LITERALS) {
      if (!this.#text.startsWith(literal, this.#offset)) continue;
      this.#offset += literal.length;
      this.#skipBlanks();
      return value;
    }
    const number = Number(this.#match(NUMBER) ?? this.#fail('json.malformed', 'a value'));
    return Number.isFinite(number) ? number : this.#fail('json.number', 'a number that is finite');
  }

  #take(character: string): void {
    if (!this.#takeIf(character)) this.#fail('json.malformed', `'${character}'`);
  }

  #takeIf(character: string): boolean {
    if (this.#text[this.#offset] !== character) return false;
    this.#offset++;
    this.#skipBlanks();
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#offset;
    const token = pattern.exec(this.#text)?.[0];
    if (token === undefined) return null;
    this.#offset += token.length;
    this.#skipBlanks();
    return token;
  }

  #skipBlanks(): void {
    BLANKS.lastIndex = this.#offset;
    this.#offset += BLANKS.exec(this.#text)?.[0].length ?? 0;
  }

  #fail(code: string, expected: string): never {
    const got = this.#text.slice(this.#offset, this.#offset + 16);
    const shown = got === '' ? 'the end' : JSON.stringify(got);
    throw new MalformedError(code, this.#path, expected, `${shown} at ${this.#offset}`);
  }
}

/** The member as an object. Throws `MalformedError` where it is none. */
export function jsonObject(value: JsonValue | undefined, path: string): JsonObject {
  if (value instanceof Map) return value;
  throw notA('an object', value, path);
}

export function jsonArray(value: JsonValue | undefined, path: string): readonly JsonValue[] {
  if (Array.isArray(value)) return value;
  throw notA('an array', value, path);
}

export function jsonText(value: JsonValue | undefined, path: string): string {
  if (typeof value === 'string') return value;
  throw notA('text', value, path);
}

function notA(expected: string, value: JsonValue | undefined, path: string): MalformedError {
  return new MalformedError('json.type', path, expected, jsonTypeName(value));
}

export function jsonTypeName(value: JsonValue | undefined): string {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return value instanceof Map ? 'an object' : typeof value;
}
