/**
 * `npm run bench -- [receipts|node|chain|network|state|zk|tee] [--json]`: each figure beside its anchor, measured in the same run.
 */
import { cpus } from 'node:os';
import { formatReport, type Report } from './measure.ts';

const MEASUREMENTS = {
  receipts: async () => (await import('./receipts.ts')).benchReceipts(),
  node: async () => (await import('./node.ts')).benchNode(),
  network: async () => (await import('./chain.ts')).benchChain(),
  state: async () => (await import('./state.ts')).benchState(),
  zk: async () => (await import('./zk.ts')).benchZk(),
  tee: async () => (await import('./tee.ts')).benchTee(),
} satisfies Readonly<Record<string, () => Promise<Report>>>;

const AREAS: Readonly<Record<string, readonly (keyof typeof MEASUREMENTS)[]>> = {
  receipts: ['receipts'],
  node: ['node'],
  chain: ['network', 'state'],
  network: ['network'],
  state: ['state'],
  zk: ['zk'],
  tee: ['tee'],
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const wanted = args.filter((arg) => arg !== '--json');
const unknown = wanted.filter((name) => !Object.hasOwn(AREAS, name));
if (unknown.length > 0 || args.includes('--help')) {
  process.stderr.write(`Usage: npm run bench -- [${Object.keys(AREAS).join('|')}] [--json]\n`);
  process.exit(args.includes('--help') ? 0 : 2);
}

const reports: Report[] = [];
const areas = wanted.length === 0 ? Object.keys(AREAS) : wanted;
for (const name of new Set(areas.flatMap((area) => AREAS[area] ?? []))) {
  process.stderr.write(`measuring ${name} ...\n`);
  const report = await MEASUREMENTS[name]();
  reports.push(report);
  if (!json) process.stdout.write(`${formatReport(report)}\n`);
}
const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version };
if (json) process.stdout.write(`${JSON.stringify({ machine, reports }, null, 2)}\n`);
else process.stdout.write(`on ${machine.cores} cores, ${machine.cpu}, Node ${machine.node}\n`);
