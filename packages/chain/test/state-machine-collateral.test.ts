import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex, utf8Encode } from '@haca/primitives';
import {
  type CollateralRecord,
  collateralIdOf,
  collateralRecordCodec,
  decodeTransaction,
  permanentRows,
  recordKey,
  transactionGas,
} from '@haca/protocol';
import {
  collateral,
  decree,
  evidenceWorld,
  ISSUER,
  openCode,
  openDocumentKey,
  openWithDocuments,
  post,
  standingOf,
  TEST_ROOT,
  VENDOR_ROOT,
} from './evidence-world.ts';
import { attribute, FAUCET, funded, settle, type World } from './state-machine-world.ts';

const T0 = 1_700_000_000_000;

function row(world: World, root = VENDOR_ROOT, scope = 'TDX:p'): CollateralRecord | undefined {
  const ref = { kind: 'intel-tcb-info', rootCertificate: root, scope: utf8Encode(scope) } as const;
  return world.read(collateralRecordCodec, recordKey.collateral(collateralIdOf(ref)));
}

test('TC-1 E_COLLATERAL: anybody posts what is authentic and current; items are applied in order, all or none', () => {
  const { world } = evidenceWorld();
  const anybody = funded(world, 'anybody');
  assert.equal(post(world, anybody, collateral({ root: 'nobody' })), 'E_COLLATERAL');
  assert.equal(
    post(world, anybody, collateral({ nextUpdateMs: world.timeMs() + 1_000 })),
    'E_COLLATERAL',
    'over',
  );
  assert.equal(
    post(world, anybody, collateral({ issuedMs: world.timeMs() + 2_000 })),
    'E_COLLATERAL',
    'of later',
  );
  assert.equal(post(world, anybody, collateral(), collateral({ root: 'nobody' })), 'E_COLLATERAL');
  assert.equal(row(world), undefined, 'nothing of it');
  const result = world.ok(anybody, [
    { kind: 'post-collateral', items: [collateral(), collateral({ scope: 'TDX:q' })] },
  ]);
  assert.equal(attribute(result, 'collateral', 'number'), '1');
  assert.equal(attribute(result, 'collateral', 'scope'), 'TDX:p');
  assert.deepEqual(row(world)?.version, { number: 1, issuedMs: T0 });
  assert.equal(row(world)?.simulated, false);
  assert.equal(row(world, VENDOR_ROOT, 'TDX:q')?.height, world.height());
  assert.equal(
    post(world, anybody, collateral({ scope: 'TDX:r' }), collateral({ scope: 'TDX:r' })),
    'E_COLLATERAL',
  );
});

test('TC-1: what a test root signed is taken by a simulated chain only, and says so', () => {
  const item = collateral({ root: 'test root' });
  assert.equal(post(evidenceWorld().world, FAUCET, item), 'E_COLLATERAL');
  const { world } = evidenceWorld({ isSimulated: true });
  assert.equal(post(world, FAUCET, item), 'OK');
  assert.equal(row(world, TEST_ROOT)?.simulated, true);
});

test('TC-1: facts of another kind, of a test root on a real chain, or that no row can hold are refused', () => {
  for (const facts of [
    { ref: { kind: 'intel-crl', rootCertificate: VENDOR_ROOT, scope: VENDOR_ROOT } as const },
    { simulated: true },
    { version: [1.5, T0] as const },
    { version: [-1, T0] as const },
    { nextUpdateMs: Number.POSITIVE_INFINITY },
    { nextUpdateMs: Number.NaN },
  ]) {
    const { world } = evidenceWorld();
    const { evidence } = world.ctx;
    const lying = {
      ...evidence,
      appraiseCollateral: ((item, rules, crypto) => {
        const result = evidence.appraiseCollateral(item, rules, crypto);
        return { ...result, facts: result.facts === null ? null : { ...result.facts, ...facts } };
      }) satisfies typeof evidence.appraiseCollateral,
    };
    const other = evidenceWorld({ evidence: lying }).world;
    assert.equal(post(other, FAUCET, collateral()), 'E_COLLATERAL', JSON.stringify(facts));
    assert.equal(post(world, FAUCET, collateral()), 'OK');
  }
});

