import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { encode, sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  type DecreeAction,
  decodeTransaction,
  evidencePolicyRecordCodec,
  failed,
  type Hardware,
  type HardwareRecord,
  hardwareIdOf,
  hardwareRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  LIVE_MEASUREMENTS_MAX,
  type MeasurementRecord,
  measurementIdOf,
  measurementIndexRecordCodec,
  measurementRecordCodec,
  nodeKeyRecordCodec,
  nopg,
  type Op,
  permanentRows,
  REVOKED_CERTIFICATES_MAX,
  recordKey,
  registrationBindingHash,
  tableOf,
  transactionGas,
  validatorRecordCodec,
  verdictOf,
} from '@haca/protocol';
import { checkInvariants, STANDINGS } from '../src/state-machine/index.ts';
import { verdictRefusal } from '../src/state-machine/verdict-refusal.ts';
import {
  chip,
  collateral,
  decree,
  decreeOp,
  EVIDENCE_PARAMS,
  evidenceWorld,
  GPU_MEASUREMENT,
  ISSUER,
  measurement,
  openCode,
  openDocumentKey,
  openWithDocuments,
  post,
  standingOf,
  TD_MEASUREMENT,
} from './evidence-world.ts';
import {
  actor,
  attribute,
  consensusSigner,
  FAUCET,
  funded,
  keyEvidenceOf,
  keyOf,
  nodeOf,
  OPG,
  openKey,
  openKeyOp,
  PROPOSER,
  registerNode,
  registerOp,
  settle,
  settleOp,
  statementOf,
  TEST_MEASUREMENT,
  type World,
} from './state-machine-world.ts';

const RELEASE = {
  sourceCommit: 'ab'.repeat(20),
  recipe: 'build/image.nix',
  rebuilds: [sha256(utf8Encode('r'))],
};
const NEXT = measurement('tdx', 'next');

function propose(over: Partial<Extract<DecreeAction, { kind: 'propose-measurement' }>> = {}): DecreeAction {
  return { kind: 'propose-measurement', measurement: NEXT, release: RELEASE, isEmergency: false, ...over };
}

function measurementRow(world: World, of = NEXT): MeasurementRecord | undefined {
  return world.read(measurementRecordCodec, recordKey.measurement(measurementIdOf(of)));
}

function hardwareRow(world: World, hardware: Hardware, simulated = false): HardwareRecord | undefined {
  return world.read(hardwareRecordCodec, recordKey.hardware(hardwareIdOf(hardware, simulated)));
}

/** A world whose chain has collateral for the platform of made-up documents. */
function readyWorld(...args: Parameters<typeof evidenceWorld>): ReturnType<typeof evidenceWorld> {
  const ready = evidenceWorld(...args);
  post(ready.world, FAUCET, collateral());
  return ready;
}

test('TC-11: measurements of genesis are rows and active from the first block; the settings hold none', () => {
  const { world, node } = readyWorld();
  for (const each of [TEST_MEASUREMENT, TD_MEASUREMENT, GPU_MEASUREMENT]) {
    assert.deepEqual(measurementRow(world, each), {
      measurement: each,
      release: null,
      proposedAt: 0,
      activeFrom: 0,
    });
  }
  assert.equal('measurements' in world.ctx.config, false);
  assert.equal(openCode(world, node), 'OK');
  assert.equal(openCode(world, node, { doc: { measurement: 'next' } }), 'E_MEASUREMENT');
});

test('TC-12: a proposal opens keys after the delay and not a block before', () => {
  const { world, node } = readyWorld();
  const result = world.ok(FAUCET, [decreeOp(world, propose())]);
  const at = world.height();
  assert.equal(attribute(result, 'decree', 'activeFrom'), `${at + EVIDENCE_PARAMS.measurementDelay}`);
  assert.deepEqual(measurementRow(world), {
    measurement: NEXT,
    release: RELEASE,
    proposedAt: at,
    activeFrom: at + EVIDENCE_PARAMS.measurementDelay,
  });
  const doc = { measurement: 'next' };
  while (world.height() + 1 < at + EVIDENCE_PARAMS.measurementDelay) {
    assert.equal(openCode(world, node, { doc }), 'E_MEASUREMENT', `${world.height()}`);
  }
  assert.equal(openCode(world, node, { doc }), 'OK');
});

