import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { utf8Encode } from '@haca/primitives';
import { credit, type KeyEvidenceRecord, keyEvidenceHash, type Receipt } from '@haca/protocol';
import { type Haca, VerificationError } from '@haca/sdk';
import OpenAI from 'openai';
import { type FakeNode, type Lies, MODEL_NAME, startFakeNetwork } from './fake-node.ts';
import { flipBit } from './flip.ts';
import { openTestClient } from './test-client.ts';

const other32 = new Uint8Array(32).fill(77);

/** The check ids that did not pass, of the error that withheld an answer. */
async function failedChecks(call: Promise<unknown>): Promise<string[]> {
  let caught: unknown;
  await call.catch((error: unknown) => {
    caught = error;
  });
  assert.ok(caught instanceof VerificationError, `withheld, not ${String(caught)}`);
  assert.equal(caught.verdict.ok, false);
  return caught.verdict.checks
    .filter(({ status }) => status === 'failed' || status === 'skipped')
    .map(({ id }) => id);
}

async function lyingNetwork(lies: Lies): Promise<{ node: FakeNode; haca: Haca }> {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  node.lies = lies;
  return { node, haca };
}

const RECEIPT_LIES: readonly (readonly [string, (receipt: Receipt) => Partial<Receipt>])[] = [
  ['receipt.chain-id', () => ({ chainId: 'haca-other-1' })],
  ['receipt.node', () => ({ nodeId: other32 })],
  ['receipt.key', () => ({ keyId: other32 })],
  ['receipt.key-epoch', () => ({ keyEpoch: 2 })],
  ['receipt.method', () => ({ method: 'tee' })],
  ['receipt.model', () => ({ modelId: other32 })],
  ['receipt.request-hash', () => ({ requestHash: other32 })],
  ['receipt.response-hash', () => ({ responseHash: other32 })],
  ['receipt.response-form', () => ({ responseForm: 'stream' })],
  ['receipt.outcome', () => ({ outcome: 'aborted' })],
  ['receipt.offer', () => ({ offerHash: other32 })],
  ['receipt.asset', () => ({ asset: 2 })],
  [
    'receipt.price',
    ({ amount, cumulative }) => ({ amount: credit(amount + 1n), cumulative: credit(cumulative + 1n) }),
  ],
  ['receipt.cumulative', ({ cumulative }) => ({ cumulative: credit(cumulative + 1n) })],
  ['receipt.output-limit', ({ usage }) => ({ usage: { ...usage, outputTokens: 300 } })],
  ['receipt.output-limit', ({ sampling }) => ({ sampling: { ...sampling, maxOutputTokens: 4096 } })],
  ['receipt.authorised', () => ({ cumulative: credit(1n << 60n) })],
  ['receipt.voucher', () => ({ channelId: other32 })],
  ['receipt.voucher', () => ({ lane: 9 })],
  ['receipt.ref-block', () => ({ refBlockHash: other32 })],
  ['receipt.idempotency-key', () => ({ idempotencyKey: null })],
  ['receipt.idempotency-key', () => ({ idempotencyKey: utf8Encode('another') })],
  ['receipt.times', ({ receivedAtMs }) => ({ completedAtMs: receivedAtMs - 1 })],
  ['assurance.minimum', ({ engine }) => ({ engine: { ...engine, proxied: true } })],
];

for (const [id, change] of RECEIPT_LIES) {
  test(`a signed receipt with a wrong value fails ${id}: ${JSON.stringify(Object.keys(change(SAMPLE())))}`, async () => {
    const { haca } = await lyingNetwork({ receipt: (receipt) => ({ ...receipt, ...change(receipt) }) });
    assert.ok((await failedChecks(haca.chat({ prompt: 'hi' }))).includes(id));
    assert.equal(haca.lastAnswer, null);
  });
}

/** Only to name the tests. */
function SAMPLE(): Receipt {
  return {
    usage: {},
    sampling: {},
    engine: {},
    amount: 0n,
    cumulative: 0n,
    receivedAtMs: 1,
  } as unknown as Receipt;
}

