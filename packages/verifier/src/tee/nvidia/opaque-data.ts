/**
 * What NVIDIA appends to the measurements: a list of typed fields. Two forms are in the field: bare fields (type, size,
 * value), and behind a header `NVDAOD` fields that say the type of their value too. Types that are not known are kept.
 */
import { FieldReader } from '../field-reader.ts';

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
  const reader = new FieldReader(bytes, 'report.opaque', 'spdm');
  const headerVersion = hasHeader(bytes) ? readHeader(reader) : null;
  const fields = new Map<number, OpaqueField>();
  while (!reader.isAtEnd) {
    const name = `${fields.size}`;
    if (fields.size === FIELDS_MAX)
      reader.fail('nvidia.fields', name, `at most ${FIELDS_MAX} fields`, 'more');
    const type = reader.little(2, `${name}.type`);
    if (fields.has(type)) reader.fail('nvidia.duplicate-field', name, 'each type once', `type ${type} again`);
    const valueType = headerVersion === null ? null : reader.little(2, `${name}.valueType`);
    const sizeBytes = reader.little(2, `${name}.size`);
    fields.set(type, { valueType, value: reader.take(sizeBytes, `${name}.value`) });
  }
  return { headerVersion, fields };
}

function hasHeader(bytes: Uint8Array): boolean {
  return MAGIC.every((octet, i) => bytes[i] === octet);
}

function readHeader(reader: FieldReader): number {
  reader.take(MAGIC.length, 'magic');
  reader.expect(PROFILE, reader.little(2, 'profile'), 'profile');
  const major = reader.little(1, 'major');
  if (major > OPAQUE_VERSION_MAX)
    reader.fail('nvidia.opaque-version', 'major', `at most ${OPAQUE_VERSION_MAX}`, `${major}`);
  reader.little(1, 'minor');
  reader.expect(0, reader.little(2, 'reserved'), 'reserved');
  return major;
}
