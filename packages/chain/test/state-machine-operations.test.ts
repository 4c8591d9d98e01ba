import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { merkleLeafHash, merkleRoot, sha256, utf8Encode } from '@haca/primitives';
import {
  channelIdOf,
  credit,
  nodeKeyRecordCodec,
  nopg,
  type Op,
  type OpOf,
  queueRecordCodec,
  recentBlockRecordCodec,
  recordKey,
  sessionRecordCodec,
  unbondingRecordCodec,
  type ValidatorRecord,
  validatorRecordCodec,
  validatorSetRecordCodec,
} from '@haca/protocol';
import { applyGenesis, consensusAddress, keyPhase, refuseAllEvidence } from '../src/state-machine/index.ts';
import {
  type Actor,
  accountOf,
  actor,
  allocationOf,
  appraiseTest,
  attribute,
  blockHashOf,
  CHAIN,
  CREDIT,
  channelOf,
  createWorld,
  creditBalance,
  FAUCET,
  funded,
  keyEvidenceOf,
  keyOf,
  laneOf,
  line,
  lineCodes,
  MODEL,
  MODEL_ID,
  market,
  nodeOf,
  OPG,
  type OpenKeyOptions,
  openChannel,
  openKey,
  openKeyOp,
  PROPOSER,
  payoutOf,
  registerModel,
  registerNode,
  releaseOp,
  SHORT_PARAMS,
  sessionSigner,
  settle,
  type TestNode,
  testGenesis,
  totalsOf,
  USDC,
  VALIDATOR_KEY,
  voucher,
} from './state-machine-world.ts';

const transferOpg = (to: Actor, amount: bigint): Op => ({
  kind: 'transfer-opg',
  to: to.id,
  amount: nopg(amount),
});
const transferCredit = (to: Actor, amount: bigint, asset = USDC): Op => ({
  kind: 'transfer-credit',
  to: to.id,
  asset,
  amount: credit(amount),
});
const issue = (to: Actor, amount: bigint, asset = USDC): Op => ({
  kind: 'issue',
  to: to.id,
  asset,
  amount: credit(amount),
});
const retire = (amount: bigint, asset = USDC): Op => ({ kind: 'retire', asset, amount: credit(amount) });

test('CHAIN-33: transfers of OPG and of a fee asset, issue and retire, each with every code of its own', () => {
  const world = createWorld();
  const alice = funded(world, 'alice', 10n * OPG, 10n * CREDIT);
  const bob = actor('bob');
  const code = (by: Actor, op: Op): string => world.run(by, [op]).codeName;

  assert.equal(code(alice, transferOpg(bob, 0n)), 'E_AMOUNT');
  assert.equal(code(alice, transferOpg(bob, 11n * OPG)), 'E_BALANCE');
  assert.equal(code(alice, transferOpg(bob, OPG / 10n - 1n)), 'E_EXISTENTIAL');
  assert.equal(code(alice, transferOpg(bob, OPG / 10n)), 'OK');
  assert.equal(code(alice, transferOpg(alice, OPG)), 'OK', 'to itself');
  assert.equal(accountOf(world, bob)?.nopg, OPG / 10n);

  assert.equal(code(alice, transferCredit(bob, 0n)), 'E_AMOUNT');
  assert.equal(code(alice, transferCredit(bob, 1n, 7)), 'E_ASSET');
  assert.equal(code(alice, transferCredit(bob, 11n * CREDIT)), 'E_BALANCE');
  assert.equal(code(alice, transferCredit(actor('carol'), 1n)), 'E_EXISTENTIAL');
  assert.equal(code(alice, transferCredit(bob, 1n)), 'OK');
  assert.equal(creditBalance(world, bob), 1n);

  assert.equal(code(alice, issue(alice, CREDIT)), 'E_ASSET');
  assert.equal(code(FAUCET, issue(alice, CREDIT, 9)), 'E_ASSET');
  assert.equal(code(FAUCET, issue(alice, 0n)), 'E_AMOUNT');
  assert.equal(code(FAUCET, issue(actor('dora'), 1n)), 'E_EXISTENTIAL');
  assert.equal(code(FAUCET, issue(alice, 1n << 63n)), 'E_OVERFLOW');
  assert.equal(code(FAUCET, issue(alice, (1n << 63n) - 10n * CREDIT)), 'OK');
  assert.equal(code(FAUCET, issue(alice, 1n)), 'E_OVERFLOW');

  assert.equal(code(alice, retire(0n)), 'E_AMOUNT');
  assert.equal(code(alice, retire(1n, 9)), 'E_ASSET');
  assert.equal(code(bob, retire(2n)), 'E_BALANCE');
  assert.equal(code(alice, retire(CREDIT)), 'OK');
  const totals = totalsOf(world).assets[0]?.[1];
  assert.equal(totals?.issued, 1n << 63n);
  assert.equal(totals?.retired, CREDIT);
});

test('CHAIN-33 E_EXISTENTIAL: neither giving away nor retiring may empty an account that holds nothing else', () => {
  const world = createWorld();
  const alice = actor('alice');
  world.ok(FAUCET, [issue(alice, CREDIT)]);
  const run = (op: Op): string => world.run(alice, [op], { feePayer: FAUCET }).codeName;
  assert.equal(run(retire(CREDIT)), 'E_EXISTENTIAL');
  assert.equal(run(transferCredit(FAUCET, CREDIT)), 'E_EXISTENTIAL');
  assert.equal(run(transferCredit(FAUCET, (CREDIT * 9n) / 10n)), 'OK');
});

