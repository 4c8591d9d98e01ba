/** The operator's account: sends transactions one after the other and follows each into a block. */
import { type Ed25519Signer, RpcError, type RpcTxResult } from '@haca/platform';
import {
  accountIdOf,
  nopg,
  type Op,
  signTransaction,
  type Transaction,
  transactionHash,
} from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';

/** The chain refused a transaction; `code` says why. Sending the same again can't help. */
export class TransactionRefusedError extends Error {
  override readonly name = 'TransactionRefusedError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Operator {
  readonly accountId: Uint8Array;
  readonly signer: Ed25519Signer;
  /** A nonce never used by this process before. */
  readonly takeNonce: () => Promise<number>;
  readonly sign: (ops: readonly Op[], nonce: number) => Transaction;
  /** Sends until it is in a block or can't be any more; the result of a block, whatever its code. */
  readonly deliver: (transaction: Transaction) => Promise<RpcTxResult>;
  /** Sign and deliver; throws `TransactionRefusedError` unless it was applied. */
  readonly submit: (ops: readonly Op[]) => Promise<RpcTxResult>;
}

const VALID_BLOCKS = 200;
const POLL_MS = 25;
const RESEND_MS = 2_000;

export function openOperator(signer: Ed25519Signer, chain: NodeChainView, maxFeeNopg: bigint): Operator {
  const key = { algorithm: 'ed25519', publicKey: signer.publicKey } as const;
  const accountId = accountIdOf(key);
  let nextNonce: number | undefined;

  const takeNonce = async (): Promise<number> => {
    const onChain = (await chain.account(accountId))?.nonceHigh ?? 0;
    const nonce = Math.max(onChain, nextNonce ?? 0);
    nextNonce = nonce + 1;
    return nonce;
  };

  const sign = (ops: readonly Op[], nonce: number): Transaction =>
    signTransaction(
      {
        version: 1,
        chainId: chain.chainId,
        sender: key,
        nonce,
        validUntil: chain.head().height + VALID_BLOCKS,
        maxFee: nopg(maxFeeNopg),
        tipCap: nopg(0n),
        feePayer: null,
        ops,
      },
      signer.sign,
    );

  const deliver = async (transaction: Transaction): Promise<RpcTxResult> => {
    const hash = transactionHash(transaction.bytes);
    let sentAtMs = Number.NEGATIVE_INFINITY;
    for (;;) {
      const result = await quietly(() => chain.rpc.tx(hash));
      if (result !== null && result !== undefined) return result;
      if (chain.head().height > transaction.body.validUntil) {
        throw new TransactionRefusedError('E_EXPIRED', 'the transaction was in no block in time');
      }
      if (performance.now() - sentAtMs > RESEND_MS) {
        await broadcast(transaction);
        sentAtMs = performance.now();
      }
      await new Promise((settle) => setTimeout(settle, POLL_MS));
    }
  };

  const broadcast = async (transaction: Transaction): Promise<void> => {
    try {
      const { code, log } = await chain.rpc.broadcastTx(transaction.bytes);
      if (code !== 0) throw new TransactionRefusedError(log.split(':')[0] ?? 'E_MALFORMED', log);
    } catch (error) {
      // Already known there, or nobody answers just now: both are seen by asking for the result.
      if (!(error instanceof RpcError)) throw error;
    }
  };

  return {
    accountId,
    signer,
    takeNonce,
    sign,
    deliver,
    submit: async (ops) => {
      const result = await deliver(sign(ops, await takeNonce()));
      if (result.code !== 0)
        throw new TransactionRefusedError(
          `${result.code}`,
          `refused with code ${result.code}: ${result.log}`,
        );
      return result;
    },
  };
}

async function quietly<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof RpcError) return undefined;
    throw error;
  }
}
