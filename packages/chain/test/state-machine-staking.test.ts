/** Validators: joining and leaving, what consensus is told, what a double sign costs, and what an epoch pays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ed25519Signer } from '@haca/platform';
import {
  type GenesisValidator,
  nopg,
  type Op,
  recordKey,
  signTransaction,
  transactionClass,
  unbondingRecordCodec,
  VALIDATORS_MAX,
  type ValidatorRecord,
  type ValidatorSetRecord,
  validatorRecordCodec,
  validatorSetRecordCodec,
} from '@haca/protocol';
import { applyGenesis, type BlockInput, consensusAddress } from '../src/state-machine/index.ts';
import {
  type Actor,
  accountOf,
  actor,
  CHAIN,
  consensusSigner,
  createWorld,
  FAUCET,
  funded,
  OPG,
  PROPOSER,
  registerOp,
  SHORT_PARAMS,
  testGenesis,
  totalsOf,
  VALIDATOR_KEY,
  VALIDATOR_OPERATOR,
  type World,
} from './state-machine-world.ts';

const MIN = 100_000n * OPG;
const MILLION = 1_000_000n * OPG;
const UNBONDING = SHORT_PARAMS.unbondingTime;

interface TestValidator {
  readonly operator: Actor;
  readonly signer: Ed25519Signer;
  readonly address: Uint8Array;
}

function validatorNamed(
  world: World,
  name: string,
  bond = MILLION,
  liquid = 5_000_000n * OPG,
): TestValidator {
  const operator = funded(world, name, liquid, 0n);
  const signer = consensusSigner(name);
  world.ok(operator, [registerOp(operator, signer, bond)]);
  return { operator, signer, address: consensusAddress(signer.publicKey) };
}

const bondOp = ({ address }: Pick<TestValidator, 'address'>, amount: bigint): Op => ({
  kind: 'bond-validator',
  validator: address,
  amount: nopg(amount),
});
const unbondOp = ({ address }: Pick<TestValidator, 'address'>, amount: bigint): Op => ({
  kind: 'unbond-validator',
  validator: address,
  amount: nopg(amount),
});
const claimOp = ({ address }: Pick<TestValidator, 'address'>): Op => ({
  kind: 'claim-rewards',
  validator: address,
});

function recordOf(world: World, { address }: Pick<TestValidator, 'address'>): ValidatorRecord {
  return world.read(validatorRecordCodec, recordKey.validator(address)) as ValidatorRecord;
}

function setOf(world: World): ValidatorSetRecord {
  return world.read(validatorSetRecordCodec, recordKey.validatorSet()) as ValidatorSetRecord;
}

function entryOf(world: World, { address }: Pick<TestValidator, 'address'>, due: number): bigint | undefined {
  return world.read(unbondingRecordCodec, recordKey.validatorUnbonding(address, due))?.amount;
}

const updatesOf = (world: World) => world.outputs.at(-1)?.validatorUpdates;
const code = (world: World, by: Actor, ...ops: readonly Op[]): string => world.run(by, ops).codeName;

/** The genesis validator of the test chain, with money for fees. */
function genesisValidator(world: World): Omit<TestValidator, 'signer'> {
  world.ok(FAUCET, [{ kind: 'transfer-opg', to: VALIDATOR_OPERATOR.id, amount: nopg(10n * OPG) }]);
  return { operator: VALIDATOR_OPERATOR, address: PROPOSER };
}

const evidence = ({ address }: Pick<TestValidator, 'address'>, height: number) => ({ address, height });

