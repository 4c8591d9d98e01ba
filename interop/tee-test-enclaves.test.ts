/** Test enclaves of every vendor's shape against the production verifiers: they meet here, as bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createSnpTestEnclave,
  createSnpTestRoot,
  createTdxTestEnclave,
  createTdxTestRoot,
  createTestRoot,
  type IntelTestCollateralOptions,
  measureSnpTestImage,
  measureTdxTestImage,
  mintAmdCollateral,
  mintTdxCollateral,
  SNP_TEST_TCB,
} from '@haca/attester';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { decode, encode, toHex } from '@haca/primitives';
import {
  type Collateral,
  dstackDocumentCodec,
  type EvidenceKind,
  gpuNonceOf,
  type RegistrationBinding,
  registrationBindingHash,
  snpDocumentCodec,
} from '@haca/protocol';
import {
  dstackRegistrationPolicy,
  intelRegistrationPolicy,
  nitroRegistrationPolicy,
  nvidiaRegistrationPolicy,
  rescoreEvidence,
  snpRegistrationPolicy,
  vendorRoots,
} from '@haca/verifier';
import fc from 'fast-check';
import {
  ALL_COLLATERAL,
  ASKED,
  contextOf,
  DAY_MS,
  intelCollateral,
  judge,
  NONCE,
  NOW_MS,
  ROOTS,
  SHAPES,
  type Shape,
  TEST_ROOTS,
  type WorldOptions,
} from './tee-test-world.ts';

const documents = new Map<Shape, Uint8Array>();
for (const shape of SHAPES) documents.set(shape, await shape.document());
const documentOf = (shape: Shape): Uint8Array => documents.get(shape) as Uint8Array;
const shapeNamed = (name: string): Shape => {
  const found = SHAPES.find((shape) => shape.name === name);
  if (found === undefined) throw new Error(`there is no shape ${name}`);
  return found;
};
const TDX = shapeNamed('TDX, quote version 4');
const INTEL_SHAPES = SHAPES.filter(({ kind }) => ['tdx', 'sgx', 'dstack'].includes(kind));
const SNP_SHAPES = SHAPES.filter(({ kind }) => kind === 'snp');
/** Checks of Intel evidence inside dstack evidence keep the ids of TDX. */
const intelIds = ({ kind }: Shape): string => (kind === 'sgx' ? 'sgx' : 'tdx');

for (const crypto of [nodeCrypto, portableCrypto]) {
  for (const shape of SHAPES) {
    test(`${crypto.name}: a test enclave of shape ${shape.name} passes the production verifier, marked`, () => {
      const judgement = judge(shape.kind, documentOf(shape), { trust: { crypto } });
      assert.deepEqual([judgement.failures, judgement.skips], [[], []]);
      assert.equal(judgement.ok, true);
      assert.equal(judgement.claims?.isSimulated, true);
      assert.equal(judgement.claims.isDebug, false);
      assert.ok(judgement.claims.evidenceEndMs > NOW_MS);
      assert.ok(judgement.claims.facts.length <= 4_096);
      if (shape.kind !== 'nvidia') assert.equal(judgement.measurement, 'test');
    });
  }
}

test('production policy refuses them all: a genesis that is not simulated trusts the vendors alone', () => {
  for (const shape of SHAPES) {
    for (const options of [{ simulated: false }, { testRoots: [] }] satisfies WorldOptions[]) {
      const { ok, failures, claims } = judge(shape.kind, documentOf(shape), options);
      assert.equal(ok, false, shape.name);
      assert.equal(claims, null, shape.name);
      assert.deepEqual(
        failures.map((each) => each.split(':')[0]),
        [`${intelOr(shape.kind)}.chain.root`],
        shape.name,
      );
    }
    for (const { sha256, simulated } of vendorRoots(shape.kind)) {
      assert.equal(simulated, false);
      assert.ok(!TEST_ROOTS.some((root) => toHex(root) === toHex(sha256)), shape.name);
    }
  }
});

function intelOr(kind: EvidenceKind): string {
  return kind === 'dstack' ? 'tdx' : kind;
}