test('TC-2 E_COLLATERAL: only what is strictly newer; a lower number never, however late; roots apart', () => {
  const { world } = evidenceWorld({ isSimulated: true });
  const code = (over: Parameters<typeof collateral>[0]): string => post(world, FAUCET, collateral(over));
  assert.equal(code({ number: 7 }), 'OK');
  assert.equal(code({ number: 7 }), 'E_COLLATERAL', 'the same again');
  assert.equal(code({ number: 7, issuedMs: T0 - 1 }), 'E_COLLATERAL');
  assert.equal(code({ number: 6, issuedMs: T0 + 1_000 }), 'E_COLLATERAL', 'rolled back');
  assert.equal(code({ number: 7, issuedMs: T0 + 1_000 }), 'OK', 'reissued');
  assert.equal(code({ number: 8, issuedMs: T0 }), 'OK', 'a higher number counts more than its date');
  assert.equal(code({ number: 7, issuedMs: T0 + 2_000 }), 'E_COLLATERAL');
  assert.equal(code({ number: 1, root: 'test root' }), 'OK', 'under another root it is another piece');
  assert.equal(row(world)?.version.number, 8);
  assert.equal(row(world, TEST_ROOT)?.version.number, 1);
});

test('TC-2: what a signer signed that was taken back is refused, and keeps nothing genuine out, however high its number', () => {
  const { world } = evidenceWorld();
  const code = (over: Parameters<typeof collateral>[0]): string => post(world, FAUCET, collateral(over));
  assert.equal(code({ number: 17, signer: 2 }), 'OK');
  assert.equal(code({ number: 18, signer: 2 }), 'OK');
  assert.equal(code({ number: 2 ** 32 - 1, goodFrom: 0, signer: 1 }), 'OK', 'somebody has its key');
  assert.equal(code({ number: 19, signer: 2 }), 'E_COLLATERAL', 'and nobody knows yet');
  const certificate = { issuer: ISSUER, serial: Uint8Array.of(1) };
  assert.equal(decree(world, FAUCET, { kind: 'revoke-certificate', certificate }), 'OK');
  assert.equal(code({ number: 2 ** 32, signer: 1 }), 'E_COLLATERAL', 'it signs nothing any more');
  assert.equal(code({ number: 17, signer: 2, issuedMs: T0 + 1 }), 'E_COLLATERAL', 'rolled back');
  assert.equal(code({ number: 18, signer: 2, issuedMs: T0 - 1 }), 'E_COLLATERAL', 'rolled back');
  assert.equal(code({ number: 18, signer: 2 }), 'OK', 'what was in force before');
  assert.deepEqual(
    row(world)?.superseded.map(({ version: { number } }) => number),
    [17],
  );
  assert.equal(code({ number: 18, signer: 2 }), 'E_COLLATERAL');
  assert.equal(code({ number: 19, signer: 3 }), 'OK');
});

test('TC-3: a raised evaluation keeps what it superseded for its grace: the oldest and the newest', () => {
  const { world } = evidenceWorld();
  const numbers = (): readonly number[] => row(world)?.superseded.map(({ version }) => version.number) ?? [];
  const raise = (number: number, over = {}): string => post(world, FAUCET, collateral({ number, ...over }));
  raise(1);
  assert.deepEqual(numbers(), []);
  raise(1, { issuedMs: T0 + 1 });
  assert.deepEqual(numbers(), [], 'a reissue supersedes nothing');
  raise(2);
  raise(3);
  assert.deepEqual(numbers(), [1, 2]);
  raise(4);
  assert.deepEqual(numbers(), [1, 3], 'the first one keeps all of its time');
  world.skip(18);
  raise(4, { issuedMs: T0 + 1_000 });
  assert.deepEqual(numbers(), [3]);
  world.skip(3);
  raise(5);
  assert.deepEqual(numbers(), [4]);
});

