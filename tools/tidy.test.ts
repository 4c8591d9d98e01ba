/** Repository rules as tests: each failure names the file and what to do instead. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { IMPURE_GLOBALS, PACKAGE_RULES, PURE_DEPENDENCIES } from './layers.ts';

const root = resolve(import.meta.dirname, '..');
/** A rule that looked at fewer files than this saw nothing. */
const LEAST_SOURCE_FILES = 80;

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: readonly SourceFile[] = globSync(
  ['packages/**/*.ts', 'apps/**/*.ts', 'interop/**/*.ts', 'e2e/**/*.ts', 'bench/**/*.ts', 'tools/**/*.ts'],
  { cwd: root, exclude: (path) => path.includes('node_modules') },
).map((path) => {
  const text = readFileSync(join(root, path), 'utf8');
  return { path, text, imports: importsOf(text) };
});

/** Static and dynamic imports and re-exports, comments left out. */
function importsOf(text: string): string[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
  const pattern =
    /(?:^|[\s;}])(?:import|export)\s(?:[^'"`;]*?\sfrom\s)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;
  return [...code.matchAll(pattern)].map(([, fixed, dynamic]) => (fixed ?? dynamic) as string);
}

function packageOf(path: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(path)?.[1];
}

/** `@haca/x` and relative imports alike, as the package they reach, or undefined inside the own package. */
function importedPackage(file: SourceFile, specifier: string): string | undefined {
  const named = /^@haca\/([^/]+)/.exec(specifier)?.[1];
  if (named !== undefined) return named;
  if (!specifier.startsWith('.')) return undefined;
  const target = relative(root, resolve(root, dirname(file.path), specifier));
  const reached = packageOf(target) ?? target.split('/')[0];
  return reached === (packageOf(file.path) ?? file.path.split('/')[0]) ? undefined : reached;
}

test('the rules saw the repository', () => {
  assert.ok(
    sources.length >= LEAST_SOURCE_FILES,
    `saw ${sources.length} files, expected ${LEAST_SOURCE_FILES} or more`,
  );
  for (const name of Object.keys(PACKAGE_RULES)) {
    if (!existsSync(join(root, 'packages', name))) continue;
    assert.ok(
      sources.some(({ path }) => path.startsWith(`packages/${name}/src/`)),
      `no source seen in ${name}`,
    );
  }
  const counted = sources.reduce((sum, { imports }) => sum + imports.length, 0);
  assert.ok(
    counted > 2 * sources.length,
    `saw ${counted} imports in ${sources.length} files: is the pattern broken?`,
  );
});

test('packages import only what the layer table allows', () => {
  const violations: string[] = [];
  for (const file of sources) {
    const name = packageOf(file.path);
    if (name === undefined) continue;
    const rule = PACKAGE_RULES[name];
    assert.ok(rule !== undefined, `${file.path}: package ${name} is missing in tools/layers.ts`);
    const isTest = file.path.startsWith(`packages/${name}/test/`);
    const allowed = new Set([
      ...rule.imports,
      name,
      ...(isTest ? ['testkit', 'platform', 'primitives', 'protocol'] : []),
    ]);
    for (const specifier of file.imports) {
      const reached = importedPackage(file, specifier);
      if (reached !== undefined && !allowed.has(reached))
        violations.push(`${file.path} imports ${specifier}`);
    }
  }
  assert.deepEqual(violations, []);
});

test('execution and verification never meet, not even through others or in tests', () => {
  const layers = (name: string): Set<string> => {
    const seen = new Set<string>();
    const visit = (each: string): void => {
      const rule = PACKAGE_RULES[each];
      if (rule === undefined || seen.has(each)) return;
      seen.add(each);
      for (const next of rule.imports) visit(next);
    };
    visit(name);
    return new Set([...seen].map((each) => PACKAGE_RULES[each]?.layer ?? ''));
  };
  for (const name of Object.keys(PACKAGE_RULES)) {
    const reached = layers(name);
    assert.ok(!(reached.has('execution') && reached.has('verification')), `${name} reaches both layers`);
  }
});

/** The file that a specifier names, as a path from the root; undefined for what is not of this repository. */
function importedFile(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return relative(root, resolve(root, dirname(path), specifier));
  const [, name, entry = ''] = /^@haca\/([^/]+)(\/.+)?$/.exec(specifier) ?? [];
  if (name === undefined) return undefined;
  const { exports } = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')) as {
    exports: Readonly<Record<string, string>>;
  };
  return join('packages', name, exports[`.${entry}`] ?? `no entry ${entry}`);
}

