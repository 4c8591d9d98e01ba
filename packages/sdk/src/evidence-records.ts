/**
 * What evidence is judged by, out of records of the chain. Records are asked for by their keys, so that who judges finds out by the
 * way which ones it takes: what was asked and is not at hand can be fetched, and what was never asked has no business in a bundle.
 */
import { type Codec, decode, toHex } from '@haca/primitives';
import {
  type ChainConfigRecord,
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRecord,
  type CollateralRef,
  collateralIdOf,
  collateralRecordCodec,
  type EvidencePolicyRecord,
  evidencePolicyRecordCodec,
  type HardwareRecord,
  hardwareRecordCodec,
  type Measurement,
  type MeasurementRecord,
  measurementRecordCodec,
  type ProvenRecord,
  recordKey,
  revokedCertificatesRecordCodec,
} from '@haca/protocol';
import type { EvidenceRules, RevokedCertificate } from '@haca/verifier';

/** Blocks that the records evidence is judged by may lie behind the reference block of an answer. */
export const EVIDENCE_RECORDS_AGE_MAX_BLOCKS = 120;

/** Block that evidence is judged as of. */
export interface EvidenceTime {
  readonly height: number;
  readonly timeMs: number;
}

/** `null`: proven that there is none. `undefined`: not at hand, so nothing can be said. */
export type Known<T> = T | null | undefined;

export interface EvidenceRecords {
  readonly measurement: (id: Uint8Array) => Known<MeasurementRecord>;
  readonly hardware: (id: Uint8Array) => Known<HardwareRecord>;
  readonly collateral: (ref: CollateralRef) => Known<CollateralRecord>;
  readonly policy: () => Known<EvidencePolicyRecord>;
  readonly revoked: () => Known<readonly RevokedCertificate[]>;
  /** Keys of all records that were asked for, in that order. */
  readonly asked: () => readonly Uint8Array[];
  /** Those of them that were not at hand. */
  readonly missing: () => readonly Uint8Array[];
}

/** Records must be proven by the caller, all of one state. Reading one that is malformed throws `MalformedError`. */
export function openEvidenceRecords(proven: readonly ProvenRecord[]): EvidenceRecords {
  const values = new Map(proven.map(({ key, value }) => [toHex(key), value]));
  const asked = new Map<string, Uint8Array>();
  const decoded = new Map<string, unknown>();
  const read = <T>(key: Uint8Array, codec: Codec<T>, path: string): Known<T> => {
    const name = toHex(key);
    asked.set(name, key);
    const value = values.get(name);
    if (value === null || value === undefined) return value;
    const known = decoded.get(name) ?? decode(codec, value, path);
    decoded.set(name, known);
    return known as T;
  };
  return {
    measurement: (id) => read(recordKey.measurement(id), measurementRecordCodec, 'measurement'),
    hardware: (id) => read(recordKey.hardware(id), hardwareRecordCodec, 'hardware'),
    collateral: (ref) => read(recordKey.collateral(collateralIdOf(ref)), collateralRecordCodec, 'collateral'),
    policy: () => read(recordKey.evidencePolicy(), evidencePolicyRecordCodec, 'evidence-policy'),
    revoked: () =>
      read(recordKey.revokedCertificates(), revokedCertificatesRecordCodec, 'revoked-certificates'),
    asked: () => [...asked.values()],
    missing: () => [...asked].flatMap(([name, key]) => (values.has(name) ? [] : [key])),
  };
}

/** Rules by the collateral that counts now. */
export function evidenceRules(
  records: EvidenceRecords,
  config: ChainConfigRecord,
  nowMs: number,
  measurements: readonly Measurement[] = [],
): EvidenceRules {
  return rulesWith(records, config, nowMs, measurements, ({ item }) => item);
}

function rulesWith(
  records: EvidenceRecords,
  { simulated, testRoots, params }: ChainConfigRecord,
  nowMs: number,
  measurements: readonly Measurement[],
  choose: (record: CollateralRecord) => Collateral,
): EvidenceRules {
  const policy = records.policy();
  return {
    simulated,
    testRoots,
    measurements,
    revoked: records.revoked() ?? [],
    collateral: <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
      const record = records.collateral(ref);
      const item = record === null || record === undefined ? null : choose(record);
      return item?.kind === ref.kind ? (item as CollateralOf<K>) : null;
    },
    collateralGraceMs: params.collateralGraceMs,
    tcbStatuses: policy?.tcbStatuses ?? [],
    tcbFloors: policy?.tcbFloors ?? [],
    evidenceAgeMaxMs: params.evidenceAgeMaxMs,
    evidenceSkewMaxMs: params.evidenceSkewMaxMs,
    nowMs,
  };
}

/** A judgement by evaluations that were superseded and whose grace still runs (TC-8). */
export interface GraceRules {
  readonly rules: EvidenceRules;
  /** Block time at which the first grace that was made use of ends; undefined while none was. */
  readonly endMs: () => number | undefined;
}

/** By the newest superseded evaluations, then by the oldest. */
export function graceRules(
  records: EvidenceRecords,
  config: ChainConfigRecord,
  nowMs: number,
): readonly GraceRules[] {
  const { tcbGraceMs } = config.params;
  return (['newest', 'oldest'] as const).map((age) => {
    let endMs: number | undefined;
    const choose = (record: CollateralRecord): Collateral => {
      const running = record.superseded.filter(({ atMs }) => nowMs < atMs + tcbGraceMs);
      const chosen = age === 'newest' ? running.at(-1) : running[0];
      if (chosen === undefined) return record.item;
      endMs = Math.min(endMs ?? Number.MAX_SAFE_INTEGER, chosen.atMs + tcbGraceMs);
      return chosen.item;
    };
    return { rules: rulesWith(records, config, nowMs, [], choose), endMs: () => endMs };
  });
}