test('CHAIN-40 CHAIN-45: opening, depositing, withdrawing and closing a channel, with every code', () => {
  const world = createWorld();
  registerModel(world);
  const payer = funded(world, 'payer', 10n * OPG, 10n * CREDIT);
  const stranger = funded(world, 'stranger');
  const node = registerNode(world, funded(world, 'operator', 50_000n * OPG));
  const open = (amount: bigint, asset = USDC): Op => ({
    kind: 'open-channel',
    asset,
    amount: credit(amount),
  });
  const code = (by: Actor, ...ops: Op[]): string => world.run(by, ops).codeName;
  assert.equal(code(payer, open(CREDIT, 9)), 'E_ASSET');
  assert.equal(code(payer, open(CREDIT - 1n)), 'E_AMOUNT');
  assert.equal(code(payer, open(11n * CREDIT)), 'E_BALANCE');
  assert.equal(code(payer, open(CREDIT), open(CREDIT)), 'E_CHANNEL');
  const { channelId } = openChannel(world, payer, [node], { deposit: 2n * CREDIT, allocate: CREDIT });
  const deposit = (amount: bigint): Op => ({ kind: 'deposit', channelId, amount: credit(amount) });
  const withdraw = (amount: bigint): Op => ({ kind: 'withdraw-free', channelId, amount: credit(amount) });
  const close: Op = { kind: 'close-channel', channelId };
  for (const op of [deposit(CREDIT), withdraw(1n), close])
    assert.equal(code(stranger, op), 'E_SENDER', op.kind);
  assert.equal(
    code(payer, { kind: 'deposit', channelId: new Uint8Array(32), amount: credit(1n) }),
    'E_CHANNEL',
  );
  assert.equal(code(payer, deposit(0n)), 'E_AMOUNT');
  assert.equal(code(payer, deposit(9n * CREDIT)), 'E_BALANCE');
  assert.equal(code(payer, deposit(CREDIT)), 'OK');
  assert.equal(code(payer, withdraw(0n)), 'E_AMOUNT');
  assert.equal(code(payer, withdraw(3n * CREDIT)), 'E_BALANCE');
  assert.equal(code(payer, close), 'E_NOT_EMPTY');
  assert.equal(code(payer, withdraw(2n * CREDIT)), 'OK');
  assert.equal(code(payer, close), 'E_NOT_EMPTY', 'the allocation is still there');
  const version = allocationOf(world, channelId, node.nodeId)?.version ?? 0;
  world.ok(payer, [releaseOp(channelId, node, CREDIT, version, world.height() + 5)]);
  world.ok(payer, [withdraw(CREDIT)]);
  assert.equal(code(payer, close), 'OK');
  assert.equal(channelOf(world, channelId), undefined);
  assert.equal(world.read(sessionRecordCodec, recordKey.session(channelId, 0)), undefined);
  assert.equal(creditBalance(world, payer), 10n * CREDIT);
  assert.equal(code(payer, deposit(1n)), 'E_CHANNEL');
});

test('attack 50 CHAIN-40: a channel that was closed never comes back under its name', () => {
  const world = createWorld();
  const payer = funded(world, 'payer');
  const first = openChannel(world, payer, []);
  world.ok(payer, [{ kind: 'withdraw-free', channelId: first.channelId, amount: credit(100n * CREDIT) }]);
  world.ok(payer, [{ kind: 'close-channel', channelId: first.channelId }]);
  const second = openChannel(world, payer, []);
  assert.notDeepEqual(second.channelId, first.channelId);
  assert.notEqual(accountOf(world, payer), undefined);
});

test('CHAIN-41 E_SESSION: slots, expiries and revocation', () => {
  const { world, payer, channel } = market();
  const { channelId } = channel;
  const register = (session: number, expiryHeight: number): Op => ({
    kind: 'register-session',
    channelId,
    session,
    publicKey: sessionSigner(payer, session).publicKey,
    expiryHeight,
  });
  const code = (op: Op): string => world.run(payer, [op]).codeName;
  const revoke = (session: number): Op => ({ kind: 'revoke-session', channelId, session });
  assert.equal(code(register(0, world.height() + 20)), 'E_SESSION', 'the slot is in use');
  assert.equal(code(register(1, world.height() + 1)), 'E_SESSION', 'expired already');
  assert.equal(code(register(1, world.height() + 202)), 'E_SESSION', 'too long');
  assert.equal(code(revoke(1)), 'E_SESSION', 'nothing to revoke');
  assert.equal(code(register(1, world.height() + 3)), 'OK');
  world.skip(1);
  assert.equal(code(register(1, world.height() + 20)), 'E_SESSION', 'at its expiry height');
  assert.equal(code(register(1, world.height() + 20)), 'OK', 'after it');
  assert.equal(code(revoke(0)), 'OK');
  const revokedAt = world.height();
  assert.equal(code(revoke(0)), 'E_SESSION', 'again');
  world.skip(revokedAt + 15 - world.height());
  assert.equal(code(register(0, world.height() + 20)), 'E_SESSION', 'vouchers are still redeemable');
  assert.equal(code(register(0, world.height() + 20)), 'OK');
  assert.equal(channelOf(world, channelId)?.sessions, 2);
  for (let slot = 2; slot < 16; slot++) assert.equal(code(register(slot, world.height() + 20)), 'OK');
  assert.equal(world.run(actor('operator'), [register(2, world.height() + 9)]).codeName, 'E_SENDER');
});

test('CHAIN-42: allocating, with every code', () => {
  const { world, node, payer, channel } = market({ params: { allocationsPerChannelMax: 2 } });
  const { channelId } = channel;
  const other = registerNode(world, funded(world, 'other operator', 50_000n * OPG));
  const third = registerNode(world, funded(world, 'third operator', 50_000n * OPG));
  const allocate = (to: TestNode | null, amount: bigint): Op => ({
    kind: 'allocate',
    channelId,
    nodeId: to?.nodeId ?? new Uint8Array(32),
    amount: credit(amount),
  });
  const code = (op: Op, by: Actor = payer): string => world.run(by, [op]).codeName;
  assert.equal(code(allocate(null, CREDIT)), 'E_NODE');
  assert.equal(code(allocate(other, 0n)), 'E_AMOUNT');
  assert.equal(code(allocate(node, 0n)), 'E_AMOUNT', 'nothing on top of something');
  assert.equal(code(allocate(other, 49_999_999n)), 'E_AMOUNT', 'below the minimum in all');
  assert.equal(code(allocate(node, 1n)), 'OK', 'a top-up may be small');
  assert.equal(code(allocate(other, 91n * CREDIT)), 'E_BALANCE');
  assert.equal(code(allocate(other, CREDIT), node.operator), 'E_SENDER');
  assert.equal(code(allocate(other, CREDIT)), 'OK');
  assert.equal(code(allocate(third, CREDIT)), 'E_ALLOCATION');
  world.ok(other.operator, [{ kind: 'unbond-node', nodeId: other.nodeId, amount: nopg(4_000n * OPG) }]);
  assert.equal(code(allocate(other, CREDIT)), 'E_NODE', 'a node that is leaving');
});

