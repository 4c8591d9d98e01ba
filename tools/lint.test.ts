/** The linter catches what would make two nodes disagree: each line of a violating file is named, and none of a clean one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CONSENSUS_FOLDERS, IMPURE_GLOBALS } from './layers.ts';

const root = resolve(import.meta.dirname, '..');
const CONSENSUS_FILE = `${CONSENSUS_FOLDERS[0]}/example.ts`;
const PURE_FILE = 'packages/verifier/src/example.ts';

/** Code that pure packages and consensus may not have, one violation a line. */
const IMPURE: readonly string[] = [
  'export const a1 = Math.exp(1);',
  'export const a2 = Math.pow(2, 3);',
  'export const a3 = Math.log2(8);',
  'export const a4 = Math.sqrt(2);',
  'export const a5 = Math.hypot(1, 2);',
  'export const a6 = Math.PI;',
  `export const a7 = Math.${'random'}();`,
  'export const b1 = (list: string[]) => list.sort();',
  'export const b2 = (list: string[]) => list.toSorted();',
  "export const c1 = 'a'.localeCompare('b');",
  'export const c2 = (1).toLocaleString();',
  "export const c3 = 'A'.toLocaleLowerCase();",
  "export const c4 = 'A'.toLocaleUpperCase('tr');",
  ...IMPURE_GLOBALS.filter((name) => /^[A-Za-z]+$/.test(name) && !/^(localeCompare|toLocale)/.test(name)).map(
    (name, i) => `export const d${i} = () => ${name};`,
  ),
  "import { readFileSync as e1 } from 'node:fs';",
];

/** Beside these, what consensus may not have. */
const INEXACT: readonly string[] = [
  'export const f1 = (x: number, y: number) => x / y;',
  'export const f2 = (x: number, y: number) => Math.max(1, x / y);',
  'export const f3 = (x: number) => { let y = x; y /= 2; return y; };',
  'export const f4 = (x: number) => x ** 0.5;',
  'export const f5 = 1e-3;',
  'export const f6 = JSON.stringify({});',
  'export const f7 = (x: object) => { for (const key in x) return key; return null; };',
];

const CLEAN: readonly string[] = [
  'export const g1 = (x: number, y: number) => Math.floor((3 * x) / y) + Math.max(x, Math.ceil(y / 2));',
  'export const g2 = (x: bigint, y: { reserveDivisor: bigint }) => x / 64n + x / y.reserveDivisor;',
  'export const g3 = (list: string[]) => list.sort((p, q) => (p < q ? -1 : 1));',
  'export const g4 = 1e3 + 0xe1 + 2 ** 32 + 1_000;',
  'export const g5 = (sortKeys: Float64Array) => sortKeys.sort();',
  'export const g6 = (x: object) => Object.keys(x).length;',
];

/** Numbers of the lines that the linter calls errors, by file. */
function lint(t: TestContext, files: Readonly<Record<string, readonly string[]>>): Map<string, Set<number>> {
  const folder = mkdtempSync(join(tmpdir(), 'haca-lint-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8')) as object;
  writeFileSync(join(folder, 'biome.json'), JSON.stringify({ ...config, vcs: { enabled: false } }));
  cpSync(join(root, 'tools/lint'), join(folder, 'tools/lint'), { recursive: true });
  for (const [path, lines] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), `${lines.join('\n')}\n`);
  }
  const linter = spawnSync(
    join(root, 'node_modules/.bin/biome'),
    ['lint', '--reporter=github', '--max-diagnostics=none', '--diagnostic-level=error', 'packages'],
    { cwd: folder, encoding: 'utf8' },
  );
  const found = new Map(Object.keys(files).map((path) => [path, new Set<number>()]));
  for (const [, path, line] of linter.stdout.matchAll(/^::error .*file=([^,]*),line=(\d+)/gm)) {
    found.get(path as string)?.add(Number(line));
  }
  return found;
}

function numbersOf(lines: readonly string[]): ReadonlySet<number> {
  return new Set(lines.map((_, i) => i + 1));
}

test('every line that would make consensus depend on time, place or machine is an error', (t) => {
  const found = lint(t, { [CONSENSUS_FILE]: [...IMPURE, ...INEXACT], [PURE_FILE]: [...IMPURE, ...CLEAN] });
  assert.deepEqual(found.get(CONSENSUS_FILE), numbersOf([...IMPURE, ...INEXACT]));
  assert.deepEqual(found.get(PURE_FILE), numbersOf(IMPURE));
});

test('what is exact is no error', (t) => {
  const found = lint(t, { [CONSENSUS_FILE]: CLEAN });
  assert.deepEqual(found.get(CONSENSUS_FILE), new Set());
});
