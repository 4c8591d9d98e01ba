import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { createJudgementMemo } from '../src/application/judgement-memo.ts';
import { answeringCrypto } from '../src/application/verdict-cache.ts';
import { createVerification } from '../src/application/verification.ts';
import type { EvidenceRescoring, RescoreEvidence, StateEvidenceRules } from '../src/state-machine/index.ts';

const GOOD: EvidenceRescoring = { fault: null, tcbStatus: 'UpToDate', collateralEndMs: 1_000 };
const RULES: StateEvidenceRules = {
  version: new Uint8Array(32),
  simulated: false,
  testRoots: [],
  measurements: [],
  revoked: [],
  collateral: () => null,
  collateralGraceMs: 100,
  tcbStatuses: [],
  tcbFloors: [],
  evidenceAgeMaxMs: 0,
  evidenceSkewMaxMs: 0,
  nowMs: 500,
};

/** Counts how often the answer was worked out. */
function counted(rescore: RescoreEvidence, judgementsMax?: number) {
  let calls = 0;
  const memo = createJudgementMemo((...args) => {
    calls++;
    return rescore(...args);
  }, judgementsMax);
  return { memo, calls: () => calls };
}

test('TC-10: a judgement is remembered by facts, kind, version, genesis and the time it is good for', () => {
  const { memo, calls } = counted(() => GOOD);
  const facts = utf8Encode('facts');
  const ask = (over: Partial<StateEvidenceRules> = {}, of = facts, kind: 'tdx' | 'sgx' = 'tdx'): number => {
    const before = calls();
    assert.deepEqual(memo(kind, of, { ...RULES, ...over }, nodeCrypto), GOOD);
    return calls() - before;
  };
  assert.equal(ask(), 2, 'now, and at its end');
  assert.equal(ask(), 0);
  assert.equal(ask({ nowMs: 1_099 }), 0);
  assert.equal(ask({ nowMs: 499 }), 2, 'earlier than it was asked');
  assert.ok(ask({ nowMs: 1_100 }) > 0, 'later than its end');
  assert.ok(ask({ version: new Uint8Array(32).fill(1) }) > 0);
  assert.ok(ask({ simulated: true }) > 0);
  assert.ok(ask({ testRoots: [new Uint8Array(32)] }) > 0);
  assert.ok(ask({ collateralGraceMs: 99 }) > 0);
  assert.ok(ask({}, utf8Encode('others')) > 0);
  assert.ok(ask({}, facts, 'sgx') > 0);
  assert.equal(ask({ version: null }), 1, 'rules of another time are never remembered');
  assert.equal(ask({ version: null }), 1);
});

test('TC-10: faults, judgements without collateral, and such as change before their end are not remembered', () => {
  for (const rescore of [
    () => ({ ...GOOD, fault: 'tcb-out-of-date' as const }),
    () => ({ ...GOOD, collateralEndMs: null }),
    (...[, , { nowMs }]: Parameters<RescoreEvidence>) => ({
      ...GOOD,
      fault: nowMs > 900 ? ('stale-collateral' as const) : null,
    }),
  ]) {
    const { memo, calls } = counted(rescore);
    const first = memo('tdx', RULES.version as Uint8Array, RULES, nodeCrypto);
    const between = calls();
    assert.deepEqual(memo('tdx', RULES.version as Uint8Array, RULES, nodeCrypto), first);
    assert.ok(calls() > between);
  }
});

test('TC-10: what was found while signatures were only taken for good is not remembered', () => {
  let guesses = 0;
  const guessing = answeringCrypto(
    nodeCrypto,
    () => true,
    () => guesses,
  );
  const key = new Uint8Array(32);
  const { memo, calls } = counted((_kind, _facts, _rules, crypto) => {
    guesses++;
    return { ...GOOD, fault: crypto.verifyEd25519(key, key, key) ? null : 'stale-collateral' };
  });
  assert.equal(memo('tdx', key, RULES, guessing).fault, null);
  assert.equal(memo('tdx', key, RULES, nodeCrypto).fault, 'stale-collateral', 'the truth');
  assert.equal(calls(), 3);
});

test('TC-10 CHAIN-94: a guess that was wrong leaves no judgement behind, wherever it is made', async () => {
  const signature = new Uint8Array(64);
  const { memo } = counted((_kind, _facts, _rules, crypto) => ({
    ...GOOD,
    fault: crypto.verifyEcdsaP256(new Uint8Array(65), signature, signature) ? null : 'stale-collateral',
  }));
  const verification = createVerification(nodeCrypto, async () => false);
  const seen: unknown[] = [];
  const fault = await verification.ahead('block', (crypto) => {
    seen.push(memo('tdx', signature, RULES, crypto).fault);
    return seen.at(-1);
  });
  assert.deepEqual(seen, [null, 'stale-collateral'], 'guessed, then known');
  assert.equal(fault, 'stale-collateral');
});

test('TC-10: with or without the memo the answers are the same, however few it holds', () => {
  const window = fc.record({ from: fc.nat(60), end: fc.nat(60) });
  const asks = fc.array(fc.record({ facts: fc.nat(5), version: fc.nat(2), nowMs: fc.nat(80) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      fc.array(window, { minLength: 18, maxLength: 18 }),
      asks,
      fc.nat(3),
      (windows, list, size) => {
        const rescore: RescoreEvidence = (_kind, facts, { version, nowMs, collateralGraceMs }) => {
          const { from, end } = windows[(facts[0] as number) * 3 + ((version ?? facts)[0] as number)] ?? {
            from: 0,
            end: 0,
          };
          const isGood = from <= nowMs && nowMs < end + collateralGraceMs;
          return { fault: isGood ? null : 'stale-collateral', tcbStatus: null, collateralEndMs: end };
        };
        const memo = createJudgementMemo(rescore, 2 * size);
        for (const { facts, version, nowMs } of list) {
          const rules = { ...RULES, version: new Uint8Array(32).fill(version), nowMs, collateralGraceMs: 10 };
          const of = Uint8Array.of(facts);
          assert.deepEqual(memo('tdx', of, rules, nodeCrypto), rescore('tdx', of, rules, nodeCrypto));
        }
      },
    ),
    { numRuns: 60 },
  );
});
