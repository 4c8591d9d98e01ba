/** The state at a million accounts: updates with app hash, loading, memory, restart, and what a snapshot costs meanwhile. */
import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { APPLICATION_PROCESS, type Change, createStateTree } from '@haca/chain';
import { type Figure, percentile, type Report, round } from './measure.ts';
import { accountEntry, type Entry } from './state/accounts.ts';
import { cpuMs } from './state/cpu-time.ts';
import { measurePeer, type PeerFigure } from './state/peer.ts';
import type { ProcessFigures } from './state/process.ts';

const KEYS = 1_000_000;
const BATCH = 10_000;
const BATCHES = 12;
const HASHES = 200_000;
const HASH_ROUNDS = 5;
const CHILD = join(import.meta.dirname, 'state/process.ts');

interface TreeFigures {
  readonly buildMs: number;
  readonly updatesPerSecond: number;
  readonly medianPerSecond: number;
  readonly hashesPerUpdate: number;
  readonly treeMb: number;
}

export async function benchState(): Promise<Report> {
  const tree = treeFigures();
  const hashesPerSecond = hashingFloor();
  const peer = await measurePeer();
  const application = await applicationFigures();
  const floor = hashesPerSecond / tree.hashesPerUpdate;
  const stall = percentile(application.stallsMs, 0.99);
  return {
    area: 'state: one core of a full node, a million accounts',
    figures: [...treeReport(tree, hashesPerSecond, floor, peer), ...applicationReport(application)],
    targets: [
      {
        what: 'state updates with app hash over 1M keys',
        target: '≥ 90,000/s',
        got: `${round(tree.updatesPerSecond).toLocaleString('en')}/s of CPU time`,
        met: tree.updatesPerSecond >= 90_000,
      },
      {
        what: 'memory of the application process at 1M accounts',
        target: '≤ 300 MB',
        got: `${round(application.afterBlocks.anonMb)} MB of its own, ${round(application.afterBlocks.rssMb)} MB with file pages`,
        met: application.afterBlocks.rssMb <= 300,
      },
      {
        what: 'a snapshot does not hold up the process',
        target: 'p99 ≤ 10 ms',
        got: `${round(stall)} ms`,
        met: stall <= 10,
      },
    ],
    covers:
      'Tree: random accounts, batches of 10,000, best and median of 12; the floor is nothing but as many SHA-256 of 64 bytes by ' +
      'the native function as an update needs hashes. Application: real blocks of 50 transfers, executed, committed and synced, ' +
      `${application.versions} of them, so 256 heights are provable; without consensus, sockets and RPC. ` +
      'Rates of the tree, of hashing and of the peer are per second of CPU time; the times of the application are by the clock, ' +
      'and worse on a busy machine.',
  };
}

function treeReport(tree: TreeFigures, hashesPerSecond: number, floor: number, peer: PeerFigure): Figure[] {
  return [
    {
      name: 'SHA-256 of 64 bytes, native',
      value: hashesPerSecond,
      unit: '/s',
      note: 'the anchor; CPU time, as the rates below',
    },
    {
      name: 'hashes an update needs',
      value: tree.hashesPerUpdate,
      unit: '',
      note: 'leaf 3, the rest inner nodes',
    },
    { name: 'bare hashing floor', value: floor, unit: 'updates/s' },
    { name: 'state updates with app hash', value: tree.updatesPerSecond, unit: '/s', note: 'best batch' },
    { name: 'state updates, median batch', value: tree.medianPerSecond, unit: '/s' },
    { name: 'updates per bare hashing', value: tree.updatesPerSecond / floor, unit: '×' },
    ...('missing' in peer
      ? [{ name: '@ethereumjs/mpt', value: Number.NaN, unit: '/s', note: `not measured: ${peer.missing}` }]
      : [
          {
            name: '@ethereumjs/mpt',
            value: peer.updatesPerSecond,
            unit: '/s',
            note: `over ${peer.keys.toLocaleString('en')} keys in memory`,
          },
          {
            name: 'updates per @ethereumjs/mpt',
            value: tree.updatesPerSecond / peer.updatesPerSecond,
            unit: '×',
          },
        ]),
    { name: 'building the tree of 1M keys', value: tree.buildMs, unit: 'ms' },
    { name: 'the tree, nodes and entries', value: tree.treeMb, unit: 'MB' },
  ];
}

