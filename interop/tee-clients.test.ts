/** A full node and a client judge the same keys: whatever happens to the evidence behind them, they must say the same. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Attester,
  createDstackTestEnclave,
  createNvidiaTestGpus,
  createSgxTestEnclave,
  createSnpTestEnclave,
  createTdxTestEnclave,
  createTestEnclave,
  type GpuAttester,
  type IntelTestCollateralOptions,
  measureSnpTestImage,
  measureTdxTestImage,
  measureTestImage,
  mintAmdCollateral,
  mintSgxCollateral,
  mintTdxCollateral,
} from '@haca/attester';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { decode, fromHex, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  chainConfigRecordCodec,
  type DecreeAction,
  type EvidenceKind,
  keyIdOf,
  type Measurement,
  measurementIdOf,
  nodeKeyRecordCodec,
  nopg,
  type OpOf,
  pcrRegisters,
  recordKey,
} from '@haca/protocol';
import {
  type ChainView,
  decreeOp,
  type EvidenceJudgement,
  nextDecreeSerial,
  openChainView,
  openKeyJudge,
  signDecree,
} from '@haca/sdk';
import { requiredRegisters } from '@haca/verifier';
import { CHAIN, openKeyOp, startTestNetwork, type TestNetwork } from './tee-network.ts';
import { ASKED, DSTACK_EVENTS, judge, NONCE, ROOTS, TEST_ROOTS } from './tee-test-world.ts';

const IMAGE = utf8Encode('image that clients judge');
const td = measureTdxTestImage(IMAGE);
const nowMs = Date.now;
const seedOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const gpus = createNvidiaTestGpus({ root: ROOTS.hopper, seed: seedOf(3), count: 2 });

interface Machine {
  readonly name: string;
  readonly attester: Attester;
  readonly gpus?: GpuAttester;
}

const MACHINES: readonly Machine[] = [
  {
    name: 'Nitro',
    attester: createTestEnclave({ root: ROOTS.nitro, measurement: measureTestImage(IMAGE), nowMs }),
  },
  {
    name: 'TDX',
    attester: createTdxTestEnclave({ root: ROOTS.intel, measurement: td, platformSeed: seedOf(1) }),
  },
  {
    name: 'TDX with GPUs',
    attester: createTdxTestEnclave({ root: ROOTS.intel, measurement: td, platformSeed: seedOf(2) }),
    gpus,
  },
  {
    name: 'SGX',
    attester: createSgxTestEnclave({
      root: ROOTS.intel,
      mrEnclave: seedOf(1),
      mrSigner: seedOf(2),
      isvProdId: 3,
      isvSvn: 4,
    }),
  },
  {
    name: 'SNP',
    attester: createSnpTestEnclave({ root: ROOTS.genoa, measurement: measureSnpTestImage(IMAGE), nowMs }),
  },
  {
    name: 'dstack',
    attester: createDstackTestEnclave({
      root: ROOTS.intel,
      mrtd: td.mrtd,
      bootDigests: [[td.rtmrs[0]], [td.rtmrs[1]], [td.rtmrs[2], td.rtmrs[3]]],
      events: DSTACK_EVENTS,
    }),
  },
];

/** What a machine measures, as anybody who has one can read it off. */
async function measurementOf({ name, attester }: Machine): Promise<Measurement> {
  const { kind } = attester;
  // Certificates of enclaves live for hours: this one is not judged at a fixed time.
  if (kind === 'nitro') return { kind, name, registers: [...pcrRegisters(measureTestImage(IMAGE))] };
  return readOff(kind, name, await attester.attest(ASKED));
}

function readOff(kind: EvidenceKind, name: string, document: Uint8Array): Measurement {
  const { claims } = judge(kind, document);
  assert.ok(claims, `${name} is authentic`);
  const registers = requiredRegisters(kind).map((register) => ({
    register,
    value: claims.registers.get(register) as Uint8Array,
  }));
  return { kind, name, registers: registers.sort((a, b) => (a.register < b.register ? -1 : 1)) };
}

const gpuMeasurement = async (): Promise<Measurement> =>
  readOff('nvidia', 'driver', (await gpus.attest(NONCE))[0] as Uint8Array);

const issuedMs = (): number => Math.floor(Date.now() / 1000) * 1000 - 2_000;
const post = (items: readonly Collateral[]): OpOf<'post-collateral'> => ({
  kind: 'post-collateral',
  items: [...items],
});

