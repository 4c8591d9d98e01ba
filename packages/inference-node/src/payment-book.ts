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
  readonly channelId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly index: number;
  charged: bigint;
  /** Paid in the newest final state, and the sequence number of the receipt it was paid up to; 0 before a first payment. */
  mark: bigint;
  markSeq: number;
  /** The request that runs on it now. */
  running: RunningRequest | null;
  /** Voucher of the newest charged request. */
  newest: SignedObject<Voucher> | null;
}

interface RunningRequest {
  readonly voucher: SignedObject<Voucher>;
  /** What it may cost at most. */
  readonly reserved: bigint;
  readonly startedAt: number;
  readonly stop: AbortController;
}

interface Channel {
  readonly channelId: Uint8Array;
  /** Null where the newest final state has no such channel. */
  asset: number | null;
  /** Null where it has no allocation to this node. */
  allocated: bigint | null;
  paid: bigint;
  withdrawing: bigint;
  /** Height at which what is being withdrawn may be taken. */
  readyAt: number;
  /** Slots that were asked for; null where a slot is empty. */
  readonly sessions: Map<number, SessionRecord | null>;
  readonly lanes: Map<string, Lane>;
  /** State height of all of the above; 0 before the first reading. */
  readAt: number;
  /** Newest height known to have changed something: before it is read again, nothing is promised. */
  changedAt: number;
  reading: Promise<void> | null;
  /** Requests that hold on to this object. */
  users: number;
}

export interface Authorization {
  readonly voucher: SignedObject<Voucher>;
  readonly asset: number;
  readonly reserved: bigint;
  /** Aborts when the request has to end so that what it costs can still be redeemed. */
  readonly signal: AbortSignal;
  /**
   * The request is over and cost this much, at most what was reserved. `sign` gets what the lane is charged in total; if it
   * throws, nothing was charged and the request is not over.
   */
  readonly settle: <T>(amount: bigint, sign: (cumulative: Credit) => T) => T;
  /** The request is over without a charge, unless it was settled. */
  readonly release: () => void;
  /** Aborts `signal`. */
  readonly stop: () => void;
}

export interface AuthorizeRequest {
  readonly voucher: SignedObject<Voucher>;
  readonly keyId: Uint8Array;
  readonly requestHash: Uint8Array;
  readonly reserve: bigint;
  readonly asset: number;
}

export interface LaneState {
  readonly charged: bigint;
  readonly reserved: bigint;
  readonly voucher: SignedObject<Voucher> | null;
}

export interface PaymentBook {
  /** Checks a voucher against everything known and reserves the request's maximum. Throws `ApiError`; nothing is reserved then. */
  readonly authorize: (request: AuthorizeRequest) => Promise<Authorization>;
  readonly laneState: (channelId: Uint8Array, keyId: Uint8Array, index: number) => Promise<LaneState>;
  /** Puts back what an earlier process was promised: each voucher with what its lane was charged in total. */
  readonly restore: (charged: Iterable<readonly [SignedObject<Voucher>, bigint]>) => Promise<void>;
  /** A charged lane as it stands in the newest final state. */
  readonly chargedLane: (
    channelId: Uint8Array,
    keyId: Uint8Array,
    index: number,
  ) => Promise<Lane | undefined>;
  /** What a lane was charged from one total to another will never be paid: it is the payer's again. */
  readonly writeOff: (
    channelId: Uint8Array,
    keyId: Uint8Array,
    index: number,
    from: bigint,
    to: bigint,
  ) => void;
  /** Whether the lane has to be redeemed now, whatever the amount: money or promise are about to go. */
  readonly isUrgent: (lane: Lane) => boolean;
  /** Nothing can be redeemed on the key any more, or everything was. */
  readonly forgetKey: (keyId: Uint8Array) => void;
  readonly running: (keyId?: Uint8Array) => number;
  /** Ends all running requests as soon as may be. */
  readonly stopAll: () => void;
}

const CHANNELS_MAX = 50_000;
const READINGS_MAX = 256;

