/** Random histories of collateral, revocations, keys and batches: what holds whatever happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8Decode, utf8Encode } from '@haca/primitives';
import { type CollateralRecord, collateralIdOf, collateralRecordCodec, recordKey } from '@haca/protocol';
import fc from 'fast-check';
import { createJudgementMemo } from '../src/application/judgement-memo.ts';
import { keyStandingOf } from '../src/state-machine/index.ts';
import {
  collateral,
  decree,
  evidenceWorld,
  ISSUER,
  MADE_UP_VERIFIER,
  openWithDocuments,
  post,
  VENDOR_ROOT,
} from './evidence-world.ts';
import { FAUCET, settle, type TestKey, type World } from './state-machine-world.ts';

const SIGNERS = 3;
const signer = fc.nat(SIGNERS - 1);

type Action = typeof ACTION extends fc.Arbitrary<infer T> ? T : never;
const ACTION = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      act: fc.constant('post' as const),
      number: fc.integer({ min: 1, max: 6 }),
      late: fc.nat(2),
      goodFrom: fc.nat(6),
      isRevoking: fc.nat(7).map((n) => n === 0),
      signer,
      forMs: fc.integer({ min: 3, max: 30 }).map((s) => s * 1_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('revoke' as const), signer }) },
  {
    weight: 4,
    arbitrary: fc.record({
      act: fc.constant('open' as const),
      level: fc.nat(6),
      chip: fc.nat(1),
      gpus: fc.uniqueArray(fc.nat(2), { maxLength: 2 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ act: fc.constant('settle' as const), key: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({ act: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
  },
);

function rowOf(world: World): CollateralRecord | undefined {
  const ref = { kind: 'intel-tcb-info', rootCertificate: VENDOR_ROOT, scope: utf8Encode('TDX:p') } as const;
  return world.read(collateralRecordCodec, recordKey.collateral(collateralIdOf(ref)));
}

function signerOf({ item }: CollateralRecord): number {
  assert.ok('body' in item);
  return (JSON.parse(utf8Decode(item.body)) as { readonly signer: number }).signer;
}

function isBelow(a: CollateralRecord, b: CollateralRecord): boolean {
  const [x, y] = [a.version, b.version];
  return x.number < y.number || (x.number === y.number && x.issuedMs < y.issuedMs);
}

function act(
  world: World,
  node: Parameters<typeof openWithDocuments>[1],
  keys: TestKey[],
  action: Action,
): void {
  switch (action.act) {
    case 'post': {
      const { number, late, goodFrom, isRevoking, forMs } = action;
      const issuedMs = 1_700_000_000_000 + late;
      const nextUpdateMs = world.timeMs() + forMs;
      const levels = { goodFrom, revokedBelow: isRevoking ? 6 : 0 };
      post(world, FAUCET, collateral({ number, issuedMs, nextUpdateMs, signer: action.signer, ...levels }));
      return;
    }
    case 'revoke': {
      const certificate = { issuer: ISSUER, serial: Uint8Array.of(action.signer) };
      decree(world, FAUCET, { kind: 'revoke-certificate', certificate });
      return;
    }
    case 'open': {
      const doc = { level: action.level, serial: 100, hardware: [`chip ${action.chip}`] };
      const gpus = action.gpus.map((name) => ({ serial: 100, hardware: [`gpu ${name}`] }));
      const { op, key } = openWithDocuments(world, node, { doc, gpus });
      if (world.run(node.operator, [op]).codeName === 'OK') keys.push(key);
      return;
    }
    case 'settle': {
      const key = keys[action.key % Math.max(1, keys.length)];
      if (key === undefined) return;
      const plain = { ...world.ctx, evidence: MADE_UP_VERIFIER };
      const next = { height: world.height() + 1, timeMs: world.timeMs() + 1_000 };
      const isBacking = keyStandingOf(world, plain, key.keyId, next)?.isBacking ?? false;
      assert.equal(settle(world, key, 1, 0n).codeName === 'OK', isBacking);
      return;
    }
    case 'wait':
      world.block([], { timeMs: world.timeMs() + action.ms });
  }
}

test('TC-2 TC-6 TC-10: whatever is posted, revoked and settled, memory changes no answer and nothing that stands is rolled back', () => {
  fc.assert(
    fc.property(fc.array(ACTION, { minLength: 20, maxLength: 60 }), fc.boolean(), (actions, isSmall) => {
      const memo = createJudgementMemo(MADE_UP_VERIFIER.rescore, isSmall ? 2 : 1_024);
      // Every block is checked for its invariants.
      const { world, node } = evidenceWorld({ evidence: { ...MADE_UP_VERIFIER, rescore: memo } });
      const plain = { ...world.ctx, evidence: MADE_UP_VERIFIER };
      const keys: TestKey[] = [];
      const revoked = new Set<number>();
      for (const action of actions) {
        const before = rowOf(world);
        act(world, node, keys, action);
        if (action.act === 'revoke') revoked.add(action.signer);
        const after = rowOf(world);
        if (before !== undefined && after !== undefined && isBelow(after, before)) {
          assert.ok(revoked.has(signerOf(before)), 'only what a revoked signer signed gives way');
        }
        const at = { height: world.height(), timeMs: world.timeMs() };
        for (const { keyId } of keys) {
          assert.deepEqual(
            keyStandingOf(world, world.ctx, keyId, at),
            keyStandingOf(world, plain, keyId, at),
          );
        }
      }
    }),
    { numRuns: 25 },
  );
});
