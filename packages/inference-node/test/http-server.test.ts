/** The server by itself: stalled clients, too many bodies, a stop in the middle. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { ApiError } from '../src/api-error.ts';
import { type ApiHandlers, type ApiLimits, startApiServer } from '../src/http-server.ts';

const LIMITS: ApiLimits = { stalledMs: 200, bodiesMaxBytes: 6 * 1024 * 1024 };

function handlersWith(chat: ApiHandlers['chat'], reported: unknown[] = []): ApiHandlers {
  return {
    chat,
    zkInference: async () => undefined,
    openSealed: async () => {
      throw new ApiError('E_SEALED', '');
    },
    proofTransaction: async () => new Uint8Array(0),
    models: () => ({ object: 'list', data: [] }),
    model: (id) => ({ id }),
    info: () => ({}),
    receipt: async () => ({}),
    attestation: () => ({}),
    lane: async () => ({}),
    readiness: async () => ({ work: 'the disk failed' }),
    metrics: () => '',
    refused: () => undefined,
    report: (error) => reported.push(error),
  };
}

const ANYWHERE = { host: '127.0.0.1', port: 0 };

const post = (port: number, body: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}/v1/chat/completions`, { method: 'POST', body });

test('HTTP-66 a client that takes nothing of its stream is gone after a while', async () => {
  const { promise: gone, resolve } = Promise.withResolvers<number>();
  const server = await startApiServer(
    ANYWHERE,
    handlersWith(async (_, sink) => {
      const startedAt = performance.now();
      sink.head(200, { 'content-type': 'text/event-stream' });
      while (!sink.signal.aborted) await sink.write(new Uint8Array(1 << 20));
      resolve(performance.now() - startedAt);
    }),
    LIMITS,
  );
  const socket = connect(server.port, '127.0.0.1', () => {
    socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}');
    socket.pause();
  });
  socket.on('error', () => undefined);
  assert.ok((await gone) >= LIMITS.stalledMs);
  socket.destroy();
  await server.drain();
});

test('HTTP-3 bodies that are read at one time are bounded together', async () => {
  const server = await startApiServer(
    ANYWHERE,
    handlersWith(async (_, sink) => {
      sink.head(200, {});
      sink.end();
    }),
    LIMITS,
  );
  const started = Array.from({ length: 3 }, () => {
    const socket = connect(server.port, '127.0.0.1');
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${4 << 20}\r\n\r\n`;
    socket.write(head + 'x'.repeat(3 << 20));
    const first = new Promise<string>((settle) => {
      socket.once('data', (bytes) => settle(String(bytes)));
      socket.once('close', () => settle(''));
    });
    return { socket, first };
  });
  const refused = await Promise.race(started.map(({ first }) => first));
  assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*E_BUSY/);
  for (const { socket } of started) socket.destroy();
  await Promise.all(started.map(({ first }) => first));
  // What broken uploads held is free again.
  for (let i = 0; i < 4; i++) assert.equal((await post(server.port, 'y'.repeat(3 << 20))).status, 200);
  await server.drain();
});

test('HTTP-1 errors nobody foresaw are reported to the operator, and the client learns no more than that', async () => {
  const reported: unknown[] = [];
  const server = await startApiServer(
    ANYWHERE,
    handlersWith(() => Promise.reject(new TypeError('secret detail')), reported),
  );
  const response = await post(server.port, '{}');
  const text = await response.text();
  assert.equal(response.status, 500);
  assert.ok(!text.includes('secret detail'));
  assert.match(text, /"message".*"type".*"param".*"code":"E_UNAVAILABLE"/);
  assert.equal((reported[0] as Error).message, 'secret detail');
  await server.drain();
});

test('HTTP-6 clients are told whether trying again helps', async () => {
  const errors = [
    new ApiError('E_LANE_BUSY', ''),
    new ApiError('E_UNAVAILABLE', '', { retryAfterMs: 250 }),
    new ApiError('E_ENGINE', ''),
    new ApiError('E_IDEMPOTENCY', ''),
    new ApiError('E_RESERVE', ''),
  ];
  const server = await startApiServer(
    ANYWHERE,
    handlersWith(() => Promise.reject(errors.shift())),
  );
  const told: unknown[] = [];
  for (let i = 0; i < 5; i++) {
    const { status, headers } = await post(server.port, '{}');
    told.push([status, headers.get('x-should-retry'), headers.get('retry-after-ms')]);
  }
  assert.deepEqual(told, [
    [409, 'true', null],
    [503, 'true', '250'],
    [502, 'false', null],
    [409, 'false', null],
    [402, 'false', null],
  ]);
  assert.equal((await fetch(`http://127.0.0.1:${server.port}/health/ready`)).status, 503);
  await server.drain();
});

test('HTTP-86 a draining server ends running answers in peace and lets no connection wait', async () => {
  const { promise: finish, resolve } = Promise.withResolvers<void>();
  const server = await startApiServer(
    ANYWHERE,
    handlersWith(async (_, sink) => {
      sink.head(200, {});
      await sink.write(new Uint8Array(Buffer.from('begun ')));
      await finish;
      await sink.write(new Uint8Array(Buffer.from('ended')));
      sink.end();
    }),
  );
  const answer = await post(server.port, '{}');
  // Connections kept alive by the client.
  await (await fetch(`http://127.0.0.1:${server.port}/v1/models`)).text();
  const drained = server.drain();
  resolve();
  assert.equal(await answer.text(), 'begun ended');
  await drained;
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/v1/models`));
});
