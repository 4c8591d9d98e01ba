/** Rows as later versions will write them (stops, open and void claims, challenges, tombstones): this one obeys them already. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Codec, encode, toHex } from '@haca/primitives';
import {
  accountRecordCodec,
  credit,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  type Op,
  recordKey,
} from '@haca/protocol';
import {
  accountOf,
  CREDIT,
  FAUCET,
  keyOf,
  line,
  lineCodes,
  market,
  nodeOf,
  OPG,
  openKeyOp,
  settle,
  settleOp,
  statementOf,
  type TestKey,
  type TestNode,
  voucher,
  type World,
} from './state-machine-world.ts';

function overwrite<T>(world: World, codec: Codec<T>, key: Uint8Array, value: T): void {
  world.state.set(toHex(key), [key, encode(codec, value)]);
}

function changeKey(world: World, { keyId }: TestKey, change: Partial<NodeKeyRecord>): void {
  overwrite(world, nodeKeyRecordCodec, recordKey.nodeKey(keyId), { ...keyOf(world, keyId), ...change });
}

function changeNode(world: World, { nodeId }: TestNode, change: Partial<NodeRecord>): void {
  overwrite(world, nodeRecordCodec, recordKey.node(nodeId), { ...nodeOf(world, nodeId), ...change });
}

test('CHAIN-60 attack 17 E_KEY: a revoked or frozen key settles nothing more; what was verified is still redeemed', () => {
  for (const stop of ['revoked', 'frozen'] as const) {
    const { world, key, channel } = market({ method: 'tee' });
    settle(world, key, 2, CREDIT);
    const signedBefore = statementOf(key, 1, CREDIT);
    changeKey(world, key, { stop });
    assert.equal(world.run(key.node.operator, [settleOp(signedBefore.bytes)]).codeName, 'E_KEY');
    const charge = line(channel, 0, [1, 2], [0n, CREDIT]);
    const result = settle(world, key, 0, 0n, [charge], [voucher(world, channel, key, 0, CREDIT)]);
    assert.deepEqual(lineCodes(result), ['OK']);
  }
});

test('CHAIN-60: an open challenge lets a closed key settle what it was challenged for, and no more', () => {
  const { world, key } = market();
  settle(world, key, 1, CREDIT);
  world.ok(key.node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
  world.skip(5);
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY');
  changeKey(world, key, { c1Seq: 3, c1Due: world.height() + 4 });
  assert.equal(settle(world, key, 3, CREDIT).codeName, 'E_KEY', 'beyond what was asked for');
  assert.equal(settle(world, key, 2, CREDIT).codeName, 'OK');
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY', 'the challenge is answered');
});

test('CHAIN-52 CHAIN-42 CHAIN-50 E_NODE: a tombstoned or jailed node opens no key, a tombstoned one takes no money', () => {
  const { world, node, payer, channel } = market();
  const allocate: Op = {
    kind: 'allocate',
    channelId: channel.channelId,
    nodeId: node.nodeId,
    amount: credit(CREDIT),
  };
  const bond: Op = { kind: 'bond-node', nodeId: node.nodeId, amount: nopg(OPG) };
  changeNode(world, node, { jailedUntil: world.height() + 3 });
  assert.equal(world.run(node.operator, [openKeyOp(world, node).op]).codeName, 'E_NODE');
  assert.equal(world.run(payer, [allocate]).codeName, 'OK');
  assert.equal(world.run(node.operator, [openKeyOp(world, node).op]).codeName, 'OK', 'the jail is over');
  changeNode(world, node, { tombstoned: true });
  assert.equal(world.run(node.operator, [openKeyOp(world, node).op]).codeName, 'E_NODE');
  assert.equal(world.run(node.operator, [bond]).codeName, 'E_NODE');
  assert.equal(world.run(payer, [allocate]).codeName, 'E_NODE');
});

test('CHAIN-33 E_BALANCE: locked OPG pays fees and bonds, but is not given away', () => {
  const { world, node } = market();
  const { operator } = node;
  const account = accountOf(world, operator);
  assert.ok(account !== undefined);
  overwrite(world, accountRecordCodec, recordKey.account(operator.id), {
    ...account,
    lockedNopg: account.nopg,
  });
  const give: Op = { kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) };
  assert.equal(world.run(operator, [give]).codeName, 'E_BALANCE');
  world.ok(operator, [{ kind: 'bond-node', nodeId: node.nodeId, amount: nopg(OPG) }]);
});
