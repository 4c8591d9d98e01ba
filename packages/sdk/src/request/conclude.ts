/** Holds what was received against everything that was proven and promised, before it is called an answer. */
import { headerHash } from '@haca/light-client';
import { RpcError } from '@haca/platform/rpc';
import { bytesEqual, MalformedError, toHex, utf8Encode } from '@haca/primitives';
import {
  type Check,
  check,
  failed,
  passed,
  type Receipt,
  type SignedObject,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import type { PendingAnswer } from '../answer.ts';
import { type ChainView, headerTimeMs } from '../chain/view.ts';
import { TimeoutError, VerificationError } from '../errors.ts';
import { sleep } from '../platform.ts';
import { type AnswerExpectations, assuranceOf, judge, verifyAnswer } from '../verify-answer.ts';
import { decodeOutputs } from '../zk/tensors.ts';
import type { Attempt } from './attempt.ts';
import { stoppedByNode } from './interruption.ts';
import { sealCheck } from './seal.ts';
import type { Session } from './session.ts';

export interface ReceivedAnswer {
  readonly receipt: SignedObject<Receipt> | null;
  readonly response: Uint8Array;
  readonly form: Receipt['responseForm'];
  readonly checks: Verdict['checks'];
  /** Of a stream: it was asked for again after its connection broke. */
  readonly isResumed: boolean;
}

/** Verifies a whole answer. Throws `VerificationError` unless it passed, or the policy explicitly allows it to fail. */
export async function concludeAnswer(
  session: Session,
  attempt: Attempt,
  pending: PendingAnswer,
  received: ReceivedAnswer,
): Promise<void> {
  const startedAt = performance.now();
  const { receipt } = received;
  if (receipt === null) {
    const missing = failed('receipt.present', 'receipt.missing', 'a receipt', 'none');
    throw new VerificationError('the answer was withheld', verdictOf([missing]), pending.answer.id);
  }
  const { route } = attempt;
  const expected = await expectationsOf(session, attempt, received, receipt.value);
  const checks = verifyAnswer(
    session.platform.crypto,
    receipt,
    {
      chainId: session.chain.chainId,
      nodeId: route.nodeId,
      node: route.node,
      keyId: route.keyId,
      key: route.key,
      modelId: route.modelId,
      nowMs: headerTimeMs(session.chain.head()),
    },
    expected,
  );
  const assurance = assuranceOf(receipt.value, route.key, route.evidenceSimulated);
  const unique = uniqueCheck(session, receipt);
  // A proof comes after the answer: until then nobody is paid, and the answer says `signed`.
  const promised = attempt.zk === null ? assurance : 'zk';
  const sealed = sealCheck(route, session.policy);
  const all = [
    ...route.checks,
    sealed,
    ...received.checks,
    ...checks,
    ...tensorChecks(attempt, received),
    unique,
  ];
  const verdict = judge(all, promised, route.tier, session.policy);
  if (!verdict.ok && !session.policy.allowUnverified) {
    if (received.isResumed && isOnlyStopped(receipt.value, verdict)) {
      throw stoppedByNode(attempt, receipt.value, pending.answer.id);
    }
    session.directory.forget(route.nodeId);
    throw new VerificationError('the answer was withheld', verdict, pending.answer.id);
  }
  if (verdict.ok) attempt.lane.settle(receipt.value.cumulative);
  else attempt.lane.distrust();
  const timing = {
    totalMs: session.clock() - attempt.startedAtMs,
    verifyMs: performance.now() - startedAt,
  };
  pending.complete({ receipt, verdict, assurance, response: received.response, timing });
  session.lastAnswer = pending.answer;
  session.onAnswer(pending.answer);
}

/** Nothing fails but that there is no more: the receipt is as good as any, and says so itself. */
function isOnlyStopped({ outcome }: Receipt, { checks }: Verdict): boolean {
  return (
    outcome === 'aborted' &&
    checks.every(
      ({ id, status }) =>
        status === 'passed' ||
        status === 'not-applicable' ||
        (status === 'failed' && (id === 'receipt.outcome' || id === 'stream.done')),
    )
  );
}

function tensorChecks({ zk }: Attempt, { response }: ReceivedAnswer): readonly Check[] {
  if (zk === null) return [];
  try {
    const tensors = decodeOutputs(zk.shapes.outputs, response);
    return [passed('response.tensors', `${tensors.length} tensors of the model's shapes`)];
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return [failed('response.tensors', error.code, error.expected, error.got)];
  }
}

async function expectationsOf(
  session: Session,
  attempt: Attempt,
  received: ReceivedAnswer,
  receipt: Receipt,
): Promise<AnswerExpectations> {
  return {
    request: attempt.body,
    response: received.response,
    form: received.form,
    offer: attempt.route.offer,
    voucher: attempt.voucher.value,
    chargedBefore: attempt.voucher.value.cumulative - attempt.reserve,
    idempotencyKey: utf8Encode(attempt.idempotencyKey),
    refBlockHash: await refBlockHash(session.chain, receipt.refHeight),
    minRefHeight: attempt.minRefHeight,
  };
}

const REF_WAIT_MS = 3_000;

const REF_AHEAD_MAX = 100;

const AWAY_WAIT_MS = 10_000;

const AWAY_PAUSE_MS = 200;

/**
 * The verified hash of a height, or null where no such header can be had. A full node that is away for a moment is waited
 * for: the answer is here, and nothing is wrong with it.
 */
async function refBlockHash(chain: ChainView, height: number): Promise<Uint8Array | null> {
  const deadline = Date.now() + AWAY_WAIT_MS;
  for (;;) {
    try {
      if (height > chain.head().height + REF_AHEAD_MAX) return null;
      if (height > chain.head().height) await chain.sync({ minHeight: height, timeoutMs: REF_WAIT_MS });
      return headerHash(await chain.headerAt(height));
    } catch (error) {
      if (error instanceof VerificationError || error instanceof TimeoutError) return null;
      if (!(error instanceof RpcError)) throw error;
      if (error.code !== 'unreachable') return null;
      if (Date.now() > deadline) throw error;
    }
    await sleep(AWAY_PAUSE_MS);
  }
}

const SEEN_MAX = 100_000;

/** One receipt backs one answer, and a key signs one receipt per sequence number. */
function uniqueCheck(session: Session, receipt: SignedObject<Receipt>) {
  const name = `${toHex(receipt.value.keyId)}:${receipt.value.seq}`;
  const before = session.seen.get(name);
  if (session.seen.size >= SEEN_MAX) session.seen.clear();
  session.seen.set(name, before ?? receipt.hash);
  const isSame = before !== undefined && bytesEqual(before, receipt.hash);
  const got =
    before === undefined
      ? 'new'
      : isSame
        ? 'a receipt of an earlier answer'
        : 'another receipt with this seq';
  const code = isSame ? 'receipt.replayed' : 'receipt.equivocation';
  return check('receipt.unique', code, before === undefined, 'a receipt not seen before', got);
}
