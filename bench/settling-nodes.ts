/** Inference nodes as a chain sees them: bonded, with an open key, settling one batch after the other. */
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { domainHash, merkleLeafHash, merkleRoot, utf8Encode } from '@haca/primitives';
import {
  accountIdOf,
  credit,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  NOPG_PER_OPG,
  nodeIdOf,
  nopg,
  type Op,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  STATEMENT,
  signTransaction,
  ZERO_DIGEST,
} from '@haca/protocol';

export const CHAIN_ID = 'haca-bench-1';
export const ASSET = 1;
export const RECEIPTS_PER_BATCH = 1024;
/** What a node has to bond, and what it needs beside that for fees. */
export const NODE_BOND = 50_000n * NOPG_PER_OPG;
export const OPERATOR_FUNDS = 2n * NODE_BOND;
/** Far ahead of a measurement, and within what the parameters allow of a young chain. */
const VALID_UNTIL = 3_000;
/** nopg per gas: fifty times the least, since blocks above the target raise the base fee. */
const MAX_FEE = 100_000n;

export interface SettlingNode {
  readonly operator: Ed25519Signer;
  readonly key: Ed25519Signer;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  nonce: number;
  settledSeq: number;
  headHash: Uint8Array;
}

const manifest: ModelManifest = {
  version: 1,
  name: 'bench-model',
  task: 'chat',
  weights: { kind: 'sha256', digest: digest('weights') },
  tokenizerHash: null,
  methods: ['signed'],
  contextTokens: 512,
  license: 'Apache-2.0',
};
const modelId = modelIdOf(manifest);

export function digest(label: string): Uint8Array {
  return domainHash('haca/bench/1', utf8Encode(label));
}

export function accountOf(signer: Ed25519Signer): Uint8Array {
  return accountIdOf({ algorithm: 'ed25519', publicKey: signer.publicKey });
}

/** The `index`th node of the measurement. Its id follows from nonce 0: registering must be its operator's first transaction. */
export function settlingNode(index: number): SettlingNode {
  const operator = ed25519SignerFromSeed(digest(`operator ${index}`));
  const key = ed25519SignerFromSeed(digest(`key ${index}`));
  const nodeId = nodeIdOf(CHAIN_ID, accountOf(operator), 0);
  const keyId = keyIdOf(CHAIN_ID, nodeId, 1, key.publicKey);
  return { operator, key, nodeId, keyId, nonce: 0, settledSeq: 0, headHash: ZERO_DIGEST };
}

/** Signed by whoever operates `by`, with the next nonce. */
export function transaction(by: Pick<SettlingNode, 'operator' | 'nonce'>, ops: readonly Op[]): Uint8Array {
  const body = {
    version: 1,
    chainId: CHAIN_ID,
    sender: { algorithm: 'ed25519', publicKey: by.operator.publicKey },
    nonce: by.nonce++,
    validUntil: VALID_UNTIL,
    maxFee: nopg(MAX_FEE),
    tipCap: nopg(0n),
    feePayer: null,
    ops,
  } as const;
  return signTransaction(body, by.operator.sign).bytes;
}

export function registerModel(): Op {
  return { kind: 'register-model', manifest };
}

export function registerNode(): Op {
  return {
    kind: 'register-node',
    name: 'bench',
    endpoint: 'http://127.0.0.1',
    payout: digest('payout'),
    bond: nopg(NODE_BOND),
  };
}

/** `refHeight` and `refBlockHash` name a recent block: the key can not have been made before it. */
export function openKey(node: SettlingNode, refHeight: number, refBlockHash: Uint8Array): Op {
  const binding: RegistrationBinding = {
    chainId: CHAIN_ID,
    operator: accountOf(node.operator),
    nodeId: node.nodeId,
    keyEpoch: 1,
    signPublicKey: node.key.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot([merkleLeafHash(modelId)]),
    configHash: digest('config'),
    gpuEvidenceRoot: null,
    refHeight,
    refBlockHash,
  };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  return {
    kind: 'open-key',
    binding,
    method: 'signed',
    modelId: null,
    modelIds: [modelId],
    evidence: null,
    possession: node.key.sign(possessionMessage(bindingHash)),
  };
}

/** The node's next batch of 1,024 receipts, settled without charge lines. */
export function settlement(node: SettlingNode): Uint8Array {
  const firstSeq = node.settledSeq + 1;
  node.settledSeq += RECEIPTS_PER_BATCH;
  const lastReceiptHash = digest(`receipt ${node.settledSeq}`);
  const statement = STATEMENT.sign(
    {
      version: 1,
      chainId: CHAIN_ID,
      keyId: node.keyId,
      batch: {
        firstSeq,
        count: RECEIPTS_PER_BATCH,
        prevReceiptHash: node.headHash,
        lastReceiptHash,
        receiptsRoot: digest(`root ${node.settledSeq}`),
        running: [[ASSET, credit(1_000n * BigInt(node.settledSeq))]],
      },
      charges: [],
    },
    node.key.sign,
  );
  node.headHash = lastReceiptHash;
  return transaction(node, [{ kind: 'settle', statement: statement.bytes, vouchers: [] }]);
}