test('a root of the same names made from another seed is not trusted', async () => {
  const seed = new Uint8Array(32).fill(9);
  const others = {
    nitro: createTestRoot(seed),
    tdx: createTdxTestRoot(seed),
    sgx: createTdxTestRoot(seed),
    dstack: createTdxTestRoot(seed),
    snp: createSnpTestRoot(seed),
    nvidia: createNvidiaTestRoot(seed),
  };
  const seen = new Set<EvidenceKind>();
  for (const shape of SHAPES) {
    if (seen.has(shape.kind)) continue;
    seen.add(shape.kind);
    const root = others[shape.kind as keyof typeof others];
    const collateral =
      root === others.tdx ? mintTdxCollateral(others.tdx, { nowMs: NOW_MS }) : ALL_COLLATERAL;
    const { ok, failures } = judge(shape.kind, await shape.document({ root }), { collateral });
    assert.equal(ok, false, shape.name);
    assert.match(failures.join(), /^[a-z]+\.chain\.root:[a-z-]+\.?[a-z-]+$/, shape.name);
  }
  assert.equal(seen.size, 6);
});

test('documents of one shape are refused as any other kind', () => {
  for (const shape of SHAPES) {
    for (const kind of ['nitro', 'tdx', 'sgx', 'dstack', 'snp', 'nvidia', 'azure'] as const) {
      if (kind === shape.kind) continue;
      const { ok, claims } = judge(kind, documentOf(shape));
      assert.deepEqual([ok, claims], [false, null], `${shape.name} as ${kind}`);
    }
  }
});

test('evidence over other report data, or another nonce, is refused', () => {
  const other = new Uint8Array(64).fill(0xee);
  const expected: Readonly<Record<string, readonly string[]>> = {
    nitro: ['nitro.user-data:nitro.user-data'],
    tdx: ['tdx.report-data:tdx.report-data'],
    sgx: ['sgx.report-data:sgx.report-data'],
    dstack: ['tdx.report-data:tdx.report-data'],
    snp: ['snp.report-data:snp.report-data'],
    nvidia: ['nvidia.nonce:nvidia.nonce'],
  };
  const policies = {
    nitro: { userData: other },
    tdx: { reportData: other },
    sgx: { reportData: other },
    dstack: { reportData: other },
    snp: { reportData: other },
    nvidia: { nonce: other.slice(0, 32) },
  };
  for (const shape of SHAPES) {
    const { failures } = judge(shape.kind, documentOf(shape), { policies });
    assert.deepEqual(failures, expected[shape.kind], shape.name);
  }
});

test('debug mode is refused unless the policy allows it', async () => {
  for (const shape of SHAPES) {
    // Certificates of Hopper do not say whether the firmware is a debug build.
    if (shape.name === 'NVIDIA hopper') {
      await assert.rejects(shape.document({ debug: true }), /Blackwell only/);
      continue;
    }
    const document = await shape.document({ debug: true });
    const open = { measurements: 'allow-any' } as const;
    const septVeDisable = 'allow-any';
    const policies = {
      nitro: open,
      tdx: { ...open, septVeDisable },
      dstack: { ...open, septVeDisable },
      snp: open,
    } as const;
    const { failures, claims } = judge(shape.kind, document, { policies });
    assert.deepEqual(
      failures.map((each) => each.split(':')[0]),
      [`${intelOr(shape.kind)}.debug`],
      shape.name,
    );
    assert.equal(claims?.isDebug, true, shape.name);
    const allowDebug = { allowDebug: true } as const;
    const allowing = {
      nitro: { ...open, ...allowDebug },
      tdx: { ...policies.tdx, ...allowDebug },
      sgx: allowDebug,
      dstack: { ...policies.dstack, ...allowDebug },
      snp: { ...open, ...allowDebug },
      nvidia: allowDebug,
    } as const;
    assert.deepEqual(judge(shape.kind, document, { policies: allowing }).failures, [], shape.name);
  }
});

// ---- Intel: revocation, TCB, collateral ------------------------------------------------------------------------------

async function tdxEnclave(platform: number) {
  const enclave = createTdxTestEnclave({
    root: ROOTS.intel,
    measurement: measureTdxTestImage(new Uint8Array(0)),
    seed: new Uint8Array(32).fill(3),
    platformSeed: new Uint8Array(32).fill(platform),
  });
  return { enclave, document: await enclave.attest(ASKED) };
}

