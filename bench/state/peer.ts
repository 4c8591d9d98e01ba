/** The peer: `@ethereumjs/mpt`, installed on demand into `bench/peers`, which is no part of the project. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { accountEntry, type Entry } from './accounts.ts';
import { cpuMs } from './cpu-time.ts';

const PEERS = resolve(import.meta.dirname, '../peers');
const ENTRY = join(PEERS, 'node_modules/@ethereumjs/mpt/dist/esm/index.js');
const INSTALL_TIMEOUT_MS = 60_000;
/** Building a million keys would take it minutes; over few keys it is faster than over many. */
const PEER_KEYS = 20_000;
const PEER_UPDATES = 4_000;

interface Trie {
  readonly put: (key: Uint8Array, value: Uint8Array) => Promise<unknown>;
  readonly root: () => Uint8Array;
}

export type PeerFigure =
  | { readonly updatesPerSecond: number; readonly keys: number }
  | { readonly missing: string };

/** Never fails: without the peer its figure is left out, and the report says why. */
export async function measurePeer(): Promise<PeerFigure> {
  const reason = install();
  if (reason !== undefined) return { missing: reason };
  try {
    const { createMPT } = (await import(ENTRY)) as {
      createMPT: (options: { useKeyHashing: boolean }) => Promise<Trie>;
    };
    const trie = await createMPT({ useKeyHashing: true });
    for (let i = 0; i < PEER_KEYS; i++) await trie.put(...accountEntry(i));
    const changes = Array.from({ length: PEER_UPDATES }, (_, i): Entry => {
      const [key] = accountEntry((i * 7_919) % PEER_KEYS);
      return [key, accountEntry(PEER_KEYS + i)[1]];
    });
    const startedAt = cpuMs();
    for (const [key, value] of changes) await trie.put(key, value);
    trie.root();
    return { updatesPerSecond: (PEER_UPDATES * 1_000) / (cpuMs() - startedAt), keys: PEER_KEYS };
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