test('CHAIN-42 E_OVERFLOW attack 52: an allocation that is paid and topped up for ever stops at 2^64', () => {
  const { world, node, key, payer, channel } = market();
  const half = 1n << 62n;
  const payout = payoutOf(node.operator);
  world.ok(FAUCET, [issue(payer, half), transferOpg(payout, 100n * OPG)]);
  const allocate: Op = {
    kind: 'allocate',
    channelId: channel.channelId,
    nodeId: node.nodeId,
    amount: credit(half),
  };
  let mark = 0n;
  for (let round = 0; round < 4; round++) {
    world.ok(payer, [{ kind: 'deposit', channelId: channel.channelId, amount: credit(half) }]);
    if (round === 3) break;
    world.ok(payer, [allocate]);
    const lane = line(channel, round, [round + 1, round + 1], [0n, half]);
    const lie = round < 1 ? key : openKey(world, node);
    const at = round < 1 ? lane : line(channel, round, [1, 1], [0n, half]);
    const paid = settle(world, lie, 1, half, [at], [voucher(world, channel, lie, round, half)]);
    assert.deepEqual(lineCodes(paid), ['OK']);
    world.ok(payout, [transferCredit(payer, half)]);
    mark += half;
  }
  assert.equal(allocationOf(world, channel.channelId, node.nodeId)?.paid, mark);
  assert.equal(world.run(payer, [allocate]).codeName, 'E_OVERFLOW');
  assert.equal(channelOf(world, channel.channelId)?.free, half + 90n * CREDIT);
});

test('CHAIN-53 E_INTERNAL: claims that no record can hold open no key, and the chain goes on', () => {
  for (const claims of [
    { facts: new Uint8Array(4_097) },
    { endMs: Number.POSITIVE_INFINITY },
    { claimsDigest: new Uint8Array(31) },
  ]) {
    const world = createWorld({
      allowInternal: true,
      appraise: (envelope, expected, crypto) => {
        const result = appraiseTest(envelope, expected, crypto);
        return { ...result, claims: result.claims && { ...result.claims, ...claims } };
      },
    });
    registerModel(world);
    const node = registerNode(world, funded(world, 'operator', 50_000n * OPG));
    const { codeName } = world.run(node.operator, [openKeyOp(world, node, { method: 'tee' }).op]);
    assert.ok(codeName === 'E_INTERNAL' || codeName === 'E_MALFORMED', codeName);
    assert.deepEqual(nodeOf(world, node.nodeId).keys, []);
  }
});

test('attack 44 CHAIN-43: a release lands once, not for another version, amount, expiry or signer, and not after re-creation', () => {
  const { world, node, payer, channel } = market();
  const { channelId } = channel;
  const version = (): number => allocationOf(world, channelId, node.nodeId)?.version ?? 0;
  const code = (op: Op): string => world.run(payer, [op]).codeName;
  const good = releaseOp(channelId, node, 4n * CREDIT, version(), world.height() + 20);
  assert.equal(code({ ...good, amount: credit(5n * CREDIT) }), 'E_SIG');
  assert.equal(code({ ...good, expiry: good.expiry + 1 }), 'E_SIG');
  assert.equal(code({ ...good, operatorSignature: new Uint8Array(64) }), 'E_SIG');
  assert.equal(
    code(releaseOp(channelId, node, 4n * CREDIT, version(), world.height() + 9, payer.signer)),
    'E_SIG',
  );
  assert.equal(code({ ...good, allocationVersion: good.allocationVersion + 1 }), 'E_VERSION');
  assert.equal(code(releaseOp(channelId, node, 0n, version(), world.height() + 9)), 'E_AMOUNT');
  assert.equal(code(releaseOp(channelId, node, 11n * CREDIT, version(), world.height() + 9)), 'E_WITHDRAW');
  assert.equal(code(releaseOp(channelId, node, CREDIT, version(), world.height())), 'E_EXPIRED');
  assert.equal(world.run(node.operator, [good]).codeName, 'E_SENDER');
  assert.equal(code(good), 'OK');
  assert.equal(code(good), 'E_VERSION', 'again');
  assert.equal(channelOf(world, channelId)?.free, 94n * CREDIT);
  const held = releaseOp(channelId, node, 6n * CREDIT, version(), world.height() + 40);
  world.ok(payer, [releaseOp(channelId, node, 6n * CREDIT, version(), world.height() + 40)]);
  assert.equal(allocationOf(world, channelId, node.nodeId), undefined);
  assert.equal(code(held), 'E_ALLOCATION', 'the row is gone');
  world.ok(payer, [{ kind: 'allocate', channelId, nodeId: node.nodeId, amount: credit(10n * CREDIT) }]);
  assert.equal(code(held), 'E_VERSION', 'the row was made anew');
});

