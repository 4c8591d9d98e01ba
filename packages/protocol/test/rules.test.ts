import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { MalformedError, toHex, UsageError } from '@haca/primitives';
import { exampleDigest, exampleKeys, makeExamples } from '@haca/testkit';
import fc from 'fast-check';
import {
  type AppGenesis,
  baseFeeAt,
  baseFeeStep,
  chargeFor,
  codeNumber,
  codeOfNumber,
  codeText,
  credit,
  DEFAULT_PARAMS,
  ERROR_CODES,
  failed,
  formatAppGenesis,
  formatFixed,
  formatOpg,
  joinVerdicts,
  nopg,
  notApplicable,
  OPG_SUPPLY_NOPG,
  parseAppGenesis,
  passed,
  reserveFor,
  skipped,
  transactionClass,
  transactionGas,
  validateParams,
  verdictExitCode,
  verdictOf,
} from '../src/index.ts';

const examples = makeExamples(exampleKeys(ed25519SignerFromSeed));
const offer = examples.offer.value;

test('PRICE-1 a charge is rounded up once, and never below the minimum', () => {
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 0 };
  assert.equal(chargeFor({ ...offer, inputPrice: credit(1n), minCharge: credit(0n) }, usage), 1_001n);
  assert.equal(chargeFor({ ...offer, requestPrice: credit(0n), inputPrice: credit(1n) }, usage), 1_500n);
  assert.equal(
    chargeFor(offer, { inputTokens: 1_000_000, cachedInputTokens: 0, outputTokens: 1_000_000 }),
    80_001_000n,
  );
  assert.equal(chargeFor(offer, { inputTokens: 10, cachedInputTokens: 99, outputTokens: 0 }), 1_500n);
});

test('PRICE-2 the reserve covers every charge the request can lead to', () => {
  fc.assert(
    fc.property(fc.nat(4000), fc.nat(4000), fc.nat(4000), fc.nat(4000), (bound, max, input, output) => {
      const inputTokens = Math.min(input, bound);
      for (const cachedInputTokens of [0, Math.floor(inputTokens / 2), inputTokens]) {
        const charge = chargeFor(offer, {
          inputTokens,
          cachedInputTokens,
          outputTokens: Math.min(output, max),
        });
        assert.ok(charge <= reserveFor(offer, bound, max));
      }
    }),
  );
});

test('PRICE-3 extreme prices and counts saturate instead of overflowing', () => {
  const dearest = credit((1n << 64n) - 1n);
  assert.equal(
    chargeFor(
      { ...offer, outputPrice: dearest },
      { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0xffffffff },
    ),
    (1n << 64n) - 1n,
  );
});

test('FEE-1 the base fee moves by the rule at its edges', () => {
  const params = DEFAULT_PARAMS;
  assert.equal(baseFeeStep(2_000n, 500_000, params), 2_000n);
  assert.equal(baseFeeStep(64_000n, 2_000_000, params), 67_000n);
  assert.equal(baseFeeStep(64_000n, 0, params), 63_000n);
  assert.equal(baseFeeStep(2_000n, 500_001, params), 2_001n);
  assert.equal(baseFeeStep(2_000n, 0, params), 2_000n);
  assert.equal(baseFeeStep(params.baseFeeMax, 2_000_000, params), params.baseFeeMax);
});

test('FEE-2 a stored fee read later equals the fee stepped block by block, and the loop is bounded', () => {
  const params = { gasTarget: 500_000, baseFeeMin: 20n, baseFeeMax: 2_000_000_000n };
  fc.assert(
    fc.property(
      fc.bigInt({ min: 20n, max: 2_000_000_000n }),
      fc.nat(2_000_000),
      fc.nat(1500),
      (fee, gas, idle) => {
        let stepped = baseFeeStep(fee, gas, params);
        for (let i = 0; i < idle; i++) stepped = baseFeeStep(stepped, 0, params);
        assert.equal(baseFeeAt({ baseFee: fee, height: 10, gasUsed: gas }, 11 + idle, params), stepped);
      },
    ),
  );
  assert.equal(
    baseFeeAt({ baseFee: 2_000_000_000n, height: 0, gasUsed: 0 }, Number.MAX_SAFE_INTEGER, params),
    20n,
  );
  assert.throws(() => baseFeeAt({ baseFee: 20n, height: 5, gasUsed: 0 }, 5, params), UsageError);
});

test('FEE-3 gas counts every byte and signature, and settling is class S', () => {
  const settle = examples.transactions.get('settle');
  const transfer = examples.transactions.get('transfer-opg');
  assert.ok(settle !== undefined && transfer !== undefined);
  assert.ok(transactionGas(settle) > settle.bytes.length + 2 * 110);
  assert.equal(transactionClass(settle), 'S');
  assert.equal(transactionClass(transfer), 'G');
  assert.equal(
    transactionClass({
      ...settle,
      body: { ...settle.body, ops: [...settle.body.ops, ...transfer.body.ops] },
    }),
    'G',
  );
});