function intelCollateral(options: Partial<IntelTestCollateralOptions>): readonly (readonly Collateral[])[] {
  const given = { nowMs: issuedMs(), ...options };
  return [mintTdxCollateral(ROOTS.intel, given), mintSgxCollateral(ROOTS.intel, given).slice(2)];
}

interface OpenKey {
  readonly name: string;
  readonly keyId: Uint8Array;
  readonly op: OpOf<'open-key'>;
}

interface World {
  readonly network: TestNetwork;
  readonly chain: ChainView;
  readonly keys: readonly OpenKey[];
  readonly judgeKey: ReturnType<typeof openKeyJudge>;
}

async function start(t: TestContext, tcbGraceMs: number): Promise<World> {
  const measured = new Map<string, Measurement>();
  for (const machine of MACHINES) {
    const measurement = await measurementOf(machine);
    measured.set(measurementIdOf(measurement).join(), measurement);
  }
  const measurements = [...measured.values(), await gpuMeasurement()];
  const network = await startTestNetwork(t, {
    simulated: true,
    testRoots: TEST_ROOTS,
    measurements,
    params: { tcbGraceMs },
  });
  const { rpc, operators } = network;
  const [operator] = operators;
  for (const items of [...intelCollateral({}), mintAmdCollateral(ROOTS.genoa, { nowMs: issuedMs() })])
    assert.equal(await operator.submit([post(items)]), 'OK');
  const keys: OpenKey[] = [];
  for (const [i, { name, attester, gpus: own }] of MACHINES.entries()) {
    const parts = { rpc, operator, attester, keyEpoch: i + 1, ...(own === undefined ? {} : { gpus: own }) };
    const op = await openKeyOp(parts);
    assert.equal(await operator.submit([op]), 'OK', name);
    keys.push({ name, op, keyId: keyIdOf(CHAIN, operator.nodeId, i + 1, op.binding.signPublicKey) });
  }
  const { block_id: first } = (await rpc.call('block', { height: '1' })) as { block_id: { hash: string } };
  const trust = { chainId: CHAIN, height: 1, hash: fromHex(first.hash.toLowerCase()) };
  const chain = openChainView({ crypto: nodeCrypto, rpc, trust, clock: Date.now });
  return { network, chain, keys, judgeKey: openKeyJudge(nodeCrypto, chain) };
}

async function judgedByClient(
  { chain, judgeKey }: World,
  { keyId, op }: OpenKey,
): Promise<EvidenceJudgement> {
  const stateHeight = chain.head().height - 1;
  const [{ value: keyBytes }, { value: configBytes }] = await Promise.all([
    chain.record(recordKey.nodeKey(keyId), stateHeight),
    chain.record(recordKey.params(), stateHeight),
  ]);
  const { evidence, binding, gpuEvidence } = op;
  assert.ok(evidence);
  const api = {
    attestation: async () => ({
      envelope: evidence,
      binding,
      ...(gpuEvidence === undefined ? {} : { gpuEvidence }),
    }),
  };
  const key = decode(nodeKeyRecordCodec, keyBytes as Uint8Array, 'key');
  const config = decode(chainConfigRecordCodec, configBytes as Uint8Array, 'config');
  return (await judgeKey({ api, keyId, key, config, stateHeight })).judgement;
}

interface Said {
  readonly standing: string;
  readonly isBacking: boolean;
  readonly effectiveEndMs: number;
  readonly tier: string;
  readonly tcbStatus: string | null;
}

/** What the newest block changed is proven by the header above it; idle networks take their time. */
async function makeBlocks(
  { network, chain }: Pick<World, 'network' | 'chain'>,
  count: number,
): Promise<void> {
  const [{ submit }, { id }] = network.operators;
  for (let i = 0; i < count; i++)
    assert.equal(await submit([{ kind: 'transfer-opg', to: id, amount: nopg(1n) }]), 'OK');
  await chain.sync();
}

