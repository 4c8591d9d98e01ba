/** Evidence and collateral as a full node verifies them: by `@haca/verifier`, against what the state says. */
import { bytesEqual, type CryptoProvider } from '@haca/primitives';
import { type Check, type EvidenceKind, failed, type Measurement, verdictOf } from '@haca/protocol';
import {
  appraiseEvidence,
  appraisePosted,
  collateralRoots,
  registrationContext,
  requiredRegisters,
  rescoreEvidence,
  rescoringContext,
  type TeeClaims,
} from '@haca/verifier';
import type {
  EvidenceAppraisal,
  EvidenceClaims,
  EvidenceFault,
  EvidenceRescoring,
  EvidenceVerifier,
  StateEvidenceRules,
} from '../state-machine/index.ts';
import { createJudgementMemo } from './judgement-memo.ts';

/** It remembers judgements of platforms, a bounded number: they are the same whoever asks, on whatever chain. */
export const EVIDENCE_VERIFIER: EvidenceVerifier = {
  appraise: ({ kind, document }, expected, crypto) => {
    const context = registrationContext(crypto, expected.binding, expected);
    const { verdict, claims, measurement } = appraiseEvidence(kind, document, context);
    const tcbStatus = claims === null ? null : tcbStatusOf(verdict.checks);
    if (!verdict.ok || claims === null) return { verdict, claims: null, tcbStatus };
    const approved = expected.measurements.find((each) => isMatch(claims, each, measurement));
    return approved === undefined
      ? unmatched(tcbStatus)
      : { verdict, claims: keptClaims(claims, approved), tcbStatus };
  },
  rescore: createJudgementMemo(rescore),
  appraiseCollateral: (item, rules, crypto) => {
    const { nowMs, collateral, revoked } = rules;
    return appraisePosted(item, { crypto, nowMs, roots: collateralRoots(rules), collateral, revoked });
  },
};

/**
 * The measurement that the verifier named. Names need not be unique, so its registers are looked at again, and that none of those is
 * left out without which it matches nothing.
 */
function isMatch({ kind, registers }: TeeClaims, measurement: Measurement, name: string | null): boolean {
  const names = new Set(measurement.registers.map(({ register }) => register));
  return (
    measurement.kind === kind &&
    measurement.name === name &&
    requiredRegisters(kind).every((register) => names.has(register)) &&
    measurement.registers.every(({ register, value }) => {
      const measured = registers.get(register);
      return measured !== undefined && bytesEqual(measured, value);
    })
  );
}

function unmatched(tcbStatus: string | null): EvidenceAppraisal {
  const check = failed('evidence.measurement', 'evidence.measurement', 'an approved measurement', 'another');
  return { verdict: verdictOf([check]), claims: null, tcbStatus };
}

function keptClaims(claims: TeeClaims, measurement: Measurement): EvidenceClaims {
  const { claimsDigest, evidenceEndMs, collateralEndMs, isSimulated, facts, cloud, hardware } = claims;
  return {
    claimsDigest,
    endMs: evidenceEndMs,
    collateralEndMs,
    simulated: isSimulated,
    measurement,
    facts,
    cloud,
    hardware,
  };
}

function rescore(
  kind: EvidenceKind,
  facts: Uint8Array,
  rules: StateEvidenceRules,
  crypto: CryptoProvider,
): EvidenceRescoring {
  const { verdict, collateralEndMs } = rescoreEvidence(kind, facts, rescoringContext(crypto, rules));
  const fault = verdict.ok ? null : faultOf(verdict.checks);
  return { fault, tcbStatus: tcbStatusOf(verdict.checks), collateralEndMs };
}

/**
 * By the checks that failed: a certificate taken back before a TCB level, and what is left is collateral that is missing, too old
 * or signed by nobody.
 */
function faultOf(checks: readonly Check[]): EvidenceFault {
  const ids = checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  if (ids.some((id) => /\.(revocation|chain\.crl)$/.test(id))) return 'certificate-revoked';
  return ids.some((id) => /\.tcb\.|\.module$/.test(id)) ? 'tcb-out-of-date' : 'stale-collateral';
}

function tcbStatusOf(checks: readonly Check[]): string | null {
  return checks.find(({ id }) => id.endsWith('.tcb.status'))?.got ?? null;
}
