/**
 * The payer's side: an account key that signs transactions, and per chain a channel with a session key that signs vouchers.
 * A session key is stored before the transaction that registers it is sent, so that no registered key is ever lost.
 */
import { bytesEqual, decode, fromHex, toHex, UsageError } from '@haca/primitives';
import {
  type AccountRecord,
  accountRecordCodec,
  allocationRecordCodec,
  type ChannelRecord,
  channelIdOf,
  channelRecordCodec,
  credit,
  type Op,
  recordKey,
  SESSIONS_PER_CHANNEL,
  type SessionRecord,
  type SignedObject,
  sessionRecordCodec,
  tablePrefix,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { PaymentError } from '../errors.ts';
import { asArray, asHex, asInteger, asObject } from '../json.ts';
import { type Platform, randomBytes, type Signer } from '../platform.ts';
import { listRecords } from './record-list.ts';
import { accountOf, fetchAccount, submitOps, type TxOutcome } from './transactions.ts';
import type { ChainView } from './view.ts';

/** Where a wallet keeps what it must not lose between runs. Nothing in it is needed to keep money safe but the seeds. */
export interface WalletStore {
  readonly load: () => Promise<WalletState>;
  readonly save: (state: WalletState) => Promise<void>;
}

export interface WalletState {
  readonly channels: readonly StoredChannel[];
}

export interface StoredChannel {
  readonly chainId: string;
  readonly channelId: Uint8Array;
  readonly asset: number;
  readonly session: number;
  readonly sessionSeed: Uint8Array;
}

export const EMPTY_WALLET_STATE: WalletState = { channels: [] };

export function memoryWalletStore(): WalletStore {
  let kept = EMPTY_WALLET_STATE;
  return {
    load: () => Promise.resolve(kept),
    save: (state) => {
      kept = state;
      return Promise.resolve();
    },
  };
}

/** What `openHaca` is given: who pays. */
export interface WalletKey {
  readonly signer: Signer;
  readonly store: WalletStore;
}

export interface Channel {
  readonly channelId: Uint8Array;
  readonly asset: number;
  readonly session: number;
  /** Last height at which the session key signs. */
  readonly sessionExpiry: number;
  readonly signVoucher: (
    voucher: Omit<Voucher, 'version' | 'chainId' | 'channelId' | 'session'>,
  ) => SignedObject<Voucher>;
  readonly sessionPublicKey: Uint8Array;
}

export interface ChannelWish {
  readonly asset: number;
  /** Put into the channel where it is opened or runs dry, base units. */
  readonly deposit: bigint;
  readonly nodeId: Uint8Array;
  /** Allocated to the node where it has less than `needed` left. */
  readonly allocation: bigint;
  /** Unpaid allocation that must be left; default 1. */
  readonly needed?: bigint;
  /** Allocate once more although enough seems to be left: promises of earlier runs are not known here. */
  readonly force?: boolean;
  /** Height up to which vouchers must be valid. */
  readonly validUntil: number;
  readonly sessionTtlMax: number;
}

export interface Wallet {
  readonly accountId: Uint8Array;
  /** Proven balances; zero for an account that does not exist. */
  readonly balance: () => Promise<{ readonly nopg: bigint; readonly credits: ReadonlyMap<number, bigint> }>;
  readonly submit: (ops: readonly Op[]) => Promise<TxOutcome>;
  /** Makes what is missing of channel, session and allocation, in one transaction, and waits until it is final. */
  readonly ensureChannel: (wish: ChannelWish) => Promise<Channel>;
}

export function openWallet(platform: Platform, chain: ChainView, key: WalletKey): Wallet {
  const { signer, store } = key;
  const accountId = accountOf(signer);
  let tail: Promise<unknown> = Promise.resolve();
  // One transaction at a time: each takes the account's next nonce.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work);
    tail = result.catch(() => undefined);
    return result;
  };

  const balance: Wallet['balance'] = async () => {
    const { value } = await chain.record(recordKey.account(accountId));
    if (value === null) return { nopg: 0n, credits: new Map() };
    const row: AccountRecord = decode(accountRecordCodec, value, 'account');
    return { nopg: row.nopg, credits: new Map(row.credits) };
  };

  const nextNonce = async (): Promise<number> => (await fetchAccount(chain.rpc, accountId))?.nonceHigh ?? 0;

  const submitWithNonce = async (ops: readonly Op[], nonce: number): Promise<TxOutcome> => {
    const outcome = await submitOps({ rpc: chain.rpc, chainId: chain.chainId, signer, ops, nonce });
    await chain.sync({ minHeight: outcome.height + 1 });
    return outcome;
  };

  const ensureChannel = async (wish: ChannelWish): Promise<Channel> => {
    const found = await findChannel(platform, chain, store, accountId, wish);
    const nonce = await nextNonce();
    const plan =
      found === null
        ? openingPlan(chain.chainId, accountId, wish, nonce)
        : await topUpPlan(chain, found, wish);
    const sessionSeed = plan.session === null ? (found as FoundChannel).stored.sessionSeed : randomBytes(32);
    const session = platform.signerFromSeed(sessionSeed);
    const head = chain.head().height;
    const sessionExpiry =
      plan.session === null
        ? ((found as FoundChannel).session as SessionRecord).expiryHeight
        : head + wish.sessionTtlMax - SESSION_MARGIN_BLOCKS;
    const ops = [
      ...plan.before,
      ...(plan.session === null
        ? []
        : [
            {
              kind: 'register-session',
              channelId: plan.channelId,
              session: plan.session,
              publicKey: session.publicKey,
              expiryHeight: sessionExpiry,
            } as const,
          ]),
      ...plan.after,
    ];
    const stored: StoredChannel = {
      chainId: chain.chainId,
      channelId: plan.channelId,
      asset: wish.asset,
      session: plan.session ?? (found as FoundChannel).stored.session,
      sessionSeed,
    };
    if (plan.session !== null) await remember(store, stored);
    if (ops.length > 0) await submitWithNonce(ops, nonce);
    return channelOf(stored, session, sessionExpiry);
  };

  return {
    accountId,
    balance,
    submit: (ops) => inTurn(async () => submitWithNonce(ops, await nextNonce())),
    ensureChannel: (wish) => inTurn(() => ensureChannel(wish)),
  };
}

