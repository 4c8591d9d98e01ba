/**
 * Writes what follows from the layer table: each package's tsconfig with its project references, and the linter's
 * import rules. `--check` writes nothing and fails when something on disk differs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { CONSENSUS_FOLDERS, IMPURE_GLOBALS, PACKAGE_RULES } from './layers.ts';

const root = resolve(import.meta.dirname, '..');
const checkOnly = process.argv.includes('--check');
const stale: string[] = [];

const packages = Object.keys(PACKAGE_RULES).filter((name) => existsSync(join(root, 'packages', name, 'src')));
const apps = readdirSync(join(root, 'apps')).filter((name) => existsSync(join(root, 'apps', name, 'src')));

for (const name of packages) writePackage(name);
for (const name of apps) {
  writeProject(`apps/${name}`, {
    types: ['node'],
    include: ['src', 'test'],
    references: packages.map(packageDir),
  });
}
for (const folder of ['interop', 'e2e', 'bench', 'tools']) {
  writeProject(folder, {
    types: ['node'],
    include: ['.'],
    references: [...packages.map(packageDir), ...(folder === 'bench' ? ['interop'] : [])],
  });
}
write('tsconfig.json', {
  files: [],
  references: [
    ...packages.map(packageDir),
    ...packages.map((name) => `packages/${name}/test`),
    ...apps.map((name) => `apps/${name}`),
    'interop',
    'e2e',
    'bench',
    'tools',
  ].map((path) => ({ path })),
});
write('biome.json', linterConfig());
// The linter reads its own file as a formatted one, whatever the file says.
if (!checkOnly)
  spawnSync(join(root, 'node_modules/.bin/biome'), ['format', '--write', 'biome.json'], { cwd: root });

if (checkOnly && stale.length > 0) {
  process.stderr.write(`stale: ${stale.join(', ')}\nrun: npm run layers:sync\n`);
  process.exitCode = 1;
}

function packageDir(name: string): string {
  return `packages/${name}`;
}

function writePackage(name: string): void {
  const rule = PACKAGE_RULES[name];
  if (rule === undefined) throw new Error(`${name} is not in the layer table`);
  const present = rule.imports.filter((imported) => packages.includes(imported));
  writeProject(`packages/${name}`, {
    types: rule.pure === true ? [] : ['node'],
    include: ['src'],
    references: present.map(packageDir),
  });
  const testImports = new Set([...present, name, 'platform', 'testkit', 'primitives', 'protocol']);
  writeProject(`packages/${name}/test`, {
    types: ['node'],
    include: ['.'],
    references: packages.filter((other) => testImports.has(other)).map(packageDir),
  });
}

interface Project {
  readonly types: readonly string[];
  readonly include: readonly string[];
  readonly references: readonly string[];
}

function writeProject(folder: string, { types, include, references }: Project): void {
  mkdirSync(join(root, folder), { recursive: true });
  const up = relative(join(root, folder), root);
  write(`${folder}/tsconfig.json`, {
    extends: `${up}/tsconfig.base.json`,
    compilerOptions: {
      types,
      rootDir: '.',
      outDir: `${up}/build/types/${folder}`,
      tsBuildInfoFile: `${up}/build/types/${folder}.tsbuildinfo`,
    },
    include,
    ...(folder.startsWith('apps/') || folder.endsWith('/test')
      ? {}
      : { exclude: ['node_modules', 'peers/node_modules'] }),
    references: references
      .filter((path) => path !== folder)
      .map((path) => ({
        path: relative(join(root, folder), join(root, path)),
      })),
  });
}

function linterConfig(): object {
  const overrides: object[] = [];
  for (const name of packages) {
    const rule = PACKAGE_RULES[name];
    if (rule === undefined) continue;
    const banned = packages.filter((other) => other !== name && !rule.imports.includes(other));
    overrides.push({
      includes: [`packages/${name}/src/**`],
      linter: {
        rules: {
          style: { noRestrictedImports: restrictedImports(rule.layer, banned) },
        },
      },
    });
    const pureFolders =
      rule.pure === true ? ['src'] : rule.pure === false ? [] : rule.pure.map((f) => `src/${f}`);
    if (pureFolders.length > 0) {
      overrides.push({
        includes: pureFolders.map((folder) => `packages/${name}/${folder}/**`),
        plugins: ['./tools/lint/pure.grit'],
        linter: {
          rules: {
            correctness: { noNodejsModules: 'error' },
            style: { noRestrictedGlobals: restrictedGlobals() },
          },
        },
      });
    }
  }
  overrides.push({
    includes: CONSENSUS_FOLDERS.map((folder) => `${folder}/**`),
    plugins: ['./tools/lint/consensus.grit'],
  });
  return {
    $schema: './node_modules/@biomejs/biome/configuration_schema.json',
    vcs: { enabled: true, clientKind: 'git', useIgnoreFile: true },
    files: {
      includes: [
        '**',
        '!**/node_modules',
        '!vectors',
        '!build',
        '!models/**/*.json',
        // AssemblyScript: its own language, checked by its compiler.
        '!packages/*/assembly',
        '!package-lock.json',
        '!**/tsconfig.json',
        '!biome.json',
      ],
    },
    formatter: { indentStyle: 'space', indentWidth: 2, lineWidth: 110 },
    javascript: { formatter: { quoteStyle: 'single' } },
    linter: {
      rules: {
        recommended: true,
        correctness: { noUnusedImports: 'error', noUnusedVariables: 'error' },
        style: {
          useImportType: 'error',
          noNonNullAssertion: 'error',
          noDefaultExport: 'error',
          useNodejsImportProtocol: 'error',
        },
        suspicious: { noExplicitAny: 'error', noImportCycles: 'error' },
        complexity: { useLiteralKeys: 'off' },
      },
    },
    overrides,
  };
}

function restrictedImports(layer: string, banned: readonly string[]): object {
  const message = `not importable from the ${layer} layer: see tools/layers.ts`;
  return {
    level: 'error',
    options: {
      paths: Object.fromEntries(banned.map((name) => [`@haca/${name}`, { message }])),
    },
  };
}

function restrictedGlobals(): object {
  const names = IMPURE_GLOBALS.filter((name) => /^[A-Za-z]+$/.test(name) && name !== 'localeCompare');
  const reason = 'pure code gets time, randomness and platform functions as arguments';
  return {
    level: 'error',
    options: {
      deniedGlobals: Object.fromEntries(names.map((name) => [name, reason])),
    },
  };
}

function write(path: string, value: object): void {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  if (existsSync(file) && JSON.stringify(JSON.parse(readFileSync(file, 'utf8'))) === JSON.stringify(value))
    return;
  stale.push(path);
  if (!checkOnly) writeFileSync(file, text);
}