test('CHAIN-80: registering bonds, takes a seat and tells consensus; every wrong one is refused and costs only its fee', () => {
  const world = createWorld();
  const operator = funded(world, 'op', 2_000_000n * OPG, 0n);
  const other = funded(world, 'other', 2_000_000n * OPG, 0n);
  const signer = consensusSigner('a');
  const refused: readonly (readonly [string, Op])[] = [
    ['E_BOND', registerOp(operator, signer, MIN - 1n)],
    ['E_BOND', registerOp(operator, signer, 0n)],
    ['E_BALANCE', registerOp(operator, signer, 2_000_001n * OPG)],
    ['E_BALANCE', registerOp(operator, signer, (1n << 64n) - 1n)],
    ['E_SIG', registerOp(operator, signer, MIN, { operator: other.id })],
    ['E_SIG', registerOp(operator, signer, MIN, { chainId: 'haca-test-2' })],
    ['E_SIG', registerOp(operator, signer, MIN, { by: operator.signer })],
    ['E_SIG', { ...registerOp(operator, signer, MIN), consensusKey: consensusSigner('b').publicKey }],
    ['E_SIG', { ...registerOp(operator, signer, MIN), consensusKey: new Uint8Array(32) }],
    ['E_VALIDATOR', registerOp(operator, actor('validator').signer, MIN)],
  ];
  const pool = totalsOf(world).valPool;
  for (const [expected, op] of refused) assert.equal(code(world, operator, op), expected);
  assert.equal(totalsOf(world).valPool, pool);
  assert.equal(code(world, other, registerOp(operator, signer, MIN)), 'E_SIG', 'somebody else’s possession');

  world.ok(operator, [registerOp(operator, signer, MILLION)]);
  assert.deepEqual(updatesOf(world), [{ consensusKey: signer.publicKey, power: 1_000 }]);
  const address = consensusAddress(signer.publicKey);
  assert.deepEqual(recordOf(world, { address }), {
    consensusKey: signer.publicKey,
    operator: operator.id,
    selfBond: MILLION,
    power: 1_000,
    rewards: 0n,
    unbondingDue: [],
  });
  assert.equal(totalsOf(world).valPool, pool + MILLION);
  assert.equal(setOf(world).members.length, 2);
  for (const by of [operator, other])
    assert.equal(code(world, by, registerOp(by, signer, MIN)), 'E_VALIDATOR');
  const twice = consensusSigner('twice');
  const op = registerOp(other, twice, MIN);
  assert.equal(code(world, other, op, op), 'E_VALIDATOR', 'twice in one transaction');
  assert.deepEqual(updatesOf(world), []);
});

test('CHAIN-80 CHAIN-13: it is of class G, pays for a signature and a row for ever, and is one of 200 of a block', () => {
  const world = createWorld();
  const operator = funded(world, 'op', 2_000_000n * OPG, 0n);
  const signed = (op: Op) =>
    signTransaction(
      {
        version: 1,
        chainId: CHAIN,
        sender: operator.key,
        nonce: 0,
        validUntil: 1,
        maxFee: nopg(1n),
        tipCap: nopg(0n),
        feePayer: null,
        ops: [op],
      },
      operator.signer.sign,
    );
  const address = consensusAddress(consensusSigner('x').publicKey);
  const register = registerOp(operator, consensusSigner('x'), MIN);
  for (const op of [register, bondOp({ address }, 1n), unbondOp({ address }, 1n), claimOp({ address })]) {
    assert.equal(transactionClass(signed(op)), 'G');
  }
  const { gasUsed } = world.ok(operator, [register]);
  assert.ok(gasUsed > 3_000 + 110 + 110, `${gasUsed}`);
});

test('CHAIN-80 E_VALIDATOR_SET: a hundred seats, and those of leavers are free from the next block on', () => {
  const genesis = testGenesis();
  const others = Array.from({ length: VALIDATORS_MAX - 1 }, (_, i) => {
    const operator = actor(`operator ${i}`);
    return { consensusKey: consensusSigner(`full ${i}`).publicKey, operator: operator.id, selfBond: MIN };
  });
  const reserveNopg = genesis.reserveNopg - BigInt(others.length) * MIN;
  const world = createWorld({
    genesis: { ...genesis, reserveNopg, validators: [...genesis.validators, ...others] },
  });
  const { operator, address } = genesisValidator(world);
  const newcomer = funded(world, 'newcomer', MILLION, 0n);
  const signer = consensusSigner('newcomer');
  const register = registerOp(newcomer, signer, MIN);
  assert.equal(code(world, newcomer, register), 'E_VALIDATOR_SET');
  const { results, validatorUpdates } = world.block([
    world.tx(operator, [unbondOp({ address }, MILLION)]),
    world.tx(newcomer, [register]),
  ]);
  assert.deepEqual(
    results.map(({ codeName }) => codeName),
    ['OK', 'E_VALIDATOR_SET'],
  );
  assert.deepEqual(validatorUpdates, [{ consensusKey: VALIDATOR_KEY, power: 0 }]);
  world.ok(newcomer, [register]);
  assert.equal(setOf(world).members.length, VALIDATORS_MAX);
  world.ok(FAUCET, [{ kind: 'transfer-opg', to: operator.id, amount: nopg(MILLION) }]);
  assert.equal(code(world, operator, bondOp({ address }, MIN)), 'E_VALIDATOR_SET', 'no way back in either');
});