test('attack 3 CHAIN-44 E_WITHDRAW: the withdrawal timer, its replacement, and finalizing by anybody', () => {
  const { world, node, payer, channel } = market();
  const stranger = funded(world, 'stranger');
  const ids = { channelId: channel.channelId, nodeId: node.nodeId };
  const request = (amount: bigint): Op => ({ kind: 'request-withdraw', ...ids, amount: credit(amount) });
  const finalize: Op = { kind: 'finalize-withdraw', ...ids };
  const code = (op: Op, by: Actor = payer): string => world.run(by, [op]).codeName;
  assert.equal(code(request(0n)), 'E_AMOUNT');
  assert.equal(code(request(11n * CREDIT)), 'E_WITHDRAW');
  assert.equal(code(request(CREDIT), stranger), 'E_SENDER', 'attack 38');
  assert.equal(code({ ...request(CREDIT), nodeId: new Uint8Array(32) } as Op), 'E_ALLOCATION');
  const idle = world.ok(stranger, [finalize]);
  assert.equal(attribute(idle, 'no-op', 'code'), 'E_WITHDRAW');
  assert.equal(code(request(2n * CREDIT)), 'OK');
  world.skip(10);
  assert.equal(code(request(3n * CREDIT)), 'OK', 'a newer request has a fresh timer');
  const readyAt = world.height() + 16;
  assert.equal(allocationOf(world, ids.channelId, ids.nodeId)?.readyAt, readyAt);
  world.skip(14);
  assert.equal(code(finalize, stranger), 'E_WITHDRAW');
  assert.equal(code(finalize, stranger), 'OK');
  assert.equal(world.height(), readyAt);
  assert.equal(
    channelOf(world, ids.channelId)?.free,
    93n * CREDIT,
    'to the channel, whoever sent it (attack 38)',
  );
  assert.equal(creditBalance(world, stranger), 1_000n * CREDIT);
  assert.equal(attribute(world.ok(payer, [finalize]), 'no-op', 'code'), 'E_WITHDRAW');
  assert.equal(world.ok(payer, [{ ...finalize, channelId: new Uint8Array(32) } as Op]).codeName, 'OK');
});

test('CHAIN-44: what was redeemed meanwhile is not withdrawn', () => {
  const { world, node, key, payer, channel } = market();
  const ids = { channelId: channel.channelId, nodeId: node.nodeId };
  world.ok(payer, [{ kind: 'request-withdraw', ...ids, amount: credit(8n * CREDIT) }]);
  settle(
    world,
    key,
    1,
    4n * CREDIT,
    [line(channel, 0, [1, 1], [0n, 4n * CREDIT])],
    [voucher(world, channel, key, 0, 4n * CREDIT)],
  );
  assert.equal(allocationOf(world, ids.channelId, ids.nodeId)?.withdrawing, 6n * CREDIT);
  world.skip(16);
  world.ok(payer, [{ kind: 'finalize-withdraw', ...ids }]);
  assert.equal(allocationOf(world, ids.channelId, ids.nodeId), undefined);
  assert.equal(channelOf(world, ids.channelId)?.free, 96n * CREDIT);
  assert.equal(channelOf(world, ids.channelId)?.allocations, 0);
});

test('CHAIN-50: models and nodes, with every code', () => {
  const world = createWorld();
  const operator = funded(world, 'operator', 20_000n * OPG);
  const stranger = funded(world, 'stranger');
  const code = (by: Actor, ...ops: Op[]): string => world.run(by, ops).codeName;
  assert.equal(code(stranger, { kind: 'register-model', manifest: MODEL }), 'OK');
  assert.equal(code(operator, { kind: 'register-model', manifest: MODEL }), 'E_MODEL');
  const doubled = { ...MODEL, methods: ['tee', 'tee'] as const };
  assert.equal(code(operator, { kind: 'register-model', manifest: doubled }), 'E_MODEL');
  const register = (bond: bigint): Op => ({
    kind: 'register-node',
    name: 'n',
    endpoint: 'http://n',
    payout: operator.id,
    bond: nopg(bond),
  });
  assert.equal(code(operator, register(4_999n * OPG)), 'E_BOND');
  assert.equal(code(operator, register(30_000n * OPG)), 'E_BALANCE');
  assert.equal(code(operator, register(5_000n * OPG), register(5_000n * OPG)), 'E_NODE');
  const { nodeId } = registerNode(world, operator);
  const update: Op = {
    kind: 'update-node',
    nodeId,
    name: 'new',
    endpoint: 'http://new',
    payout: stranger.id,
  };
  const bond = (amount: bigint): Op => ({ kind: 'bond-node', nodeId, amount: nopg(amount) });
  const unbond = (amount: bigint): Op => ({ kind: 'unbond-node', nodeId, amount: nopg(amount) });
  for (const op of [update, bond(OPG), unbond(OPG)]) assert.equal(code(stranger, op), 'E_SENDER', op.kind);
  assert.equal(code(operator, { ...update, nodeId: new Uint8Array(32) } as Op), 'E_NODE');
  assert.equal(code(operator, update), 'OK');
  assert.equal(nodeOf(world, nodeId).name, 'new');
  assert.equal(code(operator, bond(0n)), 'E_AMOUNT');
  assert.equal(code(operator, bond(20_000n * OPG)), 'E_BALANCE');
  assert.equal(code(operator, bond(OPG)), 'OK');
  assert.equal(code(operator, unbond(0n)), 'E_AMOUNT');
  assert.equal(code(operator, unbond(6_002n * OPG)), 'E_BOND');
  assert.equal(nodeOf(world, nodeId).bond, 6_001n * OPG);
  assert.equal(totalsOf(world).nodeBond, 6_001n * OPG);
});

