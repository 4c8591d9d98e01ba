/** Nodes that were not there at genesis. */
import { existsSync } from 'node:fs';
import { readCallLog } from '@haca/chain';
import { toHex } from '@haca/primitives';
import { SNAPSHOT_INTERVAL_HEIGHTS } from './network.ts';
import { genesisValidators, type Scenario, until, untilBlocks, untilCaughtUp } from './scenario.ts';

export const joinByReplay: Scenario = {
  name: 'join-replay',
  does: 'A fifth node joins under load and replays every block from genesis.',
  checks: ['it has all blocks from the first one', 'it follows the chain and answers like the others'],
  run: async (context) => {
    const { network, observer } = context;
    const startedAt = performance.now();
    const from = observer.height();
    const node = await network.addNode();
    await node.start();
    await untilCaughtUp(context, [node]);
    const { sync_info: sync } = (await node.rpc.call('status')) as {
      readonly sync_info: Readonly<Record<string, unknown>>;
    };
    if (sync['earliest_block_height'] !== '1')
      context.violation(`${node.name} has blocks from ${sync['earliest_block_height']} on`);
    await untilBlocks(context, 2);
    await untilCaughtUp(context, [node]);
    const replayMs = Math.round(performance.now() - startedAt);
    return { node: node.name, blocksReplayed: from, replayMs, height: observer.height() };
  },
};

export const joinByStateSync: Scenario = {
  name: 'join-state-sync',
  does: 'A node joins under load by state sync: a snapshot of two peers, verified against a block it trusts.',
  checks: [
    'it restored a snapshot instead of replaying: it has no first block, and was offered a snapshot and its chunks',
    'it follows the chain and answers like the others',
  ],
  run: async (context) => {
    const { network, observer } = context;
    const startedAt = performance.now();
    // The light client in it wants two headers above the snapshot.
    const enough = SNAPSHOT_INTERVAL_HEIGHTS + 3;
    await until(`block ${enough}`, () => observer.height() >= enough);
    const trustHeight = observer.height() - SNAPSHOT_INTERVAL_HEIGHTS;
    const [first, second] = genesisValidators(context);
    if (first === undefined || second === undefined) throw new Error('a network with validators');
    const node = await network.addNode({
      rpcUrls: [first.rpcUrl, second.rpcUrl],
      trustHeight,
      trustHash: toHex(observer.blockHash(trustHeight)),
    });
    await node.start();
    await untilCaughtUp(context, [node]);
    const { sync_info: sync } = (await node.rpc.call('status')) as {
      readonly sync_info: Readonly<Record<string, unknown>>;
    };
    const earliest = Number(sync['earliest_block_height']);
    if (!(earliest > 1)) context.violation(`${node.name} has blocks from ${earliest} on: it replayed`);
    const calls = existsSync(node.callLogFile) ? readCallLog(node.callLogFile) : [];
    const count = (method: string): number =>
      calls.filter((entry) => entry.event === 'request' && entry.method === method).length;
    if (count('offer-snapshot') === 0 || count('apply-snapshot-chunk') === 0)
      context.violation(`${node.name} was offered ${count('offer-snapshot')} snapshots`);
    await untilBlocks(context, 2);
    await untilCaughtUp(context, [node]);
    return {
      node: node.name,
      trustHeight,
      firstBlock: earliest,
      chunks: count('apply-snapshot-chunk'),
      joinMs: Math.round(performance.now() - startedAt),
      height: observer.height(),
    };
  },
};
