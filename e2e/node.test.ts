/** One node with two engines, seen from outside: what it charges for, what it refuses, and what a client makes of its answers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { base64url, connectRpc, generateEd25519Signer } from '@haca/platform';
import { bytesEqual, toHex, utf8Encode } from '@haca/primitives';
import {
  credit,
  decodeBundle,
  encodeBundle,
  inputTokensBound,
  RECEIPT,
  requestHashOf,
  reserveFor,
  VOUCHER,
} from '@haca/protocol';
import {
  type Channel,
  connectNode,
  type Haca,
  NodeError,
  openHaca,
  readGenesisFile,
  VerificationError,
  type Wallet,
} from '@haca/sdk/node';
import OpenAI from 'openai';
import { openHistory } from './history.ts';
import { startTestNetwork, type TestNetwork } from './network.ts';
import { echoOf, startUpstream, type UpstreamServer } from './upstream.ts';

const ROOT = resolve(import.meta.dirname, '..');
const TINY_CHAT = 'haca-tiny-chat';
const ECHO = 'somebody-elses-model';
const ALLOCATION = 1_000_000_000n;

let upstream: UpstreamServer;
/** What streams of the upstream server wait for before they end. */
let beforeEnd: Promise<void> = Promise.resolve();
let network: TestNetwork;
let url: string;
/** Takes any assurance, so that both models can be asked. */
let client: Haca;

before(async () => {
  upstream = await startUpstream({ model: ECHO, beforeEnd: () => beforeEnd });
  const engines = [
    { kind: 'onnx', dir: join(ROOT, 'models/tiny-chat') },
    { kind: 'upstream', baseUrl: upstream.baseUrl, models: [{ name: ECHO }] },
  ];
  network = await startTestNetwork({ nodes: 1, nodeConfig: { engines } });
  url = String(network.nodes[0]?.ready()['url']);
  client = await network.openClient({ policy: { acceptSimulated: true, minAssurance: 'proxied' } });
});

after(async () => {
  await network.close();
  await upstream.close();
});

test('an answer of another provider is called proxied, and only who says so gets it', async () => {
  const pieces: string[] = [];
  const { text, answer } = await client.chat({
    model: ECHO,
    prompt: 'one two three',
    onText: (piece) => pieces.push(piece),
  });
  assert.equal(text, echoOf('one two three'));
  assert.ok(pieces.length > 1, 'it came in pieces');
  assert.equal(answer.assurance, 'proxied');
  assert.equal(answer.receipt.value.engine.proxied, true);
  const { steps, verdict } = await answer.until('final');
  assert.ok(verdict.ok);
  assert.equal(steps.at(-1)?.by, 'light-client');
  for (const headers of upstream.seen) {
    assert.ok(
      Object.keys(headers).every((name) => !name.startsWith('x-haca')),
      'payment stays here',
    );
  }

  const strict = await network.openClient();
  await assert.rejects(strict.chat({ model: ECHO, prompt: 'hello' }), isWithheldFor('assurance.minimum'));
  const own = await strict.chat({ model: TINY_CHAT, prompt: 'Hello', maxOutputTokens: 4 });
  assert.equal(own.answer.assurance, 'tee-simulated');
});

test('the official client gets the same words from an upstream engine, whole and streamed', async () => {
  const ai = new OpenAI({ baseURL: client.baseUrl, apiKey: 'haca', fetch: client.fetch });
  const messages = [{ role: 'user' as const, content: 'a b c d' }];
  const whole = await ai.chat.completions.create({ model: ECHO, messages });
  assert.equal(whole.choices[0]?.message.content, echoOf('a b c d'));
  assert.equal(whole.usage?.completion_tokens, 6);
  const wholeAnswer = client.lastAnswer;
  const stream = await ai.chat.completions.create({
    ...{ model: ECHO, messages, max_tokens: 3, stream: true },
    stream_options: { include_usage: true },
  });
  let text = '';
  let finish: string | null | undefined;
  let tokens: number | undefined;
  for await (const { choices, usage } of stream) {
    text += choices[0]?.delta.content ?? '';
    finish = choices[0]?.finish_reason ?? finish;
    tokens = usage?.completion_tokens ?? tokens;
  }
  assert.deepEqual([text, finish, tokens], ['You said: a ', 'length', 3]);
  const streamAnswer = client.lastAnswer;
  for (const answer of [wholeAnswer, streamAnswer]) {
    assert.ok(answer !== null && (await answer.until('final')).verdict.ok);
  }
  assert.notEqual(wholeAnswer, streamAnswer);
});

