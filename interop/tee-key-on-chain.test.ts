/** Evidence of the test enclave, registered over RPC at a full node: what the chain accepts, what it marks, what it refuses. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Attester, createTestEnclave, createTestRoot, measureTestImage } from '@haca/attester';
import { decode, utf8Encode } from '@haca/primitives';
import {
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  keyIdOf,
  nodeKeyRecordCodec,
  type Op,
  pcrRegisters,
  recordKey,
} from '@haca/protocol';
import { CHAIN, openKeyOp, startTestNetwork, type TestNetwork } from './tee-network.ts';

const ROOT = createTestRoot(new Uint8Array(32).fill(4));
const MEASUREMENT = measureTestImage(utf8Encode('approved image'));

function startNetwork(t: TestContext, simulated: boolean): Promise<TestNetwork> {
  return startTestNetwork(t, {
    simulated,
    testRoots: [ROOT.sha256],
    measurements: [{ name: 'approved image', kind: 'nitro', registers: [...pcrRegisters(MEASUREMENT)] }],
  });
}

/** What the enclave says in place of what it was asked. */
interface Variation {
  readonly image?: string;
  readonly root?: ReturnType<typeof createTestRoot>;
  readonly nowMs?: number;
  readonly asked?: Partial<Parameters<Attester['attest']>[0]>;
  readonly refBlockHash?: Uint8Array;
}

async function openKey({ rpc, operators }: TestNetwork, over: Variation = {}): Promise<Op> {
  const enclave = createTestEnclave({
    root: over.root ?? ROOT,
    measurement: over.image === undefined ? MEASUREMENT : measureTestImage(utf8Encode(over.image)),
    nowMs: () => over.nowMs ?? Date.now(),
    seed: new Uint8Array(32).fill(5),
  });
  const attester: Attester = {
    ...enclave,
    attest: (request) => enclave.attest({ ...request, ...over.asked }),
  };
  const { refBlockHash } = over;
  const stated = refBlockHash === undefined ? {} : { over: { refBlockHash } };
  return openKeyOp({ rpc, operator: operators[0], attester, ...stated });
}

test('a key with fresh evidence of an approved image is opened, and stays marked as simulated', async (t) => {
  const network = await startNetwork(t, true);
  const [operator] = network.operators;
  const op = await openKey(network);
  assert.equal(await operator.submit([op]), 'OK');
  assert.ok(op.kind === 'open-key');
  const keyId = keyIdOf(CHAIN, operator.nodeId, 1, op.binding.signPublicKey);
  const { value } = await network.rpc.query('/record', recordKey.nodeKey(keyId));
  const { evidence, method } = decode(nodeKeyRecordCodec, value, 'node key');
  assert.equal(method, 'tee');
  assert.equal(evidence?.simulated, true);
  const { value: row } = await network.rpc.query('/record', recordKey.keyEvidence(keyId));
  const record = decode(keyEvidenceRecordCodec, row, 'key evidence');
  assert.equal(record.measurement, 'approved image');
  assert.deepEqual(keyEvidenceHash(record), evidence.recordHash);
});

test('evidence that is not exactly for this key, image, block and time opens nothing', async (t) => {
  const network = await startNetwork(t, true);
  const [{ submit }] = network.operators;
  const minuteMs = 60_000;
  const ones = new Uint8Array(32).fill(1);
  const refused: readonly (readonly [string, Variation])[] = [
    ['another image', { image: 'another image' }],
    ['another root', { root: createTestRoot(new Uint8Array(32).fill(9)) }],
    ['too old', { nowMs: Date.now() - 6 * minuteMs }],
    ['from the future', { nowMs: Date.now() + 2 * minuteMs }],
    ['another nonce', { asked: { refBlockHash: ones } }],
    ['another binding', { asked: { bindingHash: new Uint8Array(64).fill(1) } }],
    ['another signing key', { asked: { signPublicKey: ones } }],
    ['an unknown block', { refBlockHash: ones }],
  ];
  const codes = new Map<string, string>();
  for (const [name, over] of refused) codes.set(name, await submit([await openKey(network, over)]));
  for (const [name, code] of codes) assert.notEqual(code, 'OK', name);
  assert.deepEqual(
    new Set(codes.values()),
    new Set(['E_EVIDENCE', 'E_MEASUREMENT', 'E_FRESHNESS']),
    JSON.stringify([...codes]),
  );
  // Nothing was applied: the same key epoch is still free.
  assert.equal(await submit([await openKey(network)]), 'OK');
  const answer = await network.rpc.query('/invariants', new Uint8Array(0));
  assert.equal((JSON.parse(new TextDecoder().decode(answer.value)) as { ok: boolean }).ok, true);
});

test('a network that is not simulated refuses the test enclave', async (t) => {
  const network = await startNetwork(t, false);
  assert.equal(await network.operators[0].submit([await openKey(network)]), 'E_EVIDENCE');
});