test('a revoked PCK is refused, and so are a revoked platform CA and a revoked signer of collateral', async () => {
  const [one, other] = [await tdxEnclave(40), await tdxEnclave(41)];
  const policies = { tdx: { measurements: 'allow-any' } } as const;
  const { platformCa, tcbSigning } = ROOTS.intel.serials;
  const cases: readonly (readonly [Partial<IntelTestCollateralOptions>, readonly string[]])[] = [
    [{ revokedPckSerials: [one.enclave.platform.pckSerial] }, ['tdx.pck-crl.revocation:certificate.revoked']],
    [{ revokedRootSerials: [platformCa] }, ['tdx.root-crl.revocation:certificate.revoked']],
    [
      { revokedRootSerials: [tcbSigning] },
      [
        'tdx.qe-identity.signer-revocation:certificate.revoked',
        'tdx.tcb-info.signer-revocation:certificate.revoked',
      ],
    ],
  ];
  for (const [changes, expected] of cases) {
    const collateral = intelCollateral({ ...changes, crlNumber: 2 });
    const { failures, claims } = judge('tdx', one.document, { collateral, policies });
    assert.deepEqual(failures, expected);
    assert.ok(claims !== null, 'authentic all the same');
    const rescored = rescoreEvidence('tdx', claims.facts, contextOf({ collateral, policies }));
    assert.equal(rescored.verdict.ok, false, 'its facts are refused too');
  }
  const collateral = intelCollateral({ revokedPckSerials: [one.enclave.platform.pckSerial] });
  assert.deepEqual(judge('tdx', other.document, { collateral, policies }).failures, []);
  const chain = judge('tdx', one.document, { policies }).claims;
  assert.ok(chain !== null);
  assert.deepEqual(chain.hardware, [{ vendor: 'intel', id: one.enclave.platform.ppid }]);
});

for (const shape of INTEL_SHAPES) {
  test(`TCB recovery, ${shape.name}: the same quote by newer TCB information is out of date, and so are its facts`, () => {
    const document = documentOf(shape);
    const ids = intelIds(shape);
    const before = judge(shape.kind, document);
    assert.equal(before.ok, true);
    const facts = before.claims?.facts as Uint8Array;
    const recovered = intelCollateral({
      nowMs: NOW_MS + DAY_MS,
      tcbEvaluationDataNumber: 18,
      platformStatus: 'OutOfDate',
      advisoryIds: ['INTEL-SA-00000'],
    });
    const later = { trust: { nowMs: NOW_MS + DAY_MS } };
    const after = judge(shape.kind, document, { ...later, collateral: recovered });
    assert.deepEqual(after.failures, [`${ids}.tcb.status:tcb.status`]);
    const rescored = rescoreEvidence(shape.kind, facts, contextOf({ ...later, collateral: recovered }));
    assert.deepEqual(
      rescored.verdict.checks.filter(({ status }) => status === 'failed').map(({ id, got }) => [id, got]),
      [[`${ids}.tcb.status`, 'OutOfDate']],
    );
    assert.equal(rescored.collateralEndMs, after.claims?.collateralEndMs);
    // Who accepts what is out of date accepts both; who knows of the recovery refuses the older information.
    const lax = { tcbStatuses: ['UpToDate', 'OutOfDate'] } as const;
    const floor = { minTcbEvaluationDataNumber: 18 } as const;
    const everywhere = <T>(value: T) => ({ tdx: value, sgx: value, dstack: value });
    assert.deepEqual(
      judge(shape.kind, document, { ...later, collateral: recovered, policies: everywhere(lax) }).failures,
      [],
    );
    assert.deepEqual(judge(shape.kind, document, { ...later, policies: everywhere(floor) }).failures, [
      `${ids}.tcb.evaluation-number:tcb.evaluation-number`,
    ]);
    const old = rescoreEvidence(shape.kind, facts, contextOf({ ...later, policies: everywhere(floor) }));
    assert.equal(old.verdict.ok, false);
    assert.equal(rescoreEvidence(shape.kind, facts, contextOf(later)).verdict.ok, true);
  });
}

