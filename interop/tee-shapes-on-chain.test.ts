/** Test enclaves of Intel, AMD and NVIDIA shapes at a full node: collateral that anybody posts, keys that open, chips that serve one. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  createNvidiaTestGpus,
  createSnpTestEnclave,
  createTdxTestEnclave,
  measureSnpTestImage,
  measureTdxTestImage,
  mintAmdCollateral,
  mintTdxCollateral,
  snpRegisters,
  tdxRegisters,
} from '@haca/attester';
import { nodeCrypto } from '@haca/platform';
import { decode, toHex, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  type KeyEvidenceRecord,
  keyEvidenceRecordCodec,
  keyIdOf,
  type Measurement,
  measurementIdOf,
  nodeKeyRecordCodec,
  type OpOf,
  recordKey,
} from '@haca/protocol';
import { appraiseCollateral, genesisTrustRoots, REVOKED_ISSUER_CHECK } from '@haca/verifier';
import { CHAIN, openKeyOp, startTestNetwork, type TestNetwork } from './tee-network.ts';
import { judge, NONCE, ROOTS, sourceOf, TEST_ROOTS } from './tee-test-world.ts';

const IMAGE = utf8Encode('approved image');
const td = measureTdxTestImage(IMAGE);
const snp = measureSnpTestImage(IMAGE);
const seedOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const tdx = (platform: number, image = td) =>
  createTdxTestEnclave({ root: ROOTS.intel, measurement: image, platformSeed: seedOf(platform) });
const gpusOf = (seed: number, count = 1) =>
  createNvidiaTestGpus({ root: ROOTS.hopper, seed: seedOf(seed), count });

/** What the test GPUs run, as anybody who has one can read it off. */
async function gpuMeasurement(): Promise<Measurement> {
  const [document] = await gpusOf(1).attest(NONCE);
  const { claims } = judge('nvidia', document as Uint8Array);
  const registers = Array.from(claims?.registers ?? [], ([register, value]) => ({ register, value }));
  return {
    kind: 'nvidia',
    name: 'approved driver',
    registers: registers.sort((a, b) => (a.register < b.register ? -1 : 1)),
  };
}

async function start(t: TestContext, simulated = true): Promise<TestNetwork> {
  return startTestNetwork(t, {
    simulated,
    testRoots: TEST_ROOTS,
    measurements: [
      { kind: 'tdx', name: 'approved image', registers: [...tdxRegisters(td)] },
      { kind: 'snp', name: 'approved image', registers: [...snpRegisters(snp)] },
      await gpuMeasurement(),
    ],
    // A recovery counts at once.
    params: { tcbGraceMs: 0 },
  });
}

async function keyEvidenceOf(rpc: TestNetwork['rpc'], keyId: Uint8Array): Promise<KeyEvidenceRecord> {
  const { value } = await rpc.query('/record', recordKey.keyEvidence(keyId));
  return decode(keyEvidenceRecordCodec, value, 'key evidence');
}

const post = (items: readonly Collateral[]): OpOf<'post-collateral'> => ({
  kind: 'post-collateral',
  items: [...items],
});
/** Issued a little before now: block time may be a little behind. */
const issuedMs = (): number => Math.floor(Date.now() / 1000) * 1000 - 2_000;

test('a TDX key opens once its collateral is posted, with its GPUs, and keeps its marks', async (t) => {
  const { rpc, operators } = await start(t);
  const [operator, other] = operators;
  const keyOf = (keyEpoch: number) =>
    openKeyOp({ rpc, operator, attester: tdx(20), gpus: gpusOf(1, 2), keyEpoch });
  assert.equal(await operator.submit([await keyOf(1)]), 'E_EVIDENCE', 'without collateral nothing is judged');
  // Anybody may bring it.
  assert.equal(await other.submit([post(mintTdxCollateral(ROOTS.intel, { nowMs: issuedMs() }))]), 'OK');
  const op = await keyOf(1);
  assert.equal(await operator.submit([op]), 'OK');
  const keyId = keyIdOf(CHAIN, operator.nodeId, 1, op.binding.signPublicKey);
  const { value } = await rpc.query('/record', recordKey.nodeKey(keyId));
  const { evidence } = decode(nodeKeyRecordCodec, value, 'node key');
  assert.deepEqual([evidence?.kind, evidence?.simulated], ['tdx', true]);
  const { measurement, gpus, hardware } = await keyEvidenceOf(rpc, keyId);
  assert.deepEqual([measurement, gpus.length, hardware.length], ['approved image', 2, 3]);
});

