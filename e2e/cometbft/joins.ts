/** Nodes that were not there at genesis. */
import { type Scenario, untilBlocks, untilCaughtUp } from './scenario.ts';

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
