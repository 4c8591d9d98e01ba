/** The node's own look at the chain: no block passed over unseen, no head believed before what came before it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RpcClient, RpcError } from '@haca/platform';
import { encode } from '@haca/primitives';
import { chainConfigRecordCodec, DEFAULT_PARAMS } from '@haca/protocol';
import { openChainView } from '../src/chain-view.ts';
import { CHAIN_ID, digest } from './stream-fixture.ts';

const CONFIG = encode(chainConfigRecordCodec, {
  chainId: CHAIN_ID,
  genesisTimeMs: 0,
  simulated: true,
  params: DEFAULT_PARAMS,
  testRoots: [],
});

function openWorld(startHeight: number) {
  const world = {
    height: startHeight,
    /** What asking for the results of a block gives instead. */
    failure: null as RpcError | null,
    onBlock: (_: number): void => undefined,
    asked: [] as number[],
  };
  const rpc: RpcClient = {
    url: 'fake:',
    status: async () => ({
      chainId: CHAIN_ID,
      height: world.height,
      blockHash: digest(`block ${world.height}`),
      blockTime: '2030-01-01T00:00:00Z',
    }),
    query: async () => ({ value: CONFIG, height: world.height, proof: null }),
    call: async (_, params) => {
      if (world.failure !== null) throw world.failure;
      const height = Number(params?.['height']);
      world.asked.push(height);
      const attributes = [{ key: 'channelId', value: `${height}` }];
      return { txs_results: [{ events: [{ type: 'channel', attributes }] }] };
    },
    onNewBlock: (listener) => {
      world.onBlock = listener;
      return () => undefined;
    },
    close: () => undefined,
    broadcastTx: () => Promise.reject(new Error('unused')),
    tx: async () => null,
  };
  return { world, rpc };
}

const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 5));

test('HTTP-37 every block is looked at once and in order, and only then the head counts', async () => {
  const { world, rpc } = openWorld(10);
  const view = await openChainView(
    rpc,
    () => 0,
    () => undefined,
  );
  const seen: [number, unknown][] = [];
  view.onFinalBlock((height, events) => {
    assert.ok(view.finalHeight() >= height);
    assert.ok(view.head().height - 1 < height, 'the head follows');
    seen.push([height, events?.[0]?.attributes['channelId']]);
  });
  world.height = 14;
  world.failure = new RpcError('unreachable', 'not now');
  world.onBlock(14);
  await settle();
  assert.deepEqual(
    [view.head().height, view.finalHeight(), seen],
    [10, 9, []],
    'blocks that can not be read hold it up',
  );
  world.failure = null;
  world.onBlock(14);
  await settle();
  assert.deepEqual(seen, [
    [10, '10'],
    [11, '11'],
    [12, '12'],
    [13, '13'],
  ]);
  assert.deepEqual([view.head().height, view.finalHeight()], [14, 13]);
  // A full node that went back, or another one behind the same address.
  world.height = 12;
  world.onBlock(12);
  await settle();
  assert.deepEqual([view.head().height, seen.length], [14, 4]);
  view.close();
});

test('HTTP-37 far behind, or where a block can not be had any more, everything may have changed', async () => {
  const { world, rpc } = openWorld(10);
  const view = await openChainView(
    rpc,
    () => 0,
    () => undefined,
  );
  const seen: [number, unknown][] = [];
  view.onFinalBlock((height, events) => seen.push([height, events]));
  world.height = 5_000;
  world.onBlock(5_000);
  await settle();
  assert.deepEqual(seen, [[4_999, null]]);
  assert.deepEqual([world.asked, view.finalHeight()], [[], 4_999]);
  // So it is with a block whose results the full node has thrown away.
  world.failure = new RpcError(-32603, 'block 5000 is not stored');
  world.height = 5_001;
  world.onBlock(5_001);
  await settle();
  assert.deepEqual(seen.at(-1), [5_000, null]);
  view.close();
});

test('HTTP-37 a full node that answers and stands still does not make its head younger', async () => {
  const { world, rpc } = openWorld(10);
  let now = 0;
  const view = await openChainView(
    rpc,
    () => now,
    () => undefined,
  );
  now = 5_000;
  world.onBlock(10);
  await settle();
  assert.deepEqual([view.head().height, view.head().seenAtMs], [10, 0]);
  world.height = 11;
  world.onBlock(11);
  await settle();
  assert.deepEqual([view.head().height, view.head().seenAtMs], [11, 5_000]);
  view.close();
});

test('a full node of nothing is told apart', async () => {
  const { rpc } = openWorld(3);
  const empty: RpcClient = {
    ...rpc,
    query: async () => ({ value: new Uint8Array(0), height: 3, proof: null }),
  };
  await assert.rejects(
    openChainView(
      empty,
      () => 0,
      () => undefined,
    ),
    /no chain settings/,
  );
});