test('a receipt signed by another key, an altered body and a missing receipt are withheld', async () => {
  const cases: readonly (readonly [string, Lies])[] = [
    ['receipt.signature', { signer: ed25519SignerFromSeed(new Uint8Array(32).fill(66)) }],
    ['receipt.response-hash', { body: (body) => flipBit(body, 300) }],
    ['receipt.present', { noReceipt: true }],
  ];
  for (const [id, lies] of cases) {
    const { haca } = await lyingNetwork(lies);
    assert.ok((await failedChecks(haca.chat({ prompt: 'hi' }))).includes(id), id);
  }
});

test('a stream with an event dropped, repeated, reordered, altered or cut is stopped', async () => {
  const blocksLies: readonly (readonly [string, NonNullable<Lies['blocks']>])[] = [
    ['stream.checkpoint.head', (blocks) => blocks.slice(1)],
    ['stream.checkpoint.head', (blocks) => [blocks[1], blocks[0], ...blocks.slice(2)] as Uint8Array[]],
    ['receipt.response-hash', (blocks) => blocks.filter((_, i) => i !== 5)],
    [
      'receipt.response-hash',
      (blocks) => [...blocks.slice(0, 5), blocks[5], ...blocks.slice(5)] as Uint8Array[],
    ],
    [
      'receipt.response-hash',
      (blocks) => blocks.map((block, i) => (i === 5 ? flipBit(block, 8 * 20) : block)),
    ],
    [
      'receipt.response-hash',
      (blocks) => [
        ...blocks.slice(0, 5),
        utf8Encode(': x\ndata: {"choices":[{"delta":{"content":"evil"}}]}\n\n'),
        ...blocks.slice(5),
      ],
    ],
    ['stream.done', (blocks) => [...blocks.slice(0, -2), blocks.at(-1)] as Uint8Array[]],
    ['receipt.present', (blocks) => blocks.slice(0, 5)],
    [
      'stream.order',
      (blocks) => [...blocks.slice(0, -1), utf8Encode('data: more\n\n'), blocks.at(-1)] as Uint8Array[],
    ],
  ];
  for (const [id, blocks] of blocksLies) {
    const { haca } = await lyingNetwork({ blocks });
    const ids = await failedChecks(haca.chat({ prompt: 'hi', onText: () => undefined }));
    assert.ok(ids.includes(id), `${id} in ${ids.join(' ')}`);
  }
});

test('a receipt shown a second time, or a second receipt with its number, is noticed', async () => {
  const { node, haca } = await lyingNetwork({});
  await haca.chat({ prompt: 'hi' });
  const first = node.receipts[0]?.value as Receipt;
  node.lies.receipt = (honest) => ({ ...honest, seq: first.seq });
  assert.ok((await failedChecks(haca.chat({ prompt: 'again' }))).includes('receipt.unique'));
  node.lies.receipt = () => first;
  const ids = await failedChecks(haca.chat({ prompt: 'and again' }));
  for (const id of ['receipt.unique', 'receipt.request-hash', 'receipt.cumulative'])
    assert.ok(ids.includes(id), id);
});

test('a reference block that is too old is stale, one that does not exist is not known', async () => {
  const { node, haca } = await lyingNetwork({});
  await haca.chat({ prompt: 'hi' });
  for (let i = 0; i < 70; i++) node.chain.change([]);
  await haca.chain.sync();
  node.lies.receipt = (honest) => ({ ...honest, refHeight: 3, refBlockHash: first.refBlockHash });
  const first = node.receipts[0]?.value as Receipt;
  assert.ok((await failedChecks(haca.chat({ prompt: 'old' }))).includes('receipt.fresh'));
  node.lies.receipt = (honest) => ({ ...honest, refHeight: 1_000_000 });
  assert.ok((await failedChecks(haca.chat({ prompt: 'future' }))).includes('receipt.ref-block'));
});

test('a key that was stopped, closed or expired, and a node in jail, back no answer', async () => {
  const cases = [
    ['key.stop', { stop: 'revoked' as const, closingAt: 2 }],
    ['key.live', { closingAt: 2 }],
    ['key.live', { notAfter: 2 }],
    ['key.model', { modelIds: [other32] }],
    ['key.id', { keyEpoch: 7 }],
    ['receipt.signature', { publicKey: other32 }],
  ] as const;
  for (const [id, change] of cases) {
    const node = startFakeNetwork();
    node.setKey(change);
    const haca = await openTestClient(node);
    assert.ok((await failedChecks(haca.chat({ prompt: 'hi' }))).includes(id), id);
  }
});

