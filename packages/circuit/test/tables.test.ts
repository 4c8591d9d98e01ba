import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PlanTable, plan, planRegistration } from '@haca/circuit';
import { createBuilder } from '../src/lowering/builder.ts';
import {
  activationTable,
  exponentialTable,
  maskOffset,
  rangeTable,
  reluTable,
  signTable,
  unsignedTable,
  valuesTable,
  weightsTable,
  zeroOrTable,
} from '../src/lowering/tables.ts';
import { EXPONENTIALS, KEYS, range } from './support.ts';

type Row = readonly [number, number, number];
type AnyTable = Omit<PlanTable, 'multiplicity'>;

const rowAt = ({ columns }: AnyTable, i: number): Row => columns.map((column) => column[i]) as unknown as Row;

const tablesOfKeys = (): AnyTable[] => {
  const tables = Object.values(KEYS).flatMap((key) => [
    ...plan(key(), 1).tables,
    ...planRegistration(key()).tables,
  ]);
  return [...new Map(tables.map((table) => [`${table.name} ${table.rows}`, table])).values()];
};

test('ZK-16 a table is padded with its last row, and no row stands twice before', () => {
  for (const table of tablesOfKeys()) {
    assert.ok(table.rows <= 2 ** table.bits && 2 * table.rows > 2 ** table.bits);
    const rows = range(2 ** table.bits).map((i) => rowAt(table, i).join());
    assert.equal(new Set(rows.slice(0, table.rows)).size, table.rows, table.name);
    for (const row of rows.slice(table.rows)) assert.equal(row, rows[table.rows - 1]);
  }
});

test('ZK-16 the row of a tuple is the first that holds it; what no row holds has none', () => {
  for (const table of tablesOfKeys()) {
    const rows = new Map(range(table.rows).map((i) => [rowAt(table, i).join(), i]));
    for (let i = 0; i < 2 ** table.bits; i++) {
      const row = rowAt(table, i);
      assert.equal(table.rowOf(...row), rows.get(row.join()), `${table.name} ${row}`);
      for (const near of row.flatMap((_, c) =>
        [-1, 1].map((d) => row.map((v, k) => (k === c ? v + d : v))),
      )) {
        const [c0, c1, c2] = near as unknown as Row;
        assert.equal(table.rowOf(c0, c1, c2), rows.get(near.join()) ?? -1, `${table.name} ${near}`);
      }
    }
  }
});

const tableOf = (make: (builder: ReturnType<typeof createBuilder>) => number): AnyTable => {
  const builder = createBuilder(1, 8);
  return builder.tables[make(builder)] as AnyTable;
};
const listed = (table: AnyTable): string[] => range(table.rows).map((i) => rowAt(table, i).join());

test('ZK-17 tables hold what the specification lists, in its order', () => {
  const ranges = range(9).flatMap((width) => range(2 ** width).map((v) => `${v},${width},0`));
  assert.deepEqual(listed(tableOf(rangeTable)), ranges);
  assert.deepEqual(listed(tableOf((b) => signTable(b, 2))), ['-2,-1,0', '-1,-1,0', '0,0,0', '1,1,0']);
  assert.deepEqual(listed(tableOf((b) => signTable(b, 1))), ['-1,-1,0', '0,0,0']);
  assert.deepEqual(listed(tableOf((b) => unsignedTable(b, 1))), ['0,0,0', '1,1,0']);
  assert.deepEqual(listed(tableOf((b) => activationTable(b, '', [5, 7], [0, 1, -1]))), [
    '0,0,5',
    '1,0,7',
    '0,1,7',
    '1,1,7',
    '0,-1,5',
    '1,-1,5',
  ]);
  assert.deepEqual(
    listed(tableOf(reluTable)),
    range(511, -255).map((v) => `${v},${Math.max(0, v)},0`),
  );
  assert.deepEqual(listed(tableOf((b) => valuesTable(b, '', -1, [4, 9]))), ['-1,4,0', '0,9,0']);
  assert.deepEqual(listed(tableOf(zeroOrTable)), [...range(256).map((v) => `${v},0,0`), '0,1,0']);
  assert.deepEqual(listed(tableOf((b) => weightsTable(b, -1, 1))), ['-1,1,0', '0,1,0', '1,1,0', '0,0,0']);
});

test('masked differences and plain ones never meet in the exponentials', () => {
  const size = EXPONENTIALS.length;
  const rows = listed(tableOf((b) => exponentialTable(b, '', EXPONENTIALS, true)));
  assert.deepEqual(rows, [
    ...EXPONENTIALS.map((value, d) => `${d},0,${value}`),
    `0,1,${EXPONENTIALS[0]}`,
    ...range(2 * size - 1, maskOffset(size) - size + 1).map((d) => `${d},0,0`),
  ]);
  // A masked place carries the offset: whatever its difference in (-size, size) is, it finds a masked row.
  for (const difference of range(2 * size - 1, 1 - size))
    assert.ok(rows.includes(`${difference + maskOffset(size)},0,0`));
  // An unmasked one in the same range finds none.
  for (const difference of range(2 * size - 1, 1 - size)) assert.ok(difference < maskOffset(size) - size + 1);
});
