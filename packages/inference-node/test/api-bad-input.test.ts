/** What bad input gets: a named code, with nothing applied and nothing broken for the next request. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { hello, startTestNode, type TestNode } from './test-node.ts';
import { MODEL } from './test-upstream.ts';

let node: TestNode;

before(async () => {
  node = await startTestNode();
});
after(() => node.close());

const USER = [{ role: 'user', content: 'hi' }];

async function post(body: string | Uint8Array, headers: Record<string, string> = {}) {
  const response = await fetch(`${node.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  });
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  return { status: response.status, code: error['code'], param: error['param'], error };
}

test('HTTP-20 bodies that are no chat request: 400, the name of the member, nothing executed', async () => {
  const cases: readonly (readonly [string | object, string | null])[] = [
    ['', null],
    ['{', null],
    ['[]', null],
    ['null', null],
    ['"text"', null],
    [{}, 'model'],
    [{ model: 7, messages: USER }, 'model'],
    [{ model: MODEL }, 'messages'],
    [{ model: MODEL, messages: [] }, 'messages'],
    [{ model: MODEL, messages: 'hi' }, 'messages'],
    [{ model: MODEL, messages: [null] }, 'messages[0].role'],
    [{ model: MODEL, messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
    [{ model: MODEL, messages: [{ role: 'user', content: [7] }] }, 'messages[0].content'],
    [{ model: MODEL, messages: USER, n: 2 }, 'n'],
    [{ model: MODEL, messages: USER, max_tokens: 0 }, 'max_tokens'],
    [{ model: MODEL, messages: USER, max_tokens: 1.5 }, 'max_tokens'],
    [{ model: MODEL, messages: USER, max_completion_tokens: '9' }, 'max_completion_tokens'],
    [{ model: MODEL, messages: USER, temperature: 3 }, 'temperature'],
    [{ model: MODEL, messages: USER, top_p: -0.1 }, 'top_p'],
    [{ model: MODEL, messages: USER, stream: 'yes' }, 'stream'],
    [{ model: MODEL, messages: USER, stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  ];
  const before = node.upstream.count();
  for (const [body, param] of cases) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const got = await post(text);
    assert.deepEqual([got.status, got.code, got.param], [400, 'E_REQUEST', param], text);
  }
  assert.deepEqual((await post(Uint8Array.of(0x7b, 0xff, 0x7d))).code, 'E_REQUEST');
  assert.equal(node.upstream.count(), before);
});

test('HTTP-21 another model is 404 with the names of those that are served', async () => {
  const got = await post(JSON.stringify({ model: 'gpt-nowhere', messages: USER }));
  assert.deepEqual([got.status, got.code, got.param], [404, 'E_MODEL_UNKNOWN', 'model']);
  assert.match(String(got.error['message']), new RegExp(MODEL));
});

test('HTTP-3 a body over 4 MiB is 413, announced or not, and the node goes on', async () => {
  const large = 'x'.repeat(4 * 1024 * 1024 + 1);
  const announced = await post(large);
  assert.deepEqual([announced.status, announced.code], [413, 'E_TOO_LARGE']);
  const unannounced = await fetch(`${node.url}/v1/chat/completions`, {
    method: 'POST',
    body: new Blob([large]).stream(),
    duplex: 'half',
  } as RequestInit);
  assert.equal(unannounced.status, 413);
  assert.equal((await fetch(`${node.url}/health/live`)).status, 200);
});

test('HTTP-2 HTTP-70 paths and methods that do not exist: 404 in the same shape, whatever they look like', async () => {
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/v1'],
    ['GET', '/v1/nothing'],
    ['GET', '/v1/chat/completions'],
    ['POST', '/v1/models'],
    ['DELETE', '/v1/receipts/x'],
    ['GET', '/v1/haca/more'],
  ] as const) {
    const response = await fetch(`${node.url}${path}`, { method });
    const { error } = (await response.json()) as { error: { code: string } };
    assert.deepEqual([response.status, error.code], [404, 'E_REQUEST'], `${method} ${path}`);
  }
  for (const id of ['rcpt_00', `rcpt_${'0'.repeat(32)}`, 'f'.repeat(64), '..%2f..%2fetc', '__proto__']) {
    const response = await fetch(`${node.url}/v1/receipts/${id}`);
    const { error } = (await response.json()) as { error: { code: string } };
    assert.deepEqual([response.status, error.code], [404, 'E_RECEIPT_UNKNOWN'], id);
  }
  assert.equal((await fetch(`${node.url}/v1/models/nope`)).status, 404);
  assert.equal((await fetch(`${node.url}/v1/attestation/${'0'.repeat(64)}`)).status, 404);
});

/** Sends bytes as they are; resolves with the status line. */
function raw(text: string): Promise<string> {
  const { hostname, port } = new URL(node.url);
  return new Promise((settle, fail) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let got = '';
    socket.on('data', (piece) => {
      got += String(piece);
      socket.end();
    });
    socket.on('close', () => settle(got.split('\r\n', 1)[0] ?? ''));
    socket.on('error', fail);
  });
}

test('HTTP-2 request lines no library would send are answered as the caller fault they are', async () => {
  for (const path of ['//', '/%', '/v1/models/%zz', '/v1/receipts/%ff', '*', 'http://elsewhere/v1/nothing']) {
    const status = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    assert.match(status, /^HTTP\/1\.1 4\d\d /, path);
  }
});

test('HTTP-24 an idempotency key is 1 to 64 visible characters', async () => {
  for (const key of ['', 'x'.repeat(65), 'with space']) {
    const got = await post(JSON.stringify(hello()), { 'x-haca-idempotency-key': key });
    assert.equal(got.code, 'E_REQUEST', key);
  }
});

test('HTTP-4 a browser of any origin may call and read our headers, with an Authorization header too', async () => {
  const preflight = await fetch(`${node.url}/v1/chat/completions`, { method: 'OPTIONS' });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /authorization/i);
  const answer = await fetch(`${node.url}/v1/models`);
  assert.match(answer.headers.get('access-control-expose-headers') ?? '', /x-haca-receipt/);
});

test('HTTP-5 any bytes as body and voucher: an error of ours, never a crash', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.base64String({ maxLength: 400 }),
      async (body, voucher) => {
        const got = await post(body, { 'x-haca-voucher': voucher });
        assert.ok(got.status >= 400 && got.status < 500, `${got.status}`);
        assert.match(String(got.code), /^E_/);
      },
    ),
    { numRuns: 60 },
  );
  assert.equal((await fetch(`${node.url}/health/live`)).status, 200);
});

test('HTTP-14 health and metrics', async () => {
  const ready = (await (await fetch(`${node.url}/health/ready`)).json()) as { ready: boolean };
  assert.equal(ready.ready, true);
  const metrics = await (await fetch(`${node.url}/metrics`)).text();
  assert.match(metrics, /^haca_refusals_total\{code="E_REQUEST"\} [1-9]/m);
});
