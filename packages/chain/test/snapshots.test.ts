import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { concatBytes, sha256, toHex, UsageError } from '@haca/primitives';
import fc from 'fast-check';
import { openSnapshotFolder } from '../src/snapshots/folder.ts';
import {
  CHUNK_BYTES_MAX,
  CHUNK_ENTRY_BYTES,
  CHUNKS_MAX,
  createChunker,
  decodeChunk,
} from '../src/snapshots/format.ts';
import { writeSnapshot } from '../src/snapshots/writer.ts';
import { createStateTree, type StateTree } from '../src/state-tree/index.ts';
import { openStore, restoreStateTree } from '../src/storage/index.ts';
import {
  announce,
  type Entry,
  entriesOf,
  joiner,
  openJoiner,
  type Taken,
  take,
  temporaryFolder,
  treeOf,
} from './snapshot-fixture.ts';

const NEVER = new AbortController().signal;

/** Chunks of a state as if it were another's: each with the proof that `proofs` gives for its last key. */
function chunksOf(entries: readonly Entry[], proofs: StateTree, chunkEntryBytes: number): Uint8Array[] {
  const chunker = createChunker(chunkEntryBytes);
  const chunks: Uint8Array[] = [];
  const cut = () => chunks.push(chunker.cut(proofs.prove((chunker.last() as Entry)[0]).proof));
  for (const entry of entries) {
    if (chunker.add(entry)) continue;
    cut();
    chunker.add(entry);
  }
  cut();
  return chunks;
}

function sorted(entries: Iterable<Entry>): string[] {
  return [...entries].map(([key, value]) => `${toHex(key)}=${toHex(value)}`).sort();
}

test('SNAP-1 SNAP-4 SNAP-5 the snapshot of any state restores to the same state, and is the same bytes whatever led to it', async (t) => {
  const anyState = fc.uniqueArray(
    fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.uint8Array({ maxLength: 60 })),
    { selector: ([key]) => toHex(key), minLength: 1, maxLength: 60 },
  );
  const anySize = fc.integer({ min: 1, max: 2_000 });
  const store = openStore(temporaryFolder(t));
  t.after(() => store.close());
  await fc.assert(
    fc.asyncProperty(anyState, anySize, async (state, chunkEntryBytes) => {
      const tree = treeOf(state);
      const taken = await take(t, tree, chunkEntryBytes);
      const other = createStateTree();
      other.update(3, [[Uint8Array.of(1, 2, 3), Uint8Array.of(1)]]);
      for (const [i, entry] of [...state].reverse().entries()) other.update(4 + i, [entry]);
      if (!state.some(([key]) => toHex(key) === '010203')) other.update(98, [[Uint8Array.of(1, 2, 3), null]]);
      other.update(99, []);
      const again = await take(t, other, chunkEntryBytes);
      assert.deepEqual(again.chunks, taken.chunks);
      assert.deepEqual(again.snapshot.metadata, taken.snapshot.metadata);

      // A store that holds nothing but a restored state takes in another.
      const { run, adopted } = joiner(store);
      assert.equal(await run(taken, tree.root), 'accept');
      assert.deepEqual(adopted()?.root, tree.root);
      assert.equal(adopted()?.height, 7);
      assert.deepEqual(sorted(store.load().entries), sorted(state));
      assert.deepEqual(restoreStateTree(store).root, tree.root);
    }),
    { numRuns: 25 },
  );
});

test('SNAP-1 chunks are bounded; an entry of any size fits one', () => {
  const chunker = createChunker();
  const key = new Uint8Array(1024).fill(1);
  const largest = new Uint8Array(1 << 20);
  for (let i = 0; i < 3; i++) assert.ok(chunker.add([key, largest]));
  assert.ok(!chunker.add([key, largest]));
  const chunk = chunker.cut(treeOf([[key, largest]]).prove(key).proof);
  assert.ok(chunk.length <= CHUNK_BYTES_MAX && CHUNK_BYTES_MAX < 10_000_000);
  assert.equal(decodeChunk(chunk).entries.length, 3);
  assert.ok(CHUNK_ENTRY_BYTES > 1024 + (1 << 20) + 6);
  assert.ok(32 * (CHUNKS_MAX + 1) <= 4_000_000, 'metadata stays within what CometBFT carries');
});