function applicationReport(application: ProcessFigures): Figure[] {
  const { atStart, afterBlocks, blockMs, blockMsWithSnapshot, stallsMs } = application;
  const cpu = `${round(application.startCpuMs)} ms of CPU`;
  const pages = 'RssFile: Node and the database; the system may take them back';
  return [
    { name: 'restart of the application', value: application.startMs, unit: 'ms', note: cpu },
    { name: 'memory of its own at start', value: atStart.anonMb, unit: 'MB', note: 'RssAnon' },
    { name: 'memory of its own after the blocks', value: afterBlocks.anonMb, unit: 'MB', note: 'RssAnon' },
    { name: 'file pages after the blocks', value: afterBlocks.fileMb, unit: 'MB', note: pages },
    {
      name: 'resident in all',
      value: afterBlocks.rssMb,
      unit: 'MB',
      note: `VmRSS; at most ${round(application.highMb)}`,
    },
    {
      name: 'block of 50 transfers, p50',
      value: percentile(blockMs, 0.5),
      unit: 'ms',
      note: 'FinalizeBlock and Commit',
    },
    { name: 'the same while a snapshot is written', value: percentile(blockMsWithSnapshot, 0.5), unit: 'ms' },
    {
      name: 'writing the snapshot',
      value: application.snapshotMs,
      unit: 'ms',
      note: `${application.snapshotChunks} chunks`,
    },
    {
      name: 'event loop late meanwhile, p99',
      value: percentile(stallsMs, 0.99),
      unit: 'ms',
      note: `at most ${round(percentile(stallsMs, 1))}`,
    },
  ];
}

function treeFigures(): TreeFigures {
  const tree = createStateTree({ versionsKept: 2 });
  const startedAt = cpuMs();
  tree.load(0, entries());
  const buildMs = cpuMs() - startedAt;
  const samples: number[] = [];
  let keys: Uint8Array[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const changes = changesOf(batch);
    keys = changes.map(([key]) => key);
    const from = cpuMs();
    tree.update(batch + 1, changes);
    samples.push((BATCH * 1_000) / (cpuMs() - from));
  }
  return {
    buildMs,
    updatesPerSecond: Math.max(...samples),
    medianPerSecond: percentile(samples, 0.5),
    hashesPerUpdate: 3 + innerNodes(keys, (key) => tree.prove(key).proof) / BATCH,
    treeMb: tree.sizeBytes() / 1e6,
  };
}

function* entries(): Iterable<Entry> {
  for (let i = 0; i < KEYS; i++) yield accountEntry(i);
}

/** Different accounts all over the state, each with another record than before. */
function changesOf(batch: number): Change[] {
  return Array.from({ length: BATCH }, (_, i) => {
    const [key] = accountEntry((batch * 131 + i * 99) % KEYS);
    return [key, accountEntry(i * 7 + batch + 1)[1]];
  });
}

/** Inner nodes on the paths of all keys, each counted once: in the order of paths, what a key does not share with the one before. */
function innerNodes(keys: readonly Uint8Array[], proofOf: (key: Uint8Array) => Uint8Array): number {
  const paths = keys
    .map((key) => {
      const proof = proofOf(key);
      return { path: hash('sha256', key, 'hex'), depth: (proof[2] as number) * 256 + (proof[3] as number) };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  let nodes = 0;
  for (const [i, { path, depth }] of paths.entries()) {
    const before = paths[i - 1];
    nodes += before === undefined ? depth : depth - Math.min(depth, 1 + sharedBits(before.path, path));
  }
  return nodes;
}

function sharedBits(a: string, b: string): number {
  for (let i = 0; i < a.length; i++) {
    const difference = Number.parseInt(a[i] as string, 16) ^ Number.parseInt(b[i] as string, 16);
    if (difference !== 0) return 4 * i + Math.clz32(difference) - 28;
  }
  return 4 * a.length;
}

/** Best of some rounds, as the best batch is of the tree. */
function hashingFloor(): number {
  const node = new Uint8Array(64).fill(3);
  let best = 0;
  for (let round_ = 0; round_ < HASH_ROUNDS; round_++) {
    const from = cpuMs();
    for (let i = 0; i < HASHES; i++)
      if (hash('sha256', node, 'buffer').length !== 32) throw new Error('no hash');
    best = Math.max(best, (HASHES * 1_000) / (cpuMs() - from));
  }
  return best;
}

async function applicationFigures(): Promise<ProcessFigures> {
  const directory = mkdtempSync(join(tmpdir(), 'haca-bench-state-'));
  try {
    await child(['write', directory, `${KEYS}`]);
    return JSON.parse(await child(['run', directory, `${KEYS}`])) as ProcessFigures;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function child(args: readonly string[]): Promise<string> {
  const { nodeFlags, env } = APPLICATION_PROCESS;
  const process_ = spawn(process.execPath, [...nodeFlags, CHILD, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let output = '';
  process_.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(process_, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the measured process ended with ${code}`);
  return output;
}
