/** One `zk` key at work: its claims, its lines, and whether it may promise more proofs. */
import type { VerifyingKeyRecord } from '@haca/protocol';
import { ApiError } from '../api-error.ts';
import type { NodeChainView } from '../chain-view.ts';
import type { KeyStream } from '../key-stream.ts';
import type { Operator } from '../operator.ts';
import type { PaymentBook } from '../payment-book.ts';
import type { ZkSettling } from '../settlement.ts';
import { provableCount, proveCost } from './batch-limit.ts';
import type { ProvableModel } from './provable-model.ts';
import type { ModelProver } from './prover.ts';
import { type Proving, startProving } from './proving.ts';
import { openZkRedemption } from './redemption.ts';

export interface ZkKeyParts {
  readonly stream: KeyStream;
  readonly model: ProvableModel;
  readonly verifying: VerifyingKeyRecord;
  readonly chain: NodeChainView;
  readonly operator: Operator;
  readonly book: PaymentBook;
  readonly linesMax: number;
  readonly nowMs: () => number;
  readonly log: (line: string) => void;
}

export interface ZkKey {
  readonly settling: ZkSettling;
  readonly proving: Proving;
  readonly prover: ModelProver;
  /** Why no further inference is promised a proof; undefined while there is no such reason. */
  readonly refusal: () => ApiError | undefined;
  /** Whether what is not settled yet can be settled and proved within a few seconds. */
  readonly isQuick: () => boolean;
}

/** While claims wait for their proofs, receipts gather: fewer and larger claims cost less. */
const OPEN_CLAIMS_MAX = 4;
const FAILURES_MAX = 2;
const FAILED_MS = 60_000;
/** Work that waits may take a part of the time in which it has to be proved, at a second a block. */
const QUEUE_SHARE = 4;
const QUICK_MS = 3_000;

export function openZkKey(parts: ZkKeyParts): ZkKey {
  const { stream, model, verifying, chain, linesMax } = parts;
  const redemption = openZkRedemption(stream, chain);
  const proving = startProving(parts);
  const { stats } = model.prover;

  const obstacle = (): string | undefined => {
    const found = proving.obstacle();
    if (found !== undefined) return found;
    const { failuresInARow, failedAtMs } = stats();
    // After a while it is tried again: nothing may be left that would show whether proofs can be had.
    const isRecent = failedAtMs !== null && performance.now() - failedAtMs < FAILED_MS;
    return failuresInARow >= FAILURES_MAX && isRecent ? 'proofs fail at present' : undefined;
  };
  const waitingMs = (): number => {
    const open = stream.openClaims().reduce((sum, { count }) => sum + count, 0);
    const waiting = open + stream.lastSeq() - stream.settledSeq();
    return Math.ceil(waiting / model.batchMaxCount) * (stats().lastMs ?? 0);
  };
  const refusal = (): ApiError | undefined => {
    const why = obstacle();
    if (why !== undefined) return new ApiError('E_UNAVAILABLE', `Nothing was run: ${why}.`);
    if (waitingMs() > (chain.config.params.proveWindow * 1_000) / QUEUE_SHARE) {
      return new ApiError('E_UNAVAILABLE', 'Nothing was run: too much waits for its proof.');
    }
    return undefined;
  };
  return {
    proving,
    prover: model.prover,
    refusal,
    isQuick: () => obstacle() === undefined && (stats().lastMs ?? Number.POSITIVE_INFINITY) < QUICK_MS,
    settling: {
      batchCount: (unsettled) =>
        obstacle() !== undefined || stream.openClaims().length >= OPEN_CLAIMS_MAX
          ? 0
          : provableCount(unsettled, verifying, chain.config.params, {
              countMax: model.batchMaxCount,
              linesMax,
            }),
      dueLines: redemption.dueLines,
      hasUnpaid: redemption.hasUnpaid,
      hold: redemption.hold,
    },
  };
}

/** OPG an operator keeps for proofs of what it promised: closing work must never fail for want of its fee. */
export function proofReserveNopg(
  verifying: VerifyingKeyRecord,
  { baseFeeMin }: NodeChainView['config']['params'],
): bigint {
  return 100n * BigInt(proveCost(verifying, 1, 2_048, 1).gas) * baseFeeMin;
}
