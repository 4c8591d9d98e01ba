/** A node operator's transactions on a chain that runs behind the application. */
import { type Ed25519Signer, nodeCrypto } from '@haca/platform';
import { merkleLeafHash, merkleRoot, sha256, utf8Encode } from '@haca/primitives';
import {
  keyIdOf,
  nodeIdOf,
  nopg,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  ZERO_DIGEST,
} from '@haca/protocol';
import { FAUCET, transaction, transfer } from './engine-fixture.ts';
import {
  type Actor,
  actor,
  CHAIN,
  MODEL,
  MODEL_ID,
  OPG,
  settleOp,
  statementOf,
} from './state-machine-world.ts';

/** An operator with one node and one key, and its transactions in the order of its nonces. */
export function operatorOf(name: string) {
  const operator = actor(name);
  const nodeId = nodeIdOf(CHAIN, operator.id, 0);
  const signer = actor(`${name} key`).signer;
  const keyId = keyIdOf(CHAIN, nodeId, 1, signer.publicKey);
  const key = { node: { operator, nodeId }, keyId, signer, seq: 0, head: ZERO_DIGEST, running: 0n };
  return {
    operator,
    fund: [
      transfer(FAUCET, 0, operator, 10_000n * OPG),
      transaction(FAUCET, 1, [{ kind: 'register-model', manifest: MODEL }]),
    ],
    register: registerNode(operator),
    openKey: openKey(operator, nodeId, signer, 1, 1),
    /** A key of its own epoch, backed by evidence that `evidenceOf` makes for its binding. */
    openTeeKey: (nonce: number, keyEpoch: number, evidenceOf: EvidenceOf, ref: BlockRef = BLOCK_1) =>
      openKey(operator, nodeId, actor(`${name} key ${keyEpoch}`).signer, nonce, keyEpoch, evidenceOf, ref),
    teeKeyId: (keyEpoch: number) =>
      keyIdOf(CHAIN, nodeId, keyEpoch, actor(`${name} key ${keyEpoch}`).signer.publicKey),
    keyId,
    settle: (nonce: number, count: number) =>
      transaction(operator, nonce, [settleOp(statementOf(key, count, 0n).bytes)]),
  };
}

type EvidenceOf = (bindingHash: Uint8Array) => Uint8Array;

interface BlockRef {
  readonly height: number;
  readonly hash: Uint8Array;
}

/** By the hash that the tests of the application give it. */
const BLOCK_1: BlockRef = { height: 1, hash: sha256(utf8Encode('block 1')) };

function openKey(
  operator: Actor,
  nodeId: Uint8Array,
  signer: Ed25519Signer,
  nonce: number,
  keyEpoch: number,
  evidenceOf?: EvidenceOf,
  ref = BLOCK_1,
): Uint8Array {
  const binding: RegistrationBinding = {
    chainId: CHAIN,
    operator: operator.id,
    nodeId,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot([merkleLeafHash(MODEL_ID)]),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: ref.height,
    refBlockHash: ref.hash,
  };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  return transaction(operator, nonce, [
    {
      kind: 'open-key',
      binding,
      method: evidenceOf === undefined ? 'signed' : 'tee',
      modelId: null,
      modelIds: [MODEL_ID],
      evidence: evidenceOf === undefined ? null : { kind: 'nitro', document: evidenceOf(bindingHash) },
      possession: signer.sign(possessionMessage(bindingHash)),
    },
  ]);
}

function registerNode(operator: Actor): Uint8Array {
  return transaction(operator, 0, [
    {
      kind: 'register-node',
      name: 'node',
      endpoint: 'http://127.0.0.1:1',
      payout: operator.id,
      bond: nopg(6_000n * OPG),
    },
  ]);
}
