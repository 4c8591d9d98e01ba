import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toUpperHex } from '@haca/light-client';
import { sha256, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import type { AbciEvent } from '../src/abci.ts';
import { type BlockResults, encodeBlockResults, eventValues } from '../src/application/block-results.ts';
import { eventTags } from '../src/application/event-tags.ts';
import type { BlockReader } from '../src/engine/block-reader.ts';
import { type Condition, matchesQuery, parseEventQuery } from '../src/rpc/event-query.ts';
import { SEARCH_BLOCKS_MAX, SEARCH_ROWS_MAX, searchTxs } from '../src/rpc/tx-search.ts';

const NOTHING = new Uint8Array(0);

function txOf(height: number, index: number): Uint8Array {
  return utf8Encode(`tx ${height} ${index}`);
}

function resultsOf(txs: readonly (readonly AbciEvent[])[]): BlockResults {
  const rest = { code: 0, data: NOTHING, log: '', info: '', gasWanted: 0n, gasUsed: 0n, codespace: '' };
  const txResults = txs.map((events) => ({ ...rest, events }));
  const hash = new Uint8Array(32);
  return { blockHash: hash, timeMs: 0, appHash: hash, events: [], validatorUpdates: [], txResults };
}

/** A chain in memory whose index of events ends at `indexed`. */
function chainOf(chain: readonly (readonly (readonly AbciEvent[])[])[], indexed: number) {
  const results = chain.map(resultsOf);
  const tags = results.map((each) => eventTags(encodeBlockResults(each)));
  let looked = 0;
  const rows = (tag: string, first: number, last: number) =>
    tags.flatMap((of, i) => {
      const indexes = of.get(tag);
      const height = i + 1;
      const isIn = height >= first && height <= Math.min(last, indexed);
      return indexes === undefined || !isIn ? [] : [{ height, indexes }];
    });
  const reader: Partial<BlockReader> = {
    base: () => 1,
    latest: () => chain.length,
    indexedHeight: () => indexed,
    results: (height) => {
      looked++;
      return results[height - 1] as BlockResults;
    },
    block: (height) =>
      ({ block: { txs: (chain[height - 1] ?? []).map((_, index) => txOf(height, index)) } }) as never,
    eventRows: (tag, first, last) => rows(tag, first, last).reverse(),
    eventRowAt: (tag, height) => rows(tag, height, height)[0],
    countEventRows: (tag, first, last, limit) => Math.min(limit, rows(tag, first, last).length),
    txPlace: (hash) => {
      for (let height = 1; height <= chain.length; height++) {
        for (const index of (chain[height - 1] ?? []).keys())
          if (toUpperHex(sha256(txOf(height, index))) === toUpperHex(hash)) return { height, index };
      }
      return undefined;
    },
  };
  return { reader: reader as BlockReader, looked: () => looked };
}

const anyEvent: fc.Arbitrary<AbciEvent> = fc.record({
  type: fc.constantFrom('a', 'b'),
  attributes: fc.array(
    fc.record({
      key: fc.constantFrom('x', 'y'),
      value: fc.constantFrom('1', '2', '12', 'one'),
      index: fc.constant(true),
    }),
    { maxLength: 3 },
  ),
});
const anyChain = fc.array(fc.array(fc.array(anyEvent, { maxLength: 3 }), { maxLength: 3 }), {
  maxLength: 14,
});
const anyKey = fc.constantFrom('a.x', 'a.y', 'b.x', 'c.z', 'tx.height', 'tx.hash', 'tm.event');
const anyCondition = fc
  .tuple(
    anyKey,
    fc.constantFrom('=', '<', '<=', '>', '>=', 'CONTAINS', 'EXISTS'),
    fc.oneof(
      fc.constantFrom('1', '2', '12', 'one', '5', '9', '-3'),
      fc.constant(toUpperHex(sha256(txOf(3, 0)))),
    ),
  )
  .map(([key, op, value]) => (op === 'EXISTS' ? `${key} EXISTS` : `${key} ${op} '${value}'`));
const anyQuery = fc.array(anyCondition, { minLength: 1, maxLength: 3 });

test('a search finds what looking at every transaction finds, wherever the index stands', async () => {
  await fc.assert(
    fc.asyncProperty(anyChain, fc.nat({ max: 14 }), anyQuery, async (chain, indexed, query) => {
      const conditions: readonly Condition[] = parseEventQuery(query.join(' AND '));
      const { reader } = chainOf(chain, Math.min(indexed, chain.length));
      const expected = chain.flatMap((txs, i) =>
        txs.flatMap((events, index) => {
          const values = eventValues(events);
          values.set('tx.height', [`${i + 1}`]);
          values.set('tx.hash', [toUpperHex(sha256(txOf(i + 1, index)))]);
          return matchesQuery(conditions, values) ? [{ height: i + 1, index }] : [];
        }),
      );
      assert.deepEqual(await searchTxs(reader, conditions), expected.reverse());
    }),
    { numRuns: 600 },
  );
});

test('a search looks at blocks that the index names, and says so where it would look at too much', async () => {
  const event = (value: string): AbciEvent => ({ type: 'a', attributes: [{ key: 'x', value, index: true }] });
  const chain = Array.from({ length: 2_000 }, (_, i) => [[event(i % 500 === 0 ? 'rare' : 'often')]]);
  const { reader, looked } = chainOf(chain, 2_000);
  const found = await searchTxs(reader, parseEventQuery("a.x EXISTS AND a.x = 'rare' AND tx.height > 10"));
  assert.deepEqual(
    found.map(({ height }) => height),
    [1501, 1001, 501],
  );
  assert.equal(looked(), 3);

  const endless = (rows: number): BlockReader => ({
    ...reader,
    latest: () => 1_000_000,
    indexedHeight: () => 1_000_000,
    countEventRows: () => rows,
    *eventRows() {
      for (let height = 1_000_000; height > 0; height--) yield { height, indexes: [0] };
    },
    eventRowAt: () => undefined,
    results: () => resultsOf([[event('often')]]),
    block: () => ({ block: { txs: [NOTHING] } }) as never,
  });
  const tooMuch = (what: string) =>
    `the search has to look at more than ${what}: narrow it, e.g. by tx.height`;
  const wide = parseEventQuery("a.x CONTAINS 'nowhere'");
  await assert.rejects(searchTxs(endless(1), wide), { data: tooMuch(`${SEARCH_BLOCKS_MAX} blocks`) });
  const two = parseEventQuery("a.x CONTAINS 'nowhere' AND b.y EXISTS");
  await assert.rejects(searchTxs(endless(1), two), { data: tooMuch(`${SEARCH_ROWS_MAX} rows of the index`) });
});