test('TC-12 E_DECREE: an emergency is active at once, for more than five sixths of the power', () => {
  const { world, node } = readyWorld();
  const first = actor('validator').signer;
  const others = ['a', 'b'].map((name) => {
    const operator = funded(world, name, 400_000n * OPG, 0n);
    const signer = consensusSigner(name);
    world.ok(operator, [registerOp(operator, signer, 100_000n * OPG)]);
    return signer;
  });
  world.skip(2);
  // 1000, 100 and 100 units: exactly five sixths are not enough.
  const code = (action: DecreeAction, signers = [first]): string =>
    world.run(FAUCET, [decreeOp(world, action, signers)]).codeName;
  assert.equal(code(propose({ isEmergency: true })), 'E_DECREE');
  assert.equal(measurementRow(world), undefined, 'a refused decree leaves nothing');
  assert.equal(code(propose({ isEmergency: true }), [first, ...others.slice(1)]), 'OK');
  assert.equal(measurementRow(world)?.activeFrom, world.height());
  assert.equal(openCode(world, node, { doc: { measurement: 'next' } }), 'OK');
  assert.equal(
    code(propose({ measurement: measurement('tdx', 'third') })),
    'OK',
    'two thirds for the slow way',
  );
});

test('CHAIN-97 E_VALIDATOR: who signed twice decides nothing, even where the chain goes on by its power', () => {
  const { world } = evidenceWorld();
  const revoking = { kind: 'revoke-hardware', hardware: chip('intel', 'chip') } as const;
  world.block([], { misbehavior: [{ address: PROPOSER, height: world.height() }] });
  assert.equal(world.read(validatorRecordCodec, recordKey.validator(PROPOSER))?.power, 1);
  assert.equal(decree(world, FAUCET, revoking), 'E_VALIDATOR');
  assert.equal(decree(evidenceWorld().world, FAUCET, revoking), 'OK');
});

test('TC-12 E_DECREE: one thing has one row for ever; registers ascend; the live ones are bounded', () => {
  const { world } = readyWorld();
  const twice = measurement('tdx', 'twice');
  const [register] = twice.registers;
  assert.ok(register !== undefined);
  for (const registers of [
    [register, register],
    [register, { ...register, register: 'aaa' }],
  ]) {
    const bad = propose({ measurement: { ...twice, registers } });
    assert.equal(decree(world, FAUCET, bad), 'E_DECREE');
  }
  assert.equal(decree(world, FAUCET, propose()), 'OK');
  assert.equal(decree(world, FAUCET, propose()), 'E_DECREE');
  const renamed = propose({ measurement: { ...NEXT, name: 'another name' } });
  assert.equal(decree(world, FAUCET, renamed), 'E_DECREE', 'a name makes it no other thing');
  const measurementId = measurementIdOf(NEXT);
  assert.equal(decree(world, FAUCET, { kind: 'revoke-measurement', measurementId }), 'OK');
  assert.equal(decree(world, FAUCET, propose()), 'E_DECREE', 'revoked is for ever');
  const live = (): number =>
    world.read(measurementIndexRecordCodec, recordKey.measurementIndex())?.length ?? 0;
  for (let i = live(); i < LIVE_MEASUREMENTS_MAX; i++) {
    assert.equal(decree(world, FAUCET, propose({ measurement: measurement('snp', `m${i}`) })), 'OK');
  }
  assert.equal(decree(world, FAUCET, propose({ measurement: twice })), 'E_DECREE');
  const first = measurementIdOf(measurement('snp', 'm200'));
  const height = world.height() + 2;
  assert.equal(decree(world, FAUCET, { kind: 'deprecate-measurement', measurementId: first, height }), 'OK');
  assert.equal(decree(world, FAUCET, propose({ measurement: twice })), 'OK', 'a deprecated one makes room');
  assert.equal(live(), LIVE_MEASUREMENTS_MAX);
});

test('TC-13: from its height on a deprecated measurement opens no key; open keys go on to their end', () => {
  const { world, node } = readyWorld();
  const measurementId = measurementIdOf(TD_MEASUREMENT);
  const deprecate = (height: number): string =>
    decree(world, FAUCET, { kind: 'deprecate-measurement', measurementId, height });
  const key = openDocumentKey(world, node);
  assert.equal(deprecate(world.height()), 'E_DECREE', 'in the past');
  assert.equal(deprecate(world.height() + 50), 'OK');
  assert.equal(deprecate(world.height() + 49), 'E_DECREE', 'the height it has');
  const height = world.height() + 4;
  assert.equal(deprecate(height), 'OK', 'moved');
  while (world.height() + 1 < height) assert.equal(openCode(world, node), 'OK');
  assert.equal(openCode(world, node), 'E_MEASUREMENT');
  const shown = standingOf(world, key);
  assert.deepEqual([shown?.standing, shown?.isBacking], ['measurement-deprecated', true]);
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  assert.equal(deprecate(world.height() + 9), 'E_DECREE', 'it has come');
  const unknown = sha256(utf8Encode('unknown'));
  const other: DecreeAction = { kind: 'deprecate-measurement', measurementId: unknown, height: height + 99 };
  assert.equal(decree(world, FAUCET, other), 'E_MEASUREMENT');
});

