/** What collateral, revocations and TCB policy say of documents now, as full nodes compute it for the standing of a key (TC-6 to TC-8). */
import type { CryptoProvider } from '@haca/primitives';
import { type ChainConfigRecord, type Check, type EvidenceKind, passed } from '@haca/protocol';
import { type EvidenceRules, rescoreEvidence, rescoringContext } from '@haca/verifier';
import { type EvidenceRecords, evidenceRules, graceRules } from './evidence-records.ts';
import { mayHaveGrace, type PlatformFault, platformFault, tcbStatusOf } from './standing.ts';

export interface JudgedDocument {
  readonly kind: EvidenceKind;
  readonly facts: Uint8Array;
}

export interface JudgedPlatform {
  /** The checks of each document, in order. */
  readonly documents: readonly (readonly Check[])[];
  /** About all of them. */
  readonly checks: readonly Check[];
  readonly fault: PlatformFault | null;
  /** By the newest collateral, also while a grace runs. */
  readonly tcbStatus: string | null;
  /** The first of the evidence's own end, the collateral's with its grace, and that of a TCB grace. */
  readonly endMs: number;
}

interface Rescored {
  readonly documents: readonly (readonly Check[])[];
  readonly fault: PlatformFault | null;
  readonly tcbStatus: string | null;
  readonly collateralEndMs: number | null;
}

export function judgePlatform(
  crypto: CryptoProvider,
  records: EvidenceRecords,
  config: ChainConfigRecord,
  documents: readonly JudgedDocument[],
  evidenceEndMs: number,
  nowMs: number,
): JudgedPlatform {
  const { collateralGraceMs } = config.params;
  const endOf = ({ collateralEndMs }: Rescored): number =>
    collateralEndMs === null ? evidenceEndMs : Math.min(evidenceEndMs, collateralEndMs + collateralGraceMs);
  const now = rescoreAll(crypto, documents, evidenceRules(records, config, nowMs));
  const { fault, tcbStatus } = now;
  if (fault !== 'tcb-out-of-date' || !mayHaveGrace(tcbStatus))
    return { ...now, checks: [], endMs: endOf(now) };
  for (const { rules, endMs } of graceRules(records, config, nowMs)) {
    const before = rescoreAll(crypto, documents, rules);
    const graceEndMs = endMs();
    if (graceEndMs === undefined) break;
    if (before.fault !== null) continue;
    const lives = passed('evidence.tcb-grace', `${tcbStatus}; accepted as before until ${graceEndMs}`);
    return { ...before, tcbStatus, checks: [lives], endMs: Math.min(endOf(before), graceEndMs) };
  }
  return { ...now, checks: [], endMs: Math.min(nowMs, endOf(now)) };
}

/** The document of the CPU first: its fault counts before those of GPUs. */
function rescoreAll(
  crypto: CryptoProvider,
  documents: readonly JudgedDocument[],
  rules: EvidenceRules,
): Rescored {
  const context = rescoringContext(crypto, rules);
  const rescored = documents.map(({ kind, facts }) => rescoreEvidence(kind, facts, context));
  const lists = rescored.map(({ verdict }) => verdict.checks);
  const ends = rescored.map(({ collateralEndMs }) => collateralEndMs).filter((end) => end !== null);
  return {
    documents: lists,
    fault: lists.map(platformFault).find((fault) => fault !== null) ?? null,
    tcbStatus: tcbStatusOf(lists[0] ?? []),
    collateralEndMs: ends.length === 0 ? null : Math.min(...ends),
  };
}