test('SNAP-5 a chunk that is not the announced one is fetched again, its sender rejected, nothing of it taken in', async (t) => {
  const tree = treeOf(entriesOf(30));
  const { snapshot, chunks } = await take(t, tree, 400);
  assert.ok(chunks.length >= 4);
  const { restore, store, adopted } = openJoiner(t);
  assert.equal(await restore.offer({ snapshot, appHash: tree.root }), 'accept');
  for (const [index, chunk] of chunks.entries()) {
    for (let at = 0; at < chunk.length; at++) {
      const wrong = chunk.slice();
      wrong[at] = (wrong[at] as number) ^ (1 << (at % 8));
      assert.deepEqual(await restore.apply({ index, chunk: wrong, sender: 'mallory' }), {
        result: 'retry',
        refetchChunks: [index],
        rejectSenders: ['mallory'],
      });
    }
    for (const wrong of [chunk.subarray(1), new Uint8Array(0), concatBytes(chunk, Uint8Array.of(0))]) {
      assert.equal((await restore.apply({ index, chunk: wrong, sender: '' })).result, 'retry');
    }
    assert.equal(store.latestHeight(), 0);
    const { result } = await restore.apply({ index, chunk, sender: 'peer' });
    assert.equal(result, 'accept');
  }
  assert.deepEqual(adopted()?.root, tree.root);
  assert.equal(store.latestHeight(), 7);
  assert.deepEqual(store.appHashAt(7), tree.root);
});

test('SNAP-2 SNAP-3 SNAP-4 metadata with any byte changed are not accepted, nor for another height, format, count or app hash', async (t) => {
  const tree = treeOf(entriesOf(12));
  const { snapshot } = await take(t, tree, 200);
  const { restore, store } = openJoiner(t);
  const offer = (over: object, appHash = tree.root) =>
    restore.offer({ snapshot: { ...snapshot, ...over }, appHash });
  for (let at = 0; at < snapshot.metadata.length; at++) {
    const metadata = snapshot.metadata.slice();
    metadata[at] = (metadata[at] as number) ^ 0x10;
    assert.equal(await offer({ metadata }), 'reject-sender');
    // Announced under its own hash, it commits to chunks that nobody has, or to another state.
    const hash = announce(7, tree.root, []).snapshot.hash;
    assert.notEqual(await offer({ metadata, hash }), 'accept');
  }
  for (const format of [0, 2, -1]) assert.equal(await offer({ format }), 'reject-format');
  for (const height of [6, 8, 0, -1, 1.5, Number.NaN, 2 ** 60])
    assert.notEqual(await offer({ height }), 'accept');
  for (const chunks of [0, -1, snapshot.chunks + 1, snapshot.chunks - 1, CHUNKS_MAX + 1, 0.5, Number.NaN])
    assert.equal(await offer({ chunks }), 'reject-sender');
  assert.equal(await offer({}, sha256(tree.root)), 'reject');
  assert.equal(await offer({}, new Uint8Array(0)), 'reject');
  assert.equal(store.latestHeight(), 0);
  assert.equal(await offer({}), 'accept');
});

test('SNAP-6 chunks that hash to what was announced and are not the state are noticed, and leave the store as it was', async (t) => {
  const honest = [...treeOf(entriesOf(40)).entries()];
  const tree = treeOf(honest);
  const good = await take(t, tree, 300);
  const node = openJoiner(t);
  const refused = async (what: string, chunks: readonly Uint8Array[]): Promise<void> => {
    const result = await node.run(announce(7, tree.root, chunks), tree.root);
    // A last chunk that never comes leaves the restore open, and nothing in the store.
    assert.ok(result === 'reject-snapshot' || chunks.length === 0, `${what}: ${result}`);
    assert.equal(node.adopted(), null, what);
    assert.equal(node.store.latestHeight(), 0, what);
    assert.equal([...node.store.load().entries].length, 0, what);
    assert.ok(node.store.canRestore(), what);
  };
  const made = (entries: readonly Entry[], proofs: StateTree = tree) => chunksOf(entries, proofs, 300);
  const without = (index: number) => honest.filter((_, i) => i !== index);
  const last = honest.length - 1;
  const foreign: Entry = [Uint8Array.of(1), Uint8Array.of(2)];
  for (const index of [0, 1, 17, last]) {
    await refused(`without entry ${index}`, made(without(index)));
    await refused(`without entry ${index}, proofs to match`, made(without(index), treeOf(without(index))));
    const changed = honest.map(([key, value], i): Entry => [key, i === index ? sha256(value) : value]);
    await refused(`entry ${index} changed`, made(changed));
    await refused(`entry ${index} changed, proofs to match`, made(changed, treeOf(changed)));
    const twice = honest.flatMap((entry, i) => (i === index ? [entry, entry] : [entry]));
    await refused(`entry ${index} twice`, made(twice));
    const more = [...honest];
    more.splice(index, 0, foreign);
    await refused(`an entry more at ${index}`, made(more));
    await refused(`an entry more at ${index}, proofs to match`, made(more, treeOf(more)));
  }
  await refused('in another order', made([honest[1] as Entry, honest[0] as Entry, ...honest.slice(2)]));
  await refused('first chunk left out', good.chunks.slice(1));
  await refused('last chunk left out', good.chunks.slice(0, -1));
  await refused('a chunk twice', [good.chunks[0] as Uint8Array, ...good.chunks]);
  await refused('chunks swapped', [good.chunks[1], good.chunks[0], ...good.chunks.slice(2)] as Uint8Array[]);
  // Everything up to the end of the first chunk, without end.
  await refused('the state in its first chunk, then more', [
    good.chunks[0] as Uint8Array,
    ...good.chunks.slice(2),
  ]);
  await refused('no entry', [new Uint8Array(8)]);
  await refused('too large', [new Uint8Array(CHUNK_BYTES_MAX + 1)]);
  assert.equal(await node.run(good, tree.root), 'accept');
  assert.deepEqual(node.adopted()?.root, tree.root);
});

