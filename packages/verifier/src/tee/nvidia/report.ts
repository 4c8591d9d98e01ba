/**
 * An NVIDIA attestation report as bytes: the SPDM 1.1 GET_MEASUREMENTS request that was asked and the MEASUREMENTS response
 * that was signed (DMTF DSP0274 1.1, sections 10.11.1 and 10.11.2), one behind the other. Parsing checks form and nothing else.
 */

import { FieldReader } from '../field-reader.ts';
import { type OpaqueData, parseOpaqueData } from './opaque-data.ts';

const SPDM_1_1 = 0x11;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
/** Request attributes: a signature, and digests rather than raw bit streams. */
const SIGNATURE_REQUESTED = 0x01;
const ALL_MEASUREMENTS = 0xff;
const SLOT_MAX = 7;
const DMTF_MEASUREMENT = 0x01;
/** Set in the type of a value that is no digest. */
const RAW_VALUE = 0x80;
const SHA384_BYTES = 48;
const RAW_VALUE_MAX_BYTES = 1024;
/** The index that DSP0274 keeps for the measurement manifest: a statement, raw, about what the other blocks measure. */
const MANIFEST_INDEX = 0xfd;
const MANIFEST_MAX_BYTES = 8192;
export const NONCE_BYTES = 32;
const SIGNATURE_BYTES = 96;
/** DSP0274 bounds what a responder may append. */
const OPAQUE_MAX_BYTES = 1024;

export interface MeasurementBlock {
  /** As in NVIDIA's reference manifests: 0 for the first block, one less than SPDM counts. */
  readonly index: number;
  /** DMTFSpecMeasurementValueType. */
  readonly type: number;
  /** 48 bytes (SHA-384) unless the type says that it is raw. */
  readonly value: Uint8Array;
}

/** Byte fields are views into the parsed input. */
export interface NvidiaReport {
  /** What the verifier asked with: 32 bytes. */
  readonly nonce: Uint8Array;
  /** The certificate slot whose key signs. */
  readonly slot: number;
  /** What the device added of its own: 32 bytes. */
  readonly responderNonce: Uint8Array;
  /** Ascending without gaps from index 0; a measurement manifest, index 252, may be the last. */
  readonly blocks: readonly MeasurementBlock[];
  readonly opaque: OpaqueData;
  /** Request and response without the signature: what is signed. */
  readonly signed: Uint8Array;
  /** ECDSA P-384 with SHA-384, r || s, big-endian, 96 bytes. */
  readonly signature: Uint8Array;
}

/** Throws `MalformedError`. */
export function parseNvidiaReport(bytes: Uint8Array): NvidiaReport {
  const reader = new FieldReader(bytes, 'report', 'spdm');
  const { nonce, slot } = readRequest(reader);
  reader.expect(SPDM_1_1, reader.little(1, 'response.version'), 'response.version');
  reader.expect(MEASUREMENTS, reader.little(1, 'response.code'), 'response.code');
  reader.expect(0, reader.little(1, 'response.param1'), 'response.param1');
  reader.expect(slot, reader.little(1, 'response.param2'), 'response.param2');
  const blocks = readBlocks(reader);
  const responderNonce = reader.take(NONCE_BYTES, 'response.nonce');
  const opaqueBytes = reader.little(2, 'response.opaqueLength');
  if (opaqueBytes > OPAQUE_MAX_BYTES)
    reader.fail('spdm.length', 'response.opaqueLength', `at most ${OPAQUE_MAX_BYTES}`, `${opaqueBytes}`);
  const opaque = parseOpaqueData(reader.take(opaqueBytes, 'opaque'));
  const signed = bytes.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES, 'signature');
  reader.end();
  return { nonce, slot, responderNonce, blocks, opaque, signed, signature };
}

function readRequest(reader: FieldReader): Pick<NvidiaReport, 'nonce' | 'slot'> {
  reader.expect(SPDM_1_1, reader.little(1, 'request.version'), 'request.version');
  reader.expect(GET_MEASUREMENTS, reader.little(1, 'request.code'), 'request.code');
  reader.expect(SIGNATURE_REQUESTED, reader.little(1, 'request.param1'), 'request.param1');
  reader.expect(ALL_MEASUREMENTS, reader.little(1, 'request.param2'), 'request.param2');
  const nonce = reader.take(NONCE_BYTES, 'request.nonce');
  const slot = reader.little(1, 'request.slot');
  if (slot > SLOT_MAX) reader.fail('spdm.value', 'request.slot', `0 to ${SLOT_MAX}`, `${slot}`);
  return { nonce, slot };
}

function readBlocks(reader: FieldReader): readonly MeasurementBlock[] {
  const count = reader.little(1, 'response.numberOfBlocks');
  if (count === 0) reader.fail('spdm.value', 'response.numberOfBlocks', 'at least 1', '0');
  const recordBytes = reader.little(3, 'response.recordLength');
  const start = reader.offset;
  const blocks: MeasurementBlock[] = [];
  for (let index = 0; index < count; index++) blocks.push(readBlock(reader, index, index === count - 1));
  const readBytes = reader.offset - start;
  if (readBytes !== recordBytes)
    reader.fail('spdm.length', 'response.recordLength', `${readBytes} bytes of blocks`, `${recordBytes}`);
  return blocks;
}

function readBlock(reader: FieldReader, index: number, isLast: boolean): MeasurementBlock {
  const name = `block.${index}`;
  const spdmIndex = reader.little(1, `${name}.index`);
  const isManifest = isLast && spdmIndex === MANIFEST_INDEX;
  if (spdmIndex !== index + 1 && !isManifest)
    reader.fail('spdm.block-index', `${name}.index`, `${index + 1}`, `${spdmIndex}`);
  const specification = `${name}.specification`;
  reader.expect(DMTF_MEASUREMENT, reader.little(1, specification), specification);
  const measurementBytes = reader.little(2, `${name}.measurementSize`);
  const type = reader.little(1, `${name}.type`);
  const valueBytes = reader.little(2, `${name}.valueSize`);
  if (measurementBytes !== valueBytes + 3)
    reader.fail('spdm.length', `${name}.measurementSize`, `${valueBytes + 3}`, `${measurementBytes}`);
  const isRaw = (type & RAW_VALUE) !== 0;
  const maxBytes = isManifest ? MANIFEST_MAX_BYTES : RAW_VALUE_MAX_BYTES;
  if (isRaw ? valueBytes < 1 || valueBytes > maxBytes : valueBytes !== SHA384_BYTES) {
    const expected = isRaw ? `1 to ${maxBytes}` : `${SHA384_BYTES}`;
    reader.fail('spdm.length', `${name}.valueSize`, expected, `${valueBytes}`);
  }
  return { index: spdmIndex - 1, type, value: reader.take(valueBytes, `${name}.value`) };
}
