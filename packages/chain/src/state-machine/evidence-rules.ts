/** What the state says about evidence as of a block: the argument of every judgement. */
import {
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRecord,
  type CollateralRef,
  collateralIdOf,
  type Measurement,
} from '@haca/protocol';
import type { State } from './state.ts';
import { collaterals, evidencePolicyOf, revokedCertificatesOf } from './tables.ts';
import type { ChainConfig, StateEvidenceRules } from './types.ts';

/** Rules by the collateral that counts now. */
export function evidenceRules(
  state: State,
  config: ChainConfig,
  nowMs: number,
  measurements: readonly Measurement[] = [],
): StateEvidenceRules {
  return rulesWith(state, config, nowMs, measurements, 'in-force', ({ item }) => item);
}

function rulesWith(
  state: State,
  { simulated, testRoots, params }: ChainConfig,
  nowMs: number,
  measurements: readonly Measurement[],
  evaluation: StateEvidenceRules['evaluation'],
  choose: (record: CollateralRecord) => Collateral,
): StateEvidenceRules {
  const policy = evidencePolicyOf(state);
  return {
    evaluation,
    simulated,
    testRoots,
    measurements,
    revoked: revokedCertificatesOf(state),
    collateral: <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
      const record = collaterals.get(state, collateralIdOf(ref));
      return record === undefined ? null : (choose(record) as CollateralOf<K>);
    },
    collateralGraceMs: params.collateralGraceMs,
    tcbStatuses: policy.tcbStatuses,
    tcbFloors: policy.tcbFloors,
    evidenceAgeMaxMs: params.evidenceAgeMaxMs,
    evidenceSkewMaxMs: params.evidenceSkewMaxMs,
    nowMs,
  };
}

/** A judgement by evaluations that were superseded and whose grace still runs. */
export interface GraceRules {
  readonly rules: StateEvidenceRules;
  /** Block time at which the first grace that was made use of ends; undefined while none was. */
  readonly endMs: () => number | undefined;
}

/**
 * Rules by what was in force before the newest TCB evaluations came, as far as their grace runs: the newest superseded
 * ones, then the oldest.
 */
export function graceRules(
  state: State,
  config: ChainConfig,
  nowMs: number,
  measurements: readonly Measurement[] = [],
): readonly GraceRules[] {
  return (['newest-superseded', 'oldest-superseded'] as const).map((evaluation) => {
    let endMs: number | undefined;
    const choose = (record: CollateralRecord): Collateral => {
      const running = record.superseded.filter(({ atMs }) => nowMs < atMs + config.params.tcbGraceMs);
      const chosen = evaluation === 'newest-superseded' ? running.at(-1) : running[0];
      if (chosen === undefined) return record.item;
      endMs = Math.min(endMs ?? Number.MAX_SAFE_INTEGER, chosen.atMs + config.params.tcbGraceMs);
      return chosen.item;
    };
    return { rules: rulesWith(state, config, nowMs, measurements, evaluation, choose), endMs: () => endMs };
  });
}

/** A platform that Intel revoked, or no longer knows a level of, has no grace; one without a status has none to fall back on. */
export function mayHaveGrace(tcbStatus: string | null): boolean {
  return tcbStatus !== null && tcbStatus !== 'Revoked' && tcbStatus !== 'Unsupported';
}
