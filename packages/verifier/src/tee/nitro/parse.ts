/**
 * The Nitro attestation document as bytes: a COSE_Sign1 (RFC 9052 section 4.2) around a CBOR map whose members AWS lists in
 * the attestation process document of its NSM library. Parsing checks form and nothing else.
 */
import { MalformedError } from '@haca/primitives';
import { CborWalker } from './cbor-walker.ts';

/** Limits known before any work is done. */
export const NITRO_LIMITS = {
  documentBytes: 24 * 1024,
  payloadBytes: 16 * 1024,
  /** CA certificates in `cabundle`, the root included; the leaf comes on top. */
  cabundleEntries: 8,
  certificateBytes: 1024,
  /** Of `public_key`, `user_data` and `nonce` each. */
  fieldBytes: 1024,
  moduleIdBytes: 255,
  pcrs: 32,
} as const;

export const PCR_BYTES = 48;
const HEADER_BYTES_MAX = 64;
const SIGNATURE_BYTES = 96;

export interface NitroEnvelope {
  /** The protected header as it was signed. */
  readonly protectedHeader: Uint8Array;
  readonly payload: Uint8Array;
  /** ES384: r || s, 96 bytes. */
  readonly signature: Uint8Array;
}

/** Members as signed. An optional field that is absent and one that is null are the same; one of zero length is not. */
export interface NitroPayload {
  readonly moduleId: string;
  readonly digest: string;
  /** Milliseconds since the Unix epoch. */
  readonly timestampMs: number;
  /** Sparse: index 0 to 31 to 48 bytes, ascending. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** The leaf, DER. */
  readonly certificate: Uint8Array;
  /** CA certificates, DER, root first. */
  readonly cabundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}

/**
 * The outer array is not covered by the signature, so it has exactly one accepted encoding: untagged, definite, with an
 * empty unprotected header. Throws `MalformedError`.
 */
export function parseNitroEnvelope(bytes: Uint8Array): NitroEnvelope {
  const walker = new CborWalker(bytes, 'document');
  walker.tuple(4);
  walker.at('document.protected');
  const protectedHeader = walker.bytes(0, HEADER_BYTES_MAX);
  walker.at('document.unprotected');
  walker.emptyMap();
  walker.at('document.payload');
  const payload = walker.bytes(1, NITRO_LIMITS.payloadBytes);
  walker.at('document.signature');
  const signature = walker.bytes(SIGNATURE_BYTES, SIGNATURE_BYTES);
  walker.at('document');
  walker.end();
  return { protectedHeader, payload, signature };
}

type MemberReader = (walker: CborWalker, members: Members) => void;
type Members = { -readonly [K in keyof NitroPayload]?: NitroPayload[K] };

const REQUIRED = ['moduleId', 'digest', 'timestampMs', 'pcrs', 'certificate', 'cabundle'] as const;

/** One reader for each member AWS defines; any other key is malformed. */
const MEMBER_READERS: Readonly<Record<string, MemberReader>> = {
  module_id: (walker, members) => {
    members.moduleId = walker.text(1, NITRO_LIMITS.moduleIdBytes);
  },
  digest: (walker, members) => {
    members.digest = walker.text(1, 16);
  },
  timestamp: (walker, members) => {
    members.timestampMs = readTimestamp(walker);
  },
  pcrs: (walker, members) => {
    members.pcrs = readPcrs(walker);
  },
  certificate: (walker, members) => {
    members.certificate = walker.bytes(1, NITRO_LIMITS.certificateBytes);
  },
  cabundle: (walker, members) => {
    members.cabundle = readCabundle(walker);
  },
  public_key: (walker, members) => {
    members.publicKey = readOptional(walker);
  },
  user_data: (walker, members) => {
    members.userData = readOptional(walker);
  },
  nonce: (walker, members) => {
    members.nonce = readOptional(walker);
  },
};
const MEMBERS_MAX = Object.keys(MEMBER_READERS).length;

/** Throws `MalformedError`. The payload is signed, so either length form of its containers is harmless. */
export function parseNitroPayload(bytes: Uint8Array): NitroPayload {
  const walker = new CborWalker(bytes, 'payload');
  const members: Members = {};
  const seen = new Set<string>();
  walker.map(REQUIRED.length, MEMBERS_MAX, 'definite-or-indefinite', () => {
    const key = walker.text(1, 32);
    const read = memberReader(walker, key);
    if (seen.has(key)) walker.fail('cbor.duplicate-key', 'each key once', JSON.stringify(key));
    seen.add(key);
    walker.at(`payload.${key}`);
    read(walker, members);
  });
  walker.end();
  const { publicKey = null, userData = null, nonce = null, ...rest } = members;
  requireAll(rest);
  return { ...rest, publicKey, userData, nonce };
}

function memberReader(walker: CborWalker, key: string): MemberReader {
  const read = Object.hasOwn(MEMBER_READERS, key) ? MEMBER_READERS[key] : undefined;
  if (read !== undefined) return read;
  return walker.fail('nitro.unknown-key', Object.keys(MEMBER_READERS).join(' | '), JSON.stringify(key));
}

type Required = Pick<NitroPayload, (typeof REQUIRED)[number]>;

function requireAll(members: Members): asserts members is Required {
  const missing = REQUIRED.filter((name) => members[name] === undefined);
  if (missing.length > 0)
    throw new MalformedError(
      'nitro.missing-key',
      'payload',
      'every required member',
      `no ${missing.join(', ')}`,
    );
}

function readTimestamp(walker: CborWalker): number {
  const timestampMs = walker.uint(Number.MAX_SAFE_INTEGER);
  if (timestampMs === 0) walker.fail('nitro.timestamp', 'a time after 1970', '0');
  return timestampMs;
}

function readPcrs(walker: CborWalker): ReadonlyMap<number, Uint8Array> {
  const pcrs = new Map<number, Uint8Array>();
  let previous = -1;
  walker.map(1, NITRO_LIMITS.pcrs, 'definite-or-indefinite', () => {
    const index = walker.uint(NITRO_LIMITS.pcrs - 1);
    if (index <= previous) walker.fail('nitro.pcr-order', `an index above ${previous}`, `${index}`);
    previous = index;
    walker.at(`payload.pcrs.${index}`);
    pcrs.set(index, walker.bytes(PCR_BYTES, PCR_BYTES));
  });
  return pcrs;
}

function readCabundle(walker: CborWalker): readonly Uint8Array[] {
  const cabundle: Uint8Array[] = [];
  walker.array(1, NITRO_LIMITS.cabundleEntries, 'definite-or-indefinite', (index) => {
    walker.at(`payload.cabundle.${index}`);
    cabundle.push(walker.bytes(1, NITRO_LIMITS.certificateBytes));
  });
  return cabundle;
}

function readOptional(walker: CborWalker): Uint8Array | null {
  return walker.takeNull() ? null : walker.bytes(0, NITRO_LIMITS.fieldBytes);
}
