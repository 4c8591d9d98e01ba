/** Sealed requests from the client's side: what leaves it, and what of an answer it takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { base64url } from '@haca/platform/rpc';
import {
  type AnswerSealer,
  makeSealingKey,
  openRequest,
  SEALED_HEADER,
  SEALED_TYPE,
  type SealingKey,
} from '@haca/platform/sealing';
import { toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import { requestHashOf } from '@haca/protocol';
import { type Haca, type Policy, VerificationError } from '@haca/sdk';
import { CHAIN_ID, type FakeNode, MODEL_NAME, startFakeNetwork, WORDS } from './fake-node.ts';
import { openTestClient } from './test-client.ts';

const PROMPT = 'what nobody else may read';

/** What a relay does to the sealed answer on its way; it can't read it. */
interface Relay {
  response?: (sealed: Response) => Response | Promise<Response>;
  /** Answers in place of the node. */
  instead?: (bytes: Uint8Array) => Response | null;
  /** Everything that passed by, both ways, as text. */
  seen: string;
  bodies: Uint8Array[];
}

interface SealedNetwork {
  readonly node: FakeNode;
  readonly relay: Relay;
  /** What requests are opened with. */
  key: SealingKey;
  readonly plainBodies: Uint8Array[];
  readonly open: (policy?: Partial<Policy>) => Promise<Haca>;
}

/** The fake node behind a front that opens and seals as a node does, and a relay before that. */
async function startSealedNetwork(): Promise<SealedNetwork> {
  const key = await makeSealingKey();
  const node = startFakeNetwork({ hpkePublicKey: key.publicKey });
  const relay: Relay = { seen: '', bodies: [] };
  const plainBodies: Uint8Array[] = [];
  const front: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    if (headers.get('content-type') !== SEALED_TYPE) {
      if (init?.method === 'POST') plainBodies.push(init.body as Uint8Array);
      return node.fetch(input, init);
    }
    const sealed = init?.body as Uint8Array;
    const answered = relay.instead?.(sealed) ?? null;
    if (answered !== null) return answered;
    const place = {
      path: new URL(String(input)).pathname,
      voucher: headers.get('x-haca-voucher'),
      idempotencyKey: headers.get('x-haca-idempotency-key'),
    };
    const subject = { chainId: CHAIN_ID, keyId: node.keyId };
    const opened = await openRequest(network.key, subject, place, sealed).catch(() => null);
    if (opened === null) return errorOf('E_SEALED');
    plainBodies.push(opened.body);
    const plain = await node.fetch(input, { ...init, body: opened.body as Uint8Array<ArrayBuffer> });
    return sealResponse(plain, opened.answer);
  };
  const recording: typeof fetch = async (input, init) => {
    if (init?.body instanceof Uint8Array) {
      relay.bodies.push(init.body);
      relay.seen += Buffer.from(init.body).toString('latin1');
    }
    relay.seen += [...new Headers(init?.headers)].join('\n');
    const response = await front(input, init);
    const changed = response.headers.has(SEALED_HEADER) ? await relay.response?.(response) : undefined;
    const passed = changed ?? response;
    if (init?.method !== 'POST') return passed;
    const [mine, theirs] = passed.body?.tee() ?? [null, null];
    relay.seen += [...passed.headers].join('\n');
    if (mine !== null) {
      void new Response(mine).text().then(
        (text) => {
          relay.seen += text;
        },
        () => undefined,
      );
    }
    return new Response(theirs, passed);
  };
  const network: SealedNetwork = {
    node,
    relay,
    key,
    plainBodies,
    open: (policy = {}) => openTestClient({ ...node, fetch: recording }, { policy }),
  };
  return network;
}

function errorOf(code: string): Response {
  return new Response(JSON.stringify({ error: { message: 'refused', code } }), {
    status: 400,
    headers: { 'content-type': 'application/json' },
  });
}