test('platform, module and quoting enclave converge to the worst; Revoked is accepted by nobody', () => {
  const document = documentOf(TDX);
  const statusOf = (changes: Partial<IntelTestCollateralOptions>, policy: object = {}) => {
    const collateral = intelCollateral(changes);
    const { failures, claims } = judge('tdx', document, { collateral, policies: { tdx: policy } });
    const { tcb } = claims as unknown as { readonly tcb: { readonly status: string } | null };
    return [tcb?.status, failures.join()];
  };
  const refused = 'tdx.tcb.status:tcb.status';
  assert.deepEqual(statusOf({}), ['UpToDate', '']);
  const cases: readonly (readonly [Partial<IntelTestCollateralOptions>, string])[] = [
    [{ moduleStatus: 'OutOfDate' }, 'OutOfDate'],
    [{ qeStatus: 'OutOfDate' }, 'OutOfDate'],
    [{ platformStatus: 'SWHardeningNeeded' }, 'SWHardeningNeeded'],
    [{ platformStatus: 'SWHardeningNeeded', qeStatus: 'OutOfDate' }, 'OutOfDate'],
    [{ platformStatus: 'ConfigurationNeeded', qeStatus: 'OutOfDate' }, 'OutOfDateConfigurationNeeded'],
    [{ qeStatus: 'Revoked' }, 'Revoked'],
    [{ moduleStatus: 'Revoked' }, 'Revoked'],
    [{ platformStatus: 'Revoked' }, 'Revoked'],
  ];
  for (const [changes, status] of cases) {
    const hopeless = `tdx.tcb.level:tcb.level,${refused}`;
    const expected = status === 'Revoked' ? hopeless : refused;
    assert.deepEqual(statusOf(changes), [status, expected], JSON.stringify(changes));
    const open = statusOf(changes, { tcbStatuses: 'allow-any' });
    assert.deepEqual(open, [status, status === 'Revoked' ? hopeless : ''], JSON.stringify(changes));
  }
});

test('collateral that is missing is skipped, expired or forged it fails: never does evidence pass', () => {
  const whole = intelCollateral();
  for (const shape of INTEL_SHAPES) {
    const document = documentOf(shape);
    const { ok, failures, skips } = judge(shape.kind, document, { collateral: [] });
    assert.deepEqual([ok, failures], [false, []], shape.name);
    assert.ok(skips.includes(`${intelIds(shape)}.tcb-info.form:collateral.missing`), shape.name);
  }
  const document = documentOf(TDX);
  for (const left of whole) {
    if (left.kind !== 'intel-crl' && idOf(left) !== 'TDX' && idOf(left) !== 'TD_QE') continue;
    const { ok, failures } = judge('tdx', document, { collateral: whole.filter((each) => each !== left) });
    assert.deepEqual([ok, failures], [false, []], `without ${left.kind}`);
  }
  const late = { trust: { nowMs: NOW_MS + 31 * DAY_MS } };
  assert.deepEqual(
    judge('tdx', document, late).failures.map((each) => each.split(':')[0]),
    ['tdx.root-crl.window', 'tdx.pck-crl.window', 'tdx.qe-identity.window', 'tdx.tcb-info.window'],
  );
  const graced = { trust: { nowMs: NOW_MS + 31 * DAY_MS, collateralGraceMs: 2 * DAY_MS } };
  assert.deepEqual(judge('tdx', document, graced).failures, []);
  const early = { trust: { nowMs: NOW_MS - DAY_MS } };
  assert.equal(judge('tdx', document, early).ok, false);
  for (const forged of forgeries(whole)) {
    const { ok, failures } = judge('tdx', document, { collateral: forged });
    assert.equal(ok, false);
    assert.ok(failures.length > 0);
  }
});

function idOf(item: Collateral): string {
  return 'body' in item ? (JSON.parse(Buffer.from(item.body).toString()) as { id: string }).id : '';
}

/** Each piece in turn: one bit of it changed, or signed below another root and put in its place. */
function forgeries(items: readonly Collateral[]): readonly (readonly Collateral[])[] {
  const otherRoot = createTdxTestRoot(new Uint8Array(32).fill(8));
  const others = mintTdxCollateral(otherRoot, { nowMs: NOW_MS });
  return items.slice(0, 4).flatMap((item, i) => {
    const other = others[i] as Collateral;
    const flipped =
      'body' in item
        ? { ...item, signature: item.signature.with(0, (item.signature[0] as number) ^ 1) }
        : { ...item, crl: item.crl.with(-1, (item.crl[item.crl.length - 1] as number) ^ 1) };
    const [root] = item.issuerChain;
    const replaced = {
      ...other,
      issuerChain: [root as Uint8Array, ...other.issuerChain.slice(1)],
    } as Collateral;
    const swap = (by: Collateral): readonly Collateral[] => items.map((each, at) => (at === i ? by : each));
    // A list of another root is not found by its issuer's name unless the names agree, which they do.
    return [swap(flipped), swap(replaced)];
  });
}

