/** What is kept of an executed block beside the block itself: enough to answer queries and to rebuild every index. */
import { arrayOf, bool, bytesOf, decode, encode, field, struct, textOf, u64, uint } from '@haca/primitives';
import type { AbciEvent, ExecTxResult, FinalizeBlockResponse } from '../abci.ts';

export interface BlockResults extends FinalizeBlockResponse {
  readonly blockHash: Uint8Array;
  /** Block time, whole milliseconds. */
  readonly timeMs: number;
}

const TEXT_MAX = 1 << 20;
const text = textOf(0, TEXT_MAX);

const eventCodec = struct({
  type: field(0, text),
  attributes: field(
    1,
    arrayOf(struct({ key: field(0, text), value: field(1, text), index: field(2, bool) }), 1_000),
  ),
});

const resultsCodec = struct({
  blockHash: field(0, bytesOf(32)),
  timeMs: field(1, uint()),
  appHash: field(2, bytesOf(32)),
  events: field(3, arrayOf(eventCodec, 100_000)),
  validatorUpdates: field(
    4,
    arrayOf(struct({ publicKey: field(0, bytesOf(32)), power: field(1, u64) }), 10_000),
  ),
  txResults: field(
    5,
    arrayOf(
      struct({
        code: field(0, uint()),
        data: field(1, bytesOf(0, TEXT_MAX)),
        log: field(2, text),
        info: field(3, text),
        gasWanted: field(4, u64),
        gasUsed: field(5, u64),
        events: field(6, arrayOf(eventCodec, 10_000)),
        codespace: field(7, text),
      }),
      1_000_000,
    ),
  ),
});

export function encodeBlockResults(results: BlockResults): Uint8Array {
  return encode(resultsCodec, results);
}

/** Throws `MalformedError`: what was stored is not what was written. */
export function decodeBlockResults(bytes: Uint8Array): BlockResults {
  return decode(resultsCodec, bytes, 'results');
}

/** The events of a transaction as the event bus and the search see them: `type.key` to values. */
export function eventValues(events: readonly AbciEvent[]): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const event of events) {
    for (const { key, value } of event.attributes) {
      const name = `${event.type}.${key}`;
      const known = values.get(name);
      if (known === undefined) values.set(name, [value]);
      else known.push(value);
    }
  }
  return values;
}

/** What CometBFT's LastResultsHash covers. */
export function hashedResults(results: readonly ExecTxResult[]) {
  return results.map(({ code, data, gasWanted, gasUsed }) => ({ code, data, gasWanted, gasUsed }));
}
