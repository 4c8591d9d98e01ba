import { toHex } from '@haca/primitives';
import { failed, reserveFor, type Voucher, verdictOf } from '@haca/protocol';
import { headerTimeMs } from '../chain/view.ts';
import type { Channel } from '../chain/wallet.ts';
import type { Route } from '../directory.ts';
import { PaymentError, VerificationError } from '../errors.ts';
import { randomBytes } from '../platform.ts';
import type { Attempt, RequestParts } from './attempt.ts';
import type { Session } from './session.ts';

const SYNC_EVERY_MS = 2_000;

export async function prepareAttempt(
  session: Session,
  route: Route,
  request: RequestParts,
): Promise<Attempt> {
  const { policy, chain } = session;
  if (session.clock() - session.syncedAtMs > SYNC_EVERY_MS) {
    await chain.sync();
    session.syncedAtMs = session.clock();
  }
  requireFreshHead(session);
  const head = chain.head().height;
  const reserve = reserveFor(
    route.offer.value,
    request.params.inputTokensMax,
    request.params.maxOutputTokens,
  );
  // Prices are the node's: what the caller means to allocate to one node is the limit where the policy has none.
  const most = policy.maxReserve ?? session.channel.allocation;
  if (reserve > most) {
    throw new PaymentError('E_PRICE', `the request may cost ${reserve}, the policy allows ${most}`);
  }
  const channel = await payIn(session, route, reserve, false);
  const lane = await session.lanes.acquire(route.api, channel, route.keyId, request.requestHash);
  const { withdrawDelay } = route.config.params;
  const voucher = channel.signVoucher({
    keyId: route.keyId,
    lane: lane.index,
    cumulative: (lane.charged + reserve) as Voucher['cumulative'],
    requestHash: request.requestHash,
    expiry: Math.min(channel.sessionExpiry, head + 4 * withdrawDelay),
  });
  return {
    ...request,
    route,
    lane,
    voucher,
    reserve,
    idempotencyKey: toHex(randomBytes(16)),
    minRefHeight: Math.max(0, head - policy.refBlockAgeMax),
    startedAtMs: session.clock(),
  };
}

/**
 * A network makes a block every few seconds, so a newest header of long ago is a full node that hides what came after it:
 * keys revoked, bonds gone.
 */
function requireFreshHead({ chain, clock, policy }: Session): void {
  const ageMs = clock() - headerTimeMs(chain.head());
  if (ageMs <= policy.headAgeMaxMs) return;
  const stale = failed('chain.fresh', 'chain.stale', `at most ${policy.headAgeMaxMs} ms old`, `${ageMs} ms`);
  throw new VerificationError('the full node shows no new blocks', verdictOf([stale]));
}

const EXPIRY_MARGIN_BLOCKS = 100;

/** The channel that pays this node; made or filled up where needed. */
export async function payIn(
  session: Session,
  route: Route,
  reserve: bigint,
  force: boolean,
): Promise<Channel> {
  const { wallet, channel, chain } = session;
  if (wallet === null) throw new PaymentError('E_VOUCHER_REQUIRED', 'this client has no wallet to pay with');
  const { asset } = route.offer.value;
  const name = `${toHex(route.nodeId)} ${asset}`;
  const known = session.channels.get(name);
  const head = chain.head().height;
  const { withdrawDelay, sessionTtlMax } = route.config.params;
  const validUntil = head + 2 * withdrawDelay + EXPIRY_MARGIN_BLOCKS;
  if (!force && known !== undefined && known.sessionExpiry >= validUntil) return known;
  const wanted = larger(channel.allocation, 4n * reserve);
  const opened = await wallet.ensureChannel({
    asset,
    deposit: larger(channel.deposit, wanted),
    nodeId: route.nodeId,
    allocation: wanted,
    needed: reserve,
    force,
    validUntil,
    sessionTtlMax,
  });
  session.channels.set(name, opened);
  return opened;
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
