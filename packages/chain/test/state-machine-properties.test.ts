/** Random histories with faults. Each block is audited from scratch; the redemption oracle knows nothing of the code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '@haca/primitives';
import { type ChargeLine, channelIdOf, credit, nopg, type Op } from '@haca/protocol';
import * as fc from 'fast-check';
import { type ChainEvent, keyPhase, type TxResult } from '../src/state-machine/index.ts';
import {
  type Actor,
  allocationOf,
  CHAIN,
  CREDIT,
  channelOf,
  createWorld,
  FAUCET,
  funded,
  keyOf,
  line,
  MODEL,
  nodeOf,
  OPG,
  openKeyOp,
  registerModel,
  registerNode,
  releaseOp,
  sessionSigner,
  settleOp,
  statementOf,
  type TestChannel,
  type TestKey,
  type TestNode,
  USDC,
  voucher,
  type World,
} from './state-machine-world.ts';

/** A deterministic stream of numbers (mulberry32), so that a seed is a history. */
function dice(seed: number): {
  below: (n: number) => number;
  chance: (p: number) => boolean;
  pick: <T>(of: readonly T[]) => T;
} {
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
    chance: (p) => next() < p,
    pick: (of) => {
      const chosen = of[below(of.length)];
      assert.ok(chosen !== undefined);
      return chosen;
    },
  };
}

interface Sent {
  readonly tx: Uint8Array;
  readonly settled?: { readonly key: TestKey; readonly after: Pick<TestKey, 'seq' | 'head' | 'running'> };
  readonly opened?: { readonly key?: TestKey; readonly channel?: TestChannel };
}

interface History {
  readonly world: World;
  readonly random: ReturnType<typeof dice>;
  readonly payers: readonly Actor[];
  readonly nodes: readonly TestNode[];
  readonly keys: TestKey[];
  readonly channels: TestChannel[];
  readonly landed: Uint8Array[];
  readonly oracle: RedemptionOracle;
}

/** What was promised and what was paid, per lane, out of vouchers and events alone. */
interface RedemptionOracle {
  readonly promised: Map<string, bigint>;
  readonly paid: Map<string, { to: bigint; atSeq: bigint; total: bigint }>;
  readonly channelIn: Map<string, bigint>;
  readonly channelOut: Map<string, bigint>;
}

function start(seed: number): History {
  const world = createWorld({ params: { gasTarget: 5_000_000, keyTtl: 60, bondPerLaneRow: 500n * OPG } });
  registerModel(world);
  const payers = ['p0', 'p1', 'p2'].map((name) => funded(world, name, 5_000n * OPG, 500n * CREDIT));
  const nodes = ['n0', 'n1'].map((name) =>
    registerNode(world, funded(world, name, 50_000n * OPG, 10n * CREDIT), 9_000n * OPG),
  );
  return {
    world,
    random: dice(seed),
    payers,
    nodes,
    keys: [],
    channels: [],
    landed: [],
    oracle: { promised: new Map(), paid: new Map(), channelIn: new Map(), channelOut: new Map() },
  };
}

function randomTx(history: History): Sent {
  const { random, landed } = history;
  const roll = random.below(100);
  if (roll < 4 && landed.length > 0) return { tx: random.pick(landed) };
  const sent =
    roll < 12 ? openSomething(history) : roll < 45 ? settleSomething(history) : moveSomething(history);
  if (!random.chance(0.03)) return sent;
  const corrupt = sent.tx.slice();
  const bit = random.below(corrupt.length * 8);
  corrupt[bit >> 3] = (corrupt[bit >> 3] as number) ^ (1 << (bit & 7));
  return { tx: corrupt };
}

