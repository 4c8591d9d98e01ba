/**
 * The sources of this repository as a browser can load them: types stripped, packages found by an import map, nothing
 * bundled. What runs in the page is what runs in Node, file by file.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import { extname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../../..');
const SERVED = ['/packages/', '/node_modules/@noble/'];
const TYPES: Readonly<Record<string, string>> = {
  '.ts': 'text/javascript',
  '.js': 'text/javascript',
  '.json': 'application/json',
};
const BODY_BYTES_MAX = 1 << 20;

export interface SourceServer {
  /** Of a page that runs the module at this path of the repository. */
  readonly pageUrl: (entry: string) => string;
  /** What the page's module posted to `/result`, as JSON. */
  readonly result: Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** `data` is served as JSON below `/data/`. */
export async function serveSources(data: Readonly<Record<string, () => unknown>>): Promise<SourceServer> {
  const { promise: result, resolve: settle } = Promise.withResolvers<unknown>();
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://sources');
    if (request.method === 'POST' && pathname === '/result') {
      let body = '';
      for await (const part of request) if (body.length < BODY_BYTES_MAX) body += String(part);
      response.end();
      settle(JSON.parse(body));
      return;
    }
    const answer = contentOf(pathname, searchParams, data);
    if (answer === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': answer.type }).end(answer.body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    pageUrl: (entry) => `http://127.0.0.1:${address.port}/page?entry=${encodeURIComponent(entry)}`,
    result,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

interface Content {
  readonly type: string;
  readonly body: string;
}

function contentOf(
  path: string,
  query: URLSearchParams,
  data: Readonly<Record<string, () => unknown>>,
): Content | undefined {
  if (path === '/page') return { type: 'text/html', body: page(query.get('entry') ?? '') };
  const item = data[path.replace(/^\/data\//, '')];
  if (item !== undefined) return { type: 'application/json', body: JSON.stringify(item()) };
  const file = join(ROOT, path);
  const type = TYPES[extname(file)];
  if (type === undefined || !SERVED.some((folder) => file.startsWith(join(ROOT, folder)))) return undefined;
  if (!existsSync(file)) return undefined;
  const source = readFileSync(file, 'utf8');
  return { type, body: file.endsWith('.ts') ? stripTypeScriptTypes(source) : source };
}

function page(entry: string): string {
  const imports = JSON.stringify({ imports: importMap() });
  const run = `import(${JSON.stringify(entry)}).catch((error) => fetch('/result', { method: 'POST', body: JSON.stringify({ error: String(error) }) }))`;
  return `<!doctype html><meta charset="utf-8"><script type="importmap">${imports}</script><script type="module">${run}</script>`;
}

/** Every name that a package of this repository exports, and the packages that pure code may use. */
function importMap(): Readonly<Record<string, string>> {
  const map: Record<string, string> = {
    '@noble/curves/': '/node_modules/@noble/curves/',
    '@noble/hashes/': '/node_modules/@noble/hashes/',
  };
  for (const name of readdirSync(join(ROOT, 'packages'))) {
    const manifest = join(ROOT, 'packages', name, 'package.json');
    if (!existsSync(manifest)) continue;
    const { exports = {} } = JSON.parse(readFileSync(manifest, 'utf8')) as {
      exports?: Record<string, string>;
    };
    for (const [path, file] of Object.entries(exports)) {
      map[`@haca/${name}${path.slice(1)}`] = `/packages/${name}/${file.slice(2)}`;
    }
  }
  return map;
}
