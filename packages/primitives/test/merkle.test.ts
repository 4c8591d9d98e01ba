import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  appendToFrontier,
  EMPTY_MERKLE_FRONTIER,
  fromHex,
  frontierRoot,
  isWellFormedFrontier,
  type MerkleFrontier,
  merkleConsistencyPath,
  merkleInclusionPath,
  merkleLeafHash,
  merkleRoot,
  toHex,
  verifyMerkleConsistency,
  verifyMerkleInclusion,
} from '../src/index.ts';

const CT_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const CT_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const leavesOf = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => merkleLeafHash(Uint8Array.of(i, i >> 8)));

test('MERKLE-1 the roots published for Certificate Transparency', () => {
  const leaves = CT_LEAVES.map((hex) => merkleLeafHash(fromHex(hex)));
  for (const [size, root] of CT_ROOTS.entries()) assert.equal(toHex(merkleRoot(leaves.slice(0, size))), root);
});

test('MERKLE-2 every leaf of every tree up to 70 has a path that verifies, and nothing else does', () => {
  for (let size = 1; size <= 70; size++) {
    const leaves = leavesOf(size);
    const root = merkleRoot(leaves);
    for (let index = 0; index < size; index++) {
      const leaf = leaves[index] as Uint8Array;
      const path = merkleInclusionPath(leaves, index);
      assert.ok(verifyMerkleInclusion(leaf, index, size, path, root));
      assert.ok(!verifyMerkleInclusion(leaf, index, size, [...path, root], root));
      assert.ok(!verifyMerkleInclusion(leaf, size, size, path, root));
      if (path.length > 0) assert.ok(!verifyMerkleInclusion(leaf, index, size, path.slice(1), root));
      if (size > 1) {
        const other = (index + 1) % size;
        assert.ok(!verifyMerkleInclusion(leaves[other] as Uint8Array, index, size, path, root));
        assert.ok(!verifyMerkleInclusion(leaf, other, size, path, root));
      }
    }
  }
});

test('MERKLE-2 each bit of a path counts', () => {
  const leaves = leavesOf(13);
  const root = merkleRoot(leaves);
  for (const index of [0, 7, 12]) {
    const path = merkleInclusionPath(leaves, index);
    path.forEach((hash, level) => {
      for (let bit = 0; bit < 256; bit++) {
        const changed = hash.slice();
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
        const broken = path.with(level, changed);
        assert.ok(!verifyMerkleInclusion(leaves[index] as Uint8Array, index, 13, broken, root));
      }
    });
  }
});

test('MERKLE-3 consistency between any two sizes up to 40, and no other roots', () => {
  const leaves = leavesOf(40);
  const root = (size: number): Uint8Array => merkleRoot(leaves.slice(0, size));
  for (let newSize = 1; newSize <= 40; newSize++) {
    for (let oldSize = 1; oldSize <= newSize; oldSize++) {
      const path = merkleConsistencyPath(leaves.slice(0, newSize), oldSize);
      assert.ok(verifyMerkleConsistency(oldSize, root(oldSize), newSize, root(newSize), path));
      assert.ok(!verifyMerkleConsistency(oldSize, root(oldSize), newSize, root(newSize), [...path, root(1)]));
      assert.ok(
        !verifyMerkleConsistency(oldSize, merkleLeafHash(root(oldSize)), newSize, root(newSize), path),
      );
      if (oldSize < newSize) {
        assert.ok(
          !verifyMerkleConsistency(oldSize, root(oldSize), newSize, merkleLeafHash(root(newSize)), path),
        );
        assert.ok(!verifyMerkleConsistency(oldSize, root(oldSize), newSize, root(newSize), path.slice(1)));
      }
    }
  }
});

test('MERKLE-4 a frontier has the root of the whole log at every size', () => {
  const leaves = leavesOf(150);
  let frontier: MerkleFrontier = EMPTY_MERKLE_FRONTIER;
  leaves.forEach((leaf, i) => {
    assert.deepEqual(frontierRoot(frontier), merkleRoot(leaves.slice(0, i)));
    frontier = appendToFrontier(frontier, leaf);
    assert.ok(isWellFormedFrontier(frontier));
    assert.ok(!isWellFormedFrontier({ ...frontier, size: frontier.size + 1 }) || (i & 1) === 0);
  });
});

test('MERKLE-5 verification is total on any numbers and paths', () => {
  const hash = fc.uint8Array({ minLength: 31, maxLength: 33 });
  const number = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger());
  fc.assert(
    fc.property(
      hash,
      number,
      number,
      fc.array(hash, { maxLength: 60 }),
      hash,
      (leaf, index, size, path, root) => {
        assert.equal(verifyMerkleInclusion(leaf, index, size, path, root), false);
        const consistent = verifyMerkleConsistency(index, leaf, size, root, path);
        assert.ok(!consistent || (index === size && path.length === 0));
      },
    ),
  );
});
