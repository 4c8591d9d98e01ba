import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKnownTransactions } from '../src/application/known-transactions.ts';
import { decodeForAdmission } from '../src/state-machine/index.ts';
import { transfer } from './engine-fixture.ts';
import { actor, FAUCET } from './state-machine-world.ts';

const BOB = actor('bob');
const tx = (nonce: number): Uint8Array => transfer(FAUCET, nonce, BOB, 5n);

test('what is remembered is what decoding gives, by content and not by buffer', () => {
  const known = createKnownTransactions();
  const buffer = tx(1);
  const first = known.lookUp(buffer);
  assert.deepEqual(first.decoded, decodeForAdmission(tx(1)));
  assert.equal(known.lookUp(tx(1)), first, 'other bytes of the same content');
  // The buffer now holds another transaction: neither the answer for it nor what is remembered may be mixed up.
  buffer.set(tx(2));
  assert.deepEqual(known.lookUp(buffer).decoded, decodeForAdmission(tx(2)));
  assert.deepEqual(known.lookUp(tx(1)).decoded, decodeForAdmission(tx(1)));
});

test('what is used stays, the rest goes: never more than two halves', () => {
  const known = createKnownTransactions({ transactions: 2, bytes: 10_000 });
  const used = known.lookUp(tx(0));
  const unused = known.lookUp(tx(1));
  for (let nonce = 2; nonce < 8; nonce++) {
    known.lookUp(tx(nonce));
    assert.equal(known.lookUp(tx(0)), used);
  }
  assert.notEqual(known.lookUp(tx(1)), unused);
  const few = createKnownTransactions({ transactions: 100, bytes: tx(0).length });
  const early = few.lookUp(tx(0));
  few.lookUp(tx(1));
  assert.equal(few.lookUp(tx(0)), early, 'in the older half');
  few.lookUp(tx(2));
  few.lookUp(tx(3));
  assert.notEqual(few.lookUp(tx(0)), early);
});

test('attack on oneself: garbage and giants push nothing out', () => {
  const known = createKnownTransactions({ transactions: 2, bytes: 1_000 });
  const kept = known.lookUp(tx(0));
  for (let i = 0; i < 100; i++) {
    const garbage = new Uint8Array(50).fill(i);
    assert.equal('code' in known.lookUp(garbage).decoded, true);
    assert.deepEqual(known.lookUp(garbage).decoded, decodeForAdmission(garbage));
  }
  const small = createKnownTransactions({ transactions: 2, bytes: 10 });
  assert.notEqual(
    small.lookUp(tx(0)),
    small.lookUp(tx(0)),
    'too large to be remembered, answered all the same',
  );
  assert.equal(known.lookUp(tx(0)), kept);
});
