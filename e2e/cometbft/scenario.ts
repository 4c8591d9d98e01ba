/** What a scenario is given, what it reports, and the waiting that all of them do. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RandomStream } from '../random.ts';
import type { CheckReport } from './checks.ts';
import type { Load } from './load.ts';
import type { CometNetwork, NetworkNode } from './network.ts';
import type { ChainObserver } from './observer.ts';

export interface ScenarioContext {
  readonly network: CometNetwork;
  readonly observer: ChainObserver;
  readonly load: Load;
  readonly random: RandomStream;
  readonly log: (line: string) => void;
  /** Something that must not happen did. */
  readonly violation: (text: string) => void;
}

export type Facts = Readonly<Record<string, string | number | boolean | readonly (string | number)[]>>;

export interface Scenario {
  readonly name: string;
  /** What it does, in one sentence. */
  readonly does: string;
  /** What it holds beyond what is checked after every scenario. */
  readonly checks: readonly string[];
  /** Under load. Throws where the network does not come back, and then nothing more can be said of it. */
  readonly run: (context: ScenarioContext) => Promise<Facts>;
}

export interface ScenarioReport {
  readonly name: string;
  readonly does: string;
  readonly checked: readonly string[];
  readonly ok: boolean;
  readonly seconds: number;
  readonly facts: Facts;
  readonly after: Omit<CheckReport, 'violations'> | null;
  readonly violations: readonly string[];
}

/** Only a network that stands still takes longer. */
const PROGRESS_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
const STILL_MS = 2_000;

/** Waits until it holds. Throws `what` after two minutes. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PROGRESS_TIMEOUT_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

/** Waits for `count` more blocks; gives the height reached. */
export async function untilBlocks({ observer }: ScenarioContext, count: number): Promise<number> {
  const target = observer.height() + count;
  await until(`block ${target}`, () => observer.height() >= target);
  return observer.height();
}

export async function isCaughtUp({ rpc }: NetworkNode, height: number): Promise<boolean> {
  try {
    const { sync_info: sync } = (await rpc.call('status')) as {
      readonly sync_info: Readonly<Record<string, unknown>>;
    };
    return sync['catching_up'] === false && Number(sync['latest_block_height']) >= height;
  } catch {
    return false;
  }
}

/** Waits until the nodes take part and have the block that is the newest now. */
export async function untilCaughtUp(context: ScenarioContext, nodes: readonly NetworkNode[]): Promise<void> {
  const height = context.observer.height();
  for (const node of nodes) {
    await until(`${node.name} at height ${height}`, () => isCaughtUp(node, height));
  }
}

/**
 * Waits until the nodes make no more blocks, as nodes without a quorum have to: what was decided before may take a moment.
 * Gives the height of each.
 */
export async function untilStill(nodes: readonly NetworkNode[]): Promise<readonly number[]> {
  let heights = await heightsOf(nodes);
  let since = performance.now();
  await until('no more blocks', async () => {
    const now = await heightsOf(nodes);
    if (now.some((height, i) => height !== heights[i])) since = performance.now();
    heights = now;
    return performance.now() - since > STILL_MS;
  });
  return heights;
}

export function heightsOf(nodes: readonly NetworkNode[]): Promise<readonly number[]> {
  return Promise.all(nodes.map(async ({ rpc }) => (await rpc.status()).height));
}

export function genesisValidators({ network }: ScenarioContext): readonly NetworkNode[] {
  return network.nodes.filter(({ index }) => index < network.genesis.validators.validators.length);
}
