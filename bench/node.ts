/**
 * What an inference node adds to a request: the same requests straight to a trivial server, through a real node that checks a
 * voucher and signs a receipt onto disk, and through a widely used gateway that does neither.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Figure, percentile, type Report, round } from './measure.ts';
import type { Answers, Command, LoadReply, TargetSetup } from './node/load-generator.ts';
import { startBenchNetwork } from './node/network.ts';
import { type Peer, startPortkey } from './node/portkey.ts';
import { type MeasuredProcess, startProcess } from './node/processes.ts';

const BUILD = resolve(import.meta.dirname, '../build');
const WARM_UP = 400;
const LATENCY_REQUESTS = 1_200;
const CONCURRENCY = 32;
const ROUNDS = 3;
/** Requests of one round: about a second each. */
const ROUND_REQUESTS: Readonly<Record<Name, number>> = { direct: 8_000, node: 5_000, portkey: 800 };
const STREAMS = 64;
const STREAM_REQUESTS = 5 * STREAMS;

type Name = 'direct' | 'node' | 'portkey';

interface Bench {
  readonly load: <K extends Command['kind']>(command: Command & { kind: K }) => Promise<Answers[K]>;
  readonly processes: Readonly<Partial<Record<Name | 'full node', MeasuredProcess>>>;
  readonly peer: Peer;
}

interface Throughput {
  readonly perSecond: number;
  readonly cpuUs: number;
  /** Of the full node, per request. */
  readonly fullNodeCpuUs: number;
}

interface Streams {
  readonly delaysMs: readonly number[];
  readonly cpuUsPerChunk: number;
  readonly chunksPerSecond: number;
}

