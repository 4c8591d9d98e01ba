/** A short run of the crash test; `npm run e2e -- crash` is the long one. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { runCrash } from './crash.ts';

const KILLS = 12;

test('killed at random moments under load, nothing accepted is lost and nothing is settled or paid twice', async () => {
  const seed = randomInt(1, 2 ** 31);
  const lines: string[] = [];
  const report = await runCrash({
    kills: KILLS,
    seed,
    clients: 2,
    zk: false,
    log: (line) => lines.push(line),
  });
  const told = `seed ${seed}\n${lines.join('\n')}\n${report.violations.join('\n')}`;
  assert.deepEqual(report.violations, [], told);
  assert.equal(report.kills.inferenceNode, KILLS);
  assert.ok(report.kills.fullNode > 0 && report.kills.whileStarting > 0);
  assert.ok(report.keys > 1 && report.batches > 1, told);
  assert.ok(report.answers > 0 && report.receipts >= report.answers, told);
  assert.deepEqual([report.settled, report.proven], [report.receipts, report.receipts], told);
  assert.equal(report.paid, report.charged, told);
});

test('killed at random moments while it settles, proves and redeems, every claim is proved and paid once', async () => {
  const seed = randomInt(1, 2 ** 31);
  const lines: string[] = [];
  const report = await runCrash({ kills: 4, seed, clients: 2, zk: true, log: (line) => lines.push(line) });
  const told = `seed ${seed}\n${lines.join('\n')}\n${report.violations.join('\n')}`;
  assert.deepEqual(report.violations, [], told);
  assert.ok(report.keys > 2 && report.answers > 0, told);
  assert.deepEqual([report.settled, report.proven], [report.receipts, report.receipts], told);
  assert.equal(report.paid, report.charged, told);
});
