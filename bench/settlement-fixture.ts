/** A chain state with many nodes, and blocks full of settlements: what a full node meets at the target rate. */
import {
  applyGenesis,
  type ChainConfig,
  createStateTree,
  type ExecutionContext,
  executeBlock,
  readChainConfig,
  refuseAllEvidence,
  refuseAllProofs,
  type StateTree,
} from '@haca/chain';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { type AppGenesis, DEFAULT_PARAMS, NOPG_PER_OPG, OPG_SUPPLY_NOPG } from '@haca/protocol';
import {
  ASSET,
  accountOf,
  CHAIN_ID,
  digest,
  OPERATOR_FUNDS,
  openKey,
  registerModel,
  registerNode,
  type SettlingNode,
  settlement,
  settlingNode,
  transaction,
} from './settling-nodes.ts';

const GENESIS_TIME_MS = 1_800_000_000_000;

export interface SettlementChain {
  readonly tree: StateTree;
  readonly context: ExecutionContext;
  readonly nodes: readonly SettlingNode[];
  height: number;
}

/** Registers `count` bonded nodes, each with an open key. */
export function makeSettlementChain(count: number): SettlementChain {
  const nodes = Array.from({ length: count }, (_, i) => settlingNode(i));
  const tree = createStateTree();
  const genesis = genesisFor(nodes.map(({ operator }) => operator));
  tree.update(0, applyGenesis(genesis, CHAIN_ID, GENESIS_TIME_MS).changes);
  const config: ChainConfig = readChainConfig(tree);
  const context: ExecutionContext = {
    crypto: nodeCrypto,
    config,
    evidence: refuseAllEvidence,
    zk: refuseAllProofs,
  };
  const chain: SettlementChain = { tree, context, height: 0, nodes };
  applyInBlocks(
    chain,
    nodes.map((node) => transaction(node, [registerNode()])),
  );
  applyInBlocks(chain, [transaction(nodes[0] as SettlingNode, [registerModel()])]);
  const refHeight = chain.height - 1;
  applyInBlocks(
    chain,
    nodes.map((node) => transaction(node, [openKey(node, refHeight, digest(`block ${refHeight}`))])),
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

function genesisFor(operators: readonly Ed25519Signer[]): AppGenesis {
  const validator = ed25519SignerFromSeed(digest('validator'));
  const bond = 1_000_000n * NOPG_PER_OPG;
  return {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - bond - OPERATOR_FUNDS * BigInt(operators.length),
    accounts: operators.map((operator) => ({ accountId: accountOf(operator), nopg: OPERATOR_FUNDS })),
    validators: [{ consensusKey: validator.publicKey, operator: accountOf(validator), selfBond: bond }],
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: accountOf(validator) }],
    measurements: [],
    testRoots: [],
  };
}
