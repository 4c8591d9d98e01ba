/**
 * The page as one HTML file that works from a disk: every module it needs, types stripped and otherwise as it stands, in an
 * import map of data URLs. Nothing is bundled or rewritten but the names of imports.
 */
import { existsSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');
const PAGE = join(import.meta.dirname, 'page.html');
const ENTRY = join(import.meta.dirname, 'page.ts');
const MARK = '<!-- modules -->';
const IMPORT = /(\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.{1,2}\/[^'"\n]+|@(?:haca|noble)\/[^'"\n]+)\2/g;

export function singleFilePage(): string {
  const modules = new Map<string, string>();
  addModule(ENTRY, modules);
  const imports = Object.fromEntries(
    [...modules].map(([name, source]) => [
      name,
      `data:text/javascript;base64,${Buffer.from(source).toString('base64')}`,
    ]),
  );
  const scripts = [
    `<script type="importmap">${JSON.stringify({ imports })}</script>`,
    `<script type="module">import ${JSON.stringify(nameOf(ENTRY))};</script>`,
  ].join('\n');
  const [before, after] = readFileSync(PAGE, 'utf8').split(MARK);
  if (before === undefined || after === undefined) throw new Error(`${PAGE} has no ${MARK}`);
  return `${before}${scripts}${after}`;
}

/** What a module is called in the import map: a bare name, since data URLs have no folder to start from. */
function nameOf(file: string): string {
  return `haca:${relative(ROOT, file)}`;
}

function addModule(file: string, modules: Map<string, string>): void {
  const name = nameOf(file);
  if (modules.has(name)) return;
  modules.set(name, '');
  const text = readFileSync(file, 'utf8');
  const source = file.endsWith('.ts') ? stripTypeScriptTypes(text) : text;
  const rewritten = source.replaceAll(IMPORT, (whole, keyword: string, quote: string, specifier: string) => {
    const target = resolveImport(specifier, file);
    if (target === null) return whole;
    addModule(target, modules);
    return `${keyword}${quote}${nameOf(target)}${quote}`;
  });
  modules.set(name, rewritten);
}

/** Null for what only looks like an import, in a comment. */
function resolveImport(specifier: string, importer: string): string | null {
  const file = specifier.startsWith('.') ? resolve(dirname(importer), specifier) : packageFile(specifier);
  return file !== null && existsSync(file) ? file : null;
}

function packageFile(specifier: string): string | null {
  const [scope, name, ...rest] = specifier.split('/') as [string, string, ...string[]];
  if (scope === '@noble') return join(ROOT, 'node_modules', scope, name, ...rest);
  const folder = join(ROOT, 'packages', name);
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, string>>;
  };
  const path = exports[rest.length === 0 ? '.' : `./${rest.join('/')}`];
  return path === undefined ? null : join(folder, path);
}
