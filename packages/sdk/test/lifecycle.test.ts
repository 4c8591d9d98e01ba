import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headerHash } from '@haca/light-client';
import { nodeCrypto, portableCrypto, type RpcClient, RpcError } from '@haca/platform';
import { decodeBundle, encodeBundle, verdictExitCode } from '@haca/protocol';
import { type BundleContext, parseGenesisDocument, VerificationError, verifyBundle } from '@haca/sdk';
import fc from 'fast-check';
import { type FakeNode, startFakeNetwork } from './fake-node.ts';
import { flipBit } from './flip.ts';
import { openTestClient } from './test-client.ts';

async function finalBundle(
  stream = false,
): Promise<{ node: FakeNode; bundle: Uint8Array; context: BundleContext }> {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  await haca.chat({ prompt: 'earlier' });
  const { answer } = await haca.chat({ prompt: 'hi', ...(stream ? { onText: () => undefined } : {}) });
  node.settle();
  await answer.until('final');
  const context: BundleContext = {
    crypto: nodeCrypto,
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    nowMs: node.chain.timeMs(),
    policy: { minAssurance: 'signed' },
  };
  return { node, bundle: await answer.bundle(), context };
}

test('an answer is followed from executed to final, and final is proven here', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const { answer } = await haca.chat({ prompt: 'hi' });
  await assert.rejects(answer.until('final', { timeoutMs: 60 }), { name: 'TimeoutError' });
  node.settle();
  const seen: string[] = [];
  const { steps, verdict } = await answer.until('final', { onState: ({ state }) => seen.push(state) });
  assert.deepEqual(
    steps.map(({ state, by }) => `${state} ${by}`),
    ['executed receipt', 'settled node', 'verified node', 'final light-client'],
  );
  assert.deepEqual(seen, ['executed', 'settled', 'verified', 'final']);
  assert.ok(verdict.ok);
  assert.ok(verdict.checks.some(({ id }) => id === 'receipt-proof.inclusion'));
  const [, settled, , final] = steps;
  assert.equal(final?.height, (settled?.height ?? 0) + 1);
});

test('a node that is away for a while is waited for; a timeout says who was away', async () => {
  const node = startFakeNetwork();
  const away = new Set<string>();
  const connection = Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } });
  const flaky: FakeNode = {
    ...node,
    fetch: async (...args) => {
      if (away.has('node')) throw connection;
      return node.fetch(...args);
    },
  };
  const haca = await openTestClient(flaky);
  const { answer } = await haca.chat({ prompt: 'hi' });
  node.settle();
  away.add('node');
  await assert.rejects(
    answer.until('final', { timeoutMs: 60 }),
    ({ name, message }: Error) => name === 'TimeoutError' && /no answer from/.test(message),
  );
  setTimeout(() => away.clear(), 100);
  assert.ok((await answer.until('final')).verdict.ok);
});

for (const [status, isAway] of [
  [429, true],
  [502, true],
  [503, true],
  [504, true],
  [403, false],
  [500, false],
] as const)
  test(`status ${status} in the place of a receipt ${isAway ? 'is waited out' : 'ends waiting'}`, async () => {
    const node = startFakeNetwork();
    let left = 0;
    const busy: FakeNode = {
      ...node,
      fetch: async (...args) => (left-- > 0 ? new Response('<html>', { status }) : node.fetch(...args)),
    };
    const haca = await openTestClient(busy);
    const { answer } = await haca.chat({ prompt: 'hi' });
    node.settle();
    left = 3;
    const ended = answer.until('final');
    if (isAway) assert.ok((await ended).verdict.ok);
    else await assert.rejects(ended, { name: 'NodeError', status });
  });

test('an answer that came while the full node was away is checked when it is back, not withheld', async () => {
  for (const stream of [{}, { onText: () => undefined }]) {
    const node = startFakeNetwork();
    let isAway = false;
    let refused = 0;
    const rpc = new Proxy(node.chain.rpc, {
      get: (target, name: keyof RpcClient) => {
        const member = target[name];
        if (typeof member !== 'function') return member;
        return (...args: never[]) => {
          if (!isAway) return (member as (...all: never[]) => unknown)(...args);
          refused++;
          return Promise.reject(new RpcError('unreachable', 'no answer'));
        };
      },
    });
    const leaving: FakeNode = {
      ...node,
      chain: { ...node.chain, rpc },
      fetch: async (...args) => {
        if (!String(args[0]).endsWith('/chat/completions')) return node.fetch(...args);
        // The receipt will name a block that the client has not seen.
        node.chain.change([]);
        isAway = true;
        setTimeout(() => {
          isAway = false;
        }, 300);
        return node.fetch(...args);
      },
    };
    const haca = await openTestClient(leaving);
    const { answer } = await haca.chat({ prompt: 'hi', ...stream });
    assert.ok(answer.verdict.ok);
    assert.ok(refused > 0, 'the full node was asked while it was away');
  }
});

test('a node that claims settlement without a key row to match is not believed', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const { answer } = await haca.chat({ prompt: 'hi' });
  node.settle();
  node.setKey({ headHash: new Uint8Array(32).fill(1), logFrontier: [new Uint8Array(32).fill(2)] });
  const height = node.chain.height() - 1;
  const original = node.fetch;
  const lying = Object.assign(node, {
    fetch: async (...args: Parameters<typeof fetch>) => {
      const response = await original(...args);
      if (!String(args[0]).includes('/v1/receipts/')) return response;
      const body = (await response.json()) as Record<string, unknown>;
      return Response.json({ ...body, height });
    },
  });
  const client = await openTestClient(lying);
  assert.ok(client);
  // The same client object keeps its own fetch; follow through the lying one.
  const second = await client.chat({ prompt: 'other' });
  node.settle();
  node.setKey({ logFrontier: [new Uint8Array(32).fill(3)] });
  await assert.rejects(
    second.answer.until('final', { timeoutMs: 500 }),
    (error: Error) => error instanceof VerificationError || error.name === 'TimeoutError',
  );
  assert.ok(answer.verdict.ok);
});