test('TC-14: a revoked measurement backs nothing from that block on, GPU or not, and never comes back', () => {
  const { world, node } = readyWorld();
  const key = openDocumentKey(world, node);
  const withGpu = openDocumentKey(world, node, { gpus: [{ hardware: ['g'] }] });
  const revoke = (of: typeof NEXT): string =>
    decree(world, FAUCET, { kind: 'revoke-measurement', measurementId: measurementIdOf(of) });
  assert.equal(revoke(NEXT), 'E_MEASUREMENT');
  assert.equal(revoke(GPU_MEASUREMENT), 'OK');
  assert.equal(revoke(GPU_MEASUREMENT), 'E_DECREE');
  assert.equal(settle(world, withGpu, 1, 0n).codeName, 'E_KEY');
  const revoked = standingOf(world, withGpu);
  assert.deepEqual([revoked?.standing, revoked?.effectiveEndMs], ['measurement-revoked', world.timeMs()]);
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  const settlement = settle(world, key, 1, 0n);
  assert.equal(settlement.codeName, 'OK');
  assert.equal(revoke(TD_MEASUREMENT), 'OK');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
  assert.equal(key.seq, 2, 'what settled before stays');
  assert.equal(openCode(world, node), 'E_MEASUREMENT');
  const deprecate: DecreeAction = {
    kind: 'deprecate-measurement',
    measurementId: measurementIdOf(TD_MEASUREMENT),
    height: world.height() + 9,
  };
  assert.equal(decree(world, FAUCET, deprecate), 'E_DECREE');
});

test('TC-14: what was revoked before it was active never is', () => {
  const { world, node } = readyWorld();
  assert.equal(decree(world, FAUCET, propose()), 'OK');
  assert.equal(
    decree(world, FAUCET, { kind: 'revoke-measurement', measurementId: measurementIdOf(NEXT) }),
    'OK',
  );
  world.skip(10);
  assert.equal(openCode(world, node, { doc: { measurement: 'next' } }), 'E_MEASUREMENT');
});

test('TC-15: a certificate revoked by decree takes the standing of every key whose chain holds it', () => {
  const { world, node } = readyWorld();
  const [key, other] = [1, 2].map((serial) => openDocumentKey(world, node, { doc: { serial } }));
  const gpu = openDocumentKey(world, node, { doc: { serial: 3 }, gpus: [{ serial: 1, hardware: ['g'] }] });
  assert.ok(key !== undefined && other !== undefined);
  const certificate = { issuer: ISSUER, serial: Uint8Array.of(1) };
  const revoke: DecreeAction = { kind: 'revoke-certificate', certificate };
  assert.equal(decree(world, FAUCET, revoke), 'OK');
  assert.equal(decree(world, FAUCET, revoke), 'E_DECREE');
  for (const each of [key, gpu]) {
    assert.equal(standingOf(world, each)?.standing, 'certificate-revoked');
    assert.equal(settle(world, each, 1, 0n).codeName, 'E_KEY');
  }
  assert.equal(settle(world, other, 1, 0n).codeName, 'OK');
  assert.equal(openCode(world, node, { doc: { serial: 1 } }), 'E_EVIDENCE');
});

test('TC-15 E_DECREE: the list of certificates is bounded', () => {
  const { world } = readyWorld({ audit: false, params: { gasTarget: 50_000_000 } });
  const revoke = (i: number): DecreeAction => ({
    kind: 'revoke-certificate',
    certificate: { issuer: ISSUER, serial: Uint8Array.of(1, i >> 8, i & 255) },
  });
  for (let i = 0; i < REVOKED_CERTIFICATES_MAX; i++) assert.equal(decree(world, FAUCET, revoke(i)), 'OK');
  assert.equal(decree(world, FAUCET, revoke(600)), 'E_DECREE');
});

