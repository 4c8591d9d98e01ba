/**
 * Closed-loop load: every lane has one transaction on its way, and sends the next once all validators have the block with the
 * last. So the mempools are never empty, never overflow, and a network gets as much as it can take, not more.
 */
import type { Network } from './network.ts';
import { BATCH_MAX, type RpcLine } from './rpc-line.ts';

export interface LoadBlock {
  readonly height: number;
  readonly txs: number;
  /** When the first validator had committed it, ms of the monotonic clock. */
  readonly firstAtMs: number;
  /** When the last one had. */
  readonly lastAtMs: number;
}

export interface LoadResult {
  /** Those with transactions of this load, in order. */
  readonly blocks: readonly LoadBlock[];
  /** Transactions that a validator did not take at first, and were sent again. */
  readonly sentAgain: number;
}

/** One after the other, base64. */
export type Lane = readonly string[];

const RESEND_AFTER_MS = 10_000;
const STALLED_AFTER_MS = 30_000;

interface Waiting {
  readonly lane: number;
  readonly validator: number;
  sentAtMs: number;
}

/** Resolves when every transaction is in a block; rejects where none was for long. */
export async function runLoad(network: Network, lanes: readonly Lane[]): Promise<LoadResult> {
  const rpcs = network.validators.map(({ rpc }) => rpc);
  const waiting = new Map<string, Waiting>();
  const queues: string[][] = rpcs.map(() => []);
  const next = lanes.map(() => 0);
  const blocks: LoadBlock[] = [];
  const total = lanes.reduce((sum, lane) => sum + lane.length, 0);
  let committed = 0;
  let sentAgain = 0;
  let progressAtMs = performance.now();
  const { promise: done, resolve: finish, reject: fail } = Promise.withResolvers<void>();

  const advance = (lane: number): void => {
    const tx = lanes[lane]?.[next[lane] ?? 0];
    if (tx === undefined) return;
    next[lane] = (next[lane] ?? 0) + 1;
    const validator = lane % rpcs.length;
    waiting.set(tx, { lane, validator, sentAtMs: performance.now() });
    queues[validator]?.push(tx);
  };
  const onBlock = (block: LoadBlock, txs: readonly string[]): void => {
    const own = txs.flatMap((tx) => {
      const entry = waiting.get(tx);
      return waiting.delete(tx) && entry !== undefined ? [entry.lane] : [];
    });
    if (own.length === 0) return;
    blocks.push({ ...block, txs: own.length });
    committed += own.length;
    progressAtMs = block.lastAtMs;
    for (const lane of own) advance(lane);
    if (committed === total) finish();
  };
  const stopFollowing = await followBlocks(rpcs, onBlock, fail);
  const senders = rpcs.map((rpc, i) => openSender(rpc, queues[i] as string[], fail));
  const flush = (): void => {
    for (const sender of senders) sender.flush();
  };
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - progressAtMs > STALLED_AFTER_MS)
      fail(new Error(`no transaction in a block for ${STALLED_AFTER_MS / 1000} s: ${waiting.size} waiting`));
    for (const [tx, entry] of waiting) {
      if (now - entry.sentAtMs < RESEND_AFTER_MS) continue;
      entry.sentAtMs = now;
      sentAgain++;
      queues[entry.validator]?.push(tx);
    }
    flush();
  }, 5);
  for (let lane = 0; lane < lanes.length; lane++) advance(lane);
  flush();
  try {
    await done;
  } finally {
    clearInterval(timer);
    stopFollowing();
  }
  return { blocks: blocks.sort((a, b) => a.height - b.height), sentAgain };
}

type OnBlock = (block: LoadBlock, txs: readonly string[]) => void;

/** Calls back with each block once every validator has it. */
async function followBlocks(
  rpcs: readonly RpcLine[],
  onBlock: OnBlock,
  fail: (error: unknown) => void,
): Promise<() => void> {
  const arrivals = new Map<number, number[]>();
  const onHeader = (height: number): void => {
    const seen = arrivals.get(height) ?? [];
    arrivals.set(height, seen);
    seen.push(performance.now());
    if (seen.length < rpcs.length) return;
    arrivals.delete(height);
    // Each in turn makes the answer, so that no validator has more to do than the others.
    const rpc = rpcs[height % rpcs.length] as RpcLine;
    const [firstAtMs = 0] = seen;
    const lastAtMs = seen.at(-1) ?? firstAtMs;
    rpc
      .blockTxs(height)
      .then((txs) => onBlock({ height, txs: txs.length, firstAtMs, lastAtMs }, txs))
      .catch(fail);
  };
  // Subscribed anew for every load: a network that was paused in between has given up its old subscribers.
  const stops = await Promise.all(rpcs.map((rpc) => rpc.onHeader(onHeader)));
  return () => {
    for (const stop of stops) stop();
  };
}

const REQUESTS_AT_ONCE = 4;

function openSender(rpc: RpcLine, queue: string[], fail: (error: unknown) => void): { flush: () => void } {
  let inFlight = 0;
  const flush = (): void => {
    while (inFlight < REQUESTS_AT_ONCE && queue.length > 0) {
      inFlight++;
      rpc
        .sendTxs(queue.splice(0, BATCH_MAX))
        .then((errors) => {
          // What is in the mempool's cache is on its way, however often it is sent.
          const other = [...errors.values()].find((text) => !text.includes('already exists'));
          if (other !== undefined) throw new Error(`a transaction was not taken: ${other}`);
        })
        .catch(fail)
        .finally(() => {
          inFlight--;
          flush();
        });
    }
  };
  return { flush };
}

/** Transactions per second, and the time from block to block, of the steady part: a tenth at either end is left out. */
export function steadyRate({ blocks }: LoadResult): {
  readonly perSecond: number;
  readonly blockMs: readonly number[];
  readonly txsPerBlock: number;
} {
  const total = blocks.reduce((sum, { txs }) => sum + txs, 0);
  let sum = 0;
  const steady = blocks.filter(({ txs }) => {
    sum += txs;
    return sum >= total * 0.1 && sum - txs <= total * 0.9;
  });
  const [first] = steady;
  const last = steady.at(-1);
  if (first === undefined || last === undefined || first === last)
    throw new Error('too few blocks for a rate: more transactions are needed');
  const counted = steady.slice(1);
  const txs = counted.reduce((all, block) => all + block.txs, 0);
  return {
    perSecond: (txs * 1000) / (last.firstAtMs - first.firstAtMs),
    blockMs: counted.map(({ firstAtMs }, i) => firstAtMs - (steady[i]?.firstAtMs ?? Number.NaN)),
    txsPerBlock: txs / counted.length,
  };
}
