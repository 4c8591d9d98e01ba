/** What an inference node asks of its TEE, whichever it is. Test enclaves implement it like real hardware does. */
import { UsageError } from '@haca/primitives';
import { EVIDENCE_MAX_BYTES, type EvidenceKind } from '@haca/protocol';

export interface Attester {
  readonly kind: EvidenceKind;
  /** True if the evidence proves nothing about hardware, because its root is a test root. */
  readonly isSimulated: boolean;
  /**
   * A fresh document over the request, in the form in which evidence of this kind travels: raw for Nitro, TDX and SGX, canonical
   * CBOR of the codecs of `@haca/protocol` for what vendors hand out in parts. Throws `AttesterError`.
   */
  readonly attest: (request: AttestationRequest) => Promise<Uint8Array>;
}

/**
 * What evidence is asked over. Each kind places it as it can: as 64 bytes of report data the binding hash (TDX, SGX, SNP,
 * dstack), or as `user_data`, `public_key` and `nonce` (Nitro).
 */
export interface AttestationRequest {
  /** 64 bytes: `registrationBindingHash`. */
  readonly bindingHash: Uint8Array;
  /** 32 bytes. */
  readonly signPublicKey: Uint8Array;
  /** 32 bytes. */
  readonly refBlockHash: Uint8Array;
}

/** Asks the GPUs of this machine. */
export interface GpuAttester {
  readonly isSimulated: boolean;
  /** One document for each GPU (CBOR of `nvidiaDocumentCodec`), over a nonce of 32 bytes. Throws `AttesterError`. */
  readonly attest: (nonce: Uint8Array) => Promise<readonly Uint8Array[]>;
}

export const ATTESTER_ERROR_CODES = [
  /** The interface, program, socket or file is not there: the message says what it needs. */
  'attester.missing',
  /** It is there, and this process may not use it. */
  'attester.denied',
  /** The platform said no, or failed. */
  'attester.refused',
  /** Busy or silent for longer than it may be. Asking again can help. */
  'attester.unavailable',
  /** Somebody else used the same request in between, or the evidence is over something else than was asked. */
  'attester.mismatch',
  /** What came back has not the form it should have. */
  'attester.malformed',
  /** The certificates that belong to the report are not there. */
  'attester.certificates',
] as const;
export type AttesterErrorCode = (typeof ATTESTER_ERROR_CODES)[number];

/** No evidence. The message says what is missing and what an operator can do about it. */
export class AttesterError extends Error {
  override readonly name = 'AttesterError';
  readonly code: AttesterErrorCode;

  constructor(code: AttesterErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Throws `UsageError` unless every part has its length. */
export function requireRequest({ bindingHash, signPublicKey, refBlockHash }: AttestationRequest): void {
  requireLength('bindingHash', bindingHash, 64);
  requireLength('signPublicKey', signPublicKey, 32);
  requireLength('refBlockHash', refBlockHash, 32);
}

export function requireLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new UsageError(`${name} has ${length} bytes, not ${bytes.length}`);
}

/** The document, unless it is longer than any chain takes: then throws `AttesterError`. */
export function requireDocumentSize(document: Uint8Array): Uint8Array {
  if (document.length <= EVIDENCE_MAX_BYTES) return document;
  throw new AttesterError(
    'attester.malformed',
    `the evidence has ${document.length} bytes, and no more than ${EVIDENCE_MAX_BYTES} can be registered`,
  );
}

/** Code of an error of the operating system, e.g. `ENOENT`; empty where it is none. */
export function systemCode(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : '';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
