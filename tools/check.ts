/**
 * Format, lint, types and layer rules, in seconds. `--fix` writes what can be fixed by machine (`npm run format`).
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const fix = process.argv.includes('--fix');
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);

const steps: readonly (readonly [name: string, command: string, args: readonly string[]])[] = [
  ['layer table', process.execPath, ['tools/sync-layers.ts', ...(fix ? [] : ['--check'])]],
  ['specification tables', process.execPath, ['tools/write-spec-tables.ts', ...(fix ? [] : ['--check'])]],
  ['format and lint', bin('biome'), ['check', '--error-on-warnings', ...(fix ? ['--write'] : [])]],
  ['types', bin('tsc'), ['-b']],
  ['layer rules and tidiness', process.execPath, ['--test', '--test-reporter=dot', 'tools/tidy.test.ts']],
];

let failed = 0;
for (const [name, command, args] of steps) {
  const startedAt = process.hrtime.bigint();
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  const seconds = (Number(process.hrtime.bigint() - startedAt) / 1e9).toFixed(1);
  if (status === 0) {
    process.stdout.write(`ok      ${name} (${seconds} s)\n`);
  } else {
    failed++;
    process.stdout.write(`FAILED  ${name} (${seconds} s)\n${stdout}${stderr}`);
  }
}
process.exitCode = failed === 0 ? 0 : 1;
