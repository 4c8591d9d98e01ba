/** Getting hold of what proves an answer, and verifying it before anything is called proved. */
import { fromBase64 } from '@haca/light-client';
import { RpcError } from '@haca/platform/rpc';
import { bytesEqual, decode, toHex } from '@haca/primitives';
import {
  type ClaimRecord,
  claimRecordCodec,
  failed,
  type ProvenRecord,
  type Receipt,
  recordKey,
  type SignedObject,
  transactionHash,
  type Verdict,
  type VerifyingKeyRecord,
  verdictOf,
} from '@haca/protocol';
import type { ZkVerifier } from '@haca/verifier';
import type { ChainView } from './chain-view.ts';
import type { Route } from './directory.ts';
import { VerificationError } from './errors.ts';
import type { ClaimStatus, ReceiptStatus } from './node-api.ts';
import { claimIdOfRecord, verifyZkReceipt } from './verify-zk.ts';

/** The verifying key of a model, proven, as `infer` got it before it asked. */
export interface ProvenVerifyingKey {
  readonly hash: Uint8Array;
  readonly record: VerifyingKeyRecord;
  readonly proof: ProvenRecord;
}

export interface ProvenClaim {
  readonly record: ClaimRecord;
  readonly proof: ProvenRecord;
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

/** The claim as the state behind the settling block has it; null where that state is not to be had any more. */
export async function proveClaim(
  chain: ChainView,
  { claimId }: ClaimStatus,
  settledAt: number,
): Promise<ProvenClaim | null> {
  await chain.sync({ minHeight: settledAt + 1 });
  const proof = await chain.record(recordKey.claim(claimId), settledAt).catch((error: unknown) => {
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  });
  if (proof === null) return null;
  const record = proof.value === null ? null : decode(claimRecordCodec, proof.value, 'claim');
  if (record === null || !bytesEqual(claimIdOfRecord(chain.chainId, record), claimId)) {
    const absent = failed('zk.claim', 'E_CLAIM', 'the claim that the node names', 'none');
    throw new VerificationError('the receipt has no claim on chain', verdictOf([absent]));
  }
  return { record, proof };
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
    claim: claim.record,
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

/** From a full node; null where it has no such transaction. */
async function transactionOf(chain: ChainView, hash: Uint8Array | null): Promise<Uint8Array | null> {
  if (hash === null) return null;
  try {
    const params = { hash: btoa(String.fromCharCode(...hash)), prove: false };
    const { tx } = (await chain.rpc.call('tx', params)) as { readonly tx?: unknown };
    const bytes = typeof tx === 'string' ? fromBase64(tx, 'tx') : null;
    return bytes !== null && bytesEqual(transactionHash(bytes), hash) ? bytes : null;
  } catch (error) {
    if (error instanceof RpcError && error.code !== 'unreachable') return null;
    throw error;
  }
}
