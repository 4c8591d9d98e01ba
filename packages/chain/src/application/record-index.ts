import { MalformedError, toHex } from '@haca/primitives';
import { RECORD_LIST_MAX, type RecordEntry, type TableName, tableOf } from '@haca/protocol';
import type { Change, StateView } from '../state-machine/index.ts';

/** Tables that can grow by the million are looked up by key only. */
const LISTED: ReadonlySet<TableName> = new Set([
  'totals',
  'params',
  'asset',
  'channel',
  'session',
  'allocation',
  'model',
  'node',
  'nodeKey',
  'keyEvidence',
  'validator',
  'validatorUnbonding',
  'claim',
  'verifyingKey',
  'governance',
  'collateral',
  'measurement',
  'measurementIndex',
  'evidencePolicy',
  'revokedCertificates',
]);

/** Most bytes of one listing. */
const LIST_BYTES_MAX = 4 * 1024 * 1024;

/** Keys in order, beside a state that knows keys by hash only. Not part of the state: rebuilt from it on every start. */
export interface RecordIndex {
  readonly apply: (changes: readonly Change[]) => void;
  /** Records whose key begins with `prefix` (1 byte or more) and is above `after`; ascending, bounded. */
  readonly list: (view: StateView, prefix: Uint8Array, after: Uint8Array | null) => readonly RecordEntry[];
}

export function createRecordIndex(entries: Iterable<readonly [Uint8Array, Uint8Array]>): RecordIndex {
  // Hex keeps the order of bytes.
  const keysOf = new Map<TableName, string[]>();
  for (const [key] of entries) {
    const table = tableOf(key);
    if (table !== undefined && LISTED.has(table)) listOf(keysOf, table).push(toHex(key));
  }
  for (const keys of keysOf.values()) keys.sort();

  return {
    apply: (changes) => {
      for (const [key, value] of changes) {
        const table = tableOf(key);
        if (table === undefined || !LISTED.has(table)) continue;
        const keys = listOf(keysOf, table);
        const name = toHex(key);
        const at = lowerBound(keys, name);
        const isThere = keys[at] === name;
        if (value === null && isThere) keys.splice(at, 1);
        if (value !== null && !isThere) keys.splice(at, 0, name);
      }
    },
    list: (view, prefix, after) => {
      const table = prefix.length === 0 ? undefined : tableOf(prefix);
      if (table === undefined || !LISTED.has(table)) {
        throw new MalformedError(
          'records.table',
          'data',
          `a prefix in one of ${[...LISTED].join(', ')}`,
          `${table}`,
        );
      }
      const keys = keysOf.get(table) ?? [];
      const start = toHex(prefix);
      const found: RecordEntry[] = [];
      let sizeBytes = 0;
      // A key above `after` is at least `after` plus one more digit.
      let at = lowerBound(keys, start);
      if (after !== null) at = Math.max(at, lowerBound(keys, `${toHex(after)}0`));
      for (; found.length < RECORD_LIST_MAX && sizeBytes < LIST_BYTES_MAX; at++) {
        const name = keys[at];
        if (name === undefined || !name.startsWith(start)) break;
        const key = Uint8Array.from(Buffer.from(name, 'hex'));
        const value = view.get(key);
        if (value === undefined) throw new Error(`index names a record that is not there: ${name}`);
        found.push([key, value]);
        sizeBytes += key.length + value.length;
      }
      return found;
    },
  };
}

function listOf(lists: Map<TableName, string[]>, table: TableName): string[] {
  const known = lists.get(table);
  if (known !== undefined) return known;
  const fresh: string[] = [];
  lists.set(table, fresh);
  return fresh;
}

/** First index whose string is not below `name`. */
function lowerBound(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] as string) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