export function openPaymentBook(chain: NodeChainView, nodeId: Uint8Array): PaymentBook {
  const channels = new Map<string, Channel>();
  const runningLanes = new Set<Lane>();
  const rows = openRowBudget(chain, nodeId);
  let readings = 0;

  const channelOf = (channelId: Uint8Array): Channel => {
    const name = toHex(channelId);
    const known = channels.get(name);
    if (known !== undefined) return known;
    if (channels.size >= CHANNELS_MAX) forgetIdle(channels);
    const channel = newChannel(channelId);
    channels.set(name, channel);
    return channel;
  };

  /** One reading of a channel at a time; who finds one running waits for it and looks again. */
  const read = async (channel: Channel, wanted: Wanted): Promise<void> => {
    if (channel.reading !== null) return channel.reading;
    if (readings >= READINGS_MAX) throw new ApiError('E_UNAVAILABLE', 'Too many channels are being read.');
    readings++;
    channel.reading = readChannel(chain, nodeId, channel, wanted, rows).finally(() => {
      readings--;
      channel.reading = null;
    });
    return channel.reading;
  };

  const withChannel = async <T>(channelId: Uint8Array, use: (channel: Channel) => Promise<T>): Promise<T> => {
    const channel = channelOf(channelId);
    channel.users++;
    try {
      return await use(channel);
    } finally {
      channel.users--;
      // Ids that lead nowhere take no room.
      if (channel.asset === null && isIdle(channel)) channels.delete(toHex(channelId));
    }
  };

  chain.onFinalBlock((height, events) => {
    const touched =
      events === null
        ? channels.values()
        : events.map(channelOfEvent).map((id) => channels.get(id === undefined ? '' : toHex(id)));
    for (const channel of touched) {
      if (channel === undefined) continue;
      channel.changedAt = height;
      // Ahead of the next request; if it fails, that request tries again.
      void read(channel, {}).catch(() => undefined);
    }
    for (const lane of runningLanes) stopIfDue(chain, channels.get(toHex(lane.channelId)), lane, height);
  });

  return {
    authorize: (request) =>
      withChannel(request.voucher.value.channelId, async (channel) => {
        const { value } = request.voucher;
        checkSubject(chain, request);
        const wanted = { lane: { keyId: request.keyId, index: value.lane }, slot: value.session };
        while (!isCurrent(channel, wanted)) await read(channel, wanted);
        // No await from here on: between these checks and the reservation nothing else may run.
        checkVoucher(chain, channel, request);
        const lane = channel.lanes.get(laneName(request.keyId, value.lane)) as Lane;
        checkLane(lane, request);
        checkMoney(channel, lane, request, rows);
        return reserve(lane, request, chain.head().height, runningLanes, rows);
      }),
    laneState: (channelId, keyId, index) =>
      withChannel(channelId, async (channel) => {
        while (!isCurrent(channel, {})) await read(channel, {});
        if (channel.asset === null) throw unknownChannel();
        const lane = channel.lanes.get(laneName(keyId, index));
        if (lane !== undefined) {
          return { charged: lane.charged, reserved: lane.running?.reserved ?? 0n, voucher: lane.newest };
        }
        const row = await chain.lane(keyId, channelId, index, chain.finalHeight());
        return { charged: row?.mark ?? 0n, reserved: 0n, voucher: null };
      }),
    restore: async (charged) => {
      const touched = new Set<Channel>();
      for (const [voucher, total] of charged) {
        const { channelId, keyId, lane: index, session } = voucher.value;
        const channel = channelOf(channelId);
        const lane = newLane(channelId, keyId, index);
        lane.charged = total;
        lane.newest = voucher;
        channel.lanes.set(laneName(keyId, index), lane);
        channel.sessions.set(session, null);
        // Its row, its session and its money are all to be read, at one height.
        channel.readAt = 0;
        channel.changedAt = Math.max(channel.changedAt, 1);
        rows.watch(lane);
        touched.add(channel);
      }
      const waiting = [...touched];
      const readers = Array.from({ length: 16 }, async () => {
        for (let channel = waiting.pop(); channel !== undefined; channel = waiting.pop()) {
          while (!isCurrent(channel, {})) await read(channel, {});
        }
      });
      await Promise.all(readers);
    },
    chargedLane: (channelId, keyId, index) =>
      withChannel(channelId, async (channel) => {
        while (!isCurrent(channel, {})) await read(channel, {});
        return channel.lanes.get(laneName(keyId, index));
      }),
    writeOff: (channelId, keyId, index, from, to) => {
      const lane = channels.get(toHex(channelId))?.lanes.get(laneName(keyId, index));
      // Where something before it is still to be paid, the lane waits for that.
      if (lane !== undefined && lane.mark >= from && to > lane.mark) lane.mark = to;
    },
    isUrgent: (lane) => isUrgent(chain, channels.get(toHex(lane.channelId)), lane),
    forgetKey: (keyId) => {
      for (const channel of channels.values()) {
        for (const [name, lane] of channel.lanes) {
          if (lane.running !== null || !bytesEqual(lane.keyId, keyId)) continue;
          channel.lanes.delete(name);
          rows.forget(lane);
        }
      }
    },
    running: (keyId) =>
      keyId === undefined
        ? runningLanes.size
        : [...runningLanes].filter((lane) => bytesEqual(lane.keyId, keyId)).length,
    stopAll: () => {
      for (const { running } of runningLanes) running?.stop.abort();
    },
  };
}

