/** The verifier's compiled kernels against the portable ones, an independent BLAKE3 and vectors of the BLAKE3 crate. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromHex, MalformedError, UsageError, utf8Encode } from '@haca/primitives';
import { type BaseValues, type ExtVector, P, portableZkKernels } from '@haca/primitives/zk';
import { blake3 as independent } from '@noble/hashes/blake3.js';
import fc from 'fast-check';
import { nodeZkKernels } from '../src/node-zk-kernels.ts';
import { wasmZkKernels } from '../src/zk-kernels.ts';

const MODULE = new Uint8Array(readFileSync(new URL('../build/zk-kernels.wasm', import.meta.url)));
const kernels = wasmZkKernels(MODULE);
const LENGTHS = [0, 1, 2, 3, 4, 7, 8, 31, 63, 64, 65, 127, 128, 129, 255, 256, 960, 1023, 1024];
const KEY = utf8Encode('whats the Elvish word for friend');
const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i % 251);

test('keyed hashes agree with the BLAKE3 crate', () => {
  const file = new URL('../../primitives/test/vectors/zk-blake3.json', import.meta.url);
  const known = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly key: string;
    readonly cases: readonly { readonly length: number; readonly keyedHash: string }[];
  };
  assert.ok(known.cases.length > 25);
  const key = utf8Encode(known.key);
  for (const { length, keyedHash } of known.cases) {
    const expected = fromHex(keyedHash);
    assert.deepEqual(kernels.keyedHash(key, pattern(length), expected.length), expected, `${length}`);
    if (length > 1024) continue;
    const out = new Uint8Array(32 * 5);
    const messages = Uint8Array.from({ length: 5 * length }, (_, i) => (i % length) % 251);
    kernels.hashMany({ key, messages, messageBytes: length, count: 5, out });
    for (let i = 0; i < 5; i++) assert.deepEqual(out.slice(32 * i, 32 * i + 32), expected.slice(0, 32));
  }
});

test('keyed hashes of every length up to a chunk, one by one and many at a time', () => {
  for (const length of LENGTHS) {
    const expected = independent(pattern(length), { key: KEY });
    assert.deepEqual(kernels.keyedHash(KEY, pattern(length)), expected, `${length}`);
    for (const count of [0, 1, 2, 3, 4, 5, 9]) {
      const messages = Uint8Array.from({ length: length * count }, (_, i) => (i % Math.max(1, length)) % 251);
      const out = new Uint8Array(32 * count);
      kernels.hashMany({ key: KEY, messages, messageBytes: length, count, out });
      for (let i = 0; i < count; i++) assert.deepEqual(out.slice(32 * i, 32 * i + 32), expected, `${length}`);
    }
  }
});

test('random hashes, long messages and long outputs agree with the portable kernels', () => {
  const request = fc.record({
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    message: fc.uint8Array({ maxLength: 3000 }),
    outBytes: fc.oneof(fc.nat(700), fc.constantFrom(0, 1, 32, 62, 64, 65, 128, 256, 257)),
  });
  fc.assert(
    fc.property(request, ({ key, message, outBytes }) => {
      assert.deepEqual(
        kernels.keyedHash(key, message, outBytes),
        portableZkKernels.keyedHash(key, message, outBytes),
      );
    }),
  );
});

test('more messages than fit into one piece of the module memory', () => {
  const count = 40_001;
  const messages = Uint8Array.from({ length: 64 * count }, (_, i) => (i * 7 + (i >>> 8)) & 255);
  const outs = [kernels, portableZkKernels].map((each) => {
    const out = new Uint8Array(32 * count);
    const key = new Uint32Array([1, 2, 3, 4, 5, 6, 7, 8]);
    each.hashMany({ key, messages, messageBytes: 64, count, out });
    return out;
  });
  assert.ok(Buffer.from(outs[0] as Uint8Array).equals(outs[1] as Uint8Array));
});

test('requests that do not fit are refused as by the portable kernels', () => {
  const messages = new Uint8Array(128);
  const out = new Uint8Array(64);
  const good = { key: KEY, messages, messageBytes: 64, count: 2, out };
  kernels.hashMany(good);
  for (const bad of [
    { ...good, messageBytes: 1025 },
    { ...good, messageBytes: -1 },
    { ...good, messageBytes: 0.5 },
    { ...good, count: -1 },
    { ...good, count: 3 },
    { ...good, out: new Uint8Array(63) },
    { ...good, key: new Uint8Array(31) },
    { ...good, key: new Uint32Array(4) },
  ]) {
    assert.throws(() => kernels.hashMany(bad), UsageError);
    assert.throws(() => portableZkKernels.hashMany(bad), UsageError);
  }
  assert.throws(() => kernels.keyedHash(new Uint8Array(33), messages), UsageError);
});

test('dot products of every type and length, at extremes and at random', () => {
  const types = [Int8Array, Uint8Array, Int16Array, Uint16Array, Int32Array, Uint32Array] as const;
  for (const Type of types) {
    const [low, high] = extremesOf(Type);
    for (const length of [0, 1, 3, 31, 32, 33, 34, 35, 5001, 70_003]) {
      for (const fill of [low, high, undefined]) {
        const values: BaseValues = new Type(length);
        for (let i = 0; i < length; i++) values[i] = fill ?? low + ((i * 40503) % (high - low + 1));
        const words = (_: unknown, i: number): number => (fill === undefined ? (i * 2654435761) % P : P - 1);
        const weights: ExtVector = { length, data: Uint32Array.from({ length: 5 * length }, words) };
        const expected = portableZkKernels.dotBase(values, weights);
        assert.deepEqual(kernels.dotBase(values, weights), expected, `${Type.name} ${length} ${fill}`);
      }
    }
  }
  const three: ExtVector = { length: 3, data: new Uint32Array(15) };
  assert.throws(() => kernels.dotBase(new Int8Array(40), three), UsageError);
});

type ArrayType =
  | Int8ArrayConstructor
  | Uint8ArrayConstructor
  | Int16ArrayConstructor
  | Uint16ArrayConstructor
  | Int32ArrayConstructor
  | Uint32ArrayConstructor;

function extremesOf(Type: ArrayType): readonly [number, number] {
  switch (Type) {
    case Int8Array:
      return [-128, 127];
    case Uint8Array:
      return [0, 255];
    case Int16Array:
      return [-32768, 32767];
    case Uint16Array:
      return [0, 65535];
    case Int32Array:
      return [-(2 ** 31), 2 ** 31 - 1];
    default:
      return [0, P - 1];
  }
}

test('Node finds the compiled kernels', () => {
  assert.equal(nodeZkKernels().name, 'wasm');
});

test('what is no such module is refused with a name', () => {
  assert.throws(() => wasmZkKernels(new Uint8Array(0)), MalformedError);
  assert.throws(() => wasmZkKernels(MODULE.slice(0, 1000)), MalformedError);
  // A valid module without the kernels.
  assert.throws(() => wasmZkKernels(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)), MalformedError);
});