test('TC-15 E_DECREE: serial 0 names no certificate, and the refusal says what to revoke instead', () => {
  const { world } = readyWorld();
  const revoked = world.read(evidencePolicyRecordCodec, recordKey.evidencePolicy());
  for (const serial of [Uint8Array.of(0), Uint8Array.of(0, 0)]) {
    const op = decreeOp(world, { kind: 'revoke-certificate', certificate: { issuer: ISSUER, serial } });
    const { codeName, info } = world.run(FAUCET, [op]);
    assert.equal(codeName, 'E_DECREE');
    assert.match(info, /revoke-hardware takes a chip by its id/);
  }
  assert.deepEqual(world.read(evidencePolicyRecordCodec, recordKey.evidencePolicy()), revoked);
  const certificate = { issuer: ISSUER, serial: Uint8Array.of(0, 0x80) };
  assert.equal(decree(world, FAUCET, { kind: 'revoke-certificate', certificate }), 'OK', 'serial 128');
});

test('TC-16: TCB statuses and floors are set by decree, and each must change something', () => {
  const { world, node } = readyWorld();
  const policy = () => world.read(evidencePolicyRecordCodec, recordKey.evidencePolicy());
  const statuses = (...names: readonly ('UpToDate' | 'OutOfDate' | 'SWHardeningNeeded')[]): string =>
    decree(world, FAUCET, { kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses: names });
  assert.equal(openCode(world, node, { doc: { level: 0 } }), 'E_EVIDENCE');
  assert.equal(statuses('UpToDate', 'SWHardeningNeeded'), 'E_DECREE', 'as they are');
  assert.equal(statuses('OutOfDate', 'UpToDate'), 'E_DECREE', 'in their order');
  assert.equal(statuses('UpToDate', 'UpToDate'), 'E_DECREE', 'each once');
  assert.equal(statuses('UpToDate', 'OutOfDate'), 'OK');
  assert.equal(openCode(world, node, { doc: { level: 0 } }), 'OK');
  const floor = { bootloader: 4, tee: 0, snp: 24, microcode: 219, fmc: null };
  const set = (product: 'milan' | 'turin', value: typeof floor | { fmc: number } | null): string =>
    decree(world, FAUCET, {
      kind: 'set-tcb-floor',
      product,
      floor: value === null ? null : { ...floor, ...value },
    });
  assert.equal(set('milan', null), 'E_DECREE', 'there is none');
  assert.equal(set('turin', floor), 'E_DECREE', 'Turin has an FMC version');
  assert.equal(set('milan', { fmc: 1 }), 'E_DECREE', 'Milan has none');
  assert.equal(set('turin', { fmc: 1 }), 'OK');
  assert.equal(set('milan', floor), 'OK');
  assert.equal(set('milan', floor), 'E_DECREE');
  assert.deepEqual(
    policy()?.tcbFloors.map(({ product }) => product),
    ['milan', 'turin'],
  );
  assert.equal(set('milan', null), 'OK');
  assert.deepEqual(
    policy()?.tcbFloors.map(({ product }) => product),
    ['turin'],
  );
});

test('TC-17 E_HARDWARE: one chip, one operator; a GPU serves one node of it', () => {
  const { world, node } = readyWorld();
  const rival = registerNode(world, funded(world, 'rival', 90_000n * OPG));
  const second = registerNode(world, node.operator);
  const doc = { hardware: ['cpu'] };
  const gpus = [{ hardware: ['gpu'] }];
  openDocumentKey(world, node, { doc, gpus });
  assert.equal(openCode(world, rival, { doc }), 'E_HARDWARE');
  assert.equal(openCode(world, rival, { gpus }), 'E_HARDWARE');
  assert.equal(openCode(world, second, { doc, gpus }), 'E_HARDWARE', 'the GPU is of the first node');
  assert.equal(openCode(world, second, { doc }), 'OK', 'a CPU may serve two nodes of one operator');
  assert.equal(openCode(world, node, { doc, gpus }), 'OK', 'rolling a key is no conflict');
  assert.deepEqual(hardwareRow(world, chip('intel', 'cpu'))?.holder, {
    operator: node.operator.id,
    nodeId: null,
    keys: 3,
  });
  assert.deepEqual(hardwareRow(world, chip('nvidia', 'gpu'))?.holder, {
    operator: node.operator.id,
    nodeId: node.nodeId,
    keys: 2,
  });
  assert.equal(nodeOf(world, rival.nodeId).keys.length, 0);
});

