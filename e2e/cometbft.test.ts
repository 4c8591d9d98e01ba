/** A short run of the scenarios on CometBFT; `npm run e2e -- cometbft` is the long one. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { buildCometBft, CometBftBuildError } from '@haca/chain';
import { killOne } from './cometbft/faults.ts';
import { runCometBft } from './cometbft/run.ts';

/** Built by the first who needs it; without Go there is nothing to run. */
const missing = await buildCometBft().then(
  () => false as const,
  (error: unknown) => {
    if (error instanceof CometBftBuildError) return error.message;
    throw error;
  },
);

test(
  'four validators on CometBFT: one is killed under load and comes back to the same chain',
  { skip: missing },
  async () => {
    const seed = randomInt(1, 2 ** 31);
    const lines: string[] = [];
    const { scenarios, violations } = await runCometBft({
      seed,
      scenarios: [killOne],
      log: (line) => lines.push(line),
    });
    const told = `seed ${seed}\n${lines.join('\n')}`;
    assert.deepEqual(violations, [], told);
    const after = scenarios[0]?.after;
    assert.equal(after?.nodes.length, 4, told);
    assert.equal(after.applicationProcesses, 5, told);
    assert.ok(after.headersCompared >= 4 * 10, told);
    assert.ok(after.settlements > 0 && after.acceptedTransactions > after.settlements, told);
  },
);
