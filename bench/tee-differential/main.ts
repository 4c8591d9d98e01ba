/**
 * `npm run differential -- tee [--stride N] [--json] [--write]`: recorded evidence and changes of it, judged here and by other
 * verifiers. Prints where they disagree and why; `--write` puts it into docs/tee-differential.md. Ends with 1 where a disagreement has no
 * explanation or an explanation no disagreement, with 3 where a verifier could not be had.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { vectorsMissing } from '../../interop/tee-documents/vector-files.ts';
import { compareVerifiers, type DifferentialReport } from './compare.ts';
import { markdownOf } from './markdown.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    stride: { type: 'string', default: '13' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const stride = Number(values.stride);
if (values.help || positionals.join() !== 'tee' || !Number.isSafeInteger(stride) || stride < 1) {
  process.stderr.write('Usage: npm run differential -- tee [--stride 13] [--json] [--write]\n');
  process.exit(values.help ? 0 : 2);
}
if (vectorsMissing !== false) {
  process.stderr.write(`nothing to compare: ${vectorsMissing}\n`);
  process.exit(3);
}

const report = await compareVerifiers(stride);
process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : markdownOf(report, stride));
if (values.write)
  writeFileSync(join(import.meta.dirname, '../../docs/tee-differential.md'), markdownOf(report, stride));
process.exitCode = exitCodeOf(report);

function exitCodeOf({ compared, unused, missing }: DifferentialReport): number {
  const unexplained = compared.flatMap(({ rows }) => rows.filter(({ explanation }) => explanation === null));
  for (const row of unexplained) process.stderr.write(`unexplained: ${JSON.stringify(row)}\n`);
  for (const each of unused)
    process.stderr.write(`explains nothing: ${each.peer}: ${each.changes.join(', ')}\n`);
  for (const { name, missing: why } of missing) process.stderr.write(`not asked: ${name}: ${why}\n`);
  if (unexplained.length + unused.length > 0) return 1;
  return missing.length > 0 ? 3 : 0;
}
