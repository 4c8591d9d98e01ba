/** What the chain did, read block by block: every settlement and every payment there ever was. */
import type { RpcClient } from '@haca/platform';

export interface Settlement {
  readonly keyId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly height: number;
}

export interface Payment {
  readonly keyId: string;
  readonly channelId: string;
  readonly nodeId: string;
  readonly lane: number;
  readonly from: bigint;
  readonly to: bigint;
  readonly amount: bigint;
}

export interface ChainHistory {
  readonly settlements: readonly Settlement[];
  readonly payments: readonly Payment[];
  readonly height: () => number;
  /** Reads the blocks that came since the last time. */
  readonly advance: () => Promise<void>;
}

type Json = Readonly<Record<string, unknown>>;

export function openHistory(rpc: RpcClient): ChainHistory {
  const settlements: Settlement[] = [];
  const payments: Payment[] = [];
  let height = 0;
  return {
    settlements,
    payments,
    height: () => height,
    advance: async () => {
      const newest = (await rpc.status()).height;
      while (height < newest) {
        const result = (await rpc.call('block_results', { height: `${height + 1}` })) as Json;
        height++;
        for (const { type, attributes } of listOf(result['txs_results']).flatMap((tx) =>
          listOf(tx['events']),
        )) {
          const values = new Map(listOf(attributes).map(({ key, value }) => [String(key), String(value)]));
          const text = (name: string): string => values.get(name) ?? '';
          if (type === 'settle') settlements.push(settlementOf(text, height));
          if (type === 'pay') payments.push(paymentOf(text));
        }
      }
    },
  };
}

export function settlementOf(text: (name: string) => string, height: number): Settlement {
  return {
    keyId: text('keyId'),
    firstSeq: Number(text('firstSeq')),
    lastSeq: Number(text('lastSeq')),
    height,
  };
}

export function paymentOf(text: (name: string) => string): Payment {
  return {
    keyId: text('keyId'),
    channelId: text('channelId'),
    nodeId: text('nodeId'),
    lane: Number(text('lane')),
    from: BigInt(text('from')),
    to: BigInt(text('to')),
    amount: BigInt(text('amount')),
  };
}

function listOf(value: unknown): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}
