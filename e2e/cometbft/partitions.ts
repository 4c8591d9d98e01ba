/** Cables that are cut: the nodes live, and cannot hear each other. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  genesisValidators,
  heightsOf,
  type Scenario,
  type ScenarioContext,
  untilBlocks,
  untilCaughtUp,
  untilStill,
} from './scenario.ts';

const CUT_MS = 4_000;
const SLOW_LINK_MS = 60;
const SLOW_BLOCKS = 6;

export const partition: Scenario = {
  name: 'partition',
  does: 'The network is cut in two halves of two (packets vanish), then one validator is cut off from three (connections break), each under load, each healed.',
  checks: [
    'two halves make no block',
    'three make blocks, the one alone does not',
    'healed, all come to the same chain',
    'with slow links blocks are made as well',
  ],
  run: async (context) => {
    const { network, observer } = context;
    await untilBlocks(context, 2);
    network.partition([[0, 1], [2, 3], others(context)], 'silent');
    const before = await untilStill(network.running());
    await sleep(CUT_MS);
    const after = await heightsOf(network.running());
    before.forEach((height, i) => {
      if (after[i] !== height) context.violation(`half a network made block ${after[i]} after ${height}`);
    });
    network.heal();
    const halvesHealed = await untilBlocks(context, 3);
    await untilCaughtUp(context, network.running());
    context.log(`two halves healed at height ${halvesHealed}`);

    const [alone] = genesisValidators(context);
    if (alone === undefined) throw new Error('a network with validators');
    network.partition([[alone.index]], 'reset');
    const [cutOffAt] = await untilStill([alone]);
    if (cutOffAt === undefined) throw new Error('one node has one height');
    const from = observer.height();
    const three = (await untilBlocks(context, 4)) - from;
    await sleep(CUT_MS);
    const [stillAt] = await heightsOf([alone]);
    if (stillAt !== cutOffAt)
      context.violation(`one validator alone made block ${stillAt} after ${cutOffAt}`);
    network.heal();
    await untilCaughtUp(context, network.running());
    context.log(`one alone healed: it stood at ${cutOffAt}, the others went on for ${three}`);

    network.setLatency(SLOW_LINK_MS);
    const slow = await untilBlocks(context, SLOW_BLOCKS);
    network.setLatency(0);
    await untilCaughtUp(context, network.running());
    return { heightOfHalves: before, cutOffAt, blocksOfThree: three, heightOverSlowLinks: slow };
  },
};

/** Nodes beyond the first four stay with the second half. */
function others({ network }: ScenarioContext): readonly number[] {
  return network.nodes.map(({ index }) => index).filter((index) => index > 3);
}
