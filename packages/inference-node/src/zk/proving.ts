/**
 * Brings the claims of one `zk` key to their end, oldest first: assembles what was settled, has it proved, sends proof and
 * charge lines in one transaction before the deadline. The log holds what a proof is made from and every proof that was
 * sent, so a process that dies anywhere is continued by the next.
 *
 * Order matters beyond deadlines: a line of a later claim that is paid first would make those of an earlier one worthless.
 */
import type { RpcTxResult } from '@haca/platform';
import { toHex } from '@haca/primitives';
import { type ClaimRecord, type Op, ZERO_DIGEST, type ZkStatement, zkClaimIdOf } from '@haca/protocol';
import type { NodeChainView } from '../chain-view.ts';
import type { SentProof } from '../journal.ts';
import type { KeyStream, SettledBatch } from '../key-stream.ts';
import {
  codeNameOf,
  type Operator,
  pause,
  TransactionExpiredError,
  TransactionRefusedError,
} from '../operator.ts';
import type { PaymentBook } from '../payment-book.ts';
import { openRetryLoop } from '../retry-loop.ts';
import { type ClaimParts, readClaim } from './claim-parts.ts';
import type { ProvableModel } from './provable-model.ts';
import type { MadeProof, ProofProgress } from './prover.ts';

export interface ProvingContext {
  readonly stream: KeyStream;
  readonly model: Pick<ProvableModel, 'name' | 'verifyingKeyHash' | 'inputs' | 'outputs' | 'prover'>;
  readonly chain: NodeChainView;
  readonly operator: Pick<Operator, 'sign' | 'takeNonce' | 'deliver'>;
  readonly book: Pick<PaymentBook, 'writeOff'>;
  readonly nowMs: () => number;
  readonly log: (line: string) => void;
}

