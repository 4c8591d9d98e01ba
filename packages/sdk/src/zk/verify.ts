/**
 * From a receipt to its proof: claim and verifying key as the chain holds them, and one transaction with everything the claim
 * was made of. Pure, in Node and in browsers. Salts, tensors and receipts are believed as far as they hash to what the
 * claim was settled for; the statement that is verified is built from them and from chain records, never from the proof.
 */
import { bytesEqual, concatBytes, MalformedError, toHex } from '@haca/primitives';
import type { ZkKernels } from '@haca/primitives/zk';
import {
  bindZkClaim,
  type Check,
  type ClaimRecord,
  check,
  decodeTransaction,
  encodeZkStatement,
  failed,
  type NodeKeyRecord,
  type OpOf,
  passed,
  type Receipt,
  type SignedObject,
  type Verdict,
  type VerifyingKeyRecord,
  verdictOf,
  zkClaimIdOf,
} from '@haca/protocol';
import { createZkVerifier, type ZkVerifier } from '@haca/verifier';
import type { Platform } from '../platform.ts';

/** What of a claim its proof depends on. */
export type ZkClaim = Pick<ClaimRecord, 'keyId' | 'firstSeq' | 'count' | 'receiptsRoot' | 'nonce'>;

export interface ZkReceiptParts {
  readonly chainId: string;
  readonly receipt: SignedObject<Receipt>;
  /** Of the key that signed the receipt, by the chain's record. */
  readonly key: Pick<NodeKeyRecord, 'modelId' | 'method'>;
  readonly claim: ZkClaim;
  /** As the model's manifest names it. */
  readonly verifyingKeyHash: Uint8Array;
  readonly verifying: VerifyingKeyRecord;
  /** The Prove transaction: bytes of anybody. */
  readonly transaction: Uint8Array;
  /** Kept by callers that verify many proofs under one key. */
  readonly verifier?: ZkVerifier;
}

export interface ZkReceiptVerification {
  readonly verdict: Verdict;
  readonly batchSize: number;
  /** 0 where there was no proof to look at. */
  readonly proofBytes: number;
}

const VERDICTS_REMEMBERED = 64;

/**
 * One for all proofs of a client: it remembers what verifying keys come to, which kernels there are, and the verdicts on the
 * last proofs, each under key, statement and proof together: all receipts of a claim share one proof.
 */
export function openZkVerifier({ crypto, zkKernels }: Pick<Platform, 'crypto' | 'zkKernels'>): ZkVerifier {
  const verifier = createZkVerifier();
  const verdicts = new Map<string, Verdict>();
  let kernels: ZkKernels | undefined;
  return {
    verify: (verification) => {
      const { verifyingKey, statement, proof } = verification;
      const parts = [verifyingKey, encodeZkStatement(statement), proof].map((part) => crypto.sha256(part));
      const name = toHex(concatBytes(...parts));
      const known = verdicts.get(name);
      if (known !== undefined) return known;
      kernels ??= zkKernels?.();
      const verdict = verifier.verify(kernels === undefined ? verification : { ...verification, kernels });
      if (verdicts.size >= VERDICTS_REMEMBERED) verdicts.clear();
      verdicts.set(name, verdict);
      return verdict;
    },
  };
}

/** The claim's id, from what its record says. */
export function claimIdOfRecord(chainId: string, claim: Omit<ZkClaim, 'nonce'>): Uint8Array {
  const { keyId, firstSeq, count, receiptsRoot } = claim;
  return zkClaimIdOf({ chainId, keyId, firstSeq, count, receiptsRoot });
}

/** Total: hostile bytes are a failed check. */
export function verifyZkReceipt(parts: ZkReceiptParts): ZkReceiptVerification {
  const { receipt, claim, key } = parts;
  const batchSize = claim.count;
  const before = [...claimChecks(receipt.value, claim), methodCheck(key)];
  const op = proveOpOf(parts.transaction);
  if (!('kind' in op)) return { verdict: verdictOf([...before, op]), batchSize, proofBytes: 0 };
  const proofBytes = op.proof.length;
  const bound = bindZkClaim(
    {
      chainId: parts.chainId,
      claimId: claimIdOfRecord(parts.chainId, claim),
      claim,
      modelId: key.modelId ?? new Uint8Array(32),
      verifyingKeyHash: parts.verifyingKeyHash,
      shapes: parts.verifying,
    },
    op,
  );
  if (!bound.ok) {
    const { at, expected, got } = bound;
    const unbound = failed('zk.binding', 'E_BINDING', `${at}: ${expected}`, got);
    return { verdict: verdictOf([...before, unbound]), batchSize, proofBytes };
  }
  const own = bound.receipts[receipt.value.seq - claim.firstSeq]?.hash;
  const proof = (parts.verifier ?? createZkVerifier()).verify({
    verifyingKey: parts.verifying.verifyingKey,
    statement: bound.statement,
    proof: op.proof,
  });
  const verdict = verdictOf([
    ...before,
    passed('zk.binding', `${batchSize} of ${batchSize} requests and responses`),
    check(
      'zk.receipt',
      'E_LEAF',
      own !== undefined && bytesEqual(own, receipt.hash),
      toHex(receipt.hash),
      own === undefined ? 'none' : toHex(own),
    ),
    ...proof.checks.map((each) => ({ ...each, id: `zk.proof.${each.id.replace(/^zk\./, '')}` })),
    check('zk.proof', 'E_PROOF', proof.ok, 'a proof that holds', proof.ok ? 'one' : 'one that does not'),
  ]);
  return { verdict, batchSize, proofBytes };
}

function claimChecks({ keyId, seq }: Receipt, claim: ZkClaim): Check[] {
  const last = claim.firstSeq + claim.count - 1;
  return [
    check('zk.claim-key', 'E_KEY', bytesEqual(claim.keyId, keyId), toHex(keyId), toHex(claim.keyId)),
    check(
      'zk.claim-range',
      'E_LEAF',
      seq >= claim.firstSeq && seq <= last,
      `${claim.firstSeq} to ${last}`,
      `${seq}`,
    ),
  ];
}

function methodCheck({ method, modelId }: Pick<NodeKeyRecord, 'method' | 'modelId'>): Check {
  const isZk = method === 'zk' && modelId !== null;
  return check('zk.method', 'E_METHOD', isZk, 'a zk key with its model', method);
}

function proveOpOf(transaction: Uint8Array): OpOf<'prove'> | Check {
  const id = 'zk.transaction';
  try {
    const op = decodeTransaction(transaction).body.ops.find((each) => each.kind === 'prove');
    return op ?? failed(id, 'E_MALFORMED', 'a transaction that proves a claim', 'another');
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return failed(id, 'E_MALFORMED', error.expected, error.got);
  }
}
