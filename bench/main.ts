/**
 * `npm run bench -- [node|receipts|state|chain] [--json]`: each figure beside its anchor, measured in the same run.
 */
import { cpus } from 'node:os';
import { formatReport, type Report } from './measure.ts';

const AREAS: Readonly<Record<string, () => Promise<Report>>> = {
  receipts: async () => (await import('./receipts.ts')).benchReceipts(),
  node: async () => (await import('./node.ts')).benchNode(),
  state: async () => (await import('./state.ts')).benchState(),
  chain: async () => (await import('./chain.ts')).benchChain(),
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const wanted = args.filter((arg) => arg !== '--json');
const unknown = wanted.filter((name) => !(name in AREAS));
if (unknown.length > 0 || args.includes('--help')) {
  process.stderr.write(`Usage: npm run bench -- [${Object.keys(AREAS).join('|')}] [--json]\n`);
  process.exit(args.includes('--help') ? 0 : 2);
}

const reports: Report[] = [];
for (const [name, run] of Object.entries(AREAS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`measuring ${name} ...\n`);
  const report = await run();
  reports.push(report);
  if (!json) process.stdout.write(`${formatReport(report)}\n`);
}
const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version };
if (json) process.stdout.write(`${JSON.stringify({ machine, reports }, null, 2)}\n`);
else process.stdout.write(`on ${machine.cores} cores, ${machine.cpu}, Node ${machine.node}\n`);
