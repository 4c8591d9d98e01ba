import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { toHex, UsageError } from '@haca/primitives';
import fc from 'fast-check';
import { open } from 'lmdb';
import { type Change, createStateTree } from '../src/state-tree/index.ts';
import {
  type BlockRecord,
  openStore,
  restoreStateTree,
  StorageCorruptError,
  StorageFailedError,
  type StoreOptions,
} from '../src/storage/index.ts';
import { CRASH_STORE_OPTIONS, changesOfBlock, txHashesOfBlock } from './storage-writer.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const NOTHING = new Uint8Array(0);

function freshDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'haca-store-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function record(height: number, changes: readonly Change[], rest: Partial<BlockRecord> = {}): BlockRecord {
  const named = (what: string) => text(`${what} ${height}`);
  const opaque = { block: named('block'), results: named('results'), commit: named('commit') };
  return { height, changes, appHash: new Uint8Array(32).fill(height), ...opaque, txHashes: [], ...rest };
}

function sorted(entries: Iterable<readonly [Uint8Array, Uint8Array]>): string[] {
  return [...entries].map(([key, value]) => `${toHex(key)}=${toHex(value)}`).sort();
}

test('what was committed is there again, read at once and after reopening, whatever was flushed between', async (context) => {
  const anyChanges = fc
    .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.option(fc.uint8Array({ maxLength: 40 }))), {
      selector: ([key]) => key,
      maxLength: 12,
    })
    .map((changes) => changes.map(([key, value]): Change => [text(`key ${key}`), value]));
  const anyOptions = fc.record({
    flushBytes: fc.constantFrom(1, 300, 1e9),
    flushHeights: fc.constantFrom(1, 3, 1e9),
    historyHeights: fc.constantFrom(0, 2, 1e9),
    historyBytes: fc.constantFrom(0, 200, 1e9),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyChanges, { minLength: 1, maxLength: 8 }),
      anyOptions,
      async (blocks, options) => {
        const directory = freshDirectory(context);
        let store = openStore(directory, options);
        const model = new Map<string, Uint8Array>();
        for (const [i, changes] of blocks.entries()) {
          await store.commit(record(i + 1, changes));
          for (const [key, value] of changes) {
            if (value === null) model.delete(toHex(key));
            else model.set(toHex(key), value);
          }
          if (i % 3 === 2) {
            await store.close();
            store = openStore(directory, options);
          }
          await store.flush();
          const expected = [...model].map(([key, value]) => `${key}=${toHex(value)}`).sort();
          assert.deepEqual(sorted(store.load().entries), expected);
        }
        await store.close();
      },
    ),
    { numRuns: 25 },
  );
});

test('blocks, results, commits and app hashes are found by height, transactions by hash', async (context) => {
  const directory = freshDirectory(context);
  const options: StoreOptions = { flushHeights: 4, historyHeights: 0 };
  let store = openStore(directory, options);
  assert.deepEqual([store.latestHeight(), store.baseHeight(), store.load().height], [0, 0, 0]);
  for (let height = 7; height <= 30; height++) {
    await store.commit(record(height, [[text(`${height}`), NOTHING]], { txHashes: txHashesOfBlock(height) }));
    assert.deepEqual(store.txByHash(txHashesOfBlock(height)[1] as Uint8Array), { height, index: 1 });
  }
  await store.commit(record(31, [], { txHashes: [txHashesOfBlock(8)[0] as Uint8Array] }));
  for (const reopen of [false, true, true]) {
    if (reopen) {
      await store.close();
      store = openStore(directory, options);
    }
    for (let height = 7; height <= 30; height++) {
      assert.deepEqual(store.blockAt(height), text(`block ${height}`));
      assert.deepEqual(store.resultsAt(height), text(`results ${height}`));
      assert.deepEqual(store.commitAt(height), text(`commit ${height}`));
      assert.deepEqual(store.appHashAt(height), new Uint8Array(32).fill(height));
      assert.deepEqual(store.txByHash(txHashesOfBlock(height)[1] as Uint8Array), { height, index: 1 });
    }
    assert.deepEqual(store.txByHash(txHashesOfBlock(8)[0] as Uint8Array), { height: 31, index: 0 });
    for (const height of [-1, 0, 6, 32, 1.5, Number.NaN]) assert.equal(store.blockAt(height), undefined);
    assert.equal(store.txByHash(new Uint8Array(32)), undefined);
    assert.equal(store.txByHash(NOTHING), undefined);
    await store.reindexEvents();
  }
  assert.equal(await store.prune(20), 13);
  assert.deepEqual([store.baseHeight(), store.latestHeight()], [20, 31]);
  assert.equal(store.blockAt(19), undefined);
  assert.equal(store.txByHash(txHashesOfBlock(19)[0] as Uint8Array), undefined);
  assert.deepEqual(store.txByHash(txHashesOfBlock(8)[0] as Uint8Array), { height: 31, index: 0 });
  assert.equal([...store.load().entries].length, 24);
  assert.equal(await store.prune(1000), 11);
  assert.deepEqual([store.baseHeight(), store.latestHeight()], [31, 31]);
  await store.close();
  store = openStore(directory, options);
  assert.deepEqual(store.load().appHash, new Uint8Array(32).fill(31));
  await store.commit(record(32, []));
  await store.close();
});

