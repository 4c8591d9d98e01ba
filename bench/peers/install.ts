/** The packages of the peers: installed here on demand, never with the project. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const HERE = import.meta.dirname;
const INSTALL_TIMEOUT_MS = 180_000;

/**
 * Version of a package as it lies below `node_modules` of `folder`, or undefined where it is not the one of its
 * `package.json`.
 */
export function installedVersion(name: string, folder = HERE): string | undefined {
  const wanted = readManifest(join(folder, 'package.json')).dependencies?.[name];
  try {
    // EZKL writes its version as `v21.0.0`.
    const { version } = readManifest(join(folder, 'node_modules', name, 'package.json'));
    return version?.replace(/^v/, '') === wanted ? wanted : undefined;
  } catch {
    return undefined;
  }
}

function readManifest(file: string): { version?: string; dependencies?: Readonly<Record<string, string>> } {
  return JSON.parse(readFileSync(file, 'utf8')) as ReturnType<typeof readManifest>;
}

/** The module of an installed peer. The caller says what it expects of it: most peers carry no types. */
export function loadPeer<T>(name: string, folder = HERE): T {
  return createRequire(join(folder, 'package.json'))(name) as T;
}

/** Installs what is missing of `packages`. Resolves with the reason where that failed, with undefined otherwise. */
export async function install(packages: readonly string[], folder = HERE): Promise<string | undefined> {
  if (packages.every((name) => installedVersion(name, folder) !== undefined)) return undefined;
  process.stderr.write(`installing peers into ${folder} (npm ci) ...\n`);
  const reason = await npmCi(folder);
  if (reason !== undefined) return reason;
  const absent = packages.filter((name) => installedVersion(name, folder) === undefined);
  return absent.length === 0 ? undefined : `npm ci ran, but ${absent.join(', ')} is not there`;
}

function npmCi(folder: string): Promise<string | undefined> {
  return new Promise((settle) => {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const child = spawn(npm, ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: INSTALL_TIMEOUT_MS,
    });
    let errors = '';
    child.stderr.on('data', (chunk) => (errors += chunk));
    child.once('error', ({ message }) => settle(`npm ci could not be started: ${message}`));
    child.once('close', (code, signal) => {
      const lines = errors.split('\n').filter((line) => line.startsWith('npm error'));
      const said = lines.length === 0 ? errors.trim() : lines.slice(0, 2).join('; ');
      settle(
        code === 0
          ? undefined
          : `npm ci failed (${signal ?? `code ${code}`}): ${said}. Is the package registry in reach?`,
      );
    });
  });
}
