import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { bytesEqual, decode, encode, fromHex, toHex } from '@haca/primitives';
import {
  type Assurance,
  type AssuranceTier,
  type Bundle,
  chainConfigRecordCodec,
  collateralRecordCodec,
  decodeBundle,
  encodeBundle,
  gpuEvidenceRootOf,
  keyEvidenceRecordCodec,
  nodeKeyRecordCodec,
  recordKey,
  tableOf,
  verdictExitCode,
} from '@haca/protocol';
import {
  type BundleContext,
  DEFAULT_POLICY,
  type Haca,
  judgeKeyEvidence,
  openEvidenceRecords,
  type Policy,
  parseGenesisDocument,
  tierCheck,
  VerificationError,
  verifyBundle,
} from '@haca/sdk';
import { parseCertificate } from '@haca/verifier';
import fc from 'fast-check';
import { GENESIS_MS } from './fake-chain.ts';
import { type FakeNode, startFakeNetwork } from './fake-node.ts';
import { flipBit } from './flip.ts';
import {
  collateralRows,
  DAY_MS,
  hardwareRow,
  measurementRow,
  platform,
  policyRow,
  revokedRow,
  startTdxNetwork,
  type TdxNetworkOptions,
} from './tdx-network.ts';
import { openTestClient } from './test-client.ts';

const SIMULATED: Partial<Policy> = { minAssurance: 'tee', acceptSimulated: true };
const other32 = new Uint8Array(32).fill(77);
const ROUTE_TTL_MS = 31_000;