test('CHAIN-81 CHAIN-84: a bond grows; consensus hears of it only where the power is another', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  const { operator } = validator;
  const stranger = funded(world, 'stranger', MILLION, 0n);
  const none = { address: new Uint8Array(20) };
  assert.equal(code(world, stranger, bondOp(validator, OPG)), 'E_SENDER');
  assert.equal(code(world, operator, bondOp(none, OPG)), 'E_VALIDATOR');
  assert.equal(code(world, operator, bondOp(validator, 0n)), 'E_AMOUNT');
  assert.equal(code(world, operator, bondOp(validator, 5_000_000n * OPG)), 'E_BALANCE');
  assert.equal(code(world, operator, bondOp(validator, (1n << 64n) - 1n)), 'E_BALANCE');
  world.ok(operator, [bondOp(validator, 999n * OPG)]);
  assert.deepEqual(updatesOf(world), []);
  world.ok(operator, [bondOp(validator, OPG - 1n)]);
  assert.deepEqual(updatesOf(world), []);
  world.ok(operator, [bondOp(validator, 1n)]);
  assert.deepEqual(updatesOf(world), [{ consensusKey: validator.signer.publicKey, power: 1_001 }]);
  world.ok(operator, [bondOp(validator, 3_000n * OPG), unbondOp(validator, 1_000n * OPG)]);
  assert.deepEqual(
    updatesOf(world),
    [{ consensusKey: validator.signer.publicKey, power: 1_003 }],
    'one update',
  );
  world.ok(operator, [bondOp(validator, 3_000n * OPG), unbondOp(validator, 3_000n * OPG)]);
  assert.deepEqual(updatesOf(world), [], 'back where it was');
});

test('CHAIN-82: part of a bond leaves the minimum, all of it leaves the set; both times pass before it is paid', () => {
  for (const blockMs of [1_000, 500]) {
    const world = createWorld({ blockMs });
    const validator = validatorNamed(world, 'a');
    const { operator, signer } = validator;
    const stranger = funded(world, 'stranger', MILLION, 0n);
    assert.equal(code(world, stranger, unbondOp(validator, OPG)), 'E_SENDER');
    assert.equal(code(world, operator, unbondOp({ address: new Uint8Array(20) }, OPG)), 'E_VALIDATOR');
    assert.equal(code(world, operator, unbondOp(validator, 0n)), 'E_AMOUNT');
    assert.equal(code(world, operator, unbondOp(validator, MILLION + 1n)), 'E_BOND');
    assert.equal(code(world, operator, unbondOp(validator, MILLION - MIN + 1n)), 'E_BOND');
    assert.equal(code(world, operator, unbondOp(validator, MILLION - 1n)), 'E_BOND');
    world.ok(operator, [unbondOp(validator, MILLION - MIN)]);
    assert.deepEqual(updatesOf(world), [{ consensusKey: signer.publicKey, power: 100 }]);
    world.ok(operator, [unbondOp(validator, MIN)]);
    assert.deepEqual(updatesOf(world), [{ consensusKey: signer.publicKey, power: 0 }]);
    const leftAt = world.height();
    const { valUnbonding, valPool } = totalsOf(world);
    assert.deepEqual([valUnbonding, valPool], [MILLION, MILLION]);
    assert.equal(setOf(world).members.length, 1);
    assert.equal(code(world, operator, unbondOp(validator, 1n)), 'E_BOND');
    const liquid = accountOf(world, operator)?.nopg ?? 0n;
    const since = world.timeMs();
    while (totalsOf(world).valUnbonding > 0n && world.height() < leftAt + 200) world.skip(1);
    assert.equal(accountOf(world, operator)?.nopg, liquid + MILLION);
    assert.ok(world.height() >= leftAt + UNBONDING);
    assert.ok(world.timeMs() >= since + SHORT_PARAMS.unbondingTimeMs - blockMs);
    assert.deepEqual(recordOf(world, validator).unbondingDue, []);
  }
});

