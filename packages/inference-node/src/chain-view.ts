/**
 * What the node knows of the chain, through its own full node: the head, the newest *final* state, and which channels a
 * block touched. Records are decoded here and nowhere else.
 */
import { type RpcClient, RpcError, type RpcEvent } from '@haca/platform';
import { type Codec, decode, fromHex, utf8Decode } from '@haca/primitives';
import {
  type AccountRecord,
  type AllocationRecord,
  accountRecordCodec,
  allocationRecordCodec,
  type ChainConfigRecord,
  type ChannelRecord,
  type ClaimRecord,
  chainConfigRecordCodec,
  channelRecordCodec,
  claimRecordCodec,
  type LaneRecord,
  laneRecordCodec,
  type ModelRecord,
  modelRecordCodec,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  recordKey,
  type SessionRecord,
  sessionRecordCodec,
  type VerifyingKeyRecord,
  verifyingKeyRecordCodec,
} from '@haca/protocol';
import { type EvidenceStanding, parseStanding } from './evidence-standing.ts';

export interface ChainHead {
  readonly height: number;
  readonly blockHash: Uint8Array;
  readonly blockTimeMs: number;
  /** Local monotonic milliseconds when this height was first seen, to notice a chain that stands still. */
  readonly seenAtMs: number;
}

/** `events` are null where blocks were skipped: anything may have changed. */
export type FinalBlockListener = (height: number, events: readonly RpcEvent[] | null) => void;

export interface NodeChainView {
  readonly chainId: string;
  readonly config: ChainConfigRecord;
  readonly rpc: RpcClient;
  readonly head: () => ChainHead;
  /** The newest state that a signed header commits to and whose block was looked at. */
  readonly finalHeight: () => number;
  /** Called after each new head, once per height, with what the now final block did; null where that is not to be had. */
  readonly onFinalBlock: (listener: (height: number, events: readonly RpcEvent[] | null) => void) => void;
  readonly account: (accountId: Uint8Array) => Promise<AccountRecord | undefined>;
  readonly channel: (channelId: Uint8Array, height?: number) => Promise<ChannelRecord | undefined>;
  readonly session: (
    channelId: Uint8Array,
    index: number,
    height?: number,
  ) => Promise<SessionRecord | undefined>;
  readonly allocation: (
    channelId: Uint8Array,
    nodeId: Uint8Array,
    height?: number,
  ) => Promise<AllocationRecord | undefined>;
  readonly lane: (
    keyId: Uint8Array,
    channelId: Uint8Array,
    lane: number,
    height?: number,
  ) => Promise<LaneRecord | undefined>;
  readonly node: (nodeId: Uint8Array, height?: number) => Promise<NodeRecord | undefined>;
  readonly nodeKey: (keyId: Uint8Array, height?: number) => Promise<NodeKeyRecord | undefined>;
  /** Of the evidence behind a key, as of the newest block; null where the full node can't say. */
  readonly keyStanding: (keyId: Uint8Array) => Promise<EvidenceStanding | null>;
  readonly model: (modelId: Uint8Array) => Promise<ModelRecord | undefined>;
  readonly verifyingKey: (hash: Uint8Array) => Promise<VerifyingKeyRecord | undefined>;
  /** A claim while it is open. */
  readonly claim: (claimId: Uint8Array, height: number) => Promise<ClaimRecord | undefined>;
  readonly close: () => void;
}

const POLL_MS = 1_000;
/** Further behind than this, blocks are not looked at one by one. */
const CATCH_UP_MAX = 500;

