import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  decodeStoreProof,
  encodeStoreProof,
  STORE_PROOF_BYTES_MAX,
  verifyStoreProof,
} from '@haca/light-client';
import { fromHex, MalformedError, toHex, UsageError } from '@haca/primitives';
import fc from 'fast-check';
import { type Change, createStateTree, type StateTree } from '../src/state-tree/index.ts';
import {
  hashBytes,
  hashPair,
  hashTriple,
  wordsOfBytes,
  wordsToBytes,
} from '../src/state-tree/sha256-words.ts';
import { type Entry, modelRoot, sha256Of } from './state-tree-model.ts';
import { readStateTreeVectors, stateTreeVectors } from './state-tree-vectors.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
/** Few keys, so that random operations meet; an index names one. */
const KEYS = Array.from({ length: 40 }, (_, i) => text(`key ${i}`));

const anyValue = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.integer({ min: 0, max: 3 }).map((n) => Uint8Array.of(n)),
);
const anyChange = fc.tuple(fc.integer({ min: 0, max: KEYS.length - 1 }), fc.option(anyValue));
const anyBatch = fc.uniqueArray(anyChange, { selector: ([key]) => key, maxLength: 20 });
const anyHistory = fc.array(anyBatch, { minLength: 1, maxLength: 12 });

type Model = ReadonlyMap<number, Uint8Array>;
type Batch = readonly (readonly [number, Uint8Array | null])[];

function changesOf(batch: Batch): Change[] {
  return batch.map(([key, value]) => [KEYS[key] as Uint8Array, value]);
}

function applyToModel(model: Model, batch: Batch): Model {
  const next = new Map(model);
  for (const [key, value] of batch) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  return next;
}

function entriesOf(model: Model): Entry[] {
  return [...model].map(([key, value]) => [KEYS[key] as Uint8Array, value]);
}

function assertSameState(tree: StateTree, model: Model): void {
  assert.equal(toHex(tree.root), toHex(modelRoot(entriesOf(model))));
  assert.equal(tree.size, model.size);
  for (let i = 0; i < KEYS.length; i++)
    assert.deepEqual(tree.get(KEYS[i] as Uint8Array), model.get(i), `key ${i}`);
}

test('hashing in words is SHA-256', () => {
  const out = new Int32Array(8);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ minLength: 96, maxLength: 96 }),
      (bytes, three) => {
        hashBytes(bytes, out, 0);
        assert.deepEqual(wordsToBytes(out, 0), sha256Of(bytes));
        const words = [0, 32, 64].map((at) => wordsOfBytes(three.subarray(at, at + 32))) as [
          Int32Array,
          Int32Array,
          Int32Array,
        ];
        hashPair(words[0], 0, words[1], 0, out, 0);
        assert.deepEqual(wordsToBytes(out, 0), sha256Of(three.subarray(0, 64)));
        hashTriple(words[0], words[1], 0, words[2], out, 0);
        assert.deepEqual(wordsToBytes(out, 0), sha256Of(three));
      },
    ),
    { numRuns: 300 },
  );
  for (let length = 0; length < 200; length++) {
    const bytes = new Uint8Array(length).map((_, i) => i * 7 + length);
    hashBytes(bytes, out, 0);
    assert.deepEqual(
      wordsToBytes(out, 0),
      new Uint8Array(createHash('sha256').update(bytes).digest()),
      `${length}`,
    );
  }
});

test('TREE-3 TREE-4 TREE-5 TREE-6 every state has the root of its definition, whatever led to it', () => {
  fc.assert(
    fc.property(anyHistory, (history) => {
      const tree = createStateTree();
      let model: Model = new Map();
      history.forEach((batch, height) => {
        model = applyToModel(model, batch);
        tree.update(height, changesOf(batch));
        assertSameState(tree, model);
      });
      const loaded = createStateTree();
      assert.deepEqual(loaded.load(5, entriesOf(model).reverse()), tree.root);
      assertSameState(loaded, model);
    }),
    { numRuns: 150 },
  );
});