function newChannel(channelId: Uint8Array): Channel {
  return {
    channelId,
    asset: null,
    allocated: null,
    paid: 0n,
    withdrawing: 0n,
    readyAt: 0,
    sessions: new Map(),
    lanes: new Map(),
    readAt: 0,
    changedAt: 1,
    reading: null,
    users: 0,
  };
}

function newLane(channelId: Uint8Array, keyId: Uint8Array, index: number): Lane {
  return { channelId, keyId, index, charged: 0n, mark: 0n, markSeq: 0, running: null, newest: null };
}

function laneName(keyId: Uint8Array, index: number): string {
  return `${toHex(keyId)}/${index}`;
}

/** What a caller needs besides the money: a lane's row, a session slot. */
interface Wanted {
  readonly lane?: { readonly keyId: Uint8Array; readonly index: number };
  readonly slot?: number;
}

function isCurrent(channel: Channel, { lane, slot }: Wanted): boolean {
  return (
    channel.readAt >= channel.changedAt &&
    (lane === undefined || channel.asset === null || channel.lanes.has(laneName(lane.keyId, lane.index))) &&
    (slot === undefined || channel.asset === null || channel.sessions.has(slot))
  );
}

/** All rows of one channel at one height, applied together: a payment moves `paid` and the lane's mark at once. */
async function readChannel(
  chain: NodeChainView,
  nodeId: Uint8Array,
  channel: Channel,
  wanted: Wanted,
  budget: RowBudget,
): Promise<void> {
  const height = chain.finalHeight();
  const { channelId } = channel;
  const lanes = [...channel.lanes.values()].filter(({ charged, mark }) => charged > mark);
  if (wanted.lane !== undefined && !channel.lanes.has(laneName(wanted.lane.keyId, wanted.lane.index))) {
    lanes.push(newLane(channelId, wanted.lane.keyId, wanted.lane.index));
  }
  const slots = new Set(channel.sessions.keys());
  if (wanted.slot !== undefined) slots.add(wanted.slot);
  const [record, allocation, rows, sessions] = await Promise.all([
    chain.channel(channelId, height),
    chain.allocation(channelId, nodeId, height),
    Promise.all(lanes.map((lane) => chain.lane(lane.keyId, channelId, lane.index, height))),
    Promise.all([...slots].map((slot) => chain.session(channelId, slot, height))),
    budget.read(height),
  ]);
  channel.asset = record?.asset ?? null;
  channel.allocated = allocation?.amount ?? null;
  channel.paid = allocation?.paid ?? 0n;
  channel.withdrawing = allocation?.withdrawing ?? 0n;
  channel.readyAt = allocation?.readyAt ?? 0;
  [...slots].forEach((slot, i) => {
    channel.sessions.set(slot, sessions[i] ?? null);
  });
  lanes.forEach((lane, i) => {
    const row = rows[i];
    if (row !== undefined && row.mark >= lane.mark) {
      lane.mark = row.mark;
      lane.markSeq = row.seq;
      // Everything charged on it before was paid, or was put back by `restore`.
      if (lane.charged < row.mark) lane.charged = row.mark;
    }
    if (record !== undefined) channel.lanes.set(laneName(lane.keyId, lane.index), lane);
    budget.watch(lane);
  });
  channel.readAt = height;
}

function unknownChannel(): ApiError {
  return new ApiError('E_CHANNEL', 'The newest final block has no such channel.');
}

