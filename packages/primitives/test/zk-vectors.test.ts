/** Values computed by other people's code: see the note at the head of each vector file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { toHex, utf8Encode } from '../src/index.ts';
import {
  add,
  blake3,
  codeword,
  deriveKey,
  type Ext,
  extAdd,
  extFrobenius,
  extInverse,
  extMul,
  extPow,
  extSub,
  inverse,
  keyedHash,
  mul,
  P,
  reverseBits,
  rootOfUnity,
  sub,
} from '../src/zk/index.ts';

interface FieldVectors {
  readonly rootsOfUnity: readonly number[];
  readonly base: readonly (readonly [number, number, number, number, number, number | null])[];
  readonly ext: readonly {
    readonly a: Ext;
    readonly b: Ext;
    readonly sum: Ext;
    readonly difference: Ext;
    readonly product: Ext;
    readonly inverse: Ext;
    readonly frobenius: Ext;
    readonly exponent: number;
    readonly power: Ext;
  }[];
  readonly transforms: readonly {
    readonly coefficients: readonly number[];
    readonly values: readonly number[];
  }[];
  readonly longWord: {
    readonly seed: number;
    readonly log2Length: number;
    readonly blowupLog2: number;
    readonly columnBlake3: string;
    readonly wordBlake3: string;
  };
}

interface HashVectors {
  readonly key: string;
  readonly context: string;
  readonly cases: readonly {
    readonly length: number;
    readonly hash: string;
    readonly keyedHash: string;
    readonly deriveKey: string;
  }[];
}

const field = load<FieldVectors>('zk-field');
const hashes = load<HashVectors>('zk-blake3');

function load<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url), 'utf8')) as T;
}

test('base field agrees with Plonky3', () => {
  assert.ok(field.base.length > 90);
  for (const [a, b, sum, difference, product, inverted] of field.base) {
    assert.deepEqual([add(a, b), sub(a, b), mul(a, b)], [sum, difference, product]);
    assert.equal(a === 0 ? null : inverse(a), inverted);
  }
  assert.deepEqual(
    field.rootsOfUnity.map((_, order) => rootOfUnity(order)),
    field.rootsOfUnity,
  );
});

test('extension field agrees with Plonky3', () => {
  assert.ok(field.ext.length > 40);
  for (const { a, b, exponent, ...expected } of field.ext) {
    assert.deepEqual(extAdd(a, b), expected.sum);
    assert.deepEqual(extSub(a, b), expected.difference);
    assert.deepEqual(extMul(a, b), expected.product);
    assert.deepEqual(extInverse(a), expected.inverse);
    assert.deepEqual(extFrobenius(a), expected.frobenius);
    assert.deepEqual(extPow(a, exponent), expected.power);
  }
});

test('transforms agree with Plonky3', () => {
  for (const [bits, { coefficients, values }] of field.transforms.entries()) {
    const column = Uint32Array.from(coefficients, (_, i) => coefficients[reverseBits(i, bits)] as number);
    assert.deepEqual([...codeword(column, 0)], values);
  }
});

test('a long codeword agrees with Plonky3', () => {
  const { seed, log2Length, blowupLog2, columnBlake3, wordBlake3 } = field.longWord;
  const next = splitmix64(BigInt(seed));
  const column = Uint32Array.from({ length: 2 ** log2Length }, () => Number(next() % BigInt(P)));
  assert.equal(toHex(blake3(littleEndian(column))), columnBlake3);
  assert.equal(toHex(blake3(littleEndian(codeword(column, blowupLog2)))), wordBlake3);
});

function splitmix64(seed: bigint): () => bigint {
  let state = seed;
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let mixed = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    return mixed ^ (mixed >> 31n);
  };
}

function littleEndian(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word, true);
  return bytes;
}

test('BLAKE3 agrees with the reference implementation in every mode, with extended output', () => {
  const key = utf8Encode(hashes.key);
  assert.ok(hashes.cases.length > 25);
  for (const { length, ...expected } of hashes.cases) {
    const bytes = Uint8Array.from({ length }, (_, i) => i % 251);
    const outBytes = expected.hash.length / 2;
    assert.equal(toHex(blake3(bytes, outBytes)), expected.hash);
    assert.equal(toHex(keyedHash(key, bytes, outBytes)), expected.keyedHash);
    assert.equal(toHex(deriveKey(hashes.context, bytes, outBytes)), expected.deriveKey);
  }
});
