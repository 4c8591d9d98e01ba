/** From bytes of a node to an answer that is handed over, or withheld. */
import { headerHash } from '@haca/light-client';
import { fromBase64url, RpcError } from '@haca/platform/rpc';
import { bytesEqual, MalformedError, toHex, UsageError, utf8Encode } from '@haca/primitives';
import {
  type Check,
  check,
  failed,
  passed,
  RECEIPT,
  type Receipt,
  type SignedObject,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { openAnswer, type PendingAnswer } from '../answer.ts';
import { type ChainView, headerTimeMs } from '../chain/view.ts';
import { TimeoutError, VerificationError } from '../errors.ts';
import { nodeErrorOf } from '../node-api.ts';
import { sleep } from '../platform.ts';
import { type AnswerExpectations, assuranceOf, judge, verifyAnswer } from '../verify-answer.ts';
import { decodeOutputs } from '../zk/tensors.ts';
import { handedHeaders, post, rebuilt } from './http.ts';
import { sealCheck } from './seal.ts';
import type { Attempt, Inference, Session } from './session.ts';
import { verifiedStream } from './stream-verifier.ts';

export interface Received {
  readonly response: Response;
  /** All of the body; null for a stream, which is read as it is consumed. */
  readonly body: Uint8Array | null;
}

export async function takeResponse(
  session: Session,
  attempt: Attempt,
  { response, body }: Received,
  signal: AbortSignal,
): Promise<Inference> {
  if (!response.ok) return { response: rebuilt(response, body), pending: null };
  const pending = openAnswer({
    crypto: session.platform.crypto,
    chain: session.chain,
    route: attempt.route,
    clock: session.clock,
    id: response.headers.get('x-haca-receipt-id') ?? '',
    request: attempt.body,
    voucher: attempt.voucher,
    zk: attempt.zk?.verifyingKey ?? null,
    zkTools: session,
    retireLane: attempt.lane.retire,
  });
  if ((body === null) === attempt.params.stream) {
    return body === null
      ? takeStream(session, attempt, response, pending, signal)
      : takeBody(session, attempt, response, body, pending);
  }
  const [wanted, got] = attempt.params.stream ? ['a stream', 'a body'] : ['a body', 'a stream'];
  await response.body?.cancel().catch(() => undefined);
  attempt.lane.distrust();
  const form = failed('receipt.response-form', 'response.form', wanted, got);
  throw withhold(
    session,
    attempt,
    new VerificationError('the answer was withheld', verdictOf([form]), pending.answer.id),
  );
}

async function takeBody(
  session: Session,
  attempt: Attempt,
  response: Response,
  body: Uint8Array,
  pending: PendingAnswer,
): Promise<Inference> {
  try {
    const header = response.headers.get('x-haca-receipt');
    const receipt = header === null ? null : RECEIPT.decode(fromBase64url(header));
    await concludeAnswer(session, attempt, pending, { receipt, response: body, form: 'body', checks: [] });
    return { response: rebuilt(response, body), pending };
  } catch (error) {
    const withheld = withhold(session, attempt, asVerificationError(error, pending.answer.id));
    // Nothing wrong with the answer, only no way to check it now: asked again, it is the same request.
    if (withheld instanceof VerificationError) attempt.lane.distrust();
    else session.unresolved.set(toHex(attempt.requestHash), { attempt, sinceMs: session.clock() });
    pending.fail(withheld);
    throw withheld;
  }
}

function takeStream(
  session: Session,
  attempt: Attempt,
  response: Response,
  pending: PendingAnswer,
  signal: AbortSignal,
): Inference {
  const { route } = attempt;
  const body = verifiedStream({
    expectations: {
      crypto: session.platform.crypto,
      keyId: route.keyId,
      publicKey: route.key.publicKey,
      requestHash: attempt.requestHash,
      reserve: attempt.reserve,
      policy: session.policy,
    },
    body: response.body as ReadableStream<Uint8Array>,
    reopen: async () => {
      const again = await post(session, attempt, signal);
      if (again.ok && again.body !== null) return again.body;
      throw nodeErrorOf(again.status, null, `${route.api.url} could not resume the stream`);
    },
    finish: (outcome) => concludeAnswer(session, attempt, pending, { ...outcome, form: 'stream' }),
    abandon: (reason, isBroken) => {
      if (isBroken && !(reason instanceof VerificationError)) {
        session.unresolved.set(toHex(attempt.requestHash), { attempt, sinceMs: session.clock() });
      } else {
        attempt.lane.distrust();
      }
      withhold(session, attempt, reason);
      pending.fail(reason ?? new UsageError('the stream was given up before its end'));
    },
  });
  const { status, statusText, headers } = response;
  const handed = new Response(body, { status, statusText, headers: handedHeaders(headers) });
  return { response: handed, pending };
}

const WITHHELD_MAX = 1_000;

/** Remembers why an answer was withheld; gives the error back. */
export function withhold(session: Session, attempt: Attempt, error: unknown): unknown {
  if (!(error instanceof VerificationError)) return error;
  if (session.withheld.size >= WITHHELD_MAX) session.withheld.clear();
  session.withheld.set(toHex(attempt.requestHash), error);
  return error;
}

interface ReceivedAnswer {
  readonly receipt: SignedObject<Receipt> | null;
  readonly response: Uint8Array;
  readonly form: Receipt['responseForm'];
  readonly checks: Verdict['checks'];
}

/** Verifies a whole answer. Throws `VerificationError` unless it passed, or the policy explicitly allows it to fail. */
async function concludeAnswer(
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

export function asVerificationError(error: unknown, id: string): unknown {
  if (!(error instanceof MalformedError)) return error;
  const malformed = failed('receipt.format', error.code, error.expected, error.got);
  return new VerificationError('the answer was withheld', verdictOf([malformed]), id);
}