test('an RPC server that alters a record, a proof or a header is not believed', async () => {
  for (const what of ['value', 'proof'] as const) {
    const node = startFakeNetwork();
    const haca = await openTestClient(node);
    node.chain.tamper = (method, _params, answer) => {
      const result = answer as { value: Uint8Array; proof: Uint8Array | null };
      if (method !== 'abci_query' || result.value.length === 0 || result.proof === null) return answer;
      return {
        ...result,
        [what]: flipBit(result[what] as Uint8Array, 8 * (result[what] as Uint8Array).length - 9),
      };
    };
    const ids = await failedChecks(haca.chat({ prompt: 'hi' }));
    assert.ok(ids.includes('store.root') || ids.includes('store.proof'), ids.join(' '));
  }
  const node = startFakeNetwork();
  node.chain.tamper = (method, params, answer) => {
    if (method !== 'commit' || params['height'] === '1') return answer;
    const copy = structuredClone(answer) as { signed_header: { header: { app_hash: string } } };
    copy.signed_header.header.app_hash = 'AB'.repeat(32);
    return copy;
  };
  assert.ok((await failedChecks(openTestClient(node))).length > 0);
});

test('a proof for another record than the one asked for is refused', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  let first: unknown;
  node.chain.tamper = (method, _params, answer) => {
    if (method !== 'abci_query') return answer;
    first ??= answer;
    return first;
  };
  assert.ok((await failedChecks(haca.chat({ prompt: 'hi' }))).length > 0);
});

test('a chain that does not start from the trusted genesis or header is refused', async () => {
  const node = startFakeNetwork();
  const trust = { chainId: node.chain.chainId, height: 2, hash: other32 };
  assert.deepEqual(await failedChecks(openTestClient(node, { trust })), ['anchor.hash']);
});

test('evidence is appraised here too: garbage, another binding or another document back no tee answer', async () => {
  const record: KeyEvidenceRecord = {
    documentHash: other32,
    claimsDigest: other32,
    measurement: 'm',
    measurementId: other32,
    facts: new Uint8Array(0),
    hardware: [],
    gpus: [],
  };
  const summary = {
    kind: 'nitro' as const,
    endMs: 9_000_000_000_000,
    simulated: false,
    tier: 'unknown-host' as const,
    recordHash: keyEvidenceHash(record),
  };
  const node = startFakeNetwork({ method: 'tee', evidence: { ...record, ...summary } });
  const haca = await openTestClient(node, { policy: { minAssurance: 'tee' } });
  const ids = await failedChecks(haca.chat({ prompt: 'hi' }));
  for (const id of ['evidence.document', 'evidence.claims']) assert.ok(ids.includes(id), id);
  assert.equal(node.requests(), 0);
});

test('a tee key without evidence is not called tee', async () => {
  const node = startFakeNetwork({ method: 'tee', evidence: null });
  const haca = await openTestClient(node, { policy: { minAssurance: 'tee' } });
  const ids = await failedChecks(haca.chat({ prompt: 'hi' }));
  assert.deepEqual(ids, ['evidence.document', 'assurance.minimum', 'assurance.tier']);
});

test('only an explicit policy hands over what did not verify, and the verdict still says so', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node, { policy: { allowUnverified: true } });
  node.lies.receipt = (honest) => ({ ...honest, responseHash: other32 });
  const { answer } = await haca.chat({ prompt: 'hi' });
  assert.equal(answer.verdict.ok, false);
});

test('a client library that retries a withheld answer does not pay for it again', async () => {
  const { node, haca } = await lyingNetwork({ body: (body) => flipBit(body, 300) });
  const client = new OpenAI({ baseURL: haca.baseUrl, apiKey: 'haca', fetch: haca.fetch });
  await assert.rejects(
    client.chat.completions.create({ model: MODEL_NAME, messages: [{ role: 'user', content: 'hi' }] }),
    (error: Error) => error.cause instanceof VerificationError,
  );
  assert.equal(node.executions(), 1);
});