// ---- AMD -------------------------------------------------------------------------------------------------------------

test('AMD: a revoked ASK or ASVK is refused, and so are their facts', () => {
  const { ask, asvk } = ROOTS.genoa.serials;
  const cases = [
    ['SNP, Genoa, report version 3', ask, asvk],
    ['SNP, Genoa, key of a provider', asvk, ask],
  ] as const;
  for (const [name, own, other] of cases) {
    const document = documentOf(shapeNamed(name));
    const revoking = (serial: Uint8Array) =>
      mintAmdCollateral(ROOTS.genoa, { nowMs: NOW_MS, crlNumber: 2, revokedSerials: [serial] });
    const { failures, claims } = judge('snp', document, { collateral: revoking(own) });
    assert.deepEqual(failures, ['snp.chain.crl:certificate.revoked'], name);
    const facts = claims?.facts as Uint8Array;
    assert.equal(rescoreEvidence('snp', facts, contextOf({ collateral: revoking(own) })).verdict.ok, false);
    assert.deepEqual(judge('snp', document, { collateral: revoking(other) }).failures, [], name);
    const rescored = rescoreEvidence('snp', facts, contextOf({ collateral: revoking(other) }));
    assert.equal(rescored.verdict.ok, true, name);
  }
});

test('AMD: lists that are missing, expired or of another product line do not do', () => {
  const document = documentOf(shapeNamed('SNP, Genoa, report version 3'));
  const missing = judge('snp', document, { collateral: mintAmdCollateral(ROOTS.turin, { nowMs: NOW_MS }) });
  assert.deepEqual([missing.ok, missing.failures], [false, []]);
  assert.ok(missing.skips.includes('snp.crl.form:collateral.missing'));
  const expired = mintAmdCollateral(ROOTS.genoa, {
    nowMs: NOW_MS - 2 * DAY_MS,
    nextUpdateMs: NOW_MS - DAY_MS,
  });
  assert.deepEqual(
    judge('snp', document, { collateral: expired }).failures.map((each) => each.split(':')[0]),
    ['snp.crl.window'],
  );
});

test('AMD: a floor above the reported TCB refuses the report and its facts, component by component', () => {
  const { fmc: _fmc, ...tcb } = SNP_TEST_TCB;
  for (const shape of SNP_SHAPES) {
    const isTurin = shape.name.includes('Turin');
    const product = isTurin ? 'turin' : 'genoa';
    const own = { ...tcb, fmc: isTurin ? SNP_TEST_TCB.fmc : null };
    const floorsOf = (floor: typeof own) => ({ snp: { tcbFloors: [{ product, floor }] } }) as const;
    const document = documentOf(shape);
    const kept = judge(shape.kind, document, { policies: floorsOf(own) });
    assert.deepEqual([kept.failures, kept.skips], [[], []], shape.name);
    for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
      const raised = { ...own, bootloader: 0, tee: 0, snp: 0, microcode: 0, [component]: own[component] + 1 };
      const policies = floorsOf(raised);
      assert.deepEqual(judge(shape.kind, document, { policies }).failures, ['snp.tcb.floor:snp.tcb.floor']);
      const rescored = rescoreEvidence('snp', kept.claims?.facts as Uint8Array, contextOf({ policies }));
      assert.equal(rescored.verdict.ok, false, `${shape.name} ${component}`);
    }
  }
});

