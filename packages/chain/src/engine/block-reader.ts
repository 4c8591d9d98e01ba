/** Reads of stored blocks. All throw `HeightError` for a height that is not there. */
import {
  type Block,
  type BlockId,
  type Commit,
  decodeBlockBytes,
  type ValidatorSet,
} from '@haca/light-client';
import { type BlockResults, decodeBlockResults } from '../application/block-results.ts';
import type { EventRow, Store } from '../storage/index.ts';
import { type CommitRecord, decodeCommitRecord } from './chain-tip.ts';

export class HeightError extends Error {
  override readonly name = 'HeightError';
}

export interface StoredBlockView {
  readonly block: Block;
  readonly blockId: BlockId;
  readonly sizeBytes: number;
}

export interface BlockReader {
  readonly latest: () => number;
  readonly base: () => number;
  /** 0 or undefined: the newest. Throws `HeightError` for one that is not stored. */
  readonly height: (asked: number | undefined) => number;
  readonly block: (height: number) => StoredBlockView;
  readonly results: (height: number) => BlockResults;
  readonly commit: (height: number) => Commit;
  readonly validators: (height: number) => ValidatorSet;
  readonly heightOfHash: (blockHash: Uint8Array) => number | undefined;
  /** Up to here `eventRows` are complete; the index of events follows the blocks. */
  readonly indexedHeight: () => number;
  readonly eventRows: (tag: string, first: number, last: number) => Iterable<EventRow>;
  readonly eventRowAt: (tag: string, height: number) => EventRow | undefined;
  readonly countEventRows: (tag: string, first: number, last: number, limit: number) => number;
  readonly txPlace: (txHash: Uint8Array) => { readonly height: number; readonly index: number } | undefined;
}

export function createBlockReader(store: Store): BlockReader {
  const latest = (): number => store.latestHeight();
  const stored = (bytes: Uint8Array | undefined, height: number): Uint8Array => {
    if (bytes === undefined || bytes.length === 0) throw new HeightError(`block ${height} is not stored`);
    return bytes;
  };
  const record = (height: number): CommitRecord => decodeCommitRecord(stored(store.commitAt(height), height));
  const results = (height: number): BlockResults =>
    decodeBlockResults(stored(store.resultsAt(height), height));
  /** Names of a block are its transactions' hashes, then its own. */
  const placeOf = (name: Uint8Array) => {
    const place = name.length === 32 ? store.txByHash(name) : undefined;
    return place === undefined ? undefined : { ...place, txCount: results(place.height).txResults.length };
  };

  return {
    latest,
    base: () => store.baseHeight(),
    height: (asked = 0) => {
      if (asked === 0) {
        if (latest() === 0) throw new HeightError('there is no block yet');
        return latest();
      }
      if (asked < 0) throw new HeightError(`height must be greater than 0, but got ${asked}`);
      if (asked > latest()) {
        const limit = `height ${asked} must be less than or equal to the current blockchain height ${latest()}`;
        throw new HeightError(limit);
      }
      if (asked < store.baseHeight()) {
        throw new HeightError(`height ${asked} is not available, lowest height is ${store.baseHeight()}`);
      }
      return asked;
    },
    block: (height) => {
      const bytes = stored(store.blockAt(height), height);
      const { commit } = record(height);
      return { block: decodeBlockBytes(bytes), blockId: commit.blockId, sizeBytes: bytes.length };
    },
    results,
    commit: (height) => record(height).commit,
    // The set of the next height is known as well: a light client asks for it.
    validators: (height) =>
      height === latest() + 1 ? record(height - 1).nextValidators : record(height).validators,
    heightOfHash: (blockHash) => {
      const place = placeOf(blockHash);
      return place !== undefined && place.index === place.txCount ? place.height : undefined;
    },
    indexedHeight: store.indexedHeight,
    eventRows: store.eventRows,
    eventRowAt: store.eventRowAt,
    countEventRows: store.countEventRows,
    txPlace: (txHash) => {
      const place = placeOf(txHash);
      return place !== undefined && place.index < place.txCount ? place : undefined;
    },
  };
}
