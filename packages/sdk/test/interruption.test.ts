/** Connections that break over real sockets, and answers that are none: what the caller is told, and what is left to do. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { toHex, utf8Encode } from '@haca/primitives';
import { credit, LANES_PER_CHANNEL_AND_KEY } from '@haca/protocol';
import { type ChatOptions, connectNode, type Haca, NodeError, VerificationError } from '@haca/sdk';
import { startLocalProxy } from '@haca/sdk/local-proxy';
import { type FakeNode, MODEL_NAME, startFakeNetwork, WORDS } from './fake-node.ts';
import { openTestClient } from './test-client.ts';

const TEXT = WORDS.join('');

/** What happens to the connection of an inference, and after how many bytes of the body; before the headers where null. */
interface Fault {
  readonly kind: 'break' | 'hang';
  readonly afterBytes: number | null;
}

/** In place of what the node answers to requests whose path begins so. */
interface Page {
  readonly path: string;
  readonly status: number;
  readonly text: string;
}

interface Front {
  readonly node: FakeNode;
  /** Of every connection until it is taken away. */
  fault: Fault | null;
  page: Page | null;
  /** Called when a connection hangs. */
  onHang: () => void;
  readonly connections: () => number;
}

const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
});

/** The fake node behind a real server, whose connections end as a test says. */
async function startFront(): Promise<Front> {
  const inner = startFakeNetwork();
  let connections = 0;
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const isPost = request.method === 'POST';
    const answer = await inner.fetch(`${inner.url}${request.url}`, {
      method: request.method ?? 'GET',
      headers: request.headers as Record<string, string>,
      ...(isPost ? { body: new Uint8Array(Buffer.concat(chunks)) } : {}),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    const { fault, page } = front;
    if (isPost) connections++;
    if (page !== null && request.url?.startsWith(page.path) === true) {
      response.writeHead(page.status, { 'content-type': 'text/html' }).end(page.text);
      return;
    }
    if (!isPost || fault === null) {
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
      return;
    }
    if (fault.afterBytes === null) {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, {
      ...Object.fromEntries(answer.headers),
      'content-length': body.length,
    });
    response.write(body.subarray(0, fault.afterBytes), () => {
      if (fault.kind === 'break') request.socket.destroy();
      else front.onHang();
    });
  };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const through: typeof fetch = (input, init) => fetch(String(input).replace(inner.url, base), init);
  const front: Front = {
    node: { ...inner, fetch: through },
    fault: null,
    page: null,
    onHang: () => undefined,
    connections: () => connections,
  };
  // Lies are told by the node itself, behind the front.
  Object.defineProperty(front.node, 'lies', { get: () => inner.lies });
  return front;
}

const failureOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (e: unknown) => e,
  );

const post = (haca: Haca, stream: boolean, signal: AbortSignal): Promise<Response> =>
  haca.fetch(`${haca.baseUrl}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: MODEL_NAME, messages: [], stream }),
    signal,
  });

const FORMS: readonly (readonly [string, Partial<ChatOptions>])[] = [
  ['whole', {}],
  ['streamed', { onText: () => undefined }],
];

for (const [form, more] of FORMS) {
  test(`a connection that breaks before any answer is E_UNREACHABLE, and the same request later (${form})`, async () => {
    const front = await startFront();
    const haca = await openTestClient(front.node);
    front.fault = { kind: 'break', afterBytes: null };
    const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
    assert.ok(error instanceof NodeError, String(error));
    assert.equal(error.code, 'E_UNREACHABLE');
    assert.match(error.message, /node\.test did not answer.*the same request/);
    front.fault = null;
    const { text } = await haca.chat({ prompt: 'one', ...more });
    assert.deepEqual([text, front.node.executions()], [TEXT, 1]);
  });

  test(`a connection that breaks in the middle says who failed, what came and what is left to do (${form})`, async () => {
    const front = await startFront();
    const { node } = front;
    const haca = await openTestClient(node);
    front.fault = { kind: 'break', afterBytes: 250 };
    const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
    assert.ok(error instanceof NodeError, String(error));
    assert.deepEqual([error.code, error.status], ['E_INTERRUPTED', null]);
    assert.match(error.message, /node test node at https:\/\/node\.test broke in the middle of the answer/);
    assert.match(
      error.message,
      form === 'whole' ? /: \d+ bytes came\./ : /: \d events \(\d+ bytes\) came, \d of them/,
    );
    assert.match(
      error.message,
      /no check did\. Sent again by this client within ten minutes it is the same request/,
    );
    assert.ok(error.cause instanceof Error, 'what the platform said is kept');
    assert.equal(front.connections(), 3, 'it was asked for again before anybody was told');
    // The receipt is there whatever became of the connection.
    assert.ok(
      error.answerId !== null && error.message.endsWith(`https://node.test/v1/receipts/${error.answerId}`),
    );
    const { receipt } = await connectNode(node.url, node.fetch).receipt(error.answerId);
    assert.equal(toHex(receipt.hash), toHex(node.receipts[0]?.hash ?? new Uint8Array()));
    front.fault = null;
    const { text, answer } = await haca.chat({ prompt: 'one', ...more });
    assert.ok(answer.verdict.ok);
    assert.deepEqual([text, node.executions(), answer.id], [TEXT, 1, error.answerId]);
  });

  test(`who calls it off is told its own reason, not that a node failed (${form})`, async () => {
    const front = await startFront();
    const haca = await openTestClient(front.node);
    front.fault = { kind: 'hang', afterBytes: 250 };
    const controller = new AbortController();
    const reason = new Error('enough');
    front.onHang = () => controller.abort(reason);
    const error = await failureOf(
      (async () => (await post(haca, form === 'streamed', controller.signal)).text())(),
    );
    assert.equal(error, reason);
    assert.equal(front.connections(), 1, 'and nobody is asked again');
  });
}

