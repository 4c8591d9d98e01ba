/** Processes that die, stand still, or are away for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { nopg } from '@haca/protocol';
import { watchGateways } from './gateway-watch.ts';
import type { BroadcastRecord } from './load.ts';
import type { NetworkNode } from './network.ts';
import {
  type Facts,
  genesisValidators,
  heightsOf,
  type Scenario,
  type ScenarioContext,
  untilBlocks,
  untilCaughtUp,
  untilStill,
} from './scenario.ts';

const BLOCKS_AWAY = 4;
const PAUSED_MS = 2_000;
const POWER_CUTS = 3;
const CHILD_KILLS = 12;
const CHILD_KILL_WAIT_MAX_MS = 1_500;
const QUORUM_LOST_MS = 4_000;

export const killEach: Scenario = {
  name: 'kill-each',
  does: 'Each validator in turn: supervisor, application and CometBFT killed (SIGKILL) at once under load, and started again.',
  checks: ['the other three make blocks meanwhile', 'it comes back and catches up'],
  run: (context) => eachAway(context, genesisValidators(context), killAndStart),
};

/** For a run that has no time for all of them. */
export const killOne: Scenario = {
  ...killEach,
  name: 'kill-one',
  does: killEach.does.replace('Each validator in turn', 'One validator'),
  run: (context) => {
    const nodes = genesisValidators(context);
    const first = context.random.below(nodes.length);
    return eachAway(context, nodes.slice(first, first + 1), killAndStart);
  },
};

export const killAll: Scenario = {
  name: 'kill-all',
  does: 'All validators at once, as in a power cut: killed (SIGKILL) at a random moment under load and started again; and once all stopped in good order (SIGTERM).',
  checks: [
    'they go on with the next block',
    'what clients send again is applied once, whatever the mempools lost',
  ],
  run: async (context) => {
    const { network, observer, random, log } = context;
    const nodes = network.running();
    const heights: number[] = [];
    for (let round = 0; round <= POWER_CUTS; round++) {
      await untilBlocks(context, 2);
      await sleep(random.below(400));
      await Promise.all(nodes.map((node) => (round < POWER_CUTS ? node.kill() : node.stop())));
      heights.push(observer.height());
      await Promise.all(nodes.map((node) => node.start()));
      await untilBlocks(context, 2);
      await untilCaughtUp(context, nodes);
      log(`all were away at height ${heights.at(-1)} and are back`);
    }
    return { powerCuts: POWER_CUTS, heights };
  },
};

export const pauseEach: Scenario = {
  name: 'pause-each',
  does: 'Each validator in turn: all its processes stopped (SIGSTOP) under load, and let go on (SIGCONT).',
  checks: ['the other three make blocks meanwhile', 'it goes on and catches up'],
  run: (context) =>
    eachAway(context, genesisValidators(context), async (node) => {
      node.pause();
      await sleep(PAUSED_MS);
      return async () => node.resume();
    }),
};

async function killAndStart(node: NetworkNode): Promise<() => Promise<void>> {
  await node.kill();
  return () => node.start();
}

async function eachAway(
  context: ScenarioContext,
  nodes: readonly NetworkNode[],
  leave: (node: NetworkNode) => Promise<() => Promise<void>>,
): Promise<Facts> {
  const blocksWithout: number[] = [];
  for (const node of nodes) {
    await untilBlocks(context, 1);
    await sleep(context.random.below(300));
    const before = context.observer.height();
    const comeBack = await leave(node);
    const after = await untilBlocks(context, BLOCKS_AWAY);
    await comeBack();
    blocksWithout.push(after - before);
    await untilCaughtUp(context, [node]);
    context.log(`${node.name} was away for ${after - before} blocks and is back`);
  }
  return { validators: blocksWithout.length, blocksWithout };
}

