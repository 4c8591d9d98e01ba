/**
 * COSE_Sign1 (RFC 9052 section 4.2) in one fixed form: untagged, protected header exactly `{1: -19}` (Ed25519, RFC 9864),
 * empty unprotected header, payload attached, signature 64 bytes. The domain of the object goes into `external_aad`, so a
 * signature made for one kind of object is worth nothing for another.
 */
import { bytesEqual, utf8Encode } from './bytes.ts';
import { CborReader, writeCbor } from './cbor.ts';
import type { CryptoProvider } from './crypto-provider.ts';
import { UsageError } from './errors.ts';
import { domainPrefix, sha256 } from './sha256.ts';

/** CBOR of `{1: -19}`. */
const PROTECTED_HEADER = Uint8Array.from([0xa1, 0x01, 0x32]);

export interface CoseSign1 {
  /** The signed bytes, themselves deterministic CBOR. */
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** Signs `message` with a key the caller holds; 64 bytes. */
export type SignEd25519 = (message: Uint8Array) => Uint8Array;

/** The Sig_structure that is signed: `["Signature1", protected, domain, payload]`. */
export function coseSigStructure(domain: string, payload: Uint8Array): Uint8Array {
  const start = sigStructureStart(domain);
  return writeCbor((writer) => {
    writer.raw(start);
    writer.bytes(payload);
  });
}

const sigStructureStarts = new Map<string, Uint8Array>();

/** All before the payload is the same for each object of a kind. */
function sigStructureStart(domain: string): Uint8Array {
  const known = sigStructureStarts.get(domain);
  if (known !== undefined) return known;
  // Throws on what is no domain.
  domainPrefix(domain);
  const start = writeCbor((writer) => {
    writer.arrayHead(4);
    writer.text('Signature1');
    writer.bytes(PROTECTED_HEADER);
    writer.bytes(utf8Encode(domain));
  });
  sigStructureStarts.set(domain, start);
  return start;
}

export function signCose(domain: string, payload: Uint8Array, sign: SignEd25519): CoseSign1 {
  const signature = sign(coseSigStructure(domain, payload));
  if (signature.length !== 64) throw new UsageError(`a signature of ${signature.length} bytes`);
  return { payload, signature };
}

export function encodeCose({ payload, signature }: CoseSign1): Uint8Array {
  return writeCbor((writer) => {
    writer.arrayHead(4);
    writer.bytes(PROTECTED_HEADER);
    writer.mapHead(0);
    writer.bytes(payload);
    writer.bytes(signature);
  });
}

/** Parses the fixed form above, payload at most `maxPayloadBytes`; throws `MalformedError`. Verifies nothing. */
export function decodeCose(bytes: Uint8Array, maxPayloadBytes: number, name: string): CoseSign1 {
  const reader = new CborReader(bytes);
  reader.enter(name);
  reader.openArray(4, 4);
  const header = reader.bytes(0, 64);
  if (!bytesEqual(header, PROTECTED_HEADER))
    reader.fail('cose.protected', 'the header {1: -19}', 'another header');
  reader.openMap(0, 0);
  reader.close();
  const payload = reader.bytes(1, maxPayloadBytes);
  const signature = reader.bytes(64, 64);
  reader.close();
  reader.end();
  return { payload, signature };
}

export function verifyCose(
  crypto: CryptoProvider,
  domain: string,
  cose: CoseSign1,
  publicKey: Uint8Array,
): boolean {
  return crypto.verifyEd25519(publicKey, coseSigStructure(domain, cose.payload), cose.signature);
}

/**
 * The hash that names a signed object: over header and payload, never over the signature, so that two encodings of one
 * signature can't give one object two names.
 */
export function coseHash(domain: string, payload: Uint8Array): Uint8Array {
  const prefix = domainPrefix(domain);
  const input = writeCbor((writer) => {
    writer.raw(prefix);
    writer.arrayHead(2);
    writer.bytes(PROTECTED_HEADER);
    writer.bytes(payload);
  });
  return sha256(input);
}