test('records that do not follow, and misuse, are refused', async (context) => {
  const store = openStore(freshDirectory(context));
  await assert.rejects(store.commit(record(0, [])), UsageError);
  await store.commit(record(5, []));
  for (const height of [4, 5, 7]) await assert.rejects(store.commit(record(height, [])), UsageError);
  const twice: Change[] = [
    [text('a'), null],
    [text('a'), NOTHING],
  ];
  await assert.rejects(store.commit(record(6, twice)), UsageError);
  await assert.rejects(store.commit(record(6, [[NOTHING, NOTHING]])), UsageError);
  await assert.rejects(store.commit(record(6, [], { txHashes: [new Uint8Array(31)] })), UsageError);
  const running = store.commit(record(6, []));
  await assert.rejects(store.commit(record(7, [])), UsageError);
  await running;
  const entries = store.load().entries;
  await store.commit(record(7, []));
  assert.throws(() => [...entries], UsageError);
  await store.close();
  await store.close();
  await assert.rejects(store.commit(record(8, [])), UsageError);
});

test('two stores on one directory do not interleave their chains', async (context) => {
  const directory = freshDirectory(context);
  const first = openStore(directory);
  const second = openStore(directory);
  await first.commit(record(1, [[text('a'), text('first')]]));
  await assert.rejects(second.commit(record(1, [[text('a'), text('second')]])), StorageCorruptError);
  await assert.rejects(second.commit(record(2, [])), StorageFailedError);
  await first.commit(record(2, []));
  assert.deepEqual(sorted(first.load().entries), [`${toHex(text('a'))}=${toHex(text('first'))}`]);
  await first.close();
});

test('a damaged store is refused, not served', async (context) => {
  const directory = freshDirectory(context);
  const store = openStore(directory, { flushHeights: 1e9, flushBytes: 1e12, historyHeights: 0 });
  const tree = createStateTree();
  for (let height = 1; height <= 4; height++) {
    const changes = changesOfBlock(height);
    await store.commit(record(height, changes, { appHash: tree.update(height, changes) }));
  }
  assert.deepEqual(restoreStateTree(store).root, tree.root);
  await store.flush();
  await store.commit(record(5, [], { appHash: new Uint8Array(32).fill(1) }));
  assert.throws(() => restoreStateTree(store), { name: 'StorageCorruptError', code: 'storage.root' });
  await store.close();

  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const damage = async (table: string, key: Uint8Array, value: Uint8Array | undefined) => {
    const root = open<Uint8Array, Uint8Array>({ path: directory, ...binary });
    const database = root.openDB<Uint8Array, Uint8Array>({ name: table, ...binary });
    if (value === undefined) database.removeSync(key);
    else database.putSync(key, value);
    await root.close();
  };
  const height = (n: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, n);
  await damage('meta', text('flat-height'), height(9));
  assert.throws(() => openStore(directory), { name: 'StorageCorruptError', code: 'storage.flat-ahead' });
  await damage('meta', text('flat-height'), height(3));
  assert.throws(() => openStore(directory), { name: 'StorageCorruptError', code: 'storage.gap' });
  await damage('meta', text('flat-height'), height(5));
  await damage('meta', text('format'), Uint8Array.of(2));
  assert.throws(() => openStore(directory), { name: 'StorageCorruptError', code: 'storage.format' });
});

test('killed at any moment, the store restarts where it was', async (context) => {
  const directory = freshDirectory(context);
  const seed = Date.now() >>> 0;
  context.diagnostic(`seed of the moments: ${seed}`);
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let acknowledged = 0;
  for (let kill = 0; kill < 32; kill++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'storage-writer.ts'), directory], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors += chunk;
    });
    const closed = once(child, 'close');
    // One in four dies while it starts; the others once they write, where every moment of a commit comes up.
    if (kill % 4 !== 3) while (!output.includes('R ') && child.exitCode === null) await sleep(1);
    await sleep(kill % 4 === 3 ? random() * 250 : random() * 60);
    child.kill('SIGKILL');
    await closed;
    assert.equal(errors, '', `kill ${kill}`);
    const heights = [...output.matchAll(/^([RC]) (\d+)$/gm)].map(([, kind, height]) => ({
      kind,
      height: Number(height),
    }));
    const restored = heights.find(({ kind }) => kind === 'R')?.height;
    if (restored !== undefined)
      assert.ok(restored >= acknowledged, `restored ${restored} after ${acknowledged}`);
    acknowledged = Math.max(acknowledged, heights.at(-1)?.height ?? 0);
  }
  assert.ok(acknowledged >= 32, `only ${acknowledged} blocks were committed`);
  const store = openStore(directory, CRASH_STORE_OPTIONS);
  const latest = store.latestHeight();
  assert.ok(latest >= acknowledged && latest <= acknowledged + 1, `latest ${latest} after ${acknowledged}`);
  const expected = createStateTree({ versionsKept: 1 });
  for (let height = 1; height <= latest; height++) {
    expected.update(height, changesOfBlock(height));
    assert.deepEqual(store.appHashAt(height), expected.root, `height ${height}`);
    assert.deepEqual(store.txByHash(txHashesOfBlock(height)[1] as Uint8Array), { height, index: 1 });
  }
  assert.deepEqual(restoreStateTree(store).root, expected.root);
  await store.close();
  context.diagnostic(`${latest} blocks committed over 32 kills`);
});