/** What a voucher says about itself, before anything is looked up. */
function checkSubject(
  chain: NodeChainView,
  { voucher: { value }, keyId, requestHash }: AuthorizeRequest,
): void {
  if (value.chainId !== chain.chainId) throw new ApiError('E_CHAIN', `This is ${chain.chainId}.`);
  if (!bytesEqual(value.keyId, keyId)) throw new ApiError('E_VOUCHER', `Expected key ${toHex(keyId)}.`);
  if (!bytesEqual(value.requestHash, requestHash)) {
    throw new ApiError('E_REQUEST_HASH', 'Hash the raw body bytes exactly as sent.');
  }
}

/** r4 of the redemption rule, with room for the blocks until it is redeemed. */
function checkVoucher(chain: NodeChainView, channel: Channel, { voucher, asset }: AuthorizeRequest): void {
  const { session: slot, expiry } = voucher.value;
  const { height } = chain.head();
  if (channel.asset === null) throw unknownChannel();
  if (channel.asset !== asset) {
    throw new ApiError('E_CHANNEL', `It holds asset ${channel.asset}, the offer is in asset ${asset}.`);
  }
  if (channel.allocated === null) {
    throw new ApiError('E_ALLOCATION', 'The channel allocates nothing to this node yet.');
  }
  const session = channel.sessions.get(slot) ?? null;
  if (session === null) throw new ApiError('E_SESSION', `Slot ${slot} is empty in the newest final block.`);
  if (session.revokedAt !== undefined || session.expiryHeight <= height) {
    throw new ApiError('E_SESSION', `The session key of slot ${slot} was revoked or has expired.`);
  }
  const least = height + 2 * chain.config.params.withdrawDelay;
  if (expiry < least || expiry > session.expiryHeight) {
    const range = `${least} to ${session.expiryHeight}, where the session ends`;
    throw new ApiError('E_VOUCHER', `Its expiry must be a height of ${range}; it is ${expiry}.`);
  }
  if (!VOUCHER.verify(nodeCrypto, voucher, session.publicKey)) {
    throw new ApiError('E_VOUCHER', `It is not signed by the session key of slot ${slot}.`);
  }
}

/** Whether the voucher continues its lane exactly where it stands. */
function checkLane(lane: Lane, { voucher, requestHash, reserve }: AuthorizeRequest): void {
  const { cumulative } = voucher.value;
  if (lane.running !== null) {
    const { value } = lane.running.voucher;
    if (value.cumulative !== cumulative) {
      throw new ApiError('E_LANE_BUSY', `Lane ${lane.index} serves another request.`);
    }
    const what = bytesEqual(value.requestHash, requestHash) ? 'This' : 'Another';
    throw new ApiError('E_IDEMPOTENCY', `${what} request is running under this voucher amount.`);
  }
  const before = lane.newest?.value;
  if (before?.cumulative === cumulative && bytesEqual(before.requestHash, requestHash)) {
    throw new ApiError('E_IDEMPOTENCY', 'This request was answered and charged; the answer is not kept.');
  }
  if (cumulative - lane.charged === reserve) return;
  // Not the continuation of the lane, and an amount that was used: a mistake of bookkeeping, not of price.
  if (before?.cumulative === cumulative) {
    throw new ApiError('E_IDEMPOTENCY', `Another request was charged under it; charged ${lane.charged}.`);
  }
  throw new ApiError(
    'E_RESERVE',
    `Expected cumulative ${lane.charged + reserve}: charged ${lane.charged} plus ${reserve}; it is ${cumulative}.`,
    { details: { haca: { charged: `${lane.charged}`, reserve: `${reserve}` } } },
  );
}

/** r5 and r7: the money is there, and the lane will get a row to be paid on. */
function checkMoney(channel: Channel, lane: Lane, { reserve }: AuthorizeRequest, rows: RowBudget): void {
  const usable = usableOf(channel);
  if (usable < reserve) {
    throw new ApiError('E_INSUFFICIENT', `Usable ${usable}, needed ${reserve}.`, {
      details: { haca: { usable: `${usable}`, reserve: `${reserve}` } },
    });
  }
  if (!rows.hasRoomFor(lane)) {
    throw new ApiError('E_LANES', 'Use a lane that was used before, or another node.');
  }
}

/** amount - paid - withdrawing - charged but unpaid - reserved by running requests. */
function usableOf(channel: Channel): bigint {
  let usable = (channel.allocated ?? 0n) - channel.paid - channel.withdrawing;
  for (const { charged, mark, running } of channel.lanes.values()) {
    usable -= charged - mark + (running?.reserved ?? 0n);
  }
  return usable;
}