test('a key hangs on the measurement that its evidence matched, not on part of it under the same name', async (t) => {
  const registers = [...tdxRegisters(td)].sort((a, b) => (a.register < b.register ? -1 : 1));
  const of = (count: number): Measurement => ({
    kind: 'tdx',
    name: 'approved image',
    registers: registers.slice(0, count),
  });
  const whole = of(registers.length);
  // Such as leave registers out match nothing, wherever they are listed.
  const parts = registers.slice(1).map((_, i) => of(i + 1));
  const idOf = (measurement: Measurement): string => toHex(measurementIdOf(measurement));
  assert.ok(parts.some((part) => idOf(part) < idOf(whole)));
  const { rpc, operators } = await startTestNetwork(t, {
    simulated: true,
    testRoots: TEST_ROOTS,
    measurements: [...parts, whole],
  });
  const [operator] = operators;
  assert.equal(await operator.submit([post(mintTdxCollateral(ROOTS.intel, { nowMs: issuedMs() }))]), 'OK');
  const op = await openKeyOp({ rpc, operator, attester: tdx(20) });
  assert.equal(await operator.submit([op]), 'OK');
  const keyId = keyIdOf(CHAIN, operator.nodeId, 1, op.binding.signPublicKey);
  assert.equal(toHex((await keyEvidenceOf(rpc, keyId)).measurementId), idOf(whole));
});

test('a signer of collateral that its root took back is known as such by the check that the chain looks for', () => {
  const nowMs = issuedMs();
  const { serials } = ROOTS.intel;
  const items = mintTdxCollateral(ROOTS.intel, { nowMs, revokedRootSerials: [serials.tcbSigning] });
  const trust = {
    crypto: nodeCrypto,
    nowMs,
    roots: genesisTrustRoots('tdx', { simulated: true, testRoots: TEST_ROOTS }),
    collateral: sourceOf(items),
  };
  const failedOf = (item: Collateral): readonly string[] =>
    appraiseCollateral(item, trust)
      .verdict.checks.filter(({ status }) => status === 'failed')
      .map(({ id }) => id);
  const [rootCrl, pckCrl, tcbInfo, qeIdentity] = items as readonly [
    Collateral,
    Collateral,
    Collateral,
    Collateral,
  ];
  assert.deepEqual([rootCrl, pckCrl].flatMap(failedOf), []);
  for (const item of [tcbInfo, qeIdentity]) assert.deepEqual(failedOf(item), [REVOKED_ISSUER_CHECK]);
});

test('evidence that is not exactly for this key, image and chip opens nothing', async (t) => {
  const { rpc, operators } = await start(t);
  const [operator, other] = operators;
  assert.equal(await operator.submit([post(mintTdxCollateral(ROOTS.intel, { nowMs: issuedMs() }))]), 'OK');
  const common = { rpc, operator };
  const image = measureTdxTestImage(utf8Encode('another image'));
  const debug = createTdxTestEnclave({ root: ROOTS.intel, measurement: td, debug: true });
  const gpus = gpusOf(2);
  const stale = { ...gpus, attest: () => gpus.attest(NONCE) };
  const refused = [
    ['another image', await openKeyOp({ ...common, attester: tdx(20, image) }), 'E_MEASUREMENT'],
    ['a debug TD', await openKeyOp({ ...common, attester: debug }), 'E_EVIDENCE'],
    [
      'another binding',
      await openKeyOp({ ...common, attester: tdx(20), over: { configHash: seedOf(1) } }),
      'E_EVIDENCE',
    ],
    [
      'GPUs asked with another nonce',
      await openKeyOp({ ...common, attester: tdx(20), gpus: stale }),
      'E_EVIDENCE',
    ],
    [
      'GPUs that the binding does not name',
      {
        ...(await openKeyOp({ ...common, attester: tdx(20) })),
        gpuEvidence: [...(await gpus.attest(NONCE))],
      },
      'E_EVIDENCE',
    ],
  ] as const;
  for (const [name, op, code] of refused) assert.equal(await operator.submit([op]), code, name);
  assert.equal(await operator.submit([await openKeyOp({ ...common, attester: tdx(20), gpus })]), 'OK');
  // One chip, one operator; the same for GPUs.
  const rival = { rpc, operator: other };
  assert.equal(await other.submit([await openKeyOp({ ...rival, attester: tdx(20) })]), 'E_HARDWARE');
  assert.equal(await other.submit([await openKeyOp({ ...rival, attester: tdx(21), gpus })]), 'E_HARDWARE');
  assert.equal(await other.submit([await openKeyOp({ ...rival, attester: tdx(21), gpus: gpusOf(3) })]), 'OK');
});