test('streams that were called off keep no lane, though the node may take a while to notice', async () => {
  const node = startFakeNetwork();
  const signals: AbortSignal[] = [];
  let isAtWork = false;
  const hanging: typeof fetch = async (input, init) => {
    const honest = await node.fetch(input, init);
    if (isAtWork && String(input).includes('/v1/lanes/')) {
      return Response.json({ ...((await honest.json()) as object), reserved: '1' });
    }
    const { signal } = init ?? {};
    if (init?.method !== 'POST' || !signal || signals.length === LANES_PER_CHANNEL_AND_KEY) return honest;
    signals.push(signal);
    const bytes = new Uint8Array(await honest.arrayBuffer());
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(bytes.slice(0, 250));
        signal.addEventListener('abort', () => controller.error(signal.reason));
      },
    });
    return new Response(body, honest);
  };
  const haca = await openTestClient({ ...node, fetch: hanging });
  const reason = new Error('enough');
  const streams = Array.from({ length: LANES_PER_CHANNEL_AND_KEY }, (_, i) => {
    const controller = new AbortController();
    const onText = () => setTimeout(() => controller.abort(reason), 500);
    return failureOf(haca.chat({ prompt: `stream ${i}`, onText, signal: controller.signal }));
  });
  assert.ok((await Promise.all(streams)).every((error) => error === reason));
  assert.equal(signals.length, LANES_PER_CHANNEL_AND_KEY);
  isAtWork = true;
  setTimeout(() => {
    isAtWork = false;
  }, 200);
  const { text, answer } = await haca.chat({ prompt: 'next' });
  assert.ok(answer.verdict.ok);
  assert.equal(text, TEXT);
});

test('a reader of the raw stream and whoever waits for the answer get the same typed error', async () => {
  const front = await startFront();
  const haca = await openTestClient(front.node);
  front.fault = { kind: 'break', afterBytes: 250 };
  const response = await post(haca, true, new AbortController().signal);
  const ended = haca.answerOf(response)?.completed as Promise<unknown>;
  const error = await failureOf(response.text());
  assert.ok(error instanceof NodeError && error.code === 'E_INTERRUPTED', String(error));
  assert.equal(await failureOf(ended), error);
});

