/** Genuine evidence of every kind, each document with the time, trust and policy under which it is accepted. */
import type { CryptoProvider } from '@haca/primitives';
import { encode } from '@haca/primitives';
import { type EvidenceKind, nvidiaDocumentCodec } from '@haca/protocol';
import {
  type Appraisal,
  appraiseEvidence,
  type EvidenceContext,
  NO_COLLATERAL,
  type TeeClaims,
  vendorRoots,
} from '@haca/verifier';
import { fromHexFile, pemChain, textOf, vectorFile, vectorManifest, vectorsMissing } from './vector-files.ts';

export interface GenuineDocument {
  readonly kind: EvidenceKind;
  /** Of the vector it is, or is made of. */
  readonly id: string;
  readonly bytes: Uint8Array;
  /** Every expectation waived, debug refused. */
  readonly context: Omit<EvidenceContext, 'crypto'>;
}

/** Of every kind at least one; none where the vectors are missing. */
export function genuineDocuments(): readonly GenuineDocument[] {
  if (vectorsMissing !== false) return [];
  return [...nitroDocuments(), ...nvidiaDocuments()];
}

export function appraiseGenuine(
  { kind, context }: GenuineDocument,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): Appraisal<TeeClaims> {
  return appraiseEvidence(kind, bytes, { ...context, crypto });
}

/** Collateral of an Intel quote as one JSON object, the form in which tools of the field pass it around. */
export function collateralJson(kind: string, id: string): Readonly<Record<string, string>> {
  return JSON.parse(textOf(vectorFile(kind, `${id}.collateral.json`))) as Readonly<Record<string, string>>;
}

const ANY = 'allow-any';

function at(
  nowMs: number,
): Pick<GenuineDocument['context'], 'nowMs' | 'revoked' | 'collateral' | 'collateralGraceMs'> {
  return { nowMs, revoked: [], collateral: NO_COLLATERAL, collateralGraceMs: 0 };
}

function nitroDocuments(): readonly GenuineDocument[] {
  const policy = {
    allowDebug: false,
    measurements: ANY,
    maxAgeMs: ANY,
    maxFutureSkewMs: ANY,
    userData: ANY,
    nonce: ANY,
    publicKey: ANY,
  } as const;
  return vectorManifest<{ readonly verify_at_ms: number }>('nitro')
    .filter(({ id }) => id.includes('prod'))
    .map(({ id, files, expect }) => ({
      kind: 'nitro',
      id,
      bytes: vectorFile('nitro', files[0]?.file ?? ''),
      context: { ...at(expect.verify_at_ms), nitro: { roots: vendorRoots('nitro'), policy } },
    }));
}

/** NVIDIA's certificates never expire. */
const NVIDIA_AT_MS = Date.UTC(2026, 0, 1);

function nvidiaDocuments(): readonly GenuineDocument[] {
  const policy = {
    allowDebug: false,
    nonce: ANY,
    revocation: ANY,
    architectures: ANY,
    modes: ANY,
    measurements: ANY,
    goldenMeasurements: ANY,
  } as const;
  return ['hopper-550', 'blackwell-575'].map((id) => ({
    kind: 'nvidia',
    id,
    bytes: encode(nvidiaDocumentCodec, {
      report: fromHexFile(vectorFile('nvidia', `${id}.report.hex.txt`)),
      certificates: [...pemChain('nvidia', `${id}.chain.pem`)].reverse(),
    }),
    context: { ...at(NVIDIA_AT_MS), nvidia: { roots: vendorRoots('nvidia'), policy } },
  }));
}
