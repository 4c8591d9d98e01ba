/** The peer: `@portkey-ai/gateway`, installed on demand into `bench/peers`, which is no part of the project. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { type MeasuredProcess, startProcess } from './processes.ts';

const PEERS = resolve(import.meta.dirname, '../peers');
const ENTRY = join(PEERS, 'node_modules/@portkey-ai/gateway/build/start-server.js');
const INSTALL_TIMEOUT_MS = 60_000;

export type Peer =
  | {
      readonly process: MeasuredProcess;
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly missing: string };

/** Never fails: without the peer the figures beside it are left out, and the report says why. */
export async function startPortkey(upstreamUrl: string, logFile: string): Promise<Peer> {
  const reason = install();
  if (reason !== undefined) return { missing: reason };
  try {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const peer = await startProcess({
      name: 'portkey',
      entry: ENTRY,
      args: [`--port=${port}`, '--headless'],
      logFile,
      preload: [join(import.meta.dirname, 'loopback-only.ts')],
      isReady: (line) => (line.includes('Your AI Gateway is running') ? {} : undefined),
    });
    return {
      process: peer,
      url,
      headers: {
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `${upstreamUrl}/v1`,
        authorization: 'Bearer none',
      },
    };
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

function install(): string | undefined {
  if (existsSync(ENTRY)) return undefined;
  process.stderr.write('installing the peer into bench/peers ...\n');
  const { status, error, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: PEERS,
    encoding: 'utf8',
    timeout: INSTALL_TIMEOUT_MS,
  });
  if (status === 0 && existsSync(ENTRY)) return undefined;
  return `npm ci failed: ${error?.message ?? stderr.trim().split('\n').at(-1) ?? `status ${status}`}`;
}

/** It can't choose a port itself. */
function freePort(): Promise<number> {
  return new Promise((settle, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => settle(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