test('SNAP-6 any byte of any chunk changed, and announced so, is never taken for the state', async (t) => {
  const tree = treeOf(entriesOf(14));
  const { chunks } = await take(t, tree, 250);
  const sizes = chunks.map((chunk) => chunk.length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const store = openStore(temporaryFolder(t));
  t.after(() => store.close());
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: total - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, flip) => {
        let offset = at;
        const index = sizes.findIndex((size) => {
          if (offset < size) return true;
          offset -= size;
          return false;
        });
        const wrong = chunks.map((chunk) => chunk.slice());
        const chunk = wrong[index] as Uint8Array;
        chunk[offset] = (chunk[offset] as number) ^ flip;
        const node = joiner(store);
        assert.equal(await node.run(announce(7, tree.root, wrong), tree.root), 'reject-snapshot');
        assert.equal(node.adopted(), null);
        assert.equal(store.latestHeight(), 0);
      },
    ),
    { numRuns: 60 },
  );
});

test('SNAP-7 the order of chunks is kept, a finished snapshot is not applied again, and a store with blocks takes none', async (t) => {
  const tree = treeOf(entriesOf(30));
  const taken = await take(t, tree, 300);
  const { snapshot, chunks } = taken;
  const { restore, store, run } = openJoiner(t);
  const apply = (index: number) =>
    restore.apply({ index, chunk: chunks[index] ?? new Uint8Array(0), sender: 'peer' });
  assert.equal((await apply(0)).result, 'abort', 'nothing was offered');
  assert.equal(await restore.offer({ snapshot, appHash: tree.root }), 'accept');
  assert.equal((await apply(1)).result, 'retry-snapshot');
  assert.equal((await apply(0)).result, 'accept');
  assert.equal((await apply(0)).result, 'accept', 'the same once more');
  for (const index of [2, chunks.length, -1, 0.5])
    assert.equal((await apply(index)).result, 'retry-snapshot');
  await assert.rejects(
    store.commit({
      height: 1,
      appHash: tree.root,
      changes: [],
      block: new Uint8Array(0),
      results: new Uint8Array(0),
      commit: new Uint8Array(0),
      txHashes: [],
    }),
    UsageError,
  );
  assert.equal(await run(taken, tree.root), 'accept');
  assert.equal((await apply(0)).result, 'abort');
  const nothing = new Uint8Array(0);
  const block = { block: nothing, results: nothing, commit: nothing, txHashes: [] };
  await store.commit({ height: 8, appHash: tree.root, changes: [], ...block });
  assert.equal(await restore.offer({ snapshot, appHash: tree.root }), 'abort');
  assert.equal(store.latestHeight(), 8);
});

test('SNAP-8 a state that does not hold what execution after it needs is refused', async (t) => {
  const tree = treeOf(entriesOf(5));
  const store = openStore(temporaryFolder(t));
  t.after(() => store.close());
  const node = joiner(store, () => 'block hashes are missing');
  assert.equal(await node.run(await take(t, tree), tree.root), 'reject-snapshot');
  assert.deepEqual([node.adopted(), store.latestHeight(), store.canRestore()], [null, 0, true]);
  assert.match(node.lines.join(), /block hashes are missing/);
});