/** One way round each circle of imports, the first file again at its end; types count as any other import. */
function importCycles(files: readonly Pick<SourceFile, 'path' | 'imports'>[]): string[] {
  const graph = new Map(
    files.map(({ path, imports }) => [path, imports.map((each) => importedFile(path, each))] as const),
  );
  const seen = new Map<string, 'open' | 'done'>();
  const trail: string[] = [];
  const cycles: string[] = [];
  const visit = (path: string): void => {
    if (seen.get(path) === 'open') cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
    if (seen.has(path)) return;
    seen.set(path, 'open');
    trail.push(path);
    for (const next of graph.get(path) ?? []) if (next !== undefined) visit(next);
    trail.pop();
    seen.set(path, 'done');
  };
  for (const path of graph.keys()) visit(path);
  return cycles;
}

test('no file imports itself by way of others: what two files share is moved into one below both', () => {
  const known = new Set(sources.map(({ path }) => path));
  const own = 'tools/tidy.test.ts';
  const lost = sources.flatMap(({ path, imports }) =>
    (path === own ? [] : imports)
      .filter((each) => each.startsWith('@haca/') || /^\..*\.ts$/.test(each))
      .filter((each) => !known.has(importedFile(path, each) ?? ''))
      .map((each) => `${path} imports ${each}: no source was seen there`),
  );
  assert.deepEqual(lost, []);
  assert.deepEqual(importCycles(sources), []);
});

test('a circle of imports is found, whatever kind of import closes it', () => {
  const file = (name: string, text: string) => ({
    path: `packages/sdk/src/${name}.ts`,
    imports: importsOf(text),
  });
  const house = [
    file('top', "import { a } from './left.ts';\nimport { b } from './right.ts';"),
    file('left', "import {\n  shared,\n} from './below/shared.ts';"),
    file('right', "export { shared } from './below/shared.ts';"),
  ];
  const [left, shared] = ['packages/sdk/src/left.ts', 'packages/sdk/src/below/shared.ts'];
  assert.deepEqual(importCycles([...house, file('below/shared', 'export const shared = 1;')]), []);
  for (const closing of [
    "import { a } from '../left.ts';",
    "import type { A } from '../left.ts';",
    "export { a } from '../left.ts';",
    "export * from '../left.ts';",
    "import '../left.ts';",
    "const a = await import('../left.ts');",
    "let a: import('../left.ts').A;",
  ]) {
    assert.deepEqual(importCycles([...house, file('below/shared', closing)]), [
      `${left} -> ${shared} -> ${left}`,
    ]);
  }
  const byName = [
    file('index', "export * from './left.ts';"),
    file('left', "import { a } from '@haca/sdk';"),
  ];
  assert.equal(importCycles(byName).length, 1);
  assert.equal(importCycles([file('left', "import { a } from './left.ts';")]).length, 1);
});

test('nothing imports apps', () => {
  const violations = sources.flatMap((file) =>
    file.path.startsWith('apps/')
      ? []
      : file.imports
          .filter((specifier) => importedPackage(file, specifier) === 'apps')
          .map((s) => `${file.path} imports ${s}`),
  );
  assert.deepEqual(violations, []);
});

test('each package.json names exactly the packages of the layer table that are imported', () => {
  for (const [name, rule] of Object.entries(PACKAGE_RULES)) {
    const file = join(root, 'packages', name, 'package.json');
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as {
      dependencies?: Record<string, string>;
      private?: boolean;
    };
    assert.equal(manifest.private, true, `${name} must be private`);
    for (const dependency of Object.keys(manifest.dependencies ?? {})) {
      const own = /^@haca\/(.+)$/.exec(dependency)?.[1];
      if (own !== undefined)
        assert.ok(rule.imports.includes(own), `${name}/package.json depends on ${dependency}`);
    }
    for (const [dependency, version] of Object.entries(manifest.dependencies ?? {})) {
      assert.match(version, /^\d+\.\d+\.\d+$/, `${name}/package.json: pin ${dependency} exactly`);
    }
  }
});