for (const breakAfterBlocks of [1, undefined]) {
  const how = breakAfterBlocks === undefined ? 'on its own' : 'where the connection broke';
  test(`a node that stops a stream ${how}`, async () => {
    const node = startFakeNetwork();
    const haca = await openTestClient(node);
    const stopped: unknown[] = [];
    node.lies.content = (events) => events.slice(0, 2);
    node.lies.receipt = (receipt) => ({ ...receipt, outcome: 'aborted' });
    if (breakAfterBlocks !== undefined) node.lies.breakAfterBlocks = breakAfterBlocks;
    const error = await failureOf(haca.chat({ prompt: 'one', onText: (text) => stopped.push(text) }));
    assert.deepEqual(stopped, WORDS.slice(0, 2));
    if (breakAfterBlocks === undefined) {
      assert.ok(
        error instanceof VerificationError,
        'what no broken connection explains stays a failed check',
      );
    } else {
      assert.ok(error instanceof NodeError, String(error));
      assert.equal(error.code, 'E_ABORTED');
      const { amount } = node.receipts[0]?.value ?? {};
      assert.match(error.message, /broke in the middle of the answer, and the node stopped there\./);
      assert.ok(
        error.message.includes(`the node signed 4 output tokens for ${amount} base units of asset 1`),
      );
      assert.ok(error.message.endsWith(`/v1/receipts/${error.answerId}`));
    }
    node.lies.content = (events) => events;
    node.lies.receipt = (receipt) => receipt;
    const { text } = await haca.chat({ prompt: 'one', onText: () => undefined });
    assert.deepEqual([text, node.executions()], [TEXT, 2]);
  });
}

test('an aborted receipt excuses nothing else: a false event, price or signature is withheld', async () => {
  const forger = { sign: () => new Uint8Array(64) };
  const lies: readonly FakeNode['lies'][] = [
    { signer: forger },
    { receipt: (receipt) => ({ ...receipt, outcome: 'aborted', amount: credit(receipt.amount + 1n) }) },
    { receipt: (receipt) => ({ ...receipt, outcome: 'aborted', responseHash: new Uint8Array(32) }) },
    { receipt: (receipt) => ({ ...receipt, outcome: 'failed' }) },
  ];
  for (const lie of lies) {
    const node = startFakeNetwork();
    const haca = await openTestClient(node, { policy: { streamRelease: 'verified' } });
    node.lies = {
      receipt: (receipt) => ({ ...receipt, outcome: 'aborted' }),
      content: (events) => events.slice(0, 2),
      breakAfterBlocks: 1,
      ...lie,
    };
    const error = await failureOf(haca.chat({ prompt: 'one', onText: () => assert.fail('handed over') }));
    assert.ok(error instanceof VerificationError, String(error));
  }
});

test('what came and what was handed over is counted on the connection that brought the most', async () => {
  const node = startFakeNetwork();
  let connections = 0;
  const breaking: typeof fetch = async (input, init) => {
    const honest = await node.fetch(input, init);
    if (init?.method !== 'POST') return honest;
    const blocks = (await honest.text()).split(/(?<=\n\n)/).map((block) => utf8Encode(block));
    const left = blocks.slice(0, connections++ === 1 ? 2 : 1);
    sizes.push(left.reduce((sum, { length }) => sum + length, 0));
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const block = left.shift();
        if (block === undefined) controller.error(new TypeError('terminated'));
        else controller.enqueue(block);
      },
    });
    return new Response(body, honest);
  };
  const sizes: number[] = [];
  const haca = await openTestClient({ ...node, fetch: breaking });
  const error = await failureOf(haca.chat({ prompt: 'one', onText: () => undefined }));
  assert.ok(error instanceof NodeError, String(error));
  assert.equal(sizes.length, 3);
  assert.ok(
    error.message.includes(`: 2 events (${sizes[1]} bytes) came, 2 of them were handed over`),
    error.message,
  );
});

test('a stream that the node will not go on with is interrupted too, with what the node says of it', async () => {
  const front = await startFront();
  const haca = await openTestClient(front.node);
  front.fault = { kind: 'break', afterBytes: 250 };
  front.node.lies.refuse = (request) => {
    if (request === 1) return null;
    front.fault = null;
    return { status: 409, code: 'E_IDEMPOTENCY' };
  };
  const error = await failureOf(haca.chat({ prompt: 'one', onText: () => undefined }));
  assert.ok(error instanceof NodeError, String(error));
  assert.equal(error.code, 'E_INTERRUPTED');
  assert.match(error.message, /asked again: E_IDEMPOTENCY: refused/);
  assert.ok(error.cause instanceof NodeError);
  assert.deepEqual([error.cause.code, error.cause.status], ['E_IDEMPOTENCY', 409]);
});

