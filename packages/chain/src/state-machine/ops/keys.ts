/** Opening, closing and abandoning node keys. */
import {
  bytesEqual,
  type Codec,
  compareBytes,
  decode,
  encode,
  merkleLeafHash,
  merkleRoot,
  sha256,
} from '@haca/primitives';
import {
  type Assurance,
  type EvidenceEnvelope,
  gpuEvidenceRootOf,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  keyIdOf,
  measurementIdOf,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  type OpOf,
  possessionMessage,
  registrationBindingHash,
  UNDRAINED_KEYS_MAX,
  ZERO_DIGEST,
} from '@haca/protocol';
import { checkProvable, verifyingKeyOf } from '../claims.ts';
import { evidenceRules, graceRules, mayHaveGrace } from '../evidence-rules.ts';
import { isKindDisabled } from '../governance.ts';
import { takeHardware, tierOf } from '../hardware.ts';
import { activeMeasurements } from '../measurements.ts';
import { closeKey, keyClosingAt, keyPhase, liveKeys, scheduleKey } from '../node-keys.ts';
import { recentBlockHash } from '../recent-blocks.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { effectiveEndMs } from '../standing.ts';
import { keyEvidences, models, nodeKeys, nodes } from '../tables.ts';
import type { EvidenceAppraisal, EvidenceClaims, StateEvidenceRules } from '../types.ts';
import { verdictRefusal } from '../verdict-refusal.ts';
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
  const evidence = checkEvidence(step, op, bindingHash);
  if (evidence !== null && 'code' in evidence) return evidence;

  const keyId = keyIdOf(chainId, binding.nodeId, binding.keyEpoch, binding.signPublicKey);
  const opened = newKey(op, evidence?.summary ?? null, step.block.height, step.block.height + params.keyTtl);
  const key = readAgain(nodeKeyRecordCodec, opened);
  nodeKeys.put(step.state, key, keyId);
  if (evidence !== null) keyEvidences.put(step.state, evidence.record, keyId);
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
    evidenceKind: evidence?.summary.kind,
    measurement: evidence?.record.measurement,
    evidenceEndMs: evidence?.summary.endMs,
    tier: evidence?.summary.tier,
    gpus: evidence?.record.gpus.length,
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

/** What the documents behind a key say, all of it accepted. */
interface KeyDocuments {
  readonly own: EvidenceClaims;
  readonly gpus: readonly EvidenceClaims[];
}

/** What is kept of them: in the key's own row, and in the row of its evidence. */
interface KeptEvidence {
  readonly summary: NonNullable<NodeKeyRecord['evidence']>;
  readonly record: KeyEvidenceRecord;
}

function checkEvidence(
  step: Step,
  op: OpOf<'open-key'>,
  bindingHash: Uint8Array,
): KeptEvidence | null | Refusal {
  const documents = op.gpuEvidence ?? [];
  const root = gpuEvidenceRootOf(documents);
  const isSameRoot =
    root === null || op.binding.gpuEvidenceRoot === null
      ? root === op.binding.gpuEvidenceRoot
      : bytesEqual(root, op.binding.gpuEvidenceRoot);
  if (!isSameRoot) return refuse('E_EVIDENCE', 'the GPU evidence of the binding', 'another root');
  if (op.method !== 'tee') {
    if (op.evidence === null && documents.length === 0) return null;
    return refuse('E_METHOD', `no evidence for a ${op.method} key`, op.evidence?.kind ?? 'nvidia');
  }
  if (op.evidence === null) return refuse('E_EVIDENCE', 'evidence', 'none');
  // A GPU measures no software that holds a key.
  if (op.evidence.kind === 'nvidia') return refuse('E_EVIDENCE', 'evidence of a CPU', op.evidence.kind);
  const own = appraiseDocument(step, op, bindingHash, op.evidence);
  if ('code' in own) return own;
  const gpus: EvidenceClaims[] = [];
  for (const document of documents) {
    const gpu = appraiseDocument(step, op, bindingHash, { kind: 'nvidia', document });
    if ('code' in gpu) return gpu;
    if (gpu.hardware.length === 0) return refuse('E_HARDWARE', 'the identity of the GPU', 'none');
    gpus.push(gpu);
  }
  return keptEvidence(step, op, op.evidence, { own, gpus });
}

/** By the collateral of the moment, or by what it superseded while its grace runs. */
function appraiseDocument(
  { state, block, ctx }: Step,
  { binding }: OpOf<'open-key'>,
  bindingHash: Uint8Array,
  envelope: EvidenceEnvelope,
): EvidenceClaims | Refusal {
  const { config, evidence, crypto } = ctx;
  const approved = activeMeasurements(state, envelope.kind, block.height);
  const appraise = (rules: StateEvidenceRules): EvidenceAppraisal =>
    evidence.appraise(envelope, { ...rules, binding, bindingHash }, crypto);
  const now = appraise(evidenceRules(state, config, block.timeMs, approved));
  let accepted = now;
  let graceEndMs: number | undefined;
  if (!now.verdict.ok && mayHaveGrace(now.tcbStatus)) {
    for (const { rules, endMs } of graceRules(state, config, block.timeMs, approved)) {
      const before = appraise(rules);
      if (endMs() === undefined) break;
      if (!before.verdict.ok) continue;
      accepted = before;
      graceEndMs = endMs();
      break;
    }
  }
  const { claims } = accepted;
  if (!accepted.verdict.ok || claims === null) return verdictRefusal(now.verdict, 'E_EVIDENCE');
  if (claims.simulated && !config.simulated) {
    return refuse('E_EVIDENCE', 'genuine evidence', 'evidence of a test enclave');
  }
  const effective = effectiveEndMs(claims.endMs, claims.collateralEndMs, config.params.collateralGraceMs);
  const end = Math.min(effective, graceEndMs ?? effective);
  return block.timeMs < end ? claims : refuse('E_EVIDENCE', `before ${end} ms`, block.timeMs);
}

function keptEvidence(
  step: Step,
  { binding, gpuEvidence }: OpOf<'open-key'>,
  { kind, document }: EvidenceEnvelope,
  { own, gpus }: KeyDocuments,
): KeptEvidence | Refusal {
  const documents = [own, ...gpus];
  const hardware = takeHardware(step.state, documents, binding);
  if ('code' in hardware) return hardware;
  const kept: KeyEvidenceRecord = {
    documentHash: sha256(document),
    claimsDigest: own.claimsDigest,
    measurement: own.measurement.name,
    measurementId: measurementIdOf(own.measurement),
    facts: own.facts,
    hardware,
    gpus: gpus.map(({ claimsDigest, measurement, facts }, i) => ({
      documentHash: sha256(gpuEvidence?.[i] as Uint8Array),
      claimsDigest,
      measurementId: measurementIdOf(measurement),
      facts,
    })),
  };
  const record = readAgain(keyEvidenceRecordCodec, kept);
  const summary = {
    kind,
    endMs: Math.min(...documents.map(({ endMs }) => endMs)),
    simulated: documents.some(({ simulated }) => simulated),
    tier: tierOf(step.state, own, gpus),
    recordHash: keyEvidenceHash(record),
  };
  return { summary, record };
}

/** What the verifier claims comes from outside this machine: a row that can't be read again must not be written. */
function readAgain<T>(codec: Codec<T>, row: T): T {
  return decode(codec, encode(codec, row), 'key');
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
