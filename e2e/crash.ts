/**
 * Kills an inference node, and sometimes its full node, with SIGKILL at random moments under load, and then accounts for
 * everything: each receipt in a node's log or in a client's hand is settled exactly once, each charge is paid exactly once,
 * all invariants hold.
 */
import { join, resolve } from 'node:path';
import { type AuditReport, auditNetwork } from './audit.ts';
import { startLoad } from './load.ts';
import { type Service, SHORT_WINDOWS, startTestNetwork, type TestNetwork } from './network.ts';
import { type RandomStream, randomStream } from './random.ts';

export interface CrashOptions {
  readonly kills: number;
  readonly seed: number;
  readonly clients: number;
  /** Half of the requests go to a model that is proved. */
  readonly zk: boolean;
  readonly log: (line: string) => void;
}

interface Kills {
  readonly inferenceNode: number;
  /** Of those: while it was starting. */
  readonly whileStarting: number;
  readonly fullNode: number;
}

export interface CrashReport extends Omit<AuditReport, 'charged' | 'paid'> {
  readonly seed: number;
  readonly kills: Kills;
  /** Verified answers that clients hold. */
  readonly answers: number;
  /** Requests that a kill cut off, by what the client was told. */
  readonly unanswered: Readonly<Record<string, number>>;
  /** Base units of the fee asset, decimal. */
  readonly charged: string;
  readonly paid: string;
  readonly seconds: number;
}

/** For this many kills of the node, one of the full node; and one that hits the node while it is starting. */
const FULL_NODE_EVERY = 8;
const STARTING_EVERY = 5;
const WORKING_MAX_MS = 800;
/** Three of four times a node is killed only when answers flow again: on a slow machine that takes clients a while. */
const FLOWING_TIMES = 3;
const FLOWING_TIMEOUT_MS = 4_000;
const STARTING_MAX_MS = 1_200;
const FULL_NODE_AWAY_MAX_MS = 600;
const ROOT = resolve(import.meta.dirname, '..');
const CHAT_ENGINE = { kind: 'onnx', dir: join(ROOT, 'models/tiny-chat') };
const DIGITS_ENGINE = { kind: 'zk', file: join(ROOT, 'models/digits/digits.hzk'), price: '20000' };
/** Under load there are many blocks a second: time to prove, whatever dies, and to redeem after that. */
const PROVING_WINDOWS = { ...SHORT_WINDOWS, proveWindow: 5_000, withdrawDelay: 21_000, keyDrain: 21_000 };
const PARALLEL = 3;
const SAMPLE = 25;

export async function runCrash({ kills, seed, clients, zk, log }: CrashOptions): Promise<CrashReport> {
  const startedAt = performance.now();
  const network = await startTestNetwork({
    nodes: 1,
    ...(zk
      ? { params: PROVING_WINDOWS, nodeConfig: { engines: [CHAT_ENGINE, DIGITS_ENGINE] } }
      : { params: SHORT_WINDOWS }),
  });
  let isFine = false;
  try {
    const haca = await Promise.all(Array.from({ length: clients }, () => network.openClient()));
    const load = startLoad(haca, {
      parallel: PARALLEL,
      restMs: 150,
      ...(zk ? { proved: { model: 'digits', input: new Uint8Array(784).fill(100) } } : {}),
    });
    const done = await killAndRestart(network, kills, randomStream(seed), load.answered, (count) =>
      log(`${count} of ${kills} kills, ${load.answered()} answers`),
    );
    const { answers, unanswered, violations: withheld } = await load.stop();
    log(`load stopped: ${answers.length} verified answers`);
    const reader = haca[0];
    if (reader === undefined) throw new Error('no client');
    const audit = await auditNetwork(network, reader, answers);
    log(`everything settled and paid ${(audit.settledAfterMs / 1000).toFixed(1)} s after the last request`);
    const lost = await Promise.all(sampleOf(answers, SAMPLE).map(follow));
    const violations = [...withheld, ...audit.violations, ...lost.flat()];
    isFine = violations.length === 0;
    return {
      seed,
      kills: done,
      answers: answers.length,
      unanswered,
      ...audit,
      charged: `${audit.charged}`,
      paid: `${audit.paid}`,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      violations,
    };
  } finally {
    await network.close({ keepFiles: !isFine });
    if (!isFine) log(`files and logs of the network: ${network.home}`);
  }
}

async function killAndRestart(
  network: TestNetwork,
  kills: number,
  random: RandomStream,
  answered: () => number,
  progress: (kills: number) => void,
): Promise<Kills> {
  const [node] = network.nodes;
  if (node === undefined) throw new Error('a network with one node');
  let whileStarting = 0;
  let fullNode = 0;
  for (let count = 1; count <= kills; count++) {
    if (random.below(FLOWING_TIMES + 1) > 0) await nextAnswer(answered);
    await pause(random.below(WORKING_MAX_MS));
    if (count >= (fullNode + 1) * FULL_NODE_EVERY) {
      fullNode++;
      await killFullNode(network.fullNode, node, random);
    }
    await node.kill();
    if (count % STARTING_EVERY === 0 && count < kills) {
      count++;
      whileStarting++;
      const cutOff = node.start().catch(() => undefined);
      await pause(random.below(STARTING_MAX_MS));
      await node.kill();
      await cutOff;
    }
    await node.start();
    if (count % 10 < 2 || count === kills) progress(count);
  }
  return { inferenceNode: kills, whileStarting, fullNode };
}

async function nextAnswer(answered: () => number): Promise<void> {
  const before = answered();
  for (let waitedMs = 0; answered() === before && waitedMs < FLOWING_TIMEOUT_MS; waitedMs += 10)
    await pause(10);
}

/** Half of the time the node dies with it; else the node has to bear with a full node that is away for a while. */
async function killFullNode(fullNode: Service, node: Service, random: RandomStream): Promise<void> {
  await fullNode.kill();
  if (random.below(2) === 0) await node.kill();
  await pause(random.below(FULL_NODE_AWAY_MAX_MS));
  await fullNode.start();
  await pause(random.below(FULL_NODE_AWAY_MAX_MS));
}

function sampleOf<T>(all: readonly T[], count: number): readonly T[] {
  const step = Math.max(1, Math.floor(all.length / count));
  return all.filter((_, i) => i % step === 0).slice(0, count);
}

/** Proven as any client would: receipt in a batch, batch in the log of the key, key row in the state, header signed. */
async function follow(answer: Parameters<typeof auditNetwork>[2][number]): Promise<readonly string[]> {
  try {
    const { verdict } = await answer.until('final', { timeoutMs: 10_000 });
    return verdict.ok ? [] : [`answer ${answer.id}: not proven`];
  } catch (error) {
    return [`answer ${answer.id}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((settle) => setTimeout(settle, ms));
}