test('CHAIN-51 attack 22: unbonding waits for height and block time, both, and pays the operator back', () => {
  for (const [blockMs, dueAfter] of [
    [1_000, 42],
    [500, 42 + 21 + 11 + 5 + 3 + 1 + 1],
    [5_000, 42],
  ] as const) {
    const world = createWorld({ blockMs });
    const operator = funded(world, 'operator', 20_000n * OPG);
    const { nodeId } = registerNode(world, operator);
    const before = accountOf(world, operator)?.nopg ?? 0n;
    const { gasUsed } = world.ok(operator, [{ kind: 'unbond-node', nodeId, amount: nopg(6_000n * OPG) }]);
    const since = world.height();
    const paid = before - BigInt(gasUsed) * 2_000n;
    let waited = 0;
    while (nodeOf(world, nodeId).unbonding > 0n && waited < 200) {
      assert.equal(accountOf(world, operator)?.nopg, paid);
      world.block();
      waited++;
    }
    assert.ok(world.height() - since >= 42 && (world.height() - since) * blockMs >= 42_000);
    assert.ok(waited <= dueAfter, `${waited} blocks of ${blockMs} ms`);
    assert.equal(accountOf(world, operator)?.nopg, paid + 6_000n * OPG);
    assert.deepEqual(nodeOf(world, nodeId).unbondingDue, []);
  }
});

test('CHAIN-51 E_BOND: at most 7 entries at a time; those of one block are one', () => {
  const world = createWorld();
  const operator = funded(world, 'operator', 20_000n * OPG);
  const { nodeId } = registerNode(world, operator, 10_000n * OPG);
  const unbond: Op = { kind: 'unbond-node', nodeId, amount: nopg(OPG) };
  world.ok(operator, [unbond, unbond]);
  const due = nodeOf(world, nodeId).unbondingDue[0] as number;
  assert.equal(world.read(unbondingRecordCodec, recordKey.unbonding(nodeId, due))?.amount, 2n * OPG);
  for (let i = 0; i < 6; i++) world.ok(operator, [unbond]);
  assert.equal(world.run(operator, [unbond]).codeName, 'E_BOND');
  assert.equal(nodeOf(world, nodeId).unbonding, 8n * OPG);
  world.skip(60);
  assert.equal(nodeOf(world, nodeId).unbonding, 0n);
  assert.equal(world.run(operator, [unbond]).codeName, 'OK');
});

test('CHAIN-51 CHAIN-54: a bond below half the minimum closes all keys of the node', () => {
  const { world, node, key } = market();
  const second = openKey(world, node);
  world.ok(node.operator, [{ kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(3_500n * OPG) }]);
  assert.equal(keyOf(world, key.keyId).closingAt, undefined, 'exactly half is enough');
  world.ok(node.operator, [{ kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(1n) }]);
  for (const { keyId } of [key, second]) assert.equal(keyOf(world, keyId).closingAt, world.height());
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'OK', 'what was served before can still be settled');
  assert.equal(world.run(node.operator, [openKeyOp(world, node).op]).codeName, 'E_BOND');
});

test('CHAIN-9: after a block that paid gas the state has every block hash that execution can ask for, and no other', () => {
  const { world, node } = market();
  const { settleWindow } = world.ctx.config.params;
  const kept = (height: number) => {
    const record = world.read(recentBlockRecordCodec, recordKey.recentBlock(height, settleWindow));
    return record?.height === height ? record.hash : undefined;
  };
  for (const idle of [0, 1, settleWindow, 3 * settleWindow]) {
    world.skip(idle);
    const before = new Map(world.state);
    world.block([]);
    assert.deepEqual(world.state, before, 'a block without transactions leaves the state alone');
    world.ok(node.operator, [{ kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(1n) }]);
    const height = world.height();
    for (let i = 0; i < settleWindow; i++) assert.deepEqual(kept(height - i), blockHashOf(height - i));
    assert.equal(kept(height - settleWindow), undefined);
    // The world throws where execution asks for a hash that the state holds: each height of the window is accepted.
    for (let age = 0; age < settleWindow; age++) {
      const refHeight = world.height() - age;
      const binding = { refHeight, refBlockHash: blockHashOf(refHeight) };
      const { op } = openKeyOp(world, node, { binding });
      assert.equal(world.run(node.operator, [op]).codeName, 'OK', `${age} blocks old`);
      const { op: other } = openKeyOp(world, node, { binding: { ...binding, refBlockHash: blockHashOf(0) } });
      assert.equal(world.run(node.operator, [other]).codeName, 'E_FRESHNESS');
    }
    world.skip(60);
  }
});

test('CHAIN-52: opening a key, with every code', () => {
  const { world, node, payer } = market();
  const other = registerNode(world, funded(world, 'other operator', 50_000n * OPG));
  const code = (options: OpenKeyOptions, by: Actor = node.operator): string =>
    world.run(by, [openKeyOp(world, node, options).op]).codeName;
  const height = (): number => world.height();
  assert.equal(code({ binding: { chainId: 'haca-other-1' } }), 'E_CHAIN');
  assert.equal(code({ method: 'zk' }), 'E_MODEL', 'without its one model');
  assert.equal(code({}, other.operator), 'E_SENDER');
  assert.equal(code({ binding: { operator: payer.id } }), 'E_SENDER');
  assert.equal(code({ epoch: 1 }), 'E_EPOCH');
  assert.equal(code({ binding: { refHeight: height() + 1 } }), 'E_FRESHNESS', 'this very block');
  assert.equal(code({ binding: { refBlockHash: new Uint8Array(32) } }), 'E_FRESHNESS');
  const stale = { refHeight: height() - 3, refBlockHash: blockHashOf(height() - 3) };
  assert.equal(code({ binding: stale }), 'E_FRESHNESS', 'older than settleWindow');
  const unknown = sha256(utf8Encode('unknown model'));
  assert.equal(
    code({ op: { modelIds: [unknown] }, binding: { modelSetRoot: merkleRoot([merkleLeafHash(unknown)]) } }),
    'E_MODEL',
  );
  const leaf = merkleLeafHash(MODEL_ID);
  const twice = {
    op: { modelIds: [MODEL_ID, MODEL_ID] },
    binding: { modelSetRoot: merkleRoot([leaf, leaf]) },
  };
  assert.equal(code(twice), 'E_MODEL', 'one model twice, whatever the root');
  assert.equal(code({ op: { modelId: MODEL_ID } }), 'E_MODEL');
  assert.equal(code({ binding: { modelSetRoot: new Uint8Array(32) } }), 'E_MODEL');
  assert.equal(code({ op: { possession: new Uint8Array(64) } }), 'E_SIG');
  assert.equal(
    code({ method: 'signed', op: { evidence: { kind: 'nitro', document: MODEL_ID } } }),
    'E_METHOD',
  );
  assert.equal(code({ method: 'tee', op: { evidence: null } }), 'E_EVIDENCE');
  assert.equal(code({}), 'OK');
  const { op } = openKeyOp(world, node);
  const register: OpOf<'register-node'> = {
    kind: 'register-node',
    name: 'x',
    endpoint: 'http://x',
    payout: payer.id,
    bond: nopg(5_000n * OPG),
  };
  const stranger = world.run(other.operator, [op, register]);
  assert.equal(stranger.codeName, 'E_SENDER', 'as class G too');
});

