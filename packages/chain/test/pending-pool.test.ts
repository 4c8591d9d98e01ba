import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KnownTransactions } from '../src/application/known-transactions.ts';
import { createPendingPool } from '../src/application/pending-pool.ts';
import { BLOCK_MAX_BYTES_DEFAULT } from '../src/genesis-document.ts';
import type { AdmissionWindow, AdmittedTransaction, DecodedTransaction } from '../src/state-machine/index.ts';
import { actor } from './state-machine-world.ts';

const TX_BYTES = 180_000;

/** A pool to which every number is a general transaction of a payer of its own, 180 kB large. */
function poolOfLargeOnes() {
  const admitted = { gas: TX_BYTES, maxFee: 1n } as AdmittedTransaction;
  const window: AdmissionWindow = { baseFee: 1n, admit: () => ({ ok: true, admitted }) };
  const known: KnownTransactions = {
    lookUp: (tx) => {
      const name = `${new DataView(tx.buffer).getUint32(0)}`;
      const body = { sender: actor(name).key, feePayer: null, nonce: 0, ops: [{ kind: 'deposit' }] };
      const transaction = { body, bytes: new Uint8Array(TX_BYTES) };
      return {
        hash: name,
        decoded: { transaction, statements: [undefined] } as unknown as DecodedTransaction,
      };
    },
  };
  const pool = createPendingPool(() => window, known);
  const numbered = (number: number): Uint8Array => {
    const tx = new Uint8Array(4);
    new DataView(tx.buffer).setUint32(0, number);
    return tx;
  };
  return (number: number) => pool.check(numbered(number), 'new').code;
}

test('general transactions leave room for others in what CometBFT hands a proposer: its oldest, up to a block of bytes', () => {
  const check = poolOfLargeOnes();
  let acceptedBytes = 0;
  for (let number = 0; number < 300; number++) if (check(number) === 0) acceptedBytes += TX_BYTES;
  assert.ok(acceptedBytes > 0);
  assert.ok(2 * acceptedBytes <= BLOCK_MAX_BYTES_DEFAULT, `${acceptedBytes} bytes`);
});
