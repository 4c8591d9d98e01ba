import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type TestContext, test } from 'node:test';
import { connectRpc } from '@haca/platform';
import { WebSocketServer } from 'ws';
import { startGateway } from '../src/cometbft/gateway.ts';

async function started(t: TestContext) {
  // Nothing listens there until a test says where.
  const rpc = { port: 1 };
  const pages = new Map([['/explorer', { contentType: 'text/html', body: '<p>here</p>' }]]);
  const gateway = await startGateway({
    host: '127.0.0.1',
    port: 0,
    rpcPort: () => rpc.port,
    pages,
    state: () => 'starting again in 200 ms',
  });
  t.after(gateway.close);
  return { rpc, url: gateway.url };
}

/** Answers with what it was asked, as CometBFT's RPC would. */
async function upstream(
  t: TestContext,
  rpc: { port: number },
): Promise<{ readonly die: () => Promise<void> }> {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += String(part);
    response.writeHead(request.url === '/bad' ? 500 : 200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ method: request.method, url: request.url, body, headers: request.headers }),
    );
  });
  const sockets = new WebSocketServer({ server, path: '/websocket' });
  sockets.on('connection', (client) => client.on('message', (data) => client.send(`echo ${String(data)}`)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  rpc.port = address.port;
  const die = async (): Promise<void> => {
    for (const client of sockets.clients) client.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.after(die);
  return { die };
}

test('requests reach CometBFT as they are, answers come back with the header browsers need', async (t) => {
  const { rpc: place, url } = await started(t);
  await upstream(t, place);
  const posted = await fetch(url, { method: 'POST', body: '{"a":1}', headers: { 'x-secret': 'no' } });
  assert.equal(posted.headers.get('access-control-allow-origin'), '*');
  const seen = (await posted.json()) as { method: string; url: string; body: string; headers: object };
  assert.deepEqual([seen.method, seen.url, seen.body], ['POST', '/', '{"a":1}']);
  assert.ok(!('x-secret' in seen.headers));
  const got = (await (await fetch(`${url}/block?height=3`)).json()) as { url: string };
  assert.equal(got.url, '/block?height=3');
  assert.equal((await fetch(`${url}/bad`)).status, 500);
  assert.equal((await fetch(url, { method: 'DELETE' })).status, 405);
  assert.equal((await fetch(url, { method: 'OPTIONS' })).status, 204);
});

test('the explorer is there whether CometBFT is or not', async (t) => {
  const { url } = await started(t);
  assert.equal(await (await fetch(`${url}/explorer`)).text(), '<p>here</p>');
});

test('while CometBFT is down every caller is told so at once, and served as soon as it is back', async (t) => {
  const { rpc: place, url } = await started(t);
  const answer = await fetch(url, { method: 'POST', body: '{}' });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get('retry-after'), '1');
  const { error } = (await answer.json()) as { error: { code: number; data: string } };
  assert.deepEqual([error.code, error.data], [-32_000, 'starting again in 200 ms']);
  const rpc = connectRpc(url);
  await assert.rejects(rpc.status(), { code: 'unreachable', message: /starting again in 200 ms/ });
  rpc.close();
  const { die } = await upstream(t, place);
  assert.equal((await fetch(`${url}/status`)).status, 200);
  await die();
  assert.equal((await fetch(`${url}/status`)).status, 503);
});

test('subscriptions go through, from any origin, and end when CometBFT does', async (t) => {
  const { rpc: place, url } = await started(t);
  const { die } = await upstream(t, place);
  const socket = new WebSocket(`${url.replace('http', 'ws')}/websocket`);
  const message = await new Promise((resolve, reject) => {
    socket.addEventListener('open', () => socket.send('hello'));
    socket.addEventListener('message', ({ data }) => resolve(data));
    socket.addEventListener('error', reject);
  });
  assert.equal(message, 'echo hello');
  const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
  await die();
  await closed;
  const elsewhere = new WebSocket(`${url.replace('http', 'ws')}/other`);
  await new Promise((resolve) => elsewhere.addEventListener('error', resolve));
});
