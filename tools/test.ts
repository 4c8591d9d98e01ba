/**
 * Runs every test a contributor should pass before pushing and prints `N passed, N failed`.
 *
 *   npm test                      all
 *   npm test -- packages/chain    the test files whose path contains one of the words
 *
 * A skipped test prints its reason. With CI=true a skip for missing vectors counts as a failure.
 */
import { globSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { run } from 'node:test';

const TEST_FILES = [
  'packages/*/test/**/*.test.ts',
  'apps/*/test/**/*.test.ts',
  'interop/**/*.test.ts',
  'bench/**/*.test.ts',
  'e2e/**/*.test.ts',
  'tools/**/*.test.ts',
];
/** Far below it would mean that a glob no longer matches and green means nothing. */
const LEAST_FILES = 30;
const CONCURRENCY = 2;

interface TestPoint {
  readonly name: string;
  readonly nesting: number;
  readonly file?: string | undefined;
  readonly skip?: string | boolean | undefined;
  readonly details: {
    readonly type?: string | undefined;
    readonly error?: unknown;
    readonly duration_ms?: number;
  };
}

const root = resolve(import.meta.dirname, '..');
const words = process.argv.slice(2);
const all = globSync(TEST_FILES, { cwd: root })
  .filter((path) => !path.includes('node_modules'))
  .sort();
const files = words.length === 0 ? all : all.filter((path) => words.some((word) => path.includes(word)));
if (all.length < LEAST_FILES) {
  process.stderr.write(
    `found ${all.length} test files, expected at least ${LEAST_FILES}: is a glob wrong?\n`,
  );
  process.exit(1);
}
if (files.length === 0) {
  process.stderr.write(`no test file's path contains ${words.join(' or ')}\n`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
let skipped = 0;
const startedAt = process.hrtime.bigint();
const stream = run({ files: files.map((path) => resolve(root, path)), concurrency: CONCURRENCY });

stream.on('test:pass', (point: TestPoint) => {
  if (isContainer(point)) return;
  if (point.skip !== undefined && point.skip !== false) {
    skip(point);
    return;
  }
  passed++;
});
stream.on('test:fail', (point: TestPoint) => {
  if (isContainer(point) && isOnlyChildFailure(point)) return;
  failed++;
  process.stdout.write(`\nFAILED ${where(point)}\n${indent(errorText(point.details.error))}\n`);
});
stream.on('test:stderr', ({ message }: { message: string }) => {
  if (!/ExperimentalWarning|--trace-warnings/.test(message)) process.stderr.write(message);
});
stream.on('test:complete', ({ file, nesting, details, name }: TestPoint & { file?: string }) => {
  if (nesting === 0 && file !== undefined && name === file) {
    process.stdout.write(`  ${relative(root, file)} ${((details.duration_ms ?? 0) / 1000).toFixed(1)} s\n`);
  }
});
stream.on('end', () => {
  const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9;
  process.stdout.write(
    `\n${files.length} files, ${seconds.toFixed(0)} s${skipped > 0 ? `, ${skipped} skipped` : ''}\n`,
  );
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
});
stream.resume();

function skip(point: TestPoint): void {
  const reason = typeof point.skip === 'string' ? point.skip : '';
  const missingVectors = /vectors/i.test(reason) && process.env['CI'] === 'true';
  if (reason === '' || missingVectors) {
    failed++;
    process.stdout.write(
      `\nFAILED ${where(point)}\n    skipped ${reason === '' ? 'without a reason' : `in CI: ${reason}`}\n`,
    );
    return;
  }
  skipped++;
  process.stdout.write(`  skipped ${where(point)}: ${reason}\n`);
}

/** Suites and file wrappers carry their children's result; only leaves are counted. */
function isContainer(point: TestPoint): boolean {
  return point.details.type === 'suite' || point.name === point.file;
}

function isOnlyChildFailure(point: TestPoint): boolean {
  const error = point.details.error as { failureType?: string } | undefined;
  return error?.failureType === 'subtestsFailed';
}

function where(point: TestPoint): string {
  return `${point.file === undefined ? '' : `${relative(root, point.file)}: `}${point.name}`;
}

function errorText(error: unknown): string {
  const cause = (error as { cause?: unknown } | undefined)?.cause ?? error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}
