import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake3 as independent } from '@noble/hashes/blake3.js';
import fc from 'fast-check';
import { concatBytes, toHex, UsageError, utf8Encode } from '../src/index.ts';
import {
  capOf,
  K_LEAF,
  K_NODE,
  portableZkKernels as kernels,
  keyedHash,
  leafHashes,
  merkleLevels,
  openPath,
  type PathsRequest,
  verifyPaths,
} from '../src/zk/index.ts';

interface Opened extends PathsRequest {
  readonly root: Uint8Array;
}

/** A tree over rows that differ, and some of its rows opened. */
function opened(depth: number, capLog: number, rowBytes: number, queries: readonly number[]): Opened {
  const count = 2 ** depth;
  const rows = Uint8Array.from({ length: rowBytes * count }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
  new DataView(rows.buffer).setUint32(0, depth);
  for (let i = 0; i < count; i++) rows[i * rowBytes] = i;
  const leaves = leafHashes(kernels, rows, rowBytes, count);
  const levels = merkleLevels(kernels, leaves);
  const indices = queries.map((query) => query % count);
  return {
    kernels,
    cap: capOf(levels, capLog),
    capLog,
    depth,
    indices,
    leafHashes: concatBytes(...indices.map((index) => leaves.subarray(32 * index, 32 * index + 32))),
    paths: concatBytes(...indices.map((index) => openPath(levels, index, capLog))),
    root: levels[depth] as Uint8Array,
  };
}

const anyOpened = fc
  .tuple(
    fc.nat(5),
    fc.nat(7),
    fc.integer({ min: 4, max: 90 }),
    fc.array(fc.nat(1000), { minLength: 1, maxLength: 6 }),
  )
  .map((shape) => opened(...shape));

test('keys and digests given by the specification', () => {
  assert.ok(toHex(K_LEAF).startsWith('7223445bdde2c418'));
  assert.ok(toHex(K_NODE).startsWith('0f7f4d515565947b'));
  assert.deepEqual(
    K_NODE,
    independent(new Uint8Array(0), { context: utf8Encode('haca zkml v1 merkle node') }),
  );
  const leaf = leafHashes(kernels, Uint8Array.of(1, 0, 0, 0), 4, 1);
  assert.ok(toHex(leaf).startsWith('e2282d51b63c3518'));
  const root = merkleLevels(kernels, new Uint8Array(64)).at(-1) as Uint8Array;
  assert.ok(toHex(root).startsWith('29b5c9fa80da41ce'));
});

test('levels agree with hashes taken one by one', () => {
  const rows = Uint8Array.from({ length: 8 * 12 }, (_, i) => i);
  const hash = (key: Uint8Array, bytes: Uint8Array): Uint8Array => independent(bytes, { key });
  let level = Array.from({ length: 8 }, (_, i) => hash(K_LEAF, rows.subarray(12 * i, 12 * i + 12)));
  const levels = merkleLevels(kernels, leafHashes(kernels, rows, 12, 8));
  assert.equal(levels.length, 4);
  for (const each of levels) {
    assert.deepEqual(each, concatBytes(...level));
    level = Array.from({ length: level.length >> 1 }, (_, i) =>
      hash(K_NODE, concatBytes(level[2 * i] as Uint8Array, level[2 * i + 1] as Uint8Array)),
    );
  }
});

test('paths lead to the cap at every depth, cap and index', () => {
  fc.assert(
    fc.property(anyOpened, (request) => {
      assert.ok(verifyPaths(request));
      assert.equal(request.cap.length, 32 * 2 ** Math.min(request.capLog, request.depth));
      if (request.capLog === 0) assert.deepEqual(request.cap, request.root);
    }),
    { numRuns: 100 },
  );
});

test('a changed bit of a leaf digest or of a path, or another index, is refused', () => {
  fc.assert(
    fc.property(anyOpened, fc.nat(), fc.nat(7), (request, at, bit) => {
      for (const part of ['leafHashes', 'paths'] as const) {
        const bytes = request[part].slice();
        if (bytes.length === 0) continue;
        const position = at % bytes.length;
        bytes[position] = (bytes[position] as number) ^ (1 << bit);
        assert.equal(verifyPaths({ ...request, [part]: bytes }), false);
      }
      const moved = request.indices.map((index, i) => (i === 0 ? index ^ 1 : index));
      if (request.depth > 0) assert.equal(verifyPaths({ ...request, indices: moved }), false);
    }),
    { numRuns: 100 },
  );
});

test('a changed bit in any digest of the cap that a query reaches is refused', () => {
  const request = opened(4, 2, 16, [0, 5, 10, 15]);
  for (let position = 0; position < request.cap.length; position++) {
    const cap = request.cap.slice();
    cap[position] = (cap[position] as number) ^ 0x80;
    assert.equal(verifyPaths({ ...request, cap }), false, `byte ${position}`);
  }
});

test('a node passed off as a leaf is refused: leaves and nodes have different keys', () => {
  const depth = 3;
  const rows = Uint8Array.from({ length: 64 * 8 }, (_, i) => i);
  const levels = merkleLevels(kernels, leafHashes(kernels, rows, 64, 8));
  const pair = (levels[0] as Uint8Array).subarray(0, 64);
  const paths = openPath(levels, 0, 0).subarray(32);
  const shorter = { kernels, cap: capOf(levels, 0), capLog: 0, depth: depth - 1, indices: [0], paths };
  assert.equal(verifyPaths({ ...shorter, leafHashes: leafHashes(kernels, pair, 64, 1) }), false);
  assert.ok(verifyPaths({ ...shorter, leafHashes: keyedHash(K_NODE, pair) }));
});

test('sizes that do not fit the tree are refused', () => {
  const request = opened(4, 1, 16, [3, 9]);
  for (const wrong of [
    { indices: [3, 16] },
    { indices: [3, -1] },
    { indices: [3, 0.5] },
    { indices: [3] },
    { indices: [], leafHashes: new Uint8Array(0), paths: new Uint8Array(0) },
    { depth: 3 },
    { depth: 33 },
    { depth: -1 },
    { capLog: -1 },
    { capLog: 2 },
    { cap: request.cap.subarray(1) },
    { paths: request.paths.subarray(32) },
    { leafHashes: request.leafHashes.subarray(1) },
  ]) {
    assert.throws(() => verifyPaths({ ...request, ...wrong }), UsageError, JSON.stringify(wrong));
  }
  assert.throws(() => merkleLevels(kernels, new Uint8Array(96)), UsageError);
  assert.throws(() => openPath(merkleLevels(kernels, new Uint8Array(64)), 2, 0), UsageError);
});