test('TC-4: gas and permanent rows count signatures and bytes of each piece', () => {
  const bare = transaction([collateral()]);
  const large = collateral({ scope: 'x'.repeat(20_000) });
  const both = transaction([collateral(), large]);
  assert.equal(permanentRows(bare), 1);
  assert.equal(permanentRows(both), 4);
  const grown = both.bytes.length - bare.bytes.length;
  assert.equal(transactionGas(both) - transactionGas(bare), grown + 1_500 + 18 + 3 * 3_000);
});

function transaction(items: readonly ReturnType<typeof collateral>[]) {
  const { world } = evidenceWorld();
  return decodeTransaction(world.tx(FAUCET, [{ kind: 'post-collateral', items }]));
}

test('TC-5 E_EVIDENCE: evidence that needs collateral the chain does not have opens no key', () => {
  const { world, node } = evidenceWorld();
  assert.equal(openCode(world, node), 'E_EVIDENCE');
  post(world, FAUCET, collateral({ scope: 'TDX:other' }));
  assert.equal(openCode(world, node), 'E_EVIDENCE');
  post(world, FAUCET, collateral());
  assert.equal(openCode(world, node), 'OK');
});

test('TC-5 TC-7 E_EVIDENCE: collateral beyond its grace opens no key', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral({ nextUpdateMs: world.timeMs() + 4_000 }));
  assert.equal(openCode(world, node), 'OK');
  world.skip(4);
  assert.equal(openCode(world, node), 'OK', 'in its grace');
  world.skip(10);
  assert.equal(openCode(world, node), 'E_EVIDENCE');
});

test('TC-6 TC-7: the effective end is that of the evidence or of the collateral with its grace; newer collateral moves it', () => {
  const { world, node } = evidenceWorld();
  const nextUpdateMs = world.timeMs() + 6_000;
  post(world, FAUCET, collateral({ nextUpdateMs }));
  const key = openDocumentKey(world, node);
  const short = openDocumentKey(world, node, { doc: { endMs: world.timeMs() + 9_000 } });
  assert.equal(standingOf(world, key)?.effectiveEndMs, nextUpdateMs + 10_000);
  assert.equal(standingOf(world, short)?.effectiveEndMs, world.timeMs() + 8_000);
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK');
  world.skip(8);
  assert.equal(standingOf(world, short)?.standing, 'expired');
  assert.equal(settle(world, short, 1, 0n).codeName, 'E_KEY');
  while (world.timeMs() + 1_000 < nextUpdateMs + 10_000) world.block();
  assert.equal(standingOf(world, key)?.standing, 'good');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY', 'the block after is at the end');
  assert.equal(standingOf(world, key)?.standing, 'stale-collateral');
  post(world, FAUCET, collateral({ issuedMs: T0 + 5_000, nextUpdateMs: T0 + 500_000 }));
  assert.equal(standingOf(world, key)?.standing, 'good');
  assert.equal(settle(world, key, 1, 0n).codeName, 'OK', 'no new evidence was needed');
});

test('TC-8: a TCB recovery takes effect for every key at once, with a grace to patch in, and writes no key', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral());
  const old = openDocumentKey(world, node, { doc: { level: 5 } });
  const patched = openDocumentKey(world, node, { doc: { level: 6 } });
  const before = world.get(recordKey.nodeKey(old.keyId));
  const raised = { number: 2, goodFrom: 6, nextUpdateMs: T0 + 900_000 };
  assert.equal(post(world, FAUCET, collateral(raised)), 'OK');
  const endMs = world.timeMs() + 20_000;
  assert.equal(world.get(recordKey.nodeKey(old.keyId)), before);
  assert.deepEqual(standingOf(world, old), {
    standing: 'good',
    isBacking: true,
    effectiveEndMs: endMs,
    tier: 'unknown-host',
    tcbStatus: 'OutOfDate',
    phase: 'active',
  });
  assert.equal(standingOf(world, patched)?.tcbStatus, 'UpToDate');
  assert.equal(settle(world, old, 1, 0n).codeName, 'OK');
  assert.equal(openCode(world, node, { doc: { level: 5 } }), 'OK', 'keys are rolled in the grace too');
  while (world.timeMs() < endMs - 1_000) world.block();
  assert.equal(settle(world, old, 1, 0n).codeName, 'E_KEY');
  assert.equal(standingOf(world, old)?.standing, 'tcb-out-of-date');
  assert.equal(openCode(world, node, { doc: { level: 5 } }), 'E_EVIDENCE');
  assert.equal(settle(world, patched, 1, 0n).codeName, 'OK');
});

