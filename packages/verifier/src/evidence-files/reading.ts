import {
  type Codec,
  type CryptoProvider,
  decode,
  encode,
  MalformedError,
  UsageError,
} from '@haca/primitives';
import type { Check } from '@haca/protocol';
import type { EvidenceContext } from '../evidence.ts';
import type { Appraisal } from '../tee/check-run.ts';
import type { TeeClaims } from '../tee/claims.ts';
import type { TrustRoot } from '../tee/trust-root.ts';

/** What parts that belong together are found by. */
export interface ReadingTrust {
  readonly crypto: CryptoProvider;
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
}

/** One document out of a file, ready to be appraised. */
export interface EvidenceDocument {
  /** Empty where a file has one; else what tells it from the others, as a prefix of its checks. */
  readonly label: string;
  readonly document: Uint8Array;
  /** Files of collateral that became a part of it. */
  readonly used: readonly string[];
  /** What stands in for the appraisal of its kind, for evidence that is none of a device itself. */
  readonly appraise?: (context: EvidenceContext) => Appraisal<TeeClaims>;
}

export interface EvidenceReading {
  /** How the file wrote it down, for people. */
  readonly form: string;
  readonly documents: readonly EvidenceDocument[];
  /** What people should know about how the file was read. */
  readonly notes: readonly string[];
  /** About the file around the documents. */
  readonly checks?: readonly Check[];
}

export function oneDocument(
  document: Uint8Array,
  form: string,
  notes: readonly string[] = [],
  used: readonly string[] = [],
): EvidenceReading {
  return { form, notes, documents: [{ label: '', document, used }] };
}

/** Throws `MalformedError` where a part is too short or too long for the document. */
export function encodeDocument<T>(codec: Codec<T>, parts: T): Uint8Array {
  try {
    return encode(codec, parts);
  } catch (error) {
    if (error instanceof UsageError)
      throw new MalformedError('evidence.size', '', 'parts that fit into a document', error.message);
    throw error;
  }
}

/** Whether the bytes are a document as nodes submit it. */
export function isDocument<T>(codec: Codec<T>, bytes: Uint8Array): boolean {
  try {
    decode(codec, bytes, 'document');
    return true;
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}
