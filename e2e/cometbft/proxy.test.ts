/** A fault that is not injected finds nothing: what the proxy cuts is cut, and nothing else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from './proxy.ts';

async function echoBehindProxy(t: TestContext) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startProxy((server.address() as { readonly port: number }).port);
  t.after(async () => {
    await proxy.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const dial = () => {
    const socket = connect(proxy.port, '127.0.0.1');
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (bytes) => (text += String(bytes)));
    const closed = new Promise<void>((settle) => socket.once('close', () => settle()));
    const until = async (wanted: string): Promise<void> => {
      while (text !== wanted) await once(socket, 'data');
    };
    return { socket, closed, until, text: () => text };
  };
  return { proxy, dial };
}

test('what is sent arrives in order, also slowly', async (t) => {
  const { proxy, dial } = await echoBehindProxy(t);
  const client = dial();
  client.socket.write('one ');
  await client.until('one ');
  proxy.setLatency(20);
  for (const word of ['two ', 'three ', 'four']) client.socket.write(word);
  await client.until('one two three four');
  assert.equal(proxy.forwardedBytes(), 2 * 'one two three four'.length);
});

test('a silent cut lets nothing through and breaks nothing: it comes through after healing', async (t) => {
  const { proxy, dial } = await echoBehindProxy(t);
  const before = dial();
  before.socket.write('a');
  await before.until('a');
  proxy.cut('silent');
  before.socket.write('b');
  const during = dial();
  during.socket.write('c');
  await sleep(50);
  assert.deepEqual([before.text(), during.text()], ['a', '']);
  proxy.heal();
  await Promise.all([before.until('ab'), during.until('c')]);
});

test('a resetting cut breaks connections and refuses new ones until it is healed', async (t) => {
  const { proxy, dial } = await echoBehindProxy(t);
  const before = dial();
  before.socket.write('a');
  await before.until('a');
  proxy.cut('reset');
  await before.closed;
  const during = dial();
  await during.closed;
  assert.equal(during.text(), '');
  proxy.heal();
  const after = dial();
  after.socket.write('b');
  await after.until('b');
});