test('TREE-10 TREE-11 each kept height proves each key, there or not, and nothing else', () => {
  fc.assert(
    fc.property(anyHistory, fc.integer({ min: 1, max: 6 }), (history, versionsKept) => {
      const tree = createStateTree({ versionsKept });
      const models: Model[] = [];
      history.forEach((batch, height) => {
        models.push(applyToModel(models.at(-1) ?? new Map(), batch));
        tree.update(height, changesOf(batch));
      });
      assert.deepEqual(tree.heights(), [...models.keys()].slice(-versionsKept));
      for (const height of tree.heights()) {
        const model = models[height] as Model;
        const appHash = modelRoot(entriesOf(model));
        assert.deepEqual(tree.rootAt(height), appHash);
        KEYS.forEach((key, i) => {
          const { value, proof } = tree.prove(key, height);
          assert.deepEqual(value, model.get(i) ?? null);
          assert.deepEqual(tree.getAt(key, height), model.get(i));
          assert.ok(verifyStoreProof({ appHash, key, value, proof }).ok);
          const other = value === null ? Uint8Array.of(9) : null;
          assert.ok(!verifyStoreProof({ appHash, key, value: other, proof }).ok);
        });
      }
    }),
    { numRuns: 40 },
  );
});

test('TREE-9 every flipped bit, cut and extension of a proof is refused', () => {
  for (const { root, proofs } of readStateTreeVectors().trees) {
    const appHash = fromHex(root);
    for (const each of proofs.slice(0, 4)) {
      const key = fromHex(each.key);
      const value = each.value === null ? null : fromHex(each.value);
      const proof = fromHex(each.proof);
      const verdict = (changed: Uint8Array) => verifyStoreProof({ appHash, key, value, proof: changed });
      assert.ok(verdict(proof).ok);
      for (let bit = 0; bit < 8 * proof.length; bit++) {
        const changed = proof.slice();
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
        assert.ok(!verdict(changed).ok, `bit ${bit} of ${each.proof}`);
      }
      for (let length = 0; length < proof.length; length++) assert.ok(!verdict(proof.subarray(0, length)).ok);
      assert.ok(!verdict(Uint8Array.of(...proof, 0)).ok);
    }
  }
});

test('TREE-10 a proof shows nothing about another key, value or root', () => {
  const tree = createStateTree();
  tree.load(
    1,
    KEYS.map((key, i) => [key, Uint8Array.of(i)]),
  );
  const [key, other] = KEYS as [Uint8Array, Uint8Array];
  const { proof } = tree.prove(key);
  const appHash = tree.root;
  const codes = (changed: Partial<Parameters<typeof verifyStoreProof>[0]>) =>
    verifyStoreProof({ appHash, key, value: Uint8Array.of(0), proof, ...changed })
      .checks.filter(({ status }) => status === 'failed')
      .map(({ code }) => code);
  assert.deepEqual(codes({}), []);
  assert.deepEqual(codes({ key: other, value: Uint8Array.of(1) }), ['store.root-mismatch']);
  assert.deepEqual(codes({ value: Uint8Array.of(1) }), ['store.root-mismatch']);
  assert.deepEqual(codes({ value: new Uint8Array(0) }), ['store.root-mismatch']);
  assert.deepEqual(codes({ value: null }), ['store.proof-kind']);
  assert.deepEqual(codes({ appHash: sha256Of(appHash) }), ['store.root-mismatch']);
  assert.deepEqual(codes({ appHash: new Uint8Array(0) }), ['store.root-mismatch']);
  assert.deepEqual(codes({ key: new Uint8Array(0) }), ['store.size']);
  assert.deepEqual(codes({ key: new Uint8Array(1025) }), ['store.size']);
  assert.deepEqual(codes({ proof: new Uint8Array(0) }), ['store-proof.length']);
});

test('TREE-11 another key’s leaf shows absence only on the path of the key asked for', () => {
  const tree = createStateTree();
  tree.load(
    1,
    KEYS.map((key, i) => [key, Uint8Array.of(i)]),
  );
  const appHash = tree.root;
  for (const key of KEYS) {
    const { proof } = tree.prove(key);
    const { siblings } = decodeStoreProof(proof);
    // The key's own leaf, dressed up as another's, must not show that the key is absent.
    const value = tree.get(key) as Uint8Array;
    const own = { kind: 'absent-other', keyHash: sha256Of(key), valueHash: sha256Of(value) } as const;
    const disguised = encodeStoreProof({ end: own, siblings });
    assert.ok(!verifyStoreProof({ appHash, key, value: null, proof: disguised }).ok);
    // Nor must it show the absence of keys whose path leads elsewhere.
    for (const elsewhere of KEYS) {
      assert.ok(!verifyStoreProof({ appHash, key: elsewhere, value: null, proof: disguised }).ok);
    }
    const emptied = encodeStoreProof({ end: { kind: 'absent-empty' }, siblings });
    assert.ok(!verifyStoreProof({ appHash, key, value: null, proof: emptied }).ok);
  }
});

