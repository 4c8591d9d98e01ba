import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyedHash, LABELS, P, portableZkKernels, type TranscriptRecord } from '@haca/primitives/zk';
import fc from 'fast-check';
import { createGate, Rejection } from '../src/zk/checks.ts';
import { createProofReader, type ProofReader } from '../src/zk/proof-reader.ts';

function readerOf(proof: Uint8Array, record: TranscriptRecord[] = []): ProofReader {
  return createProofReader(proof, 0, createGate(), {
    kernels: portableZkKernels,
    record: (entry) => {
      record.push(entry);
    },
  });
}

const words = (...values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const rejectedWith =
  (id: string) =>
  (error: unknown): boolean =>
    error instanceof Rejection && error.check.id === id;

test('ZK-21: elements are absorbed as they stand in the proof, before they are returned', () => {
  const proof = words(1, 2, 3, 4, 5, P - 1, 0, 0, 0, 7);
  const record: TranscriptRecord[] = [];
  const reader = readerOf(proof, record);
  assert.deepEqual(reader.readExts(LABELS.OP_VALUES, 2), [
    [1, 2, 3, 4, 5],
    [P - 1, 0, 0, 0, 7],
  ]);
  assert.deepEqual(record, [
    { kind: 'absorb', label: LABELS.OP_VALUES, length: 40, digest: keyedHash(new Uint8Array(32), proof) },
  ]);
  reader.requireEnd();
});

test('ZK-1: a word of p or more is refused wherever a field element is read', () => {
  fc.assert(
    fc.property(fc.nat(9), fc.integer({ min: P, max: 2 ** 32 - 1 }), (at, word) => {
      const proof = words(...new Array(10).fill(5));
      new DataView(proof.buffer).setUint32(4 * at, word, true);
      const record: TranscriptRecord[] = [];
      assert.throws(() => readerOf(proof, record).readExts(LABELS.OP_VALUES, 2), rejectedWith('zk.encoding'));
      assert.deepEqual(record, [], 'nothing of it is absorbed');
      assert.throws(() => readerOf(proof).readOpenedExts(2), rejectedWith('zk.encoding'));
      const into = new Uint32Array(10);
      assert.throws(() => readerOf(proof).readOpenedWords(into, 0, 10), rejectedWith('zk.encoding'));
    }),
  );
});

test('a read beyond the end is refused', () => {
  assert.throws(() => readerOf(new Uint8Array(39)).readExts(1, 2), rejectedWith('zk.length'));
  assert.throws(() => readerOf(new Uint8Array(31)).readDigests(1, 1), rejectedWith('zk.length'));
  assert.throws(() => readerOf(new Uint8Array(7)).readNonce(0), rejectedWith('zk.length'));
  assert.throws(() => readerOf(new Uint8Array(3)).readOpening(4), rejectedWith('zk.length'));
  assert.throws(() => readerOf(new Uint8Array(1)).requireEnd(), rejectedWith('zk.trailing'));
});

test('ZK-21: once openings are read, nothing more is absorbed', () => {
  const reader = readerOf(new Uint8Array(64));
  reader.readOpening(4);
  assert.throws(() => reader.readExts(LABELS.FINAL, 1), rejectedWith('zk.internal'));
  assert.throws(() => reader.readDigests(LABELS.FOLD_CAP, 1), rejectedWith('zk.internal'));
  assert.throws(() => reader.readNonce(0), rejectedWith('zk.internal'));
});

test('a nonce has the bits of work asked for, no more are needed, and it is absorbed', () => {
  const transcript = readerOf(new Uint8Array(8));
  transcript.readNonce(0);
  const seed = seedOfEmptyTranscript();
  const nonce = new Uint8Array(8);
  for (let i = 0; ; i++) {
    new DataView(nonce.buffer).setUint32(0, i, true);
    const digest = keyedHash(seed, nonce);
    const leading =
      digest[0] === 0 ? 8 + Math.clz32(digest[1] as number) - 24 : Math.clz32(digest[0] as number) - 24;
    for (const bits of [leading, leading + 1]) {
      const record: TranscriptRecord[] = [];
      const read = (): void => readerOf(nonce, record).readNonce(bits);
      if (bits === leading) read();
      else assert.throws(read, rejectedWith('zk.pow'));
      assert.equal(record.length, bits === leading ? 2 : 1);
    }
    if (leading >= 9) break;
  }
});

function seedOfEmptyTranscript(): Uint8Array {
  const seeds: Uint8Array[] = [];
  const kernels = {
    ...portableZkKernels,
    keyedHash: (key: Uint8Array, bytes: Uint8Array, outBytes?: number): Uint8Array => {
      if (outBytes === undefined) seeds.push(key);
      return keyedHash(key, bytes, outBytes);
    },
  };
  createProofReader(new Uint8Array(8), 0, createGate(), { kernels }).readNonce(0);
  return seeds[0] as Uint8Array;
}
