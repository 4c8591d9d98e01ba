import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, toHex } from '@haca/primitives';
import {
  type AppGenesis,
  credit,
  decodeTransaction,
  type ErrorCode,
  nopg,
  type Op,
  TRANSACTION_MAX_BYTES,
  transactionGas,
} from '@haca/protocol';
import * as fc from 'fast-check';
import {
  type Admission,
  executeBlock,
  feeState,
  openAdmission,
  transitionViolations,
} from '../src/state-machine/index.ts';
import {
  type Actor,
  accountOf,
  actor,
  blockHashOf,
  CREDIT,
  createWorld,
  FAUCET,
  funded,
  market,
  nodeOf,
  OPG,
  openKey,
  openKeyOp,
  PROPOSER,
  registerModel,
  registerNode,
  settleOp,
  statementOf,
  testGenesis,
  totalsOf,
  VALIDATOR_OPERATOR,
  type World,
} from './state-machine-world.ts';

const pay = (to: Actor, amount = OPG): Op => ({ kind: 'transfer-opg', to: to.id, amount: nopg(amount) });

function admit(world: World, tx: Uint8Array, mode: 'block' | 'mempool' = 'block'): Admission {
  return openAdmission(world, { height: world.height() + 1, timeMs: world.timeMs() }, world.ctx, mode).admit(
    tx,
  );
}

function refusal(world: World, tx: Uint8Array, mode: 'block' | 'mempool' = 'block'): ErrorCode | 'OK' {
  const admission = admit(world, tx, mode);
  return admission.ok ? 'OK' : admission.code;
}

test('CHAIN-10: every code of admission, in a proposal, in a mempool and as a coded no-op in a decided block', () => {
  const world = createWorld();
  const rich = funded(world, 'rich');
  const poor = funded(world, 'poor', OPG / 5n);
  const good = world.tx(rich, [pay(poor)]);
  const resigned = (signature: number): Uint8Array => {
    const bytes = good.slice();
    bytes[bytes.length - signature] = (bytes[bytes.length - signature] as number) ^ 1;
    return bytes;
  };
  const sponsored = world.tx(poor, [pay(rich, 1n)], { feePayer: rich });
  const forgedSponsor = sponsored.slice();
  forgedSponsor[forgedSponsor.length - 1] = (forgedSponsor[forgedSponsor.length - 1] as number) ^ 1;
  const height = world.height() + 1;
  const cases: readonly (readonly [ErrorCode, Uint8Array])[] = [
    ['E_TOO_LARGE', new Uint8Array(TRANSACTION_MAX_BYTES + 1)],
    ['E_MALFORMED', new Uint8Array(0)],
    ['E_MALFORMED', fromHex('83')],
    ['E_MALFORMED', good.slice(0, -1)],
    ['E_MALFORMED', new Uint8Array([...good, 0])],
    ['E_MALFORMED', world.tx(rich, [settleOp(Uint8Array.of(1, 2, 3))])],
    ['E_CHAIN', world.tx(rich, [pay(poor)], { chainId: 'haca-other-1' })],
    ['E_EXPIRED', world.tx(rich, [pay(poor)], { validUntil: height - 1 })],
    ['E_VALID_UNTIL', world.tx(rich, [pay(poor)], { validUntil: height + 51 })],
    ['E_FEE', world.tx(rich, [pay(poor)], { maxFee: 1_999n })],
    ['E_UNKNOWN_ACCOUNT', world.tx(actor('nobody'), [pay(poor)])],
    ['E_BALANCE', world.tx(poor, [pay(rich, 1n)], { maxFee: 1n << 40n, tipCap: 1n << 40n })],
    ['E_BALANCE', world.tx(rich, [pay(poor)], { feePayer: actor('nobody') })],
    ['E_SIG', resigned(2)],
    ['E_SIG', forgedSponsor],
  ];
  for (const [code, tx] of cases) {
    assert.equal(refusal(world, tx), code);
    assert.equal(refusal(world, tx, 'mempool'), code);
  }
  const before = world.state.size;
  const output = world.block(cases.map(([, tx]) => tx));
  assert.deepEqual(
    output.results.map(({ codeName }) => codeName),
    cases.map(([code]) => code),
  );
  assert.deepEqual(output.changes, [], 'CHAIN-4: nothing happened');
  assert.ok(output.results.every(({ gasUsed }) => gasUsed === 0));
  assert.equal(world.state.size, before);
  assert.equal(world.block([good]).results[0]?.codeName, 'OK');
});

