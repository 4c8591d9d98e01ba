/**
 * Codecs: one description of a wire shape gives its TypeScript type, its deterministic encoding and its strict decoder.
 * A decoder accepts exactly the bytes the encoder makes: unknown keys, wrong order, duplicates, out-of-range lengths and
 * trailing bytes are `MalformedError`s.
 */
import { compareBytes } from './bytes.ts';
import { CborReader, type CborWriter, writeCbor } from './cbor.ts';
import { UsageError } from './errors.ts';

export interface Codec<T> {
  /** The shape in CDDL (RFC 8610), for the specification. */
  readonly cddl: string;
  readonly write: (writer: CborWriter, value: T) => void;
  readonly read: (reader: CborReader) => T;
}

/** The TypeScript type a codec describes. */
export type TypeOf<C> = C extends Codec<infer T> ? T : never;

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  return writeCbor((writer) => codec.write(writer, value));
}

/** Decodes all of `bytes`, or throws `MalformedError`; `name` begins the error path. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array, name: string): T {
  const reader = new CborReader(bytes);
  reader.enter(name);
  const value = codec.read(reader);
  reader.end();
  reader.leave();
  return value;
}

/** An unsigned integer up to `max` as a `number`. */
export function uint(max: number = Number.MAX_SAFE_INTEGER): Codec<number> {
  return {
    cddl: `uint .le ${max}`,
    write: (writer, value) => {
      if (value > max) throw new UsageError(`${value} is above ${max}`);
      writer.uint(value);
    },
    read: (reader) => reader.uint(max),
  };
}

/** An unsigned 64-bit integer as a `bigint`. */
export const u64: Codec<bigint> = {
  cddl: 'uint',
  write: (writer, value) => writer.uint(value),
  read: (reader) => reader.u64(),
};

export const bool: Codec<boolean> = {
  cddl: 'bool',
  write: (writer, value) => writer.boolean(value),
  read: (reader) => reader.boolean(),
};

export function bytesOf(minBytes: number, maxBytes: number = minBytes): Codec<Uint8Array> {
  return {
    cddl: `bstr .size ${sizeRange(minBytes, maxBytes)}`,
    write: (writer, value) => {
      checkLength(value.length, minBytes, maxBytes, 'bytes');
      writer.bytes(value);
    },
    read: (reader) => reader.bytes(minBytes, maxBytes),
  };
}

/** UTF-8 text; limits count bytes. */
export function textOf(minBytes: number, maxBytes: number): Codec<string> {
  return {
    cddl: `tstr .size ${sizeRange(minBytes, maxBytes)}`,
    write: (writer, value) => {
      checkLength(writer.text(value), minBytes, maxBytes, 'bytes of text');
    },
    read: (reader) => reader.text(minBytes, maxBytes),
  };
}

/** Text out of a closed list. */
export function oneOf<const T extends string>(...values: readonly T[]): Codec<T> {
  return {
    cddl: values.map((value) => JSON.stringify(value)).join(' / '),
    write: (writer, value) => {
      if (!values.includes(value)) throw new UsageError(`${value} is none of ${values.join(', ')}`);
      writer.text(value);
    },
    read: (reader) => {
      const text = reader.text(0, 64);
      const found = values.find((value) => value === text);
      return found ?? reader.fail('cbor.value', values.join(' | '), JSON.stringify(text));
    },
  };
}

export function nullable<T>(inner: Codec<T>): Codec<T | null> {
  return {
    cddl: `${inner.cddl} / null`,
    write: (writer, value) => (value === null ? writer.null() : inner.write(writer, value)),
    read: (reader) => (reader.takeNull() ? null : inner.read(reader)),
  };
}

export function arrayOf<T>(inner: Codec<T>, maxLength: number, minLength = 0): Codec<readonly T[]> {
  return {
    cddl: `[${minLength}*${maxLength} ${inner.cddl}]`,
    write: (writer, values) => {
      checkLength(values.length, minLength, maxLength, 'entries');
      writer.arrayHead(values.length);
      for (const value of values) inner.write(writer, value);
    },
    read: (reader) => {
      const length = reader.openArray(minLength, maxLength);
      const values: T[] = [];
      for (let i = 0; i < length; i++) {
        reader.enter(`${i}`);
        values.push(inner.read(reader));
        reader.leave();
      }
      reader.close();
      return values;
    },
  };
}

