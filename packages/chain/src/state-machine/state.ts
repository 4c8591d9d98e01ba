/**
 * The state of one block in the making: records over the view of the block before. Each record is decoded at most once a
 * block and encoded once at its end; a journal takes back the writes of an operation that is refused.
 */
import { bytesEqual, type Codec, compareBytes, decode, encode, MalformedError } from '@haca/primitives';
import type { Change, Posting, StateView } from './types.ts';

/** A stored record does not decode: the store is damaged, or was written by other software. Execution must stop. */
export class StateCorruptError extends Error {
  override readonly name = 'StateCorruptError';
}

export interface State {
  readonly read: <T>(codec: Codec<T>, key: Uint8Array) => T | undefined;
  /** Records are never changed in place: a write brings a new value, or `undefined` to remove the record. */
  readonly write: <T>(codec: Codec<T>, key: Uint8Array, value: T | undefined) => void;
  readonly post: (ledger: Posting['ledger'], slot: string, amount: bigint) => void;
  readonly mark: () => Savepoint;
  /** Takes back everything written and posted since `savepoint`. */
  readonly rollback: (savepoint: Savepoint) => void;
  readonly postingsSince: (savepoint: Savepoint) => readonly Posting[];
  readonly changes: () => readonly Change[];
}

export interface Savepoint {
  readonly writes: number;
  readonly postings: number;
}

interface Entry {
  readonly key: Uint8Array;
  readonly before: Uint8Array | undefined;
  codec: Codec<unknown>;
  value: unknown;
  dirty: boolean;
}

export function openState(view: StateView, collectPostings = true): State {
  const entries = new Map<string, Entry>();
  const journal: { readonly entry: Entry; readonly value: unknown }[] = [];
  const postings: Posting[] = [];

  const entryOf = <T>(codec: Codec<T>, key: Uint8Array): Entry => {
    const name = latin1(key);
    const known = entries.get(name);
    if (known !== undefined) return known;
    const before = view.get(key);
    const value = before === undefined ? undefined : decodeRecord(codec, before, key);
    const entry: Entry = { key, before, codec: codec as Codec<unknown>, value, dirty: false };
    entries.set(name, entry);
    return entry;
  };

  return {
    read: <T>(codec: Codec<T>, key: Uint8Array) => entryOf(codec, key).value as T | undefined,
    write: (codec, key, value) => {
      const entry = entryOf(codec, key);
      journal.push({ entry, value: entry.value });
      entry.value = value;
      entry.dirty = true;
    },
    post: (ledger, slot, amount) => {
      if (collectPostings && amount !== 0n) postings.push({ ledger, slot, amount });
    },
    mark: () => ({ writes: journal.length, postings: postings.length }),
    rollback: (savepoint) => {
      for (let i = journal.length - 1; i >= savepoint.writes; i--) {
        const undo = journal[i] as (typeof journal)[number];
        undo.entry.value = undo.value;
      }
      journal.length = savepoint.writes;
      postings.length = savepoint.postings;
    },
    postingsSince: (savepoint) => postings.slice(savepoint.postings),
    changes: () => changesOf(entries.values()),
  };
}

function decodeRecord<T>(codec: Codec<T>, bytes: Uint8Array, key: Uint8Array): T {
  try {
    return decode(codec, bytes, 'record');
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new StateCorruptError(`record of table ${key[0]}: ${error.message}`, { cause: error });
  }
}

function changesOf(entries: Iterable<Entry>): readonly Change[] {
  const changes: Change[] = [];
  for (const { key, before, codec, value, dirty } of entries) {
    if (!dirty) continue;
    const after = value === undefined ? null : encode(codec, value);
    if (after === null ? before === undefined : before !== undefined && bytesEqual(before, after)) continue;
    changes.push([key, after]);
  }
  return changes.sort(([a], [b]) => compareBytes(a, b));
}

/** One character a byte: a map key that costs nothing to compare. Keys have at most a few dozen bytes. */
function latin1(key: Uint8Array): string {
  return String.fromCharCode.apply(null, key as unknown as number[]);
}
