/** Opening, closing and abandoning node keys. */
import {
  bytesEqual,
  compareBytes,
  decode,
  encode,
  merkleLeafHash,
  merkleRoot,
  sha256,
} from '@haca/primitives';
import {
  type Assurance,
  type ErrorCode,
  keyIdOf,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  type OpOf,
  possessionMessage,
  registrationBindingHash,
  UNDRAINED_KEYS_MAX,
  type Verdict,
  ZERO_DIGEST,
} from '@haca/protocol';
import { checkProvable, verifyingKeyOf } from '../claims.ts';
import { isKindDisabled } from '../governance.ts';
import { closeKey, keyClosingAt, keyPhase, liveKeys, scheduleKey } from '../node-keys.ts';
import { recentBlockHash } from '../recent-blocks.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { models, nodeKeys, nodes } from '../tables.ts';
import type { EvidenceClaims, EvidenceExpectations } from '../types.ts';
import { ownNode } from './registry.ts';
import type { Outcome, Step } from './step.ts';

export function applyOpenKey(step: Step, op: OpOf<'open-key'>): Outcome {
  const { binding } = op;
  const { chainId, params } = step.ctx.config;
  const node = ownNode(step, binding.nodeId);
  if ('code' in node) return node;
  const refusal =
    checkBinding(step, op, node) ??
    checkRoom(step, node) ??
    checkFreshness(step, op) ??
    checkModels(step, op);
  if (refusal !== undefined) return refusal;

  const bindingHash = registrationBindingHash(step.ctx.crypto, binding);
  const possession = possessionMessage(bindingHash);
  if (!step.ctx.crypto.verifyEd25519(binding.signPublicKey, possession, op.possession)) {
    return refuse('E_SIG', 'possession signed by the new key', 'another signature');
  }
  const evidence = appraiseKey(step, op, bindingHash);
  if (evidence !== null && 'code' in evidence) return evidence;

  const keyId = keyIdOf(chainId, binding.nodeId, binding.keyEpoch, binding.signPublicKey);
  const opened = newKey(op, evidence, step.block.height, step.block.height + params.keyTtl);
  // What the verifier claims comes from outside this machine: a row that can't be read again must not be written.
  const key = decode(nodeKeyRecordCodec, encode(nodeKeyRecordCodec, opened), 'key');
  nodeKeys.put(step.state, key, keyId);
  nodes.put(step.state, { ...node, keyEpoch: binding.keyEpoch, keys: [...node.keys, keyId] }, binding.nodeId);
  scheduleKey(step.state, keyId, key, params);
  step.emit('open-key', {
    keyId,
    nodeId: binding.nodeId,
    operator: binding.operator,
    keyEpoch: binding.keyEpoch,
    publicKey: binding.signPublicKey,
    method: op.method,
    assurance: assuranceOf(key),
    evidenceKind: evidence?.kind,
    measurement: evidence?.measurement,
    evidenceEndMs: evidence?.endMs,
    notAfter: key.notAfter,
  });
  return undefined;
}

/** What the chain itself can say about answers under this key. */
export function assuranceOf(key: Pick<NodeKeyRecord, 'method' | 'evidence'>): Assurance {
  if (key.method === 'tee') return key.evidence?.simulated === false ? 'tee' : 'tee-simulated';
  return key.method;
}

function newKey(
  { binding, method, modelId, modelIds }: OpOf<'open-key'>,
  evidence: NodeKeyRecord['evidence'],
  openedAt: number,
  notAfter: number,
): NodeKeyRecord {
  return {
    nodeId: binding.nodeId,
    keyEpoch: binding.keyEpoch,
    publicKey: binding.signPublicKey,
    method,
    modelId,
    modelIds,
    binding,
    evidence,
    openedAt,
    notAfter,
    settledSeq: 0,
    headHash: ZERO_DIGEST,
    settled: [],
    verified: [],
    paid: [],
    logSize: 0,
    logFrontier: [],
    unpaidRanges: [],
    openClaims: [],
    c1Seq: 0,
    c1Due: 0,
    faults: 0,
    lastLane: null,
  };
}

