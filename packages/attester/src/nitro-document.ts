/** Nitro attestation documents: the CBOR payload in the member order AWS uses, and COSE_Sign1 around it. */
import { CborWriter } from '@haca/primitives';
import type { P384Signer } from './signers.ts';

export interface NitroDocumentFields {
  readonly moduleId: string;
  readonly digest: string;
  readonly timestampMs: number;
  /** Index and 48-byte value, written in the order given. */
  readonly pcrs: readonly (readonly [index: number, value: Uint8Array])[];
  /** Leaf, DER. */
  readonly certificate: Uint8Array;
  /** CA certificates, DER, root first. */
  readonly cabundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}

/** CBOR of `{1: -35}`, ES384. */
export const NITRO_PROTECTED_HEADER: Uint8Array = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

export function encodeNitroPayload(fields: NitroDocumentFields): Uint8Array {
  const writer = new CborWriter(6144);
  writer.mapHead(9);
  writer.text('module_id');
  writer.text(fields.moduleId);
  writer.text('digest');
  writer.text(fields.digest);
  writer.text('timestamp');
  writer.uint(fields.timestampMs);
  writer.text('pcrs');
  writer.mapHead(fields.pcrs.length);
  for (const [index, value] of fields.pcrs) {
    writer.uint(index);
    writer.bytes(value);
  }
  writer.text('certificate');
  writer.bytes(fields.certificate);
  writer.text('cabundle');
  writer.arrayHead(fields.cabundle.length);
  for (const certificate of fields.cabundle) writer.bytes(certificate);
  writeOptional(writer, 'public_key', fields.publicKey);
  writeOptional(writer, 'user_data', fields.userData);
  writeOptional(writer, 'nonce', fields.nonce);
  return writer.finish();
}

function writeOptional(writer: CborWriter, key: string, value: Uint8Array | null): void {
  writer.text(key);
  if (value === null) writer.null();
  else writer.bytes(value);
}

/** Signs any payload bytes with the leaf's key (RFC 9052 section 4.4) and wraps them: the whole document. */
export function signNitroPayload(
  payload: Uint8Array,
  leaf: P384Signer,
  protectedHeader: Uint8Array = NITRO_PROTECTED_HEADER,
): Uint8Array {
  const structure = new CborWriter(payload.length + 64);
  structure.arrayHead(4);
  structure.text('Signature1');
  structure.bytes(protectedHeader);
  structure.bytes(new Uint8Array(0));
  structure.bytes(payload);
  const document = new CborWriter(payload.length + 128);
  document.arrayHead(4);
  document.bytes(protectedHeader);
  document.mapHead(0);
  document.bytes(payload);
  document.bytes(leaf.sign(structure.finish()));
  return document.finish();
}
