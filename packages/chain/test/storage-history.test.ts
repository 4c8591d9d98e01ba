import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { toHex, UsageError, utf8Decode, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { open } from 'lmdb';
import { createStateTree, type StateTree } from '../src/state-tree/index.ts';
import {
  type EventTags,
  openStore,
  restoreStateTree,
  rollbackStore,
  type Store,
  type StoreOptions,
} from '../src/storage/index.ts';
import { changesOfBlock, txHashesOfBlock } from './storage-writer.ts';

const NOTHING = new Uint8Array(0);

function freshDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'haca-history-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Results are text: a line for each transaction, a word for each of its tags. */
const wordTags: EventTags = (results) => {
  const tags = new Map<string, number[]>();
  for (const [index, line] of utf8Decode(results, 'results').split('\n').entries()) {
    for (const word of new Set(line.split(' '))) {
      const known = tags.get(word);
      if (known === undefined) tags.set(word, [index]);
      else known.push(index);
    }
  }
  return tags;
};

async function commitBlock(
  store: Store,
  tree: StateTree,
  height: number,
  results: Uint8Array = NOTHING,
): Promise<void> {
  const changes = changesOfBlock(height);
  const appHash = tree.update(height, changes);
  const txHashes = txHashesOfBlock(height);
  await store.commit({ height, appHash, changes, block: NOTHING, results, commit: NOTHING, txHashes });
}

test('a restarted node has every state of its history, each with the root that was committed', async (context) => {
  const anyOptions = fc.record({
    historyHeights: fc.integer({ min: 0, max: 12 }),
    historyBytes: fc.constantFrom(500, 4_000, 1e9),
    flushBytes: fc.constantFrom(1, 3_000, 1e9),
    flushHeights: fc.integer({ min: 0, max: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(anyOptions, fc.integer({ min: 1, max: 5 }), async (options, first) => {
      const directory = freshDirectory(context);
      let store = openStore(directory, options);
      const tree = createStateTree({ versionsKept: 1_000 });
      for (let height = first; height < first + 25; height++) {
        await commitBlock(store, tree, height);
        if (height % 10 !== 0) continue;
        await store.close();
        store = openStore(directory, options);
      }
      await store.close();
      store = openStore(directory, options);
      const restored = restoreStateTree(store, { versionsKept: 1_000 });
      const kept = restored.heights();
      assert.equal(kept.at(-1), first + 24);
      assert.ok(
        options.historyBytes < 1e9 || kept.length >= Math.min(25, options.historyHeights + 1),
        `${kept.length} kept`,
      );
      assert.ok(options.historyHeights > 0 || kept.length === 1, 'no more than it was told to keep');
      for (const height of kept) assert.deepEqual(restored.rootAt(height), tree.rootAt(height));
      await store.close();
    }),
    { numRuns: 20 },
  );
});

test('rolled back to any height of its history, the store has the old root and goes on from there', async (context) => {
  const options: StoreOptions = { historyHeights: 10, flushHeights: 2, eventTags: wordTags };
  const directory = freshDirectory(context);
  let store = openStore(directory, options);
  let tree = createStateTree({ versionsKept: 100 });
  const roots = new Map<number, string>();
  const grow = async (from: number, upTo: number): Promise<void> => {
    for (let height = from; height <= upTo; height++) {
      await commitBlock(store, tree, height, utf8Encode(`even${height % 2} h${height}`));
      roots.set(height, toHex(tree.root));
    }
  };
  await grow(1, 40);
  await store.close();
  for (const toHeight of [40, 39, 35, 31]) {
    const { height, appHash } = await rollbackStore(directory, toHeight);
    assert.deepEqual([height, toHex(appHash)], [toHeight, roots.get(toHeight)]);
    store = openStore(directory, options);
    tree = restoreStateTree(store, { versionsKept: 100 });
    assert.deepEqual([store.latestHeight(), toHex(tree.root)], [toHeight, roots.get(toHeight)]);
    await store.flush();
    assert.equal(store.txByHash(txHashesOfBlock(toHeight + 1)[0] as Uint8Array), undefined);
    assert.deepEqual(store.txByHash(txHashesOfBlock(toHeight)[0] as Uint8Array), {
      height: toHeight,
      index: 0,
    });
    assert.equal([...store.eventRows(`h${toHeight + 1}`, 1, 100)].length, 0);
    assert.equal([...store.eventRows(`h${toHeight}`, 1, 100)].length, 1);
    assert.throws(() => restoreStateTree(store).rootAt(toHeight + 1), UsageError);
    await store.close();
  }
  store = openStore(directory, options);
  await grow(32, 45);
  await store.close();
  for (const toHeight of [46, 33, 0, -1, 40.5, Number.NaN])
    await assert.rejects(rollbackStore(directory, toHeight), UsageError);
  const nowhere = join(directory, 'nowhere');
  await assert.rejects(rollbackStore(nowhere, 1), UsageError);
  assert.ok(!existsSync(nowhere), 'nothing is made where nothing was');
  store = openStore(directory, options);
  assert.equal(toHex(restoreStateTree(store).root), roots.get(45));
  await store.close();
});

test('a state that was taken in is the base of the history, and a transaction of a block that is gone is found in the one before', async (context) => {
  const directory = freshDirectory(context);
  let store = openStore(directory);
  const tree = createStateTree({ versionsKept: 100 });
  tree.load(
    20,
    changesOfBlock(20).flatMap(([key, value]) => (value === null ? [] : [[key, value] as const])),
  );
  const restore = await store.beginRestore();
  await assert.rejects(store.beginRestore(), UsageError);
  await restore.put([...tree.entries()]);
  await restore.finish(20, tree.root);
  await assert.rejects(restore.put([]), UsageError);
  assert.deepEqual([store.latestHeight(), store.baseHeight(), store.restoredHeight()], [20, 20, 20]);
  assert.deepEqual(store.resultsAt(20), NOTHING);
  const repeated = txHashesOfBlock(1);
  for (const height of [21, 22, 23]) {
    const changes = changesOfBlock(height);
    const appHash = tree.update(height, changes);
    const txHashes = height === 22 ? [] : repeated;
    const none = { block: NOTHING, results: NOTHING, commit: NOTHING };
    await store.commit({ height, appHash, changes, ...none, txHashes });
  }
  assert.equal(store.canRestore(), false);
  await assert.rejects(store.beginRestore(), UsageError);
  await store.close();
  await assert.rejects(rollbackStore(directory, 19), UsageError);
  await rollbackStore(directory, 22);
  store = openStore(directory);
  await store.flush();
  assert.deepEqual(store.txByHash(repeated[1] as Uint8Array), { height: 21, index: 1 });
  await store.close();
  await rollbackStore(directory, 20);
  store = openStore(directory);
  assert.deepEqual(restoreStateTree(store).root, tree.rootAt(20));
  assert.equal(store.canRestore(), true, 'nothing was built upon it any more');
  await store.close();
});

test('the index of events has exactly what the results say, wherever it stood, and is made anew when it is lost', async (context) => {
  const anyLine = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 4 });
  const anyResults = fc.array(anyLine, { minLength: 1, maxLength: 4 });
  const rowsOf = (store: Store, tag: string, first = 1, last = 1_000) =>
    [...store.eventRows(tag, first, last)].map(({ height, indexes }) => `${height}:${indexes.join()}`);
  await fc.assert(
    fc.asyncProperty(fc.array(anyResults, { minLength: 1, maxLength: 30 }), async (blocks) => {
      const directory = freshDirectory(context);
      const options: StoreOptions = { eventTags: wordTags, historyHeights: 0, flushHeights: 0 };
      let store = openStore(directory, options);
      const tree = createStateTree();
      for (const [i, lines] of blocks.entries())
        await commitBlock(store, tree, i + 1, utf8Encode(lines.map((words) => words.join(' ')).join('\n')));
      const expected = (tag: string, first = 1, last = 1_000): string[] =>
        blocks
          .map((lines, i) => {
            const indexes = lines.flatMap((words, index) =>
              (words as readonly string[]).includes(tag) ? [index] : [],
            );
            return indexes.length > 0 && i + 1 >= first && i + 1 <= last ? `${i + 1}:${indexes.join()}` : '';
          })
          .filter((row) => row !== '')
          .reverse();
      const check = async (): Promise<void> => {
        await store.flush();
        assert.equal(store.indexedHeight(), store.latestHeight());
        for (const tag of ['a', 'b', 'c', 'd']) {
          assert.deepEqual(rowsOf(store, tag), expected(tag));
          assert.deepEqual(rowsOf(store, tag, 5, 9), expected(tag, 5, 9));
          assert.equal(store.countEventRows(tag, 3, 20, 5), Math.min(5, expected(tag, 3, 20).length));
          const row = store.eventRowAt(tag, 2);
          assert.deepEqual(row === undefined ? [] : [`2:${row.indexes.join()}`], expected(tag, 2, 2));
        }
        assert.deepEqual(rowsOf(store, 'e'), []);
      };
      await check();
      await store.close();
      // Opened by something that knows no events, then again by the node.
      store = openStore(directory, { historyHeights: 0 });
      assert.equal(store.indexedHeight(), 0);
      await store.close();
      store = openStore(directory, options);
      await check();
      await store.close();
      const root = open<Uint8Array, Uint8Array>({
        path: directory,
        encoding: 'binary',
        keyEncoding: 'binary',
      });
      const table = (name: string) =>
        root.openDB<Uint8Array, Uint8Array>({ name, encoding: 'binary', keyEncoding: 'binary' });
      table('events').clearSync();
      table('txs').clearSync();
      table('meta').removeSync(utf8Encode('index-height'));
      await root.close();
      store = openStore(directory, options);
      await check();
      await store.reindexEvents();
      await check();
      const kept = Math.ceil(blocks.length / 2);
      await store.prune(kept);
      for (const tag of ['a', 'b']) assert.deepEqual(rowsOf(store, tag), expected(tag, kept));
      await store.close();
    }),
    { numRuns: 12 },
  );
});

test('without an index of transactions none is found, and nothing else changes', async (context) => {
  const store = openStore(freshDirectory(context), { indexTxs: false });
  await commitBlock(store, createStateTree(), 1);
  await store.flush();
  assert.equal(store.txByHash(txHashesOfBlock(1)[0] as Uint8Array), undefined);
  assert.equal(store.latestHeight(), 1);
  await store.close();
});
