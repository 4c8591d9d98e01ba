/** Models, and the verifying keys of those that can be proved. */
import { bytesEqual, decode, encode, sha256, toHex, UsageError } from '@haca/primitives';
import {
  type ModelManifest,
  modelIdOf,
  type OpOf,
  type VerifyingKeyRecord,
  verifyingKeyRecordCodec,
  zkBatchIndex,
  zkKeyGas,
} from '@haca/protocol';
import { type Refusal, refuse } from '../refusal.ts';
import { models, verifyingKeys } from '../tables.ts';
import type { ZkKeyFacts } from '../types.ts';
import { ownNode } from './registry.ts';
import type { Outcome, Step } from './step.ts';

export function applyRegisterModel(step: Step, op: OpOf<'register-model'>): Outcome {
  const { manifest } = op;
  const modelId = modelIdOf(manifest);
  if (models.get(step.state, modelId) !== undefined)
    return refuse('E_MODEL', 'a new model', 'a registered one');
  const refusal = checkManifest(manifest) ?? registerKey(step, op);
  if (refusal !== undefined) return refusal;
  models.put(step.state, { manifest, registrant: step.sender, height: step.block.height }, modelId);
  step.emit('register-model', {
    modelId,
    name: manifest.name,
    task: manifest.task,
    registrant: step.sender,
    verifyingKeyHash: isProvable(manifest) ? manifest.weights.digest : undefined,
  });
  return undefined;
}

function isProvable({ methods }: ModelManifest): boolean {
  return methods.includes('zk');
}

function checkManifest(manifest: ModelManifest): Outcome {
  const { methods, weights } = manifest;
  if (new Set(methods).size !== methods.length)
    return refuse('E_MODEL', 'each method once', methods.join(', '));
  const kind = isProvable(manifest) ? 'zk-verifying-key' : 'sha256';
  return weights.kind === kind ? undefined : refuse('E_MODEL', `weights named by ${kind}`, weights.kind);
}

/** The verifying key that the manifest names: brought along and checked, or known from another model. */
function registerKey(step: Step, { manifest, zk }: OpOf<'register-model'>): Outcome {
  if (!isProvable(manifest)) {
    return zk === undefined ? undefined : refuse('E_METHOD', 'no verifying key', 'one');
  }
  const hash = manifest.weights.digest;
  const known = verifyingKeys.get(step.state, hash);
  if (zk === undefined) {
    return known === undefined ? refuse('E_VERIFYING_KEY', 'the verifying key', 'none') : undefined;
  }
  if (zk.nodeId !== null) {
    const node = ownNode(step, zk.nodeId);
    if ('code' in node) return node;
  }
  const record = known ?? appraisedKey(step, hash, zk);
  if ('code' in record) return record;
  if (!bytesEqual(record.verifyingKey, zk.verifyingKey)) {
    return refuse('E_VERIFYING_KEY', `the key with hash ${toHex(hash)}`, 'another');
  }
  const proven = withRegistrationProof(step, record, zk);
  if ('code' in proven) return proven;
  verifyingKeys.put(step.state, proven, hash);
  return undefined;
}

type BroughtKey = NonNullable<OpOf<'register-model'>['zk']>;

function appraisedKey(
  step: Step,
  hash: Uint8Array,
  { verifyingKey, verificationGas }: BroughtKey,
): VerifyingKeyRecord | Refusal {
  const outline = step.ctx.zk.outlineKey(verifyingKey);
  if (outline === undefined) return refuse('E_VERIFYING_KEY', 'a verifying key', 'other bytes');
  const gas = zkKeyGas(outline, 0);
  if (verificationGas < gas) return refuse('E_PROOF_GAS', `${gas} gas`, verificationGas);
  const appraisal = step.ctx.zk.appraiseKey(verifyingKey);
  if (!appraisal.ok) return refuse('E_VERIFYING_KEY', 'a well-formed verifying key', appraisal.info);
  if (!bytesEqual(appraisal.hash, hash)) {
    return refuse('E_VERIFYING_KEY', `the key with hash ${toHex(hash)}`, toHex(appraisal.hash));
  }
  if (!isComplete(appraisal.facts)) return refuse('E_VERIFYING_KEY', 'a cost for every batch size', 'less');
  const record: VerifyingKeyRecord = { verifyingKey, ...appraisal.facts, height: step.block.height };
  // What was derived comes from outside this machine: a row that can't be read again must not be written.
  return decode(verifyingKeyRecordCodec, encode(verifyingKeyRecordCodec, record), 'verifying-key');
}

function isComplete(facts: ZkKeyFacts): boolean {
  const { batchMax, verificationGas, proofBytes, inputRowBytes, outputRowBytes } = facts;
  const sizes = zkBatchIndex(batchMax) + 1;
  const isSized = batchMax >= 1 && verificationGas.length === sizes && proofBytes.length === sizes;
  // A tensor without bytes could not be carried, so no claim could ever be proved.
  return isSized && [...inputRowBytes, ...outputRowBytes].every((bytes) => bytes >= 1);
}

/** A proof is verified once; a key that has one needs none again. */
function withRegistrationProof(
  step: Step,
  record: VerifyingKeyRecord,
  { registrationProof: proof, verificationGas }: BroughtKey,
): VerifyingKeyRecord | Refusal {
  const verify = step.ctx.zk.verifyRegistration;
  if (verify === null) {
    return proof === null ? record : refuse('E_UNSUPPORTED', 'no registration proof', 'one');
  }
  if (record.registrationProofHash !== undefined) return record;
  if (proof === null) return refuse('E_REGISTRATION_PROOF', 'a registration proof', 'none');
  const gas = registrationGas(step, record.verifyingKey);
  if (verificationGas < gas) return refuse('E_PROOF_GAS', `${gas} gas`, verificationGas);
  return verify({ verifyingKey: record.verifyingKey, proof })
    ? { ...record, registrationProofHash: sha256(proof) }
    : refuse('E_REGISTRATION_PROOF', 'a proof that holds', 'one that does not');
}

/** What a key with its registration proof costs: known before the proof is looked at. */
function registrationGas(step: Step, verifyingKey: Uint8Array): number {
  const outline = step.ctx.zk.outlineKey(verifyingKey);
  const appraisal = step.ctx.zk.appraiseKey(verifyingKey);
  if (outline === undefined || !appraisal.ok)
    throw new UsageError('a verifying key that was appraised before');
  return zkKeyGas(outline, appraisal.registrationGas);
}