/** Room between the session's own limit and the height at which the transaction lands. */
const SESSION_MARGIN_BLOCKS = 200;

function channelOf(stored: StoredChannel, session: Signer, sessionExpiry: number): Channel {
  return {
    channelId: stored.channelId,
    asset: stored.asset,
    session: stored.session,
    sessionExpiry,
    sessionPublicKey: session.publicKey,
    signVoucher: (voucher) =>
      VOUCHER.sign(
        {
          ...voucher,
          version: 1,
          chainId: stored.chainId,
          channelId: stored.channelId,
          session: stored.session,
        },
        session.sign,
      ),
  };
}

interface FoundChannel {
  readonly stored: StoredChannel;
  readonly record: ChannelRecord;
  /** Null where the session on chain is not ours, or ends too early. */
  readonly session: SessionRecord | null;
  readonly usedSessions: ReadonlySet<number>;
}

interface ChannelPlan {
  readonly channelId: Uint8Array;
  readonly before: readonly Op[];
  /** Slot to register a fresh session key in, or null where the present one serves. */
  readonly session: number | null;
  readonly after: readonly Op[];
}

function openingPlan(chainId: string, payer: Uint8Array, wish: ChannelWish, nonce: number): ChannelPlan {
  const channelId = channelIdOf(chainId, payer, wish.asset, nonce);
  const allocation = larger(wish.allocation, wish.needed ?? 1n);
  const deposit = larger(wish.deposit, allocation);
  return {
    channelId,
    before: [{ kind: 'open-channel', asset: wish.asset, amount: credit(deposit) }],
    session: 0,
    after: [{ kind: 'allocate', channelId, nodeId: wish.nodeId, amount: credit(allocation) }],
  };
}

async function topUpPlan(chain: ChainView, found: FoundChannel, wish: ChannelWish): Promise<ChannelPlan> {
  const { channelId } = found.stored;
  const row = await chain.record(recordKey.allocation(channelId, wish.nodeId));
  const allocation = row.value === null ? null : decode(allocationRecordCodec, row.value, 'allocation');
  const left = allocation === null ? 0n : allocation.amount - allocation.paid - allocation.withdrawing;
  const needed = wish.needed ?? 1n;
  const isEnough = left >= needed && wish.force !== true;
  const amount = larger(wish.allocation, needed - left);
  const missing =
    isEnough || found.record.free >= amount ? 0n : larger(wish.deposit, amount - found.record.free);
  const slots = Array.from({ length: SESSIONS_PER_CHANNEL }, (_, i) => i);
  const freeSlot = slots.find((slot) => !found.usedSessions.has(slot));
  if (found.session === null && freeSlot === undefined) {
    throw new PaymentError('E_SESSION', 'all session slots of the channel are taken; revoke one or wait');
  }
  return {
    channelId,
    before: missing === 0n ? [] : [{ kind: 'deposit', channelId, amount: credit(missing) }],
    session: found.session === null ? (freeSlot as number) : null,
    after: isEnough ? [] : [{ kind: 'allocate', channelId, nodeId: wish.nodeId, amount: credit(amount) }],
  };
}

