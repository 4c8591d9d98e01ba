/**
 * What NVIDIA appends to the measurements: a list of typed fields. Two forms are in the field: bare fields (type, size,
 * value), and behind a header `NVDAOD` fields that say the type of their value too. Types that are not known are kept.
 */
import { SpanReader } from './span-reader.ts';

export interface OpaqueField {
  /** What kind of value it is; null in the form without a header. */
  readonly valueType: number | null;
  readonly value: Uint8Array;
}

export interface OpaqueData {
  /** Of the header; null in the form without one. */
  readonly headerVersion: number | null;
  readonly fields: ReadonlyMap<number, OpaqueField>;
}

const MAGIC = Uint8Array.of(0x4e, 0x56, 0x44, 0x41, 0x4f, 0x44);
const PROFILE = 0;
/** The newest format that is understood, as header or as field. */
export const OPAQUE_VERSION_MAX = 2;
const FIELDS_MAX = 128;

/** Throws `MalformedError`. Byte fields are views into the input. */
export function parseOpaqueData(bytes: Uint8Array): OpaqueData {
  const reader = new SpanReader(bytes, 'report.opaque');
  const headerVersion = hasHeader(bytes) ? readHeader(reader) : null;
  const fields = new Map<number, OpaqueField>();
  while (!reader.isAtEnd) {
    const name = `${fields.size}`;
    if (fields.size === FIELDS_MAX)
      reader.fail('nvidia.fields', name, `at most ${FIELDS_MAX} fields`, 'more');
    const type = reader.uint(2, `${name}.type`);
    if (fields.has(type)) reader.fail('nvidia.duplicate-field', name, 'each type once', `type ${type} again`);
    const valueType = headerVersion === null ? null : reader.uint(2, `${name}.valueType`);
    const sizeBytes = reader.uint(2, `${name}.size`);
    fields.set(type, { valueType, value: reader.bytes(sizeBytes, `${name}.value`) });
  }
  return { headerVersion, fields };
}

function hasHeader(bytes: Uint8Array): boolean {
  return MAGIC.every((octet, i) => bytes[i] === octet);
}

function readHeader(reader: SpanReader): number {
  reader.bytes(MAGIC.length, 'magic');
  reader.constant(PROFILE, 2, 'profile');
  const major = reader.uint(1, 'major');
  if (major > OPAQUE_VERSION_MAX)
    reader.fail('nvidia.opaque-version', 'major', `at most ${OPAQUE_VERSION_MAX}`, `${major}`);
  reader.uint(1, 'minor');
  reader.constant(0, 2, 'reserved');
  return major;
}