test('CHAIN-82 E_BOND: at most 7 entries at a time; those of one block are one', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  const { operator } = validator;
  const unbond = unbondOp(validator, OPG);
  world.ok(operator, [unbond, unbond]);
  const due = recordOf(world, validator).unbondingDue[0] as number;
  assert.equal(entryOf(world, validator, due), 2n * OPG);
  for (let i = 0; i < 6; i++) world.ok(operator, [unbond]);
  assert.equal(code(world, operator, unbond), 'E_BOND');
  assert.equal(totalsOf(world).valUnbonding, 8n * OPG);
  world.skip(due + 6 - world.height());
  assert.equal(code(world, operator, unbond), 'OK');
});

test('CHAIN-80 CHAIN-81: a key is registered once for ever; who left comes back under it by bonding the minimum', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  const { operator, signer } = validator;
  world.ok(operator, [unbondOp(validator, MILLION)]);
  world.skip(UNBONDING + 3);
  const register = registerOp(operator, signer, MIN);
  assert.equal(code(world, operator, register), 'E_VALIDATOR');
  assert.equal(code(world, operator, bondOp(validator, MIN - 1n)), 'E_BOND');
  world.ok(operator, [bondOp(validator, MIN)]);
  assert.deepEqual(updatesOf(world), [{ consensusKey: signer.publicKey, power: 100 }]);
  world.ok(operator, [unbondOp(validator, MIN), bondOp(validator, 2n * MIN)]);
  assert.deepEqual(
    updatesOf(world),
    [{ consensusKey: signer.publicKey, power: 200 }],
    'out and in is one update',
  );
  assert.equal(setOf(world).members.length, 2);
});

test('CHAIN-84: who comes and goes within a block was never there for consensus, and its key is used up', () => {
  const world = createWorld();
  const operator = funded(world, 'op', 2_000_000n * OPG, 0n);
  const signer = consensusSigner('ghost');
  const address = consensusAddress(signer.publicKey);
  world.ok(operator, [registerOp(operator, signer, MIN), unbondOp({ address }, MIN)]);
  assert.deepEqual(updatesOf(world), []);
  assert.equal(setOf(world).members.length, 1);
  assert.equal(code(world, operator, registerOp(operator, signer, MIN)), 'E_VALIDATOR');
  world.skip(UNBONDING + 2);
  assert.equal(totalsOf(world).valUnbonding, 0n);
});

test('CHAIN-84 CHAIN-5: a refused transaction leaves neither seat nor update behind', () => {
  const world = createWorld();
  const operator = funded(world, 'op', 2_000_000n * OPG, 0n);
  const signer = consensusSigner('a');
  const address = consensusAddress(signer.publicKey);
  assert.equal(code(world, operator, registerOp(operator, signer, MIN), unbondOp({ address }, 1n)), 'E_BOND');
  assert.deepEqual(updatesOf(world), []);
  assert.equal(setOf(world).members.length, 1);
  world.ok(operator, [registerOp(operator, signer, MIN)]);
});

test('CHAIN-84: updates of a block are sorted by key, none twice, whatever the order of transactions', () => {
  const world = createWorld();
  const validators = ['a', 'b', 'c', 'd'].map((name) => validatorNamed(world, name));
  const txs = [...validators, ...validators].map((validator) =>
    world.tx(validator.operator, [bondOp(validator, 1_000n * OPG)]),
  );
  const { validatorUpdates } = world.block(txs);
  const keys = validatorUpdates.map(({ consensusKey }) => Buffer.from(consensusKey).toString('hex'));
  assert.deepEqual(keys, [...new Set(keys)].sort());
  assert.deepEqual(
    validatorUpdates.map(({ power }) => power),
    [1_002, 1_002, 1_002, 1_002],
  );
});