function openSomething({ world, random, payers, nodes }: History): Sent {
  if (random.chance(0.5)) {
    const node = random.pick(nodes);
    const { op, key } = openKeyOp(world, node, { method: random.chance(0.5) ? 'tee' : 'signed' });
    return { tx: world.tx(node.operator, [op]), opened: { key } };
  }
  const payer = random.pick(payers);
  const channelId = channelIdOf(CHAIN, payer.id, USDC, world.nonceOf(payer));
  const session = sessionSigner(payer, 0);
  const ops: Op[] = [
    { kind: 'open-channel', asset: USDC, amount: credit(BigInt(random.below(20)) * CREDIT) },
    {
      kind: 'register-session',
      channelId,
      session: 0,
      publicKey: session.publicKey,
      expiryHeight: world.height() + 1 + random.below(120),
    },
    ...nodes.map(
      ({ nodeId }): Op => ({
        kind: 'allocate',
        channelId,
        nodeId,
        amount: credit(BigInt(random.below(9)) * (CREDIT / 2n)),
      }),
    ),
  ];
  return { tx: world.tx(payer, ops), opened: { channel: { payer, channelId, sessions: [session] } } };
}

/** A statement as a node would send it, or as a lying one might: ranges, marks, vouchers and totals all may be off. */
function settleSomething(history: History): Sent {
  const { world, random, keys, channels, oracle } = history;
  if (keys.length === 0 || channels.length === 0) return openSomething(history);
  const key = random.chance(0.85) ? random.pick(keys.slice(-4)) : random.pick(keys);
  const count = random.below(4);
  const earned = BigInt(random.below(3)) * (CREDIT / 2n);
  const charges: ChargeLine[] = [];
  const vouchers: Uint8Array[] = [];
  for (let i = random.below(4); i > 0; i--) {
    const channel = random.pick(random.chance(0.85) ? channels.slice(-4) : channels);
    const lane = random.below(3);
    const id = laneId(key, channel, lane);
    const known = oracle.paid.get(id);
    const from = (known?.to ?? 0n) + (random.chance(0.1) ? BigInt(random.below(3)) - 1n : 0n);
    const to = from + BigInt(random.below(5)) * (CREDIT / 8n);
    const fromSeq = Number(known?.atSeq ?? 0n) + (random.chance(0.1) ? 0 : 1);
    const atSeq = random.chance(0.1) ? key.seq + count + 1 : Math.max(fromSeq, key.seq + count);
    charges.push(line(channel, lane, [fromSeq, atSeq], [from < 0n ? 0n : from, to < 0n ? 0n : to]));
    const cumulative = to + (random.chance(0.1) ? -1n : BigInt(random.below(2)) * CREDIT);
    const promise = cumulative < 0n ? 0n : cumulative;
    const isForged = random.chance(0.05);
    const options = {
      expiry: world.height() + 2 + random.below(30) - random.below(3),
      ...(isForged ? { signer: sessionSigner(channel.payer, 9) } : {}),
    };
    vouchers.push(voucher(world, channel, key, lane, promise, options));
    if (!isForged && promise > (oracle.promised.get(id) ?? 0n)) oracle.promised.set(id, promise);
  }
  const forged = random.chance(0.05) ? { ...key, seq: key.seq + 1 } : key;
  const { bytes, after } = statementOf(forged, count, earned, charges);
  const op = settleOp(bytes, random.chance(0.03) ? vouchers.slice(1) : vouchers);
  const by = random.chance(0.05) ? random.pick(history.payers) : key.node.operator;
  return { tx: world.tx(by, [op]), settled: { key, after } };
}