test('a stream that the way to the node cuts off ends there, is charged that far, and the error says so', async () => {
  const gate = Promise.withResolvers<void>();
  let isFirst = true;
  // A wire that breaks once, after the first bytes of a body.
  const cutting: typeof fetch = async (input, init) => {
    if (init?.method !== 'POST' || !isFirst) return fetch(input, init);
    isFirst = false;
    const wire = new AbortController();
    const response = await fetch(input, { ...init, signal: wire.signal });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    let chunks = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (chunks++ > 0) wire.abort(new TypeError('terminated'));
        const { value } = await reader.read();
        controller.enqueue(value as Uint8Array);
      },
    });
    return new Response(body, response);
  };
  const policy = { acceptSimulated: true, minAssurance: 'proxied' as const };
  const haca = await network.openClient({ policy, fetch: cutting });
  const ask = () => haca.chat({ model: ECHO, prompt: 'one two three', onText: () => undefined });
  beforeEnd = gate.promise;
  const error = await ask().then(
    () => null,
    (caught: unknown) => caught,
  );
  gate.resolve();
  beforeEnd = Promise.resolve();
  assert.ok(error instanceof NodeError && error.answerId !== null, String(error));
  assert.equal(error.code, 'E_ABORTED', error.message);
  const { value } = (await connectNode(url, fetch).receipt(error.answerId)).receipt;
  assert.equal(value.outcome, 'aborted');
  assert.ok(
    error.message.includes(`${value.usage.outputTokens} output tokens for ${value.amount} base units`),
  );
  const { text, answer } = await ask();
  assert.equal(text, echoOf('one two three'));
  assert.equal(answer.receipt.value.seq, value.seq + 1, 'nothing was done in between');
});

function isWithheldFor(checkId: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof VerificationError &&
    error.verdict.checks.some(({ id, status }) => id === checkId && status === 'failed');
}

interface Payment {
  readonly body: Uint8Array;
  readonly channel: Channel;
  readonly keyId: Uint8Array;
  readonly reserve: bigint;
}

/** A request for raw HTTP, with the channel that can pay for it. */
/** Longer than a node is behind its chain on the slowest machine. */
const BEHIND_MAX_MS = 30_000;

async function preparePayment(haca: Haca, content: string): Promise<Payment> {
  const info = await connectNode(url, fetch).info();
  const served = info.models.find(({ name }) => name === ECHO);
  assert.ok(served !== undefined);
  const body = utf8Encode(
    JSON.stringify({ model: ECHO, messages: [{ role: 'user', content }], max_tokens: 8 }),
  );
  const { record } = await haca.directory.config();
  const channel = await (haca.wallet as Wallet).ensureChannel({
    asset: 1,
    deposit: 2n * ALLOCATION,
    nodeId: info.nodeId,
    allocation: ALLOCATION,
    validUntil: haca.chain.head().height + 3 * record.params.withdrawDelay,
    sessionTtlMax: record.params.sessionTtlMax,
  });
  const reserve = reserveFor(served.offer.value, inputTokensBound(body), 8);
  return { body, channel, keyId: served.keyId, reserve };
}

function voucherFor({ channel, keyId, body }: Payment, cumulative: bigint, lane = 0): string {
  const requestHash = requestHashOf(body);
  const expiry = channel.sessionExpiry;
  return base64url(
    channel.signVoucher({ keyId, lane, cumulative: credit(cumulative), requestHash, expiry }).bytes,
  );
}

/** As a client does: a node that has not seen the block yet in which the channel was opened is asked again. */
async function post(body: Uint8Array, voucher: string | null): ReturnType<typeof postOnce> {
  const deadline = Date.now() + BEHIND_MAX_MS;
  for (;;) {
    const answer = await postOnce(body, voucher);
    if (answer.code !== 'E_CHANNEL' || Date.now() > deadline) return answer;
    await new Promise((settle) => setTimeout(settle, 20));
  }
}

async function postOnce(
  body: Uint8Array,
  voucher: string | null,
): Promise<{ readonly status: number; readonly code: string | undefined; readonly response: Response }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(voucher === null ? {} : { 'x-haca-voucher': voucher }),
    },
    body: Buffer.from(body),
  });
  const { error } = (await response.clone().json()) as { error?: { code?: string } };
  return { status: response.status, code: error?.code, response };
}

/** As the node sees it only a block later: asked again until the answer is another one. */
async function untilRefused(body: Uint8Array, voucher: () => string): Promise<string | undefined> {
  const deadline = Date.now() + BEHIND_MAX_MS;
  for (;;) {
    const { code } = await post(body, voucher());
    if (code !== undefined || Date.now() > deadline) return code;
    await new Promise((settle) => setTimeout(settle, 20));
  }
}