test('CHAIN-84 E_VALIDATOR_SET: the last validator does not leave; of two that want to, one stays', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  assert.equal(code(world, first.operator, unbondOp(first, MILLION)), 'E_VALIDATOR_SET');
  world.ok(first.operator, [unbondOp(first, MILLION - MIN)]);
  const second = validatorNamed(world, 'a', MIN);
  const { results, validatorUpdates } = world.block([
    world.tx(first.operator, [unbondOp(first, MIN)]),
    world.tx(second.operator, [unbondOp(second, MIN)]),
  ]);
  assert.deepEqual(
    results.map(({ codeName }) => codeName),
    ['OK', 'E_VALIDATOR_SET'],
  );
  assert.deepEqual(validatorUpdates, [{ consensusKey: VALIDATOR_KEY, power: 0 }]);
});

test('CHAIN-84 E_VALIDATOR_SET: who let the last one go does not leave in the same block', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  const newcomer = funded(world, 'newcomer', 2n * MILLION, 0n);
  const signer = consensusSigner('newcomer');
  const address = consensusAddress(signer.publicKey);
  const { results, validatorUpdates } = world.block([
    world.tx(newcomer, [registerOp(newcomer, signer, MIN)]),
    world.tx(first.operator, [unbondOp(first, MILLION)]),
    world.tx(newcomer, [unbondOp({ address }, MIN)]),
  ]);
  assert.deepEqual(
    results.map(({ codeName }) => codeName),
    ['OK', 'OK', 'E_VALIDATOR_SET'],
  );
  assert.equal(validatorUpdates.length, 2);
  assert.equal(setOf(world).members.length, 1);
});

test('CHAIN-84 CHAIN-23 attack 52: where nobody earned power, the one with most bonded keeps 1 until another joins', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  const second = validatorNamed(world, 'a', 2n * MILLION);
  const height = world.height();
  const { validatorUpdates } = world.block([], {
    misbehavior: [evidence(first, height), evidence(second, height)],
  });
  const powers = new Map(validatorUpdates.map(({ consensusKey, power }) => [consensusKey.join(), power]));
  assert.equal(powers.get(VALIDATOR_KEY.join()), 0);
  assert.equal(powers.get(second.signer.publicKey.join()), 1);
  const rest = recordOf(world, second).selfBond;
  assert.equal(rest, 1_900_000n * OPG);
  assert.equal(code(world, second.operator, unbondOp(second, rest)), 'E_VALIDATOR_SET');
  world.ok(first.operator, [unbondOp(first, recordOf(world, first).selfBond)]);
  const third = validatorNamed(world, 'b', MIN);
  assert.deepEqual(
    updatesOf(world)
      ?.map(({ power }) => power)
      .sort(),
    [0, 100],
    'who only kept the chain going is relieved',
  );
  world.ok(second.operator, [unbondOp(second, rest)]);
  assert.equal(code(world, third.operator, unbondOp(third, MIN)), 'E_VALIDATOR_SET');
});

test('CHAIN-84: the one that leaves keeps 1 where the one that let it go double signs in the same block', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  const newcomer = funded(world, 'newcomer', 2n * MILLION, 0n);
  const signer = consensusSigner('newcomer');
  const { validatorUpdates } = world.block(
    [
      world.tx(newcomer, [registerOp(newcomer, signer, MILLION)]),
      world.tx(first.operator, [unbondOp(first, MILLION)]),
    ],
    { misbehavior: [{ address: consensusAddress(signer.publicKey), height: 1 }] },
  );
  assert.deepEqual(validatorUpdates, [{ consensusKey: VALIDATOR_KEY, power: 1 }]);
  const saviour = validatorNamed(world, 'saviour', MIN);
  assert.deepEqual(
    updatesOf(world)
      ?.map(({ power }) => power)
      .sort(),
    [0, 100],
  );
  assert.equal(recordOf(world, saviour).power, 100);
});

