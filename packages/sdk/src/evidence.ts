import { bytesEqual, type CryptoProvider, decode, encode, toHex } from '@haca/primitives';
import {
  type ChainConfigRecord,
  type Check,
  check,
  type EvidenceEnvelope,
  failed,
  joinVerdicts,
  type Measurement,
  measurementRecordCodec,
  type NodeKeyRecord,
  notApplicable,
  type ProvenRecord,
  type RegistrationBinding,
  recordKey,
  registrationBindingCodec,
  skipped,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { appraiseEvidence, NO_COLLATERAL, registrationContext } from '@haca/verifier';

/** What accepted evidence says, as far as the chain keeps it. */
export interface AppraisedEvidence {
  readonly verdict: Verdict;
  /** Null where the document is not authentic. */
  readonly claimsDigest: Uint8Array | null;
  readonly simulated: boolean;
}

/** Total: hostile bytes give a verdict. Expected values come from the chain's records, never from the document. */
export type AppraiseEvidence = (
  crypto: CryptoProvider,
  envelope: EvidenceEnvelope,
  binding: RegistrationBinding,
  config: ChainConfigRecord,
  nowMs: number,
  /** Approved by the chain, out of proven records. */
  measurements: readonly Measurement[],
) => AppraisedEvidence;

/** With the roots compiled in, the chain's own approved measurements, and test roots only where the chain is simulated. */
export const appraiseRegistration: AppraiseEvidence = (
  crypto,
  { kind, document },
  binding,
  { simulated, testRoots, params },
  nowMs,
  measurements,
) => {
  const { evidenceAgeMaxMs, evidenceSkewMaxMs, collateralGraceMs } = params;
  const context = registrationContext(crypto, binding, {
    simulated,
    testRoots,
    measurements,
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs,
    tcbStatuses: [],
    tcbFloors: [],
    evidenceAgeMaxMs,
    evidenceSkewMaxMs,
    nowMs,
  });
  const { verdict, claims } = appraiseEvidence(kind, document, context);
  return { verdict, claimsDigest: claims?.claimsDigest ?? null, simulated: claims?.isSimulated ?? true };
};

/** Keys of the records that say whether what a key measured is approved. */
export function measurementKeysOf({ evidence }: Pick<NodeKeyRecord, 'evidence'>): readonly Uint8Array[] {
  return evidence === null ? [] : [recordKey.measurement(evidence.measurementId)];
}

/** Measurements of proven records, as far as they are not revoked. */
export function approvedMeasurements(records: readonly ProvenRecord[]): readonly Measurement[] {
  return records.flatMap(({ value }) => {
    if (value === null) return [];
    const { measurement, revokedAt } = decode(measurementRecordCodec, value, 'measurement');
    return revokedAt === undefined ? [measurement] : [];
  });
}

export interface KeyEvidence {
  readonly envelope: EvidenceEnvelope;
  readonly binding: RegistrationBinding;
}

/**
 * Appraises the evidence behind a node key again, as full nodes did when it was registered. `registeredAtMs` is the time of
 * the block that opened the key, by a verified header; null where none can be had.
 */
export function verifyKeyEvidence(
  crypto: CryptoProvider,
  appraise: AppraiseEvidence,
  key: NodeKeyRecord,
  evidence: KeyEvidence | null,
  config: ChainConfigRecord,
  registeredAtMs: number | null,
  measurements: readonly Measurement[],
): { readonly verdict: Verdict; readonly simulated: boolean } {
  const recorded = key.evidence;
  if (recorded === null) {
    const none =
      key.method === 'tee'
        ? failed('evidence.document', 'E_EVIDENCE', 'evidence behind a tee key', 'none')
        : notApplicable('evidence.document', `a '${key.method}' key carries no evidence`);
    return { verdict: verdictOf([none]), simulated: true };
  }
  if (evidence === null || registeredAtMs === null) {
    const reason =
      evidence === null
        ? 'the document was not given'
        : 'no verified header of the block that opened the key';
    return {
      verdict: verdictOf([skipped('evidence.document', 'evidence.unavailable', reason)]),
      simulated: true,
    };
  }
  const { verdict, claimsDigest, simulated } = appraise(
    crypto,
    evidence.envelope,
    key.binding,
    config,
    registeredAtMs,
    measurements,
  );
  const own: Check[] = [
    check(
      'evidence.kind',
      'evidence.kind',
      evidence.envelope.kind === recorded.kind,
      recorded.kind,
      evidence.envelope.kind,
    ),
    equal('evidence.document', recorded.documentHash, crypto.sha256(evidence.envelope.document)),
    equal(
      'evidence.binding',
      encode(registrationBindingCodec, key.binding),
      encode(registrationBindingCodec, evidence.binding),
    ),
    claimsDigest === null
      ? failed('evidence.claims', 'E_EVIDENCE', toHex(recorded.claimsDigest), 'no authentic claims')
      : equal('evidence.claims', recorded.claimsDigest, claimsDigest),
    equal('evidence.signing-key', key.publicKey, key.binding.signPublicKey),
  ];
  return {
    verdict: joinVerdicts([
      ['', verdictOf(own)],
      ['evidence', verdict],
    ]),
    // Both the record and the own appraisal must say that it is genuine.
    simulated: recorded.simulated || simulated,
  };
}

function equal(id: string, expected: Uint8Array, got: Uint8Array): Check {
  return check(id, 'E_EVIDENCE', bytesEqual(expected, got), shown(expected), shown(got));
}

function shown(bytes: Uint8Array): string {
  return bytes.length <= 32 ? toHex(bytes) : `${toHex(bytes.subarray(0, 32))}…`;
}