test('CHAIN-52 E_METHOD: a model that does not allow the method', () => {
  const world = createWorld();
  const operator = funded(world, 'operator', 50_000n * OPG);
  const manifest = { ...MODEL, methods: ['tee'] as const };
  world.ok(operator, [{ kind: 'register-model', manifest }]);
  const node = registerNode(world, operator);
  const models = world.outputs.flatMap(({ results }) =>
    results.map((r) => attribute(r, 'register-model', 'modelId')),
  );
  const modelId = Uint8Array.from(Buffer.from(models.find((id) => id !== undefined) ?? '', 'hex'));
  const { op } = openKeyOp(world, node, {
    op: { modelIds: [modelId] },
    binding: { modelSetRoot: merkleRoot([merkleLeafHash(modelId)]) },
  });
  assert.equal(world.run(operator, [op]).codeName, 'E_METHOD');
});

test('CHAIN-52 E_KEY: at most 16 live and 64 keys that are not drained', () => {
  const { world, node } = market({
    audit: false,
    params: { keyTtl: 400, keyDrain: 300, gasTarget: 5_000_000 },
  });
  for (let i = 1; i < 16; i++) openKey(world, node);
  assert.equal(world.run(node.operator, [openKeyOp(world, node).op]).codeName, 'E_KEY');
  const rotate = (): string => {
    const [oldest] = nodeOf(world, node.nodeId).keys.filter((id) => keyOf(world, id).closingAt === undefined);
    world.ok(node.operator, [{ kind: 'close-key', keyId: oldest as Uint8Array }]);
    return world.run(node.operator, [openKeyOp(world, node).op]).codeName;
  };
  for (let i = 16; i < 64; i++) assert.equal(rotate(), 'OK', `${i}`);
  assert.equal(nodeOf(world, node.nodeId).keys.length, 64);
  assert.equal(rotate(), 'E_KEY');
});

test('CHAIN-53: evidence is appraised with what the chain expects, and refused with the code of what failed', () => {
  const world = createWorld();
  registerModel(world);
  const node = registerNode(world, funded(world, 'operator', 50_000n * OPG));
  const code = (text: string): string => {
    const evidence = { kind: 'nitro' as const, document: utf8Encode(text) };
    return world.run(node.operator, [openKeyOp(world, node, { method: 'tee', op: { evidence } }).op])
      .codeName;
  };
  assert.equal(code('measurement'), 'E_MEASUREMENT');
  assert.equal(code('timestamp.age'), 'E_FRESHNESS');
  assert.equal(code('timestamp.future'), 'E_FRESHNESS');
  assert.equal(code('chain.signature'), 'E_EVIDENCE');
  const key = openKey(world, node, { method: 'tee' });
  const { evidence } = keyOf(world, key.keyId);
  assert.equal(evidence?.simulated, true);
  assert.equal(keyEvidenceOf(world, key.keyId)?.measurement, 'test');
  assert.equal(evidence?.endMs, world.timeMs() + 30_000);
});

test('CHAIN-53 E_EVIDENCE: no verifier, claims of a test enclave on a real network, and evidence that is over', () => {
  const genuine = testGenesis(SHORT_PARAMS, false);
  for (const appraise of [
    refuseAllEvidence.appraise,
    ((envelope, expected, crypto) => {
      const result = appraiseTest(envelope, expected, crypto);
      return { ...result, claims: result.claims && { ...result.claims, simulated: true } };
    }) satisfies typeof appraiseTest,
    ((envelope, expected, crypto) => {
      const result = appraiseTest(envelope, expected, crypto);
      return {
        ...result,
        claims: result.claims && { ...result.claims, simulated: false, endMs: expected.nowMs },
      };
    }) satisfies typeof appraiseTest,
    ((envelope, expected, crypto) => ({
      ...appraiseTest(envelope, expected, crypto),
      claims: null,
    })) satisfies typeof appraiseTest,
  ]) {
    const world = createWorld({ genesis: genuine, appraise });
    registerModel(world);
    const node = registerNode(world, funded(world, 'operator', 50_000n * OPG));
    const { op } = openKeyOp(world, node, { method: 'tee' });
    assert.equal(world.run(node.operator, [op]).codeName, 'E_EVIDENCE');
  }
});

test('CHAIN-54 E_KEY E_SENDER: closing and abandoning; the first closing and the first stop stay', () => {
  const { world, node, key, payer } = market();
  const close: Op = { kind: 'close-key', keyId: key.keyId };
  const abandon: Op = { kind: 'abandon-key', keyId: key.keyId };
  const mixed = (op: Op): Op[] => [op, transferOpg(FAUCET, OPG)];
  for (const op of [close, abandon]) assert.equal(world.run(payer, mixed(op)).codeName, 'E_SENDER');
  const unknown: Op = { kind: 'close-key', keyId: new Uint8Array(32) };
  assert.equal(world.run(node.operator, mixed(unknown)).codeName, 'E_KEY');
  world.ok(node.operator, [close]);
  const closingAt = world.height();
  assert.equal(world.run(node.operator, [close]).codeName, 'E_KEY');
  world.ok(node.operator, [abandon]);
  assert.equal(world.run(node.operator, [abandon]).codeName, 'E_KEY');
  const row = keyOf(world, key.keyId);
  assert.equal(row.closingAt, closingAt);
  assert.equal(row.stop, 'abandoned');
  assert.equal(keyPhase(row, closingAt + 1, world.ctx.config.params), 'stopped');
  assert.equal(keyPhase(row, closingAt + 22, world.ctx.config.params), 'drained');
  world.skip(25);
  assert.equal(world.run(node.operator, [abandon]).codeName, 'E_KEY', 'drained');
});