function checkBinding(step: Step, op: OpOf<'open-key'>, node: NodeRecord): Outcome {
  const { chainId, params } = step.ctx.config;
  const { binding } = op;
  if (binding.chainId !== chainId) return refuse('E_CHAIN', chainId, binding.chainId);
  if (!bytesEqual(binding.operator, step.sender)) {
    return refuse('E_SENDER', 'the operator named in the binding', 'another account');
  }
  if (node.tombstoned === true || step.block.height < (node.jailedUntil ?? 0)) {
    return refuse('E_NODE', 'a node in standing', 'a jailed or tombstoned one');
  }
  if (node.bond < params.nodeBondMin)
    return refuse('E_BOND', `at least ${params.nodeBondMin} nopg`, node.bond);
  if (binding.keyEpoch <= node.keyEpoch) return refuse('E_EPOCH', `above ${node.keyEpoch}`, binding.keyEpoch);
  return undefined;
}

function checkRoom(step: Step, node: NodeRecord): Outcome {
  const max = step.ctx.config.params.keysPerNodeMax;
  if (node.keys.length >= UNDRAINED_KEYS_MAX) {
    return refuse('E_KEY', `fewer than ${UNDRAINED_KEYS_MAX} keys not drained`, node.keys.length);
  }
  const live = liveKeys(step.state, node, step.block.height).length;
  return live >= max ? refuse('E_KEY', `fewer than ${max} live keys`, live) : undefined;
}

function checkFreshness({ state, block, ctx }: Step, { binding }: OpOf<'open-key'>): Outcome {
  const oldest = block.height - ctx.config.params.settleWindow;
  if (binding.refHeight < oldest || binding.refHeight >= block.height) {
    return refuse('E_FRESHNESS', `a block of ${oldest} to ${block.height - 1}`, binding.refHeight);
  }
  const hash = recentBlockHash(state, block, ctx.config.params, binding.refHeight);
  return hash !== undefined && bytesEqual(hash, binding.refBlockHash)
    ? undefined
    : refuse('E_FRESHNESS', `the hash of block ${binding.refHeight}`, 'another hash');
}

function checkModels(step: Step, op: OpOf<'open-key'>): Outcome {
  const { modelIds, modelId: single } = op;
  if (op.method !== 'zk' && single !== null)
    return refuse('E_MODEL', 'no single model for this method', 'one');
  if (op.method === 'zk') {
    const refusal = checkZkModel(step, op);
    if (refusal !== undefined) return refusal;
  }
  for (const [i, modelId] of modelIds.entries()) {
    const previous = modelIds[i - 1];
    if (previous !== undefined && compareBytes(previous, modelId) >= 0) {
      return refuse('E_MODEL', 'model ids in ascending order', 'another order');
    }
    const model = models.get(step.state, modelId);
    if (model === undefined) return refuse('E_MODEL', 'registered models', `an unknown one at ${i}`);
    if (!model.manifest.methods.includes(op.method)) {
      return refuse('E_METHOD', model.manifest.methods.join(' or '), op.method);
    }
  }
  return bytesEqual(merkleRoot(modelIds.map(merkleLeafHash)), op.binding.modelSetRoot)
    ? undefined
    : refuse('E_MODEL', 'the model set of the binding', 'another root');
}

/** A zk key is for one model, whose verifying key is known and whose smallest proof can land at all. */
function checkZkModel(step: Step, { modelId, modelIds }: OpOf<'open-key'>): Outcome {
  const only = modelIds[0];
  if (modelId === null || modelIds.length !== 1 || only === undefined || !bytesEqual(modelId, only)) {
    return refuse('E_MODEL', 'the one model of a zk key, alone in its list', modelIds.length);
  }
  if (isKindDisabled(step.state, 'zk')) return refuse('E_DISABLED', 'an enabled kind of proof', 'zk');
  if (models.get(step.state, modelId)?.manifest.methods.includes('zk') !== true) {
    return refuse('E_METHOD', 'a model of method zk', 'another');
  }
  const verifying = verifyingKeyOf(step.state, { modelId });
  if (verifying === undefined) return refuse('E_VERIFYING_KEY', 'a verifying key', 'none');
  if (step.ctx.zk.verifyRegistration !== null && verifying.record.registrationProofHash === undefined) {
    return refuse('E_REGISTRATION_PROOF', 'a verified registration proof', 'none');
  }
  return checkProvable(verifying.record, 1, step.ctx.config.params, 'E_VERIFYING_KEY');
}