function moveSomething(history: History): Sent {
  const { world, random, payers, nodes, keys, channels } = history;
  const payer = random.pick(payers);
  const node = random.pick(nodes);
  const nodeId = node.nodeId;
  const amount = BigInt(random.below(4)) * (CREDIT / 2n) + BigInt(random.below(2));
  const opg = BigInt(random.below(4)) * 700n * OPG;
  const channel = channels.length > 0 ? random.pick(channels) : undefined;
  const channelId = channel?.channelId ?? new Uint8Array(32);
  const keyId = keys.length > 0 ? random.pick(keys).keyId : new Uint8Array(32);
  const version = allocationOf(world, channelId, nodeId)?.version ?? 0;
  const byPayer: readonly Op[] = [
    { kind: 'transfer-credit', to: random.pick(payers).id, asset: USDC, amount: credit(amount) },
    { kind: 'transfer-opg', to: random.pick(payers).id, amount: nopg(opg / 100n) },
    { kind: 'retire', asset: USDC, amount: credit(amount) },
    { kind: 'deposit', channelId, amount: credit(amount) },
    { kind: 'allocate', channelId, nodeId, amount: credit(amount) },
    { kind: 'allocate', channelId, nodeId, amount: credit(2n * CREDIT) },
    releaseOp(channelId, node, amount, version - random.below(2) * Math.min(version, 1), world.height() + 5),
    { kind: 'request-withdraw', channelId, nodeId, amount: credit(amount) },
    { kind: 'finalize-withdraw', channelId, nodeId },
    { kind: 'withdraw-free', channelId, amount: credit(amount) },
    { kind: 'withdraw-free', channelId, amount: credit(channelOf(world, channelId)?.free ?? 0n) },
    { kind: 'close-channel', channelId },
    { kind: 'revoke-session', channelId, session: 0 },
    {
      kind: 'register-session',
      channelId,
      session: random.below(2),
      publicKey: sessionSigner(payer, 0).publicKey,
      expiryHeight: world.height() + random.below(100),
    },
  ];
  const byOperator: readonly Op[] = [
    { kind: 'bond-node', nodeId, amount: nopg(opg) },
    { kind: 'unbond-node', nodeId, amount: nopg(opg) },
    { kind: 'close-key', keyId },
    { kind: 'abandon-key', keyId },
    { kind: 'update-node', nodeId, name: 'again', endpoint: 'http://again', payout: random.pick(payers).id },
    { kind: 'register-model', manifest: { ...MODEL, name: `model ${random.below(1000)}` } },
  ];
  const byFaucet: readonly Op[] = [
    { kind: 'issue', to: payer.id, asset: USDC, amount: credit(amount) },
    { kind: 'issue', to: payer.id, asset: USDC, amount: credit((1n << 63n) - 1n) },
  ];
  const roll = random.below(10);
  const ops = [roll < 7 ? byPayer : roll < 9 ? byOperator : byFaucet].map((of) => random.pick(of));
  if (random.chance(0.2)) ops.push(random.pick(roll < 7 ? byPayer : byOperator));
  const by = roll < 7 ? (channel?.payer ?? payer) : roll < 9 ? node.operator : FAUCET;
  return {
    tx: world.tx(by, ops, {
      tipCap: BigInt(random.below(2_000)),
      ...(random.chance(0.1) ? { feePayer: random.pick(payers) } : {}),
      ...(random.chance(0.05) ? { validUntil: world.height() - random.below(2) } : {}),
      ...(random.chance(0.05) ? { maxFee: 1_000n } : {}),
    }),
  };
}

function laneId(key: TestKey, channel: TestChannel, lane: number): string {
  return `${toHex(key.keyId)}/${toHex(channel.channelId)}/${lane}`;
}

/** Feeds the results back: what was opened and settled is known from now on, what was paid goes through the oracle. */
function learn(history: History, sent: readonly Sent[], results: readonly TxResult[]): void {
  results.forEach((result, i) => {
    const { settled, opened, tx } = sent[i] as Sent;
    if (result.gasUsed > 0) history.landed.push(tx);
    if (result.code !== 0) return;
    if (settled !== undefined) {
      const { seq, head, running } = settled.after;
      if (keyOf(history.world, settled.key.keyId)?.settledSeq === seq)
        Object.assign(settled.key, { seq, head, running });
    }
    if (opened?.key !== undefined) history.keys.push(opened.key);
    if (opened?.channel !== undefined) history.channels.push(opened.channel);
    for (const event of result.events)
      watch(history.oracle, event.type, Object.fromEntries(event.attributes));
  });
  for (const channel of history.channels) assertChannel(history, channel);
}

