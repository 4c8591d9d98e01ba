/** The operator's account: signs transactions and follows each into a block. */
import { type Ed25519Signer, RpcError, type RpcTxResult } from '@haca/platform';
import {
  accountIdOf,
  codeOfNumber,
  nopg,
  type Op,
  signTransaction,
  type Transaction,
  transactionHash,
} from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';

/** A block refused the transaction, or the mempool a fresh one. Sending the same again can't help. */
export class TransactionRefusedError extends Error {
  override readonly name = 'TransactionRefusedError';
  readonly code: string;

  constructor(code: string, log: string) {
    super(`refused: ${code} ${log}`);
    this.code = code;
  }
}

/** No block took the transaction while it was valid, and none can any more. `message` has the last refusal on the way. */
export class TransactionExpiredError extends Error {
  override readonly name = 'TransactionExpiredError';
}

export interface TransactionTerms {
  /** Most that is paid per gas; at least what the configuration says. */
  readonly maxFeeNopg?: bigint;
  /** Last height it may be in; at most what is usual. */
  readonly validUntil?: number;
}

export interface Operator {
  readonly accountId: Uint8Array;
  readonly signer: Ed25519Signer;
  /** A nonce never used by this process before. */
  readonly takeNonce: () => Promise<number>;
  /** An earlier process gave this nonce away. */
  readonly reserveNonce: (nonce: number) => void;
  readonly sign: (ops: readonly Op[], nonce: number, terms?: TransactionTerms) => Transaction;
  /**
   * Sends the same bytes until a block has them; the result, whatever its code. Throws `TransactionExpiredError` when no block
   * can take them any more, and the signal's reason if that aborts.
   */
  readonly deliver: (transaction: Transaction, signal: AbortSignal) => Promise<RpcTxResult>;
  /** Sign and deliver; throws `TransactionRefusedError` unless it was applied. */
  readonly submit: (ops: readonly Op[], signal: AbortSignal) => Promise<RpcTxResult>;
}

const VALID_BLOCKS = 200;
/** A full node may list a block's transactions a little after the block. */
const EXPIRY_MARGIN_BLOCKS = 5;
const POLL_MS = 25;
const RESEND_MIN_MS = 1_000;
const RESEND_MAX_MS = 15_000;

export function openOperator(
  signer: Ed25519Signer,
  chain: NodeChainView,
  maxFeeNopg: bigint,
  log: (line: string) => void,
): Operator {
  const key = { algorithm: 'ed25519', publicKey: signer.publicKey } as const;
  const accountId = accountIdOf(key);
  let nextNonce = 0;

  const takeNonce = async (): Promise<number> => {
    const onChain = (await chain.account(accountId))?.nonceHigh ?? 0;
    // No await from here on: two callers never get one nonce.
    const nonce = Math.max(onChain, nextNonce);
    nextNonce = nonce + 1;
    return nonce;
  };

  const sign: Operator['sign'] = (ops, nonce, { maxFeeNopg: fee = 0n, validUntil = Infinity } = {}) =>
    signTransaction(
      {
        version: 1,
        chainId: chain.chainId,
        sender: key,
        nonce,
        validUntil: Math.min(chain.head().height + VALID_BLOCKS, validUntil),
        maxFee: nopg(fee > maxFeeNopg ? fee : maxFeeNopg),
        tipCap: nopg(0n),
        feePayer: null,
        ops,
      },
      signer.sign,
    );

  const submit = async (ops: readonly Op[], signal: AbortSignal): Promise<RpcTxResult> => {
    const transaction = sign(ops, await takeNonce());
    const result = await deliver(chain, transaction, signal, (refusal) => {
      throw new TransactionRefusedError(refusal.split(':')[0] ?? '', refusal);
    });
    if (result.code !== 0) throw new TransactionRefusedError(codeNameOf(result), result.log);
    return result;
  };

  return {
    accountId,
    signer,
    takeNonce,
    reserveNonce: (nonce) => {
      nextNonce = Math.max(nextNonce, nonce + 1);
    },
    sign,
    deliver: (transaction, signal) =>
      deliver(chain, transaction, signal, (refusal) => log(`a transaction waits: ${refusal}`)),
    submit,
  };
}

export function codeNameOf({ code }: Pick<RpcTxResult, 'code'>): string {
  return codeOfNumber(code) ?? `${code}`;
}

/**
 * A refusal by the mempool is of the moment (fee, bucket, room, nonce of a transaction that is still on its way): the bytes
 * are offered again, ever more slowly, until a block has them or they are too old for any.
 */
async function deliver(
  chain: NodeChainView,
  transaction: Transaction,
  signal: AbortSignal,
  onRefusal: (refusal: string) => void,
): Promise<RpcTxResult> {
  const hash = transactionHash(transaction.bytes);
  let resendMs = RESEND_MIN_MS;
  let sentAtMs = Number.NEGATIVE_INFINITY;
  let refusal = '';
  for (;;) {
    signal.throwIfAborted();
    // Read before asking, so that a block in between is not missed.
    const { height } = chain.head();
    const result = await ifReachable(() => chain.rpc.tx(hash));
    if (result !== null && result !== undefined) return result;
    if (result === null && height > transaction.body.validUntil + EXPIRY_MARGIN_BLOCKS) {
      throw new TransactionExpiredError(`no block took the transaction in time. ${refusal}`);
    }
    if (performance.now() - sentAtMs > resendMs) {
      if (sentAtMs > 0) resendMs = Math.min(2 * resendMs, RESEND_MAX_MS);
      const answer = await ifReachable(() => chain.rpc.broadcastTx(transaction.bytes));
      sentAtMs = performance.now();
      if (answer !== undefined && answer.code !== 0 && answer.log !== refusal) {
        refusal = answer.log;
        onRefusal(refusal);
      }
    }
    await pause(POLL_MS);
  }
}

/** Undefined where nobody answers just now. */
async function ifReachable<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof RpcError) return undefined;
    throw error;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((settle) => setTimeout(settle, ms));
}