export interface Proving {
  /** Looks whether there is something to do; called on each block and by a timer. */
  readonly poke: () => void;
  /** No claim is open. */
  readonly isDone: () => boolean;
  /** Why no proof can be expected at present; undefined while there is no such reason. */
  readonly obstacle: () => string | undefined;
  /** What is being proved now: number of the first receipt of the claim and how far it is; null while nothing is. */
  readonly current: () => { readonly firstSeq: number; readonly progress: ProofProgress } | null;
  readonly claimIdOf: (batch: SettledBatch) => Uint8Array;
  /** Resolves when no claim is open, or nothing more can be done about the oldest. */
  readonly flush: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

const TICK_MS = 250;
const RETRY_MAX_MS = 30_000;
/** Failures in a row after which the node promises no further proofs. */
const FAILURES_MAX = 2;
/** A proof may cost as much per gas as congestion can make it before the chain moves the deadline. */
const FEE_FACTOR = 8n;

export function startProving(context: ProvingContext): Proving {
  const { stream, nowMs } = context;
  const stopping = new AbortController();
  const claims = openClaimRunner(context, stopping.signal);
  const loop = openRetryLoop({
    turn: claims.advance,
    isProgress: (didWork) => didWork,
    retryMaxMs: RETRY_MAX_MS,
    signal: stopping.signal,
    nowMs,
    log: (failure) => context.log(`${nameOf(stream)}: proving: ${failure}`),
  });
  const isDone = (): boolean => stream.openClaims().length === 0 && stream.proofInFlight() === undefined;
  const poke = (): void => {
    if (stopping.signal.aborted || loop.isRunning() || !loop.isDue() || isDone()) return;
    // One after the other, without waiting for a block in between.
    void loop.start().then((didWork) => {
      if (didWork) poke();
    });
  };
  const timer = setInterval(poke, TICK_MS);
  return {
    poke,
    isDone,
    obstacle: () =>
      claims.obstacle() ?? (loop.failures() >= FAILURES_MAX ? 'proofs fail at present' : undefined),
    current: claims.current,
    claimIdOf: (batch) => claimIdOf(stream, batch),
    flush: async () => {
      await loop.idle();
      while (!stopping.signal.aborted && !isDone() && claims.obstacle() === undefined) {
        if (!loop.isDue() || !(await loop.start())) await pause(20);
      }
    },
    stop: async () => {
      stopping.abort();
      clearInterval(timer);
      await loop.idle();
    },
  };
}

interface ClaimRunner {
  /** One step of the oldest open claim; false where it has to wait for the chain. */
  readonly advance: () => Promise<boolean>;
  readonly obstacle: () => string | undefined;
  readonly current: Proving['current'];
}

function openClaimRunner(context: ProvingContext, signal: AbortSignal): ClaimRunner {
  const { stream, chain, model } = context;
  let current: ReturnType<Proving['current']> = null;
  let made: { readonly firstSeq: number; readonly proof: MadeProof } | null = null;
  /** A claim that was proved to no avail: sent again, the same would cost again. */
  let refused: { readonly firstSeq: number; readonly code: string } | null = null;

  const proofOf = async (firstSeq: number, statement: ZkStatement): Promise<MadeProof> => {
    if (made?.firstSeq === firstSeq) return made.proof;
    try {
      const onProgress = (progress: ProofProgress): void => {
        current = { firstSeq, progress };
      };
      onProgress({ phase: 'witness', fraction: 0 });
      const proof = await model.prover.prove(statement, signal, onProgress);
      made = { firstSeq, proof };
      return proof;
    } finally {
      current = null;
    }
  };

  const sendProof = async (batch: SettledBatch, claimId: Uint8Array, record: ClaimRecord): Promise<void> => {
    const { firstSeq, count } = batch;
    context.log(`${nameOf(stream)}: proving ${rangeText(batch)}, due at block ${record.due}`);
    const parts = await readClaim(stream, model, batch, claimId, record);
    const { proof, proveMs } = await proofOf(firstSeq, parts.statement);
    const range = `${rangeText({ firstSeq, count })}: ${proof.length} bytes in ${proveMs} ms`;
    context.log(`${nameOf(stream)}: proof of ${range}`);
    signal.throwIfAborted();
    const nonce = await context.operator.takeNonce();
    const maxFeeNopg = FEE_FACTOR * record.baseFee;
    const ops = [proveOp(stream, claimId, record, parts, proof)];
    const transaction = context.operator.sign(ops, nonce, { maxFeeNopg, validUntil: record.due });
    await stream.recordProofSent(firstSeq, transaction, proveMs);
  };

  const deliver = async (sent: SentProof): Promise<void> => {
    let result: RpcTxResult;
    try {
      result = await context.operator.deliver(sent.transaction, signal);
    } catch (error) {
      if (error instanceof TransactionExpiredError) await stream.recordProofDropped(sent.txHash);
      throw error;
    }
    if (result.code !== 0) {
      await stream.recordProofDropped(sent.txHash);
      const code = codeNameOf(result);
      if (code === 'E_PROOF' || code === 'E_BINDING') refused = { firstSeq: sent.firstSeq, code };
      throw new TransactionRefusedError(code, result.log);
    }
    await stream.recordClaimEnded(sent.firstSeq, sent.txHash, result.height);
    made = null;
    report(context, sent, result);
    // What was paid is read from final state before the next claim redeems the same lanes.
    while (chain.finalHeight() < result.height) {
      signal.throwIfAborted();
      await pause(5);
    }
  };

  const advance = async (): Promise<boolean> => {
    const flight = stream.proofInFlight();
    if (flight !== undefined) {
      await deliver(flight);
      return true;
    }
    const [batch] = stream.openClaims();
    if (batch === undefined || chain.finalHeight() < batch.height) return false;
    const claimId = claimIdOf(stream, batch);
    const record = await chain.claim(claimId, chain.finalHeight());
    if (record === undefined) return concludeWithoutProof(context, batch);
    // Past its deadline it only waits for its end; so it does where the chain refused what there is.
    if (chain.head().height >= record.due || refused?.firstSeq === batch.firstSeq) return false;
    await sendProof(batch, claimId, record);
    return true;
  };
  return {
    advance,
    current: () => current,
    obstacle: () =>
      refused === null
        ? undefined
        : `the chain refused the proof of receipt ${refused.firstSeq}: ${refused.code}`,
  };
}

function proveOp(
  { identity, signStatement }: KeyStream,
  claimId: Uint8Array,
  { verificationGas }: ClaimRecord,
  { rows, lines }: ClaimParts,
  proof: Uint8Array,
): Op {
  const redeem =
    lines.length === 0 || identity.zkModelId === null
      ? null
      : {
          statement: signStatement(
            0,
            lines.map(({ line }) => line),
          ).bytes,
          vouchers: lines.map(({ voucher }) => voucher),
          receipts: lines.map(() => []),
        };
  return { kind: 'prove', claimId, ...rows, proof, verificationGas, redeem };
}

/** The chain has no such claim any more: it expired, or was void, or an earlier process proved it. */
async function concludeWithoutProof(context: ProvingContext, batch: SettledBatch): Promise<boolean> {
  const { stream, chain, log } = context;
  const height = chain.finalHeight();
  const record = await chain.nodeKey(stream.identity.keyId, height);
  if (record === undefined || record.settledSeq < batch.firstSeq) {
    throw new Error(`the newest final state knows nothing of receipt ${batch.firstSeq}`);
  }
  const isUnpaid = record.unpaidRanges.some(
    ({ first, last }) => first <= batch.firstSeq && batch.firstSeq <= last,
  );
  if (!isUnpaid) {
    if (record.openClaims.some(({ first }) => first === batch.firstSeq)) return false;
    // Neither open nor unpaid: a transaction verified it that was given up for lost.
    await stream.recordClaimEnded(batch.firstSeq, ZERO_DIGEST, height);
    return true;
  }
  await writeOff(context, batch);
  await stream.recordClaimEnded(batch.firstSeq, null, height);
  log(`${nameOf(stream)}: claim of ${rangeText(batch)} ended without a proof: its payers keep their money`);
  return true;
}

async function writeOff({ stream, book }: ProvingContext, { firstSeq, count }: SettledBatch): Promise<void> {
  for (let seq = firstSeq; seq < firstSeq + count; seq++) {
    const value = (await stream.read(seq))?.receipt.value;
    if (value === undefined || value.amount === 0n) continue;
    const { channelId, lane, cumulative, amount } = value;
    book.writeOff(channelId, stream.identity.keyId, lane, cumulative - amount, cumulative);
  }
}

function report({ stream, log }: ProvingContext, sent: SentProof, { events, height }: RpcTxResult): void {
  for (const { type, attributes } of events) {
    if (type !== 'line-refused') continue;
    const lane = `${(attributes['channelId'] ?? '').slice(0, 12)}/${attributes['lane'] ?? ''}`;
    log(`${nameOf(stream)}: lane ${lane} was not paid: ${attributes['code']} ${attributes['info'] ?? ''}`);
  }
  log(`${nameOf(stream)}: proof of the claim from ${sent.firstSeq} on verified in block ${height}`);
}

export function claimIdOf(
  { identity }: KeyStream,
  { firstSeq, count, receiptsRoot }: Pick<SettledBatch, 'firstSeq' | 'count' | 'receiptsRoot'>,
): Uint8Array {
  const { chainId, keyId } = identity;
  return zkClaimIdOf({ chainId, keyId, firstSeq, count, receiptsRoot });
}

function rangeText({ firstSeq, count }: Pick<SettledBatch, 'firstSeq' | 'count'>): string {
  return count === 1 ? `receipt ${firstSeq}` : `receipts ${firstSeq} to ${firstSeq + count - 1}`;
}

function nameOf({ identity }: KeyStream): string {
  return `key ${toHex(identity.keyId).slice(0, 12)}`;
}
