/** A whole inference node in this process, between a fake chain and a scripted model server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseNodeConfig, type RunningNode } from '@haca/inference-node';
import { runInferenceNode } from '../src/node.ts';
import { type NodeParts, openParts } from '../src/parts.ts';
import { type FakeChain, startFakeChain } from './fake-chain.ts';
import { type NodeInfo, openPayer, type Payer, readNodeInfo } from './test-payer.ts';
import { MODEL, startTestUpstream, type TestUpstream } from './test-upstream.ts';

export interface TestNode {
  readonly url: string;
  readonly node: RunningNode;
  readonly info: NodeInfo;
  readonly chain: FakeChain;
  readonly upstream: TestUpstream;
  /** Milliseconds added to the node's monotonic clock. */
  readonly clock: { skewMs: number };
  readonly dataDir: string;
  /** The node's own lines. */
  readonly lines: readonly string[];
  /** A payer with this much allocated, in a block the node knows of. */
  readonly payer: (name: string, amount?: bigint) => Promise<Payer>;
  /** Until the node has seen every block there is. */
  readonly synced: () => Promise<void>;
  /** Stops the node, settling what there is unless `forced`, and starts another on the same folder. */
  readonly restart: (forced: boolean) => Promise<TestNode>;
  readonly close: () => Promise<void>;
}

const PLENTY = 1_000_000_000n;

export interface TestNodeOptions {
  readonly settlement?: Readonly<Record<string, unknown>>;
  /** The same after every restart; any free one where it is left out. */
  readonly port?: number;
  /** In place of the scripted model server. */
  readonly engines?: readonly object[];
  readonly params?: Parameters<typeof startFakeChain>[0];
  /** In place of what the configuration says. */
  readonly parts?: Partial<NodeParts>;
}

export async function startTestNode({
  settlement = {},
  port = 0,
  engines,
  params = {},
  parts = {},
}: TestNodeOptions = {}): Promise<TestNode> {
  const home = mkdtempSync(join(tmpdir(), 'haca-node-'));
  const chain = await startFakeChain(params);
  const upstream = await startTestUpstream();
  writeFileSync(join(home, 'operator.json'), JSON.stringify({ version: 1, seed: '07'.repeat(32) }));
  const config = {
    dataDir: 'data',
    rpcUrl: chain.url,
    operatorFile: 'operator.json',
    name: 'test',
    port,
    bondNopg: '50000000000000',
    attester: { kind: 'none' },
    engines: engines ?? [
      { kind: 'upstream', baseUrl: upstream.baseUrl, proxied: false, models: [{ name: MODEL }] },
    ],
    prices: {
      asset: 1,
      inputPrice: '2000000',
      cachedInputPrice: '1000000',
      outputPrice: '6000000',
      requestPrice: '10',
      minCharge: '10',
    },
    settlement: { batchMaxAgeMs: 20, ...settlement },
  };
  const start = async (): Promise<TestNode> => {
    const lines: string[] = [];
    const clock = { skewMs: 0 };
    const parsed = parseNodeConfig(config, join(home, 'config.json'));
    const monotonicMs = (): number => performance.now() + clock.skewMs;
    const all: NodeParts = { ...(await openParts(parsed)), monotonicMs, ...parts };
    const node = await runInferenceNode(parsed, all, (line) => {
      lines.push(line);
    });
    const info = await readNodeInfo(node.url);
    const synced = async (): Promise<void> => {
      const height = chain.height() - 1;
      await until(async () => {
        const seen = (await (await fetch(`${node.url}/v1/haca`)).json()) as { height: number };
        return seen.height >= height;
      });
    };
    return {
      url: node.url,
      node,
      info,
      chain,
      upstream,
      clock,
      dataDir: parsed.dataDir,
      lines,
      synced,
      payer: async (name, amount = PLENTY) => {
        const payer = openPayer(node.url, chain, info, name, amount);
        await synced();
        return payer;
      },
      restart: async (forced) => {
        await node.close(forced);
        return start();
      },
      close: async () => {
        await node.close(true);
        await chain.close();
        await upstream.close();
        rmSync(home, { recursive: true, force: true });
      },
    };
  };
  return start();
}

/** Waits for something that is bound to happen; a test that waits in vain is stopped by its runner. */
export async function until<T>(look: () => T | Promise<T>): Promise<Exclude<NonNullable<T>, false>> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false)
      return found as Exclude<NonNullable<T>, false>;
    await new Promise((settle) => setTimeout(settle, 5));
  }
}

export const hello = (script = 'words 3', more: object = {}) => ({
  model: MODEL,
  messages: [{ role: 'user', content: script }],
  max_tokens: 64,
  ...more,
});
