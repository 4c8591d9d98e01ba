import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, decode, encode, toHex, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  chainConfigRecordCodec,
  collateralCodec,
  collateralIdOf,
  collateralRecordCodec,
  DEFAULT_PARAMS,
  keyEvidenceRecordCodec,
  nodeKeyRecordCodec,
  recordKey,
} from '@haca/protocol';
import {
  appraisePieces,
  type CollateralEntry,
  type CollateralPiece,
  collateralNeeds,
  collateralTransactions,
  scopeText,
  sizeOfTransaction,
  subjectOf,
} from '@haca/sdk';
import { createTdxPlatform } from '@haca/testkit';
import { type CollateralFile, readCollateral } from '@haca/verifier';
import { GENESIS_MS } from './fake-chain.ts';
import { CHAIN_ID } from './fake-node.ts';
import { flipBit } from './flip.ts';
import { collateralRows, DAY_MS, platform, startTdxNetwork } from './tdx-network.ts';

const CONFIG = { simulated: true, testRoots: [platform.rootSha256] };
const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;

interface FileOptions {
  /** Without certificates: they have to come from the chain. */
  readonly bare?: boolean;
}

/** A folder as a person makes one: JSON of Intel's service, lists in DER, chains in PEM. */
function filesOf(
  items: readonly Collateral[],
  { bare = false }: FileOptions = {},
): readonly CollateralFile[] {
  return items.flatMap((item, i): readonly CollateralFile[] => {
    const chain = bare ? [] : [{ name: `${i}.pem`, bytes: utf8Encode(item.issuerChain.map(pem).join('')) }];
    if ('crl' in item) return [{ name: `${i}.der`, bytes: item.crl }, ...chain];
    const body = new TextDecoder().decode(item.body);
    const member = item.kind === 'intel-tcb-info' ? 'tcbInfo' : 'enclaveIdentity';
    const text = `{"${member}":${body},"signature":"${toHex(item.signature)}"}`;
    return [{ name: `${i}.json`, bytes: utf8Encode(text) }, ...chain];
  });
}

const itemsOf = (options: Parameters<typeof platform.collateral>[0]): readonly Collateral[] =>
  platform.collateral(options).map(({ item }) => item);

const onChain = (rows = collateralRows()): readonly CollateralEntry[] =>
  rows.map(([key, value]) => ({
    id: key.slice(1),
    record: decode(collateralRecordCodec, value, 'collateral'),
  }));

function appraise(
  files: readonly CollateralFile[],
  rows: readonly CollateralEntry[],
  config: Parameters<typeof appraisePieces>[1]['config'] = CONFIG,
): readonly CollateralPiece[] {
  return appraisePieces(readCollateral(files), {
    crypto: nodeCrypto,
    config,
    onChain: rows,
    revoked: [],
    nowMs: GENESIS_MS,
  });
}

const states = (pieces: readonly CollateralPiece[]): readonly string[] => pieces.map(({ state }) => state);
const current = { issuedMs: GENESIS_MS - DAY_MS };

test('files become the very pieces that their issuer made, lists first, under the names that the chain gives them', () => {
  const items = itemsOf(current);
  const pieces = appraise(filesOf([...items].reverse()), []);
  assert.deepEqual(states(pieces), ['new', 'new', 'new', 'new']);
  assert.deepEqual(pieces.map(({ ref }) => ref.kind).sort(), items.map(({ kind }) => kind).sort());
  assert.ok(pieces.slice(0, 2).every(({ ref }) => ref.kind === 'intel-crl'));
  const encoded = new Set(items.map((item) => toHex(encode(collateralCodec, item))));
  for (const { item, ref } of pieces) {
    assert.ok(encoded.has(toHex(encode(collateralCodec, item))), ref.kind);
    assert.ok(onChain().some(({ id }) => bytesEqual(id, collateralIdOf(ref))));
    assert.equal(subjectOf(item), scopeText(ref));
  }
  assert.deepEqual(pieces.map(({ ref }) => scopeText(ref)).sort(), [
    'Kit SGX PCK Platform CA',
    'Kit SGX Root CA',
    'TDX:90c06f000000',
    'TD_QE',
  ]);
});