test('TREE-9 one proof has one encoding', () => {
  const vector = readStateTreeVectors().trees.find(({ name }) => name === 'paths that share 16 bits');
  assert.ok(vector !== undefined);
  const [member] = vector.proofs;
  assert.ok(member?.value);
  const proof = fromHex(member.proof);
  const statement = { appHash: fromHex(vector.root), key: fromHex(member.key), value: fromHex(member.value) };
  const code = (changed: Uint8Array) =>
    verifyStoreProof({ ...statement, proof: changed }).checks.find(({ status }) => status === 'failed')?.code;
  assert.equal(code(proof), undefined);
  const depth = proof[3] as number;
  const bitmapBytes = Math.ceil(depth / 8);
  assert.ok(depth > 16 && depth % 8 !== 0);
  assert.equal(proof.length, 4 + bitmapBytes + 32, 'empty siblings and the other leaf');
  const bitmapOf = (depths: readonly number[]) => {
    const bitmap = new Uint8Array(bitmapBytes);
    for (const i of depths) bitmap[i >> 3] = (bitmap[i >> 3] as number) | (0x80 >> (i & 7));
    return bitmap;
  };
  const head = proof.subarray(0, 4);
  const sibling = proof.subarray(4 + bitmapBytes);
  const zeros = new Uint8Array(32);
  // An empty sibling written out would fold to the same root.
  assert.equal(
    code(Uint8Array.of(...head, ...bitmapOf([0, depth - 1]), ...zeros, ...sibling)),
    'store-proof.sibling',
  );
  // So would the right siblings with an unused one behind them.
  const unused = Uint8Array.of(...head, ...bitmapOf([depth - 1, depth]), ...sibling, ...zeros);
  assert.equal(code(unused), 'store-proof.bitmap');
  const deeper = Uint8Array.of(1, 0, 0, depth + 1, ...bitmapOf([depth - 1]), ...sibling);
  assert.equal(code(deeper), 'store-proof.bitmap');
  assert.equal(code(Uint8Array.of(2, ...proof.subarray(1))), 'store-proof.version');
  assert.equal(code(Uint8Array.of(1, 3, ...proof.subarray(2))), 'store-proof.kind');
  assert.equal(code(Uint8Array.of(1, 0, 1, 1, ...proof.subarray(4))), 'store-proof.depth');
});

test('TREE-11 a leaf that stands beside its path shows no absence', () => {
  // No tree has this shape; whoever signed its root would still not get a proof of absence past a verifier.
  const key = text('asked for');
  const path = sha256Of(key);
  const elsewhere = KEYS.find(
    (other) => ((sha256Of(other)[0] as number) ^ (path[0] as number)) >= 128,
  ) as Uint8Array;
  const tag = sha256Of(text('haca/state-leaf/1\0'));
  const end = { kind: 'absent-other', keyHash: sha256Of(elsewhere), valueHash: sha256Of() } as const;
  const leaf = sha256Of(tag, end.keyHash, end.valueHash);
  const siblings = [sha256Of(text('sibling'))];
  const isRight = (path[0] as number) >= 128;
  const appHash = isRight
    ? sha256Of(siblings[0] as Uint8Array, leaf)
    : sha256Of(leaf, siblings[0] as Uint8Array);
  const verdict = verifyStoreProof({ appHash, key, value: null, proof: encodeStoreProof({ end, siblings }) });
  assert.deepEqual(
    verdict.checks.filter(({ status }) => status === 'failed').map(({ code }) => code),
    ['store.other-leaf'],
  );
});

