/** Evidence and collateral as a full node verifies them: by `@haca/verifier`, against what the state says. */
import { bytesEqual, type CryptoProvider } from '@haca/primitives';
import { type Check, type EvidenceKind, failed, type Measurement, verdictOf } from '@haca/protocol';
import {
  appraiseEvidence,
  registrationContext,
  rescoreEvidence,
  rescoringContext,
  type TeeClaims,
} from '@haca/verifier';
import type {
  EvidenceAppraisal,
  EvidenceClaims,
  EvidenceExpectations,
  EvidenceFault,
  EvidenceRescoring,
  EvidenceRules,
  EvidenceVerifier,
} from '../state-machine/index.ts';

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
  rescore: (kind, facts, rules, crypto) => rescored(kind, facts, rules, crypto),
  appraiseCollateral: () => ({ verdict: verdictOf([]), facts: null }),
};

/** The measurement that the verifier named; names need not be unique, so its registers are looked at again. */
function isMatch(
  { kind, registers }: TeeClaims,
  measurement: Measurement,
  name: EvidenceExpectations['measurements'][number]['name'] | null,
): boolean {
  return (
    measurement.kind === kind &&
    measurement.name === name &&
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

function rescored(
  kind: EvidenceKind,
  facts: Uint8Array,
  rules: EvidenceRules,
  crypto: CryptoProvider,
): EvidenceRescoring {
  const { verdict, collateralEndMs } = rescoreEvidence(kind, facts, rescoringContext(crypto, rules));
  const fault = verdict.ok ? null : faultOf(verdict.checks);
  return { fault, tcbStatus: tcbStatusOf(verdict.checks), collateralEndMs };
}

/** The first check that did not pass says what is wrong; revocation before all else. */
function faultOf(checks: readonly Check[]): EvidenceFault {
  const failedIds = checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  if (failedIds.some((id) => /\.(revocation|revoked)$/.test(id))) return 'certificate-revoked';
  return failedIds.some((id) => /\.tcb(\.|$)/.test(id)) ? 'tcb-out-of-date' : 'stale-collateral';
}

function tcbStatusOf(checks: readonly Check[]): string | null {
  return checks.find(({ id }) => /\.tcb\.status$/.test(id))?.got ?? null;
}
