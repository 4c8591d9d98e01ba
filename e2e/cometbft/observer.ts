/** Reads the chain block by block from whichever node answers, and remembers what happened in it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fromUpperHex } from '@haca/light-client';
import { nodeCrypto, type RpcClient } from '@haca/platform';
import { fromBase64 } from '@haca/platform/rpc';
import { toHex } from '@haca/primitives';
import { type Payment, paymentOf, type Settlement, settlementOf } from '../history.ts';

export interface IncludedTx {
  readonly height: number;
  readonly code: number;
  readonly log: string;
}

export interface ChainObserver {
  /** Of the last block that was read. */
  readonly height: () => number;
  /** Every place in the chain where a transaction is, by its hash in lower-case hex: one, if all is well. */
  readonly find: (hash: string) => readonly IncludedTx[];
  /** Of the last block with transactions. */
  readonly heightWithTxs: () => number;
  /** Of a block that was read. */
  readonly blockHash: (height: number) => Uint8Array;
  readonly settlements: readonly Settlement[];
  readonly payments: readonly Payment[];
  /** Settles with the first place of a transaction; with undefined after `timeoutMs`. */
  readonly whenIncluded: (hash: string, timeoutMs: number) => Promise<IncludedTx | undefined>;
  readonly stop: () => Promise<void>;
}

type Json = Readonly<Record<string, unknown>>;

const POLL_MS = 60;

/** `rpcs` gives the nodes that may be asked now. */
export function observeChain(rpcs: () => readonly RpcClient[]): ChainObserver {
  const included = new Map<string, IncludedTx[]>();
  const settlements: Settlement[] = [];
  const payments: Payment[] = [];
  const waiting = new Map<string, Set<(tx: IncludedTx) => void>>();
  const blockHashes: Uint8Array[] = [];
  let height = 0;
  let heightWithTxs = 0;
  let isStopped = false;

  const take = (hash: string, tx: IncludedTx): void => {
    included.set(hash, [...(included.get(hash) ?? []), tx]);
    for (const settle of waiting.get(hash) ?? []) settle(tx);
    waiting.delete(hash);
  };
  const readNext = async (rpc: RpcClient): Promise<void> => {
    const params = { height: `${height + 1}` };
    const [block, results] = (await Promise.all([
      rpc.call('block', params),
      rpc.call('block_results', params),
    ])) as [Json, Json];
    const txs = listOf(at(block, 'block', 'data', 'txs'));
    const outcomes = listOf(results['txs_results']) as readonly Json[];
    if (txs.length !== outcomes.length)
      throw new Error(`block ${height + 1} has no result for each transaction`);
    blockHashes[height] = fromUpperHex(String(at(block, 'block_id', 'hash')), 'block_id.hash');
    height++;
    if (txs.length > 0) heightWithTxs = height;
    txs.forEach((tx, i) => {
      const { code = 0, log = '', events } = outcomes[i] as Json;
      const bytes = fromBase64(String(tx));
      take(toHex(nodeCrypto.sha256(bytes)), { height, code: Number(code), log: String(log) });
      for (const { type, attributes } of listOf(events) as readonly Json[]) {
        const values = new Map(
          (listOf(attributes) as readonly Json[]).map(({ key, value }) => [String(key), String(value)]),
        );
        const text = (name: string): string => values.get(name) ?? '';
        if (type === 'settle') settlements.push(settlementOf(text, height));
        if (type === 'pay') payments.push(paymentOf(text));
      }
    });
  };
  const loop = async (): Promise<void> => {
    for (let turn = 0; !isStopped; turn++) {
      const choice = rpcs();
      const rpc = choice[turn % Math.max(1, choice.length)];
      try {
        if (rpc !== undefined) {
          const { height: newest } = await rpc.status();
          while (height < newest && !isStopped) await readNext(rpc);
        }
      } catch {
        // That node is away or has the block and not its results yet: the next one is asked.
      }
      await sleep(POLL_MS);
    }
  };
  const finished = loop();

  return {
    height: () => height,
    find: (hash) => included.get(hash) ?? [],
    heightWithTxs: () => heightWithTxs,
    blockHash: (of) => {
      const hash = blockHashes[of - 1];
      if (hash === undefined) throw new RangeError(`block ${of} was not read yet`);
      return hash;
    },
    settlements,
    payments,
    whenIncluded: async (hash, timeoutMs) => {
      const known = included.get(hash)?.[0];
      if (known !== undefined) return known;
      const { promise, resolve } = Promise.withResolvers<IncludedTx>();
      const listeners = waiting.get(hash) ?? new Set();
      waiting.set(hash, listeners.add(resolve));
      const timeout = new AbortController();
      const late = sleep(timeoutMs, undefined, { signal: timeout.signal }).catch(() => undefined);
      const result = await Promise.race([promise, late]);
      timeout.abort();
      listeners.delete(resolve);
      return result;
    },
    stop: async () => {
      isStopped = true;
      await finished;
    },
  };
}

function at(json: unknown, ...names: readonly string[]): unknown {
  return names.reduce<unknown>((value, name) => (value as Json | undefined)?.[name], json);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
