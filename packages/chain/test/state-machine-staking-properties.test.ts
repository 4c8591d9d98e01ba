/**
 * Random histories of staking with faults, at consensus's pace: what consensus was told takes effect two blocks later, and
 * only who has power then signs. Held against a set kept as CometBFT keeps it, and a ledger of stakes that knows nothing of
 * the code.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ed25519Signer, ed25519SignerFromSeed } from '@haca/platform';
import { fromHex, sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  nopg,
  type Op,
  recordKey,
  tablePrefix,
  type ValidatorRecord,
  validatorPossessionMessage,
  validatorRecordCodec,
} from '@haca/protocol';
import * as fc from 'fast-check';
import { type BlockInput, consensusAddress, type ValidatorUpdate } from '../src/state-machine/index.ts';
import {
  type Actor,
  CHAIN,
  createWorld,
  FAUCET,
  funded,
  OPG,
  PROPOSER,
  SHORT_PARAMS,
  totalsOf,
  VALIDATOR_KEY,
  VALIDATOR_OPERATOR,
  type World,
} from './state-machine-world.ts';

const MIN = 1_500n * OPG;
const UNIT = 1_000n * OPG;
/** Windows so short that stakes come free, and epochs end, many times in a history. */
const PARAMS = { validatorBondMin: MIN, unbondingTime: 42, unbondingTimeMs: 42_000, epochLength: 7 };

/** A deterministic stream of numbers (mulberry32), so that a seed is a history. */
function dice(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    below,
    chance: (p: number) => next() < p,
    pick: <T>(of: readonly T[]): T => of[below(of.length)] as T,
  };
}

/** Sets by height as CometBFT applies updates: those of block H are the set of H + 2. */
interface Consensus {
  /** The set that votes in the block to come, and in the one after. */
  current: Map<string, number>;
  next: Map<string, number>;
}

function applyUpdates(consensus: Consensus, updates: readonly ValidatorUpdate[]): void {
  const set = new Map(consensus.next);
  let previous = '';
  for (const { consensusKey, power } of updates) {
    const key = toHex(consensusKey);
    assert.ok(previous < key, 'ascending, no key twice');
    previous = key;
    assert.ok(Number.isSafeInteger(power) && power >= 0);
    assert.ok(power > 0 || set.has(key), 'consensus removes only whom it knows');
    assert.notEqual(set.get(key), power, 'an update changes something');
    if (power === 0) set.delete(key);
    else set.set(key, power);
  }
  assert.ok(set.size >= 1 && set.size <= 101, 'never empty');
  const total = [...set.values()].reduce((sum, power) => sum + power, 0);
  assert.ok(total >= 1 && total <= 1_000_000, 'bounded');
  consensus.current = consensus.next;
  consensus.next = set;
}

/** Every nopg that was ever bonded, as lots: bonded still, or unbonded in a block. */
interface Lot {
  readonly key: string;
  amount: bigint;
  unbondedAt: number | null;
  sinceMs: number;
  slashed: boolean;
}

interface History {
  readonly world: World;
  readonly random: ReturnType<typeof dice>;
  readonly operators: readonly Actor[];
  readonly signers: readonly Ed25519Signer[];
  readonly consensus: Consensus;
  readonly met: Map<string, number>;
}

function start(seed: number, audit = true): History {
  const world = createWorld({ params: PARAMS, audit });
  world.ok(FAUCET, [{ kind: 'transfer-opg', to: VALIDATOR_OPERATOR.id, amount: nopg(50_000n * OPG) }]);
  const operators = ['v0', 'v1', 'v2', 'v3'].map((name) => funded(world, name, 60_000n * OPG, 0n));
  const signers = Array.from({ length: 9 }, (_, i) =>
    ed25519SignerFromSeed(sha256(utf8Encode(`random consensus key ${i}`))),
  );
  const first = new Map([[toHex(VALIDATOR_KEY), 1_000]]);
  return {
    world,
    random: dice(seed),
    operators: [VALIDATOR_OPERATOR, ...operators],
    signers,
    consensus: { current: first, next: first },
    met: new Map(),
  };
}

function allValidators(world: World): readonly (readonly [string, ValidatorRecord])[] {
  const [table] = tablePrefix('validator');
  return [...world.entries()]
    .filter(([key]) => key[0] === table)
    .map(([key]) => {
      const record = world.read(validatorRecordCodec, key) as ValidatorRecord;
      return [toHex(record.consensusKey), record] as const;
    });
}

const addressOf = (key: string): Uint8Array => consensusAddress(fromHex(key));