test('TREE-8 TREE-9 the decoder takes exactly what the encoder makes, and never breaks', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 0, max: 2 }), (tail, kind) => {
      for (const bytes of [tail, Uint8Array.of(1, kind, 0, tail[0] ?? 0, ...tail.subarray(1))]) {
        try {
          assert.deepEqual(encodeStoreProof(decodeStoreProof(bytes)), bytes);
        } catch (error) {
          assert.ok(error instanceof MalformedError, String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
  const deepest = { kind: 'absent-other', keyHash: sha256Of(), valueHash: sha256Of() } as const;
  const longest = encodeStoreProof({ end: deepest, siblings: Array.from({ length: 256 }, () => sha256Of()) });
  assert.equal(longest.length, STORE_PROOF_BYTES_MAX);
  assert.equal(decodeStoreProof(longest).siblings.length, 256);
});

test('TREE-1 TREE-13 sizes out of bounds and a key twice in a batch are refused, and nothing is changed', () => {
  const tree = createStateTree();
  tree.update(1, [[text('a'), text('1')]]);
  const { root } = tree;
  const refused: Change[][] = [
    [[new Uint8Array(0), text('x')]],
    [[new Uint8Array(1025), text('x')]],
    [[text('b'), new Uint8Array((1 << 20) + 1)]],
    [
      [text('b'), text('1')],
      [text('c'), null],
      [text('b'), null],
    ],
  ];
  for (const changes of refused) assert.throws(() => tree.update(2, changes), UsageError);
  assert.deepEqual(tree.root, root);
  tree.update(2, [[new Uint8Array(1024), new Uint8Array(1 << 20)]]);
  assert.equal(tree.get(new Uint8Array(1024))?.length, 1 << 20);
  assert.throws(() => tree.update(2, []), UsageError);
  assert.throws(
    () =>
      createStateTree().load(1, [
        [text('a'), text('1')],
        [text('a'), text('1')],
      ]),
    UsageError,
  );
});

test('staged versions stand side by side until one is committed', () => {
  fc.assert(
    fc.property(
      anyBatch,
      fc.array(anyBatch, { minLength: 1, maxLength: 4 }),
      fc.nat(),
      (first, staged, pick) => {
        const tree = createStateTree({ versionsKept: 2 });
        tree.update(1, changesOf(first));
        const base = applyToModel(new Map(), first);
        const models = staged.map((batch) => applyToModel(base, batch));
        const versions = staged.map((batch) => tree.stage(changesOf(batch)));
        assertSameState(tree, base);
        versions.forEach((version, i) => {
          assert.deepEqual(version.root, modelRoot(entriesOf(models[i] as Model)));
          assert.equal(version.size, models[i]?.size);
          for (const [k, key] of KEYS.entries()) assert.deepEqual(version.get(key), models[i]?.get(k));
        });
        const chosen = pick % versions.length;
        versions.forEach((version, i) => {
          if (i !== chosen && i % 2 === 0) tree.discard(version);
        });
        tree.commit(versions[chosen] as (typeof versions)[0], 2);
        assertSameState(tree, models[chosen] as Model);
        for (const version of versions) {
          assert.throws(() => version.get(KEYS[0] as Uint8Array), UsageError);
          assert.throws(() => tree.commit(version, 3), UsageError);
          assert.throws(() => tree.discard(version), UsageError);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('memory stays bounded while versions come and go', () => {
  const tree = createStateTree({ versionsKept: 4, retiredNodesMax: 500 });
  let sizeBytes = 0;
  for (let height = 1; height <= 2000; height++) {
    const changes = KEYS.map(
      (key, i): Change => [key, (height + i) % 3 === 0 ? null : sha256Of(text(`${height}`))],
    );
    tree.update(height, changes);
    if (height === 100) sizeBytes = tree.sizeBytes();
  }
  assert.equal(tree.sizeBytes(), sizeBytes);
  assert.equal(tree.heights().at(-1), 2000);
  const few = createStateTree({ versionsKept: 100, retiredNodesMax: 100 });
  for (let height = 1; height <= 50; height++)
    few.update(
      height,
      KEYS.map((key) => [key, text(`${height}`)]),
    );
  assert.ok(few.heights().length < 5 && few.heights().at(-1) === 50);
  assert.throws(() => few.prove(KEYS[0] as Uint8Array, 1), UsageError);
});

test('entries come in the order of their paths, and not from a tree that moves on', () => {
  const tree = createStateTree();
  tree.load(
    1,
    KEYS.map((key, i) => [key, Uint8Array.of(i)]),
  );
  const read = [...tree.entries()];
  const byPath = KEYS.map((key, i): Entry => [key, Uint8Array.of(i)]).sort(([a], [b]) =>
    Buffer.compare(sha256Of(a), sha256Of(b)),
  );
  assert.deepEqual(read, byPath);
  const entries = tree.entries();
  entries.next();
  tree.update(2, [[text('new'), text('1')]]);
  assert.throws(() => entries.next(), UsageError);
});

test('TREE-2 TREE-7 golden vectors, root by definition and proofs by the tree', () => {
  const vectors = readStateTreeVectors();
  assert.deepEqual(vectors, stateTreeVectors());
  for (const { name, entries, root, proofs } of vectors.trees) {
    const tree = createStateTree();
    const shuffled = entries.map(
      ([key, value]): Change => [fromHex(key as string), fromHex(value as string)],
    );
    assert.equal(toHex(tree.update(1, shuffled.reverse())), root, name);
    for (const { key, value, proof } of proofs) {
      const statement = {
        key: fromHex(key),
        value: value === null ? null : fromHex(value),
        proof: fromHex(proof),
      };
      const verdict = verifyStoreProof({ appHash: fromHex(root), ...statement });
      assert.ok(verdict.ok, `${name}: ${JSON.stringify(verdict.checks)}`);
    }
  }
});