export async function benchNode(): Promise<Report> {
  mkdirSync(BUILD, { recursive: true });
  const home = mkdtempSync(join(BUILD, 'bench-node-'));
  const running: MeasuredProcess[] = [];
  try {
    const bench = await startAll(home, running);
    const diskMs = await diskSyncMs(home);
    const latencies = await measureLatency(bench);
    const throughputs = await measureThroughput(bench);
    const streams = await measureStreams(bench);
    const { lanes } = await bench.load({ kind: 'check' });
    return reportOf({ bench, diskMs, latencies, throughputs, streams, lanes });
  } finally {
    for (const process of running.reverse()) await process.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

async function startAll(home: string, running: MeasuredProcess[]): Promise<Bench> {
  const start = async (name: string, file: string): Promise<MeasuredProcess> => {
    const entry = join(import.meta.dirname, 'node', file);
    const started = await startProcess({ name, entry, logFile: join(home, `${name}.log`) });
    running.push(started);
    return started;
  };
  const direct = await start('upstream', 'upstream-server.ts');
  const upstreamUrl = String(direct.ready['url']);
  const network = await startBenchNetwork(home, upstreamUrl, (started) => running.push(started));
  const peer = await startPortkey(upstreamUrl, join(home, 'portkey.log'));
  if ('process' in peer) running.push(peer.process);
  const generator = await start('load', 'load-generator.ts');
  const load: Bench['load'] = async (command) => {
    if (process.env['HACA_BENCH_TRACE'])
      process.stderr.write(
        `${Math.round(performance.now())} ${Object.values(command)
          .filter((v) => typeof v !== 'object')
          .join(' ')}\n`,
      );
    const reply = (await generator.ask(command)) as LoadReply;
    if ('error' in reply) throw new Error(reply.error);
    if (!('answer' in reply)) throw new Error('the load generator answered something else');
    return reply.answer as never;
  };
  const json = { 'content-type': 'application/json' };
  const targets: TargetSetup[] = [
    { name: 'direct', origin: upstreamUrl, headers: json, isPaid: false },
    { name: 'node', origin: network.nodeUrl, headers: json, isPaid: true },
  ];
  if ('url' in peer) {
    targets.push({ name: 'portkey', origin: peer.url, headers: { ...json, ...peer.headers }, isPaid: false });
  }
  await load({ kind: 'open', targets, payment: network.payment });
  const processes = { direct, node: network.node, 'full node': network.fullNode };
  return { load, peer, processes: 'process' in peer ? { ...processes, portkey: peer.process } : processes };
}

/** What one synced record costs on this disk, whoever writes it: no receipt can be faster. */
async function diskSyncMs(home: string): Promise<readonly number[]> {
  const file = await open(join(home, 'disk.probe'), 'a');
  const record = Buffer.alloc(1_000, 7);
  const samples: number[] = [];
  for (let i = 0; i < 400; i++) {
    const startedAt = performance.now();
    await file.write(record);
    await file.datasync();
    samples.push(performance.now() - startedAt);
  }
  await file.close();
  return samples;
}

function namesOf({ peer }: Bench): readonly Name[] {
  return 'process' in peer ? ['direct', 'node', 'portkey'] : ['direct', 'node'];
}

async function measureLatency(bench: Bench): Promise<Answers['latency']> {
  await bench.load({ kind: 'prepare', stream: false, count: WARM_UP + LATENCY_REQUESTS });
  await bench.load({ kind: 'latency', count: WARM_UP });
  return bench.load({ kind: 'latency', count: LATENCY_REQUESTS });
}

/** Rounds in turn; the best of each, since others may be using the machine. */
async function measureThroughput(bench: Bench): Promise<Readonly<Partial<Record<Name, Throughput>>>> {
  const best: Partial<Record<Name, Throughput>> = {};
  for (let i = 0; i <= ROUNDS; i++) {
    for (const target of namesOf(bench)) {
      const round = await throughputRound(bench, target);
      // The first round warms the compiler.
      if (i > 0 && round.cpuUs < (best[target]?.cpuUs ?? Number.POSITIVE_INFINITY)) best[target] = round;
    }
  }
  return best;
}

async function throughputRound(bench: Bench, target: Name): Promise<Throughput> {
  const count = ROUND_REQUESTS[target];
  if (target === 'node') await bench.load({ kind: 'prepare', stream: false, count });
  const { result, cpuUs, fullNodeCpuUs } = await withCpu(bench, target, () =>
    bench.load({ kind: 'throughput', target, concurrency: CONCURRENCY, count }),
  );
  return {
    perSecond: count / result.seconds,
    cpuUs: cpuUs / count,
    fullNodeCpuUs: fullNodeCpuUs / count,
  };
}

async function withCpu<T>(bench: Bench, target: Name, work: () => Promise<T>) {
  const used = async (name: Name | 'full node'): Promise<number> =>
    (await bench.processes[name]?.usage())?.cpuUs ?? 0;
  const before = [await used(target), await used('full node')] as const;
  const result = await work();
  return {
    result,
    cpuUs: (await used(target)) - before[0],
    fullNodeCpuUs: (await used('full node')) - before[1],
  };
}

async function measureStreams(bench: Bench): Promise<Readonly<Record<'direct' | 'node', Streams>>> {
  const measure = async (target: 'direct' | 'node'): Promise<Streams> => {
    const count = STREAM_REQUESTS;
    if (target === 'node') await bench.load({ kind: 'prepare', stream: true, count });
    const { result, cpuUs } = await withCpu(bench, target, () =>
      bench.load({ kind: 'streams', target, concurrency: STREAMS, count }),
    );
    const { delaysMs, chunks, seconds } = result;
    return { delaysMs, cpuUsPerChunk: cpuUs / chunks, chunksPerSecond: chunks / seconds };
  };
  await measure('node');
  const direct = await measure('direct');
  return { direct, node: await measure('node') };
}

interface Measured {
  readonly bench: Bench;
  readonly diskMs: readonly number[];
  readonly latencies: Answers['latency'];
  readonly throughputs: Readonly<Partial<Record<Name, Throughput>>>;
  readonly streams: Readonly<Record<'direct' | 'node', Streams>>;
  readonly lanes: number;
}

function reportOf(measured: Measured): Report {
  const { bench, diskMs, latencies, throughputs, streams, lanes } = measured;
  const added = (name: Name, share: number): number =>
    1000 * (percentile(latencies[name] ?? [], share) - percentile(latencies['direct'] ?? [], share));
  const node = throughputs.node as Throughput;
  const { portkey } = throughputs;
  const perCore = 1e6 / node.cpuUs;
  const figures: Figure[] = [
    {
      name: 'direct request, p50',
      value: 1000 * percentile(latencies['direct'] ?? [], 0.5),
      unit: 'µs',
      note: 'the anchor, one at a time',
    },
    {
      name: 'one record synced to disk, p50',
      value: 1000 * percentile(diskMs, 0.5),
      unit: 'µs',
      note: 'part of what the node adds',
    },
    { name: 'added by the node, p50', value: added('node', 0.5), unit: 'µs' },
    { name: 'added by the node, p99', value: added('node', 0.99), unit: 'µs' },
    { name: `direct, ${CONCURRENCY} at a time`, value: throughputs.direct?.perSecond ?? 0, unit: 'req/s' },
    {
      name: `through the node, ${CONCURRENCY} at a time`,
      value: node.perSecond,
      unit: 'req/s',
      note: 'all processes on the same cores',
    },
    { name: 'CPU of the node process', value: node.cpuUs, unit: 'µs/req' },
    { name: 'requests per core of the node', value: perCore, unit: 'req/s', note: '10^6 / CPU µs' },
    { name: 'CPU of the full node behind it', value: node.fullNodeCpuUs, unit: 'µs/req' },
    {
      name: 'CPU of the node, streaming',
      value: streams.node.cpuUsPerChunk,
      unit: 'µs/chunk',
      note: `${STREAMS} streams, ${round(streams.node.chunksPerSecond)} chunks/s, receipts included`,
    },
    ...(['direct', 'node'] as const).flatMap((name) =>
      [0.5, 0.99].map((share) => ({
        name: `delay of a chunk, ${name}, p${share * 100}`,
        value: 1000 * percentile(streams[name].delaysMs, share),
        unit: 'µs',
      })),
    ),
  ];
  const targets: Report['targets'][number][] = [
    target('added latency, p50', '≤ 150 µs', added('node', 0.5), added('node', 0.5) <= 150, ' µs'),
    target('added latency, p99', '≤ 1,000 µs', added('node', 0.99), added('node', 0.99) <= 1000, ' µs'),
    target('requests per core', '≥ 12,000/s', perCore, perCore >= 12_000, '/s'),
    target(
      'CPU per streamed chunk',
      '≤ 30 µs',
      streams.node.cpuUsPerChunk,
      streams.node.cpuUsPerChunk <= 30,
      ' µs',
    ),
  ];
  if (portkey !== undefined) {
    const faster = added('portkey', 0.5) / added('node', 0.5);
    const more = portkey.cpuUs / node.cpuUs;
    figures.push(
      {
        name: 'added by Portkey, p50',
        value: added('portkey', 0.5),
        unit: 'µs',
        note: '@portkey-ai/gateway 1.15.2, verifies nothing',
      },
      { name: 'added by Portkey, p99', value: added('portkey', 0.99), unit: 'µs' },
      { name: `through Portkey, ${CONCURRENCY} at a time`, value: portkey.perSecond, unit: 'req/s' },
      { name: 'CPU of the Portkey process', value: portkey.cpuUs, unit: 'µs/req' },
    );
    targets.push(
      target('p50 beside Portkey', '≥ 5 × faster', faster, faster >= 5, ' ×'),
      target('requests per core beside Portkey', '≥ 10 ×', more, more >= 10, ' ×'),
    );
  }
  const missing = 'missing' in bench.peer ? ` Portkey was left out: ${bench.peer.missing}.` : '';
  return {
    area: 'node: what a verified request costs',
    figures,
    targets,
    covers:
      'Voucher checked, receipt signed and synced to this disk before the answer leaves, batches settled on a real full node ' +
      `meanwhile; the last receipts of ${lanes} lanes were verified. Loopback; load generator, upstream server and full node ` +
      'share the cores with the node. Not in it: the work of the client, TLS, a real model, a network of validators.' +
      missing,
  };
}

function target(what: string, wanted: string, value: number, met: boolean, unit: string) {
  return { what, target: wanted, got: `${round(value).toLocaleString('en')}${unit}`, met };
}