/**
 * A map from small unsigned integers to values, e.g. fee asset to amount. In TypeScript an array of pairs in strictly
 * ascending key order, which is also its encoding order: iteration never depends on how it was built.
 */
export function uintMapOf<T>(
  maxKey: number,
  inner: Codec<T>,
  maxSize: number,
): Codec<readonly (readonly [number, T])[]> {
  return {
    cddl: `{0*${maxSize} (uint .le ${maxKey}) => ${inner.cddl}}`,
    write: (writer, entries) => {
      checkLength(entries.length, 0, maxSize, 'entries');
      writer.mapHead(entries.length);
      let previous = -1;
      for (const [key, value] of entries) {
        if (key <= previous || key > maxKey)
          throw new UsageError(`map keys ascend to at most ${maxKey}; got ${key}`);
        previous = key;
        writer.uint(key);
        inner.write(writer, value);
      }
    },
    read: (reader) => {
      const size = reader.openMap(0, maxSize);
      const entries: (readonly [number, T])[] = [];
      let previous = -1;
      for (let i = 0; i < size; i++) {
        const key = reader.uint(maxKey);
        if (key <= previous) reader.fail('cbor.key-order', `a key above ${previous}`, `${key}`);
        previous = key;
        reader.enter(`${key}`);
        entries.push([key, inner.read(reader)]);
        reader.leave();
      }
      reader.close();
      return entries;
    },
  };
}

/** Byte strings in strictly ascending order: a set with one encoding. */
export function byteSetOf(inner: Codec<Uint8Array>, maxLength: number): Codec<readonly Uint8Array[]> {
  const list = arrayOf(inner, maxLength);
  const ascends = (values: readonly Uint8Array[]): boolean =>
    values.every((value, i) => i === 0 || compareBytes(values[i - 1] as Uint8Array, value) < 0);
  return {
    cddl: list.cddl,
    write: (writer, values) => {
      if (!ascends(values)) throw new UsageError('a byte set is written in strictly ascending order');
      list.write(writer, values);
    },
    read: (reader) => {
      const values = list.read(reader);
      if (!ascends(values))
        reader.fail('cbor.set-order', 'strictly ascending entries', 'another order or a duplicate');
      return values;
    },
  };
}

export interface Field<T> {
  readonly key: number;
  readonly codec: Codec<T>;
  readonly optional: boolean;
}
export interface RequiredField<T> extends Field<T> {
  readonly optional: false;
}
export interface OptionalField<T> extends Field<T> {
  readonly optional: true;
}

export function field<T>(key: number, codec: Codec<T>): RequiredField<T> {
  return { key, codec, optional: false };
}

export function optionalField<T>(key: number, codec: Codec<T>): OptionalField<T> {
  return { key, codec, optional: true };
}

type Simplify<T> = { readonly [K in keyof T]: T[K] };
export type StructOf<F extends Readonly<Record<string, Field<never> | Field<unknown>>>> = Simplify<
  {
    [K in keyof F as F[K] extends OptionalField<infer _> ? never : K]: F[K] extends Field<infer T>
      ? T
      : never;
  } & {
    [K in keyof F as F[K] extends OptionalField<infer _> ? K : never]?: F[K] extends Field<infer T>
      ? T
      : never;
  }
>;

