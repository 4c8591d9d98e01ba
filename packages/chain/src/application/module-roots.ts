/** A root per table of the state: where two nodes differ, this says in which part. No part of the app hash. */
import { compareBytes, concatBytes, domainHash, toHex } from '@haca/primitives';
import { tableOf } from '@haca/protocol';

/**
 * Hex root of each table that has entries, by table name: a hash over the table's entries in ascending order of their keys.
 * Walks the whole state.
 */
export function moduleRoots(
  entries: Iterable<readonly [key: Uint8Array, value: Uint8Array]>,
): ReadonlyMap<string, string> {
  const tables = new Map<string, (readonly [Uint8Array, Uint8Array])[]>();
  for (const entry of entries) {
    const name = tableOf(entry[0]) ?? 'unknown';
    const table = tables.get(name);
    if (table === undefined) tables.set(name, [entry]);
    else table.push(entry);
  }
  const names = [...tables.keys()].sort((a, b) => (a < b ? -1 : 1));
  return new Map(names.map((name) => [name, toHex(rootOf(tables.get(name) ?? []))]));
}

function rootOf(table: (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
  const sorted = table.sort(([a], [b]) => compareBytes(a, b));
  return domainHash(
    'haca/module/1',
    concatBytes(...sorted.flatMap(([key, value]) => [lengths(key, value), key, value])),
  );
}

function lengths(key: Uint8Array, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, key.length);
  view.setUint32(4, value.length);
  return bytes;
}