function randomOp({ world, random, signers }: History, sender: Actor): Op {
  const known = allValidators(world);
  const own = known.filter(([, { operator }]) => toHex(operator) === toHex(sender.id));
  const [key, record] = random.pick(
    own.length > 0 && random.chance(0.9) ? own : known,
  ) as (typeof known)[number];
  const validator = addressOf(key);
  const amounts = [
    0n,
    1n,
    UNIT,
    UNIT - 1n,
    MIN,
    3n * MIN,
    7_777n * OPG,
    record.selfBond,
    record.selfBond - MIN,
  ];
  const drawn = random.pick(amounts);
  const amount = nopg(drawn < 0n ? 0n : drawn);
  const roll = random.below(10);
  if (roll < 3) {
    const signer = random.pick(signers);
    const consensusKey = signer.publicKey;
    const named = random.chance(0.9) ? sender.id : FAUCET.id;
    const possession = signer.sign(
      validatorPossessionMessage({ chainId: CHAIN, operator: named, consensusKey }),
    );
    return { kind: 'register-validator', consensusKey, bond: amount, possession };
  }
  if (roll < 5) return { kind: 'bond-validator', validator, amount };
  if (roll < 9) return { kind: 'unbond-validator', validator, amount };
  return { kind: 'claim-rewards', validator };
}

function randomFaults({ world, random }: History): NonNullable<BlockInput['misbehavior']> {
  if (!random.chance(0.06)) return [];
  const known = allValidators(world);
  return Array.from({ length: 1 + random.below(3) }, () => ({
    address: random.chance(0.9) ? addressOf(random.pick(known)[0]) : new Uint8Array(20).fill(9),
    height: Math.max(1, world.height() + 1 - random.below(12)),
  }));
}

function randomBlock(
  history: History,
): Pick<BlockInput, 'txs' | 'lastCommit' | 'misbehavior' | 'proposer' | 'timeMs'> {
  const { world, random, operators, consensus } = history;
  const txs = Array.from({ length: random.below(4) }, () => {
    const sender = random.pick(operators);
    const ops = Array.from({ length: random.chance(0.2) ? 2 : 1 }, () => randomOp(history, sender));
    return world.tx(sender, ops, { tipCap: BigInt(random.below(2) * 500) });
  });
  const voters = [...consensus.current.keys()].map(addressOf);
  return {
    txs,
    misbehavior: randomFaults(history),
    lastCommit: voters.map((address) => ({ address, signed: random.chance(0.7) })),
    proposer: random.pick([...voters, PROPOSER]),
    timeMs: world.timeMs() + random.below(2_500),
  };
}

/** What happened to stakes, out of events and evidence alone; checked against the slots of the state. */
function follow(
  { world, met }: History,
  lots: Lot[],
  block: ReturnType<typeof randomBlock>,
  output: ReturnType<World['block']>,
): void {
  const height = world.height();
  const keyOf = new Map(allValidators(world).map(([key]) => [toHex(addressOf(key)), key]));
  for (const { codeName, events } of output.results) {
    met.set(codeName, (met.get(codeName) ?? 0) + 1);
    for (const { type, attributes } of events) {
      if (type !== 'validator') continue;
      const shown = Object.fromEntries(attributes);
      met.set(shown['action'] ?? '', (met.get(shown['action'] ?? '') ?? 0) + 1);
      const key = keyOf.get(shown['validator'] ?? '') as string;
      const bonded = (): Lot | undefined => lots.find((lot) => lot.key === key && lot.unbondedAt === null);
      const amount = BigInt(shown['amount'] ?? shown['bond'] ?? '0');
      if (shown['action'] === 'register' || shown['action'] === 'bond') {
        const lot = bonded();
        if (lot === undefined) lots.push({ key, amount, unbondedAt: null, sinceMs: 0, slashed: false });
        else lot.amount += amount;
      }
      if (shown['action'] === 'unbond') {
        const from = bonded() as Lot;
        from.amount -= amount;
        const entry = lots.find((lot) => lot.key === key && lot.unbondedAt === height);
        if (entry !== undefined) entry.amount += amount;
        else lots.push({ ...from, amount, unbondedAt: height, sinceMs: world.timeMs() });
      }
    }
  }
  let burned = 0n;
  for (const { address, height: faultHeight } of block.misbehavior ?? []) {
    const key = keyOf.get(toHex(address));
    if (key === undefined) continue;
    met.set('fault', (met.get('fault') ?? 0) + 1);
    // A lot unbonded in block u is in the sets up to u + 1: it votes at the fault if u + 2 is above it.
    for (const lot of lots) {
      if (lot.key !== key || lot.slashed) continue;
      if (lot.unbondedAt !== null && lot.unbondedAt + 2 <= faultHeight) continue;
      const slash = (lot.amount * 500n) / 10_000n;
      burned += slash;
      lot.amount -= slash;
      lot.slashed = true;
    }
  }
  const fees = output.baseFee * BigInt(output.gasUsed);
  assert.equal(output.burnedNopg - fees, burned, `slashed in block ${height}`);
  const isFree = (lot: Lot): boolean =>
    lot.unbondedAt !== null &&
    height >= lot.unbondedAt + SHORT_PARAMS.unbondingTime &&
    !world
      .read(validatorRecordCodec, recordKey.validator(addressOf(lot.key)))
      ?.unbondingDue.includes(lot.unbondedAt + SHORT_PARAMS.unbondingTime);
  for (const lot of lots.filter(isFree)) {
    assert.ok(world.timeMs() >= lot.sinceMs + PARAMS.unbondingTimeMs, 'not before its block time');
    lots.splice(lots.indexOf(lot), 1);
  }
  const sum = (wanted: (lot: Lot) => boolean): bigint =>
    lots.filter(wanted).reduce((total, { amount }) => total + amount, 0n);
  assert.equal(
    totalsOf(world).valPool,
    sum(({ unbondedAt }) => unbondedAt === null),
  );
  assert.equal(
    totalsOf(world).valUnbonding,
    sum(({ unbondedAt }) => unbondedAt !== null),
  );
}

