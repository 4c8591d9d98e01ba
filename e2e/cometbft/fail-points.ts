/**
 * CometBFT's fail points: between any two steps that a crash could separate. In the order a validator passes them:
 *
 *     0, 1   own prevote and own precommit, written to its log and not handled yet
 *     2      before the block is stored              6   results stored, before Commit
 *     3      block stored                            7   Commit answered, before the state is stored
 *     4      end of the height written to the log    8   state stored, before old blocks are pruned
 *     5      FinalizeBlock answered                  9   block applied
 *                                                   10   consensus at the next height
 *
 * Replay of blocks passes 5 to 8 only, so there they count from 0.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkNode } from './network.ts';
import {
  type Facts,
  genesisValidators,
  isCaughtUp,
  type Scenario,
  type ScenarioContext,
  until,
  untilBlocks,
  untilCaughtUp,
} from './scenario.ts';

/** All of one block, and the first of the next. */
const BLOCK_FAIL_POINTS = 12;
const REPLAY_FAIL_POINTS = 4;

export const failOneNode: Scenario = {
  name: 'fail-points',
  does: 'One validator fails at each fail point of CometBFT that making a block passes (FAIL_TEST_INDEX), and is started again by its supervisor.',
  checks: ['it did fail there', 'it comes back to the same app hash and takes part'],
  run: async (context) => {
    const nodes = genesisValidators(context);
    for (let index = 0; index < BLOCK_FAIL_POINTS; index++) {
      await failTogether(context, [nodes[index % nodes.length] as NetworkNode], index);
    }
    return { failPoints: BLOCK_FAIL_POINTS };
  },
};

export const failAllNodes: Scenario = {
  name: 'fail-points-all',
  does: 'All validators fail at the same fail point of the same block, at each of them in turn.',
  checks: ['each of them did fail there', 'together they come back and make the next block'],
  run: async (context) => {
    for (let index = 0; index < BLOCK_FAIL_POINTS; index++) {
      await failTogether(context, genesisValidators(context), index);
    }
    return { failPoints: BLOCK_FAIL_POINTS };
  },
};

export const failInReplay: Scenario = {
  name: 'fail-points-replay',
  does: 'A validator that missed blocks fails at each fail point that applying them passes, while it catches up.',
  checks: ['it did fail there', 'it comes back, catches up and takes part'],
  run: (context) => failWhileReplaying(context),
};

/** At rest the nodes are armed and started, so that the next block, and no replayed one, is what they fail in. */
async function failTogether(
  context: ScenarioContext,
  nodes: readonly NetworkNode[],
  index: number,
): Promise<void> {
  const { load, network, observer } = context;
  await load.pause();
  await untilCaughtUp(context, network.running());
  const failedBefore = nodes.map((node) => failures(node, index));
  await Promise.all(nodes.map((node) => node.kill()));
  for (const node of nodes) node.failPoint.arm(index);
  await Promise.all(nodes.map((node) => node.start()));
  const height = observer.height();
  for (const node of nodes) {
    await until(`${node.name} in consensus`, () => isCaughtUp(node, height));
  }
  load.start();
  await until(`${nodes.map(({ name }) => name).join(', ')} fail at ${index}`, () =>
    nodes.every((node, i) => failures(node, index) > (failedBefore[i] ?? 0)),
  );
  await untilBlocks(context, 2);
  await untilCaughtUp(context, nodes);
  context.log(`fail point ${index}: ${nodes.length} failed and are back, height ${observer.height()}`);
}

async function failWhileReplaying(context: ScenarioContext): Promise<Facts> {
  const nodes = genesisValidators(context);
  for (let index = 0; index < REPLAY_FAIL_POINTS; index++) {
    const node = nodes[index % nodes.length] as NetworkNode;
    const failedBefore = failures(node, index);
    await node.kill();
    await untilBlocks(context, 3);
    node.failPoint.arm(index);
    await node.start();
    await until(`${node.name} fails at ${index}`, () => failures(node, index) > failedBefore);
    await untilBlocks(context, 1);
    await untilCaughtUp(context, [node]);
    context.log(`fail point ${index} of replay: ${node.name} failed and is back`);
  }
  return { failPoints: REPLAY_FAIL_POINTS };
}

/** How often a node said that it fails at this fail point. */
function failures(node: NetworkNode, index: number): number {
  const file = join(node.home, 'logs', 'cometbft.log');
  return existsSync(file) ? readFileSync(file, 'utf8').split(`*** fail-test ${index} ***`).length - 1 : 0;
}
