/** Sending a request so that it is executed and paid once, whatever breaks on the way. */

import { MalformedError, toHex, UsageError } from '@haca/primitives';
import { type Assurance, requestHashOf, type Verdict, verdictOf } from '@haca/protocol';
import type { Route } from '../directory.ts';
import { NodeError, VerificationError } from '../errors.ts';
import { BrokenBodyError, jsonOrNull, nodeErrorOf, readBounded } from '../node-api.ts';
import { sleep } from '../platform.ts';
import { type Policy, policyChecks } from '../policy.ts';
import type { Attempt, Inference, RequestParts, ZkExpectation } from './attempt.ts';
import { parseRequest } from './body.ts';
import { errorCodeOf, errorResponse, isConnectionRefused, isEventStream, post } from './http.ts';
import { answeredBefore, interruption } from './interruption.ts';
import { payIn, prepareAttempt } from './pay.ts';
import { asVerificationError, type Received, takeResponse, withhold } from './receive.ts';
import { saltedBody, sealCheck, sealingKeyOf } from './seal.ts';
import type { Session } from './session.ts';

export async function sendRequest(
  session: Session,
  path: string,
  body: Uint8Array,
  headers: Headers,
  signal: AbortSignal,
  zk: ZkExpectation | null = null,
): Promise<Inference> {
  let plain: BodyParts;
  let salted: BodyParts;
  try {
    plain = bodyParts(body, path);
    salted =
      session.policy.seal === 'never' ? plain : bodyParts(saltedBody(session.saltSecret, body, path), path);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return { response: errorResponse(400, 'E_REQUEST', error.message), pending: null };
  }
  for (const { requestHash } of [plain, salted]) {
    const unresolved = unresolvedAttempt(session, requestHash);
    if (unresolved !== undefined) return sendAttempt(session, unresolved, signal);
    const withheld = session.withheld.get(toHex(requestHash));
    if (withheld !== undefined && isLibraryRetry(headers)) throw withheld;
    session.withheld.delete(toHex(requestHash));
  }
  const { model } = plain.params;
  const requestTo = (route: Route): RequestParts => {
    const parts = sealingKeyOf(route, session.policy) === null ? plain : salted;
    return { path, headers, zk, ...parts };
  };
  const excluded = new Set<string>();
  let refused: Error | Response | undefined;
  for await (const route of session.directory.routes(model, excluded)) {
    const unfit = unfitness(route, session.policy);
    if (unfit !== null) {
      refused ??= new VerificationError(`node ${route.node.name} was not asked`, unfit);
      continue;
    }
    // A model may be served by other methods too: they prove nothing.
    if (zk !== null && route.key.method !== 'zk') continue;
    let result = await tryRoute(session, route, requestTo(route), signal);
    if (result instanceof Response) {
      // Perhaps it was only the key we knew: nothing was charged, and the node may have another one by now.
      const renewed = await session.directory.renewed(route);
      if (renewed !== null && unfitness(renewed, session.policy) === null) {
        result = await tryRoute(session, renewed, requestTo(renewed), signal);
      }
    }
    if (!(result instanceof Response)) return result;
    refused = result;
    excluded.add(toHex(route.nodeId));
  }
  if (refused instanceof Response) return { response: refused, pending: null };
  throw refused ?? new NodeError('E_UNAVAILABLE', `no node serves ${model}`);
}

type BodyParts = Pick<RequestParts, 'body' | 'params' | 'requestHash'>;

function bodyParts(body: Uint8Array, path: string): BodyParts {
  return { body, params: parseRequest(body, path), requestHash: requestHashOf(body) };
}

/** The official client libraries count the attempts of one call in this header. */
function isLibraryRetry(headers: Headers): boolean {
  return Number(headers.get('x-stainless-retry-count') ?? 0) > 0;
}

/** What is known to be wrong with a route before anything is paid or sent; null where nothing is. */
function unfitness(route: Route, policy: Policy): Verdict | null {
  const sealed = sealCheck(route, policy);
  // Before anything that may be overlooked: what was sent in the clear stays read.
  if (sealed.status === 'failed') return verdictOf([sealed]);
  if (policy.allowUnverified) return null;
  const { method } = route.key;
  const assurance: Assurance =
    method === 'tee' ? (route.evidenceSimulated ? 'tee-simulated' : 'tee') : method;
  const verdict = verdictOf([...route.checks, ...policyChecks(assurance, route.tier, policy)]);
  return verdict.ok ? null : verdict;
}

const SENDS_PER_NODE_MAX = 8;