test('CHAIN-85: slashing follows the stake: what still voted at the fault is slashed, what was out before is not', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a', 2n * MILLION);
  const { operator } = validator;
  world.skip(3);
  const unbondAt = (): number => {
    world.ok(operator, [unbondOp(validator, 100_000n * OPG)]);
    return world.height();
  };
  const heights = [unbondAt(), unbondAt(), unbondAt(), unbondAt()];
  const [before, dayBefore, at] = heights as [number, number, number, number];
  assert.deepEqual([dayBefore, at], [before + 1, before + 2]);
  const due = (height: number): number => height + UNBONDING;
  const burned = totalsOf(world).burnedSlash;
  const output = world.block([], { misbehavior: [evidence(validator, at)] });
  const full = 100_000n * OPG;
  const slashed = 95_000n * OPG;
  assert.deepEqual(
    heights.map((height) => entryOf(world, validator, due(height))),
    [full, slashed, slashed, slashed],
    'unbonded in the block before the fault, it still voted at the fault',
  );
  assert.equal(recordOf(world, validator).selfBond, 1_520_000n * OPG);
  assert.equal(output.burnedNopg, 95_000n * OPG);
  assert.equal(totalsOf(world).burnedSlash - burned, 95_000n * OPG);
  assert.deepEqual(output.validatorUpdates, [{ consensusKey: validator.signer.publicKey, power: 0 }]);
  const liquid = accountOf(world, operator)?.nopg ?? 0n;
  world.skip(UNBONDING + 2);
  assert.equal(accountOf(world, operator)?.nopg, liquid + full + 3n * slashed);
});

test('CHAIN-85: evidence against one that has left takes what still unbonds, and it never comes back', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  const { operator } = validator;
  world.skip(2);
  world.ok(operator, [unbondOp(validator, MILLION)]);
  const leftAt = world.height();
  world.skip(5);
  const output = world.block([], { misbehavior: [evidence(validator, leftAt + 1)] });
  assert.equal(output.burnedNopg, 50_000n * OPG);
  assert.deepEqual(output.validatorUpdates, [], 'it had no power any more');
  assert.equal(code(world, operator, bondOp(validator, MILLION)), 'E_VALIDATOR');
  world.skip(UNBONDING);
  assert.equal(totalsOf(world).valUnbonding, 0n);
  const late = world.block([], { misbehavior: [evidence(validator, leftAt - 1)] });
  assert.equal(late.burnedNopg, 0n, 'nothing is left to take');
});

test('CHAIN-85: unknown addresses, repetitions and later faults change nothing; the earliest fault counts', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a', 2n * MILLION);
  const { operator } = validator;
  world.ok(operator, [unbondOp(validator, MILLION)]);
  const at = world.height();
  world.skip(4);
  const unknown = { address: new Uint8Array(20).fill(7), height: 3 };
  assert.deepEqual(world.block([], { misbehavior: [unknown, unknown] }).changes, []);
  const later = evidence(validator, at + 3);
  const first = world.block([], { misbehavior: [later, later, unknown, later] });
  assert.equal(first.burnedNopg, 50_000n * OPG, 'the bond, once; the entry was out');
  assert.equal(first.validatorUpdates.length, 1);
  assert.deepEqual(world.block([], { misbehavior: [later, evidence(validator, at + 4)] }).changes, []);
  const earlier = world.block([], { misbehavior: [evidence(validator, at)] });
  assert.equal(earlier.burnedNopg, 50_000n * OPG, 'no shelter behind a later fault of one’s own');
  assert.deepEqual(earlier.validatorUpdates, []);
  assert.equal(recordOf(world, validator).selfBond, 950_000n * OPG, 'the bond is not slashed again');
  assert.equal(world.block([], { misbehavior: [evidence(validator, at)] }).burnedNopg, 0n);
  assert.equal(world.block([], { misbehavior: [evidence(validator, 1)] }).burnedNopg, 0n);
});

test('CHAIN-85: of two faults in one block the order does not matter', () => {
  const burned = [false, true].map((reversed) => {
    const world = createWorld();
    const validator = validatorNamed(world, 'a', 2n * MILLION);
    world.ok(validator.operator, [unbondOp(validator, MILLION)]);
    const at = world.height();
    world.skip(4);
    const faults = [evidence(validator, at + 3), evidence(validator, at)];
    return world.block([], { misbehavior: reversed ? faults.reverse() : faults }).burnedNopg;
  });
  assert.deepEqual(burned, [100_000n * OPG, 100_000n * OPG]);
});