interface Refusal {
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

async function refusal(call: Promise<unknown>): Promise<Refusal> {
  let caught: unknown;
  await call.catch((error: unknown) => {
    caught = error;
  });
  assert.ok(caught instanceof VerificationError, `withheld, not ${String(caught)}`);
  assert.equal(caught.verdict.ok, false);
  const ids = (status: string): readonly string[] =>
    caught instanceof VerificationError
      ? caught.verdict.checks.filter((each) => each.status === status).map(({ id }) => id)
      : [];
  return { failed: ids('failed'), skipped: ids('skipped') };
}

async function refusedAtOnce(options: TdxNetworkOptions): Promise<Refusal> {
  const node = startTdxNetwork(options);
  const haca = await openTestClient(node, { policy: SIMULATED });
  const refused = await refusal(haca.chat({ prompt: 'hi' }));
  assert.equal(node.requests(), 0, 'nothing is paid or sent');
  return refused;
}

async function workingClient(): Promise<{ node: FakeNode; haca: Haca }> {
  const node = startTdxNetwork();
  const haca = await openTestClient(node, { policy: SIMULATED });
  const { answer } = await haca.chat({ prompt: 'hi' });
  assert.equal(answer.assurance, 'tee-simulated');
  return { node, haca };
}

/** The next request comes when what is known of the key is no longer taken for current. */
function later(node: FakeNode): void {
  node.chain.pass(ROUTE_TTL_MS);
  node.chain.change([]);
}

test('TCL-2: a TDX key is judged by the records of the chain, in either crypto, and says tier and TCB status', async () => {
  const node = startTdxNetwork();
  const haca = await openTestClient(node, { policy: SIMULATED });
  const { answer } = await haca.chat({ prompt: 'hi' });
  assert.equal(answer.assurance, 'tee-simulated');
  assert.equal(answer.tier, 'simulated');
  assert.equal(answer.tcbStatus, 'UpToDate');
  const ids = answer.verdict.checks.filter(({ status }) => status === 'passed').map(({ id }) => id);
  for (const id of [
    'evidence.tdx.signature',
    'evidence.tdx.report-data',
    'evidence.tdx.measurement',
    'evidence.tdx.pck-crl.revocation',
    'evidence.tdx.tcb.status',
    'evidence.hardware.0',
    'evidence.measurement',
    'evidence.facts',
    'evidence.standing',
  ])
    assert.ok(ids.includes(id), id);
});

test('TCL-7: a test enclave counts as tee only where the policy says so, and never as a cloud', async () => {
  const node = startTdxNetwork();
  const strict = await openTestClient(node, { policy: { minAssurance: 'tee' } });
  assert.deepEqual((await refusal(strict.chat({ prompt: 'hi' }))).failed, ['assurance.minimum']);
  const cloud = await openTestClient(node, { policy: { ...SIMULATED, minTier: 'cloud' } });
  assert.deepEqual((await refusal(cloud.chat({ prompt: 'hi' }))).failed, ['assurance.tier']);
  assert.equal(node.requests(), 0);
});

test('a root that genesis does not name is no root', async () => {
  const { failed } = await refusedAtOnce({ isUntrusted: true });
  assert.ok(failed.includes('evidence.tdx.chain.root'));
});

test('TCL-8: evidence that was withheld for a moment is looked at again with the next request', async () => {
  const node = startTdxNetwork();
  const haca = await openTestClient(node, { policy: SIMULATED });
  node.lies.attestation = (document) => ({ ...document, document: 'AAAA' });
  const { failed } = await refusal(haca.chat({ prompt: 'hi' }));
  assert.ok(failed.includes('evidence.document'));
  delete node.lies.attestation;
  assert.ok((await haca.chat({ prompt: 'hi' })).answer.verdict.ok);
});

const RECORDED_LIES = [
  ['evidence.facts', { facts: Uint8Array.of(1) }],
  ['evidence.claims', { claimsDigest: other32 }],
  ['evidence.document', { documentHash: other32 }],
  ['evidence.end', { endMs: GENESIS_MS + 9_999 * DAY_MS }],
  ['evidence.tier', { tier: 'cloud' }],
  ['evidence.tier', { tier: 'unknown-host' }],
  ['evidence.tier', { tier: 'registered-hardware' }],
  ['evidence.hardware-ids', { hardware: [] }],
  ['evidence.hardware-ids', { hardware: [other32] }],
  ['evidence.simulated', { simulated: false }],
  ['evidence.measurement', { measurementId: other32 }],
  ['evidence.measurement', { measurement: 'another name' }],
  [
    'evidence.gpu-root',
    { gpus: [{ documentHash: other32, claimsDigest: other32, measurementId: other32, facts: other32 }] },
  ],
] as const;

for (const [id, change] of RECORDED_LIES) {
  test(`TCL-1: a key row that says other than the document fails ${id}: ${Object.keys(change).join()}`, async () => {
    const refused = await refusedAtOnce({ recorded: (evidence) => ({ ...evidence, ...change }) });
    const all = [...refused.failed, ...(id === 'evidence.gpu-root' ? refused.skipped : [])];
    assert.ok(all.includes(id), `${id} in ${all.join(' ')}`);
  });
}

test('TCL-1: a row of evidence that the row of the key does not name is not read, and none at all is no evidence', async () => {
  const other = await refusedAtOnce({ recordHash: other32 });
  assert.ok(other.failed.includes('evidence.record'));
  assert.deepEqual(other.skipped, ['assurance.tier'], 'nothing was judged by it');
  const node = startTdxNetwork();
  node.chain.change([[recordKey.keyEvidence(node.keyId), null]]);
  const haca = await openTestClient(node, { policy: SIMULATED });
  assert.ok((await refusal(haca.chat({ prompt: 'hi' }))).failed.includes('evidence.record'));
  assert.equal(node.requests(), 0, 'nothing is paid or sent');
});

test('TCL-8: the row of evidence is fetched once, and held against the row of the key each time', async () => {
  const node = startTdxNetwork();
  let fetched = 0;
  node.chain.tamper = (method, { key }, answer) => {
    if (method === 'abci_query' && tableOf(key as Uint8Array) === 'keyEvidence') fetched++;
    return answer;
  };
  const haca = await openTestClient(node, { policy: SIMULATED });
  await haca.chat({ prompt: 'hi' });
  later(node);
  await haca.chat({ prompt: 'hi again' });
  assert.equal(fetched, 1);
  const key = decode(nodeKeyRecordCodec, node.chain.get(recordKey.nodeKey(node.keyId)) as Uint8Array, 'key');
  assert.ok(key.evidence !== null);
  node.setKey({ evidence: { ...key.evidence, recordHash: other32 } });
  later(node);
  assert.ok((await refusal(haca.chat({ prompt: 'and again' }))).failed.includes('evidence.record'));
});

test('TCL-3: without a piece of collateral on chain nothing is called tee: it is skipped, not passed', async () => {
  const checks = ['root-crl', 'pck-crl', 'tcb-info.signature', 'qe-identity.signature'];
  for (const [i, name] of checks.entries()) {
    const [missing] = collateralRows()[i] as readonly [Uint8Array, Uint8Array];
    const { skipped } = await refusedAtOnce({
      rows: (rows) => rows.filter(([key]) => !bytesEqual(key, missing)),
    });
    assert.ok(skipped.includes(`evidence.tdx.${name}`), name);
  }
});

test('collateral of another making is refused: swapped, forged, or beyond its grace', async () => {
  const rows = collateralRows();
  const swap = (from: number, to: number): TdxNetworkOptions => ({
    rows: (all) =>
      all.map(([key, value]) =>
        bytesEqual(key, (rows[to] as (typeof rows)[number])[0])
          ? [key, (rows[from] as (typeof rows)[number])[1]]
          : [key, value],
      ),
  });
  assert.ok((await refusedAtOnce(swap(0, 1))).failed.includes('evidence.tdx.pck-crl'));
  assert.ok((await refusedAtOnce(swap(3, 2))).skipped.includes('evidence.tdx.tcb-info.signature'));
  const forged = collateralRows({}, (record, i) =>
    i === 2 && record.item.kind === 'intel-tcb-info'
      ? { ...record, item: { ...record.item, signature: flipBit(record.item.signature, 9) } }
      : record,
  );
  const others = { rows: () => [...forged, measurementRow(), hardwareRow(), policyRow()] };
  assert.ok((await refusedAtOnce(others)).failed.includes('evidence.tdx.tcb-info.signature'));
  const old = collateralRows({ issuedMs: GENESIS_MS - 50 * DAY_MS });
  const stale = await refusedAtOnce({ rows: () => [...old, measurementRow(), hardwareRow(), policyRow()] });
  assert.ok(stale.failed.includes('evidence.tdx.tcb-info.window'));
  assert.ok(stale.failed.includes('evidence.standing'));
});

test('TCL-4: a chip of another operator, a revoked one, and one the chain does not know back no answer', async () => {
  const changes = [
    { holder: { operator: other32, nodeId: null, keys: 1 } },
    { revokedAt: 1 },
    { simulated: false },
    { hardware: { vendor: 'amd' as const, id: platform.hardware.id } },
  ];
  const [hardwareKey] = hardwareRow();
  for (const change of changes) {
    const { failed } = await refusedAtOnce({
      rows: (rows) => rows.map((row) => (bytesEqual(row[0], hardwareKey) ? hardwareRow(change) : row)),
    });
    assert.ok(failed.includes('evidence.hardware.0'), JSON.stringify(Object.keys(change)));
  }
  const none = await refusedAtOnce({
    rows: (rows) => rows.filter(([key]) => !bytesEqual(key, hardwareKey)),
  });
  assert.ok(none.failed.includes('evidence.hardware.0'));
});

test('TCL-4: a measurement that is revoked, unknown, was not active yet or was deprecated before opens no trust', async () => {
  const [measurementKey] = measurementRow();
  for (const change of [{ revokedAt: 1 }, { activeFrom: 2 }, { deprecatedAt: 0 }]) {
    const { failed } = await refusedAtOnce({
      rows: (rows) => rows.map((row) => (bytesEqual(row[0], measurementKey) ? measurementRow(change) : row)),
    });
    assert.ok(failed.includes('evidence.measurement'), JSON.stringify(change));
  }
  const none = await refusedAtOnce({
    rows: (rows) => rows.filter(([key]) => !bytesEqual(key, measurementKey)),
  });
  assert.ok(none.failed.includes('evidence.measurement'));
});

test('TCB recovery: the same key, the same documents, newer collateral and no more trust', async () => {
  const { node, haca } = await workingClient();
  const raised = { evaluation: 18, issuedMs: GENESIS_MS, status: 'OutOfDate' };
  node.chain.change(collateralRows(raised));
  later(node);
  const { failed } = await refusal(haca.chat({ prompt: 'hi again' }));
  for (const id of ['evidence.tdx.tcb.status', 'evidence.standing']) assert.ok(failed.includes(id), id);
});

test('TCL-8: collateral that is posted counts at once, not when a route is looked up again', async () => {
  const { node, haca } = await workingClient();
  const raised = { evaluation: 18, issuedMs: GENESIS_MS, status: 'OutOfDate' };
  node.chain.change([...collateralRows(raised), policyRow({ version: other32 })]);
  node.chain.change([]);
  const { failed } = await refusal(haca.chat({ prompt: 'hi again' }));
  assert.ok(failed.includes('evidence.tdx.tcb.status'));
});

test('TCL-5: while the grace of a raised evaluation runs the platform is accepted as before, and it is said', async () => {
  const { node, haca } = await workingClient();
  const raised = { evaluation: 18, issuedMs: GENESIS_MS, status: 'OutOfDate' };
  const before = collateralRows().map(([, bytes]) => decode(collateralRecordCodec, bytes, 'row'));
  const rows = collateralRows(raised, (record, i) => {
    const { item, version } = before[i] as (typeof before)[number];
    const atMs = node.chain.timeMs();
    return item.kind === 'intel-crl' ? record : { ...record, superseded: [{ item, version, atMs }] };
  });
  node.chain.change(rows);
  later(node);
  const { answer } = await haca.chat({ prompt: 'in its grace' });
  assert.equal(answer.tcbStatus, 'OutOfDate');
  assert.ok(answer.verdict.checks.some(({ id }) => id === 'evidence.tcb-grace'));
  node.chain.pass(7 * DAY_MS);
  later(node);
  const { failed } = await refusal(haca.chat({ prompt: 'after it' }));
  assert.ok(failed.includes('evidence.tdx.tcb.status'));
});

test('a revoked platform has no grace', async () => {
  const { node, haca } = await workingClient();
  const before = collateralRows().map(([, bytes]) => decode(collateralRecordCodec, bytes, 'row'));
  const raised = { evaluation: 18, issuedMs: GENESIS_MS, status: 'Revoked' };
  node.chain.change(
    collateralRows(raised, (record, i) => {
      const { item, version } = before[i] as (typeof before)[number];
      return { ...record, superseded: [{ item, version, atMs: node.chain.timeMs() }] };
    }),
  );
  later(node);
  assert.ok((await refusal(haca.chat({ prompt: 'hi again' }))).failed.includes('evidence.tdx.tcb.level'));
});

test('TCL-6: what validators and vendors revoke later ends trust: the PCK, a certificate by decree, statuses, chip, release', async () => {
  const { issuerChain } = (() => {
    const { item } = platform.collateral({ issuedMs: GENESIS_MS })[1] as { item: unknown };
    return item as { issuerChain: readonly Uint8Array[] };
  })();
  const { issuer, serial } = parseCertificate(issuerChain[1] as Uint8Array, 'ca');
  const changes = [
    ['evidence.tdx.pck-crl.revocation', collateralRows({ isRevoked: true, crlNumber: 2 })],
    ['evidence.tdx.chain.revocation', [revokedRow([{ issuer, serial }])]],
    [
      'evidence.tdx.tcb.status',
      [
        policyRow({
          version: other32,
          tcbStatuses: [{ evidenceKind: 'tdx', statuses: ['SWHardeningNeeded'] }],
        }),
      ],
    ],
    ['evidence.hardware.0', [hardwareRow({ revokedAt: 4 })]],
    ['evidence.measurement', [measurementRow({ revokedAt: 4 })]],
  ] as const;
  for (const [id, rows] of changes) {
    const { node, haca } = await workingClient();
    node.chain.change(rows);
    later(node);
    const { failed } = await refusal(haca.chat({ prompt: 'hi again' }));
    assert.ok(failed.includes(id), `${id} in ${failed.join(' ')}`);
    assert.ok(failed.includes('evidence.standing'), id);
  }
});

test('a release that is deprecated backs what is open', async () => {
  const { node, haca } = await workingClient();
  node.chain.change([measurementRow({ deprecatedAt: 4 })]);
  later(node);
  const { answer } = await haca.chat({ prompt: 'hi again' });
  const standing = answer.verdict.checks.find(({ id }) => id === 'evidence.standing');
  assert.match(standing?.got ?? '', /^measurement-deprecated/);
});

test('TCL-3: a full node that withholds, forges or swaps a record that evidence is judged by is not believed', async () => {
  const wanted = new Set([
    'keyEvidence',
    'collateral',
    'measurement',
    'hardware',
    'evidencePolicy',
    'revokedCertificates',
  ]);
  interface Answer {
    value: Uint8Array;
    proof: Uint8Array | null;
  }
  const tampers: readonly ((answer: Answer, first: Answer) => Answer)[] = [
    (answer) => ({ ...answer, value: new Uint8Array(0) }),
    (answer) => ({ ...answer, value: flipBit(answer.value, 77) }),
    (answer) => ({ ...answer, proof: flipBit(answer.proof as Uint8Array, 77) }),
    (_answer, first) => first,
  ];
  for (const table of wanted) {
    for (const tamper of tampers) {
      const node = startTdxNetwork();
      const haca = await openTestClient(node, { policy: SIMULATED });
      let first: Answer | undefined;
      let isTampered = false;
      node.chain.tamper = (method, { key }, answer) => {
        if (method !== 'abci_query') return answer;
        first ??= answer as Answer;
        const isWanted = tableOf(key as Uint8Array) === table && (answer as Answer).value.length > 0;
        if (!isWanted) return answer;
        isTampered = true;
        return tamper(answer as Answer, first);
      };
      const call = haca.chat({ prompt: 'hi' });
      // There is no row of certificates to withhold.
      if (table === 'revokedCertificates') await call;
      else await assert.rejects(call, VerificationError, table);
      assert.equal(isTampered, table !== 'revokedCertificates', table);
    }
  }
});

const gpu = { documents: [Uint8Array.of(1, 2, 3)] };
const gpuRoot = gpuEvidenceRootOf(gpu.documents) as Uint8Array;
const withGpu: TdxNetworkOptions['recorded'] = (evidence) => ({
  ...evidence,
  gpus: [
    {
      documentHash: nodeCrypto.sha256(gpu.documents[0] as Uint8Array),
      claimsDigest: other32,
      measurementId: other32,
      facts: other32,
    },
  ],
});

test('TCL-1: documents of GPUs are needed where a key shows GPUs: missing is skipped, another or no evidence at all fails', async () => {
  const hidden = await refusedAtOnce({
    gpu: { ...gpu, root: gpuRoot },
    recorded: withGpu,
    hidesGpus: true,
  });
  assert.ok(hidden.skipped.includes('evidence.gpu-root'));
  const other = await refusedAtOnce({ gpu: { ...gpu, root: other32 }, recorded: withGpu });
  assert.ok(other.failed.includes('evidence.gpu-root'));
  const garbage = await refusedAtOnce({ gpu: { ...gpu, root: gpuRoot }, recorded: withGpu });
  assert.ok(garbage.failed.some((id) => id.startsWith('evidence.gpu.0.nvidia.')));
  assert.ok(garbage.failed.includes('evidence.claims'));
  const unrecorded = await refusedAtOnce({ gpu: { ...gpu, root: gpuRoot } });
  assert.ok(unrecorded.failed.includes('evidence.gpu-count'));
});

async function finalBundle(): Promise<{
  node: FakeNode;
  haca: Haca;
  bundle: Uint8Array;
  context: BundleContext;
}> {
  const { node, haca } = await workingClient();
  const { answer } = await haca.chat({ prompt: 'for the bundle' });
  node.settle();
  await answer.until('final');
  const context: BundleContext = {
    crypto: nodeCrypto,
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    nowMs: node.chain.timeMs(),
    policy: SIMULATED,
  };
  return { node, haca, bundle: await answer.bundle(), context };
}

test('TCL-9: a bundle carries what its evidence is judged by and is judged offline the same way', async () => {
  const { bundle, context } = await finalBundle();
  for (const crypto of [nodeCrypto, portableCrypto]) {
    const { verdict, assurance, tier, tcbStatus, standing } = verifyBundle(bundle, { ...context, crypto });
    assert.deepEqual(
      verdict.checks.filter(({ status }) => status !== 'passed' && status !== 'not-applicable'),
      [],
    );
    assert.deepEqual(
      [assurance, tier, tcbStatus, standing],
      ['tee-simulated', 'simulated', 'UpToDate', 'good'],
    );
  }
  const tables = (decodeBundle(bundle).evidenceRecords ?? []).map(({ key }) => tableOf(key)).sort();
  assert.deepEqual(tables, [
    'collateral',
    'collateral',
    'collateral',
    'collateral',
    'evidencePolicy',
    'hardware',
    'measurement',
    'revokedCertificates',
  ]);
  const strict = verifyBundle(bundle, { ...context, policy: { minAssurance: 'tee' } });
  assert.equal(strict.verdict.ok, false);
});

test('TCL-10: a bundle without a record is incomplete; one with another, a foreign or a second one is refused', async () => {
  const { node, haca, bundle, context } = await finalBundle();
  const decoded = decodeBundle(bundle);
  const records = decoded.evidenceRecords ?? [];
  const judged = (evidenceRecords: typeof records | undefined) => {
    const { evidenceRecords: _, ...rest } = decoded;
    const changed = evidenceRecords === undefined ? rest : { ...rest, evidenceRecords };
    const { verdict } = verifyBundle(encodeBundle(changed), context);
    const failed = verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
    return { exitCode: verdictExitCode(verdict), failed };
  };
  assert.deepEqual(judged(undefined), { exitCode: 3, failed: [] });
  for (let i = 0; i < records.length; i++) {
    const { exitCode, failed } = judged(records.filter((_, at) => at !== i));
    assert.notEqual(exitCode, 0);
    assert.deepEqual(failed, [], `without ${tableOf((records[i] as (typeof records)[number]).key)}`);
  }
  const first = records[0] as (typeof records)[number];
  assert.ok(judged([...records, first]).failed.includes('evidence-records.needed'));
  assert.ok(judged([...records, decoded.node]).failed.includes('evidence-records.needed'));
  for (const [i, record] of records.entries()) {
    const value = record.value === null ? Uint8Array.of(0x80) : null;
    const changed = records.map((each, at) => (at === i ? { ...each, value } : each));
    assert.ok(judged(changed).failed.includes(`evidence-record.${i}.proof`));
  }
  // What no proof stands behind is not even read, whatever it is.
  for (const [i] of records.entries()) {
    const changed = records.map((each, at) => (at === i ? { ...each, value: Uint8Array.of(0xff) } : each));
    assert.ok(judged(changed).failed.includes(`evidence-record.${i}.proof`));
  }
  const newer = await haca.chain.record(first.key);
  assert.ok(newer.stateHeight > first.stateHeight);
  assert.ok(node.chain.height() > first.stateHeight);
  assert.notEqual(judged([newer, ...records.slice(1)]).exitCode, 0);
});

test('TCL-11: a bundle has the row of evidence that the row of its key names: missing, altered, of another key or stray fails', async () => {
  const { bundle, context } = await finalBundle();
  const { keyEvidence: row, ...rest } = decodeBundle(bundle);
  assert.ok(row !== undefined);
  const judged = (change: Partial<Bundle>, of: Omit<Bundle, 'keyEvidence'> = rest) => {
    const verification = verifyBundle(encodeBundle({ ...of, ...change }), context);
    const { verdict, standing, tier, assurance } = verification;
    const failed = verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
    return { exitCode: verdictExitCode(verdict), failed, judged: [standing, tier, assurance] };
  };
  assert.deepEqual(judged({ keyEvidence: row }).failed, []);
  const another = startTdxNetwork({ gpu: { ...gpu, root: gpuRoot } });
  const anotherRow = decode(
    keyEvidenceRecordCodec,
    another.chain.get(recordKey.keyEvidence(another.keyId)) as Uint8Array,
    'row',
  );
  assert.notDeepEqual(anotherRow, row);
  const [chipId] = row.hardware as [Uint8Array];
  const lies: readonly Partial<Bundle>[] = [
    {},
    { evidence: null },
    { keyEvidence: anotherRow },
    { keyEvidence: { ...row, facts: flipBit(row.facts, 9) } },
    { keyEvidence: { ...row, claimsDigest: other32 } },
    { keyEvidence: { ...row, documentHash: other32 } },
    { keyEvidence: { ...row, measurement: 'another name' } },
    { keyEvidence: { ...row, measurementId: other32 } },
    { keyEvidence: { ...row, hardware: [] } },
    { keyEvidence: { ...row, hardware: [chipId, other32] } },
    {
      keyEvidence: {
        ...row,
        gpus: [{ documentHash: other32, claimsDigest: other32, measurementId: other32, facts: other32 }],
      },
    },
  ];
  for (const [i, lie] of lies.entries()) {
    const refused = judged(lie);
    assert.equal(refused.exitCode, 1, `${i}`);
    assert.ok(refused.failed.includes('evidence.record'), `${i}: ${refused.failed.join(' ')}`);
    assert.deepEqual(refused.judged, [null, null, 'tee-simulated'], `${i}`);
  }
  // The document is another matter: without it nothing is refused and nothing passes.
  const { evidenceRecords: _, ...bare } = rest;
  assert.deepEqual(judged({ keyEvidence: row, evidence: null }, bare), {
    exitCode: 3,
    failed: [],
    judged: [null, null, 'tee-simulated'],
  });
  const plain = startFakeNetwork();
  const haca = await openTestClient(plain);
  const { answer } = await haca.chat({ prompt: 'hi' });
  plain.settle();
  await answer.until('final');
  const signed = decodeBundle(await answer.bundle());
  assert.equal(signed.keyEvidence, undefined);
  const trust = { genesis: parseGenesisDocument(plain.chain.genesis) };
  const stray = verifyBundle(encodeBundle({ ...signed, keyEvidence: row }), {
    ...context,
    trust,
    policy: { minAssurance: 'signed' },
  });
  const failed = stray.verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  assert.deepEqual(failed, ['evidence.record']);
  const key = decode(nodeKeyRecordCodec, signed.key.value as Uint8Array, 'key');
  for (const method of ['signed', 'zk'] as const) {
    const { verdict } = judgeKeyEvidence(nodeCrypto, {
      key: { ...key, method },
      record: row,
      evidence: null,
      config: decode(chainConfigRecordCodec, signed.config.value as Uint8Array, 'config'),
      registeredAtMs: 0,
      records: openEvidenceRecords([]),
      time: null,
    });
    assert.deepEqual([verdict.ok, verdict.checks.at(-1)?.id], [false, 'evidence.record'], method);
  }
});

test('TCL-9: a bundle judged by what was known long before the answer is refused', async () => {
  const { node, haca } = await workingClient();
  const stale = await Promise.all((await routeRecords(haca)).map((key) => haca.chain.record(fromHex(key))));
  for (let i = 0; i < 130; i++) node.chain.change([]);
  node.chain.change([measurementRow({ revokedAt: 5 })]);
  const bundle = await bundleAfter(node);
  const { verdict } = verifyBundle(
    encodeBundle({ ...bundle.decoded, evidenceRecords: stale, headers: bundle.decoded.headers }),
    bundle.context,
  );
  const failed = verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  assert.ok(failed.includes('evidence-records.fresh'), failed.join(' '));
});

async function routeRecords(haca: Haca): Promise<readonly string[]> {
  for await (const route of haca.directory.routes('tiny', new Set()))
    return route.proofs.evidence.map(({ key }) => toHex(key));
  return [];
}

/** A bundle by somebody who takes whatever the node says. */
async function bundleAfter(node: FakeNode) {
  const lax = await openTestClient(node, { policy: { ...SIMULATED, allowUnverified: true } });
  const { answer } = await lax.chat({ prompt: 'whatever' });
  node.settle();
  await answer.until('final');
  const context: BundleContext = {
    crypto: nodeCrypto,
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    nowMs: node.chain.timeMs(),
    policy: SIMULATED,
  };
  const bundle = await answer.bundle();
  const own = verifyBundle(bundle, context).verdict;
  assert.ok(own.checks.some(({ id, status }) => id === 'evidence.measurement' && status === 'failed'));
  return { decoded: decodeBundle(bundle), context };
}

test('TCL-9: documents beside a key that shows none are refused', async () => {
  const { bundle, context } = await finalBundle();
  const decoded = decodeBundle(bundle);
  const withGpus = encodeBundle({ ...decoded, gpuEvidence: [Uint8Array.of(1)] });
  assert.equal(verdictExitCode(verifyBundle(withGpus, context).verdict), 1);
  const stray = encodeBundle({ ...decoded, evidence: null, gpuEvidence: [Uint8Array.of(1)] });
  const { verdict } = verifyBundle(stray, context);
  assert.ok(verdict.checks.some(({ id, status }) => id === 'bundle.gpu-evidence' && status === 'failed'));
});

test('the row of settings says which roots count: another row is no row', async () => {
  const { bundle, context } = await finalBundle();
  const decoded = decodeBundle(bundle);
  const { verdict } = verifyBundle(
    encodeBundle({ ...decoded, config: { ...decoded.config, key: recordKey.totals() } }),
    context,
  );
  assert.ok(verdict.checks.some(({ id, status }) => id === 'config.record' && status === 'failed'));
});

test('TCL-7: a tee answer meets a demanded tier only where as much is known of the host', () => {
  const statusOf = (
    ...[assurance, tier, minTier]: readonly [Assurance, AssuranceTier | null, AssuranceTier]
  ) => tierCheck(assurance, tier, { ...DEFAULT_POLICY, minTier }).status;
  const tiers = ['unknown-host', 'registered-hardware', 'cloud'] as const;
  for (const [i, tier] of tiers.entries()) {
    for (const [j, least] of tiers.entries())
      assert.equal(statusOf('tee', tier, least), i >= j ? 'passed' : 'failed', `${tier} for ${least}`);
    assert.equal(statusOf('tee-simulated', 'simulated', tier), i === 0 ? 'not-applicable' : 'failed');
    assert.equal(statusOf('tee', null, tier), 'skipped');
    for (const other of ['zk', 'signed', 'proxied'] as const)
      assert.equal(statusOf(other, null, tier), 'not-applicable');
  }
  // Whatever calls itself `tee`: what is simulated is below every host.
  assert.equal(statusOf('tee', 'simulated', 'registered-hardware'), 'failed');
});

test('TCL-9: no flipped bit of a bundle with evidence is accepted, and none makes anything but a verdict or a malformed bundle', async () => {
  const { bundle, context } = await finalBundle();
  const { headers: _, ...original } = decodeBundle(bundle);
  const decoded = decodeBundle(bundle);
  const parts = [
    decoded.evidence?.envelope.document,
    decoded.keyEvidence === undefined ? null : encode(keyEvidenceRecordCodec, decoded.keyEvidence),
    ...(decoded.evidenceRecords ?? []).map(({ value }) => value),
  ];
  // Where evidence and its records lie, for headers are text that fills most of a bundle.
  const spans = parts.flatMap((part) => {
    const at = part === null || part === undefined ? -1 : Buffer.from(bundle).indexOf(part);
    return at < 0 ? [] : [{ at, length: (part as Uint8Array).length }];
  });
  assert.ok(spans.length > 8);
  const bits = fc
    .record({
      span: fc.constantFrom(...spans),
      offset: fc.double({ min: 0, max: 1, noNaN: true }),
      bit: fc.nat({ max: 7 }),
    })
    .map(({ span, offset, bit }) => 8 * (span.at + Math.floor(offset * (span.length - 1))) + bit);
  fc.assert(
    fc.property(fc.oneof(bits, fc.nat({ max: 8 * bundle.length - 1 })), (bit) => {
      const changed = flipBit(bundle, bit);
      try {
        const { verdict } = verifyBundle(changed, context);
        if (!verdict.ok) return;
      } catch (error) {
        assert.equal((error as Error).name, 'MalformedError', String(error));
        return;
      }
      // Only the spelling of headers has slack.
      const { headers: __, ...rest } = decodeBundle(changed);
      assert.deepEqual(rest, original);
    }),
    { numRuns: 200 },
  );
});