/** A `Response` means: this node will not do it, and nothing was charged; ask another. */
async function tryRoute(
  session: Session,
  route: Route,
  request: RequestParts,
  signal: AbortSignal,
): Promise<Inference | Response> {
  let toppedUp = false;
  const promises = promisedBy(session.policy);
  let refusal: Inference | undefined;
  for (let tries = 1; ; tries++) {
    const attempt = await prepareAttempt(session, route, request).catch((error: unknown) => {
      if (tries < SENDS_PER_NODE_MAX && isBehind(error)) return null;
      throw error;
    });
    if (attempt === null) {
      await sleep(BEHIND_PAUSE_MS * tries, signal);
      continue;
    }
    if (!promises.add(attempt) && refusal !== undefined) {
      attempt.lane.distrust();
      return refusal;
    }
    const result = await sendAttempt(session, attempt, signal);
    const { response, pending } = result;
    if (pending !== null || response.ok) return result;
    const code = await errorCodeOf(response);
    if (tries >= SENDS_PER_NODE_MAX) return result;
    refusal = result;
    switch (code) {
      case 'E_LANE_BUSY':
        attempt.lane.retire();
        continue;
      case 'E_RESERVE':
      case 'E_VOUCHER':
      case 'E_IDEMPOTENCY':
        // The lane is not as we thought; its state is asked for again, and believed only with our own signature.
        attempt.lane.distrust();
        await sleep(20 * tries, signal);
        continue;
      case 'E_INSUFFICIENT':
      case 'E_ALLOCATION':
        attempt.lane.distrust();
        // Once more money; before and after that only time, for a node that has not seen the block yet.
        if (!toppedUp && tries > 2) {
          await payIn(session, route, attempt.reserve, true);
          toppedUp = true;
        } else {
          await sleep(100 * tries, signal);
        }
        continue;
      case 'E_CHANNEL':
      case 'E_SESSION':
        attempt.lane.distrust();
        session.channels.clear();
        await sleep(100 * tries, signal);
        continue;
      case 'E_HEAD_STALE':
      case 'E_UNAVAILABLE':
      case 'E_BUSY':
      case 'E_SEALED':
      case 'E_MODEL_UNKNOWN':
        attempt.lane.distrust();
        session.directory.forget(route.nodeId);
        return response;
      default:
        attempt.lane.release(attempt.requestHash);
        return result;
    }
  }
}

const BEHIND_PAUSE_MS = 100;

/** The node has not seen the block yet in which the channel was opened. */
function isBehind(error: unknown): boolean {
  return error instanceof NodeError && error.code === 'E_CHANNEL';
}

/**
 * A node that refuses a voucher has it all the same, and what it says of its lanes is its own word. So what the vouchers
 * of one request promise it together, each lane from its lowest known charge to its highest promise, stays within the
 * policy's limit, or twice the reserve where there is none.
 */
function promisedBy({ maxReserve }: Policy) {
  const lanes = new Map<string, { readonly from: bigint; readonly to: bigint }>();
  return {
    /** False where this attempt would promise too much. */
    add: ({ lane, voucher, reserve }: Attempt): boolean => {
      const { channelId, cumulative } = voucher.value;
      const name = `${toHex(channelId)} ${lane.index}`;
      const known = lanes.get(name) ?? { from: lane.charged, to: 0n };
      lanes.set(name, {
        from: lane.charged < known.from ? lane.charged : known.from,
        to: cumulative > known.to ? cumulative : known.to,
      });
      const total = [...lanes.values()].reduce((sum, { from, to }) => sum + to - from, 0n);
      return total <= (maxReserve ?? 2n * reserve);
    },
  };
}

const RESENDS_MAX = 2;

const RESEND_PAUSE_MS = 200;

const PENDING_WAITS_MAX = 60;

const PENDING_WAIT_MS = 500;

/** Sends one attempt. The same voucher with the same body is the same request, however often it is sent. */
async function sendAttempt(session: Session, attempt: Attempt, signal: AbortSignal): Promise<Inference> {
  session.sending.add(attempt);
  try {
    return await sendUntilAnswered(session, attempt, signal);
  } finally {
    session.sending.delete(attempt);
  }
}