test('CHAIN-55 CHAIN-54: a key closes by itself, its lanes are swept when it is drained and its row at the end', () => {
  const { world, node, key, channel } = market();
  const openedAt = keyOf(world, key.keyId).openedAt;
  settle(
    world,
    key,
    3,
    3n * CREDIT,
    [0, 5, 63].map((lane) => line(channel, lane, [1, 3], [0n, CREDIT])),
    [0, 5, 63].map((lane) => voucher(world, channel, key, lane, CREDIT)),
  );
  assert.equal(nodeOf(world, node.nodeId).laneRows, 3);
  world.skip(openedAt + 40 + 22 - 1 - world.height());
  assert.equal(nodeOf(world, node.nodeId).laneRows, 3);
  const swept = world.block();
  assert.ok(swept.changes.length > 0);
  assert.equal(nodeOf(world, node.nodeId).laneRows, 0);
  assert.equal(laneOf(world, key.keyId, channel.channelId, 5), undefined);
  assert.deepEqual(nodeOf(world, node.nodeId).keys, []);
  assert.notEqual(keyOf(world, key.keyId), undefined, 'evidence is still accepted');
  world.skip(openedAt + 40 + 30 + 8 - 1 - world.height());
  assert.notEqual(keyOf(world, key.keyId), undefined);
  world.block();
  assert.equal(world.read(nodeKeyRecordCodec, recordKey.nodeKey(key.keyId)), undefined);
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY');
  const queued = [...world.state.values()].filter(([record]) => record[0] === 13);
  assert.deepEqual(queued, [], 'nothing is left in the queue');
});