function reserve(
  lane: Lane,
  request: AuthorizeRequest,
  startedAt: number,
  runningLanes: Set<Lane>,
  rows: RowBudget,
): Authorization {
  const { voucher, reserve: reserved, asset } = request;
  const running: RunningRequest = { voucher, reserved, startedAt, stop: new AbortController() };
  lane.running = running;
  runningLanes.add(lane);
  rows.watch(lane);
  const release = (): void => {
    if (lane.running !== running) return;
    lane.running = null;
    runningLanes.delete(lane);
    rows.watch(lane);
  };
  return {
    voucher,
    asset,
    reserved,
    signal: running.stop.signal,
    release,
    stop: () => running.stop.abort(),
    settle: (amount, sign) => {
      if (lane.running !== running) throw new Error('a request is settled once');
      if (amount < 0n || amount > reserved) throw new Error(`a charge of ${amount} above ${reserved}`);
      const total = lane.charged + amount;
      const signed = sign(credit(total));
      if (amount > 0n) {
        lane.charged = total;
        lane.newest = voucher;
      }
      release();
      return signed;
    },
  };
}

/** The promise behind a lane's newest charge is being withdrawn, or runs out within the time a withdrawal takes. */
function isUrgent(chain: NodeChainView, channel: Channel | undefined, lane: Lane): boolean {
  if (channel === undefined || lane.newest === null) return false;
  const { session, expiry } = lane.newest.value;
  return (
    channel.withdrawing > 0n ||
    channel.sessions.get(session)?.revokedAt !== undefined ||
    expiry - chain.finalHeight() <= chain.config.params.withdrawDelay
  );
}

/**
 * Ends a request that could outlive the promise it rests on: `requestDuration` blocks after a withdrawal or revocation
 * became known, and in any case while the voucher has a withdrawal delay to go.
 */
function stopIfDue(chain: NodeChainView, channel: Channel | undefined, lane: Lane, height: number): void {
  const { running } = lane;
  if (running === null || channel === undefined) return;
  const { params } = chain.config;
  const { session, expiry } = running.voucher.value;
  const pendingSince =
    channel.sessions.get(session)?.revokedAt ??
    (channel.withdrawing > 0n ? channel.readyAt - params.withdrawDelay : Number.POSITIVE_INFINITY);
  const latest = Math.max(running.startedAt, pendingSince) + params.requestDuration;
  if (height >= latest || height >= expiry - params.withdrawDelay) running.stop.abort();
}

function isIdle(channel: Channel): boolean {
  if (channel.users > 0) return false;
  for (const { charged, mark, running } of channel.lanes.values()) {
    if (charged !== mark || running !== null) return false;
  }
  return true;
}

/** Channels are in order of their first use. */
function forgetIdle(channels: Map<string, Channel>): void {
  for (const [name, channel] of channels) {
    if (channels.size < CHANNELS_MAX / 2) return;
    if (isIdle(channel)) channels.delete(name);
  }
}

/**
 * r7: the bond limits how many lanes of a node can have a row. Lanes that will need one when they are redeemed count from
 * the moment a request runs on them.
 */
interface RowBudget {
  readonly read: (height: number) => Promise<void>;
  /** The lane's charge, row or request changed. */
  readonly watch: (lane: Lane) => void;
  readonly forget: (lane: Lane) => void;
  readonly hasRoomFor: (lane: Lane) => boolean;
}

function openRowBudget(chain: NodeChainView, nodeId: Uint8Array): RowBudget {
  const waiting = new Set<Lane>();
  let readAt = 0;
  let free = 0n;
  return {
    read: async (height) => {
      const node = await chain.node(nodeId, height);
      if (height < readAt) return;
      readAt = height;
      const rowsMax =
        node === undefined ? 0n : (node.bond + node.unbonding) / chain.config.params.bondPerLaneRow;
      free = rowsMax - BigInt(node?.laneRows ?? 0);
    },
    watch: (lane) => {
      if (lane.markSeq === 0 && (lane.charged > 0n || lane.running !== null)) waiting.add(lane);
      else waiting.delete(lane);
    },
    forget: (lane) => waiting.delete(lane),
    hasRoomFor: (lane) => lane.markSeq > 0 || waiting.has(lane) || BigInt(waiting.size) < free,
  };
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