export async function openChainView(
  rpc: RpcClient,
  nowMs: () => number,
  log: (line: string) => void,
): Promise<NodeChainView> {
  const record = async <T>(codec: Codec<T>, key: Uint8Array, height?: number): Promise<T | undefined> => {
    const { value } = await rpc.query('/record', key, height === undefined ? {} : { height });
    return value.length === 0 ? undefined : decode(codec, value, 'record');
  };
  const first = await rpc.status();
  const config = await record(chainConfigRecordCodec, recordKey.params());
  if (config === undefined)
    throw new Error(`${rpc.url} has no chain settings: is it a full node of this network?`);

  let head: ChainHead = headOf(first, nowMs());
  let final = head.height - 1;
  const listeners: FinalBlockListener[] = [];
  let isAdvancing = false;
  const advance = async (): Promise<void> => {
    const status = await rpc.status();
    if (status.height < head.height) return;
    if (status.height - 1 - final > CATCH_UP_MAX) {
      final = status.height - 1;
      for (const listener of listeners) listener(final, null);
    }
    while (final < status.height - 1) {
      const events = await blockEvents(rpc, final + 1);
      final++;
      for (const listener of listeners) listener(final, events);
    }
    // Last: who sees this head may rely on every block before it having been looked at.
    if (status.height > head.height) head = headOf(status, nowMs());
  };
  const poke = (): void => {
    if (isAdvancing) return;
    isAdvancing = true;
    void advance()
      .catch((error: unknown) => log(`chain: ${error instanceof Error ? error.message : String(error)}`))
      .finally(() => {
        isAdvancing = false;
      });
  };
  const unsubscribe = rpc.onNewBlock(poke);
  const timer = setInterval(poke, POLL_MS);
  return {
    chainId: first.chainId,
    config,
    rpc,
    head: () => head,
    finalHeight: () => final,
    onFinalBlock: (listener) => {
      listeners.push(listener);
    },
    account: (accountId) => record(accountRecordCodec, recordKey.account(accountId)),
    channel: (channelId, height) => record(channelRecordCodec, recordKey.channel(channelId), height),
    session: (channelId, index, height) =>
      record(sessionRecordCodec, recordKey.session(channelId, index), height),
    allocation: (channelId, nodeId, height) =>
      record(allocationRecordCodec, recordKey.allocation(channelId, nodeId), height),
    lane: (keyId, channelId, lane, height) =>
      record(laneRecordCodec, recordKey.lane(keyId, channelId, lane), height),
    node: (nodeId, height) => record(nodeRecordCodec, recordKey.node(nodeId), height),
    nodeKey: (keyId, height) => record(nodeKeyRecordCodec, recordKey.nodeKey(keyId), height),
    keyStanding: (keyId) => keyStanding(rpc, keyId),
    model: (modelId) => record(modelRecordCodec, recordKey.model(modelId)),
    verifyingKey: (hash) => record(verifyingKeyRecordCodec, recordKey.verifyingKey(hash)),
    claim: (claimId, height) => record(claimRecordCodec, recordKey.claim(claimId), height),
    close: () => {
      clearInterval(timer);
      unsubscribe();
    },
  };
}

async function keyStanding(rpc: RpcClient, keyId: Uint8Array): Promise<EvidenceStanding | null> {
  try {
    return parseStanding(utf8Decode((await rpc.query('/key-standing', keyId)).value));
  } catch (error) {
    // Such as one that restored its state and has not seen a block since.
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  }
}

function headOf(status: Awaited<ReturnType<RpcClient['status']>>, seenAtMs: number): ChainHead {
  return {
    height: status.height,
    blockHash: status.blockHash,
    blockTimeMs: Date.parse(status.blockTime),
    seenAtMs,
  };
}

type Json = Readonly<Record<string, unknown>>;

/** Null where the full node does not have the block's results any more. */
async function blockEvents(rpc: RpcClient, height: number): Promise<readonly RpcEvent[] | null> {
  let result: Json;
  try {
    result = (await rpc.call('block_results', { height: `${height}` })) as Json;
  } catch (error) {
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  }
  const txs = Array.isArray(result['txs_results']) ? (result['txs_results'] as readonly Json[]) : [];
  return txs
    .flatMap((tx) => (Array.isArray(tx['events']) ? (tx['events'] as readonly Json[]) : []))
    .map((event) => ({
      type: String(event['type']),
      attributes: Object.fromEntries(
        (event['attributes'] as readonly Json[]).map(({ key, value }) => [String(key), String(value)]),
      ),
    }));
}

/** The channel an event is about, or undefined. */
export function channelOfEvent(event: RpcEvent): Uint8Array | undefined {
  const text = event.attributes['channelId'];
  return text === undefined ? undefined : fromHex(text);
}