/** The channel of this payer and asset: a remembered one, else one found on chain (a wallet whose notes were lost). */
async function findChannel(
  platform: Platform,
  chain: ChainView,
  store: WalletStore,
  payer: Uint8Array,
  wish: ChannelWish,
): Promise<FoundChannel | null> {
  const state = await store.load();
  const mine = state.channels.filter(
    ({ chainId, asset }) => chainId === chain.chainId && asset === wish.asset,
  );
  for (const stored of [...mine].reverse()) {
    const found = await inspectChannel(platform, chain, stored, payer, wish);
    if (found !== null) return found;
  }
  for (const [key, bytes] of await listRecords(chain.rpc, tablePrefix('channel'))) {
    const record = decode(channelRecordCodec, bytes, 'channel');
    if (record.asset !== wish.asset || !bytesEqual(record.payer, payer)) continue;
    const stored = {
      chainId: chain.chainId,
      channelId: key.slice(1),
      asset: wish.asset,
      session: 0,
      sessionSeed: new Uint8Array(0),
    };
    const found = await inspectChannel(platform, chain, stored, payer, wish);
    if (found !== null) return found;
  }
  return null;
}

async function inspectChannel(
  platform: Platform,
  chain: ChainView,
  stored: StoredChannel,
  payer: Uint8Array,
  wish: ChannelWish,
): Promise<FoundChannel | null> {
  const row = await chain.record(recordKey.channel(stored.channelId));
  if (row.value === null) return null;
  const record = decode(channelRecordCodec, row.value, 'channel');
  if (record.asset !== wish.asset || !bytesEqual(record.payer, payer)) return null;
  const isKnown = stored.sessionSeed.length === 32;
  const ours = isKnown ? await sessionAt(chain, stored.channelId, stored.session) : null;
  const serves =
    ours !== null &&
    ours.revokedAt === undefined &&
    ours.expiryHeight >= wish.validUntil &&
    bytesEqual(ours.publicKey, platform.signerFromSeed(stored.sessionSeed).publicKey);
  if (serves) return { stored, record, session: ours, usedSessions: new Set() };
  const used = new Set<number>();
  for (let slot = 0; slot < SESSIONS_PER_CHANNEL && used.size === slot; slot++) {
    if ((await sessionAt(chain, stored.channelId, slot)) !== null) used.add(slot);
  }
  return { stored, record, session: null, usedSessions: used };
}

async function sessionAt(
  chain: ChainView,
  channelId: Uint8Array,
  slot: number,
): Promise<SessionRecord | null> {
  const { value } = await chain.record(recordKey.session(channelId, slot));
  return value === null ? null : decode(sessionRecordCodec, value, 'session');
}

async function remember(store: WalletStore, channel: StoredChannel): Promise<void> {
  const { channels } = await store.load();
  const others = channels.filter(({ channelId, session }) => {
    return !bytesEqual(channelId, channel.channelId) || session !== channel.session;
  });
  await store.save({ channels: [...others, channel] });
}

/** JSON of the bookkeeping, for stores that keep text. */
export function formatWalletState({ channels }: WalletState): string {
  return `${JSON.stringify(
    {
      version: 1,
      channels: channels.map(({ chainId, channelId, asset, session, sessionSeed }) => ({
        chainId,
        channelId: toHex(channelId),
        asset,
        session,
        sessionSeed: toHex(sessionSeed),
      })),
    },
    null,
    2,
  )}\n`;
}

export function parseWalletState(value: unknown): WalletState {
  const doc = asObject(value, 'wallet-state');
  if (doc['version'] !== 1) throw new UsageError('a wallet state of another version');
  return {
    channels: asArray(doc['channels'], 'wallet-state.channels', 10_000).map((entry, i) => {
      const path = `wallet-state.channels.${i}`;
      const channel = asObject(entry, path);
      return {
        chainId: String(channel['chainId']),
        channelId: asHex(channel['channelId'], `${path}.channelId`, 32),
        asset: asInteger(channel['asset'], `${path}.asset`),
        session: asInteger(channel['session'], `${path}.session`),
        sessionSeed: fromHex(String(channel['sessionSeed']), `${path}.sessionSeed`),
      };
    }),
  };
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