test('CHAIN-11 attack 43 E_NONCE: no bytes land twice, in one block, the next, or after a window has passed', () => {
  const world = createWorld();
  const alice = funded(world, 'alice');
  const tx = world.tx(alice, [pay(FAUCET)], { nonce: 0 });
  const twice = world.block([tx, tx]).results.map(({ codeName }) => codeName);
  assert.deepEqual(twice, ['OK', 'E_NONCE']);
  assert.equal(world.block([tx]).results[0]?.codeName, 'E_NONCE');
  for (const [nonce, code] of [
    [70, 'OK'],
    [6, 'E_NONCE'],
    [7, 'OK'],
    [7, 'E_NONCE'],
    [69, 'OK'],
    [70, 'E_NONCE'],
    [71, 'OK'],
    [7, 'E_NONCE'],
    [8, 'OK'],
    [1_000_000, 'OK'],
    [71, 'E_NONCE'],
    [1_000_000 - 63, 'OK'],
    [1_000_000 - 64, 'E_NONCE'],
    [Number.MAX_SAFE_INTEGER, 'E_NONCE'],
  ] as const) {
    const result = world.block([world.tx(alice, [pay(FAUCET)], { nonce })]).results[0];
    assert.equal(result?.codeName, code, `nonce ${nonce}`);
  }
});

test('CHAIN-11: any order of any nonces: each is taken at most once, and always if within 64 of the highest', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 120 }), (nonces) => {
      const world = createWorld({ audit: false });
      const alice = funded(world, 'alice');
      const used = new Set<number>();
      let highest = -1;
      const txs = nonces.map((nonce) => world.tx(alice, [pay(FAUCET)], { nonce }));
      const window = openAdmission(world, { height: world.height() + 1, timeMs: 0 }, world.ctx, 'mempool');
      nonces.forEach((nonce, i) => {
        const expected = !used.has(nonce) && nonce > highest - 64;
        assert.equal(window.admit(txs[i] as Uint8Array).ok, expected, `nonce ${nonce} after ${[...used]}`);
        if (expected) used.add(nonce);
        highest = Math.max(highest, expected ? nonce : -1);
      });
    }),
    { numRuns: 20 },
  );
});

test('CHAIN-8 CHAIN-4: every single-bit change of a transaction is refused with a code', () => {
  const world = createWorld({ audit: false });
  const alice = funded(world, 'alice');
  const sponsor = funded(world, 'sponsor');
  for (const options of [{}, { feePayer: sponsor }]) {
    const tx = world.tx(alice, [pay(FAUCET)], options);
    for (let bit = 0; bit < tx.length * 8; bit++) {
      const flipped = tx.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(admit(world, flipped).ok, false, `bit ${bit}`);
    }
    assert.equal(admit(world, tx).ok, true);
  }
});

test('CHAIN-4 CHAIN-7: no bytes make a block throw, and garbage changes nothing', () => {
  const world = createWorld({ audit: false });
  const alice = funded(world, 'alice');
  const good = world.tx(alice, [pay(FAUCET)]);
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 400 }),
          fc
            .tuple(fc.nat(good.length - 1), fc.uint8Array({ minLength: 1, maxLength: 40 }))
            .map(
              ([at, bytes]) =>
                new Uint8Array([...good.slice(0, at), ...bytes, ...good.slice(at + bytes.length)]),
            ),
        ),
        { maxLength: 20 },
      ),
      (txs) => {
        const hostile = txs.filter((tx) => toHex(tx) !== toHex(good));
        const input = {
          height: world.height() + 1,
          timeMs: world.timeMs() + 1,
          hash: blockHashOf(world.height() + 1),
          txs: hostile,
          proposer: PROPOSER,
          lastCommit: [],
          recentBlockHash: blockHashOf,
        };
        const output = executeBlock(world, input, world.ctx);
        assert.deepEqual(output.changes, []);
        assert.equal(output.results.length, hostile.length);
        assert.ok(output.results.every(({ code, gasUsed }) => code !== 0 && gasUsed === 0));
      },
    ),
    { numRuns: 200 },
  );
});

test('CHAIN-20: the base fee is burned whole, the tip goes to the proposer, a fee payer pays for somebody else', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', 10n * OPG);
  const sponsor = funded(world, 'sponsor', 10n * OPG);
  const before = totalsOf(world);
  const tx = world.tx(alice, [pay(FAUCET)], { feePayer: sponsor, maxFee: 3_000n, tipCap: 5_000n });
  const gas = BigInt(transactionGas(decodeTransaction(tx)));
  const output = world.block([tx]);
  assert.equal(output.results[0]?.codeName, 'OK');
  assert.equal(output.baseFee, 2_000n);
  assert.equal(output.burnedNopg, gas * 2_000n);
  assert.equal(totalsOf(world).burnedFees - before.burnedFees, gas * 2_000n);
  assert.equal(accountOf(world, VALIDATOR_OPERATOR)?.nopg, gas * 1_000n, 'maxFee caps the tip');
  assert.equal(accountOf(world, sponsor)?.nopg, 10n * OPG - gas * 3_000n);
  assert.equal(accountOf(world, alice)?.nopg, 9n * OPG);
});