test('collateral goes forward only; a recovered TCB and a revoked PCK open no key any more', async (t) => {
  const { rpc, operators } = await start(t);
  const [operator] = operators;
  const nowMs = issuedMs();
  const collateral = mintTdxCollateral(ROOTS.intel, { nowMs, tcbEvaluationDataNumber: 18 });
  assert.equal(await operator.submit([post(collateral)]), 'OK');
  const older = mintTdxCollateral(ROOTS.intel, { nowMs, tcbEvaluationDataNumber: 17 }).slice(2);
  assert.equal(await operator.submit([post(older)]), 'E_COLLATERAL', 'a lower evaluation number');
  assert.equal(await operator.submit([post(collateral)]), 'E_COLLATERAL', 'the same again');
  const forged = collateral.map((item) =>
    'body' in item ? { ...item, signature: new Uint8Array(64).fill(1) } : item,
  );
  assert.equal(await operator.submit([post(forged)]), 'E_COLLATERAL', 'forged');
  const enclave = tdx(30);
  const keyOf = async (keyEpoch: number, attester = enclave) =>
    openKeyOp({ rpc, operator, attester, keyEpoch });
  assert.equal(await operator.submit([await keyOf(1)]), 'OK');
  const { pckSerial } = enclave.platform;
  const revoking = mintTdxCollateral(ROOTS.intel, {
    nowMs: nowMs + 1_000,
    crlNumber: 2,
    revokedPckSerials: [pckSerial],
  });
  assert.equal(await operator.submit([post(revoking.slice(1, 2))]), 'OK');
  assert.equal(await operator.submit([await keyOf(2)]), 'E_EVIDENCE', 'a revoked PCK');
  assert.equal(await operator.submit([await keyOf(3, tdx(31))]), 'OK', 'another platform');
  const recovered = mintTdxCollateral(ROOTS.intel, {
    nowMs: nowMs + 1_000,
    tcbEvaluationDataNumber: 19,
    platformStatus: 'OutOfDate',
  });
  assert.equal(await operator.submit([post(recovered.slice(2))]), 'OK');
  assert.equal(await operator.submit([await keyOf(4, tdx(32))]), 'E_EVIDENCE', 'out of date');
  const answer = await rpc.query('/invariants', new Uint8Array(0));
  assert.equal((JSON.parse(new TextDecoder().decode(answer.value)) as { ok: boolean }).ok, true);
});

test('an SNP key opens under the revocation list of its product line', async (t) => {
  const { rpc, operators } = await start(t);
  const [operator] = operators;
  const keyOf = (keyEpoch: number, vmpl = 0) => {
    const attester = createSnpTestEnclave({
      root: ROOTS.genoa,
      measurement: snp,
      nowMs: Date.now,
      platformSeed: seedOf(40),
      vmpl,
    });
    return openKeyOp({ rpc, operator, attester, keyEpoch });
  };
  assert.equal(await operator.submit([await keyOf(1)]), 'E_EVIDENCE', 'without the list');
  assert.equal(await operator.submit([post(mintAmdCollateral(ROOTS.genoa, { nowMs: issuedMs() }))]), 'OK');
  assert.equal(await operator.submit([await keyOf(1, 1)]), 'E_EVIDENCE', 'asked from VMPL 1');
  assert.equal(await operator.submit([await keyOf(1)]), 'OK');
});

test('a network that is not simulated takes neither evidence nor collateral of test roots', async (t) => {
  const { rpc, operators } = await start(t, false);
  const [operator] = operators;
  const collateral = [
    ...mintTdxCollateral(ROOTS.intel, { nowMs: issuedMs() }),
    ...mintAmdCollateral(ROOTS.genoa, { nowMs: issuedMs() }),
  ];
  for (const item of collateral)
    assert.equal(await operator.submit([post([item])]), 'E_COLLATERAL', item.kind);
  assert.equal(await operator.submit([await openKeyOp({ rpc, operator, attester: tdx(20) })]), 'E_EVIDENCE');
});