test('CHAIN-55: more lanes than one block sweeps are swept over several', () => {
  const { world, node, key, payer } = market({
    audit: false,
    params: { gasTarget: 20_000_000, keyTtl: 200, keyDrain: 60 },
  });
  settle(world, key, 1, 1_000n * CREDIT);
  const channels = Array.from({ length: 20 }, () =>
    openChannel(world, payer, [node], { deposit: 2n * CREDIT, allocate: CREDIT }),
  );
  for (const channel of channels) {
    const lanes = Array.from({ length: 64 }, (_, lane) => lane);
    const charges = lanes.map((lane) => line(channel, lane, [1, 1], [0n, 1n]));
    const vouchers = lanes.map((lane) => voucher(world, channel, key, lane, 1n));
    const result = settle(world, key, 0, 0n, charges, vouchers);
    assert.ok(lineCodes(result).every((code) => code === 'OK'));
  }
  assert.equal(nodeOf(world, node.nodeId).laneRows, 1_280);
  world.ok(node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
  world.skip(60);
  assert.equal(nodeOf(world, node.nodeId).laneRows, 256);
  assert.equal(nodeOf(world, node.nodeId).keys.length, 1);
  world.skip(1);
  assert.equal(nodeOf(world, node.nodeId).laneRows, 0);
  assert.deepEqual(nodeOf(world, node.nodeId).keys, []);
});

test('CHAIN-55: a height takes 256 pieces of work, the rest is due at the next', () => {
  const world = createWorld({ audit: false, params: { gasTarget: 400_000_000 } });
  const operators = Array.from({ length: 19 }, (_, i) => actor(`operator ${i}`));
  for (const operator of operators) world.ok(FAUCET, [transferOpg(operator, 200_000n * OPG)]);
  const nodes = operators.flatMap((operator) =>
    Array.from({ length: 15 }, () => registerNode(world, operator)),
  );
  const unbonds = nodes.map(({ operator, nodeId }) =>
    world.tx(operator, [{ kind: 'unbond-node', nodeId, amount: nopg(OPG) }]),
  );
  const { results } = world.block(unbonds);
  assert.ok(results.every(({ codeName }) => codeName === 'OK'));
  const due = world.height() + 42;
  assert.equal(world.read(queueRecordCodec, recordKey.queue(due))?.length, 256);
  assert.equal(world.read(queueRecordCodec, recordKey.queue(due + 1))?.length, 285 - 256);
  world.skip(due - world.height());
  assert.equal(totalsOf(world).nodeUnbonding, BigInt(285 - 256) * OPG);
  world.skip(1);
  assert.equal(totalsOf(world).nodeUnbonding, 0n);
});

test('CHAIN-22: the reserve pays an epoch once, in the first block with gas after it, to those who signed enough', () => {
  const genesis = testGenesis();
  const second = ed25519SignerFromSeed(sha256(utf8Encode('second validator'))).publicKey;
  const secondBond = 2_000_000n * OPG;
  const world = createWorld({
    genesis: {
      ...genesis,
      reserveNopg: genesis.reserveNopg - secondBond,
      validators: [
        ...genesis.validators,
        { consensusKey: second, operator: actor('second operator').id, selfBond: secondBond },
      ],
    },
  });
  const address = consensusAddress(second);
  const commit = (...signers: Uint8Array[]) => signers.map((each) => ({ address: each, signed: true }));
  const tx = (): Uint8Array => world.tx(FAUCET, [transferOpg(FAUCET, OPG)]);
  const rewards = (of: Uint8Array): bigint =>
    (world.read(validatorRecordCodec, recordKey.validator(of)) as ValidatorRecord).rewards;
  const reserve = totalsOf(world).reserve;
  world.block([tx()], { lastCommit: commit(PROPOSER, address) });
  world.block([tx()], { lastCommit: commit(PROPOSER) });
  world.block([tx()], { lastCommit: [...commit(PROPOSER), { address, signed: false }] });
  world.skip(6);
  assert.equal(world.height(), 9);
  assert.equal(totalsOf(world).reserve, reserve);
  world.skip(13);
  world.block([tx()], { lastCommit: commit(PROPOSER, address) });
  const payment = reserve / 50_000n;
  assert.equal(totalsOf(world).reserve, reserve - payment);
  assert.equal(rewards(PROPOSER), payment, 'one of three commits is less than half');
  assert.equal(rewards(address), 0n);
  assert.equal(totalsOf(world).rewardedEpoch, 2);
  world.block([tx()], { lastCommit: [] });
  assert.equal(totalsOf(world).reserve, reserve - payment, 'once');
  world.skip(10);
  world.block([tx()], { lastCommit: commit(PROPOSER, address) });
  const next = (reserve - payment) / 50_000n;
  assert.equal(rewards(PROPOSER) - payment, next / 3n, 'half of two is enough, by power');
  assert.equal(rewards(address), (next * 2n) / 3n);
  assert.ok(totalsOf(world).rewards >= rewards(PROPOSER) + rewards(address), 'attack 40: dust stays');
  assert.ok(totalsOf(world).rewards - rewards(PROPOSER) - rewards(address) < 2n);
  const set = world.read(validatorSetRecordCodec, recordKey.validatorSet());
  assert.equal(set?.blocks, 1);
});

test('CHAIN-22: nobody qualifies, nothing is paid', () => {
  const world = createWorld();
  const { reserve } = totalsOf(world);
  for (let i = 0; i < 25; i++) {
    world.block([world.tx(FAUCET, [transferOpg(FAUCET, OPG)])], { lastCommit: [] });
  }
  assert.equal(totalsOf(world).reserve, reserve);
  assert.equal(totalsOf(world).rewardedEpoch, 2);
});

test('attack 52 CHAIN-23: a double sign burns 500 bps once; the last validator with power keeps 1', () => {
  const genesis = testGenesis();
  const second = ed25519SignerFromSeed(sha256(utf8Encode('second validator'))).publicKey;
  const world = createWorld({
    genesis: {
      ...genesis,
      reserveNopg: genesis.reserveNopg - 1_000_000n * OPG,
      validators: [
        ...genesis.validators,
        { consensusKey: second, operator: actor('second operator').id, selfBond: 1_000_000n * OPG },
      ],
    },
  });
  const first = world.block([], { misbehavior: [{ address: consensusAddress(second), height: 1 }] });
  assert.deepEqual(first.validatorUpdates, [{ consensusKey: second, power: 0 }]);
  assert.equal(first.burnedNopg, 50_000n * OPG);
  const again = world.block([], { misbehavior: [{ address: consensusAddress(second), height: 1 }] });
  assert.deepEqual(again.changes, []);
  assert.deepEqual(
    world.block([], { misbehavior: [{ address: new Uint8Array(20), height: 1 }] }).changes,
    [],
  );
  const last = world.block([], { misbehavior: [{ address: PROPOSER, height: 1 }] });
  assert.deepEqual(last.validatorUpdates, [{ consensusKey: VALIDATOR_KEY, power: 1 }]);
  world.block([world.tx(FAUCET, [transferOpg(FAUCET, OPG)])]);
});

test('attack 38: every operation on somebody else’s channel, node or key moves nothing', () => {
  const { world, node, key, channel } = market();
  const thief = funded(world, 'thief', 50_000n * OPG);
  const ids = { channelId: channel.channelId, nodeId: node.nodeId };
  const release = releaseOp(channel.channelId, node, CREDIT, 1, world.height() + 50);
  const attempts: readonly Op[] = [
    { kind: 'deposit', channelId: ids.channelId, amount: credit(CREDIT) },
    {
      kind: 'register-session',
      channelId: ids.channelId,
      session: 3,
      publicKey: thief.key.publicKey,
      expiryHeight: world.height() + 20,
    },
    { kind: 'revoke-session', channelId: ids.channelId, session: 0 },
    { kind: 'allocate', ...ids, amount: credit(CREDIT) },
    release,
    { kind: 'request-withdraw', ...ids, amount: credit(CREDIT) },
    { kind: 'withdraw-free', channelId: ids.channelId, amount: credit(CREDIT) },
    { kind: 'close-channel', channelId: ids.channelId },
    { kind: 'update-node', nodeId: node.nodeId, name: 'x', endpoint: 'x', payout: thief.id },
    { kind: 'bond-node', nodeId: node.nodeId, amount: nopg(OPG) },
    { kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(OPG) },
    { kind: 'close-key', keyId: key.keyId },
    { kind: 'abandon-key', keyId: key.keyId },
    openKeyOp(world, node).op,
  ];
  for (const op of attempts) {
    assert.equal(world.run(thief, [op]).codeName, 'E_SENDER', op.kind);
    assert.equal(
      world.run(thief, [op, transferOpg(FAUCET, OPG)]).codeName,
      'E_SENDER',
      `${op.kind} in class G`,
    );
  }
  assert.equal(creditBalance(world, thief), 1_000n * CREDIT);
});

test('CHAIN-1: what genesis fixed is in the state', () => {
  const world = createWorld();
  assert.equal(world.ctx.config.chainId, CHAIN);
  assert.deepEqual(world.ctx.config.params, SHORT_PARAMS);
  const { validators } = applyGenesis(testGenesis(), CHAIN, 0);
  assert.deepEqual(validators, [{ consensusKey: VALIDATOR_KEY, power: 1_000 }]);
  assert.deepEqual(channelIdOf(CHAIN, FAUCET.id, USDC, 0), channelIdOf(CHAIN, FAUCET.id, USDC, 0));
});
