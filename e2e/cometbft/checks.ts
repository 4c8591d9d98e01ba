/**
 * What has to hold after every scenario: one chain on all nodes, every invariant on every node, the supply accounted for,
 * everything that was accepted applied exactly once, and application and CometBFT in step by the grammar of ABCI.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkAbciGrammar, readCallLog } from '@haca/chain';
import { fromBase64 } from '@haca/platform/rpc';
import { decode, toHex, utf8Decode } from '@haca/primitives';
import { type NodeKeyRecord, nodeKeyRecordCodec, OPG_SUPPLY_NOPG, recordKey } from '@haca/protocol';
import type { Load } from './load.ts';
import type { CometNetwork, NetworkNode } from './network.ts';
import type { ChainObserver } from './observer.ts';

export interface CheckReport {
  readonly height: number;
  readonly nodes: readonly string[];
  /** Headers that were compared with those of other nodes: heights times nodes. */
  readonly headersCompared: number;
  /** ABCI calls that the grammar accepted, of all application processes up to now. */
  readonly abciCalls: number;
  readonly applicationProcesses: number;
  readonly acceptedTransactions: number;
  readonly settlements: number;
  readonly violations: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

const SAME_HEIGHT_TIMEOUT_MS = 120_000;
const POLL_MS = 100;
const BLOCK_METAS_MAX = 20;

interface Identity {
  readonly hash: string;
  readonly appHash: string;
  readonly from: string;
}

/** Remembers the chain that it saw, so that each check reads only what is new. */
export function openChecks(network: CometNetwork, observer: ChainObserver, load: Load) {
  const chain = new Map<number, Identity>();
  /** The highest header that was read of a node. */
  const reached = new Map<NetworkNode, number>();

  const compareHeaders = async (node: NetworkNode, upTo: number, violations: string[]): Promise<number> => {
    let compared = 0;
    let from = (reached.get(node) ?? (await earliestHeight(node)) - 1) + 1;
    while (from <= upTo) {
      const to = Math.min(upTo, from + BLOCK_METAS_MAX - 1);
      const metas = await blockMetas(node, from, to);
      if (metas.length !== to - from + 1) {
        violations.push(`${node.name} has ${metas.length} of the headers ${from} to ${to}`);
      }
      for (const { height, ...identity } of metas) {
        compared++;
        const known = chain.get(height);
        if (known === undefined) chain.set(height, { ...identity, from: node.name });
        else if (known.hash !== identity.hash || known.appHash !== identity.appHash) {
          violations.push(
            `height ${height}: ${node.name} has block ${identity.hash} on app hash ${identity.appHash}, ` +
              `${known.from} has ${known.hash} on ${known.appHash}`,
          );
        }
      }
      from = to + 1;
    }
    reached.set(node, upTo);
    return compared;
  };

  /** With the load at rest. `since`: a height that the state was changed after. */
  return async (since: number): Promise<CheckReport> => {
    const nodes = network.running();
    const violations: string[] = [];
    const height = await untilAtRest(nodes, observer, violations);
    let headersCompared = 0;
    for (const node of nodes) headersCompared += await compareHeaders(node, height, violations);
    violations.push(...(await checkApplications(nodes, since)));
    violations.push(...checkTransactions(observer, load));
    violations.push(...(await checkSettlements(nodes, observer, load)));
    const grammar = checkCallLogs(network.nodes);
    return {
      height,
      nodes: nodes.map(({ name }) => name),
      headersCompared,
      abciCalls: grammar.calls,
      applicationProcesses: grammar.processes,
      acceptedTransactions: load.accepted.size,
      settlements: observer.settlements.length,
      violations: [...violations, ...grammar.violations],
    };
  };
}

async function earliestHeight(node: NetworkNode): Promise<number> {
  const { sync_info: sync } = (await node.rpc.call('status')) as { readonly sync_info: Json };
  return Number(sync['earliest_block_height']);
}

async function blockMetas(node: NetworkNode, from: number, to: number) {
  const answer = (await node.rpc.call('blockchain', { minHeight: `${from}`, maxHeight: `${to}` })) as {
    readonly block_metas: readonly { readonly block_id: Json; readonly header: Json }[];
  };
  return answer.block_metas
    .map(({ block_id: id, header }) => ({
      height: Number(header['height']),
      hash: String(id['hash']),
      appHash: String(header['app_hash']),
    }))
    .reverse();
}

/**
 * Waits until all nodes are at rest at the height of the highest one: the block is executed everywhere, and its header has
 * the app hash of the state, so that no other block is due. Gives the lowest height where they never are.
 */
async function untilAtRest(
  nodes: readonly NetworkNode[],
  observer: ChainObserver,
  violations: string[],
): Promise<number> {
  const deadline = performance.now() + SAME_HEIGHT_TIMEOUT_MS;
  for (;;) {
    const standings = await Promise.all(nodes.map(standingOf));
    const heights = standings.map(({ height }) => height);
    const lowest = Math.min(...heights);
    const isSame = lowest === Math.max(...heights) && lowest === observer.height();
    if (isSame && standings.every(({ isAtRest }) => isAtRest)) return lowest;
    if (performance.now() > deadline) {
      const told = standings.map(({ text }, i) => `${nodes[i]?.name} ${text}`);
      violations.push(
        `nodes do not come to rest at one height: ${told.join(', ')}; read up to ${observer.height()}`,
      );
      return Math.max(1, Math.min(...heights.filter((height) => height > 0)));
    }
    await sleep(POLL_MS);
  }
}

interface Standing {
  /** Of the last block; -1 where the node does not answer. */
  readonly height: number;
  readonly isAtRest: boolean;
  readonly text: string;
}