test('TC-17 TC-21 E_HARDWARE: a chip once in a transaction, and no GPU without an identity', () => {
  const { world, node } = readyWorld();
  const gpu = { hardware: ['gpu'] };
  assert.equal(openCode(world, node, { gpus: [gpu, gpu] }), 'E_HARDWARE');
  assert.equal(openCode(world, node, { gpus: [gpu, {}] }), 'E_HARDWARE');
  assert.equal(hardwareRow(world, chip('nvidia', 'gpu')), undefined);
  assert.equal(openCode(world, node, { gpus: [gpu, { hardware: ['other'] }] }), 'OK');
});

test('TC-18: a chip is free when the last key that names it is drained; closing early frees it early', () => {
  const { world, node } = readyWorld({ params: { keyTtl: 40 } });
  const rival = registerNode(world, funded(world, 'rival', 90_000n * OPG));
  const doc = { hardware: ['cpu'] };
  const first = openDocumentKey(world, node, { doc });
  const second = openDocumentKey(world, node, { doc });
  const closing = (keyId: Uint8Array): Op => ({ kind: 'close-key', keyId });
  world.ok(node.operator, [closing(second.keyId)]);
  const drained = (key: typeof first): number => {
    const { closingAt, notAfter } = keyOf(world, key.keyId);
    return Math.min(closingAt ?? notAfter, notAfter) + EVIDENCE_PARAMS.keyDrain;
  };
  while (world.height() < drained(second)) world.block();
  assert.equal(hardwareRow(world, chip('intel', 'cpu'))?.holder?.keys, 1);
  assert.equal(openCode(world, rival, { doc }), 'E_HARDWARE', 'the first one is not drained');
  world.ok(node.operator, [closing(first.keyId)]);
  while (world.height() + 1 < drained(first)) world.block();
  assert.equal(openCode(world, rival, { doc }), 'E_HARDWARE', 'in its last block');
  assert.equal(hardwareRow(world, chip('intel', 'cpu')), undefined, 'a row for nothing is none');
  assert.equal(openCode(world, rival, { doc }), 'OK');
});

test('TC-19 TC-20: hardware is registered, taken off and revoked by decree; tiers say what is known', () => {
  const { world, node } = readyWorld();
  const cpu = chip('intel', 'cpu');
  const tier = (doc: object): string | undefined =>
    keyOf(world, openDocumentKey(world, node, { doc }).keyId).evidence?.tier;
  assert.equal(tier({}), 'unknown-host');
  assert.equal(tier({ hardware: ['cpu'] }), 'unknown-host');
  const register: DecreeAction = { kind: 'register-hardware', hardware: cpu, provider: 'a data centre' };
  assert.equal(decree(world, FAUCET, { kind: 'unregister-hardware', hardware: cpu }), 'E_DECREE');
  assert.equal(decree(world, FAUCET, register), 'OK');
  assert.equal(decree(world, FAUCET, register), 'E_DECREE');
  assert.equal(hardwareRow(world, cpu)?.provider, 'a data centre');
  assert.equal(hardwareRow(world, cpu)?.holder?.keys, 1, 'its holder stays');
  assert.equal(tier({ hardware: ['cpu'] }), 'registered-hardware');
  assert.equal(tier({ hardware: ['cpu', 'unknown'] }), 'unknown-host', 'all of it or none');
  assert.equal(tier({ cloud: 'aws' }), 'cloud');
  assert.equal(decree(world, FAUCET, { kind: 'unregister-hardware', hardware: cpu }), 'OK');
  const key = openDocumentKey(world, node, { doc: { hardware: ['cpu'] } });
  const revoke: DecreeAction = { kind: 'revoke-hardware', hardware: cpu };
  assert.equal(decree(world, FAUCET, revoke), 'OK');
  assert.equal(decree(world, FAUCET, revoke), 'E_DECREE');
  assert.equal(standingOf(world, key)?.standing, 'hardware-revoked');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
  assert.equal(openCode(world, node, { doc: { hardware: ['cpu'] } }), 'E_HARDWARE');
  world.skip(200);
  assert.deepEqual(
    [hardwareRow(world, cpu)?.holder, hardwareRow(world, cpu)?.revokedAt !== undefined],
    [undefined, true],
    'revoked chips are kept',
  );
});