async function sendUntilAnswered(
  session: Session,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<Inference> {
  const name = toHex(attempt.requestHash);
  let waits = 0;
  for (let sends = 0; ; sends++) {
    const received = await post(session, attempt, signal).then(
      (response) => receive(session, attempt, response),
      (cause: unknown) => ({ cause }),
    );
    if ('cause' in received) {
      if (received.cause instanceof UsageError) {
        attempt.lane.release(attempt.requestHash);
        throw received.cause;
      }
      if (received.cause instanceof VerificationError) {
        session.unresolved.delete(name);
        attempt.lane.distrust();
        throw withhold(session, attempt, received.cause);
      }
      const problem = await judgeSendFailure(session, attempt, received.cause, sends, signal);
      if (problem !== null) return problem;
      continue;
    }
    const receiptId = session.unresolved.has(name) ? chargedReceiptOf(received) : null;
    if (receiptId !== null) {
      session.unresolved.delete(name);
      attempt.lane.distrust();
      throw answeredBefore(attempt, receiptId);
    }
    const isPending = session.unresolved.has(name) && received.response.status === 409;
    if (isPending && waits++ < PENDING_WAITS_MAX) {
      await sleep(PENDING_WAIT_MS, signal);
      continue;
    }
    const unread = session.unresolved.has(name) ? unreadBy(received) : null;
    if (unread !== null) {
      await judgeSendFailure(session, attempt, signal.aborted ? signal.reason : unread, sends, signal);
      continue;
    }
    session.unresolved.delete(name);
    return takeResponse(session, attempt, received, signal);
  }
}

/** Of the refusal that says that a request was answered and charged, and nothing but its receipt is kept (HTTP-43). */
function chargedReceiptOf({ response, body }: Received): string | null {
  if (response.status !== 409 || body === null) return null;
  const said = jsonOrNull(body);
  if (nodeErrorOf(response.status, said, '').code !== 'E_IDEMPOTENCY') return null;
  const receiptId = (said as { haca?: { receiptId?: unknown } | null }).haca?.receiptId;
  return typeof receiptId === 'string' ? receiptId.slice(0, ANSWER_ID_MAX_CHARS) : null;
}

const ANSWER_ID_MAX_CHARS = 128;

/**
 * What a proxy answers with in place of the node, or a node that did not look at the request: that says nothing of what became
 * of one whose outcome is open.
 */
function unreadBy({ response, body }: Received): NodeError | null {
  if (response.status < 500 || body === null) return null;
  const error = nodeErrorOf(response.status, jsonOrNull(body), 'asked again');
  return error.code.startsWith('HTTP_') || error.code === 'E_BUSY' ? error : null;
}

/** A body that breaks off is a broken connection, not an answer. */
async function receive(
  session: Session,
  attempt: Attempt,
  response: Response,
): Promise<Received | { readonly cause: unknown }> {
  if (isEventStream(response)) return { response, body: null };
  try {
    return { response, body: await readBounded(response, session.policy.responseMaxBytes) };
  } catch (cause) {
    if (!(cause instanceof MalformedError)) return { cause };
    attempt.lane.distrust();
    throw withhold(session, attempt, asVerificationError(cause, ''));
  }
}

/** Null: send again. Throws where the outcome stays unknown; the attempt is then kept for when the caller tries again. */
async function judgeSendFailure(
  session: Session,
  attempt: Attempt,
  cause: unknown,
  sends: number,
  signal: AbortSignal,
): Promise<Inference | null> {
  const name = toHex(attempt.requestHash);
  const { url } = attempt.route.api;
  if (signal.aborted) {
    attempt.lane.distrust();
    session.unresolved.delete(name);
    throw cause instanceof BrokenBodyError ? cause.cause : cause;
  }
  if (isConnectionRefused(cause) && !session.unresolved.has(name)) {
    attempt.lane.release(attempt.requestHash);
    session.directory.forget(attempt.route.nodeId);
    return { response: errorResponse(503, 'E_UNAVAILABLE', `${url} is not there`), pending: null };
  }
  session.unresolved.set(name, { attempt, sinceMs: session.clock() });
  if (sends < RESENDS_MAX) {
    await sleep(RESEND_PAUSE_MS * (sends + 1), signal);
    return null;
  }
  if (cause instanceof BrokenBodyError) {
    throw interruption(attempt, `${cause.receivedBytes} bytes came`, cause.answerId, cause.cause);
  }
  const message = `${url} did not answer; sent again within ten minutes it is the same request`;
  throw new NodeError('E_UNREACHABLE', message, null, { cause });
}

/** Nodes keep answers for ten minutes; after that a request whose outcome stayed unknown is given up as lost. */
const UNRESOLVED_TTL_MS = 600_000;

function unresolvedAttempt(session: Session, requestHash: Uint8Array): Attempt | undefined {
  for (const [name, { attempt, sinceMs }] of session.unresolved) {
    if (session.clock() - sinceMs < UNRESOLVED_TTL_MS) continue;
    session.unresolved.delete(name);
    attempt.lane.distrust();
  }
  return session.unresolved.get(toHex(requestHash))?.attempt;
}
