/** A key that comes to its end is followed by a fresh one while requests go on. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { toHex } from '@haca/primitives';
import { nopg } from '@haca/protocol';
import { connectNode, type Haca, type Wallet } from '@haca/sdk/node';
import { startTestNetwork, type TestNetwork } from './network.ts';
import { echoOf, startUpstream, type UpstreamServer } from './upstream.ts';

const MODEL = 'echo';
/** A successor is opened when a quarter of the key's life is left; no work is taken in its last `requestDuration` blocks. */
const SHORT_LIFE = { keyTtl: 120, requestDuration: 5 };

let upstream: UpstreamServer;
let network: TestNetwork;
let client: Haca;
/** What the upstream server waits for before it ends a stream. */
let gate = Promise.resolve();

before(async () => {
  upstream = await startUpstream({ model: MODEL, beforeEnd: () => gate });
  network = await startTestNetwork({
    nodes: 1,
    params: SHORT_LIFE,
    nodeConfig: {
      engines: [{ kind: 'upstream', baseUrl: upstream.baseUrl, proxied: false, models: [{ name: MODEL }] }],
    },
  });
  client = await network.openClient();
});

after(async () => {
  await network.close();
  await upstream.close();
});

test('requests before, across and after the change of keys are answered, verified and settled', async () => {
  const advertised = async (): Promise<string> => {
    const { models } = await connectNode(String(network.nodes[0]?.ready()['url']), fetch).info();
    return toHex(models[0]?.keyId ?? new Uint8Array(0));
  };
  const { answer: early } = await client.chat({ model: MODEL, prompt: 'first' });
  const oldKey = await advertised();
  assert.equal(toHex(early.node.keyId), oldKey);

  const { promise, resolve: openGate } = Promise.withResolvers<void>();
  gate = promise;
  const long = client.chat({ model: MODEL, prompt: 'a long one', onText: () => undefined });
  // Every transaction makes a block; nobody gains or loses anything but the fee. Once the successor is due the blocks that are
  // left are for opening it, and for the answer under the old key.
  const { accountId, submit } = client.wallet as Wallet;
  const heightNow = async (): Promise<number> => (await client.chain.rpc.status()).height;
  const dueHeight = (await heightNow()) + (3 * SHORT_LIFE.keyTtl) / 4;
  while ((await advertised()) === oldKey) {
    if ((await heightNow()) >= dueHeight) await delay(20);
    else await submit([{ kind: 'transfer-opg', to: accountId, amount: nopg(1n) }]);
  }
  openGate();
  const { text, answer: across } = await long;
  assert.equal(text, echoOf('a long one'));
  assert.equal(toHex(across.node.keyId), oldKey, 'signed by the key it began under');
  const late = await (await network.openClient()).chat({ model: MODEL, prompt: 'last' });
  assert.notEqual(toHex(late.answer.node.keyId), oldKey);
  const same = await client.chat({ model: MODEL, prompt: 'again' });
  for (const { verdict, until } of [early, across, late.answer, same.answer]) {
    assert.ok(verdict.ok);
    assert.ok((await until('final')).verdict.ok);
  }
});