/** CHAIN-76: intervals on a lane are disjoint and in order, and their sum never passes what its payer promised. */
function watch(oracle: RedemptionOracle, type: string, shown: Readonly<Record<string, string>>): void {
  const channel = shown['channelId'] ?? '';
  const amount = BigInt(shown['amount'] ?? '0');
  const add = (to: Map<string, bigint>): unknown => to.set(channel, (to.get(channel) ?? 0n) + amount);
  if (type === 'channel' && (shown['action'] === 'open' || shown['action'] === 'deposit'))
    add(oracle.channelIn);
  if (type === 'channel' && shown['action'] === 'withdraw-free') add(oracle.channelOut);
  if (type !== 'pay') return;
  add(oracle.channelOut);
  const id = `${shown['keyId']}/${channel}/${shown['lane']}`;
  const before = oracle.paid.get(id) ?? { to: 0n, atSeq: 0n, total: 0n };
  assert.equal(BigInt(shown['from'] ?? ''), before.to);
  assert.ok(BigInt(shown['atSeq'] ?? '') > before.atSeq);
  const total = before.total + amount;
  assert.ok(total <= (oracle.promised.get(id) ?? 0n), 'no lane pays more than its highest voucher');
  oracle.paid.set(id, { to: BigInt(shown['to'] ?? ''), atSeq: BigInt(shown['atSeq'] ?? ''), total });
}

/** I8: what went in and did not come out is free or allocated. */
function assertChannel({ world, oracle, nodes }: History, { channelId }: TestChannel): void {
  const id = toHex(channelId);
  const inside = (oracle.channelIn.get(id) ?? 0n) - (oracle.channelOut.get(id) ?? 0n);
  const allocated = nodes.reduce((sum, { nodeId }) => {
    const allocation = allocationOf(world, channelId, nodeId);
    return sum + (allocation === undefined ? 0n : allocation.amount - allocation.paid);
  }, 0n);
  assert.equal((channelOf(world, channelId)?.free ?? 0n) + allocated, inside, `channel ${id}`);
}

const BLOCKS = 200;

/** Runs a history block by block, then replays it (CHAIN-7). Returns what it met. */
function live(seed: number): Map<string, number> {
  const met = new Map<string, number>();
  const history = start(seed);
  const { world, random } = history;
  const beginning = world.height();
  const inputs: { readonly txs: readonly Uint8Array[]; readonly timeMs: number }[] = [];
  for (let i = 0; i < BLOCKS; i++) {
    const sent = Array.from({ length: random.below(6) }, () => randomTx(history));
    const txs = sent.map(({ tx }) => tx);
    const timeMs = world.timeMs() + random.below(3_000);
    const { results } = world.block(txs, { timeMs });
    inputs.push({ txs, timeMs });
    for (const { codeName, events } of results) {
      count(met, codeName);
      for (const event of events) count(met, lineCode(event) ?? event.type);
    }
    learn(history, sent, results);
  }
  replay(seed, world, beginning, inputs);
  assert.ok(!met.has('E_INTERNAL'));
  return met;
}

test('CHAIN-32 CHAIN-30 CHAIN-31 CHAIN-76 attack 2: random histories with faults keep every invariant, never throw, and replay to the same bytes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      live(seed);
    }),
    { numRuns: 4 },
  );
});

test('CHAIN-32: fixed histories, which meet what matters', () => {
  const met = new Map<string, number>();
  for (const seed of [1, 2, 3]) for (const [name, times] of live(seed)) count(met, name, times);
  const wanted = [
    ...[
      'OK',
      'E_NONCE',
      'E_SENDER',
      'E_KEY',
      'E_SEQ',
      'E_COUNT',
      'E_SIG',
      'E_MALFORMED',
      'E_BALANCE',
      'E_VERSION',
    ],
    ...['E_FEE', 'E_EXPIRED', 'E_AMOUNT', 'E_SESSION', 'E_WITHDRAW', 'E_ALLOCATION', 'E_NOT_EMPTY', 'E_BOND'],
    ...['E_OVERFLOW', 'line E_ALREADY_PAID', 'line E_NOT_VERIFIED', 'line E_VOUCHER', 'line E_UNDERFUNDED'],
    ...['line E_SUM', 'pay', 'settle', 'close-key', 'no-op'],
  ];
  const missing = wanted.filter((name) => !met.has(name));
  assert.deepEqual(missing, [], `the histories met ${[...met].join(' ')}`);
  assert.ok((met.get('pay') ?? 0) > 50, `${met.get('pay')} payments`);
});