test('TC-20: simulated evidence is called so, and its chips take the place of none', () => {
  const { world, node } = evidenceWorld({ isSimulated: true });
  post(world, FAUCET, collateral(), collateral({ root: 'test root' }));
  const doc = { root: 'test root', hardware: ['cpu'], cloud: 'aws' };
  const { evidence } = keyOf(world, openDocumentKey(world, node, { doc }).keyId);
  assert.deepEqual([evidence?.tier, evidence?.simulated], ['simulated', true]);
  const gpu = keyOf(
    world,
    openDocumentKey(world, node, { gpus: [{ root: 'test root', hardware: ['g'] }] }).keyId,
  );
  assert.deepEqual([gpu.evidence?.tier, gpu.evidence?.simulated], ['simulated', true]);
  assert.equal(hardwareRow(world, chip('intel', 'cpu'), true)?.simulated, true);
  assert.equal(hardwareRow(world, chip('intel', 'cpu')), undefined);
  const rival = registerNode(world, funded(world, 'rival', 90_000n * OPG));
  assert.equal(openCode(world, rival, { doc: { hardware: ['cpu'] } }), 'OK');
  assert.equal(openCode(world, rival, { doc }), 'E_HARDWARE');
});

test('TC-21 E_EVIDENCE: GPU documents are those of the binding, of this binding, of approved firmware, and never alone', () => {
  const { world, node } = readyWorld();
  const gpus = [{ hardware: ['g0'] }, { hardware: ['g1'] }];
  const { op } = openWithDocuments(world, node, { gpus });
  assert.ok(op.gpuEvidence !== undefined);
  const code = (changed: Op): string => world.run(node.operator, [changed]).codeName;
  const { gpuEvidence: _gone, ...without } = op;
  assert.equal(code(without), 'E_EVIDENCE', 'left out');
  assert.equal(code({ ...op, gpuEvidence: [...op.gpuEvidence].reverse() }), 'E_EVIDENCE', 'in another order');
  assert.equal(code({ ...op, gpuEvidence: op.gpuEvidence.slice(1) }), 'E_EVIDENCE', 'one left out');
  assert.equal(
    code({ ...openWithDocuments(world, node).op, gpuEvidence: op.gpuEvidence }),
    'E_EVIDENCE',
    'not bound',
  );
  const foreign = { bound: toHex(registrationBindingHash(nodeCrypto, op.binding)), hardware: ['g'] };
  assert.equal(openCode(world, node, { gpus: [foreign] }), 'E_EVIDENCE', 'another nonce');
  assert.equal(openCode(world, node, { gpus: [{ hardware: ['g'], measurement: 'td' }] }), 'E_MEASUREMENT');
  assert.equal(openCode(world, node, { kind: 'nvidia' }), 'E_EVIDENCE', 'a GPU alone');
  assert.equal(openCode(world, node, { gpus }), 'OK');
});

test('E_MEASUREMENT: what a refusal says is short, however many measurements it could name', () => {
  const names = Array.from({ length: 256 }, (_, i) => `${i}`.padStart(64, '-')).join(' | ');
  const verdict = verdictOf([failed('tdx.measurement', 'tdx.measurement', names, names)]);
  const { code, info } = verdictRefusal(verdict, 'E_EVIDENCE');
  assert.equal(code, 'E_MEASUREMENT');
  assert.ok(info.startsWith('tdx.measurement: expected -----') && info.length < 1_200);
});

test('TC-21 E_METHOD: keys of other methods have no evidence of GPUs either', () => {
  const { world, node } = readyWorld();
  const { op } = openWithDocuments(world, node, { gpus: [{ hardware: ['g'] }] });
  const signed = openKeyOp(world, node, { binding: { gpuEvidenceRoot: op.binding.gpuEvidenceRoot } }).op;
  assert.equal(world.run(node.operator, [signed]).codeName, 'E_EVIDENCE');
  const bound = { ...signed, ...(op.gpuEvidence === undefined ? {} : { gpuEvidence: op.gpuEvidence }) };
  assert.equal(world.run(node.operator, [bound]).codeName, 'E_METHOD');
});

