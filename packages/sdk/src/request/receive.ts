/** From bytes of a node to an answer that is handed over, or withheld. */
import { fromBase64url } from '@haca/platform/rpc';
import { MalformedError, toHex, UsageError } from '@haca/primitives';
import { failed, RECEIPT, verdictOf } from '@haca/protocol';
import { openAnswer, type PendingAnswer } from '../answer.ts';
import { NodeError, VerificationError } from '../errors.ts';
import { answerIdOf, jsonOrNull, nodeErrorOf, readBounded } from '../node-api.ts';
import type { Attempt, Inference } from './attempt.ts';
import { concludeAnswer } from './conclude.ts';
import { handedHeaders, post, rebuilt, refusalOf } from './http.ts';
import { interruption } from './interruption.ts';
import type { Session } from './session.ts';
import { isFailedCheck, verifiedStream } from './stream-verifier.ts';

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
  if (!response.ok) return { response: refusalOf(response, body), pending: null };
  const pending = openAnswer({
    crypto: session.platform.crypto,
    chain: session.chain,
    route: attempt.route,
    clock: session.clock,
    id: answerIdOf(response) ?? '',
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
    await concludeAnswer(session, attempt, pending, {
      receipt,
      response: body,
      form: 'body',
      checks: [],
      isResumed: false,
    });
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
      signal.throwIfAborted();
      const again = await post(session, attempt, signal);
      if (again.ok && again.body !== null) return again.body;
      const said = await readBounded(again, REFUSAL_MAX_BYTES).then(jsonOrNull, () => null);
      throw nodeErrorOf(again.status, said, 'asked again');
    },
    interrupted: (cause, { events, bytes, releasedEvents }) => {
      // Whoever called it off is told what it said itself.
      if (signal.aborted) return signal.reason;
      if (isFailedCheck(cause)) return cause;
      const got = `${events} events (${bytes} bytes) came, ${releasedEvents} of them were handed over, no receipt`;
      return interruption(attempt, got, pending.answer.id, cause);
    },
    finish: (outcome) => concludeAnswer(session, attempt, pending, { ...outcome, form: 'stream' }),
    abandon: (reason, isBroken) => {
      // Called off it is given up, whole or streamed.
      const isOver = reason instanceof VerificationError || isStopped(reason) || signal.aborted;
      if (isBroken && !isOver) {
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

const REFUSAL_MAX_BYTES = 1 << 20;

function isStopped(reason: unknown): boolean {
  return reason instanceof NodeError && reason.code === 'E_ABORTED';
}

const WITHHELD_MAX = 1_000;

/** Remembers why an answer was withheld; gives the error back. */
export function withhold(session: Session, attempt: Attempt, error: unknown): unknown {
  if (!(error instanceof VerificationError)) return error;
  if (session.withheld.size >= WITHHELD_MAX) session.withheld.clear();
  session.withheld.set(toHex(attempt.requestHash), error);
  return error;
}

export function asVerificationError(error: unknown, id: string): unknown {
  if (!(error instanceof MalformedError)) return error;
  const malformed = failed('receipt.format', error.code, error.expected, error.got);
  return new VerificationError('the answer was withheld', verdictOf([malformed]), id);
}