test('TC-8: no grace for a platform that the newer evaluation revokes, nor for one that was not good before', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral({ goodFrom: 4 }));
  const key = openDocumentKey(world, node, { doc: { level: 5 } });
  assert.equal(openCode(world, node, { doc: { level: 3 } }), 'E_EVIDENCE');
  post(world, FAUCET, collateral({ number: 2, goodFrom: 7, revokedBelow: 6 }));
  assert.deepEqual(
    [standingOf(world, key)?.standing, standingOf(world, key)?.tcbStatus],
    ['tcb-out-of-date', 'Revoked'],
  );
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
  assert.equal(openCode(world, node, { doc: { level: 5 } }), 'E_EVIDENCE');
  assert.equal(openCode(world, node, { doc: { level: 6 } }), 'OK');
  assert.equal(openCode(world, node, { doc: { level: 3 } }), 'E_EVIDENCE');
});

test('TC-8: raising twice cuts no grace short; a reissue of the same evaluation gives none', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral());
  const key = openDocumentKey(world, node, { doc: { level: 5 } });
  post(world, FAUCET, collateral({ number: 2, goodFrom: 6 }));
  const endMs = world.timeMs() + 20_000;
  post(world, FAUCET, collateral({ number: 3, goodFrom: 7 }));
  post(world, FAUCET, collateral({ number: 4, goodFrom: 8 }));
  assert.equal(standingOf(world, key)?.effectiveEndMs, endMs);
  const other = evidenceWorld();
  post(other.world, FAUCET, collateral());
  const late = openDocumentKey(other.world, other.node, { doc: { level: 5 } });
  post(other.world, FAUCET, collateral({ issuedMs: T0 + 1, goodFrom: 6 }));
  assert.equal(standingOf(other.world, late)?.standing, 'tcb-out-of-date');
});

test('TC-6: what was settled before stays settled and is paid, whatever becomes of the evidence', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral());
  const key = openDocumentKey(world, node);
  assert.equal(settle(world, key, 3, 0n).codeName, 'OK');
  assert.equal(decree(world, FAUCET, { kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses: [] }), 'OK');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
  const shown = standingOf(world, key);
  assert.deepEqual([shown?.standing, shown?.isBacking, shown?.phase], ['tcb-out-of-date', false, 'active']);
  assert.equal(key.seq, 3);
});

test('TC-9: the standing that is asked for is the one that settling finds, for every key and block', () => {
  const { world, node } = evidenceWorld();
  post(world, FAUCET, collateral({ nextUpdateMs: T0 + 60_000 }));
  const keys = [4, 5, 6].map((level) => openDocumentKey(world, node, { doc: { level } }));
  for (let number = 2; number < 5; number++) {
    post(world, FAUCET, collateral({ number, goodFrom: 3 + number, nextUpdateMs: T0 + 60_000 + number }));
    for (let i = 0; i < 10; i++) {
      for (const key of keys) {
        const result = settle(world, key, 1, 0n);
        assert.equal(result.codeName === 'OK', standingOf(world, key)?.isBacking, result.info);
      }
    }
  }
  assert.ok(keys.some((key) => key.seq === 0 || key.seq < 30));
  assert.equal(standingOf(world, { ...(keys[0] as (typeof keys)[0]), keyId: new Uint8Array(32) }), undefined);
  assert.equal(toHex(openWithDocuments(world, node).key.keyId).length, 64);
});