function appraiseKey(
  step: Step,
  op: OpOf<'open-key'>,
  bindingHash: Uint8Array,
): NodeKeyRecord['evidence'] | Refusal {
  if (op.method !== 'tee') {
    if (op.evidence === null) return null;
    return refuse('E_METHOD', `no evidence for a ${op.method} key`, op.evidence.kind);
  }
  if (op.evidence === null) return refuse('E_EVIDENCE', 'evidence', 'none');
  const { config, appraise, crypto } = step.ctx;
  const expectations: EvidenceExpectations = {
    bindingHash,
    publicKey: op.binding.signPublicKey,
    nonce: op.binding.refBlockHash,
    nowMs: step.block.timeMs,
    simulated: config.simulated,
    testRoots: config.testRoots,
    measurements: config.measurements,
    evidenceAgeMaxMs: config.params.evidenceAgeMaxMs,
    evidenceSkewMaxMs: config.params.evidenceSkewMaxMs,
  };
  const { verdict, claims } = appraise(op.evidence, expectations, crypto);
  if (!verdict.ok || claims === null) return evidenceRefusal(verdict);
  if (claims.simulated && !config.simulated) {
    return refuse('E_EVIDENCE', 'genuine evidence', 'evidence of a test enclave');
  }
  if (step.block.timeMs >= claims.endMs)
    return refuse('E_EVIDENCE', `before ${claims.endMs} ms`, step.block.timeMs);
  return keptEvidence(op.evidence, claims);
}

function keptEvidence(
  { kind, document }: NonNullable<OpOf<'open-key'>['evidence']>,
  { claimsDigest, endMs, simulated, measurement }: EvidenceClaims,
): NonNullable<NodeKeyRecord['evidence']> {
  return { kind, documentHash: sha256(document), claimsDigest, endMs, simulated, measurement };
}

/** The two kinds of failed check that have a code of their own, by the last part of their id. */
const EVIDENCE_CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/\.measurement$/, 'E_MEASUREMENT'],
  [/\.timestamp\.(age|future)$/, 'E_FRESHNESS'],
];

function evidenceRefusal(verdict: Verdict): Refusal {
  const worst = verdict.checks.find(({ status }) => status === 'failed') ?? verdict.checks.find(notPassed);
  const code = EVIDENCE_CODES.find(([id]) => id.test(worst?.id ?? ''))?.[1] ?? 'E_EVIDENCE';
  return {
    code,
    info: `${worst?.id ?? 'no check'}: expected ${worst?.expected ?? ''}, got ${worst?.got ?? ''}`,
  };
}

function notPassed({ status }: Verdict['checks'][number]): boolean {
  return status !== 'passed' && status !== 'not-applicable';
}

export function applyCloseKey(step: Step, op: OpOf<'close-key'>): Outcome {
  const key = ownKey(step, op.keyId);
  if ('code' in key) return key;
  const { height } = step.block;
  if (keyClosingAt(key) <= height)
    return refuse('E_KEY', 'a key that is open', `closing since ${keyClosingAt(key)}`);
  closeKey(step.state, op.keyId, height, step.ctx.config.params);
  step.emit('close-key', { keyId: op.keyId, nodeId: key.nodeId, reason: 'closed', closingAt: height });
  return undefined;
}

/** The key is lost: what it did not settle is void. The first stop stays. */
export function applyAbandonKey(step: Step, op: OpOf<'abandon-key'>): Outcome {
  const key = ownKey(step, op.keyId);
  if ('code' in key) return key;
  const { height } = step.block;
  const { params } = step.ctx.config;
  const phase = keyPhase(key, height, params);
  if (phase === 'stopped' || phase === 'drained') return refuse('E_KEY', 'a key in use', phase);
  closeKey(step.state, op.keyId, height, params, 'abandoned');
  const closingAt = Math.min(keyClosingAt(key), height);
  step.emit('close-key', { keyId: op.keyId, nodeId: key.nodeId, reason: 'abandoned', closingAt });
  return undefined;
}

export function ownKey(step: Step, keyId: Uint8Array): NodeKeyRecord | Refusal {
  const key = nodeKeys.get(step.state, keyId);
  if (key === undefined) return refuse('E_KEY', 'a node key', 'none');
  const node = nodes.get(step.state, key.nodeId);
  return node !== undefined && bytesEqual(node.operator, step.sender)
    ? key
    : refuse('E_SENDER', "the key's operator", 'another account');
}