async function sealResponse(plain: Response, answer: AnswerSealer): Promise<Response> {
  const headers = new Headers(plain.headers);
  headers.set(SEALED_HEADER, base64url(answer.nonce));
  if (plain.headers.get('content-type') !== 'text/event-stream') {
    const sealer = answer.begin(plain.status, 'body');
    headers.set('content-type', SEALED_TYPE);
    const frame = await sealer.seal(new Uint8Array(await plain.arrayBuffer()), true);
    return new Response(frame as Uint8Array<ArrayBuffer>, { status: plain.status, headers });
  }
  const sealer = answer.begin(plain.status, 'stream');
  const reader = (plain.body as ReadableStream<Uint8Array>).getReader();
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await reader.read();
      const frame = await sealer.seal(value ?? new Uint8Array(0), done);
      controller.enqueue(utf8Encode(`data: ${base64url(frame)}\n\n`));
      if (done) controller.close();
    },
  });
  return new Response(body, { status: plain.status, headers });
}

const chat = (haca: Haca, more: object = {}) => haca.chat({ prompt: PROMPT, ...more });
const streamed = { onText: () => undefined };
const isRefused = (id: string, code: string) => (error: unknown) =>
  error instanceof VerificationError &&
  error.verdict.checks.some((each) => each.id === id && each.code === code && each.status === 'failed');

for (const [form, more] of [
  ['whole', {}],
  ['streamed', streamed],
] as const) {
  test(`HTTP-108 a relay sees nothing of prompt and answer, and the answer verifies (${form})`, async () => {
    const { node, relay, open, plainBodies } = await startSealedNetwork();
    const haca = await open();
    const { text, answer } = await chat(haca, more);
    assert.equal(text, WORDS.join(''));
    assert.ok(answer.verdict.ok);
    assert.ok(answer.verdict.checks.some(({ id, status }) => id === 'request.sealed' && status === 'passed'));
    const [body] = plainBodies;
    assert.ok(body !== undefined && utf8Decode(body).includes(PROMPT));
    assert.deepEqual(answer.receipt.value.requestHash, requestHashOf(body));
    await new Promise((settle) => setTimeout(settle, 0));
    for (const secret of [PROMPT, 'Hello', 'choices', 'messages', base64url(utf8Encode(PROMPT))]) {
      assert.ok(!relay.seen.includes(secret), secret);
    }
    assert.equal(node.executions(), 1);
  });

  test(`HTTP-107 the hash in the voucher gives no guessed prompt away (${form})`, async () => {
    const { open, plainBodies } = await startSealedNetwork();
    await chat(await open(), more);
    await chat(await open(), more);
    const [one, two] = plainBodies as [Uint8Array, Uint8Array];
    const text = utf8Decode(one);
    assert.match(text, /\}[ \t\n\r]{64}$/);
    assert.deepEqual(JSON.parse(text), JSON.parse(utf8Decode(two)));
    assert.notEqual(toHex(requestHashOf(one)), toHex(requestHashOf(two)));
    assert.notEqual(toHex(requestHashOf(one)), toHex(requestHashOf(utf8Encode(text.trimEnd()))));
  });

  test(`HTTP-108 an answer in the clear to a sealed request is withheld (${form})`, async () => {
    const { node, relay, open } = await startSealedNetwork();
    relay.instead = () =>
      new Response('{"choices":[]}', { status: 200, headers: { 'content-type': 'application/json' } });
    await assert.rejects(chat(await open(), more), isRefused('response.sealed', 'sealed.missing'));
    assert.equal(node.executions(), 0);
  });
}

