/**
 * Whether the evidence behind a key is still good. Computed from the key's rows, those of what it hangs on, the height and the
 * block time, wherever it is used, and stored nowhere: a TCB recovery or a revocation takes effect for all keys at once.
 */
import type { AssuranceTier, EvidenceKind, NodeKeyRecord, RecordedEvidence } from '@haca/protocol';
import { evidenceRules, graceRules, mayHaveGrace } from './evidence-rules.ts';
import { measurementPhase } from './measurements.ts';
import type { State } from './state.ts';
import { hardwares, measurements, recordedEvidence } from './tables.ts';
import type {
  BlockHead,
  EvidenceFault,
  EvidenceRescoring,
  ExecutionContext,
  StateEvidenceRules,
} from './types.ts';

export const STANDINGS = [
  'good',
  'measurement-deprecated',
  'expired',
  'measurement-revoked',
  'hardware-revoked',
  'certificate-revoked',
  'tcb-out-of-date',
  'stale-collateral',
] as const;
export type Standing = (typeof STANDINGS)[number];

export interface KeyStanding {
  readonly standing: Standing;
  /** It backs new batches. */
  readonly isBacking: boolean;
  /** Block time from which it backs none as things are; null for keys without evidence. */
  readonly effectiveEndMs: number | null;
  readonly tier: AssuranceTier | null;
  /** As of the collateral of the moment; null where the kind of evidence has none. */
  readonly tcbStatus: string | null;
}

type Context = Pick<ExecutionContext, 'config' | 'crypto' | 'evidence'>;

/** Keys of other methods than `tee` have nothing to lose: they are good. */
export function keyStanding(
  state: State,
  ctx: Context,
  keyId: Uint8Array,
  key: Pick<NodeKeyRecord, 'method' | 'evidence'>,
  block: BlockHead,
): KeyStanding {
  const evidence = key.method === 'tee' ? recordedEvidence(state, keyId, key) : null;
  if (evidence === null) {
    const isGood = key.method !== 'tee';
    const standing = isGood ? 'good' : 'expired';
    return { standing, isBacking: isGood, effectiveEndMs: null, tier: null, tcbStatus: null };
  }
  const judged = judgeFacts(state, ctx, evidence, block.timeMs);
  const standing = firstFault(state, evidence, judged, block);
  const isBacking = standing === 'good' || standing === 'measurement-deprecated';
  return {
    standing,
    isBacking,
    effectiveEndMs: isBacking ? judged.endMs : Math.min(judged.endMs, block.timeMs),
    tier: evidence.tier,
    tcbStatus: judged.tcbStatus,
  };
}

/** The gravest first, so that whoever reads one word reads the one that matters. */
function firstFault(state: State, evidence: RecordedEvidence, judged: Judgement, block: BlockHead): Standing {
  const ids = [evidence.measurementId, ...evidence.gpus.map(({ measurementId }) => measurementId)];
  const phases = ids.map((id) => {
    const record = measurements.get(state, id);
    return record === undefined ? 'revoked' : measurementPhase(record, block.height);
  });
  if (phases.includes('revoked')) return 'measurement-revoked';
  if (evidence.hardware.some((id) => hardwares.get(state, id)?.revokedAt !== undefined)) {
    return 'hardware-revoked';
  }
  if (block.timeMs >= evidence.endMs) return 'expired';
  if (judged.fault !== null) return judged.fault;
  if (block.timeMs >= judged.endMs) return 'stale-collateral';
  return phases.includes('deprecated') ? 'measurement-deprecated' : 'good';
}

interface Judgement {
  readonly fault: EvidenceFault | null;
  readonly tcbStatus: string | null;
  readonly endMs: number;
}

/** By the collateral of the moment; where that finds the TCB out of date, by what it superseded, while its grace runs. */
function judgeFacts(state: State, ctx: Context, evidence: RecordedEvidence, nowMs: number): Judgement {
  const { config } = ctx;
  const now = rescoreAll(ctx, evidence, evidenceRules(state, config, nowMs));
  const endOf = ({ collateralEndMs }: EvidenceRescoring): number =>
    effectiveEndMs(evidence.endMs, collateralEndMs, config.params.collateralGraceMs);
  const { fault, tcbStatus } = now;
  if (fault !== 'tcb-out-of-date' || !mayHaveGrace(tcbStatus)) return { fault, tcbStatus, endMs: endOf(now) };
  for (const { rules, endMs } of graceRules(state, config, nowMs)) {
    const before = rescoreAll(ctx, evidence, rules);
    const graceEndMs = endMs();
    if (graceEndMs === undefined) break;
    if (before.fault === null) return { fault: null, tcbStatus, endMs: Math.min(endOf(before), graceEndMs) };
  }
  return { fault, tcbStatus, endMs: endOf(now) };
}

/** The end of the evidence itself or of the collateral with its grace, whichever comes first. */
export function effectiveEndMs(endMs: number, collateralEndMs: number | null, graceMs: number): number {
  return collateralEndMs === null ? endMs : Math.min(endMs, collateralEndMs + graceMs);
}

/** The document itself and those of the GPUs: the first fault counts. */
function rescoreAll(ctx: Context, evidence: RecordedEvidence, rules: StateEvidenceRules): EvidenceRescoring {
  const rescore = (kind: EvidenceKind, facts: Uint8Array): EvidenceRescoring =>
    ctx.evidence.rescore(kind, facts, rules, ctx.crypto);
  const own = rescore(evidence.kind, evidence.facts);
  if (own.fault !== null) return own;
  const ends = [own.collateralEndMs];
  for (const { facts } of evidence.gpus) {
    const gpu = rescore('nvidia', facts);
    if (gpu.fault !== null) return { ...gpu, tcbStatus: own.tcbStatus };
    ends.push(gpu.collateralEndMs);
  }
  const known = ends.filter((end) => end !== null);
  return { ...own, collateralEndMs: known.length === 0 ? null : Math.min(...known) };
}