test('the folder keeps whole snapshots over a restart and throws away the rest', async (t) => {
  const directory = temporaryFolder(t);
  const lines: string[] = [];
  let folder = openSnapshotFolder(directory, (line) => lines.push(line));
  const tree = treeOf(entriesOf(30));
  const taken: Taken['snapshot'][] = [];
  for (let height = 8; height <= 11; height++) {
    tree.update(height, [[Uint8Array.of(height), Uint8Array.of(1)]]);
    const pinned = tree.pin();
    taken.push(await writeSnapshot(pinned, folder, NEVER, 300));
    pinned.release();
  }
  folder.keep(3, 10, () => false);
  assert.deepEqual(folder.list(), taken.slice(0, 3).reverse(), 'none above the newest height');
  folder.keep(2, 10, () => false);
  mkdirSync(join(directory, '12.writing'));
  writeFileSync(join(directory, '12.writing', 'chunk-000000'), 'half');
  mkdirSync(join(directory, '13'));
  renameSync(join(directory, '9', 'metadata'), join(directory, '9', 'metadata-away'));
  folder = openSnapshotFolder(directory, (line) => lines.push(line));
  assert.deepEqual(folder.list(), taken.slice(2, 3));
  assert.deepEqual(readdirSync(directory), ['10']);
  assert.ok((await folder.chunk(10, 1)).length > 0);
  for (const [height, index] of [
    [10, 99],
    [10, -1],
    [11, 0],
  ] as const)
    assert.equal((await folder.chunk(height, index)).length, 0);
  const file = join(directory, '10', 'chunk-000001');
  const damaged = readFileSync(file);
  damaged[9] = (damaged[9] as number) ^ 1;
  writeFileSync(file, damaged);
  assert.equal((await folder.chunk(10, 1)).length, 0, 'what is damaged is not served');
  assert.deepEqual(folder.list(), []);
  assert.ok(!existsSync(join(directory, '10')));
});

test('writing is given up when it is told to stop, or when the state is pinned no more, and leaves nothing', async (t) => {
  const directory = temporaryFolder(t);
  const folder = openSnapshotFolder(directory, () => undefined);
  const tree = treeOf(entriesOf(20_000));
  const stopped = new AbortController();
  const pinned = tree.pin();
  const stopping = writeSnapshot(pinned, folder, stopped.signal);
  stopped.abort();
  await assert.rejects(stopping, { name: 'AbortError' });
  const releasing = writeSnapshot(pinned, folder, NEVER);
  pinned.release();
  await assert.rejects(releasing, UsageError);
  assert.deepEqual(readdirSync(directory), []);
});

test('a state pinned for a snapshot stays whole while the tree moves on', async (t) => {
  const entries = entriesOf(400);
  const tree = createStateTree({ versionsKept: 2, retiredNodesMax: 100_000 });
  tree.load(1, entries);
  const pinned = tree.pin();
  const root = tree.root;
  for (let height = 2; height < 40; height++)
    tree.update(
      height,
      entries.slice(height * 5, height * 5 + 60).map(([key]) => [key, Uint8Array.of(height)] as const),
    );
  assert.deepEqual(sorted(pinned.entries()), sorted(entries));
  assert.deepEqual(pinned.root, root);
  const folder = openSnapshotFolder(temporaryFolder(t), () => undefined);
  await writeSnapshot(pinned, folder, NEVER);
  pinned.release();
  assert.throws(() => [...pinned.entries()], UsageError);
  assert.equal(tree.heights().length, 2, 'what was held back is forgotten');
  // Without bound it would hold all that is ever replaced.
  const small = createStateTree({ versionsKept: 2, retiredNodesMax: 200 });
  small.load(1, entries);
  const lost = small.pin();
  for (let height = 2; height < 10; height++)
    small.update(
      height,
      entries.map(([key]) => [key, Uint8Array.of(height)] as const),
    );
  assert.throws(() => [...lost.entries()], UsageError);
  lost.release();
});

test('killed at any moment of a restore, a node starts with nothing or with the whole state', async (t) => {
  const folder = temporaryFolder(t);
  const seed = Date.now() >>> 0;
  t.diagnostic(`seed of the moments: ${seed}`);
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const outcomes = { nothing: 0, whole: 0 };
  for (let kill = 0; kill < 9; kill++) {
    const directory = join(folder, `${kill % 3}`);
    const child = spawn(process.execPath, [join(import.meta.dirname, 'snapshot-joiner.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const closed = once(child, 'close');
    while (!output.includes('offered') && child.exitCode === null) await sleep(1);
    await sleep(random() * 150);
    child.kill('SIGKILL');
    await closed;
    assert.doesNotMatch(output, /wrong/);
    const store = openStore(directory);
    const isWhole = store.latestHeight() === 7;
    if (isWhole) assert.deepEqual(restoreStateTree(store).root, treeOf(entriesOf(600)).root);
    else {
      assert.equal(store.latestHeight(), 0);
      assert.equal([...store.load().entries].length, 0);
    }
    assert.ok(isWhole || !output.endsWith('restored\n'), 'what was said to be restored is there');
    assert.ok(store.canRestore());
    outcomes[isWhole ? 'whole' : 'nothing']++;
    await store.close();
  }
  t.diagnostic(`${outcomes.nothing} began again with nothing, ${outcomes.whole} with the whole state`);
});
