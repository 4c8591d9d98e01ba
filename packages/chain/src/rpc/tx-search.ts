/**
 * Finding transactions by their events. The index of events names candidates, the events themselves decide: so an answer is
 * the same as if every block had been looked at, and the newest blocks, which the index does not have yet, are.
 */
import { toUpperHex } from '@haca/light-client';
import { fromHex, sha256 } from '@haca/primitives';
import { eventValues } from '../application/block-results.ts';
import { TX_TAG, valueTag } from '../application/event-tags.ts';
import type { BlockReader } from '../engine/block-reader.ts';
import { breather } from './breather.ts';
import { type Condition, heightRange, matchesQuery } from './event-query.ts';
import { internalFault } from './json-rpc.ts';

export interface TxHit {
  readonly height: number;
  readonly index: number;
}

/** Only the newest of them, where more match. */
export const SEARCH_HITS_MAX = 10_000;
/** Rows and blocks that one search looks at. */
export const SEARCH_ROWS_MAX = 200_000;
export const SEARCH_BLOCKS_MAX = 20_000;
/** Rows are counted up to here to find the rarest tag. */
const COUNT_MAX = 1_024;

/** Transactions that meet all conditions, the newest first. Throws `RpcFault` where that takes looking at too much. */
export async function searchTxs(blocks: BlockReader, conditions: readonly Condition[]): Promise<TxHit[]> {
  const [first, last] = heightRange(conditions, 'tx.height', Math.max(1, blocks.base()), blocks.latest());
  const hits: TxHit[] = [];
  let looked = 0;
  const look = (height: number, indexes?: readonly number[]): void => {
    if (++looked > SEARCH_BLOCKS_MAX) throw tooBroad(`${SEARCH_BLOCKS_MAX} blocks`);
    matchesIn(blocks, conditions, height, indexes, hits);
  };
  const hash = conditions.find(({ key, op }) => key === 'tx.hash' && op === '=')?.value;
  if (hash !== undefined) {
    const place = /^[0-9a-fA-F]{64}$/.test(hash) ? blocks.txPlace(fromHex(hash.toLowerCase())) : undefined;
    if (place !== undefined && place.height >= first && place.height <= last)
      look(place.height, [place.index]);
    return hits;
  }
  const breathe = breather();
  const indexed = blocks.indexedHeight();
  for (let height = last; height > Math.max(indexed, first - 1) && hits.length < SEARCH_HITS_MAX; height--) {
    await breathe();
    look(height);
  }
  for await (const { height, indexes } of candidates(blocks, conditions, first, Math.min(last, indexed))) {
    look(height, indexes);
    if (hits.length >= SEARCH_HITS_MAX) break;
  }
  return hits.slice(0, SEARCH_HITS_MAX);
}

function tooBroad(what: string) {
  return internalFault(`the search has to look at more than ${what}: narrow it, e.g. by tx.height`);
}

/** Blocks in which every tag occurs, with the places where all of them do. */
async function* candidates(
  blocks: BlockReader,
  conditions: readonly Condition[],
  first: number,
  last: number,
) {
  if (first > last) return;
  const [rarest, ...others] = tagsOf(conditions)
    .map((tag) => ({ tag, rows: blocks.countEventRows(tag, first, last, COUNT_MAX) }))
    .sort((a, b) => a.rows - b.rows)
    .map(({ tag }) => tag);
  const breathe = breather();
  let rows = 0;
  for (const { height, indexes } of blocks.eventRows(rarest ?? TX_TAG, first, last)) {
    if (++rows > SEARCH_ROWS_MAX) throw tooBroad(`${SEARCH_ROWS_MAX} rows of the index`);
    await breathe();
    let common = indexes;
    for (const tag of others) {
      if (common.length === 0) break;
      const row = new Set(blocks.eventRowAt(tag, height)?.indexes ?? []);
      common = common.filter((index) => row.has(index));
    }
    if (common.length > 0) yield { height, indexes: common };
  }
}

/** What a transaction must have to meet the conditions. Heights and hashes are not among the events. */
function tagsOf(conditions: readonly Condition[]): readonly string[] {
  const tags = conditions
    .filter(({ key }) => key !== 'tx.height' && key !== 'tx.hash')
    .map(({ key, op, value }) => (op === '=' ? valueTag(key, value) : key));
  return [...new Set(tags)];
}

/** Appends what matches in one block, the last place first. */
function matchesIn(
  blocks: BlockReader,
  conditions: readonly Condition[],
  height: number,
  indexes: readonly number[] | undefined,
  hits: TxHit[],
): void {
  const { txResults } = blocks.results(height);
  if (txResults.length === 0) return;
  const { txs } = blocks.block(height).block;
  for (const index of [...(indexes ?? txResults.keys())].reverse()) {
    const values = eventValues(txResults[index]?.events ?? []);
    values.set('tx.height', [`${height}`]);
    values.set('tx.hash', [toUpperHex(sha256(txs[index] as Uint8Array))]);
    if (matchesQuery(conditions, values)) hits.push({ height, index });
  }
}
