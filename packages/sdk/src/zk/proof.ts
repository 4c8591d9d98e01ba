/** Getting hold of what proves an answer, and verifying it before anything is called proved. */
import { decodeTxProof, fromBase64, headerHash, toBase64, verifyTxProof } from '@haca/light-client';
import { RpcError } from '@haca/platform/rpc';
import { bytesEqual, type CryptoProvider, decode, toHex } from '@haca/primitives';
import {
  claimRecordCodec,
  decodeTransaction,
  failed,
  type ProvenRecord,
  type Receipt,
  recordKey,
  type SignedObject,
  STATEMENT,
  transactionHash,
  type Verdict,
  type VerifyingKeyRecord,
  verdictOf,
} from '@haca/protocol';
import type { ZkVerifier } from '@haca/verifier';
import type { ChainView } from '../chain/view.ts';
import type { Route } from '../directory.ts';
import { VerificationError } from '../errors.ts';
import { asObject } from '../json.ts';
import type { ClaimStatus, ReceiptStatus } from '../node-api.ts';
import { claimIdOfRecord, verifyZkReceipt, type ZkClaim } from './verify.ts';

/** The verifying key of a model, proven, as `infer` got it before it asked. */
export interface ProvenVerifyingKey {
  readonly hash: Uint8Array;
  readonly record: VerifyingKeyRecord;
  readonly proof: ProvenRecord;
}

export interface ProvenClaim {
  readonly claim: ZkClaim;
  /** The chain's record of it; null where that state was gone, and the block that settled it had to do. */
  readonly record: ProvenRecord | null;
}

/** A proof that this client verified itself. */
export interface VerifiedZkProof {
  readonly verdict: Verdict;
  readonly claim: ProvenClaim;
  readonly transaction: Uint8Array;
  /** Inferences in the proof. */
  readonly batchSize: number;
  readonly proofBytes: number;
  /** What verifying took here, and by its word what proving took the node. */
  readonly verifyMs: number;
  readonly proveMs: number | null;
}

/** What a client keeps for all its proofs. */
export interface ZkTools {
  readonly zkVerifier: ZkVerifier;
  readonly proofTransactions: Map<string, Uint8Array>;
}

const TRANSACTIONS_REMEMBERED = 16;

/**
 * The claim as the state behind the settling block has it; where a full node no longer has that state, the claim that follows
 * from the settlement and the block that it is shown to be in. Null where neither is to be had.
 */
export async function proveClaim(
  crypto: CryptoProvider,
  chain: ChainView,
  { key }: Pick<Route, 'key'>,
  { claimId }: ClaimStatus,
  settledAt: number,
  txHash: Uint8Array | null,
): Promise<ProvenClaim | null> {
  await chain.sync({ minHeight: settledAt + 1 });
  const proof = await chain.record(recordKey.claim(claimId), settledAt).catch((error: unknown) => {
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  });
  const claim =
    proof === null
      ? await claimOfSettlement(crypto, chain, key.publicKey, settledAt, txHash)
      : proof.value === null
        ? null
        : decode(claimRecordCodec, proof.value, 'claim');
  if (proof === null && claim === null) return null;
  if (claim === null || !bytesEqual(claimIdOfRecord(chain.chainId, claim), claimId)) {
    const absent = failed('zk.claim', 'E_CLAIM', 'the claim that the node names', 'none');
    throw new VerificationError('the receipt has no claim on chain', verdictOf([absent]));
  }
  return { claim, record: proof };
}

/** From a transaction that a verified header commits to: the batch it settles, and the hash of that very block. */
async function claimOfSettlement(
  crypto: CryptoProvider,
  chain: ChainView,
  publicKey: Uint8Array,
  settledAt: number,
  txHash: Uint8Array | null,
): Promise<ZkClaim | null> {
  const shown = txHash === null ? null : await callTx(chain, txHash, true);
  if (shown === null || shown.proof === undefined) return null;
  const header = await chain.headerAt(settledAt);
  const proof = decodeTxProof(shown.proof);
  if (!verifyTxProof({ dataHash: header.dataHash, tx: shown.tx, proof }).ok) return null;
  const op = decodeTransaction(shown.tx).body.ops.find(({ kind }) => kind === 'settle');
  if (op?.kind !== 'settle') return null;
  const statement = STATEMENT.decode(op.statement);
  const { batch, keyId } = statement.value;
  if (batch === null || !STATEMENT.verify(crypto, statement, publicKey)) return null;
  const { firstSeq, count, receiptsRoot } = batch;
  return { keyId, firstSeq, count, receiptsRoot, nonce: headerHash(header) };
}

/** Fetches the Prove transaction and verifies it. Throws `VerificationError` where it does not prove the receipt. */
export async function fetchZkProof(
  chain: ChainView,
  route: Route,
  receipt: SignedObject<Receipt>,
  receiptId: string,
  verifying: ProvenVerifyingKey,
  claim: ProvenClaim,
  status: ReceiptStatus,
  { zkVerifier: verifier, proofTransactions }: ZkTools,
): Promise<VerifiedZkProof> {
  const hash = status.claim?.proofTxHash ?? null;
  const known = hash === null ? undefined : proofTransactions.get(toHex(hash));
  const transaction =
    known ?? (await transactionOf(chain, hash)) ?? (await route.api.proofTransaction(receiptId));
  const startedAt = performance.now();
  const { verdict, batchSize, proofBytes } = verifyZkReceipt({
    chainId: chain.chainId,
    receipt,
    key: route.key,
    claim: claim.claim,
    verifyingKeyHash: verifying.hash,
    verifying: verifying.record,
    transaction,
    verifier,
  });
  const verifyMs = performance.now() - startedAt;
  if (!verdict.ok) throw new VerificationError('the answer is not proved', verdict, receiptId);
  if (proofTransactions.size >= TRANSACTIONS_REMEMBERED) proofTransactions.clear();
  proofTransactions.set(toHex(transactionHash(transaction)), transaction);
  const proveMs = status.claim?.proveMs ?? null;
  return { verdict, claim, transaction, batchSize, proofBytes, verifyMs, proveMs };
}

async function transactionOf(chain: ChainView, hash: Uint8Array | null): Promise<Uint8Array | null> {
  return hash === null ? null : ((await callTx(chain, hash, false))?.tx ?? null);
}

/** From a full node; null where it has no such transaction. */
async function callTx(
  chain: ChainView,
  hash: Uint8Array,
  prove: boolean,
): Promise<{ readonly tx: Uint8Array; readonly proof: unknown } | null> {
  try {
    const answer = asObject(await chain.rpc.call('tx', { hash: toBase64(hash), prove }), 'tx');
    const { tx, proof } = answer as { readonly tx?: unknown; readonly proof?: unknown };
    const bytes = typeof tx === 'string' ? fromBase64(tx, 'tx') : null;
    return bytes !== null && bytesEqual(transactionHash(bytes), hash) ? { tx: bytes, proof } : null;
  } catch (error) {
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  }
}