test('CHAIN-20: where the proposer is no validator of the chain, no tip is taken', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', 10n * OPG);
  const tx = world.tx(alice, [pay(FAUCET)], { maxFee: 3_000n, tipCap: 5_000n });
  const gas = BigInt(transactionGas(decodeTransaction(tx)));
  world.block([tx], { proposer: new Uint8Array(20) });
  assert.equal(accountOf(world, alice)?.nopg, 9n * OPG - gas * 2_000n);
});

test('CHAIN-5: operations are applied all or none, and a transaction that fails still pays', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', 10n * OPG);
  const bob = actor('bob');
  const result = world.run(alice, [pay(bob), pay(bob), pay(bob, 100n * OPG)]);
  assert.equal(result.codeName, 'E_BALANCE');
  assert.ok(result.gasUsed > 0);
  assert.equal(accountOf(world, bob), undefined);
  assert.equal(accountOf(world, alice)?.nopg, 10n * OPG - BigInt(result.gasUsed) * 2_000n);
  assert.deepEqual(
    result.events.map(({ type }) => type),
    ['burn'],
  );
});

test('CHAIN-3: the first phase sees no effect of a neighbour: money that arrives in the block pays no fee in it', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', 10n * OPG);
  const poor = funded(world, 'poor', OPG / 10n);
  world.ok(FAUCET, [pay(actor('spare'))]);
  const gift = world.tx(alice, [pay(poor, 5n * OPG)]);
  const spend = world.tx(poor, [pay(alice, OPG)], { maxFee: 1_000_000n, tipCap: 900_000n });
  const { results } = world.block([gift, spend]);
  assert.deepEqual(
    results.map(({ codeName }) => codeName),
    ['OK', 'E_BALANCE'],
  );
});

test('CHAIN-13 E_CLASS: transfers fill three eighths of the target and no more', () => {
  const world = createWorld({ audit: false });
  const alice = funded(world, 'alice', 1_000n * OPG);
  const txs = Array.from({ length: 62 }, () => world.tx(alice, [pay(FAUCET)]));
  const { results, gasUsed } = world.block(txs);
  const limit = (3 * world.ctx.config.params.gasTarget) / 8;
  const refused = results.filter(({ codeName }) => codeName === 'E_CLASS').length;
  assert.ok(refused > 0 && gasUsed <= limit);
  assert.equal(results.filter(({ codeName }) => codeName === 'OK').length, 62 - refused);
  // A mempool holds more than one block.
  const pool = openAdmission(world, { height: world.height() + 1, timeMs: 0 }, world.ctx, 'mempool');
  const more = Array.from({ length: 62 }, () => world.tx(alice, [pay(FAUCET)], { maxFee: 2_100n }));
  assert.ok(more.every((tx) => pool.admit(tx).ok));
});

test('CHAIN-13 E_CLASS: permanent rows of a block are limited whatever the gas', () => {
  const world = createWorld({ audit: false, params: { gasTarget: 100_000_000 } });
  const alice = funded(world, 'alice', 1_000_000n * OPG);
  const txs = Array.from({ length: 14 }, (_, i) =>
    world.tx(
      alice,
      Array.from({ length: 16 }, (_, j) => pay(actor(`row ${i} ${j}`))),
    ),
  );
  const { results } = world.block(txs);
  assert.equal(results.filter(({ codeName }) => codeName === 'OK').length, 12, '12 x 16 = 192 <= 200');
  assert.equal(results.filter(({ codeName }) => codeName === 'E_CLASS').length, 2);
});

test('CHAIN-13 E_CLASS: bytes of a block are limited whatever the gas', () => {
  const world = createWorld({ audit: false, params: { gasTarget: 100_000_000 } });
  const { op } = openKeyOp(world, registerNode(world, funded(world, 'operator', 100_000n * OPG)));
  const fat: Op = { ...op, evidence: { kind: 'nitro', document: new Uint8Array(24 * 1024) } };
  const operator = actor('operator');
  const txs = Array.from({ length: 6 }, () =>
    world.tx(
      operator,
      Array.from({ length: 15 }, () => fat),
    ),
  );
  const { results } = world.block(txs);
  assert.equal(results.filter(({ codeName }) => codeName === 'E_CLASS').length, 1);
});

