/**
 * What each payer can still spend here, kept so that every accepted charge can be redeemed: allocations as of the newest
 * final state, less everything this node was promised and has not been paid. All checks of a request run in memory.
 */
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, MalformedError, toHex } from '@haca/primitives';
import {
  type Credit,
  credit,
  type SessionRecord,
  type SignedObject,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { ApiError } from './api-error.ts';
import { channelOfEvent, type NodeChainView } from './chain-view.ts';

/** One lane of one key: what it was charged, and what of that was paid. */
export interface Lane {
  readonly keyId: Uint8Array;
  readonly index: number;
  charged: bigint;
  /** Paid in the newest final state, and the sequence number of the receipt it was paid up to. */
  mark: bigint;
  markSeq: number;
  /** The request that runs on it now, by its voucher. */
  running: SignedObject<Voucher> | null;
  /** What that request may cost at most. */
  reserved: bigint;
  /** Newest voucher of a finished request. */
  newest: SignedObject<Voucher> | null;
}

interface Channel {
  readonly channelId: Uint8Array;
  readonly asset: number;
  amount: bigint;
  paid: bigint;
  withdrawing: bigint;
  readonly sessions: Map<number, SessionRecord>;
  readonly lanes: Map<string, Lane>;
  usedAtMs: number;
  /** State height of the amounts above; an older answer never replaces a newer one. */
  asOfHeight: number;
}

export interface Authorization {
  readonly voucher: SignedObject<Voucher>;
  readonly lane: Lane;
  readonly asset: number;
  /** The request is over and cost this much, at most what was reserved. Call exactly once. */
  readonly settle: (amount: bigint) => Credit;
}

export interface PaymentBook {
  /**
   * Checks a voucher against everything known and reserves the request's maximum. Throws `ApiError`; nothing is reserved
   * then. `keyExpiresAt` is the height up to which the key takes work.
   */
  readonly authorize: (request: {
    readonly voucher: SignedObject<Voucher>;
    readonly keyId: Uint8Array;
    readonly requestHash: Uint8Array;
    readonly reserve: bigint;
    readonly asset: number;
  }) => Promise<Authorization>;
  readonly laneState: (
    channelId: Uint8Array,
    keyId: Uint8Array,
    lane: number,
  ) => Promise<{
    readonly charged: bigint;
    readonly reserved: bigint;
    readonly voucher: SignedObject<Voucher> | null;
  }>;
  /** Puts back what an earlier process was promised. */
  readonly restoreLane: (
    channelId: Uint8Array,
    keyId: Uint8Array,
    index: number,
    charged: bigint,
    newest: SignedObject<Voucher>,
  ) => Promise<Lane>;
  readonly lane: (channelId: Uint8Array, keyId: Uint8Array, index: number) => Lane | undefined;
  /** Reads a channel again from the newest final state, e.g. after a payment. */
  readonly refresh: (channelId: Uint8Array) => Promise<void>;
}

const CHANNELS_MAX = 50_000;

export function openPaymentBook(chain: NodeChainView, nodeId: Uint8Array, nowMs: () => number): PaymentBook {
  const channels = new Map<string, Promise<Channel>>();
  const loaded = new Map<string, Channel>();

  const load = (channelId: Uint8Array): Promise<Channel> => {
    const name = toHex(channelId);
    const known = channels.get(name);
    if (known !== undefined) return known;
    const loading = readChannel(chain, nodeId, channelId, nowMs()).then(
      (channel) => {
        loaded.set(name, channel);
        return channel;
      },
      (error: unknown) => {
        channels.delete(name);
        throw error;
      },
    );
    channels.set(name, loading);
    if (channels.size > CHANNELS_MAX) forgetIdle(channels, loaded);
    return loading;
  };

  const refresh = async (channelId: Uint8Array): Promise<void> => {
    const channel = loaded.get(toHex(channelId));
    if (channel === undefined) return;
    await refreshChannel(chain, nodeId, channel);
  };

  chain.onFinalBlock((_, events) => {
    const touched = new Map<string, Uint8Array>();
    for (const event of events) {
      const channelId = channelOfEvent(event);
      if (channelId !== undefined) touched.set(toHex(channelId), channelId);
    }
    for (const channelId of touched.values()) void refresh(channelId).catch(() => undefined);
  });

  return {
    refresh,
    authorize: async ({ voucher, keyId, requestHash, reserve, asset }) => {
      const { value } = voucher;
      if (value.chainId !== chain.chainId) throw new ApiError('E_CHAIN', `This is ${chain.chainId}.`);
      if (!bytesEqual(value.keyId, keyId))
        throw new ApiError('E_VOUCHER', 'It names a key that does not serve this model now.');
      if (!bytesEqual(value.requestHash, requestHash)) {
        throw new ApiError('E_REQUEST_HASH', 'Hash the raw body bytes exactly as sent.');
      }
      const channel = await load(value.channelId);
      channel.usedAtMs = nowMs();
      if (channel.asset !== asset)
        throw new ApiError('E_CHANNEL', 'The channel holds another fee asset than the offer.');
      const session = await liveSession(chain, channel, value.session);
      checkExpiry(chain, value, session);
      if (!VOUCHER.verify(nodeCrypto, voucher, session.publicKey)) {
        throw new ApiError('E_VOUCHER', 'It is not signed by the session key of its slot.');
      }
      const lane = await ensureLane(chain, channel, keyId, value.lane);
      // No await from here on: between these checks and the reservation nothing else may run.
      if (lane.running !== null) {
        const same = lane.running.value.cumulative === value.cumulative;
        throw same
          ? new ApiError('E_IDEMPOTENCY', 'A request with this voucher amount is running.')
          : new ApiError('E_LANE_BUSY', `Lane ${value.lane} serves another request.`);
      }
      if (value.cumulative - lane.charged !== reserve) {
        throw new ApiError(
          'E_RESERVE',
          `Expected cumulative ${lane.charged + reserve}: charged ${lane.charged} plus ${reserve}.`,
          {
            details: { haca: { charged: `${lane.charged}`, reserve: `${reserve}` } },
          },
        );
      }
      const usable = usableOf(channel);
      if (usable < reserve) {
        throw new ApiError('E_INSUFFICIENT', `Usable ${usable}, needed ${reserve}.`, {
          details: { haca: { usable: `${usable}`, reserve: `${reserve}` } },
        });
      }
      lane.running = voucher;
      lane.reserved = reserve;
      return {
        voucher,
        lane,
        asset: channel.asset,
        settle: (amount) => {
          if (lane.running !== voucher) throw new Error('an authorization is settled once');
          if (amount > reserve) throw new Error(`a charge of ${amount} above the reserve of ${reserve}`);
          lane.running = null;
          lane.reserved = 0n;
          if (amount > 0n) {
            lane.charged += amount;
            lane.newest = voucher;
          }
          return credit(lane.charged);
        },
      };
    },
    laneState: async (channelId, keyId, index) => {
      const lane = await ensureLane(chain, await load(channelId), keyId, index);
      return { charged: lane.charged, reserved: lane.reserved, voucher: lane.newest };
    },
    restoreLane: async (channelId, keyId, index, charged, newest) => {
      const channel = await load(channelId);
      const lane = await ensureLane(chain, channel, keyId, index);
      lane.charged = charged;
      lane.newest = newest;
      await refreshChannel(chain, nodeId, channel);
      return lane;
    },
    lane: (channelId, keyId, index) => loaded.get(toHex(channelId))?.lanes.get(laneName(keyId, index)),
  };
}

function laneName(keyId: Uint8Array, index: number): string {
  return `${toHex(keyId)}/${index}`;
}

/** A lane that is not in memory starts from its row: everything charged on it before was paid, or is restored from the log. */
async function ensureLane(
  chain: NodeChainView,
  channel: Channel,
  keyId: Uint8Array,
  index: number,
): Promise<Lane> {
  const name = laneName(keyId, index);
  const known = channel.lanes.get(name);
  if (known !== undefined) return known;
  const row = await chain.lane(keyId, channel.channelId, index, chain.finalHeight());
  const mark = row?.mark ?? 0n;
  const meanwhile = channel.lanes.get(name);
  if (meanwhile !== undefined) return meanwhile;
  const markSeq = row?.seq ?? 0;
  const lane: Lane = {
    keyId,
    index,
    charged: mark,
    mark,
    markSeq,
    running: null,
    reserved: 0n,
    newest: null,
  };
  channel.lanes.set(name, lane);
  return lane;
}

/** amount - paid - withdrawing - charged but unpaid - reserved by running requests. */
function usableOf(channel: Channel): bigint {
  let usable = channel.amount - channel.paid - channel.withdrawing;
  for (const lane of channel.lanes.values()) usable -= lane.charged - lane.mark + lane.reserved;
  return usable;
}

async function readChannel(
  chain: NodeChainView,
  nodeId: Uint8Array,
  channelId: Uint8Array,
  usedAtMs: number,
): Promise<Channel> {
  const height = chain.finalHeight();
  const [record, allocation] = await Promise.all([
    chain.channel(channelId, height),
    chain.allocation(channelId, nodeId, height),
  ]);
  if (record === undefined) throw new ApiError('E_CHANNEL', 'No such channel in the newest final block.');
  if (allocation === undefined)
    throw new ApiError('E_ALLOCATION', 'The channel allocates nothing to this node yet.');
  const { amount, paid, withdrawing } = allocation;
  return {
    channelId,
    asset: record.asset,
    amount,
    paid,
    withdrawing,
    sessions: new Map(),
    lanes: new Map(),
    usedAtMs,
    asOfHeight: height,
  };
}

/** All rows of one channel at one height, applied together: a payment moves `paid` and the lane's mark at once. */
async function refreshChannel(chain: NodeChainView, nodeId: Uint8Array, channel: Channel): Promise<void> {
  const height = chain.finalHeight();
  const open = [...channel.lanes.values()].filter(({ charged, mark }) => charged > mark);
  const slots = [...channel.sessions.keys()];
  const [allocation, rows, sessions] = await Promise.all([
    chain.allocation(channel.channelId, nodeId, height),
    Promise.all(open.map((lane) => chain.lane(lane.keyId, channel.channelId, lane.index, height))),
    Promise.all(slots.map((slot) => chain.session(channel.channelId, slot, height))),
  ]);
  if (height < channel.asOfHeight) return;
  channel.asOfHeight = height;
  channel.amount = allocation?.amount ?? 0n;
  channel.paid = allocation?.paid ?? 0n;
  channel.withdrawing = allocation?.withdrawing ?? 0n;
  open.forEach((lane, i) => {
    const row = rows[i];
    if (row === undefined || row.mark < lane.mark) return;
    lane.mark = row.mark;
    lane.markSeq = row.seq;
  });
  slots.forEach((slot, i) => {
    const session = sessions[i];
    if (session === undefined) channel.sessions.delete(slot);
    else channel.sessions.set(slot, session);
  });
}

async function liveSession(chain: NodeChainView, channel: Channel, slot: number): Promise<SessionRecord> {
  const known = channel.sessions.get(slot);
  const session = known ?? (await chain.session(channel.channelId, slot, chain.finalHeight()));
  if (session === undefined)
    throw new ApiError('E_SESSION', `Slot ${slot} holds no session key in the newest final block.`);
  if (known === undefined) channel.sessions.set(slot, session);
  if (session.revokedAt !== undefined || session.expiryHeight <= chain.head().height) {
    throw new ApiError('E_SESSION', `The session key of slot ${slot} was revoked or has expired.`);
  }
  return session;
}

/** The promise must outlive every window in which it may have to be redeemed: two withdrawal delays from now. */
function checkExpiry(chain: NodeChainView, { expiry }: Voucher, session: SessionRecord): void {
  const least = chain.head().height + 2 * chain.config.params.withdrawDelay;
  if (expiry < least)
    throw new ApiError('E_VOUCHER', `Its expiry must be height ${least} or later, got ${expiry}.`);
  if (expiry > session.expiryHeight) {
    throw new ApiError(
      'E_VOUCHER',
      `Its expiry ${expiry} is after the session's own, ${session.expiryHeight}.`,
    );
  }
}

function forgetIdle(channels: Map<string, Promise<Channel>>, loaded: Map<string, Channel>): void {
  for (const [name, channel] of loaded) {
    const isIdle = [...channel.lanes.values()].every(
      ({ charged, mark, running }) => charged === mark && running === null,
    );
    if (isIdle) {
      loaded.delete(name);
      channels.delete(name);
    }
    if (channels.size < CHANNELS_MAX / 2) return;
  }
}

/** The voucher of a request header. */
export function parseVoucher(bytes: Uint8Array): SignedObject<Voucher> {
  try {
    return VOUCHER.decode(bytes);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new ApiError('E_VOUCHER', error.message);
  }
}
