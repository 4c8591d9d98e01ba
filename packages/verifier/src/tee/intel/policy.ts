/** What a caller accepts of either kind of quote, and the checks of it. */
import { UsageError } from '@haca/primitives';
import { type Check, check, failed, type Measurement, notApplicable, skipped } from '@haca/protocol';
import { checkWithoutExpectation, type Expected } from '../expected.ts';
import type { TeeKind } from './quote.ts';
import type { TcbClaims } from './tcb-level.ts';
import { isHopeless, type TcbStatus } from './tcb-status.ts';

/** What is judged again when collateral changes. */
export interface IntelTcbPolicy {
  /**
   * Accepted TCB statuses. `Revoked` and `Unsupported` (no level matches) fail whatever stands here. `not-given` accepts
   * `UpToDate` alone; `allow-any` all that are not hopeless.
   */
  readonly tcbStatuses: Expected<readonly TcbStatus[]>;
  /** TCB information and QE identities with a lower tcbEvaluationDataNumber are refused: the caller knows of newer ones. */
  readonly minTcbEvaluationDataNumber: Expected<number>;
}

export interface IntelPolicy extends IntelTcbPolicy {
  /** Accept debug mode, in which the host can read the memory. */
  readonly allowDebug: boolean;
  /** Accepted if one of these matches. */
  readonly measurements: Expected<readonly Measurement[]>;
  /** All 64 bytes. */
  readonly reportData: Expected<Uint8Array>;
}

/** Ids without the kind before them, in order. */
export const TCB_POLICY_CHECKS = ['tcb.status', 'tcb.evaluation-number'] as const;

/** Throws `UsageError` where the floor is no safe non-negative integer. */
export function tcbPolicyChecks(
  tee: TeeKind,
  tcb: TcbClaims | null,
  policy: IntelTcbPolicy,
): readonly Check[] {
  return [
    statusCheck(`${tee}.tcb.status`, tcb, policy),
    evaluationCheck(`${tee}.tcb.evaluation-number`, tcb, policy),
  ];
}

function statusCheck(id: string, tcb: TcbClaims | null, { tcbStatuses }: IntelTcbPolicy): Check {
  if (tcb === null) return skipped(id, 'not-reached', 'the TCB was not judged');
  const { status } = tcb;
  if (isHopeless(status)) return failed(id, 'tcb.status', 'a status that can be accepted', status);
  if (tcbStatuses === 'allow-any') return notApplicable(id, `the policy allows any status; it is ${status}`);
  const accepted: readonly TcbStatus[] = tcbStatuses === 'not-given' ? ['UpToDate'] : tcbStatuses;
  return check(id, 'tcb.status', accepted.includes(status), accepted.join(' | '), status);
}

function evaluationCheck(
  id: string,
  tcb: TcbClaims | null,
  { minTcbEvaluationDataNumber: floor }: IntelTcbPolicy,
): Check {
  if (typeof floor === 'string') return checkWithoutExpectation(id, floor);
  if (!Number.isSafeInteger(floor) || floor < 0) throw new UsageError(`${floor} is no evaluation number`);
  if (tcb === null) return skipped(id, 'not-reached', 'the TCB was not judged');
  const { evaluationDataNumber, qeEvaluationDataNumber } = tcb;
  const got = Math.min(evaluationDataNumber, qeEvaluationDataNumber ?? evaluationDataNumber);
  return check(id, 'tcb.evaluation-number', got >= floor, `${floor} or higher`, `${got}`);
}

/** Whether a bit of the attributes is as the policy demands. */
export function checkFlag(id: string, isSet: boolean, expected: Expected<boolean>): Check {
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const word = (flag: boolean): string => (flag ? 'set' : 'not set');
  return check(id, id, isSet === expected, word(expected), word(isSet));
}

export function debugCheck(id: string, isDebug: boolean, allowDebug: boolean, got: string): Check {
  if (allowDebug) return notApplicable(id, 'the policy allows debug mode');
  return check(id, 'intel.debug-mode', !isDebug, 'no debug bit', got);
}
