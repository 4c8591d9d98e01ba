/** The chain as a node sees it, in memory and under the test's thumb: rows by height, reads that take their time or fail. */
import { type RpcClient, RpcError, type RpcEvent } from '@haca/platform';
import { toHex } from '@haca/primitives';
import {
  type AllocationRecord,
  type ChannelRecord,
  credit,
  DEFAULT_PARAMS,
  type LaneRecord,
  type NodeKeyRecord,
  type NodeRecord,
  nopg,
  type ProtocolParams,
  recordKey,
  type SessionRecord,
  ZERO_DIGEST,
} from '@haca/protocol';
import type { FinalBlockListener, NodeChainView } from '../src/chain-view.ts';
import type { EvidenceStanding } from '../src/evidence-standing.ts';
import { CHAIN_ID, digest, NODE_ID, sessionSigner } from './stream-fixture.ts';

export interface FakeView {
  readonly view: NodeChainView;
  /** Awaited before each read; throws for a full node that does not answer. */
  beforeRead: () => Promise<void> | void;
  reads: number;
  blockTimeMs: number;
  /** Of every key. */
  standing: EvidenceStanding | null;
  /** Rows as of the next block, then that block is final and listeners hear of it. */
  readonly block: (rows: Rows, events?: readonly RpcEvent[] | null) => void;
  /** Many blocks in which nothing happens. */
  readonly pass: (blocks: number) => void;
}

export interface Rows {
  readonly channel?: readonly [Uint8Array, ChannelRecord | undefined];
  readonly allocation?: readonly [Uint8Array, AllocationRecord | undefined];
  readonly session?: readonly [Uint8Array, number, SessionRecord | undefined];
  readonly lane?: readonly [Uint8Array, Uint8Array, number, LaneRecord];
  readonly node?: NodeRecord;
  readonly key?: readonly [Uint8Array, NodeKeyRecord];
}

export const CHANNEL: ChannelRecord = {
  payer: ZERO_DIGEST,
  asset: 1,
  free: credit(0n),
  allocations: 1,
  sessions: 1,
  version: 1,
};

export function allocationOf(amount: bigint, change: Partial<AllocationRecord> = {}): AllocationRecord {
  const none = { paid: credit(0n), withdrawing: credit(0n), readyAt: 0, version: 1 };
  return { amount: credit(amount), ...none, ...change };
}

export function sessionOf(change: Partial<SessionRecord> = {}): SessionRecord {
  return { publicKey: sessionSigner.publicKey, expiryHeight: 1_000_000, ...change };
}

export function nodeOf(change: Partial<NodeRecord> = {}): NodeRecord {
  return {
    operator: digest('operator'),
    operatorKey: { algorithm: 'ed25519', publicKey: new Uint8Array(32) },
    name: 'unit',
    endpoint: 'http://node',
    payout: digest('operator'),
    bond: nopg(50_000_000_000_000n),
    unbonding: nopg(0n),
    keyEpoch: 1,
    keys: [],
    laneRows: 0,
    bucketGas: 0,
    bucketHeight: 0,
    unbondingDue: [],
    ...change,
  };
}

export function touching(channelId: Uint8Array, type = 'channel'): RpcEvent {
  return { type, attributes: { channelId: toHex(channelId) } };
}

export function openFakeView(params: Partial<ProtocolParams> = {}): FakeView {
  const rows = new Map<string, { readonly height: number; readonly value: unknown }[]>();
  const listeners: FinalBlockListener[] = [];
  let final = 9;
  const put = (key: Uint8Array, value: unknown): void => {
    const name = toHex(key);
    rows.set(name, [...(rows.get(name) ?? []), { height: final + 1, value }]);
  };
  const read = async <T>(key: Uint8Array, height = final): Promise<T | undefined> => {
    fake.reads++;
    await fake.beforeRead();
    if (height > final) throw new RpcError(1, `height ${height} is not there yet`);
    return rows.get(toHex(key))?.findLast((row) => row.height <= height)?.value as T | undefined;
  };
  const finish = (events: readonly RpcEvent[] | null): void => {
    final++;
    for (const listener of listeners) listener(final, events);
  };
  const view: NodeChainView = {
    chainId: CHAIN_ID,
    config: {
      chainId: CHAIN_ID,
      genesisTimeMs: 0,
      simulated: true,
      params: { ...DEFAULT_PARAMS, ...params },
      testRoots: [],
    },
    rpc: undefined as unknown as RpcClient,
    head: () => ({
      height: final + 1,
      blockHash: digest(`block ${final + 1}`),
      blockTimeMs: fake.blockTimeMs,
      seenAtMs: 0,
    }),
    finalHeight: () => final,
    onFinalBlock: (listener) => {
      listeners.push(listener);
    },
    account: (id) => read(recordKey.account(id)),
    channel: (id, height) => read(recordKey.channel(id), height),
    session: (id, slot, height) => read(recordKey.session(id, slot), height),
    allocation: (id, nodeId, height) => read(recordKey.allocation(id, nodeId), height),
    lane: (keyId, id, lane, height) => read(recordKey.lane(keyId, id, lane), height),
    node: (id, height) => read(recordKey.node(id), height),
    nodeKey: (id, height) => read(recordKey.nodeKey(id), height),
    verifyingKey: async () => undefined,
    claim: async () => undefined,
    keyStanding: async () => fake.standing,
    model: (id) => read(recordKey.model(id)),
    close: () => undefined,
  };
  const fake: FakeView = {
    view,
    beforeRead: () => undefined,
    reads: 0,
    blockTimeMs: 1_000_000,
    standing: null,
    block: ({ channel, allocation, session, lane, node, key }, events = []) => {
      if (channel !== undefined) put(recordKey.channel(channel[0]), channel[1]);
      if (allocation !== undefined) put(recordKey.allocation(allocation[0], NODE_ID), allocation[1]);
      if (session !== undefined) put(recordKey.session(session[0], session[1]), session[2]);
      if (lane !== undefined) put(recordKey.lane(lane[0], lane[1], lane[2]), lane[3]);
      if (node !== undefined) put(recordKey.node(NODE_ID), node);
      if (key !== undefined) put(recordKey.nodeKey(key[0]), key[1]);
      finish(events);
    },
    pass: (blocks) => {
      for (let i = 0; i < blocks; i++) finish([]);
    },
  };
  fake.block({ node: nodeOf() });
  return fake;
}
