import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { MalformedError } from '@haca/primitives';
import fc from 'fast-check';
import { base64, base64url, connectRpc, fromBase64, fromBase64url, RpcError } from '../src/index.ts';

async function serve(
  answer: (call: number, body: string) => string | null,
): Promise<{ url: string; server: Server; calls: () => number }> {
  let calls = 0;
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const text = answer(++calls, body);
    if (text === null) request.socket.destroy();
    else response.end(text);
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server, calls: () => calls };
}

const ok = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { fine: true } });

test('a connection that dies under a request is tried once more, and only once', async () => {
  const once = await serve((call) => (call === 1 ? null : ok));
  assert.deepEqual(await connectRpc(once.url).call('health'), { fine: true });
  assert.equal(once.calls(), 2);
  once.server.close();

  const never = await serve(() => null);
  await assert.rejects(
    connectRpc(never.url).call('health'),
    (error) => error instanceof RpcError && error.code === 'unreachable',
  );
  assert.equal(never.calls(), 2);
  never.server.close();
});

test('an error of the server is an error with its code, not asked again', async () => {
  const { url, server, calls } = await serve(() =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      error: { code: -32603, message: 'Internal error', data: 'tx (AB) not found' },
    }),
  );
  const rpc = connectRpc(url);
  await assert.rejects(
    rpc.call('block'),
    (error) => error instanceof RpcError && error.code === -32603 && /not found/.test(error.message),
  );
  assert.equal(calls(), 1);
  assert.equal(await rpc.tx(new Uint8Array(32)), null);
  server.close();
});

test('attack: a server whose answer never ends is left, and not asked a second time', async () => {
  let calls = 0;
  const server = createServer((_, response) => {
    calls++;
    const chunk = Buffer.alloc(1 << 20, ' ');
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const rpc = connectRpc(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await assert.rejects(
    rpc.call('status'),
    (error) => error instanceof RpcError && error.cause instanceof MalformedError,
  );
  assert.equal(calls, 1);
  server.closeAllConnections();
  server.close();
});

test('attack: events and answers of another shape do not bring the process down', async () => {
  const frame = (text: string): Buffer =>
    Buffer.concat([Buffer.from([0x81, Buffer.byteLength(text)]), Buffer.from(text)]);
  const event = JSON.stringify({ result: { data: { value: { header: { height: '7' } } } } });
  const { url, server } = await serve(() =>
    JSON.stringify({ result: { height: '1', tx_result: { events: [null, { attributes: 5 }] } } }),
  );
  const sockets: Socket[] = [];
  server.on('upgrade', (request, socket: Socket) => {
    sockets.push(socket);
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.on('error', () => undefined);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    );
    for (const text of ['not JSON', 'null', '[]', '{"result":5}', event]) socket.write(frame(text));
  });
  const rpc = connectRpc(url);
  const height = await new Promise<number>((settle) => rpc.onNewBlock(settle));
  assert.equal(height, 7);
  const result = await rpc.tx(new Uint8Array(32));
  assert.deepEqual(
    result?.events.map(({ attributes }) => attributes),
    [{}, {}],
  );
  rpc.close();
  for (const socket of sockets) socket.destroy();
  server.closeAllConnections();
  server.close();
});

test('base64url has one spelling for each byte string', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      assert.deepEqual(fromBase64url(base64url(bytes)), bytes);
      assert.deepEqual(fromBase64(base64(bytes)), bytes);
      assert.equal(base64url(bytes), Buffer.from(bytes).toString('base64url'));
      assert.equal(base64(bytes), Buffer.from(bytes).toString('base64'));
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'Aa09+/-_=Q \n\u0141') }), (text) => {
      for (const [decoded, encoded] of [
        [fromBase64, base64],
        [fromBase64url, base64url],
      ] as const) {
        let bytes: Uint8Array;
        try {
          bytes = decoded(text);
        } catch (error) {
          assert.ok(error instanceof MalformedError);
          continue;
        }
        assert.equal(encoded(bytes), text);
      }
    }),
  );
  for (const text of ['AA', 'AAA', 'AB==', 'AAB=', 'A===', '====', 'AA=', '-_AA', 'AA==AA==', 'AAAA=']) {
    assert.throws(() => fromBase64(text), MalformedError, JSON.stringify(text));
  }
  for (const text of ['AA==', 'A+', 'A/', 'AB', 'A', ' AA', 'AA\n']) {
    assert.throws(() => fromBase64url(text), MalformedError, JSON.stringify(text));
  }
});

const queryAnswer = (id: unknown, value: string): object => ({
  jsonrpc: '2.0',
  id,
  result: { response: { code: 0, value: Buffer.from(value).toString('base64'), height: '5' } },
});

test('queries of one turn go out together, ten at most, and each gets its own answer', async () => {
  const sizes: number[] = [];
  const { url, server } = await serve((_, body) => {
    const parsed = JSON.parse(body) as unknown;
    const requests = (Array.isArray(parsed) ? parsed : [parsed]) as {
      id: number;
      params: { data: string };
    }[];
    sizes.push(requests.length);
    const answers = requests.map(({ id, params }) => queryAnswer(id, `of ${params.data}`)).reverse();
    return JSON.stringify(Array.isArray(parsed) ? answers : answers[0]);
  });
  const rpc = connectRpc(url);
  const keys = Array.from({ length: 23 }, (_, i) => Uint8Array.of(i));
  const results = await Promise.all(keys.map((key) => rpc.query('/record', key)));
  results.forEach(({ value }, i) => {
    assert.equal(Buffer.from(value).toString(), `of ${i.toString(16).padStart(2, '0')}`);
  });
  assert.deepEqual(sizes, [10, 10, 3]);
  const alone = await rpc.query('/record', Uint8Array.of(9));
  assert.equal(Buffer.from(alone.value).toString(), 'of 09');
  assert.deepEqual(sizes, [10, 10, 3, 1]);
  server.close();
});

test('attack: a batch that is refused, incomplete, doubled or no list fails its queries and nothing else', async () => {
  const both = (rpc: ReturnType<typeof connectRpc>) =>
    Promise.allSettled([rpc.query('/record', Uint8Array.of(1)), rpc.query('/record', Uint8Array.of(2))]);
  const bodies: readonly [(ids: readonly number[]) => unknown, readonly string[]][] = [
    [() => ({ id: null, error: { code: -32600, message: 'no batches here' } }), ['rejected', 'rejected']],
    [() => 'nonsense', ['rejected', 'rejected']],
    [() => [], ['rejected', 'rejected']],
    [() => [null, 5, { id: 'x' }], ['rejected', 'rejected']],
    [([first]) => [queryAnswer(first, 'a')], ['fulfilled', 'rejected']],
    [
      ([first, second]) => [queryAnswer(second, 'b'), { id: first, error: { code: 7, message: 'no' } }],
      ['rejected', 'fulfilled'],
    ],
  ];
  for (const [answer, states] of bodies) {
    const { url, server } = await serve((_, body) =>
      JSON.stringify(answer((JSON.parse(body) as { id: number }[]).map(({ id }) => id))),
    );
    const results = await both(connectRpc(url));
    server.close();
    assert.deepEqual(
      results.map(({ status }) => status),
      states,
    );
    for (const result of results) {
      if (result.status === 'rejected') assert.ok(result.reason instanceof RpcError, String(result.reason));
    }
  }
});