test('CHAIN-13 CHAIN-12 E_BUCKET: a node empties its bucket, and it refills by a fifth of the target a block', () => {
  const { world, key } = market({ audit: false });
  const { operator } = key.node;
  const vouchers = Array.from({ length: 250 }, () => new Uint8Array(300));
  const heavy = (): Uint8Array => world.tx(operator, [settleOp(statementOf(key, 1, CREDIT).bytes, vouchers)]);
  const sample = heavy();
  const gas = transactionGas(decodeTransaction(sample));
  assert.ok(gas > 190_000 && gas < 200_000);
  const { results } = world.block([sample, heavy(), heavy()]);
  assert.deepEqual(
    results.map(({ codeName }) => codeName),
    ['E_COUNT', 'E_COUNT', 'E_BUCKET'],
  );
  assert.equal(nodeOf(world, key.node.nodeId).bucketGas, 400_000 - 2 * gas);
  assert.equal(world.block([heavy()]).results[0]?.codeName, 'E_BUCKET');
  assert.equal(world.block([heavy()]).results[0]?.codeName, 'E_COUNT', 'after two refills');
});

test('CHAIN-12 E_KEY E_NODE E_CLASS E_BOND: class S is for keys of one own node in standing', () => {
  const { world, key } = market();
  const { operator } = key.node;
  const second = registerNode(world, operator);
  const unknown: Op = { kind: 'close-key', keyId: new Uint8Array(32) };
  assert.equal(refusal(world, world.tx(operator, [unknown])), 'E_KEY');
  const { op } = openKeyOp(world, second);
  assert.equal(refusal(world, world.tx(operator, [{ kind: 'close-key', keyId: key.keyId }, op])), 'E_CLASS');
  const nowhere = openKeyOp(world, second, { binding: { nodeId: new Uint8Array(32) } });
  assert.equal(refusal(world, world.tx(operator, [nowhere.op])), 'E_NODE');
  world.ok(operator, [{ kind: 'unbond-node', nodeId: second.nodeId, amount: nopg(2_000n * OPG) }]);
  assert.equal(refusal(world, world.tx(operator, [op])), 'E_BOND');
  const admitted = admit(world, world.tx(operator, [{ kind: 'close-key', keyId: key.keyId }]));
  assert.ok(admitted.ok && admitted.admitted.class === 'S');
});

test('CHAIN-14: a mempool wants the most that all pending transactions of a payer may cost', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', OPG);
  const gas = BigInt(transactionGas(decodeTransaction(world.tx(alice, [pay(FAUCET, 1n)]))));
  const maxFee = (OPG * 2n) / (5n * gas);
  const txs = [0, 1, 2].map(() => world.tx(alice, [pay(FAUCET, 1n)], { maxFee }));
  const pool = openAdmission(world, { height: world.height() + 1, timeMs: 0 }, world.ctx, 'mempool');
  const codes = txs.map((tx) => {
    const result = pool.admit(tx);
    return result.ok ? 'OK' : result.code;
  });
  assert.deepEqual(codes, ['OK', 'OK', 'E_BALANCE']);
  const block = openAdmission(world, { height: world.height() + 1, timeMs: 0 }, world.ctx, 'block');
  assert.ok(
    txs.every((tx) => block.admit(tx).ok),
    'a block takes what the fee itself costs',
  );
});

test('CHAIN-21 CHAIN-6: the base fee rises with use, decays over idle blocks, and idle blocks write nothing', () => {
  const world = createWorld({ params: { gasTarget: 10_000 }, audit: false });
  const alice = funded(world, 'alice', 10_000n * OPG, 0n);
  const config = world.ctx.config;
  const feeNow = (): bigint => feeState(world, world.height() + 1, config).baseFee;
  world.skip(300);
  const floor = feeNow();
  assert.equal(floor, 2_000n);
  const size = 3_560;
  for (let i = 0; i < 40; i++) {
    const { baseFee, gasUsed } = world.block([world.tx(alice, [pay(FAUCET)])]);
    assert.ok(gasUsed < 10_000 && gasUsed > size - 200, `${gasUsed}`);
    assert.ok(baseFee >= floor);
  }
  assert.equal(feeNow(), floor, 'below the target the fee never rises');
  const before = totalsOf(world);
  const idle = world.block();
  assert.deepEqual(idle.changes, []);
  assert.deepEqual(transitionViolations(before, totalsOf(world), { baseFee: 0n, gasUsed: 0 }), []);
});