function count(met: Map<string, number>, name: string, times = 1): void {
  met.set(name, (met.get(name) ?? 0) + times);
}

function lineCode({ type, attributes }: ChainEvent): string | undefined {
  if (type !== 'line-refused') return undefined;
  return `line ${attributes.find(([name]) => name === 'code')?.[1]}`;
}

/** CHAIN-7: the same blocks on a fresh chain give the same changes and results. */
function replay(
  seed: number,
  original: World,
  beginning: number,
  inputs: readonly { readonly txs: readonly Uint8Array[]; readonly timeMs: number }[],
): void {
  const { world } = start(seed);
  assert.equal(world.height(), beginning);
  inputs.forEach(({ txs, timeMs }, i) => {
    const output = world.block(txs, { timeMs });
    const expected = original.outputs[beginning + i];
    assert.deepEqual(output.changes, expected?.changes);
    assert.deepEqual(output.results, expected?.results);
  });
}

test('CHAIN-71 CHAIN-76 attack 7: any sequence of lines on one lane pays disjoint intervals up to the voucher', () => {
  const lines = fc.array(
    fc.record({
      fromSeq: fc.integer({ min: 0, max: 12 }),
      length: fc.integer({ min: -1, max: 6 }),
      from: fc.bigInt({ min: 0n, max: 12n }),
      to: fc.bigInt({ min: 0n, max: 14n }),
      cumulative: fc.bigInt({ min: 0n, max: 12n }),
    }),
    { minLength: 1, maxLength: 40 },
  );
  const history = start(1);
  const { world, nodes, payers } = history;
  const node = nodes[0] as TestNode;
  const payer = payers[0] as Actor;
  fc.assert(
    fc.property(lines, (drawn) => {
      world.skip(3);
      const { op, key } = openKeyOp(world, node);
      const channelId = channelIdOf(CHAIN, payer.id, USDC, world.nonceOf(payer));
      const signer = sessionSigner(payer, 0);
      const setUp: Op[] = [
        { kind: 'open-channel', asset: USDC, amount: credit(CREDIT) },
        {
          kind: 'register-session',
          channelId,
          session: 0,
          publicKey: signer.publicKey,
          expiryHeight: world.height() + 50,
        },
        { kind: 'allocate', channelId, nodeId: node.nodeId, amount: credit(CREDIT) },
      ];
      world.ok(payer, setUp);
      world.ok(node.operator, [op]);
      const channel: TestChannel = { payer, channelId, sessions: [signer] };
      const charges = drawn.map(({ fromSeq, length, from, to }) =>
        line(channel, 0, [fromSeq, Math.max(0, fromSeq + length)], [from, to]),
      );
      const vouchers = drawn.map(({ cumulative }) => voucher(world, channel, key, 0, cumulative));
      const { bytes } = statementOf(key, 10, 20n, charges);
      const result = world.ok(node.operator, [settleOp(bytes, vouchers)]);
      const pays = result.events
        .filter(({ type }) => type === 'pay')
        .map(({ attributes }) => Object.fromEntries(attributes));
      let mark = 0n;
      for (const pay of pays) {
        assert.equal(BigInt(pay['from'] ?? ''), mark);
        mark = BigInt(pay['to'] ?? '');
      }
      const highest = drawn.reduce((top, { cumulative }) => (cumulative > top ? cumulative : top), 0n);
      assert.ok(mark <= highest);
      world.ok(node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
      assert.equal(keyPhase(keyOf(world, key.keyId), world.height(), world.ctx.config.params), 'closing');
    }),
    { numRuns: 25 },
  );
  assert.ok(nodeOf(world, node.nodeId).keyEpoch >= 25);
});