/** What the state says the powers are, from bonds alone. */
function powersFromState(world: World): Map<string, number> {
  const all = allValidators(world);
  const earned = all
    .filter(([, { tombstoned }]) => tombstoned !== true)
    .map(([key, { selfBond }]) => [key, Number(selfBond / UNIT)] as const)
    .filter(([, power]) => power > 0);
  return new Map(earned);
}

const BLOCKS = 120;

function live(seed: number): History {
  const history = start(seed);
  const { world, consensus, met } = history;
  const lots: Lot[] = [
    { key: toHex(VALIDATOR_KEY), amount: 1_000_000n * OPG, unbondedAt: null, sinceMs: 0, slashed: false },
  ];
  const beginning = world.height();
  const blocks: ReturnType<typeof randomBlock>[] = [];
  for (let i = 0; i < BLOCKS; i++) {
    const block = randomBlock(history);
    blocks.push(block);
    const output = world.block(block.txs, block);
    assert.ok(output.results.every(({ codeName }) => codeName !== 'E_INTERNAL'));
    applyUpdates(consensus, output.validatorUpdates);
    const expected = powersFromState(world);
    if (expected.size > 0)
      assert.deepEqual(new Map([...consensus.next].sort()), new Map([...expected].sort()));
    else {
      assert.deepEqual([...consensus.next.values()], [1], 'the last one keeps 1');
      met.set('kept', (met.get('kept') ?? 0) + 1);
    }
    if (consensus.next.size > 3) met.set('several', 1);
    follow(history, lots, block, output);
  }
  const again = start(seed, false).world;
  assert.equal(again.height(), beginning);
  blocks.forEach((block, i) => {
    const output = again.block(block.txs, block);
    const first = world.outputs[beginning + i];
    assert.deepEqual(output.changes, first?.changes);
    assert.deepEqual(output.validatorUpdates, first?.validatorUpdates);
  });
  assert.deepEqual([...again.state.keys()].sort(), [...world.state.keys()].sort());
  return history;
}

test('CHAIN-84 CHAIN-85 CHAIN-32 CHAIN-7: random stakes and faults keep the set of consensus, every stake and every invariant', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      live(seed);
    }),
    { numRuns: 6 },
  );
});

test('CHAIN-84: fixed histories, which meet what matters', () => {
  const met = new Map<string, number>();
  for (const seed of [1, 2, 3, 4]) {
    for (const [name, times] of live(seed).met) met.set(name, (met.get(name) ?? 0) + times);
  }
  const wanted = [
    ...['OK', 'E_VALIDATOR', 'E_VALIDATOR_SET', 'E_BOND', 'E_BALANCE', 'E_AMOUNT', 'E_SENDER', 'E_SIG'],
    ...['register', 'bond', 'unbond', 'claim', 'fault', 'kept', 'several'],
  ];
  assert.deepEqual(
    wanted.filter((name) => !met.has(name)),
    [],
    `the histories met ${[...met].join(' ')}`,
  );
});
