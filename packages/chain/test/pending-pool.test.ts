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
      const body = {
        chainId: 'test',
        sender: actor(name).key,
        feePayer: null,
        nonce: 0,
        ops: [{ kind: 'deposit' }],
      };
      const transaction = { body, bytes: new Uint8Array(TX_BYTES) };
      return {
        hash: name,
        decoded: { transaction, statements: [undefined] } as unknown as DecodedTransaction,
      };
    },
  };
  const pool = createPendingPool({ openWindow: () => window, known, decreeRefusal: () => undefined });
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

test('whatever else fills the mempool leaves room for decrees', () => {
  const limits = { slots: 640, bytes: 640_000, generalPerPayer: 16 };
  const admitted = { gas: 1, maxFee: 1n } as AdmittedTransaction;
  const poolOf = (sizeBytes: number) => {
    const known: KnownTransactions = {
      lookUp: (tx) => {
        const number = new DataView(tx.buffer).getUint32(0);
        const op =
          tx.length > 4
            ? {
                kind: 'decree',
                serial: number,
                action: { kind: 'disable-proof-kind', proofKind: 'zk' },
                signatures: [],
              }
            : { kind: 'close-key' };
        const body = { chainId: 'test', sender: actor('one').key, feePayer: null, nonce: number, ops: [op] };
        const transaction = { body, bytes: new Uint8Array(sizeBytes) };
        return {
          hash: `${number}/${tx.length}`,
          decoded: { transaction, statements: [undefined] } as unknown as DecodedTransaction,
        };
      },
    };
    const openWindow = (): AdmissionWindow => ({ baseFee: 1n, admit: () => ({ ok: true, admitted }) });
    return createPendingPool({ openWindow, known, decreeRefusal: () => undefined }, limits);
  };
  const numbered = (number: number, length: number): Uint8Array => {
    const tx = new Uint8Array(length);
    new DataView(tx.buffer).setUint32(0, number);
    return tx;
  };
  for (const sizeBytes of [10, 5_000]) {
    const pool = poolOf(sizeBytes);
    let settlements = 0;
    for (let i = 0; i < 1_000; i++) if (pool.check(numbered(i, 4), 'new').code === 0) settlements++;
    assert.equal(settlements, sizeBytes === 10 ? 630 : 126);
    assert.equal(pool.check(numbered(1_001, 5), 'new').code, 0);
  }
});