test('HTTP-108 no byte of a sealed answer can be changed, and its status neither', async () => {
  const changes: ((sealed: Response) => Response | Promise<Response>)[] = [
    async (sealed) => {
      const bytes = new Uint8Array(await sealed.arrayBuffer());
      bytes[5] = (bytes[5] as number) ^ 1;
      return new Response(bytes, sealed);
    },
    async (sealed) => new Response((await sealed.arrayBuffer()).slice(0, -1), sealed),
    (sealed) => new Response(sealed.body, { status: 201, headers: sealed.headers }),
    (sealed) => new Response(sealed.body, { status: 402, headers: sealed.headers }),
    (sealed) => {
      const headers = new Headers(sealed.headers);
      headers.set(SEALED_HEADER, base64url(new Uint8Array(32)));
      return new Response(sealed.body, { headers });
    },
    (sealed) => {
      const headers = new Headers(sealed.headers);
      headers.set(SEALED_HEADER, '!');
      return new Response(sealed.body, { headers });
    },
  ];
  for (const change of changes) {
    const { relay, open } = await startSealedNetwork();
    relay.response = change;
    const haca = await open();
    await assert.rejects(
      chat(haca),
      (error: unknown) =>
        error instanceof VerificationError &&
        error.verdict.checks.some(({ id, status }) => id === 'response.sealed' && status === 'failed'),
      `${change}`,
    );
  }
});

const editEvents =
  (edit: (events: string[]) => string[]) =>
  async (sealed: Response): Promise<Response> =>
    new Response(edit((await sealed.text()).split(/(?<=\n\n)/)).join(''), sealed);

const EDITS: Readonly<Record<string, (events: string[]) => string[]>> = {
  'left out': ([first, , ...rest]) => [first as string, ...rest],
  swapped: ([first, second, ...rest]) => [second as string, first as string, ...rest],
  repeated: ([first, ...rest]) => [first as string, first as string, ...rest],
  'in the clear': (events) => ['data: {"choices":[{"delta":{"content":"lie"}}]}\n\n', ...events],
  commented: (events) => [': keep-alive\n\n', ...events],
  'cut off in the middle': (events) => events.slice(0, 3),
};

for (const [name, edit] of Object.entries(EDITS)) {
  test(`HTTP-108 events of a sealed stream that are ${name} never end as an answer`, async () => {
    const { relay, open } = await startSealedNetwork();
    relay.response = editEvents(edit);
    let text = '';
    const onText = (piece: string): void => {
      text += piece;
    };
    const result = await chat(await open(), { onText }).catch((error: unknown) => error);
    assert.ok(result instanceof Error, `ended as ${text}`);
    assert.ok(!text.includes('lie') && WORDS.join('').startsWith(text));
  });
}

test('a sealed stream is over with its receipt, as a plain one: without its last frame it is whole and verified', async () => {
  const { relay, open } = await startSealedNetwork();
  relay.response = editEvents((events) => events.slice(0, -1));
  const { text, answer } = await chat(await open(), streamed);
  assert.equal(text, WORDS.join(''));
  assert.ok(answer.verdict.ok);
});

test('a sealed stream that breaks is asked for again, sealed anew, and goes on where it was', async () => {
  const { node, relay, open } = await startSealedNetwork();
  let connections = 0;
  relay.response = (sealed) =>
    connections++ === 0 ? editEvents((events) => events.slice(0, 3))(sealed) : sealed;
  const { text, answer } = await chat(await open(), streamed);
  assert.equal(text, WORDS.join(''));
  assert.ok(answer.verdict.ok);
  assert.equal(node.executions(), 1);
  assert.equal(connections, 2);
  const [first, second] = relay.bodies;
  assert.notDeepEqual(first, second, 'each sending is sealed by itself');
});

for (const [form, more] of [
  ['whole', {}],
  ['streamed', streamed],
] as const) {
  test(`a sealed answer that breaks off for good is an error that says so, and the same request later (${form})`, async () => {
    const { node, relay, open } = await startSealedNetwork();
    relay.response = async (sealed) => {
      const bytes = new Uint8Array(await sealed.arrayBuffer());
      const half = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          controller.enqueue(bytes.slice(0, bytes.length / 2));
          controller.error(new TypeError('terminated'));
        },
      });
      return new Response(half, sealed);
    };
    const haca = await open();
    await assert.rejects(chat(haca, more), { name: 'NodeError', code: 'E_INTERRUPTED' });
    delete relay.response;
    const { text, answer } = await chat(haca, more);
    assert.equal(text, WORDS.join(''));
    assert.ok(answer.verdict.ok);
    assert.equal(node.executions(), 1);
  });
}

