/** What the two networks are given to do: settlements for the one, pairs of key and value of the same size for the other. */
import { randomBytes } from 'node:crypto';
import { toBase64 } from '@haca/light-client';
import { ed25519SignerFromSeed } from '@haca/platform';
import { fromHex } from '@haca/primitives';
import { NOPG_PER_OPG, nopg, type Op } from '@haca/protocol';
import {
  accountOf,
  digest,
  OPERATOR_FUNDS,
  openKey,
  registerModel,
  registerNode,
  type SettlingNode,
  settlement,
  settlingNode,
  transaction,
} from '../settling-nodes.ts';
import { type Lane, runLoad } from './load.ts';
import { latestHeight, type Network, type NetworkOptions, type Validator } from './network.ts';

const REGISTRAR_FUNDS = 1_000_000n * NOPG_PER_OPG;

/** Who sends transactions to a network of this project. */
export interface Senders {
  readonly nodes: readonly SettlingNode[];
  /** Registers the model they all have, and sends the transfers. */
  readonly registrar: Pick<SettlingNode, 'operator' | 'nonce'>;
}

/** A node each for `lanes` lanes: the pool takes one batch of a key at a time. */
export function makeSenders(lanes: number): Senders {
  return {
    nodes: Array.from({ length: lanes }, (_, i) => settlingNode(i)),
    registrar: { operator: ed25519SignerFromSeed(digest('registrar')), nonce: 0 },
  };
}

export function fundedAccounts({ nodes, registrar }: Senders): NetworkOptions['accounts'] {
  return [
    { accountId: accountOf(registrar.operator), nopg: REGISTRAR_FUNDS },
    ...nodes.map(({ operator }) => ({ accountId: accountOf(operator), nopg: OPERATOR_FUNDS })),
  ];
}

/** Registers all nodes and opens their keys; none of that is part of a figure. */
export async function registerNodes(network: Network, { nodes, registrar }: Senders): Promise<void> {
  const { rpc } = network.validators[0] as Validator;
  const first = await latestHeight(rpc);
  await runLoad(network, [
    [toBase64(transaction(registrar, [registerModel()]))],
    ...nodes.map((node) => [toBase64(transaction(node, [registerNode()]))]),
  ]);
  const refHeight = (await latestHeight(rpc)) - 1;
  const { block_id: id } = (await rpc.call('block', { height: `${refHeight}` })) as {
    readonly block_id: { readonly hash: string };
  };
  const refHash = fromHex(id.hash.toLowerCase());
  await runLoad(
    network,
    nodes.map((node) => [toBase64(transaction(node, [openKey(node, refHeight, refHash)]))]),
  );
  await requireApplied(rpc, first + 1, await latestHeight(rpc));
}

/** The next settlements of each node, signed in advance. */
export function settlementLanes({ nodes }: Senders, rounds: number): readonly Lane[] {
  return nodes.map((node) => Array.from({ length: rounds }, () => toBase64(settlement(node))));
}

/** A settlement of each of the first `count` nodes. */
export function settlements({ nodes }: Senders, count: number): readonly string[] {
  return nodes.slice(0, count).map((node) => toBase64(settlement(node)));
}

/** Transfers from one account to others that exist. */
export function transfers({ nodes, registrar }: Senders, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => {
    const { operator } = nodes[i % nodes.length] as SettlingNode;
    const op: Op = { kind: 'transfer-opg', to: accountOf(operator), amount: nopg(NOPG_PER_OPG) };
    return toBase64(transaction(registrar, [op]));
  });
}

/** As many lanes as long, each transaction a new key, of `sizeBytes`. */
export function keyValueLanes(lanes: number, rounds: number, sizeBytes: number): readonly Lane[] {
  const pair = (): string => {
    const key = randomBytes(16).toString('hex');
    const value = randomBytes(sizeBytes).toString('hex');
    return Buffer.from(`${key}=${value}`.slice(0, sizeBytes)).toString('base64');
  };
  return Array.from({ length: lanes }, () => Array.from({ length: rounds }, pair));
}

/** Throws where a transaction in these blocks was included without being applied: a rate of failures is no rate. */
export async function requireApplied(rpc: Validator['rpc'], from: number, to: number): Promise<void> {
  for (let height = from; height <= to; height++) {
    const codes = await rpc.resultCodes(height);
    const failed = codes.find((code) => code !== 0);
    if (failed !== undefined) throw new Error(`a transaction of block ${height} failed with code ${failed}`);
  }
}
