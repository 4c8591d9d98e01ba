import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'light-client');

/** False, or why tests against recorded data can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

export function vectorNames(folder: string): string[] {
  if (vectorsMissing !== false) return [];
  return readdirSync(join(FOLDER, folder)).filter((name) => name.endsWith('.json'));
}

// biome-ignore lint/suspicious/noExplicitAny: recorded JSON has no type; tests pick out of it what they know is there.
export function readVector(folder: string, name: string): any {
  return JSON.parse(readFileSync(join(FOLDER, folder, name), 'utf8'));
}