test('no work without a voucher that pays for exactly this request', async () => {
  const payer = await network.openClient();
  const payment = await preparePayment(payer, 'paid by hand');
  const { body, reserve } = payment;
  const before = upstream.seen.length;
  const unpaid = await post(body, null);
  assert.deepEqual([unpaid.status, unpaid.code], [402, 'E_VOUCHER_REQUIRED']);
  const noVoucher = await post(body, 'AAAA');
  assert.deepEqual([noVoucher.status, noVoucher.code], [402, 'E_VOUCHER']);
  const tooLittle = await post(body, voucherFor(payment, reserve - 1n));
  assert.deepEqual([tooLittle.status, tooLittle.code], [402, 'E_RESERVE']);
  const forAnother = { ...payment, body: utf8Encode('{}') };
  assert.equal((await post(body, voucherFor(forAnother, reserve))).code, 'E_REQUEST_HASH');
  const forAnotherKey = { ...payment, keyId: new Uint8Array(32).fill(7) };
  assert.equal((await post(body, voucherFor(forAnotherKey, reserve))).code, 'E_VOUCHER');
  const { value } = payment.channel.signVoucher({
    keyId: payment.keyId,
    lane: 0,
    cumulative: credit(reserve),
    requestHash: requestHashOf(body),
    expiry: payment.channel.sessionExpiry,
  });
  const stolen = VOUCHER.sign(value, generateEd25519Signer().sign);
  assert.equal((await post(body, base64url(stolen.bytes))).code, 'E_VOUCHER');
  const more = await post(body, voucherFor(payment, ALLOCATION + reserve));
  assert.deepEqual([more.status, upstream.seen.length], [402, before], 'nothing reached the engine');

  const paid = await post(body, voucherFor(payment, reserve));
  assert.equal(paid.status, 200);
  const receipt = RECEIPT.decode(
    new Uint8Array(Buffer.from(paid.response.headers.get('x-haca-receipt') ?? '', 'base64url')),
  );
  assert.ok(receipt.value.amount > 0n && receipt.value.amount <= reserve);
  assert.equal(upstream.seen.length, before + 1);
  // The same request again is the same answer, and is not charged or computed again.
  const again = await post(body, voucherFor(payment, reserve));
  assert.equal(
    again.response.headers.get('x-haca-receipt-id'),
    paid.response.headers.get('x-haca-receipt-id'),
  );
  assert.equal(upstream.seen.length, before + 1);
});

test('a revoked session and a withdrawn allocation buy nothing more', async () => {
  const payer = await network.openClient();
  const wallet = payer.wallet as Wallet;
  const payment = await preparePayment(payer, 'before it ends');
  const { channelId, session } = payment.channel;
  let lane = 0;
  const fresh = (): string => voucherFor(payment, payment.reserve, lane++);
  assert.equal((await post(payment.body, fresh())).code, undefined);
  await wallet.submit([{ kind: 'revoke-session', channelId, session }]);
  assert.equal(await untilRefused(payment.body, fresh), 'E_SESSION');

  const other = await network.openClient();
  const second = await preparePayment(other, 'before it goes');
  const { nodeId } = await connectNode(url, fetch).info();
  await (other.wallet as Wallet).submit([
    {
      kind: 'request-withdraw',
      channelId: second.channel.channelId,
      nodeId,
      amount: credit(ALLOCATION),
    },
  ]);
  lane = 0;
  const code = await untilRefused(second.body, () => voucherFor(second, second.reserve, lane++));
  assert.equal(code, 'E_INSUFFICIENT');
});

/** The same network's genesis with another validator in it. */
function otherGenesis(): string {
  const text = readFileSync(network.genesisFile, 'utf8');
  const { validators } = JSON.parse(text) as { validators: readonly { pub_key: { value: string } }[] };
  const publicKey = Buffer.from(validators[0]?.pub_key.value ?? '', 'base64');
  const other = Buffer.from(generateEd25519Signer().publicKey);
  const file = join(network.home, 'another-genesis.json');
  writeFileSync(
    file,
    text
      .replaceAll(publicKey.toString('base64'), other.toString('base64'))
      .replaceAll(publicKey.toString('hex'), other.toString('hex')),
  );
  return file;
}

test('a client that trusts another genesis believes nothing', async () => {
  const genesis = readGenesisFile(otherGenesis());
  assert.equal(genesis.chainId, network.chainId);
  const opening = openHaca({ rpcUrl: network.rpcUrl, trust: { genesis }, wallet: null });
  await assert.rejects(opening, VerificationError);
});

