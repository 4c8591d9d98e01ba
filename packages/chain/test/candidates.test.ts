/** Candidate states: executed before they are decided, taken only where everything they depend on is equal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timestampFromMs } from '@haca/light-client';
import { sha256, utf8Encode } from '@haca/primitives';
import type { BlockRequest } from '../src/abci.ts';
import { CANDIDATES_MAX, createCandidates, isSameBlock } from '../src/application/candidates.ts';

function request(label: string, over: Partial<BlockRequest> = {}): BlockRequest {
  return {
    hash: sha256(utf8Encode(label)),
    height: 5,
    time: timestampFromMs(1_000),
    proposerAddress: new Uint8Array(20),
    txs: [utf8Encode('tx 1'), utf8Encode('tx 2')],
    lastCommit: [{ address: new Uint8Array(20), power: 1n, signed: true }],
    misbehavior: [{ kind: 'duplicate-vote', address: new Uint8Array(20), height: 2 }],
    ...over,
  };
}

function candidates() {
  const discarded: BlockRequest[] = [];
  return {
    discarded,
    ...createCandidates<{ request: BlockRequest }>((each) => discarded.push(each.request)),
  };
}

test('CHAIN-94: the same block is the same in every field that execution sees, whoever built the objects', () => {
  const block = request('a');
  assert.ok(isSameBlock(block, structuredClone(block)));
  const other = new Uint8Array(20).fill(1);
  const different: readonly Partial<BlockRequest>[] = [
    { hash: sha256(utf8Encode('b')) },
    { height: 6 },
    { time: timestampFromMs(1_001) },
    { time: { ...block.time, nanos: block.time.nanos + 1 } },
    { proposerAddress: other },
    { txs: [] },
    { txs: block.txs.slice(1) },
    { txs: [...block.txs].reverse() },
    { txs: [utf8Encode('tx 1'), utf8Encode('tx 3')] },
    { lastCommit: [] },
    { lastCommit: [{ address: other, power: 1n, signed: true }] },
    { lastCommit: [{ address: new Uint8Array(20), power: 2n, signed: true }] },
    { lastCommit: [{ address: new Uint8Array(20), power: 1n, signed: false }] },
    { misbehavior: [] },
    { misbehavior: [{ kind: 'light-client-attack', address: new Uint8Array(20), height: 2 }] },
    { misbehavior: [{ kind: 'duplicate-vote', address: other, height: 2 }] },
    { misbehavior: [{ kind: 'duplicate-vote', address: new Uint8Array(20), height: 3 }] },
  ];
  for (const over of different) {
    assert.ok(!isSameBlock(block, request('a', over)), JSON.stringify(Object.keys(over)));
    assert.ok(!isSameBlock(request('a', over), block));
  }
});

test('a candidate is taken once; those of other blocks stay', () => {
  const { add, has, take, discarded } = candidates();
  const [a, b] = [{ request: request('a') }, { request: request('b') }];
  add(a);
  add(b);
  assert.ok(has(request('a')) && has(request('b')) && !has(request('a', { lastCommit: [] })));
  assert.equal(take(request('a', { misbehavior: [] })), undefined);
  assert.equal(take(request('a')), a);
  assert.equal(take(request('a')), undefined);
  assert.equal(take(request('b')), b);
  assert.deepEqual(discarded, [], 'what is taken is not discarded');
});

test('CHAIN-94 attack: more proposals than candidates are kept push out the oldest, which frees what it holds', () => {
  const { add, has, forget, discarded } = candidates();
  const blocks = Array.from({ length: 10 }, (_, i) => ({ request: request(`block ${i}`) }));
  for (const block of blocks) add(block);
  assert.equal(CANDIDATES_MAX, 4);
  assert.deepEqual(
    discarded,
    blocks.slice(0, 6).map((block) => block.request),
  );
  assert.ok(blocks.slice(6).every((block) => has(block.request)));
  forget();
  assert.ok(!blocks.some((block) => has(block.request)));
  assert.equal(discarded.length, 6, 'to forget is not to discard');
});
