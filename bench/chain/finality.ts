/**
 * How long until a transaction is final: from sending it until the header after its block, which proves its effects, is there
 * with a commit of more than two thirds of the voting power. The commit is verified, the clock stops after that.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeSignedHeader, headerHash, verifyCommit } from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { bytesEqual } from '@haca/primitives';
import type { Network } from './network.ts';
import { connectRpc, type RpcLine } from './rpc-line.ts';

export interface Finality {
  /** Until the mempool answered that it took the transaction, ms. */
  readonly admittedMs: readonly number[];
  /** Until a block with it was committed. */
  readonly includedMs: readonly number[];
  readonly finalMs: readonly number[];
}

/** Between two transactions, so that they do not march in step with the blocks. */
const PAUSE_MS = { least: 20, most: 120 };
const TIMEOUT_MS = 30_000;

/** Sends `txs` (base64) one after the other, each once the one before is final; the validators in turn. */
export async function measureFinality(network: Network, txs: readonly string[]): Promise<Finality> {
  const lines = network.validators.map(({ rpc, rpcUrl }) => (rpcUrl === null ? rpc : connectRpc(rpcUrl)));
  const heads = await Promise.all(lines.map(followHead));
  const result = { admittedMs: [] as number[], includedMs: [] as number[], finalMs: [] as number[] };
  try {
    for (const [i, tx] of txs.entries()) {
      await delay(randomInt(PAUSE_MS.least, PAUSE_MS.most));
      const at = i % lines.length;
      const line = lines[at] as RpcLine;
      const times = await untilFinal(network, line, heads[at] as Head, tx);
      result.admittedMs.push(times.admittedMs);
      result.includedMs.push(times.includedMs);
      result.finalMs.push(times.finalMs);
    }
  } finally {
    for (const [i, line] of lines.entries()) if (line !== network.validators[i]?.rpc) await line.close();
  }
  return result;
}

async function untilFinal(network: Network, line: RpcLine, head: Head, tx: string) {
  const before = head.height();
  const startedAt = performance.now();
  const sinceStart = (): number => performance.now() - startedAt;
  const { code, log } = (await line.call('broadcast_tx_sync', { tx })) as {
    readonly code: number;
    readonly log: string;
  };
  if (code !== 0) throw new Error(`a transaction was refused: ${log}`);
  const admittedMs = sinceStart();
  let height = before + 1;
  for (; ; height++) {
    await head.reaches(height);
    if ((await line.blockTxs(height)).includes(tx)) break;
  }
  const includedMs = sinceStart();
  await head.reaches(height + 1);
  await requireCommit(network, line, height + 1);
  return { admittedMs, includedMs, finalMs: sinceStart() };
}

async function requireCommit({ genesis }: Network, line: RpcLine, height: number): Promise<void> {
  const { signed_header: json } = (await line.call('commit', { height: `${height}` })) as {
    readonly signed_header: unknown;
  };
  const { header, commit } = decodeSignedHeader(json);
  const { validators, chainId } = genesis;
  const expected = { chainId, height, blockId: commit.blockId, validators };
  const { verdict } = verifyCommit(nodeCrypto, expected, commit);
  if (!verdict.ok || !bytesEqual(headerHash(header), commit.blockId.hash))
    throw new Error(`the commit of height ${height} does not verify: ${JSON.stringify(verdict.checks)}`);
}

interface Head {
  /** The newest height heard of; 0 before the first. */
  readonly height: () => number;
  readonly reaches: (height: number) => Promise<void>;
}

async function followHead(line: RpcLine): Promise<Head> {
  let head = 0;
  let wake: () => void = () => undefined;
  await line.onHeader((height) => {
    head = Math.max(head, height);
    wake();
  });
  const { sync_info: info } = (await line.call('status')) as {
    readonly sync_info: { readonly latest_block_height: string };
  };
  head = Math.max(head, Number(info.latest_block_height));
  return {
    height: () => head,
    reaches: async (height) => {
      const deadline = performance.now() + TIMEOUT_MS;
      while (head < height) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        const timer = setTimeout(resolve, TIMEOUT_MS);
        await promise;
        clearTimeout(timer);
        if (performance.now() > deadline) throw new Error(`no block ${height} in ${TIMEOUT_MS} ms`);
      }
    },
  };
}
