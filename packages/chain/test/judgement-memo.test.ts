import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { createJudgementMemo } from '../src/application/judgement-memo.ts';
import { answeringCrypto } from '../src/application/verdict-cache.ts';
import { createVerification } from '../src/application/verification.ts';
import {
  type EvidenceRescoring,
  keyStandingOf,
  type RescoreEvidence,
  type StateEvidenceRules,
} from '../src/state-machine/index.ts';
import {
  collateral,
  evidenceWorld,
  MADE_UP_VERIFIER,
  openDocumentKey,
  post,
  standingOf,
} from './evidence-world.ts';
import { FAUCET, settle } from './state-machine-world.ts';

const GOOD: EvidenceRescoring = { fault: null, tcbStatus: 'UpToDate', collateralEndMs: 1_000 };
const KEY = new Uint8Array(32);
const RULES: StateEvidenceRules = {
  evaluation: 'in-force',
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

test('TC-10: a judgement is remembered by facts, kind, decisions, genesis and the time it is good for', () => {
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
  const certificate = { issuer: Uint8Array.of(1), serial: Uint8Array.of(1) };
  assert.ok(ask({ revoked: [certificate] }) > 0);
  assert.ok(ask({ revoked: [{ ...certificate, serial: Uint8Array.of(2) }] }) > 0);
  assert.equal(ask({ revoked: [{ ...certificate }] }), 0);
  assert.ok(ask({ tcbStatuses: [{ evidenceKind: 'tdx', statuses: [] }] }) > 0);
  const floor = { bootloader: 0, tee: 0, snp: 0, microcode: 1, fmc: null };
  assert.ok(ask({ tcbFloors: [{ product: 'milan', floor }] }) > 0);
  assert.ok(ask({ evaluation: 'newest-superseded' }) > 0);
  assert.ok(ask({ simulated: true }) > 0);
  assert.ok(ask({ testRoots: [new Uint8Array(32)] }) > 0);
  assert.ok(ask({ collateralGraceMs: 99 }) > 0);
  assert.ok(ask({}, utf8Encode('others')) > 0);
  assert.ok(ask({}, facts, 'sgx') > 0);
});

test('TC-10: what is stale is remembered for its moment, another fault and what has no end for all its time', () => {
  const at = (rescore: RescoreEvidence, nowMs: number, ...later: readonly number[]): readonly number[] => {
    const { memo, calls } = counted(rescore);
    return [nowMs, ...later].map((ms) => {
      const before = calls();
      const rules = { ...RULES, nowMs: ms };
      assert.deepEqual(memo('tdx', KEY, rules, nodeCrypto), rescore('tdx', KEY, rules, nodeCrypto));
      return calls() - before;
    });
  };
  const stale = { ...GOOD, fault: 'stale-collateral' as const };
  assert.deepEqual(
    at(() => stale, 500, 500, 501),
    [1, 0, 1],
  );
  assert.deepEqual(
    at(() => ({ ...GOOD, fault: 'tcb-out-of-date' }), 500, 500, 501, 1_099, 1_100),
    [2, 0, 0, 0, 1],
  );
  assert.deepEqual(
    at(() => ({ ...GOOD, collateralEndMs: null }), 500, 501, 10 ** 12),
    [2, 0, 0],
  );
  assert.deepEqual(
    at((...[, , { nowMs }]) => (nowMs > 900 ? stale : GOOD), 500, 500, 501, 901),
    [2, 0, 2, 1],
    'it changes before its end',
  );
});

test('TC-10: another piece of collateral is another judgement, and a piece is asked for each time', () => {
  const ref = { kind: 'intel-tcb-info', rootCertificate: KEY, scope: KEY } as const;
  const { memo, calls } = counted((...[, , { collateral: source }]) => ({
    ...GOOD,
    tcbStatus: `${source(ref)?.body.length}`,
  }));
  let asked = 0;
  const judge = (item: ReturnType<typeof collateral> | null): string | null => {
    const source = () => {
      asked++;
      return item as never;
    };
    return memo('tdx', KEY, { ...RULES, collateral: source }, nodeCrypto).tcbStatus;
  };
  const [first, second] = [collateral(), collateral({ number: 10 })];
  const sizeOf = (item: ReturnType<typeof collateral>): string => `${'body' in item && item.body.length}`;
  assert.equal(judge(first), sizeOf(first));
  const before = { calls: calls(), asked };
  assert.equal(judge(collateral()), sizeOf(first), 'an equal piece');
  assert.deepEqual({ calls: calls(), asked }, { ...before, asked: before.asked + 1 });
  assert.equal(judge(second), sizeOf(second));
  assert.equal(judge(null), 'undefined');
});

test('TC-10 TC-8: settling in the grace of a recovery judges a key once, and ends it at the same time', () => {
  const { memo, calls } = counted(MADE_UP_VERIFIER.rescore);
  const { world, node } = evidenceWorld({ evidence: { ...MADE_UP_VERIFIER, rescore: memo } });
  assert.equal(post(world, FAUCET, collateral()), 'OK');
  const key = openDocumentKey(world, node);
  for (const number of [2, 3]) assert.equal(post(world, FAUCET, collateral({ number, goodFrom: 9 })), 'OK');
  const plain = { ...world.ctx, evidence: MADE_UP_VERIFIER };
  const expected = () =>
    keyStandingOf(world, plain, key.keyId, { height: world.height(), timeMs: world.timeMs() });
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  const before = calls();
  let settled = 0;
  while (expected()?.isBacking) {
    assert.deepEqual(standingOf(world, key), expected());
    const { codeName } = settle(world, key, 1, 0n);
    if (codeName === 'OK') settled++;
    assert.equal(codeName, expected()?.isBacking ? 'OK' : 'E_KEY');
  }
  assert.deepEqual(standingOf(world, key), expected());
  assert.ok(settled > 10);
  assert.ok(calls() - before <= 10, `${calls() - before} judgements for ${settled} batches`);
});

test('TC-10: what is posted about other platforms makes no key be judged again', () => {
  const { memo, calls } = counted(MADE_UP_VERIFIER.rescore);
  const { world, node } = evidenceWorld({ evidence: { ...MADE_UP_VERIFIER, rescore: memo } });
  assert.equal(post(world, FAUCET, collateral()), 'OK');
  const key = openDocumentKey(world, node);
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  const before = calls();
  for (const number of [1, 2, 3]) {
    assert.equal(post(world, FAUCET, collateral({ scope: 'TDX:q', number })), 'OK');
    assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  }
  assert.equal(calls(), before);
  assert.equal(post(world, FAUCET, collateral({ number: 2, revokedBelow: 9 })), 'OK');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
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
  assert.equal(memo('tdx', key, RULES, guessing).fault, null);
  assert.equal(calls(), 1, 'one run takes it for good once');
  assert.equal(memo('tdx', key, RULES, { ...guessing }).fault, null);
  assert.equal(calls(), 2, 'and another one by itself');
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
  const asks = fc.array(fc.record({ facts: fc.nat(5), floor: fc.nat(2), nowMs: fc.nat(80) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      fc.array(window, { minLength: 18, maxLength: 18 }),
      asks,
      fc.nat(3),
      (windows, list, size) => {
        const rescore: RescoreEvidence = (_kind, facts, { tcbFloors, nowMs, collateralGraceMs }) => {
          const { from, end } = windows[(facts[0] as number) * 3 + (tcbFloors[0]?.floor.tee ?? 0)] ?? {
            from: 0,
            end: 0,
          };
          const isGood = from <= nowMs && nowMs < end + collateralGraceMs;
          return { fault: isGood ? null : 'stale-collateral', tcbStatus: null, collateralEndMs: end };
        };
        const memo = createJudgementMemo(rescore, 2 * size);
        for (const { facts, floor, nowMs } of list) {
          const tcbFloor = { bootloader: 0, tee: floor, snp: 0, microcode: 0, fmc: null };
          const tcbFloors = [{ product: 'milan' as const, floor: tcbFloor }];
          const rules = { ...RULES, tcbFloors, nowMs, collateralGraceMs: 10 };
          const of = Uint8Array.of(facts);
          assert.deepEqual(memo('tdx', of, rules, nodeCrypto), rescore('tdx', of, rules, nodeCrypto));
        }
      },
    ),
    { numRuns: 60 },
  );
});