async function standingOf({ rpc }: NetworkNode): Promise<Standing> {
  try {
    const [status, info] = (await Promise.all([rpc.call('status'), rpc.call('abci_info')])) as [
      { readonly sync_info: Json },
      { readonly response: Json },
    ];
    const { latest_block_height: height, latest_app_hash: provenHex } = status.sync_info;
    const { last_block_height: executed, last_block_app_hash: appHash } = info.response;
    const stateHex = toHex(fromBase64(String(appHash))).toUpperCase();
    return {
      height: Number(height),
      isAtRest: executed === height && stateHex === provenHex,
      text: `at ${height} on ${provenHex}, its application at ${executed} with ${stateHex}`,
    };
  } catch (error) {
    return { height: -1, isAtRest: false, text: `does not answer: ${error}` };
  }
}

/** Nodes at rest at one height answer alike: app hash, invariants, supply. */
async function checkApplications(nodes: readonly NetworkNode[], since: number): Promise<readonly string[]> {
  const violations: string[] = [];
  const appHashes = new Set<string>();
  for (const { name, rpc } of nodes) {
    const info = (await rpc.call('abci_info')) as { readonly response: Json };
    appHashes.add(`${info.response['last_block_height']} ${info.response['last_block_app_hash']}`);
    const invariants = await queryJson(rpc, '/invariants');
    if (invariants['enabled'] !== true || invariants['ok'] !== true || Number(invariants['height']) <= since)
      violations.push(`${name}: invariants after height ${since}: ${JSON.stringify(invariants)}`);
    const accounted = Object.entries((await queryJson(rpc, '/supply'))['totals'] as Json)
      .filter(([slot]) => OPG_SLOTS.includes(slot))
      .reduce((sum, [, amount]) => sum + BigInt(String(amount)), 0n);
    if (accounted !== OPG_SUPPLY_NOPG)
      violations.push(`${name}: ${accounted} nopg are accounted for, of ${OPG_SUPPLY_NOPG}`);
  }
  if (appHashes.size > 1) violations.push(`applications differ: ${[...appHashes].join(', ')}`);
  return violations;
}

const OPG_SLOTS: readonly string[] = [
  ...['liquid', 'nodeBond', 'nodeUnbonding', 'valPool', 'valUnbonding', 'deposit', 'restitution', 'rewards'],
  ...['reserve', 'burnedFees', 'burnedSlash', 'burnedDeposit'],
];

async function queryJson(rpc: NetworkNode['rpc'], path: string): Promise<Json> {
  const { value } = await rpc.query(path, new Uint8Array(0));
  return JSON.parse(utf8Decode(value)) as Json;
}

/** Whatever a node accepted is in exactly one block, and succeeded. */
function checkTransactions(observer: ChainObserver, load: Load): readonly string[] {
  return [...load.accepted].flatMap(([hash, { kind, by }]) => {
    const places = observer.find(hash);
    const [only] = places;
    if (only !== undefined && places.length === 1 && only.code === 0) return [];
    const told = places.map(({ height, log }) => `block ${height} ${log}`).join(', ') || 'no block';
    return [`${kind} ${hash} of ${by} was accepted and is in ${told}`];
  });
}

/** Each key's settled ranges follow each other from its first receipt to its last, each paid once, on every node. */
async function checkSettlements(
  nodes: readonly NetworkNode[],
  observer: ChainObserver,
  load: Load,
): Promise<readonly string[]> {
  const violations: string[] = [];
  for (const key of load.keys) {
    const keyId = toHex(key.keyId);
    const name = `key of ${key.operator.actor.name}`;
    let seq = 0;
    for (const { firstSeq, lastSeq, height } of observer.settlements.filter((each) => each.keyId === keyId)) {
      if (firstSeq !== seq + 1)
        violations.push(`${name}: block ${height} settled ${firstSeq}..${lastSeq} after ${seq}`);
      seq = lastSeq;
    }
    let paid = 0n;
    for (const { from, to, amount } of observer.payments.filter((each) => each.keyId === keyId)) {
      if (from !== paid || amount !== to - from)
        violations.push(`${name}: paid ${amount} for ${from}..${to} after ${paid}`);
      paid = to;
    }
    if (seq !== key.seq) violations.push(`${name}: settled to receipt ${seq} of ${key.seq}`);
    if (paid !== key.running) violations.push(`${name}: paid ${paid} of ${key.running}`);
    for (const node of nodes) {
      const { value } = await node.rpc.query('/record', recordKey.nodeKey(key.keyId));
      const record: NodeKeyRecord = decode(nodeKeyRecordCodec, value, 'key');
      if (record.settledSeq !== key.seq || toHex(record.headHash) !== toHex(key.head))
        violations.push(`${name}: ${node.name} has it settled to ${record.settledSeq} of ${key.seq}`);
    }
  }
  return violations;
}

function checkCallLogs(nodes: readonly NetworkNode[]) {
  const violations: string[] = [];
  let calls = 0;
  let processes = 0;
  for (const { name, callLogFile } of nodes) {
    if (!existsSync(callLogFile)) {
      violations.push(`${name}: no log of ABCI calls`);
      continue;
    }
    const entries = readCallLog(callLogFile);
    calls += entries.filter(({ event }) => event === 'request').length;
    processes += entries.filter(({ event }) => event === 'process').length;
    const verdict = checkAbciGrammar(entries, { isFirstRunClean: true });
    if (!verdict.ok) {
      const { position, got, expected } = verdict;
      violations.push(`${name}: ABCI call ${position} is ${got} where ${expected.join(' or ')} could come`);
    }
  }
  return { calls, processes, violations };
}
