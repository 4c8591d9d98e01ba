/** What transactions are found by beside their hash: each event attribute that is meant to be indexed, and its value. */
import { decodeBlockResults, eventValues } from './block-results.ts';

/** Every transaction has this. */
export const TX_TAG = 'tx.height';

export function valueTag(name: string, value: string): string {
  return `${name}=${value}`;
}

/** Tags of one block's results: `type.key` for having the attribute at all, `type.key=value` for each value of it. */
export function eventTags(results: Uint8Array): ReadonlyMap<string, readonly number[]> {
  const tags = new Map<string, number[]>();
  const add = (tag: string, index: number): void => {
    const known = tags.get(tag);
    if (known === undefined) tags.set(tag, [index]);
    else if (known.at(-1) !== index) known.push(index);
  };
  for (const [index, { events }] of decodeBlockResults(results).txResults.entries()) {
    add(TX_TAG, index);
    for (const [name, values] of eventValues(events)) {
      add(name, index);
      for (const value of values) add(valueTag(name, value), index);
    }
  }
  return tags;
}
