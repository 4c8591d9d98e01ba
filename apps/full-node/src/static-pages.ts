import { readFileSync } from 'node:fs';
import type { StaticPage } from '@haca/chain';

const FOLDER = new URL('../static/', import.meta.url);

/** The explorer's page, served under `path`. It needs nothing but the RPC beside it. */
export function staticPages(path: string): ReadonlyMap<string, StaticPage> {
  const body = readFileSync(new URL('explorer.html', FOLDER), 'utf8');
  const page = { contentType: 'text/html; charset=utf-8', body };
  return new Map([
    [path, page],
    [`${path}/`, page],
  ]);
}