/** The standing of each key by its name, which full node and client agree on. */
async function standings(world: World): Promise<Readonly<Record<string, string>>> {
  const agreed: Record<string, string> = {};
  await makeBlocks(world, 1);
  for (const key of world.keys) {
    const own = await judgedByClient(world, key);
    const { value } = await world.network.rpc.query('/key-standing', key.keyId);
    const said = JSON.parse(new TextDecoder().decode(value)) as Said;
    const wrong = own.verdict.checks.filter(({ status }) => status === 'failed' || status === 'skipped');
    assert.equal(own.verdict.ok, said.isBacking, `${key.name}: ${JSON.stringify(wrong)}`);
    assert.deepEqual(
      [own.standing, own.tier, own.tcbStatus],
      [said.standing, said.tier, said.tcbStatus],
      key.name,
    );
    if (said.isBacking) assert.equal(own.effectiveEndMs, said.effectiveEndMs, key.name);
    agreed[key.name] = said.tcbStatus === null ? said.standing : `${said.standing}, ${said.tcbStatus}`;
  }
  return agreed;
}

async function decree({ network, chain }: World, action: DecreeAction): Promise<void> {
  await makeBlocks({ network, chain }, 1);
  const given = { chainId: CHAIN, serial: await nextDecreeSerial(chain), action };
  const signature = signDecree(given, ed25519SignerFromSeed(seedOf(1)));
  assert.equal(await network.operators[0].submit([decreeOp(given, [signature])]), 'OK', action.kind);
}

const INTEL = ['TDX', 'TDX with GPUs', 'SGX', 'dstack'];
const withAll = (names: readonly string[], standing: string): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [name, standing]));

test('clients agree with full nodes on keys of every shape, through recovery, floors and revocation', async (t) => {
  const world = await start(t, 0);
  const [operator] = world.network.operators;
  let expected: Readonly<Record<string, string>> = {
    ...withAll(['Nitro', 'SNP'], 'good'),
    ...withAll(INTEL, 'good, UpToDate'),
  };
  assert.deepEqual(await standings(world), expected);
  for (const items of intelCollateral({ tcbEvaluationDataNumber: 18, platformStatus: 'OutOfDate' }))
    assert.equal(await operator.submit([post(items.filter(({ kind }) => kind !== 'intel-crl'))]), 'OK');
  expected = { ...expected, ...withAll(INTEL, 'tcb-out-of-date, OutOfDate') };
  assert.deepEqual(await standings(world), expected);
  await decree(world, {
    kind: 'set-tcb-statuses',
    evidenceKind: 'tdx',
    statuses: ['UpToDate', 'OutOfDate'],
  });
  expected = { ...expected, ...withAll(['TDX', 'TDX with GPUs', 'dstack'], 'good, OutOfDate') };
  assert.deepEqual(await standings(world), expected);
  const floor = { bootloader: 255, tee: 255, snp: 255, microcode: 255, fmc: null };
  await decree(world, { kind: 'set-tcb-floor', product: 'genoa', floor });
  expected = { ...expected, SNP: 'tcb-out-of-date' };
  assert.deepEqual(await standings(world), expected);
  await decree(world, { kind: 'revoke-measurement', measurementId: measurementIdOf(await gpuMeasurement()) });
  expected = { ...expected, 'TDX with GPUs': 'measurement-revoked, OutOfDate' };
  assert.deepEqual(await standings(world), expected);
  const [nitro] = MACHINES as [Machine];
  const measurementId = measurementIdOf(await measurementOf(nitro));
  const { height } = await world.network.rpc.status();
  await decree(world, { kind: 'deprecate-measurement', measurementId, height: height + 5 });
  await makeBlocks(world, 8);
  expected = { ...expected, Nitro: 'measurement-deprecated' };
  assert.deepEqual(await standings(world), expected);
});

test('clients agree with full nodes while the grace of a raised evaluation runs', async (t) => {
  const world = await start(t, 86_400_000);
  const [operator] = world.network.operators;
  for (const items of intelCollateral({ tcbEvaluationDataNumber: 18, platformStatus: 'OutOfDate' }))
    assert.equal(await operator.submit([post(items.filter(({ kind }) => kind !== 'intel-crl'))]), 'OK');
  const expected = { ...withAll(['Nitro', 'SNP'], 'good'), ...withAll(INTEL, 'good, OutOfDate') };
  assert.deepEqual(await standings(world), expected);
  for (const items of intelCollateral({ tcbEvaluationDataNumber: 19, platformStatus: 'Revoked' }))
    assert.equal(await operator.submit([post(items.filter(({ kind }) => kind !== 'intel-crl'))]), 'OK');
  const revoked = { ...expected, ...withAll(INTEL, 'tcb-out-of-date, Revoked') };
  assert.deepEqual(await standings(world), revoked);
});