test('a bundle verifies offline, from genesis or from a trusted header, natively and in portable code', async () => {
  for (const stream of [false, true]) {
    const { node, bundle, context } = await finalBundle(stream);
    for (const crypto of [nodeCrypto, portableCrypto]) {
      const { verdict, assurance } = verifyBundle(bundle, { ...context, crypto });
      assert.deepEqual(
        verdict.checks.filter(({ status }) => status !== 'passed' && status !== 'not-applicable'),
        [],
      );
      assert.equal(verdictExitCode(verdict), 0);
      assert.equal(assurance, 'signed');
    }
    const header = node.chain.header(1);
    const trust = { chainId: node.chain.chainId, height: 1, hash: headerHash(header) };
    assert.ok(verifyBundle(bundle, { ...context, trust }).verdict.ok);
  }
});

test('years later a bundle says that its genesis is old, and is not called verified for it', async () => {
  const { bundle, context } = await finalBundle();
  const { verdict } = verifyBundle(bundle, { ...context, nowMs: context.nowMs + 400 * 86_400_000 });
  assert.equal(verdictExitCode(verdict), 3);
  assert.deepEqual(
    verdict.checks.filter(({ status }) => status === 'skipped').map(({ id }) => id),
    ['chain.trust-period'],
  );
});

test('a bundle made before settlement is incomplete, not failed', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const { answer } = await haca.chat({ prompt: 'hi' });
  const { verdict } = verifyBundle(await answer.bundle(), {
    crypto: nodeCrypto,
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    nowMs: node.chain.timeMs(),
    policy: { minAssurance: 'signed' },
  });
  assert.equal(verdictExitCode(verdict), 3);
});

test('a bundle against another genesis, header, key record or answer fails by name', async () => {
  const { bundle, context } = await finalBundle();
  const decoded = decodeBundle(bundle);
  const failures = (changed: Partial<typeof decoded>, given = context): string[] => {
    const { verdict } = verifyBundle(encodeBundle({ ...decoded, ...changed }), given);
    assert.equal(verdict.ok, false);
    return verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  };
  const other = new Uint8Array(32).fill(1);
  const trust = { chainId: 'haca-test-1', height: 1, hash: other };
  assert.ok(failures({}, { ...context, trust }).includes('anchor.hash'));
  assert.ok(
    failures({ response: flipBit(decoded.response as Uint8Array, 80) }).includes('receipt.response-hash'),
  );
  assert.ok(
    failures({ request: flipBit(decoded.request as Uint8Array, 80) }).includes('receipt.request-hash'),
  );
  assert.ok(failures({ chainId: `${decoded.chainId}x` }).includes('bundle.chain-id'));
  assert.ok(failures({ node: { ...decoded.node, key: decoded.key.key } }).includes('node.record'));
  assert.ok(failures({ key: { ...decoded.key, stateHeight: 1 } }).includes('key.proof'));
  assert.ok(failures({ headers: decoded.headers.slice(0, 1) }).includes('key.proof'));
});

test('no flipped bit anywhere in a bundle is accepted', async () => {
  const { bundle, context } = await finalBundle();
  const original = verifyBundle(bundle, context);
  assert.ok(original.verdict.ok);
  // The JSON of headers has slack that nothing signs (spelling of times, unused commit fields), so those bytes are checked
  // for what they mean: a header that verifies is the same header.
  fc.assert(
    fc.property(fc.nat({ max: 8 * bundle.length - 1 }), (bit) => {
      const changed = flipBit(bundle, bit);
      let verdict: ReturnType<typeof verifyBundle>;
      try {
        verdict = verifyBundle(changed, context);
      } catch (error) {
        assert.equal((error as Error).name, 'MalformedError', String(error));
        return;
      }
      if (!verdict.verdict.ok) return;
      assert.deepEqual(verdict.header, original.header);
      assert.deepEqual(verdict.receipt.bytes, original.receipt.bytes);
      const { headers: _, ...rest } = decodeBundle(changed);
      const { headers: __, ...expected } = decodeBundle(bundle);
      assert.deepEqual(rest, expected);
    }),
    { numRuns: 300 },
  );
});

test('what ended unproved stays unpaid: nothing more is promised on its lane', async () => {
  const node = startFakeNetwork();
  const lying: FakeNode = {
    ...node,
    fetch: async (...args) => {
      const response = await node.fetch(...args);
      if (!/\/v1\/receipts\//.test(String(args[0]))) return response;
      return Response.json({ ...((await response.json()) as object), state: 'unpaid' });
    },
  };
  const haca = await openTestClient(lying);
  const { answer } = await haca.chat({ prompt: 'hi' });
  node.settle();
  // Where only the node says so, the lane is used on.
  await assert.rejects(answer.until('final', { timeoutMs: 60 }), { name: 'TimeoutError' });
  const second = await haca.chat({ prompt: 'again' });
  assert.equal(second.answer.receipt.value.lane, answer.receipt.value.lane);
  const { seq } = answer.receipt.value;
  node.setKey({ unpaidRanges: [{ first: seq, last: seq }] });
  await assert.rejects(answer.until('final'), { name: 'UnprovedError' });
  const third = await haca.chat({ prompt: 'once more' });
  assert.notEqual(third.answer.receipt.value.lane, answer.receipt.value.lane);
});
