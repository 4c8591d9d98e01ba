/** `npm run e2e -- crash [--kills N] [--seed N] [--clients N] [--json]`: the long runs, each with a report of what was checked. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type CrashReport, runCrash } from './crash.ts';

const USAGE = 'Usage: npm run e2e -- crash [--kills N] [--seed N] [--clients N] [--json]\n';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: `${randomInt(1, 2 ** 31)}` },
    clients: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
  },
});
if (positionals.length !== 1 || positionals[0] !== 'crash') {
  process.stderr.write(USAGE);
  process.exit(2);
}
const startedAt = performance.now();
const log = (line: string): void => {
  process.stderr.write(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
};
log(`seed ${values.seed}`);
const report = await runCrash({
  kills: countOf('kills'),
  seed: countOf('seed'),
  clients: countOf('clients'),
  log,
});
process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : summaryOf(report));
process.exitCode = report.violations.length === 0 && report.answers > 0 ? 0 : 1;

function countOf(name: 'kills' | 'seed' | 'clients'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  process.stderr.write(`--${name} takes a whole number above 0\n${USAGE}`);
  process.exit(2);
}

function summaryOf(crash: CrashReport): string {
  const { kills, violations, unanswered } = crash;
  const cutOff = Object.entries(unanswered).map(([code, count]) => `${count} ${code}`);
  const lines = [
    `kills        ${kills.inferenceNode} of the inference node (${kills.whileStarting} while starting), ${kills.fullNode} of the full node, seed ${crash.seed}`,
    `clients      ${crash.answers} verified answers; without an answer: ${cutOff.join(', ') || 'none'}`,
    `node logs    ${crash.receipts} receipts under ${crash.keys} keys; ${crash.undelivered} of them cut off on their way to the client`,
    `chain        ${crash.settled} receipts settled in ${crash.batches} batches, ${crash.proven} proven by the light client, height ${crash.height}`,
    `money        ${crash.charged} charged, ${crash.paid} paid on ${crash.lanes} lanes`,
    `time         ${crash.seconds} s; all settled and paid ${(crash.settledAfterMs / 1000).toFixed(1)} s after the last request`,
    ...violations.slice(0, 50).map((violation) => `VIOLATION    ${violation}`),
    violations.length === 0
      ? 'result       every receipt settled once, every charge paid once, all invariants hold'
      : `result       ${violations.length} violations`,
  ];
  return `${lines.join('\n')}\n`;
}