test('pure code does no I/O and reads no clock, randomness or platform', () => {
  const violations: string[] = [];
  for (const [name, { pure }] of Object.entries(PACKAGE_RULES)) {
    if (pure === false) continue;
    const folders =
      pure === true ? [`packages/${name}/src/`] : pure.map((folder) => `packages/${name}/src/${folder}/`);
    for (const file of sources.filter(({ path }) => folders.some((folder) => path.startsWith(folder)))) {
      const code = file.text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/\/\/.*$/gm, '');
      for (const specifier of file.imports) {
        const outside = !specifier.startsWith('.') && !specifier.startsWith('@haca/');
        const known = PURE_DEPENDENCIES.some(
          (dependency) => specifier === dependency || specifier.startsWith(`${dependency}/`),
        );
        if (outside && !known) violations.push(`${file.path} imports ${specifier}`);
      }
      for (const banned of IMPURE_GLOBALS) {
        const pattern =
          banned.includes('.') || /^(localeCompare|toLocaleString)$/.test(banned)
            ? new RegExp(`\\b${banned.replace('.', '\\.')}\\b`)
            : new RegExp(`(?<![.\\w'])${banned}(?=\\s*[.(])(?!\\s*\\.\\s*(?:sha|verify))`);
        if (banned !== 'crypto' && pattern.test(code)) violations.push(`${file.path} uses ${banned}`);
      }
    }
  }
  assert.deepEqual(violations, []);
});

test('no file uses what the repository bans everywhere', () => {
  const banned: readonly (readonly [RegExp, string])[] = [
    [/@ts-ignore|@ts-nocheck/, 'fix the type, or use @ts-expect-error with a reason'],
    [/\b(?:describe|it|test)\.only\(/, 'a focused test hides the others'],
    [/\bMath\.random\(/, 'randomness comes from node:crypto or from a seed that is printed'],
    [/^export default /m, 'export by name'],
    [/^(?:export )?(?:declare )?(?:const )?enum /m, 'a union of literals: enums can not be stripped'],
  ];
  const violations: string[] = [];
  for (const file of sources) {
    if (file.path === 'tools/tidy.test.ts' || file.path === 'tools/layers.ts') continue;
    for (const [pattern, instead] of banned) {
      if (pattern.test(file.text)) violations.push(`${file.path}: ${pattern.source} (${instead})`);
    }
  }
  assert.deepEqual(violations, []);
});

test('files are named in kebab-case', () => {
  const odd = sources.map(({ path }) => path).filter((path) => !/^[a-z0-9/.-]+\.ts$/.test(path));
  assert.deepEqual(odd, []);
});

test('the pinned Node runs the tests', () => {
  assert.equal(process.versions.node.split('.')[0], '24');
});

test('every spec requirement carried by a test exists, and every requirement is carried by a test', () => {
  const declared = new Set<string>();
  for (const path of globSync('spec/*.md', { cwd: root })) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const [, id] of text.matchAll(/^\*\*([A-Z]+-\d+)\*\*/gm)) declared.add(id as string);
  }
  const prefixes = new Set([...declared].map((id) => id.split('-')[0] as string));
  const carried = new Set<string>();
  for (const file of sources.filter(({ path }) => path.endsWith('.test.ts'))) {
    for (const [id, prefix] of file.text.matchAll(/\b([A-Z]+)-\d+\b/g))
      if (prefixes.has(prefix as string)) carried.add(id);
  }
  assert.ok(declared.size > 20, `saw ${declared.size} requirements in spec/`);
  assert.deepEqual(
    [...carried].filter((id) => !declared.has(id)).sort(),
    [],
    'tests carry numbers that spec/ lacks',
  );
  assert.deepEqual([...declared].filter((id) => !carried.has(id)).sort(), [], 'requirements without a test');
});