export const killProcesses: Scenario = {
  name: 'kill-processes',
  does: 'At random moments the application process alone, or CometBFT alone, of a random node is killed (SIGKILL).',
  checks: [
    'the supervisor starts both again, without anybody asking',
    'the gateway answers all the time, with a result or with a clear error',
  ],
  run: async (context) => {
    const { network, random } = context;
    const kills = { application: 0, cometBft: 0, whileStarting: 0 };
    const startsBefore = network.running().map((node) => node.pids().starts);
    const gateways = watchGateways(network.running());
    for (let done = 0; done < CHILD_KILLS; ) {
      await sleep(random.below(CHILD_KILL_WAIT_MAX_MS));
      const nodes = network.running();
      const node = nodes[random.below(nodes.length)] as NetworkNode;
      const child = random.below(2) === 0 ? 'application' : 'cometBft';
      const { starts } = node.pids();
      // A node that is between two starts has no such process: the next moment, then.
      if (!node.killChild(child)) continue;
      kills[child]++;
      done++;
      // Now and then a node is hit again in the middle of its start.
      if (done % 4 !== 0) continue;
      while (node.pids().starts === starts) await sleep(10);
      await sleep(random.below(600));
      if (node.killChild('application')) kills.whileStarting++;
    }
    await untilCaughtUp(context, network.running());
    const { answers, notReady, violations } = await gateways.stop();
    for (const text of violations) context.violation(text);
    const starts = network.running().map((node, i) => node.pids().starts - (startsBefore[i] ?? 0));
    if (starts.reduce((sum, count) => sum + count, 0) < CHILD_KILLS)
      context.violation(`${CHILD_KILLS} kills and only ${starts.join(' + ')} starts`);
    await untilBlocks(context, 2);
    return { ...kills, startsOfEachNode: starts, gatewayAnswers: answers, gatewayNotReady: notReady };
  },
};

export const quorumLost: Scenario = {
  name: 'two-down',
  does: 'Two of four validators are killed: less than two thirds of the power is left; then they come back.',
  checks: [
    'no block is made meanwhile',
    'the living nodes answer queries, and every broadcast: accepted, or a clear error',
    'broadcast_tx_commit says that it waited in vain',
    'the chain goes on when they are back, with what was accepted',
  ],
  run: async (context) => {
    const { network, observer, load } = context;
    await untilBlocks(context, 2);
    const [, living, dead, other] = genesisValidators(context) as readonly [
      NetworkNode,
      NetworkNode,
      NetworkNode,
      NetworkNode,
    ];
    await Promise.all([dead.kill(), other.kill()]);
    const heightsBefore = await untilStill(network.running());
    const since = performance.now();
    const { faucet } = network.cast;
    const [sender] = network.cast.senders;
    const to = sender?.id ?? faucet.id;
    const tx = load
      .accountOf(faucet)
      .sign([{ kind: 'transfer-opg', to, amount: nopg(1_000n) }], observer.height());
    const waiting = broadcastCommit(living.rpcUrl, tx.bytes);
    await sleep(QUORUM_LOST_MS);
    for (const method of ['abci_info', 'validators', 'net_info', 'unconfirmed_txs', 'consensus_params'])
      await living.rpc.call(method);
    const { value } = await living.rpc.query('/supply', new Uint8Array(0));
    if (value.length === 0) context.violation('a living node has no supply');
    const heightsAfter = await heightsOf(network.running());
    heightsAfter.forEach((height, i) => {
      if (height !== heightsBefore[i])
        context.violation(`two of four made block ${height} after ${heightsBefore[i]}`);
    });
    const commitAnswer = await waiting;
    if (commitAnswer.result !== undefined || !/timed out/.test(commitAnswer.error))
      context.violation(`broadcast_tx_commit without a quorum: ${JSON.stringify(commitAnswer)}`);
    await Promise.all([dead.start(), other.start()]);
    await load.deliver(tx, faucet.name);
    await untilBlocks(context, 3);
    await untilCaughtUp(context, [dead, other]);
    await load.answered();
    const told = load.broadcasts.filter(
      ({ node, atMs, tookMs }) =>
        atMs - tookMs >= since && network.nodes[node] !== dead && network.nodes[node] !== other,
    );
    for (const unclear of told.filter(isUnclear))
      context.violation(`node ${unclear.node + 1} told a client: ${unclear.answer} ${unclear.text}`);
    return {
      heightsWithoutQuorum: heightsBefore,
      heightAfter: observer.height(),
      broadcastsToTheLiving: told.length,
      acceptedMeanwhile: told.filter(({ answer }) => answer === 'accepted').length,
      slowestAnswerMs: Math.round(Math.max(0, ...told.map(({ tookMs }) => tookMs))),
    };
  },
};

function isUnclear({ answer }: BroadcastRecord): boolean {
  return answer === 'unreachable' || answer === 'error';
}

async function broadcastCommit(
  url: string,
  tx: Uint8Array,
): Promise<{ readonly result: unknown; readonly error: string }> {
  const params = { tx: Buffer.from(tx).toString('base64') };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'broadcast_tx_commit', params });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(30_000) });
  const { result, error } = (await response.json()) as {
    readonly result?: unknown;
    readonly error?: unknown;
  };
  return { result, error: JSON.stringify(error) };
}