test('AMD: a report at another TCB than its key, of another chip or another product line is refused', async () => {
  const reading = (document: Uint8Array) => decode(snpDocumentCodec, document, 'document');
  const enclaveOf = (changes: object) =>
    createSnpTestEnclave({
      root: ROOTS.genoa,
      measurement: measureSnpTestImage(new Uint8Array(0)),
      nowMs: () => NOW_MS,
      seed: new Uint8Array(32).fill(3),
      ...changes,
    }).attest(ASKED);
  const plain = reading(await enclaveOf({}));
  const lower = reading(await enclaveOf({ tcb: { ...SNP_TEST_TCB, snp: SNP_TEST_TCB.snp - 1 } }));
  const chip = reading(await enclaveOf({ platformSeed: new Uint8Array(32).fill(4) }));
  const turin = reading(await enclaveOf({ root: ROOTS.turin }));
  const failuresOf = (report: Uint8Array, certificates: readonly Uint8Array[]) =>
    judge('snp', encode(snpDocumentCodec, { report, certificates: [...certificates] })).failures.map(
      (each) => each.split(':')[0],
    );
  assert.deepEqual(failuresOf(plain.report, lower.certificates), ['snp.vek.tcb']);
  assert.deepEqual(failuresOf(plain.report, chip.certificates), ['snp.vek.chip-id']);
  assert.deepEqual(failuresOf(plain.report, turin.certificates), ['snp.cpuid']);
  const mixed = [turin.certificates[0], ...plain.certificates.slice(1)] as Uint8Array[];
  assert.deepEqual(failuresOf(plain.report, mixed), ['snp.chain.names']);
  const vmpl = await enclaveOf({ vmpl: 1 });
  const policies = { snp: { measurements: 'allow-any' } } as const;
  assert.deepEqual(judge('snp', vmpl, { policies }).failures, ['snp.vmpl:snp.vmpl']);
});

test('AMD: a key of a provider is renewed within its year', async () => {
  for (let day = 0; day < 800; day += 60) {
    const nowMs = NOW_MS + day * DAY_MS;
    const document = await createSnpTestEnclave({
      root: ROOTS.genoa,
      measurement: measureSnpTestImage(new Uint8Array(0)),
      nowMs: () => nowMs,
      signingKey: 'vlek',
    }).attest(ASKED);
    const collateral = mintAmdCollateral(ROOTS.genoa, { nowMs });
    const policies = { snp: { measurements: 'allow-any' } } as const;
    assert.deepEqual(
      judge('snp', document, { collateral, policies, trust: { nowMs } }).failures,
      [],
      `${day}`,
    );
  }
});

// ---- NVIDIA, dstack --------------------------------------------------------------------------------------------------

test('NVIDIA: every GPU has its serial, every boot its key, and a measurement matches firmware and driver', async () => {
  const seed = new Uint8Array(32).fill(5);
  const gpus = (changes: object = {}) =>
    createNvidiaTestGpus({ root: ROOTS.hopper, seed, count: 3, ...changes });
  const claimsOf = async (attester: ReturnType<typeof gpus>) =>
    (await attester.attest(NONCE)).map((document) => {
      const { ok, claims } = judge('nvidia', document);
      assert.equal(ok, true);
      return claims as NonNullable<typeof claims>;
    });
  const [first, again] = [
    await claimsOf(gpus()),
    await claimsOf(gpus({ bootSeed: new Uint8Array(32).fill(6) })),
  ];
  const serials = (all: typeof first) => all.map(({ hardware }) => toHex(hardware[0]?.id as Uint8Array));
  assert.equal(new Set(serials(first)).size, 3);
  assert.deepEqual(serials(first), serials(again));
  const digests = [...first, ...again].map(({ claimsDigest }) => toHex(claimsDigest));
  assert.equal(new Set(digests).size, 6);
  const registers = Array.from(first[0]?.registers ?? [], ([register, value]) => ({ register, value }));
  const policies = { nvidia: { measurements: [{ kind: 'nvidia', name: 'driver', registers }] } } as const;
  const [same] = await gpus().attest(NONCE);
  assert.equal(judge('nvidia', same as Uint8Array, { policies }).measurement, 'driver');
  for (const changes of [{ driverVersion: '590.13' }, { firmware: Uint8Array.of(1) }]) {
    const [document] = await gpus(changes).attest(NONCE);
    assert.deepEqual(judge('nvidia', document as Uint8Array, { policies }).failures, [
      'nvidia.measurement:nvidia.measurement',
    ]);
  }
});