test('CHAIN-85: unbonding in the very block of the evidence, or of its maturing, saves nothing', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  world.skip(3);
  const { burnedNopg, baseFee, gasUsed } = world.block(
    [world.tx(validator.operator, [unbondOp(validator, MILLION)])],
    { misbehavior: [evidence(validator, world.height())] },
  );
  assert.equal(burnedNopg - baseFee * BigInt(gasUsed), 50_000n * OPG);
  const other = validatorNamed(world, 'b');
  world.skip(3);
  world.ok(other.operator, [unbondOp(other, MILLION)]);
  const due = world.height() + UNBONDING;
  world.skip(due - world.height() - 1);
  const last = world.block([], { misbehavior: [evidence(other, due - UNBONDING)] });
  assert.equal(world.height(), due);
  assert.equal(last.burnedNopg, 50_000n * OPG, 'slashed first, then paid out');
  assert.equal(totalsOf(world).valUnbonding, 0n);
});

test('CHAIN-85 attack 21: slashing oneself only loses; the rest unbonds in its normal time', () => {
  const world = createWorld();
  const validator = validatorNamed(world, 'a');
  const { operator } = validator;
  const supply = (): bigint => {
    const { liquid, valPool, valUnbonding } = totalsOf(world);
    return liquid + valPool + valUnbonding;
  };
  const before = supply();
  world.block([], { misbehavior: [evidence(validator, world.height())] });
  assert.equal(before - supply(), 50_000n * OPG, 'burned, nobody’s gain');
  assert.equal(code(world, operator, bondOp(validator, MILLION)), 'E_VALIDATOR');
  assert.equal(code(world, operator, registerOp(operator, validator.signer, MIN)), 'E_VALIDATOR');
  world.ok(operator, [unbondOp(validator, 950_000n * OPG)]);
  assert.deepEqual(updatesOf(world), []);
  const liquid = accountOf(world, operator)?.nopg ?? 0n;
  world.skip(UNBONDING + 1);
  assert.equal(accountOf(world, operator)?.nopg, liquid + 950_000n * OPG);
});

/** Blocks with one transaction, up to `height`, whose commits all of `signers` signed. */
function work(world: World, height: number, signers: readonly Uint8Array[]): void {
  const lastCommit: BlockInput['lastCommit'] = signers.map((address) => ({ address, signed: true }));
  while (world.height() < height) {
    const tx = world.tx(FAUCET, [{ kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) }]);
    world.block([tx], { lastCommit });
  }
}

test('CHAIN-87: who joins within an epoch is paid from the next; more bond counts from the next, less at once', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  const rewards = (of: Pick<TestValidator, 'address'>): bigint => recordOf(world, of).rewards;
  work(world, 9, [PROPOSER]);
  const joiner = validatorNamed(world, 'a', MILLION, 20n * MILLION);
  assert.equal(world.height(), 11);
  const both = [PROPOSER, joiner.address];
  work(world, 19, both);
  const before = rewards(first);
  work(world, 20, both);
  assert.equal(rewards(joiner), 0n, 'signed nearly all of its first epoch, and is not paid for it');
  const payment = rewards(first) - before;
  assert.ok(payment > 0n);

  world.block([world.tx(joiner.operator, [bondOp(joiner, 8n * MILLION)])], {
    lastCommit: both.map((address) => ({ address, signed: true })),
  });
  work(world, 30, both);
  const reserve = totalsOf(world).reserve;
  const paid = rewards(joiner);
  assert.ok(
    paid > 0n && paid <= (payment + 1n) / 2n,
    'by the power it had all the epoch, not by the bond of the end',
  );

  work(world, 31, both);
  world.block([world.tx(joiner.operator, [unbondOp(joiner, 8n * MILLION)])], {
    lastCommit: both.map((address) => ({ address, signed: true })),
  });
  work(world, 40, both);
  const next = reserve / world.ctx.config.params.reserveDivisor;
  assert.equal(rewards(joiner) - paid, next / 2n, 'what was unbonded within the epoch earned nothing in it');

  world.ok(joiner.operator, [unbondOp(joiner, MILLION)]);
  const left = rewards(joiner);
  work(world, 50, both);
  assert.equal(rewards(joiner), left, 'who left within the epoch is not paid for it');
  work(world, 60, both);
  assert.equal(rewards(joiner), left);
});

test('CHAIN-87 CHAIN-23: a double sign forfeits the running epoch, also for the one that keeps the chain going', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  work(world, 15, [PROPOSER]);
  const { rewards } = recordOf(world, first);
  world.block([], { misbehavior: [evidence(first, 3)] });
  assert.equal(recordOf(world, first).power, 1);
  work(world, 35, [PROPOSER]);
  assert.equal(recordOf(world, first).rewards, rewards);
});