test('only what is newer than the chain is to be posted', () => {
  const rows = onChain();
  const cases = [
    [current, 'same'],
    [{ issuedMs: current.issuedMs + 1_000 }, 'newer'],
    [{ issuedMs: current.issuedMs - 1_000 }, 'older'],
    [{ ...current, evaluation: 18, crlNumber: 2 }, 'newer'],
    // A lower number never is, however late its issue.
    [{ issuedMs: current.issuedMs + 1_000, evaluation: 16, crlNumber: 0 }, 'older'],
  ] as const;
  for (const [options, state] of cases) {
    assert.deepEqual(states(appraise(filesOf(itemsOf(options)), rows)), Array(4).fill(state), state);
  }
});

test('of several versions in the files the newest is taken', () => {
  const files = [
    ...filesOf(itemsOf(current)),
    ...filesOf(itemsOf({ ...current, evaluation: 18 })).map((file) => ({
      ...file,
      name: `newer-${file.name}`,
    })),
  ];
  const [info] = appraise(files, []).filter(({ ref }) => ref.kind === 'intel-tcb-info');
  assert.equal(info?.facts?.version[0], 18);
});

test('certificates and lists that the chain holds need not be given again', () => {
  const raised = itemsOf({ ...current, evaluation: 18 });
  const [, , info] = raised as readonly [Collateral, Collateral, Collateral];
  assert.deepEqual(states(appraise(filesOf([info], { bare: true }), onChain())), ['newer']);
  assert.deepEqual(appraise(filesOf([info], { bare: true }), []), []);
  // Nobody can say whether its signer was revoked.
  assert.deepEqual(states(appraise(filesOf([info]), [])), ['refused']);
});

test('what is forged, past its time, or of a root that genesis does not name is refused', () => {
  const items = itemsOf(current);
  const forged = items.map((item) =>
    'crl' in item ? item : { ...item, signature: flipBit(item.signature, 5) },
  );
  assert.deepEqual(states(appraise(filesOf(forged), [])), ['new', 'new', 'refused', 'refused']);
  const old = itemsOf({ issuedMs: GENESIS_MS - 40 * DAY_MS });
  assert.deepEqual(states(appraise(filesOf(old), [])), Array(4).fill('refused'));
  const other = createTdxPlatform(GENESIS_MS)
    .collateral(current)
    .map(({ item }) => item);
  assert.deepEqual(
    appraise(filesOf(other), onChain()).filter(({ state }) => state !== 'refused'),
    [],
  );
  assert.deepEqual(appraise(filesOf(items), [], { simulated: false, testRoots: [] }), []);
});

test('transactions hold as many pieces as fit and keep their order', () => {
  const items = itemsOf(current);
  const many = Array.from({ length: 30 }, (_, i) => items[i % items.length] as Collateral);
  const { gasTarget } = DEFAULT_PARAMS;
  const transactions = collateralTransactions(many, CHAIN_ID, gasTarget);
  assert.deepEqual(
    transactions.flat().flatMap((op) => op.items),
    many,
  );
  assert.ok(transactions.length > 1);
  for (const ops of transactions) {
    assert.ok(sizeOfTransaction(ops, CHAIN_ID).gas <= (3 / 16) * gasTarget);
    for (const { items: some } of ops) assert.ok(some.length <= 4);
  }
  assert.equal(collateralTransactions(items, CHAIN_ID, gasTarget).length, 1);
  assert.deepEqual(collateralTransactions([], CHAIN_ID, gasTarget), []);
  // Where one alone is too much it is tried all the same: the chain has the last word.
  assert.equal(collateralTransactions(items, CHAIN_ID, 1).length, items.length);
});

test('what a key needs is what it is judged by', () => {
  const { chain, keyId } = startTdxNetwork();
  const row = chain.get(recordKey.keyEvidence(keyId)) as Uint8Array;
  const record = decode(keyEvidenceRecordCodec, row, 'key-evidence');
  const key = decode(nodeKeyRecordCodec, chain.get(recordKey.nodeKey(keyId)) as Uint8Array, 'key');
  const config = decode(chainConfigRecordCodec, chain.get(recordKey.params()) as Uint8Array, 'config');
  const needed = collateralNeeds(nodeCrypto, config, key, record).map((ref) => toHex(collateralIdOf(ref)));
  assert.deepEqual(
    needed.sort(),
    onChain()
      .map(({ id }) => toHex(id))
      .sort(),
  );
  assert.deepEqual(collateralNeeds(nodeCrypto, config, { evidence: null }, null), []);
  for (const other of [null, { ...record, facts: flipBit(record.facts, 3) }])
    assert.throws(() => collateralNeeds(nodeCrypto, config, key, other), { code: 'key-evidence.hash' });
});