test('the official status of an open outcome is none: the fetch throws, and the local endpoint names the code', async () => {
  const front = await startFront();
  const haca = await openTestClient(front.node);
  front.fault = { kind: 'break', afterBytes: 20 };
  const error = await failureOf(post(haca, false, new AbortController().signal));
  assert.ok(error instanceof NodeError && error.code === 'E_INTERRUPTED', String(error));
  const proxy = await startLocalProxy(haca, { port: 0 });
  try {
    const response = await fetch(`${proxy.url}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: MODEL_NAME, messages: [], stream: false }),
    });
    const { error: told } = (await response.json()) as { error: { code: string } };
    assert.deepEqual([response.status, told.code], [502, 'E_INTERRUPTED']);
  } finally {
    await proxy.close();
  }
});

test('an answer that is signed but no chat completion is the fault of the node, and typed', async () => {
  for (const content of ['not JSON', 'null', '[]', '7', '"text"', '']) {
    for (const [form, more] of FORMS) {
      const node = startFakeNetwork();
      const haca = await openTestClient(node);
      node.lies.content = (events) => [
        utf8Encode(form === 'whole' ? content : `data: ${content}\n\n`),
        ...events.slice(1),
      ];
      const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
      assert.ok(error instanceof NodeError, `${form} ${content}: ${String(error)}`);
      assert.equal(error.code, 'E_MALFORMED');
      assert.match(error.message, /node test node sent an answer that is no chat completion/);
    }
  }
});

test('an event that somebody on the way put into a stream is a failed check, not the fault of the node', async () => {
  const node = startFakeNetwork();
  const injecting: typeof fetch = async (input, init) => {
    const honest = await node.fetch(input, init);
    if (init?.method !== 'POST') return honest;
    const [first, ...rest] = (await honest.text()).split(/(?<=\n\n)/);
    const blocks = [first as string, 'data: not JSON\n\n', ...rest].map((block) => utf8Encode(block));
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const block = blocks.shift();
        if (block === undefined) controller.close();
        else controller.enqueue(block);
      },
    });
    return new Response(body, honest);
  };
  const haca = await openTestClient({ ...node, fetch: injecting });
  const heard: string[] = [];
  const error = await failureOf(haca.chat({ prompt: 'one', onText: (text) => heard.push(text) }));
  assert.ok(error instanceof VerificationError, String(error));
  assert.deepEqual(heard, WORDS.slice(0, heard.length));
});

test('members of a chat completion that are of another kind are left out, never a crash', async () => {
  for (const choices of [
    'null',
    '5',
    '[]',
    '[null]',
    '[5]',
    '[{"message":null,"delta":null}]',
    '[{"message":7,"delta":"x"}]',
  ]) {
    for (const [form, more] of FORMS) {
      const node = startFakeNetwork();
      const haca = await openTestClient(node);
      const said = `{"choices":${choices}}`;
      node.lies.content = (events) =>
        form === 'whole'
          ? [utf8Encode(said)]
          : [utf8Encode(`data: ${said}\n\n`), events.at(-1) as Uint8Array];
      const { text, finishReason } = await haca.chat({ prompt: 'one', ...more });
      assert.deepEqual([text, finishReason], ['', null], `${form} ${choices}`);
    }
  }
});

test('whatever a proxy in front of a node answers with: an error of the node by its status', async () => {
  for (const status of [403, 404, 500, 502, 599, 600, 999]) {
    for (const text of ['<html>Bad Gateway</html>', '', '[]', '{"error":null}']) {
      const front = await startFront();
      const haca = await openTestClient(front.node);
      front.page = { path: '/v1/chat/completions', status, text };
      for (const [form, more] of FORMS) {
        const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
        assert.ok(error instanceof NodeError, `${status} ${form}: ${String(error)}`);
        assert.equal(error.code, `HTTP_${status > 599 ? 502 : status}`);
      }
      front.page = { path: '/v1/lanes/', status, text };
      const error = await failureOf(haca.chat({ prompt: 'two' }));
      assert.ok(error instanceof NodeError, String(error));
      front.page = null;
      assert.equal((await haca.chat({ prompt: 'three' })).text, TEXT);
    }
  }
});

test('what became of a connection is not for a node to say: its code for it is none', async () => {
  for (const code of ['E_INTERRUPTED', 'E_UNREACHABLE', 'E_ABORTED']) {
    for (const [form, more] of FORMS) {
      const front = await startFront();
      const haca = await openTestClient(front.node);
      const text = JSON.stringify({ error: { code, message: 'sent again it is the same request' } });
      front.page = { path: '/v1/chat/completions', status: 502, text };
      const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
      assert.ok(error instanceof NodeError, String(error));
      assert.deepEqual([error.code, error.status], ['HTTP_502', 502], form);
      const response = await post(haca, form === 'streamed', new AbortController().signal);
      const { error: told } = (await response.json()) as { error: { code: string } };
      assert.deepEqual([response.status, told.code], [502, 'HTTP_502']);
      front.page = { path: '/v1/lanes/', status: 502, text };
      const answered = await failureOf(post(haca, false, new AbortController().signal));
      assert.equal(answered, null, 'a node that refuses to tell the state of a lane leaves nothing open');
    }
  }
});

const UNREAD = [
  ['the page of a proxy', '<html>Bad Gateway</html>', 502],
  ['a node that starts', '{"error":{"code":"E_BUSY","message":"It is starting."}}', 503],
] as const;

for (const [[who, said, status], [form, more]] of UNREAD.flatMap((one) =>
  FORMS.map((other) => [one, other] as const),
)) {
  test(`HTTP-43 ${who} decides nothing about a request whose connection broke before (${form})`, async () => {
    const node = startFakeNetwork();
    let connections = 0;
    let isAway = true;
    const restarting: typeof fetch = async (input, init) => {
      if (init?.method !== 'POST' || !isAway) return node.fetch(input, init);
      if (connections++ > 0) return new Response(said, { status });
      const honest = await node.fetch(input, init);
      const bytes = new Uint8Array(await honest.arrayBuffer());
      const chunks = [bytes.slice(0, 100)];
      const body = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          const chunk = chunks.shift();
          if (chunk === undefined) controller.error(new TypeError('terminated'));
          else controller.enqueue(chunk);
        },
      });
      return new Response(body, honest);
    };
    const haca = await openTestClient({ ...node, fetch: restarting });
    for (const codes of [['E_INTERRUPTED', 'E_UNREACHABLE'], ['E_UNREACHABLE']]) {
      const error = await failureOf(haca.chat({ prompt: 'one', ...more }));
      assert.ok(error instanceof NodeError, String(error));
      assert.ok(codes.includes(error.code), String(error));
    }
    isAway = false;
    const { text, answer } = await haca.chat({ prompt: 'one', ...more });
    assert.ok(answer.verdict.ok);
    assert.deepEqual([text, node.executions()], [TEXT, 1], 'one request, paid once');
  });
}

for (const [form, more] of FORMS) {
  test(`HTTP-43 an answer that broke off and that the node no longer keeps is not paid for twice (${form})`, async () => {
    const node = startFakeNetwork();
    let broken: string | null = null;
    const forgetful: typeof fetch = async (input, init) => {
      if (init?.method !== 'POST') return node.fetch(input, init);
      const voucher = new Headers(init.headers).get('x-haca-voucher');
      if (broken === voucher) {
        const error = { message: 'not kept', code: 'E_IDEMPOTENCY' };
        return Response.json({ error, haca: { receiptId: 'rcpt_gone' } }, { status: 409 });
      }
      const honest = await node.fetch(input, init);
      if (broken !== null) return honest;
      broken = voucher;
      const body = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.error(new TypeError('terminated')),
      });
      return new Response(body, honest);
    };
    const haca = await openTestClient({ ...node, fetch: forgetful });
    const ask = () => failureOf(haca.chat({ prompt: 'one', ...more }));
    let error = await ask();
    // A stream is told of it when it is asked for again.
    if (error instanceof NodeError && error.code === 'E_INTERRUPTED') error = await ask();
    assert.ok(error instanceof NodeError, String(error));
    assert.deepEqual([error.code, error.status, node.executions()], ['E_IDEMPOTENCY', 409, 1]);
    assert.match(error.message, /answered and charged.*not kept.*new request.*receipts\/rcpt_gone/);
    assert.equal((await haca.chat({ prompt: 'one', ...more })).text, TEXT, 'a request of its own');
    assert.equal(node.executions(), 2);
  });
}

test('the page of a proxy in front of a node is an error of the node by its status', async () => {
  const page: typeof fetch = async () => new Response('<html>Bad Gateway</html>', { status: 502 });
  const api = connectNode('https://node.test', page);
  for (const ask of [api.info, () => api.receipt('rcpt_0'), () => api.proofTransaction('rcpt_0')]) {
    await assert.rejects(ask(), { name: 'NodeError', code: 'HTTP_502', status: 502 });
  }
});
