import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect, type createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { startGateway } from '../src/cometbft/gateway.ts';

async function listening(t: TestContext, server: ReturnType<typeof createTcpServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

async function gatewayTo(
  t: TestContext,
  port: number,
): Promise<{ port: number; close: () => Promise<void> }> {
  const gateway = await startGateway({
    host: '127.0.0.1',
    port: 0,
    rpcPort: () => port,
    state: () => 'down',
  });
  t.after(gateway.close);
  return { port: Number(new URL(gateway.url).port), close: gateway.close };
}

/** Sends these bytes and gives what comes until `isEnough`, or until the other side ends. */
function talk(
  t: TestContext,
  port: number,
  text: string,
  isEnough: (seen: string) => boolean,
): Promise<string> {
  const socket: Socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.write(text, 'latin1');
  let seen = '';
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (data) => {
      seen += data.toString('latin1');
      if (isEnough(seen)) resolve(seen);
    });
    socket.on('end', () => resolve(seen));
    socket.on('close', () => resolve(seen));
  });
}

const UPGRADE = 'host: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n';

test('an upgrade of a path that is no URL is refused, and the gateway goes on', async (t) => {
  const { port } = await gatewayTo(t, 1);
  for (const path of ['//', 'http://[', '/\\\\[']) {
    const answer = await talk(t, port, `GET ${path} HTTP/1.1\r\n${UPGRADE}\r\n`, (seen) =>
      seen.includes('\r\n\r\n'),
    );
    assert.match(answer, /^HTTP\/1.1 (503|400)/, path);
  }
  assert.equal((await fetch(`http://127.0.0.1:${port}/status`)).status, 503);
});

test('a refused upgrade leaves no connection behind, whether the caller hangs up or not', async (t) => {
  const { port, close } = await gatewayTo(t, 1);
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.write(`GET /other HTTP/1.1\r\n${UPGRADE}\r\n`);
  await new Promise<void>((resolve) => socket.on('end', resolve).resume());
  // Resolves only when no connection is left.
  await close();
});

test('the body of a request never becomes a second request', async (t) => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      seen.push(`${request.method} ${request.url}`);
      response.end(`{"url":${JSON.stringify(request.url)}}`);
    });
  });
  const { port } = await gatewayTo(t, await listening(t, server));
  const inner = 'GET /smuggled HTTP/1.1\r\nhost: rpc\r\n\r\n';
  const chunk = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`;
  for (const method of ['GET', 'HEAD'])
    await talk(
      t,
      port,
      `${method} /status HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${chunk}`,
      () => false,
    );
  await fetch(`http://127.0.0.1:${port}/next`);
  assert.deepEqual(
    seen.filter((name) => name.includes('smuggled')),
    [],
  );
});

test('a path with bytes that no request can be sent with is answered, and the gateway goes on', async (t) => {
  const { port } = await gatewayTo(t, 1);
  for (const path of ['/\t', '/\f', '/\xff', '/\x7f', '*', 'http://x/y'])
    assert.match(
      await talk(t, port, `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`, () => false),
      /^HTTP\/1.1 \d/,
    );
  assert.equal((await fetch(`http://127.0.0.1:${port}/status`)).status, 503);
});

test('one connection cannot pile up requests: those who do not wait for answers are cut off', async (t) => {
  const server = createServer(() => undefined);
  t.after(() => server.closeAllConnections());
  const { port } = await gatewayTo(t, await listening(t, server));
  const requests = 'GET /status HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(5_000);
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  socket.on('error', () => undefined).resume();
  socket.write(requests);
  await closed;
  assert.equal((await fetch(`http://127.0.0.1:${port}/other`, { method: 'OPTIONS' })).status, 204);
});