test('CODE-1 codes have distinct numbers, one line each, and read back', () => {
  assert.equal(new Set(ERROR_CODES.map(codeNumber)).size, ERROR_CODES.length);
  for (const code of ERROR_CODES) {
    assert.equal(codeOfNumber(codeNumber(code)), code);
    assert.match(codeText(code), /^[A-Za-z].+[.]$/);
    assert.ok(!codeText(code).includes('\n'));
  }
  assert.equal(codeOfNumber(9999), undefined);
});

test('VERDICT-1 a skip is never a pass, and nothing checked is not ok', () => {
  assert.equal(verdictOf([]).ok, false);
  assert.equal(verdictOf([notApplicable('a', 'no such thing')]).ok, false);
  assert.equal(verdictOf([passed('a'), notApplicable('b', 'x')]).ok, true);
  assert.equal(verdictOf([passed('a'), skipped('b', 'no-data', 'x')]).ok, false);
  assert.equal(verdictExitCode(verdictOf([])), 1);
  assert.equal(verdictExitCode(verdictOf([passed('a')])), 0);
  assert.equal(verdictExitCode(verdictOf([passed('a'), skipped('b', 'c', 'd')])), 3);
  assert.equal(verdictExitCode(verdictOf([skipped('b', 'c', 'd'), failed('e', 'f', 'g', 'h')])), 1);
  assert.deepEqual(joinVerdicts([['x', verdictOf([passed('a')])]]).checks[0]?.id, 'x.a');
});

test('UNIT-1 amounts are unsigned 64-bit, and shown in whole units', () => {
  assert.throws(() => nopg(-1n), UsageError);
  assert.throws(() => credit(1n << 64n), UsageError);
  assert.equal(OPG_SUPPLY_NOPG, 10n ** 18n);
  assert.equal(formatOpg(1_500_000_000n), '1.5 OPG');
  assert.equal(formatFixed(-1n, 9), '-0.000000001');
  assert.equal(formatFixed(7n, 0), '7');
});

const genesis: AppGenesis = {
  simulated: true,
  params: { ...DEFAULT_PARAMS, gasTarget: 400_000 },
  reserveNopg: 100n,
  accounts: [{ accountId: exampleDigest('a'), nopg: 5n }],
  validators: [{ consensusKey: exampleDigest('v'), operator: exampleDigest('a'), selfBond: 7n }],
  assets: [{ asset: 1, symbol: 'CREDIT', issuer: exampleDigest('a') }],
  measurements: [
    { name: 'test', kind: 'nitro', registers: [{ register: 'pcr0', value: new Uint8Array(48).fill(1) }] },
  ],
  testRoots: [exampleDigest('root')],
};

test('GENESIS-1 a genesis reads back from its JSON', () => {
  assert.deepEqual(parseAppGenesis(JSON.parse(JSON.stringify(formatAppGenesis(genesis, toHex)))), genesis);
});

test('GENESIS-2 test roots need a simulated genesis', () => {
  const json = { ...(formatAppGenesis(genesis, toHex) as object), simulated: false };
  assert.throws(() => parseAppGenesis(json), /testRoots/);
});

test('GENESIS-3 unknown members, wrong types, bad amounts and unknown parameters are refused with their path', () => {
  const json = formatAppGenesis(genesis, toHex) as Record<string, unknown>;
  const broken: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    [{ ...json, extra: 1 }, /extra/],
    [{ ...json, reserveNopg: 100 }, /reserveNopg/],
    [{ ...json, reserveNopg: '0100' }, /reserveNopg/],
    [{ ...json, accounts: {} }, /accounts/],
    [{ ...json, accounts: [{ accountId: 'AB', nopg: '1' }] }, /accountId/],
    [{ ...json, params: { blockSize: 1 } }, /params\.blockSize/],
    [{ ...json, params: { gasTarget: 1.5 } }, /params\.gasTarget/],
    [{ ...json, params: { constructor: 1 } }, /params\.constructor/],
    [{ ...json, measurements: [{ name: 'x', kind: 'nitro', registers: { pcr0: '' } }] }, /registers/],
  ];
  for (const [value, path] of broken) {
    assert.throws(
      () => parseAppGenesis(value),
      (error) => error instanceof MalformedError && path.test(error.message),
    );
  }
  for (const value of [null, 7, [], 'x', {}]) assert.throws(() => parseAppGenesis(value), MalformedError);
});

test('GENESIS-4 parameters that break a timing inequality are refused', () => {
  assert.throws(() => validateParams({ ...DEFAULT_PARAMS, withdrawDelay: 3_599 }), /withdrawDelay/);
  assert.throws(() => validateParams({ ...DEFAULT_PARAMS, unbondingTime: 1000 }), /unbondingTime/);
  assert.throws(() => validateParams({ ...DEFAULT_PARAMS, keyDrain: 1000 }), /keyDrain/);
  assert.throws(() => validateParams({ ...DEFAULT_PARAMS, baseFeeMin: 0n }), /baseFeeMin/);
});