/** A map with declared integer keys 0 to 63, in ascending order; every key not declared is malformed. */
// biome-ignore lint/suspicious/noExplicitAny: a field's own codec fixes its type; the record only has to hold them all.
export function struct<F extends Readonly<Record<string, Field<any>>>>(fields: F): Codec<StructOf<F>> {
  const ordered = Object.entries(fields).sort(([, a], [, b]) => a.key - b.key);
  const required = ordered.filter(([, { optional }]) => !optional).length;
  ordered.forEach(([name, { key }], i) => {
    if (key < 0 || key > 63 || ordered[i - 1]?.[1].key === key)
      throw new UsageError(`bad or repeated key of ${name}`);
  });
  return {
    cddl: structCddl(ordered),
    write: (writer, value) => {
      const record = value as Readonly<Record<string, unknown>>;
      let size = 0;
      for (const [name] of ordered) if (record[name] !== undefined) size++;
      writer.mapHead(size);
      for (const [name, { key, codec, optional }] of ordered) {
        const member = record[name];
        if (member === undefined) {
          if (!optional) throw new UsageError(`${name} is missing`);
          continue;
        }
        writer.uint(key);
        codec.write(writer, member);
      }
    },
    read: (reader) => {
      const record: Record<string, unknown> = {};
      let left = reader.openMap(required, ordered.length);
      let next = left > 0 ? reader.uint() : -1;
      for (const [name, { key, codec, optional }] of ordered) {
        if (next !== key) {
          if (optional) continue;
          reader.fail('cbor.key', `key ${key} (${name})`, next < 0 ? 'the end of the map' : `key ${next}`);
        }
        reader.enter(name);
        record[name] = codec.read(reader);
        reader.leave();
        left--;
        next = left > 0 ? reader.uint() : -1;
      }
      if (left > 0) reader.fail('cbor.unknown-key', 'only declared keys in ascending order', `key ${next}`);
      reader.close();
      return record as StructOf<F>;
    },
  };
}

export interface Variant<T> {
  readonly tag: number;
  readonly codec: Codec<T>;
}

export function variant<T>(tag: number, codec: Codec<T>): Variant<T> {
  return { tag, codec };
}

export type UnionOf<V extends Readonly<Record<string, Variant<unknown>>>> = {
  [K in keyof V]: V[K] extends Variant<infer T> ? Simplify<{ readonly kind: K } & T> : never;
}[keyof V];

/** One of several structs, as `[tag, struct]`; in TypeScript the struct with a `kind` member. */
// biome-ignore lint/suspicious/noExplicitAny: as above.
export function union<V extends Readonly<Record<string, Variant<any>>>>(variants: V): Codec<UnionOf<V>> {
  const byTag = new Map(Object.entries(variants).map(([kind, { tag, codec }]) => [tag, { kind, codec }]));
  if (byTag.size !== Object.keys(variants).length) throw new UsageError('two variants share a tag');
  return {
    cddl: unionCddl(variants),
    write: (writer, value) => {
      const chosen = variants[(value as { kind: string }).kind];
      if (chosen === undefined) throw new UsageError(`unknown kind ${(value as { kind: string }).kind}`);
      writer.arrayHead(2);
      writer.uint(chosen.tag);
      chosen.codec.write(writer, value);
    },
    read: (reader) => {
      reader.openArray(2, 2);
      const tag = reader.uint();
      const chosen =
        byTag.get(tag) ??
        reader.fail('cbor.unknown-kind', `one of ${[...byTag.keys()].join(', ')}`, `${tag}`);
      reader.enter(chosen.kind);
      const value = chosen.codec.read(reader);
      reader.leave();
      reader.close();
      return { kind: chosen.kind, ...value } as UnionOf<V>;
    },
  };
}

function sizeRange(min: number, max: number): string {
  return min === max ? `${min}` : `(${min}..${max})`;
}

// biome-ignore lint/suspicious/noExplicitAny: as above.
function structCddl(fields: readonly (readonly [string, Field<any>])[]): string {
  const lines = fields.map(
    ([name, { key, codec, optional }]) =>
      `  ${optional ? '? ' : ''}${key}: ${indented(codec.cddl)}, ; ${name}`,
  );
  return `{\n${lines.join('\n')}\n}`;
}

// biome-ignore lint/suspicious/noExplicitAny: as above.
function unionCddl(variants: Readonly<Record<string, Variant<any>>>): string {
  return Object.entries(variants)
    .map(([kind, { tag, codec }]) => `; ${kind}\n  [${tag}, ${indented(codec.cddl)}]`)
    .join(' /\n  ');
}

function indented(cddl: string): string {
  return cddl.replaceAll('\n', '\n  ');
}

function checkLength(length: number, min: number, max: number, what: string): void {
  if (length < min || length > max) throw new UsageError(`expected ${min} to ${max} ${what}, got ${length}`);
}