function haca(...args: string[]): { readonly code: number | null; readonly out: string } {
  const entry = join(ROOT, 'packages/cli/src/main.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [entry, ...args], {
    encoding: 'utf8',
    env: { ...process.env, HACA_HOME: join(network.home, 'no-devnet') },
  });
  return { code: status, out: `${stdout}${stderr}` };
}

test('a bundle verifies offline: 0 as it is, 1 where it lies, 2 where it is none', async () => {
  const { answer } = await client.chat({ model: TINY_CHAT, prompt: 'Hello', maxOutputTokens: 6 });
  await answer.until('final');
  const bytes = await answer.bundle();
  const verify = (content: Uint8Array, ...args: string[]) => {
    const file = join(network.home, 'answer.haca');
    writeFileSync(file, content);
    return haca('verify', file, '--genesis', network.genesisFile, ...args);
  };
  const genuine = verify(bytes, '--accept-simulated');
  assert.equal(genuine.code, 0, genuine.out);
  assert.equal(verify(bytes).code, 1, 'a test enclave is not a tee for who did not say so');

  const bundle = decodeBundle(bytes);
  const response = Uint8Array.from(bundle.response as Uint8Array);
  response[20] = (response[20] as number) ^ 1;
  const receiptProof = null;
  const answered = verify(encodeBundle({ ...bundle, response }), '--accept-simulated', '--json');
  assert.equal(answered.code, 1, answered.out);
  assert.match(answered.out, /receipt\.response-hash/);
  const request = utf8Encode(
    new TextDecoder().decode(bundle.request as Uint8Array).replace('Hello', 'Howdy'),
  );
  assert.equal(verify(encodeBundle({ ...bundle, request }), '--accept-simulated').code, 1);
  assert.equal(verify(encodeBundle({ ...bundle, response: null }), '--accept-simulated').code, 3);
  assert.equal(verify(encodeBundle({ ...bundle, receiptProof }), '--accept-simulated').code, 3);

  assert.equal(verify(bytes.subarray(0, bytes.length - 1), '--accept-simulated').code, 2);
  assert.equal(verify(Uint8Array.of(...bytes, 0), '--accept-simulated').code, 2);
  assert.equal(verify(utf8Encode('not a bundle at all')).code, 2);
  assert.equal(verify(new Uint8Array(0)).code, 2);
  const file = join(network.home, 'answer.haca');
  writeFileSync(file, bytes);
  assert.equal(haca('verify', file, '--genesis', otherGenesis(), '--accept-simulated').code, 1);
});

test('killed and started again the node signs with a fresh key, and answers for the old one', async () => {
  const { answer } = await client.chat({ model: ECHO, prompt: 'before' });
  await network.nodes[0]?.kill();
  await network.nodes[0]?.start();
  // The client knows nothing of it yet: it still has the old key in mind.
  const { answer: next } = await client.chat({ model: ECHO, prompt: 'after' });
  assert.ok(!bytesEqual(next.node.keyId, answer.node.keyId), 'the key died with its process');
  assert.equal(toHex(next.node.nodeId), toHex(answer.node.nodeId));
  await network.nodes[0]?.kill();
  await assert.rejects(client.chat({ model: ECHO, prompt: 'while it is away' }), NodeError);
  await network.nodes[0]?.start();
  for (const each of [answer, next]) assert.ok((await each.until('final')).verdict.ok);
});

test('a full node that is killed and started again goes on where it was', async () => {
  const before = client.chain.head().height;
  await network.fullNode.kill();
  await network.fullNode.start();
  const { answer } = await client.chat({ model: ECHO, prompt: 'on the same chain' });
  assert.ok((await answer.until('final')).verdict.ok);
  assert.ok(client.chain.head().height > before);
});

test('asked to stop, a node settles first what it accepted', async () => {
  const { answer } = await client.chat({ model: ECHO, prompt: 'the last one' });
  await network.nodes[0]?.stop();
  const rpc = connectRpc(network.rpcUrl);
  const { settlements, payments, advance } = openHistory(rpc);
  await advance();
  rpc.close();
  const { keyId, seq, lane, cumulative } = answer.receipt.value;
  assert.ok(settlements.some((each) => each.keyId === toHex(keyId) && each.lastSeq >= seq));
  assert.ok(
    payments.some((each) => each.keyId === toHex(keyId) && each.lane === lane && each.to >= cumulative),
  );
  await network.nodes[0]?.start();
  const { steps } = await answer.until('final', { timeoutMs: 5_000 });
  assert.equal(steps.at(-1)?.state, 'final');
});
