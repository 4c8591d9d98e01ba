import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
export const BROWSER_FLAGS: readonly string[] = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A browser of this machine, or why there is none: what `node:test` takes as `skip`. */
export const browserMissing: string | false = PATHS.some((path) => existsSync(path))
  ? false
  : `no browser at ${PATHS.join(', ')}`;

/** Throws where there is none. */
export function browserPath(): string {
  const path = PATHS.find((each) => existsSync(each));
  if (path === undefined) throw new Error(`no browser at ${PATHS.join(', ')}`);
  return path;
}

/** Opens a page in a fresh headless browser; the returned function ends it. */
export function openInBrowser(url: string): () => Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), 'haca-browser-'));
  const browser: ChildProcess = spawn(browserPath(), [...BROWSER_FLAGS, `--user-data-dir=${profile}`, url], {
    stdio: 'ignore',
  });
  const gone = new Promise<void>((resolve) => browser.once('exit', () => resolve()));
  return async () => {
    browser.kill('SIGKILL');
    await gone;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
}