test('TC-22: the record of a key holds what it is judged by again, and the event says its tier', () => {
  const { world, node } = readyWorld();
  const endMs = world.timeMs() + 50_000;
  const { op, key } = openWithDocuments(world, node, {
    doc: { hardware: ['cpu'] },
    gpus: [{ hardware: ['g0'], endMs }, { hardware: ['g1'] }],
  });
  const result = world.ok(node.operator, [op]);
  assert.equal(attribute(result, 'open-key', 'tier'), 'unknown-host');
  assert.equal(attribute(result, 'open-key', 'gpus'), '2');
  const [gpu0, gpu1] = op.gpuEvidence ?? [];
  assert.ok(gpu0 !== undefined && gpu1 !== undefined && op.evidence !== null);
  const { document } = op.evidence;
  const gpuOf = (bytes: Uint8Array) => ({
    documentHash: sha256(bytes),
    claimsDigest: sha256(bytes),
    measurementId: measurementIdOf(GPU_MEASUREMENT),
    facts: bytes,
  });
  const record = keyEvidenceOf(world, key.keyId);
  assert.ok(record !== undefined);
  assert.deepEqual(keyOf(world, key.keyId).evidence, {
    kind: 'tdx',
    endMs,
    simulated: false,
    tier: 'unknown-host',
    recordHash: keyEvidenceHash(record),
  });
  assert.deepEqual(record, {
    documentHash: sha256(document),
    claimsDigest: sha256(document),
    measurement: 'td',
    measurementId: measurementIdOf(TD_MEASUREMENT),
    facts: document,
    hardware: [chip('intel', 'cpu'), chip('nvidia', 'g0'), chip('nvidia', 'g1')].map((each) =>
      hardwareIdOf(each, false),
    ),
    gpus: [gpuOf(gpu0), gpuOf(gpu1)],
  });
  assert.equal(standingOf(world, key)?.effectiveEndMs, endMs, 'the earliest end of all documents');
});

test('TC-25: a batch writes the row of the key and never that of its evidence: as much with 16 GPUs as with none', () => {
  const { world, node } = readyWorld();
  // Facts are the whole document here: some 2 kB each.
  const gpus = Array.from({ length: 16 }, (_, i) => ({ hardware: [`g${i}`], cloud: 'x'.repeat(1_800) }));
  const settled = [{ kind: 'nitro', doc: { measurement: 'test' } } as const, { gpus }].map((options) => {
    const key = openDocumentKey(world, node, options);
    const row = world.get(recordKey.keyEvidence(key.keyId)) as Uint8Array;
    const tx = world.tx(node.operator, [settleOp(statementOf(key, 1, 0n).bytes)]);
    const gas = transactionGas(decodeTransaction(tx));
    const { changes, results } = world.block([tx]);
    assert.equal(results[0]?.codeName, 'OK');
    const sizes = changes.map(([name, value]) => [tableOf(name), value?.length ?? 0] as const);
    const [keyRow, ...others] = sizes.filter(([table]) => table === 'nodeKey');
    assert.ok(keyRow !== undefined && others.length === 0);
    assert.ok(!sizes.some(([table]) => table === 'keyEvidence'));
    assert.deepEqual(world.get(recordKey.keyEvidence(key.keyId)), row);
    return { gas, keyRow: keyRow[1], evidence: row.length };
  });
  const [nitro, tdx] = settled as [(typeof settled)[number], (typeof settled)[number]];
  assert.ok(tdx.evidence > 30_000 && nitro.evidence < 1_000, `${nitro.evidence} and ${tdx.evidence}`);
  assert.equal(tdx.gas, nitro.gas);
  // `tdx` is shorter than `nitro`, and the binding has the root over the GPU documents in the place of null.
  assert.equal(tdx.keyRow, nitro.keyRow - 2 + 33);
});

