/** Making, sending and following transactions. The same bytes may be sent any number of times: the nonce makes it one. */
import { type RpcClient, RpcError, type RpcEvent } from '@haca/platform/rpc';
import { decode, utf8Decode } from '@haca/primitives';
import {
  type AccountKey,
  type AccountRecord,
  accountIdOf,
  accountRecordCodec,
  codeOfNumber,
  codeText,
  nopg,
  type Op,
  recordKey,
  signTransaction,
  type Transaction,
  transactionGas,
  transactionHash,
} from '@haca/protocol';
import { TimeoutError, TransactionError } from '../errors.ts';
import { asAmount, asObject, parseJson } from '../json.ts';
import { type Signer, sleep } from '../platform.ts';

export interface TxOutcome {
  readonly hash: Uint8Array;
  readonly height: number;
  readonly gasUsed: number;
  readonly events: readonly RpcEvent[];
}

export interface SubmitOptions {
  readonly rpc: RpcClient;
  readonly chainId: string;
  readonly signer: Signer;
  readonly ops: readonly Op[];
  /** A nonce not used before; by default the account's next one. */
  readonly nonce?: number;
  /** Most paid per gas is this many times the current base fee. Default 4. */
  readonly feeHeadroom?: bigint;
  readonly timeoutMs?: number;
}

const VALID_BLOCKS = 300;
const TIMEOUT_MS = 30_000;

export function accountKeyOf(signer: Signer): AccountKey {
  return { algorithm: 'ed25519', publicKey: signer.publicKey };
}

export function accountOf(signer: Signer): Uint8Array {
  return accountIdOf(accountKeyOf(signer));
}

/** The account's row as the server shows it, unproven; null where there is none. */
export async function fetchAccount(rpc: RpcClient, accountId: Uint8Array): Promise<AccountRecord | null> {
  const { value } = await rpc.query('/record', recordKey.account(accountId));
  return value.length === 0 ? null : decode(accountRecordCodec, value, 'account');
}

/** Base fee of the next block, nopg per gas. */
export async function fetchBaseFee(rpc: RpcClient): Promise<bigint> {
  const { value } = await rpc.query('/fee', new Uint8Array(0));
  return asAmount(asObject(parseJson(utf8Decode(value), 'fee'), 'fee')['baseFee'], 'fee.baseFee');
}

/** Signs, sends and waits until the transaction is in a block. Throws `TransactionError` where it was refused or failed. */
export async function submitOps(options: SubmitOptions): Promise<TxOutcome> {
  const { rpc, chainId, signer, ops } = options;
  const [status, baseFee, nonce] = await Promise.all([
    rpc.status(),
    fetchBaseFee(rpc),
    options.nonce ?? fetchAccount(rpc, accountOf(signer)).then((row) => row?.nonceHigh ?? 0),
  ]);
  const transaction = signTransaction(
    {
      version: 1,
      chainId,
      sender: accountKeyOf(signer),
      nonce,
      validUntil: status.height + VALID_BLOCKS,
      maxFee: nopg(baseFee * (options.feeHeadroom ?? 4n)),
      tipCap: nopg(0n),
      feePayer: null,
      ops,
    },
    signer.sign,
  );
  return sendTransaction(rpc, transaction, options.timeoutMs ?? TIMEOUT_MS);
}

/** Sends (again, after a lost answer) and waits for the block. */
export async function sendTransaction(
  rpc: RpcClient,
  transaction: Transaction,
  timeoutMs: number,
): Promise<TxOutcome> {
  const deadline = Date.now() + timeoutMs;
  const hash = transactionHash(transaction.bytes);
  await broadcast(rpc, transaction.bytes);
  for (let pauseMs = 5; ; pauseMs = Math.min(2 * pauseMs, 200)) {
    const result = await rpc.tx(hash);
    if (result !== null) {
      if (result.code !== 0) throw refusal(result.code, result.log);
      return { hash, height: result.height, gasUsed: result.gasUsed, events: result.events };
    }
    if (Date.now() > deadline) {
      throw new TimeoutError(
        `the transaction is in no block after ${timeoutMs} ms; it may still be included`,
      );
    }
    await sleep(pauseMs);
  }
}

const SENDS_MAX = 3;

async function broadcast(rpc: RpcClient, bytes: Uint8Array): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const { code, log } = await rpc.broadcastTx(bytes);
      if (code !== 0) throw refusal(code, log);
      return;
    } catch (error) {
      // A node that already has it says so with an error: that is success.
      if (error instanceof RpcError && /already exists/.test(error.message)) return;
      const mayRetry = error instanceof RpcError && error.code === 'unreachable' && attempt < SENDS_MAX;
      if (!mayRetry) throw error;
      await sleep(100 * attempt);
    }
  }
}

function refusal(code: number, log: string): TransactionError {
  const name = codeOfNumber(code);
  return new TransactionError(
    name ?? `code ${code}`,
    log === '' && name !== undefined ? codeText(name) : log,
  );
}

/** What a transaction of these ops costs now, nopg: its gas times the base fee. */
export async function estimateFee(rpc: RpcClient, transaction: Transaction): Promise<bigint> {
  return BigInt(transactionGas(transaction)) * (await fetchBaseFee(rpc));
}
