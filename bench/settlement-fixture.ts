/** A chain state with many nodes, and blocks full of settlements: what a full node meets at the target rate. */
import {
  applyGenesis,
  type ChainConfig,
  createStateTree,
  type ExecutionContext,
  executeBlock,
  readChainConfig,
  refuseAllEvidence,
  type StateTree,
} from '@haca/chain';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { domainHash, merkleLeafHash, merkleRoot, utf8Encode } from '@haca/primitives';
import {
  type AppGenesis,
  accountIdOf,
  credit,
  DEFAULT_PARAMS,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  NOPG_PER_OPG,
  nodeIdOf,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  STATEMENT,
  signTransaction,
  ZERO_DIGEST,
} from '@haca/protocol';

const CHAIN_ID = 'haca-bench-1';
const GENESIS_TIME_MS = 1_800_000_000_000;
const RECEIPTS_PER_BATCH = 1024;
const ASSET = 1;

interface BenchNode {
  readonly operator: Ed25519Signer;
  readonly key: Ed25519Signer;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  nonce: number;
  settledSeq: number;
  headHash: Uint8Array;
}

export interface SettlementChain {
  readonly tree: StateTree;
  readonly context: ExecutionContext;
  readonly nodes: readonly BenchNode[];
  height: number;
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

/** Registers `count` bonded nodes, each with an open key. */
export function makeSettlementChain(count: number): SettlementChain {
  const operators = Array.from({ length: count }, (_, i) => ed25519SignerFromSeed(digest(`operator ${i}`)));
  const tree = createStateTree();
  tree.update(0, applyGenesis(genesisFor(operators), CHAIN_ID, GENESIS_TIME_MS).changes);
  const config: ChainConfig = readChainConfig(tree);
  const context: ExecutionContext = { crypto: nodeCrypto, config, appraise: refuseAllEvidence };
  const chain: SettlementChain = {
    tree,
    context,
    height: 0,
    nodes: operators.map((operator, i) => {
      const key = ed25519SignerFromSeed(digest(`key ${i}`));
      const nodeId = nodeIdOf(CHAIN_ID, accountOf(operator), 0);
      const keyId = keyIdOf(CHAIN_ID, nodeId, 1, key.publicKey);
      return { operator, key, nodeId, keyId, nonce: 0, settledSeq: 0, headHash: ZERO_DIGEST };
    }),
  };
  // A node id follows from the nonce of the registering transaction: 0, the first of each account.
  applyInBlocks(
    chain,
    chain.nodes.map((node) => transaction(node, [registration()])),
  );
  applyInBlocks(chain, [transaction(chain.nodes[0] as BenchNode, [{ kind: 'register-model', manifest }])]);
  applyInBlocks(
    chain,
    chain.nodes.map((node) => transaction(node, [openKey(chain, node)])),
  );
  return chain;
}

/** One settlement per node, each of a batch of 1,024 receipts; `rounds` times. Signed in advance, not part of the figure. */
export function makeSettlements(chain: SettlementChain, rounds: number): readonly Uint8Array[][] {
  return Array.from({ length: rounds }, () => chain.nodes.map((node) => settlement(node)));
}

/** Executes a block and folds its changes into the state tree; returns how many transactions were applied. */
export function applyBlock(chain: SettlementChain, txs: readonly Uint8Array[]): number {
  chain.height++;
  const output = executeBlock(
    chain.tree,
    {
      height: chain.height,
      timeMs: GENESIS_TIME_MS + chain.height * 1000,
      hash: digest(`block ${chain.height}`),
      txs,
      proposer: new Uint8Array(20),
      lastCommit: [],
      recentBlockHash: (height) => digest(`block ${height}`),
    },
    chain.context,
  );
  chain.tree.update(chain.height, output.changes);
  const refused = output.results.find(({ code }) => code !== 0);
  if (refused !== undefined) throw new Error(`a settlement was refused: ${refused.codeName} ${refused.info}`);
  return output.results.length;
}

/** General transactions have a share of the block; registrations are the dearest of them. */
const BLOCK_TRANSACTIONS = 25;

function applyInBlocks(chain: SettlementChain, txs: readonly Uint8Array[]): void {
  for (let i = 0; i < txs.length; i += BLOCK_TRANSACTIONS)
    applyBlock(chain, txs.slice(i, i + BLOCK_TRANSACTIONS));
}

function digest(label: string): Uint8Array {
  return domainHash('haca/bench/1', utf8Encode(label));
}

function accountOf(signer: Ed25519Signer): Uint8Array {
  return accountIdOf({ algorithm: 'ed25519', publicKey: signer.publicKey });
}

function genesisFor(operators: readonly Ed25519Signer[]): AppGenesis {
  const validator = ed25519SignerFromSeed(digest('validator'));
  const each = 100_000n * NOPG_PER_OPG;
  const bond = 1_000_000n * NOPG_PER_OPG;
  return {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - bond - each * BigInt(operators.length),
    accounts: operators.map((operator) => ({ accountId: accountOf(operator), nopg: each })),
    validators: [{ consensusKey: validator.publicKey, operator: accountOf(validator), selfBond: bond }],
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: accountOf(validator) }],
    measurements: [],
    testRoots: [],
  };
}

function transaction(node: BenchNode, ops: readonly Op[]): Uint8Array {
  const body = {
    version: 1,
    chainId: CHAIN_ID,
    sender: { algorithm: 'ed25519', publicKey: node.operator.publicKey },
    nonce: node.nonce++,
    validUntil: 3_000,
    maxFee: nopg(100_000n),
    tipCap: nopg(0n),
    feePayer: null,
    ops,
  } as const;
  return signTransaction(body, node.operator.sign).bytes;
}

function registration(): Op {
  return {
    kind: 'register-node',
    name: 'bench',
    endpoint: 'http://127.0.0.1',
    payout: digest('payout'),
    bond: nopg(50_000n * NOPG_PER_OPG),
  };
}

function openKey(chain: SettlementChain, node: BenchNode): Op {
  const refHeight = chain.height - 1;
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
    refBlockHash: digest(`block ${refHeight}`),
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

function settlement(node: BenchNode): Uint8Array {
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