test('dstack: a log that does not replay to the registers of its quote is refused', () => {
  const { quote, events } = decode(dstackDocumentCodec, documentOf(shapeNamed('dstack')), 'document');
  const changes: readonly (typeof events)[] = [
    events.slice(1),
    events.slice(0, -1),
    [...events, events[events.length - 1] as (typeof events)[number]],
    events.toReversed(),
    events.map((event) =>
      event.name === 'compose-hash' ? { ...event, payload: new Uint8Array(32) } : event,
    ),
    events.map((event) => (event.imr === 2 ? { ...event, imr: 1 } : event)),
  ];
  for (const [i, changed] of changes.entries()) {
    const { ok, claims } = judge('dstack', encode(dstackDocumentCodec, { quote, events: [...changed] }));
    assert.deepEqual([ok, claims], [false, null], `${i}`);
  }
});

// ---- All shapes ------------------------------------------------------------------------------------------------------

test('a registration is bound by every kind in its own way', async () => {
  const binding: RegistrationBinding = {
    chainId: 'haca-test',
    operator: new Uint8Array(32).fill(10),
    nodeId: new Uint8Array(32).fill(11),
    keyEpoch: 1,
    signPublicKey: ASKED.signPublicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: new Uint8Array(32).fill(13),
    configHash: new Uint8Array(32).fill(14),
    gpuEvidenceRoot: null,
    refHeight: 7,
    refBlockHash: ASKED.refBlockHash,
  };
  const asked = { ...ASKED, bindingHash: registrationBindingHash(nodeCrypto, binding) };
  const measurement = measureTdxTestImage(new Uint8Array(0));
  const tdx = await createTdxTestEnclave({ root: ROOTS.intel, measurement }).attest(asked);
  const snp = await createSnpTestEnclave({
    root: ROOTS.genoa,
    measurement: measureSnpTestImage(new Uint8Array(0)),
    nowMs: () => NOW_MS,
  }).attest(asked);
  const [gpu] = await createNvidiaTestGpus({ root: ROOTS.hopper }).attest(gpuNonceOf(binding));
  const open = { measurements: 'allow-any' } as const;
  const policiesFor = (of: RegistrationBinding) =>
    ({
      nitro: { ...open, ...nitroRegistrationPolicy(nodeCrypto, of) },
      tdx: { ...open, ...intelRegistrationPolicy(nodeCrypto, of) },
      dstack: { ...open, ...dstackRegistrationPolicy(nodeCrypto, of) },
      snp: { ...open, ...snpRegistrationPolicy(nodeCrypto, of) },
      nvidia: { ...open, ...nvidiaRegistrationPolicy(of) },
    }) as const;
  const failuresOf = (kind: EvidenceKind, document: Uint8Array, of: RegistrationBinding) =>
    judge(kind, document, { policies: policiesFor(of) }).failures;
  const other = { ...binding, signPublicKey: new Uint8Array(32) };
  for (const [kind, document] of [
    ['tdx', tdx],
    ['snp', snp],
    ['nvidia', gpu as Uint8Array],
  ] as const) {
    assert.deepEqual(failuresOf(kind, document, binding), [], kind);
    assert.equal(failuresOf(kind, document, other).length, 1, kind);
  }
});

test('one seed gives one root and one document; without a seed they differ', async () => {
  const seed = new Uint8Array(32).fill(1);
  assert.deepEqual(createTdxTestRoot(seed).sha256, ROOTS.intel.sha256);
  assert.deepEqual(createNvidiaTestRoot(seed).sha256, ROOTS.hopper.sha256);
  assert.deepEqual(createSnpTestRoot(seed).sha256, ROOTS.genoa.sha256);
  for (const shape of SHAPES) assert.deepEqual(await shape.document(), documentOf(shape), shape.name);
  const measurement = measureTdxTestImage(seed);
  const [one, two] = [
    createTdxTestEnclave({ root: ROOTS.intel, measurement }),
    createTdxTestEnclave({ root: ROOTS.intel, measurement }),
  ];
  assert.notDeepEqual(await one.attest(ASKED), await two.attest(ASKED));
  assert.notDeepEqual(one.platform.ppid, two.platform.ppid);
});

test('whatever byte of a document is changed, it is refused', () => {
  for (const shape of SHAPES) {
    const document = documentOf(shape);
    fc.assert(
      fc.property(fc.nat(document.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = document.with(at, (document[at] as number) ^ mask);
        assert.equal(judge(shape.kind, changed).ok, false, `${shape.name}, byte ${at}`);
      }),
      { numRuns: 60 },
    );
  }
});
