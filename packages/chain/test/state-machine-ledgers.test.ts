import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { credit, nopg, type Op, tableOf } from '@haca/protocol';
import {
  checkInvariants,
  consensusAddress,
  runningViolations,
  transitionViolations,
} from '../src/state-machine/index.ts';
import {
  CREDIT,
  consensusSigner,
  FAUCET,
  funded,
  LEDGER_OF,
  line,
  market,
  OPG,
  PROPOSER,
  registerNode,
  registerOp,
  releaseOp,
  settle,
  totalsOf,
  USDC,
  voucher,
  type World,
} from './state-machine-world.ts';
import { laneLine, openedClaim, proveOp, voucherFor, zkMarket } from './zk-world.ts';

const source = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../src/state-machine', name), 'utf8');

test('CHAIN-31: the two ledgers do not know each other, and nobody else writes totals of a slot', () => {
  assert.doesNotMatch(source('opg-ledger.ts'), /credit/i);
  assert.doesNotMatch(source('credit-ledger.ts'), /nopg|opg-ledger/i);
  for (const name of ['channels', 'registry', 'keys', 'settle', 'staking', 'transfers']) {
    assert.doesNotMatch(source(`ops/${name}.ts`), /putTotals|\.post\(/, name);
  }
});

/** A validator beside the first, which bonds, unbonds and claims what an epoch paid. */
function stake(world: World): void {
  const operator = funded(world, 'validator a', 2_000_000n * OPG, 0n);
  const signer = consensusSigner('a');
  const validator = consensusAddress(signer.publicKey);
  world.ok(operator, [registerOp(operator, signer, 200_000n * OPG)]);
  world.ok(operator, [{ kind: 'bond-validator', validator, amount: nopg(OPG) }]);
  world.ok(operator, [{ kind: 'unbond-validator', validator, amount: nopg(OPG) }]);
  const lastCommit = [PROPOSER, validator].map((address) => ({ address, signed: true }));
  const { epochLength } = world.ctx.config.params;
  for (let i = 0; i < 2 * epochLength; i++) {
    world.block([world.tx(FAUCET, [{ kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) }])], {
      lastCommit,
    });
  }
  world.ok(operator, [{ kind: 'claim-rewards', validator }]);
}

test('CHAIN-30 CHAIN-31: every kind of step that moves money posts, and posts in its own ledger only', () => {
  const { world, node, key, payer, channel } = market();
  const { channelId } = channel;
  const { nodeId } = node;
  registerNode(world, funded(world, 'another', 50_000n * OPG));
  const version = 1;
  const byPayer: readonly Op[] = [
    { kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) },
    { kind: 'transfer-credit', to: FAUCET.id, asset: USDC, amount: credit(CREDIT) },
    { kind: 'retire', asset: USDC, amount: credit(CREDIT) },
    { kind: 'deposit', channelId, amount: credit(CREDIT) },
    releaseOp(channelId, node, CREDIT, version, world.height() + 20),
    { kind: 'request-withdraw', channelId, nodeId, amount: credit(CREDIT) },
    { kind: 'withdraw-free', channelId, amount: credit(CREDIT) },
  ];
  for (const op of byPayer) world.ok(payer, [op]);
  const lane = line(channel, 0, [1, 1], [0n, CREDIT]);
  settle(world, key, 1, CREDIT, [lane], [voucher(world, channel, key, 0, CREDIT)]);
  world.ok(node.operator, [{ kind: 'bond-node', nodeId, amount: nopg(OPG) }]);
  world.ok(node.operator, [{ kind: 'unbond-node', nodeId, amount: nopg(OPG) }]);
  stake(world);
  world.block([], { misbehavior: [{ address: PROPOSER, height: 1 }] });
  world.skip(50);
  world.ok(payer, [{ kind: 'finalize-withdraw', channelId, nodeId }]);
  const provable = zkLife();
  const seen = new Set(
    [...world.outputs, ...provable.outputs].flatMap(({ postings }) =>
      (postings ?? []).map(({ step }) => step),
    ),
  );
  const missing = Object.keys(LEDGER_OF).filter((step) => !seen.has(step as never));
  assert.deepEqual(missing, [], 'the blocks of a world are held against LEDGER_OF; these never posted');
});

/** One claim proved and paid, one with a bad proof, one expired. */
function zkLife(): World {
  const { world, key, channel, node } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const redeeming = {
    charges: [laneLine(key, channel, 1, 1)],
    vouchers: [voucherFor(world, key, channel, 1)],
  };
  world.ok(node.operator, [proveOp(world, key, claim, {}, redeeming)]);
  const second = openedClaim(world, key, channel, 1);
  const bad = world.run(node.operator, [proveOp(world, key, second, { proof: new Uint8Array(32) })]);
  assert.equal(bad.codeName, 'E_PROOF');
  world.skip(4);
  return world;
}

test('CHAIN-32: a broken sum is seen by the running check, a step the wrong way by the transition check', () => {
  const { world } = market();
  const totals = totalsOf(world);
  assert.deepEqual(runningViolations(totals), []);
  assert.equal(runningViolations({ ...totals, liquid: nopg(totals.liquid + 1n) }).length, 1);
  const assets = totals.assets.map(([id, slots]) => [id, { ...slots, issued: slots.issued + 1n }] as const);
  assert.equal(runningViolations({ ...totals, assets }).length, 1);
  const idle = { baseFee: 0n, gasUsed: 0 };
  assert.deepEqual(transitionViolations(totals, totals, idle), []);
  assert.equal(
    transitionViolations(totals, { ...totals, reserve: nopg(totals.reserve + 1n) }, idle).length,
    1,
  );
  assert.equal(
    transitionViolations(totals, { ...totals, burnedSlash: nopg(0n), burnedFees: nopg(0n) }, idle).length,
    2,
  );
  assert.equal(transitionViolations(totals, { ...totals, assets: [] }, idle).length, 1);
});

test('CHAIN-32: the audit notices when any record that holds or counts money is gone', () => {
  const { world, node, key, channel } = market();
  const lanes = [0, 1].map((lane) => line(channel, lane, [1, 1], [0n, CREDIT]));
  const vouchers = [0, 1].map((lane) => voucher(world, channel, key, lane, CREDIT));
  settle(world, key, 1, 2n * CREDIT, lanes, vouchers);
  world.ok(node.operator, [{ kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(OPG) }]);
  stake(world);
  const audit = (): readonly string[] => checkInvariants(world, world.ctx.config, world.height());
  assert.deepEqual(audit(), []);
  const seen = new Set<string>();
  for (const [name, entry] of [...world.state]) {
    const table = tableOf(entry[0]);
    if (table === undefined || ['asset', 'params', 'model', 'queue', 'recentBlock'].includes(table)) continue;
    world.state.delete(name);
    assert.ok(audit().length > 0, `${table} ${name}`);
    world.state.set(name, [entry[0], Uint8Array.of(0xa0, 0)]);
    assert.ok(audit().length > 0, `${table} ${name} does not decode`);
    world.state.set(name, entry);
    seen.add(table);
  }
  assert.equal(seen.size, 14, [...seen].join());
});
