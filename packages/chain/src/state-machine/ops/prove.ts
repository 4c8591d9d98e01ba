/** Proving a claim: what was settled is verified, and the lines that come with the proof are paid. */
import { bytesEqual } from '@haca/primitives';
import {
  bindZkClaim,
  type ClaimRecord,
  type NodeKeyRecord,
  type OpOf,
  type SignedObject,
  STATEMENT,
  type Statement,
  type VerifyingKeyRecord,
  type ZkBinding,
} from '@haca/protocol';
import { verifyClaim, verifyingKeyOf } from '../claims.ts';
import { isKindDisabled } from '../governance.ts';
import { keyDrainedAt } from '../node-keys.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { claims } from '../tables.ts';
import { payLines } from './charge-lines.ts';
import { assuranceOf, ownKey } from './keys.ts';
import type { Outcome, Step } from './step.ts';

/** Everything that is cheap is checked before the proof; only a proof that was verified and does not hold costs bond. */
export function applyProve(
  step: Step,
  op: OpOf<'prove'>,
  statement: SignedObject<Statement> | undefined,
): Outcome {
  const { claimId, proof } = op;
  const claim = claims.get(step.state, claimId);
  if (claim === undefined) return refuse('E_CLAIM', 'an open claim', 'none');
  const key = ownKey(step, claim.keyId);
  if ('code' in key) return key;
  const verifying = verifyingKeyOf(step.state, key);
  if (verifying === undefined) return refuse('E_VERIFYING_KEY', 'a verifying key', 'none');
  const refusal = checkTime(step, key, claim, op) ?? checkRedeem(step, key, claim, op, statement);
  if (refusal !== undefined) return refusal;
  const bound = bind(step, key, claim, verifying, op);
  if ('code' in bound) return bound;

  const { zk } = step.ctx;
  if (!zk.verifyProof({ verifyingKey: verifying.record.verifyingKey, statement: bound.statement, proof })) {
    const penalty = { fault: 'invalid-proof', nodeId: key.nodeId, keyId: claim.keyId, claimId } as const;
    return { ...refuse('E_PROOF', 'a proof that holds', 'one that does not'), penalty };
  }
  verifyClaim(step.state, claimId, claim);
  emitProved(step, claimId, claim, key);
  if (op.redeem !== null && statement !== undefined) {
    const { vouchers, receipts } = op.redeem;
    const { charges } = statement.value;
    payLines(step, { keyId: claim.keyId, charges, vouchers, receipts, proved: bound.receipts });
  }
  return undefined;
}

function checkTime(
  { state, block, ctx }: Step,
  key: NodeKeyRecord,
  claim: ClaimRecord,
  { verificationGas }: OpOf<'prove'>,
): Outcome {
  if (block.height <= claim.openedAt)
    return refuse('E_CLAIM', `a block after ${claim.openedAt}`, block.height);
  if (block.height > claim.due) return refuse('E_CLAIM', `a proof by height ${claim.due}`, block.height);
  const drainedAt = keyDrainedAt(key, ctx.config.params);
  if (block.height >= drainedAt) return refuse('E_KEY_PRUNED', `before ${drainedAt}`, block.height);
  if (isKindDisabled(state, 'zk')) return refuse('E_DISABLED', 'an enabled kind of proof', 'zk');
  return verificationGas >= claim.verificationGas
    ? undefined
    : refuse('E_PROOF_GAS', `${claim.verificationGas} gas`, verificationGas);
}

/** The statement that may come along redeems lanes of the same key, and settles nothing. */
function checkRedeem(
  step: Step,
  key: NodeKeyRecord,
  { keyId }: ClaimRecord,
  { redeem }: OpOf<'prove'>,
  statement: SignedObject<Statement> | undefined,
): Outcome {
  if (redeem === null || statement === undefined) return undefined;
  const { chainId, batch, charges, keyId: signedFor } = statement.value;
  if (chainId !== step.ctx.config.chainId) return refuse('E_CHAIN', step.ctx.config.chainId, chainId);
  if (!bytesEqual(signedFor, keyId))
    return refuse('E_KEY', 'a statement of the key of the claim', 'of another');
  if (batch !== null) return refuse('E_COUNT', 'a statement without batch', 'one with a batch');
  const lines = charges.length;
  if (lines === 0) return refuse('E_COUNT', 'charge lines', 'none');
  if (redeem.vouchers.length !== lines) return refuse('E_COUNT', `${lines} vouchers`, redeem.vouchers.length);
  if (redeem.receipts.length !== lines) {
    return refuse('E_COUNT', `receipts of ${lines} lines`, redeem.receipts.length);
  }
  return STATEMENT.verify(step.ctx.crypto, statement, key.publicKey)
    ? undefined
    : refuse('E_SIG', 'a statement signed by the key', 'another signature');
}

/** E_BINDING: the proof could be about anything; what it is checked against is exactly what the claim was settled for. */
function bind(
  { ctx }: Step,
  key: NodeKeyRecord,
  claim: ClaimRecord,
  { hash, record }: { readonly hash: Uint8Array; readonly record: VerifyingKeyRecord },
  op: OpOf<'prove'>,
): Extract<ZkBinding, { readonly ok: true }> | Refusal {
  const { claimId } = op;
  const { chainId } = ctx.config;
  if (key.modelId === null) return refuse('E_BINDING', 'a key with a model', 'none');
  const context = { chainId, claimId, claim, modelId: key.modelId, verifyingKeyHash: hash, shapes: record };
  const bound = bindZkClaim(context, op);
  if (!bound.ok) return refuse('E_BINDING', `${bound.at}: ${bound.expected}`, bound.got);
  const misfit = ctx.zk.checkTensors(record.verifyingKey, bound.statement);
  return misfit === undefined ? bound : refuse('E_BINDING', 'values inside their intervals', misfit);
}

function emitProved(step: Step, claimId: Uint8Array, claim: ClaimRecord, key: NodeKeyRecord): void {
  const { keyId, firstSeq, count, openedAt } = claim;
  step.emit('prove', {
    claimId,
    keyId,
    nodeId: key.nodeId,
    firstSeq,
    lastSeq: firstSeq + count - 1,
    count,
    openedAt,
    modelId: key.modelId ?? undefined,
    method: key.method,
    assurance: assuranceOf(key),
    state: 'verified',
  });
}