test('TC-25: the row of evidence goes with the row of the key, and keys of other methods have none', () => {
  const { world, node } = readyWorld();
  const key = openDocumentKey(world, node, { doc: { hardware: ['cpu'] }, gpus: [{ hardware: ['gpu'] }] });
  const signed = openKey(world, node);
  assert.equal(keyEvidenceOf(world, signed.keyId), undefined);
  assert.equal(keyOf(world, signed.keyId).evidence, null);
  const row = keyEvidenceOf(world, key.keyId);
  world.ok(node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
  let isReleased = false;
  while (world.read(nodeKeyRecordCodec, recordKey.nodeKey(key.keyId)) !== undefined) {
    assert.deepEqual(keyEvidenceOf(world, key.keyId), row);
    world.block();
    isReleased ||= hardwareRow(world, chip('nvidia', 'gpu')) === undefined;
  }
  assert.ok(isReleased, 'its chips are free by then');
  assert.equal(keyEvidenceOf(world, key.keyId), undefined);
  assert.ok([...world.state.values()].every(([name]) => tableOf(name) !== 'keyEvidence'));
});

test('TC-25: the audit finds a row of evidence that is missing, another, of another key, or of no key', () => {
  const { world, node } = readyWorld();
  const [first, second] = [1, 2].map(() => openDocumentKey(world, node, { gpus: [{ hardware: ['gpu'] }] }));
  const signed = openKey(world, node);
  assert.ok(first !== undefined && second !== undefined);
  const nameOf = (keyId: Uint8Array): Uint8Array => recordKey.keyEvidence(keyId);
  const row = keyEvidenceOf(world, first.keyId) as KeyEvidenceRecord;
  const other = keyEvidenceOf(world, second.keyId) as KeyEvidenceRecord;
  const audit = (): readonly string[] => checkInvariants(world, world.ctx.config, world.height());
  const withRow = (keyId: Uint8Array, value: KeyEvidenceRecord | null): readonly string[] => {
    const name = toHex(nameOf(keyId));
    const before = world.state.get(name);
    if (value === null) world.state.delete(name);
    else world.state.set(name, [nameOf(keyId), encode(keyEvidenceRecordCodec, value)]);
    const found = audit();
    if (before === undefined) world.state.delete(name);
    else world.state.set(name, before);
    return found;
  };
  assert.deepEqual(audit(), []);
  assert.match(withRow(first.keyId, null).join(), /has no row of its evidence/);
  assert.match(withRow(first.keyId, other).join(), /is not what its row names/);
  const altered = { ...row, facts: Uint8Array.of(...row.facts, 32) };
  assert.match(withRow(first.keyId, altered).join(), /is not what its row names/);
  assert.match(withRow(first.keyId, { ...row, hardware: [] }).join(), /is not what its row names/);
  assert.match(withRow(signed.keyId, row).join(), /belongs to no key/);
  assert.match(withRow(new Uint8Array(32), row).join(), /belongs to no key/);
  assert.deepEqual(audit(), []);
  // Nothing is settled on a damaged state.
  world.state.delete(toHex(nameOf(first.keyId)));
  assert.throws(() => settle(world, first, 1, 0n), { name: 'StateCorruptError' });
});

test('TC-22: gas counts each document, a row for what is kept of them, and each chip they may name', () => {
  const { world, node } = readyWorld();
  const gasOf = (op: Op): number => {
    const tx = decodeTransaction(world.tx(node.operator, [op]));
    assert.equal(permanentRows(tx), 0);
    return transactionGas(tx) - tx.bytes.length;
  };
  const bare = gasOf(openWithDocuments(world, node).op);
  const gpu = gasOf(openWithDocuments(world, node, { gpus: [{ hardware: ['g'] }] }).op);
  assert.equal(gpu - bare, 5_300 + 318);
  assert.equal(bare - gasOf(openKeyOp(world, node).op), 1_100 + 2 * 318);
  const decreeGas = (action: DecreeAction) => decodeTransaction(world.tx(FAUCET, [decreeOp(world, action)]));
  assert.equal(permanentRows(decreeGas(propose())), 1);
  assert.equal(permanentRows(decreeGas({ kind: 'disable-proof-kind', proofKind: 'zk' })), 0);
});

test('TC-23: keys overlap: a new epoch on the same chips opens while the old one settles what it served', () => {
  const { world, node } = readyWorld();
  const options = { doc: { hardware: ['cpu'] }, gpus: [{ hardware: ['gpu'] }] };
  const old = openDocumentKey(world, node, options);
  assert.equal(settle(world, old, 2, 0n).codeName, 'OK');
  const fresh = openDocumentKey(world, node, options);
  assert.equal(settle(world, fresh, 1, 0n).codeName, 'OK');
  world.ok(node.operator, [{ kind: 'close-key', keyId: old.keyId }]);
  assert.equal(settle(world, old, 1, 0n).codeName, 'OK', 'within the settle window');
  assert.equal(settle(world, fresh, 1, 0n).codeName, 'OK');
  assert.deepEqual(
    [standingOf(world, old)?.phase, standingOf(world, old)?.standing, standingOf(world, fresh)?.phase],
    ['closing', 'good', 'active'],
  );
});

test('TC-6: keys of other methods are always good, and a tee key without a row of evidence never', () => {
  const { world, node } = readyWorld();
  const { op, key } = openKeyOp(world, node);
  world.ok(node.operator, [op, { kind: 'bond-node', nodeId: node.nodeId, amount: nopg(OPG) }]);
  assert.deepEqual(standingOf(world, key), {
    standing: 'good',
    isBacking: true,
    effectiveEndMs: null,
    tier: null,
    tcbStatus: null,
    phase: 'active',
  });
  assert.equal(new Set(STANDINGS).size, 8);
});