test('a changed event of a sealed stream stays a failed check, whatever becomes of the connections after it', async () => {
  const changed = editEvents(([first, ...rest]) => [
    first as string,
    (rest[0] as string).replace(/.{4}\n\n$/, 'AAAA\n\n'),
    ...rest.slice(1),
  ]);
  const afterwards: readonly (() => Response | Error)[] = [
    () => errorOf('E_IDEMPOTENCY'),
    () => new TypeError('fetch failed'),
  ];
  for (const after of afterwards) {
    const { relay, open } = await startSealedNetwork();
    let connections = 0;
    relay.response = (sealed) => {
      connections++;
      return changed(sealed);
    };
    relay.instead = () => {
      if (connections === 0) return null;
      const then = after();
      if (then instanceof Error) throw then;
      return then;
    };
    const haca = await open();
    await assert.rejects(chat(haca, streamed), (error: unknown) => {
      assert.ok(error instanceof VerificationError, String(error));
      return true;
    });
    assert.equal(connections, 1);
  }
});

test('sent again after a broken connection it is the same request, salt and voucher included', async () => {
  const { node, open, plainBodies } = await startSealedNetwork();
  node.lies.breakAfterBlocks = 0;
  const haca = await open();
  setTimeout(() => delete node.lies.breakAfterBlocks, 50);
  const { answer } = await chat(haca);
  assert.ok(answer.verdict.ok);
  assert.equal(node.executions(), 1);
  assert.ok(plainBodies.length > 1);
  assert.equal(new Set(plainBodies.map(toHex)).size, 1);
});

test('HTTP-108 what a node can not open is an error, and never sent in the clear instead', async () => {
  const network = await startSealedNetwork();
  network.key = await makeSealingKey();
  const haca = await network.open();
  const response = await haca.fetch(`${haca.baseUrl}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: MODEL_NAME, messages: [{ role: 'user', content: PROMPT }] }),
  });
  assert.equal(response.status, 400);
  assert.match(await response.text(), /E_SEALED/);
  assert.deepEqual(network.plainBodies, []);
  assert.ok(!network.relay.seen.includes(PROMPT));
});

test('HTTP-108 the key is that of the proven record, whatever the node says of itself', async () => {
  const network = await startSealedNetwork();
  const other = await makeSealingKey();
  network.node.lies.info = (info) => ({ ...info, hpkePublicKey: toHex(other.publicKey) });
  network.node.lies.attestation = (document) => ({ ...document, hpkePublicKey: toHex(other.publicKey) });
  const { answer } = await chat(await network.open());
  assert.ok(answer.verdict.ok);
});

test('the policy says whether requests are sealed', async () => {
  const sealing = await startSealedNetwork();
  await chat(await sealing.open({ seal: 'never' }));
  assert.ok(sealing.relay.seen.includes(PROMPT), 'never');
  assert.ok(!/\s$/.test(utf8Decode(sealing.plainBodies[0] as Uint8Array)), 'no salt without need');

  const plain = startFakeNetwork();
  const { answer } = await chat(await openTestClient(plain));
  assert.ok(answer.verdict.ok, 'when-offered');
  for (const allowUnverified of [false, true]) {
    const strict = await openTestClient(plain, { policy: { seal: 'always', allowUnverified } });
    await assert.rejects(chat(strict), isRefused('request.sealed', 'policy.seal'));
  }
  assert.equal(plain.requests(), 1, 'always: nothing was sent');
});

test('a record with a key that nothing can be sealed to: nothing is sent', async () => {
  const node = startFakeNetwork({ hpkePublicKey: new Uint8Array(32) });
  await assert.rejects(chat(await openTestClient(node)), isRefused('request.sealed', 'sealed.key'));
  assert.equal(node.requests(), 0);
});
