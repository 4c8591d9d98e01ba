/** Whatever comes in place of what was asked for ends as an error of a kind that the SDK names, never as one of the platform. */
import { test } from 'node:test';
import { RpcError } from '@haca/platform/rpc';
import { MalformedError, UsageError, utf8Encode } from '@haca/primitives';
import {
  NodeError,
  PaymentError,
  type Policy,
  TimeoutError,
  TransactionError,
  UnprovedError,
  VerificationError,
} from '@haca/sdk';
import fc from 'fast-check';
import { type FakeNode, startFakeNetwork } from './fake-node.ts';
import { openTestClient } from './test-client.ts';

const KINDS = [
  ...[NodeError, PaymentError, TimeoutError, TransactionError, UnprovedError, VerificationError],
  ...[MalformedError, UsageError, RpcError],
];

const assertTyped = (error: unknown): void => {
  if (error !== null && !KINDS.some((kind) => error instanceof kind)) throw error;
};

/** All that a client does with a node and a chain, as far as it gets. */
async function useAll(node: FakeNode, policy: Partial<Policy> = {}): Promise<void> {
  const steps: unknown[] = [];
  const run = async (work: () => Promise<unknown>): Promise<void> => {
    steps.push(
      await work().then(
        () => null,
        (error: unknown) => error,
      ),
    );
  };
  let haca: Awaited<ReturnType<typeof openTestClient>> | undefined;
  await run(async () => {
    haca = await openTestClient(node, { policy });
  });
  const client = haca;
  if (client !== undefined) {
    await run(() => client.models());
    await run(() => client.nodes());
    await run(() => client.validators());
    await run(async () => {
      const { answer } = await client.chat({ prompt: 'whole' });
      await answer.until('settled', { timeoutMs: 0 });
    });
    await run(() => client.chat({ prompt: 'streamed', onText: () => undefined }));
    await run(() => client.infer({ model: 'tiny', tensors: [] }));
    client.close();
  }
  for (const error of steps) assertTyped(error);
}

const json = fc.jsonValue({ maxDepth: 3 });
/** Some member of an object replaced, or all of it. */
const change = fc.oneof(
  json.map((value) => () => value),
  fc.tuple(fc.nat(), json).map(([at, value]) => (honest: unknown): unknown => {
    if (typeof honest !== 'object' || honest === null) return value;
    const keys = Object.keys(honest);
    if (keys.length === 0) return value;
    const key = keys[at % keys.length] as string;
    const member = (honest as Record<string, unknown>)[key];
    const isDeep = at % 3 !== 0 && typeof member === 'object' && member !== null;
    const changed = isDeep ? Object.fromEntries(Object.entries(member).map(([k]) => [k, value])) : value;
    return Array.isArray(honest) ? [changed] : { ...honest, [key]: changed };
  }),
);

const PATHS = ['/v1/haca', '/v1/attestation/', '/v1/lanes/', '/v1/receipts/', '/v1/chat/completions'];
const TYPES = ['application/json', 'text/event-stream', 'text/html', ''];

test('answers of a node', async () => {
  const text = fc.oneof(
    json.map((value) => JSON.stringify(value)),
    json.map((value) => `data: ${JSON.stringify(value)}\n\n`),
    fc.string(),
    fc.constantFrom('data: [DONE]\n\n', ': haca-receipt !\n\n', ': haca-checkpoint AA\n\n', ''),
  );
  const header = fc.oneof(
    fc.constant(''),
    fc.base64String({ maxLength: 60 }),
    fc.constantFrom('!', 'AA', 'oA'),
  );
  const given = fc.record({
    path: fc.constantFrom(...PATHS),
    edit: fc.option(change),
    text,
    status: fc.constantFrom(200, 200, 200, 201, 204, 304, 402, 404, 409, 500, 503),
    type: fc.constantFrom(...TYPES),
    header,
    isSigned: fc.boolean(),
    allowUnverified: fc.boolean(),
    streamRelease: fc.constantFrom('live' as const, 'verified' as const),
  });
  await fc.assert(
    fc.asyncProperty(given, async ({ path, edit, text, status, type, header, isSigned, ...policy }) => {
      const node = startFakeNetwork();
      if (isSigned) node.lies.content = (events) => [utf8Encode(text), ...events.slice(1)];
      let requests = 0;
      const through: typeof fetch = async (input, init) => {
        const honest = await node.fetch(input, init);
        // A refusal that the client answers by trying again is seen often enough after a few times.
        if (!new URL(String(input)).pathname.startsWith(path) || isSigned || ++requests > 3) return honest;
        const headers = { 'content-type': type, 'x-haca-receipt': header, 'x-haca-receipt-id': header };
        const isEdited = edit !== null && honest.headers.get('content-type') === 'application/json';
        const body = isEdited ? JSON.stringify(edit(await honest.json())) : text;
        const isEmpty = status === 204 || status === 304;
        return new Response(isEmpty ? null : (utf8Encode(body ?? '') as Uint8Array<ArrayBuffer>), {
          status: isEdited ? 200 : status,
          headers,
        });
      };
      await useAll({ ...node, fetch: through }, policy);
    }),
    { numRuns: 150 },
  );
});

test('answers of a full node', async () => {
  const given = fc.record({
    method: fc.constantFrom('commit', 'validators', 'blockchain', 'tx', 'status'),
    edit: change,
    after: fc.nat({ max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(given, async ({ method, edit, after }) => {
      const node = startFakeNetwork();
      const { rpc } = node.chain;
      let calls = 0;
      const lying = {
        ...rpc,
        call: async (called: string, params?: Readonly<Record<string, unknown>>): Promise<unknown> => {
          const honest = await rpc.call(called, params);
          return called === method && calls++ >= after ? edit(honest) : honest;
        },
      };
      await useAll({ ...node, chain: { ...node.chain, rpc: lying } });
    }),
    { numRuns: 100 },
  );
});