test('CHAIN-21: a block above the target raises the fee by its excess from the next block on, step by step as lazily', () => {
  const target = 20_000;
  const world = createWorld({ params: { gasTarget: target }, audit: false });
  registerModel(world);
  const keys = ['a', 'b'].map((name) =>
    openKey(world, registerNode(world, funded(world, name, 50_000n * OPG, 0n))),
  );
  world.skip(5);
  const vouchers = Array.from({ length: 24 }, () => new Uint8Array(30));
  const heavy = keys.map((key) => {
    const { bytes } = statementOf(key, 1, CREDIT);
    return world.tx(key.node.operator, [settleOp(bytes, vouchers)]);
  });
  const start = feeState(world, world.height() + 1, world.ctx.config).baseFee;
  const { gasUsed, baseFee } = world.block(heavy);
  assert.ok(gasUsed > target, `${gasUsed}`);
  assert.equal(baseFee, start);
  const risen = start + (start * BigInt(gasUsed - target)) / BigInt(64 * target);
  assert.ok(risen > start);
  const { height } = feeState(world, world.height() + 1, world.ctx.config);
  assert.equal(feeState(world, height, world.ctx.config).baseFee, risen);
  assert.ok(feeState(world, height + 1, world.ctx.config).baseFee < risen);
  assert.equal(feeState(world, height + 500, world.ctx.config).baseFee, 2_000n);
  world.skip(1);
  assert.equal(world.block([]).baseFee, feeState(world, height + 1, world.ctx.config).baseFee);
});

test('CHAIN-1: a genesis that does not hand out exactly the supply, or names something twice, is refused', () => {
  const good = testGenesis();
  const wrong: readonly (readonly [string, AppGenesis])[] = [
    ['supply', { ...good, reserveNopg: good.reserveNopg + 1n }],
    ['account', { ...good, accounts: [...good.accounts, { accountId: FAUCET.id, nopg: 0n }] }],
    ['asset', { ...good, assets: [...good.assets, ...good.assets] }],
    ['asset 0', { ...good, assets: [{ asset: 0, symbol: 'X', issuer: FAUCET.id }] }],
    [
      'validator',
      {
        ...good,
        reserveNopg: good.reserveNopg - 10n ** 15n,
        validators: [...good.validators, ...good.validators],
      },
    ],
    ['no validator', { ...good, reserveNopg: good.reserveNopg + 10n ** 15n, validators: [] }],
    ['bond', { ...good, params: { ...good.params, validatorBondMin: 10n ** 16n } }],
    [
      'a validator without power',
      {
        ...good,
        params: { ...good.params, validatorBondMin: 1n },
        reserveNopg: good.reserveNopg + 10n ** 15n - 10n ** 11n,
        validators: good.validators.map((validator) => ({ ...validator, selfBond: 10n ** 11n })),
      },
    ],
    ['symbol', { ...good, assets: [{ asset: 1, symbol: '€'.repeat(16), issuer: FAUCET.id }] }],
    ['heights', { ...good, params: { ...good.params, keyTtl: Number.MAX_SAFE_INTEGER } }],
    ['params', { ...good, params: { ...good.params, withdrawDelay: 1 } }],
  ];
  for (const [name, genesis] of wrong) {
    assert.throws(() => createWorld({ genesis }), { name: 'UsageError' }, name);
  }
  createWorld({ genesis: good });
});

test('CHAIN-2 CHAIN-7: genesis and blocks give the same bytes every time', () => {
  const histories = [0, 1].map(() => {
    const { world, key } = market();
    world.run(key.node.operator, [settleOp(statementOf(key, 3, CREDIT).bytes)]);
    return {
      outputs: world.outputs.map(({ changes, results }) => ({ changes, results })),
      state: [...world.state.entries()],
    };
  });
  assert.deepEqual(histories[0], histories[1]);
});

test('CHAIN-10: a credit-only account is a sender, if somebody else pays', () => {
  const world = createWorld();
  const payer = actor('credits only');
  world.ok(FAUCET, [{ kind: 'issue', to: payer.id, asset: 1, amount: credit(5n * CREDIT) }]);
  assert.equal(
    refusal(world, world.tx(payer, [{ kind: 'open-channel', asset: 1, amount: credit(CREDIT) }])),
    'E_BALANCE',
  );
  world.ok(payer, [{ kind: 'open-channel', asset: 1, amount: credit(5n * CREDIT) }], { feePayer: FAUCET });
});
