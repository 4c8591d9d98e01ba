/**
 * The long runs, each with a report of what was checked:
 *
 *   npm run e2e -- crash [--kills N] [--clients N] [--zk] [--seed N] [--json]
 *   npm run e2e -- cometbft [--only NAME,...] [--version VERSION] [--seed N] [--json]
 *   npm run e2e -- abci-cli [--json]
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { COMETBFT_VERSION, COMETBFT_VERSIONS, CometBftBuildError } from '@haca/chain';
import { type GoldenResult, runAbciCli } from './cometbft/abci-cli.ts';
import { type CometReport, runCometBft, SCENARIOS } from './cometbft/run.ts';
import { type CrashReport, runCrash } from './crash.ts';

const USAGE = [
  'Usage: npm run e2e -- crash [--kills N] [--clients N] [--zk] [--seed N] [--json]',
  '       npm run e2e -- cometbft [--only NAME,...] [--version VERSION] [--seed N] [--json]',
  `       names: ${SCENARIOS.map(({ name }) => name).join(', ')}`,
  '       npm run e2e -- abci-cli [--json]\n',
].join('\n');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: `${randomInt(1, 2 ** 31)}` },
    clients: { type: 'string', default: '4' },
    only: { type: 'string' },
    version: { type: 'string', default: COMETBFT_VERSION },
    zk: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const startedAt = performance.now();
const log = (line: string): void => {
  process.stderr.write(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
};

// Networks end with this process, and a signal ends it in an orderly way.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

if (positionals.length === 1 && positionals[0] === 'crash') await crash();
else if (positionals.length === 1 && positionals[0] === 'cometbft') await cometBft();
else if (positionals.length === 1 && positionals[0] === 'abci-cli') await abciCli();
else giveUp('which run?');

async function crash(): Promise<void> {
  const { zk } = values;
  const options = { kills: countOf('kills'), seed: countOf('seed'), clients: countOf('clients'), zk };
  log(`seed ${options.seed}`);
  const report = await runCrash({ ...options, log });
  print(report, crashSummary(report));
  process.exitCode = report.violations.length === 0 && report.answers > 0 ? 0 : 1;
}

async function cometBft(): Promise<void> {
  const names = values.only?.split(',') ?? SCENARIOS.map(({ name }) => name);
  const unknown = names.filter((name) => SCENARIOS.every((scenario) => scenario.name !== name));
  if (unknown.length > 0) giveUp(`no scenario ${unknown.join(', ')}`);
  const seed = countOf('seed');
  log(`seed ${seed}`);
  const scenarios = SCENARIOS.filter(({ name }) => names.includes(name));
  const version = COMETBFT_VERSIONS.find((known) => known === values.version);
  if (version === undefined) giveUp(`--version takes one of ${COMETBFT_VERSIONS.join(', ')}`);
  const report = await runCometBft({ seed, version, scenarios, log });
  print(report, cometBftSummary(report));
  process.exitCode = report.violations.length === 0 && report.scenarios.length === scenarios.length ? 0 : 1;
}

/** Not an error where there is no Go, but never a success: the exit code is 3. */
async function abciCli(): Promise<void> {
  const results = await runAbciCli({ log }).catch((error: unknown) => {
    if (!(error instanceof CometBftBuildError)) throw error;
    process.stderr.write(`skipped: ${error.message}\n`);
    process.exit(3);
  });
  print(results, abciCliSummary(results));
  process.exitCode = results.length > 0 && results.every(({ ok }) => ok) ? 0 : 1;
}

function print(report: object, summary: string): void {
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : summary);
}

function countOf(name: 'kills' | 'seed' | 'clients'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  return giveUp(`--${name} takes a whole number above 0`);
}

function giveUp(reason: string): never {
  process.stderr.write(`${reason}\n${USAGE}`);
  process.exit(2);
}

function crashSummary(report: CrashReport): string {
  const { kills, violations, unanswered } = report;
  const cutOff = Object.entries(unanswered).map(([code, count]) => `${count} ${code}`);
  const lines = [
    `kills        ${kills.inferenceNode} of the inference node (${kills.whileStarting} while starting), ${kills.fullNode} of the full node, seed ${report.seed}`,
    `clients      ${report.answers} verified answers; without an answer: ${cutOff.join(', ') || 'none'}`,
    `node logs    ${report.receipts} receipts under ${report.keys} keys; ${report.undelivered} of them cut off on their way to the client`,
    `chain        ${report.settled} receipts settled in ${report.batches} batches, ${report.proven} proven by the light client, height ${report.height}`,
    `money        ${report.charged} charged, ${report.paid} paid on ${report.lanes} lanes`,
    `time         ${report.seconds} s; all settled and paid ${(report.settledAfterMs / 1000).toFixed(1)} s after the last request`,
    ...violations.slice(0, 50).map((violation) => `VIOLATION    ${violation}`),
    violations.length === 0
      ? 'result       every receipt settled once, every charge paid once, all invariants hold'
      : `result       ${violations.length} violations`,
  ];
  return `${lines.join('\n')}\n`;
}

function cometBftSummary({
  scenarios,
  violations,
  seed,
  seconds,
  load,
  cometBft: version,
}: CometReport): string {
  const lines = scenarios.flatMap(({ name, ok, facts, after, seconds: took }) => [
    `${name.padEnd(19)} ${ok ? 'ok    ' : 'FAILED'} ${`${took}`.padStart(4)} s  ${factsText(facts)}`,
    ...(after === null
      ? []
      : [
          `${' '.repeat(33)}height ${after.height} on ${after.nodes.length} nodes, ${after.headersCompared} headers compared, ` +
            `${after.abciCalls} ABCI calls in order, ${after.acceptedTransactions} transactions and ${after.settlements} settlements applied once`,
        ]),
  ]);
  const sum = (pick: (report: (typeof load)[number]) => number): number =>
    load.reduce((total, report) => total + pick(report), 0);
  const answers = load
    .flatMap((report) => Object.entries(report.answers))
    .map(([answer, count]) => `${count} ${answer}`);
  const errors = new Set(load.flatMap((report) => report.errors));
  const result = [
    `load                ${sum(({ transfers }) => transfers)} transfers, ${sum(({ settlements }) => settlements)} settlements of ${sum(({ receipts }) => receipts)} receipts, ${sum(({ resent }) => resent)} sent again`,
    `answers             ${answers.join(', ')}`,
    ...[...errors].map((text) => `${' '.repeat(20)}error: ${text}`),
    ...violations.slice(0, 50).map((violation) => `VIOLATION           ${violation}`),
    `result              ${violations.length === 0 ? 'one app hash per height on all nodes, all invariants hold, nothing accepted was lost' : `${violations.length} violations`}; CometBFT ${version}, seed ${seed}, ${seconds} s`,
  ];
  return `${[...lines, ...result].join('\n')}\n`;
}

function abciCliSummary(results: readonly GoldenResult[]): string {
  const lines = results.map(({ version, file, transport, ok, printed, golden }) => {
    const name = `abci-cli ${version.padEnd(8)} ${file} ${transport.padEnd(5)}`;
    return ok ? `${name} as on file` : `${name} DIFFERENT\n--- on file\n${golden}--- printed\n${printed}`;
  });
  return `${lines.join('\n')}\n`;
}

function factsText(facts: CometReport['scenarios'][number]['facts']): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join('/') : value}`)
    .join(', ');
}