test('CHAIN-83: rewards go to the operator once, also after leaving or a double sign', () => {
  const world = createWorld();
  const first = genesisValidator(world);
  const other = validatorNamed(world, 'a');
  const both = [PROPOSER, other.address];
  work(world, 22, both);
  const owed = recordOf(world, other).rewards;
  assert.ok(owed > 0n);
  const stranger = funded(world, 'stranger', 100n * OPG, 0n);
  assert.equal(code(world, stranger, claimOp(other)), 'E_SENDER');
  assert.equal(code(world, stranger, claimOp({ address: new Uint8Array(20) })), 'E_VALIDATOR');
  assert.equal(code(world, other.operator, claimOp(other), claimOp(other)), 'E_AMOUNT', 'twice at once');
  assert.equal(recordOf(world, other).rewards, owed);
  const liquid = accountOf(world, other.operator)?.nopg ?? 0n;
  const slot = totalsOf(world).rewards;
  const { gasUsed } = world.ok(other.operator, [claimOp(other)]);
  const fee = BigInt(gasUsed) * (world.outputs.at(-1)?.baseFee ?? 0n);
  assert.equal(accountOf(world, other.operator)?.nopg, liquid + owed - fee);
  assert.equal(totalsOf(world).rewards, slot - owed);
  assert.equal(code(world, other.operator, claimOp(other)), 'E_AMOUNT', 'twice');
  work(world, 42, both);
  world.ok(other.operator, [unbondOp(other, MILLION)]);
  world.ok(other.operator, [claimOp(other)]);
  world.block([], { misbehavior: [evidence(first, 3)] });
  world.ok(first.operator, [claimOp(first)]);
  assert.equal(code(world, first.operator, claimOp(first)), 'E_AMOUNT');
});

test('CHAIN-86: validators of the genesis are like any other: their operators unbond, and the key is taken', () => {
  const genesis = testGenesis();
  const extra: readonly GenesisValidator[] = ['x', 'y', 'z'].map((name) => ({
    consensusKey: consensusSigner(name).publicKey,
    operator: actor('shared operator').id,
    selfBond: MIN,
  }));
  const several = {
    ...genesis,
    reserveNopg: genesis.reserveNopg - 3n * MIN,
    validators: [...genesis.validators, ...extra],
  };
  const { validators } = applyGenesis(several, CHAIN, 0);
  assert.deepEqual(
    validators.map(({ power }) => power),
    [1_000, 100, 100, 100],
  );
  const world = createWorld({ genesis: several });
  const operator = funded(world, 'shared operator', 10n * OPG, 0n);
  const x = { address: consensusAddress((extra[0] as GenesisValidator).consensusKey) };
  world.ok(operator, [unbondOp(x, MIN)]);
  assert.deepEqual(updatesOf(world), [{ consensusKey: extra[0]?.consensusKey, power: 0 }]);
  world.skip(UNBONDING + 1);
  assert.ok((accountOf(world, operator)?.nopg ?? 0n) > MIN);
  assert.equal(code(world, operator, registerOp(operator, consensusSigner('x'), MIN)), 'E_VALIDATOR');
  world.ok(operator, [bondOp(x, MIN)]);
  assert.equal(setOf(world).members.length, 4);
});

test('CHAIN-84: all the OPG there is makes a power that consensus can count with', () => {
  const genesis = testGenesis();
  const world = createWorld({
    genesis: {
      ...genesis,
      reserveNopg: 0n,
      accounts: [{ accountId: FAUCET.id, nopg: genesis.reserveNopg + (genesis.accounts[0]?.nopg ?? 0n) }],
    },
  });
  const signer = consensusSigner('whale');
  const liquid = accountOf(world, FAUCET)?.nopg ?? 0n;
  world.ok(FAUCET, [registerOp(FAUCET, signer, liquid - 100n * OPG)]);
  assert.deepEqual(updatesOf(world), [{ consensusKey: signer.publicKey, power: 998_999 }]);
  world.block([], { misbehavior: [{ address: consensusAddress(signer.publicKey), height: 1 }] });
  assert.equal(totalsOf(world).burnedSlash, (liquid - 100n * OPG) / 20n);
});
