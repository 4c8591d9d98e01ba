/** A short run of the scenarios on CometBFT; `npm run e2e -- cometbft` is the long one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { findCometBft } from '@haca/chain';
import { killOne } from './cometbft/faults.ts';
import { runCometBft } from './cometbft/run.ts';

/** Built by the first who needs it. */
const skip =
  findCometBft() === undefined && !hasGo()
    ? 'CometBFT is not built, and there is no `go` on the PATH to build it with'
    : false;

function hasGo(): boolean {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test(
  'four validators on CometBFT: one is killed under load and comes back to the same chain',
  { skip },
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
    assert.ok(after.applicationProcesses >= 5, told);
    assert.ok(after.headersCompared >= 4 * 10, told);
    assert.ok(after.settlements > 0 && after.acceptedTransactions > after.settlements, told);
  },
);
