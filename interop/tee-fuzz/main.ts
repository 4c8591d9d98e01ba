/**
 * `npm run fuzz -- tee [--inputs 10000000] [--seed N] [--parser WORDS] [--out FOLDER] [--json]`: hostile inputs for every parser
 * of evidence and collateral. Ends with 1 where one crashed, hung, took too long or kept memory; each such input is a file.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { vectorsMissing } from '../tee-documents/vector-files.ts';
import { type AppraisalFigures, appraiseMutations } from './appraisals.ts';
import type { Fault, ParserFigures } from './fuzz-parser.ts';
import { compareP384 } from './p384.ts';
import { PARSERS } from './parsers.ts';
import { fuzzInThreads } from './threads.ts';

const USAGE =
  'Usage: npm run fuzz -- tee [--inputs 10000000] [--appraisals 200000] [--seed N] [--parser WORDS] [--threads N] [--out FOLDER] [--json]';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    inputs: { type: 'string', default: '10000000' },
    appraisals: { type: 'string', default: '200000' },
    seed: { type: 'string', default: `${Date.now()}` },
    parser: { type: 'string', default: '' },
    threads: { type: 'string', default: `${Math.min(2, availableParallelism())}` },
    out: { type: 'string', default: fileURLToPath(new URL('../../build/fuzz', import.meta.url)) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const counts = [values.inputs, values.appraisals, values.seed, values.threads].map(Number);
const [inputs = 0, appraisals = 0, seed = 0, threads = 1] = counts;
const isUsable = counts.every((count) => Number.isSafeInteger(count) && count >= 0) && threads >= 1;
if (values.help || positionals.join() !== 'tee' || !isUsable) {
  process.stderr.write(`${USAGE}\n`);
  process.exit(values.help ? 0 : 2);
}
const parsers = PARSERS.filter(({ name }) => name.toLowerCase().includes(values.parser.toLowerCase()));
if (parsers.length === 0) {
  process.stderr.write(`no parser ${values.parser}: ${PARSERS.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}

const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);
say(`seed ${seed}${vectorsMissing === false ? '' : `; without genuine seeds: ${vectorsMissing}`}`);
const startedAt = performance.now();
const each = inputs / parsers.reduce((sum, { share = 1 }) => sum + share, 0);
const figures = await fuzzInThreads(parsers, { seed, inputs: each, threads, say: (line) => say(line) });
const appraised = values.parser === '' ? appraiseMutations({ seed, inputs: appraisals }) : [];
for (const line of appraised.map(appraisalText)) say(line);
const p384 = values.parser === '' ? compareP384({ seed, signatures: Math.ceil(appraisals / 20) }) : null;
if (p384 !== null)
  say(
    `  P-384 against OpenSSL      ${p384.signatures.toLocaleString('en')} signatures, ${p384.valid.toLocaleString('en')} of them valid`,
  );
const faults = [...figures, ...appraised, ...(p384 === null ? [] : [p384])].flatMap(
  (result) => result.faults,
);
const files = faults.map((fault, number) => writeFault(fault, number));
const total = figures.reduce((sum, result) => sum + result.inputs, 0);
const seconds = Math.round((performance.now() - startedAt) / 1000);
const worstMs = Math.max(...figures.map((result) => result.worstMs));
if (values.json)
  process.stdout.write(
    `${JSON.stringify({ seed, inputs: total, seconds, worstMs, parsers: figures.map(withoutFaults), appraisals: appraised.map(withoutFaults), p384: p384 === null ? null : { ...p384, faults: p384.faults.length }, faults: files }, null, 2)}\n`,
  );
say(
  `${total.toLocaleString('en')} inputs in ${seconds} s, worst ${worstMs.toFixed(1)} ms, ${faults.length} faults`,
);
for (const file of files) say(`  ${file}`);
process.exitCode = faults.length === 0 ? 0 : 1;

function withoutFaults<T extends ParserFigures | AppraisalFigures>(
  result: T,
): Omit<T, 'faults'> & { faults: number } {
  return { ...result, faults: result.faults.length };
}

function appraisalText({
  kind,
  inputs: count,
  accepted,
  inputsPerSecond,
  worstMs,
}: AppraisalFigures): string {
  return `  ${`${kind} appraised`.padEnd(24)} ${count.toLocaleString('en').padStart(11)}  accepted with other bytes ${accepted}, ${inputsPerSecond}/s, worst ${worstMs.toFixed(1)} ms`;
}

/** Writes the input and returns where and what. */
function writeFault({ parser, number, what, input }: Fault, at: number): string {
  mkdirSync(values.out, { recursive: true });
  const file = join(values.out, `${seed}-${at}-${parser.replaceAll(/\W+/g, '-')}.bin`);
  writeFileSync(file, input);
  return `${file}: ${parser}, input ${number}: ${what.split('\n').slice(0, 3).join(' ')}`;
}
