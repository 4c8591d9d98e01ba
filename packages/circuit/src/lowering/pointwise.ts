/** Lowering of ops that look up a cell, or two, as they are. */
import type { OpOf } from '../key.ts';
import { type Builder, type BuiltTensor, refuse, term } from './builder.ts';
import { type Lists, type ResultPlace, rangeOfList, virtualSum } from './digits.ts';
import { reluTable, valuesTable } from './tables.ts';

export function lowerMax(builder: Builder, a: BuiltTensor, b: BuiltTensor, result: ResultPlace): void {
  if (a.extents.join() !== b.extents.join())
    refuse('shape', `${result.name}: [${a.extents}] and [${b.extents}]`);
  if (a.hi - b.lo > 255 || b.hi - a.lo > 255)
    refuse('representation', `${result.name}: operands may differ by more than 255`);
  const y = result.place({ kind: 'maximum', a: a.id, b: b.id }, Math.max(a.lo, b.lo), Math.max(a.hi, b.hi));
  const difference = virtualSum(
    builder,
    a,
    `${result.name} a - b`,
    a.lo - b.hi,
    a.hi - b.lo,
    { constant: 0, terms: [term(b, -1), term(a, 1)] },
    false,
  );
  const excess = virtualSum(
    builder,
    a,
    `${result.name} y - b`,
    0,
    Math.max(0, a.hi - b.lo),
    { constant: 0, terms: [term(b, -1), term(y, 1)] },
    true,
  );
  builder.lookup(result.name, reluTable(builder), difference, [difference.id, excess.id]);
}

export function lowerTable(
  builder: Builder,
  op: OpOf<'table'>,
  x: BuiltTensor,
  lists: Lists,
  result: ResultPlace,
): void {
  const list = lists[op.values] ?? refuse('reference', `no list ${op.values}`);
  if (x.anyResidue || x.lo < op.lo || x.hi >= op.lo + list.length)
    refuse(
      'totality',
      `${result.name}: [${x.lo}, ${x.hi}] is not in the table's [${op.lo}, ${op.lo + list.length - 1}]`,
    );
  const y = result.place({ kind: 'looked-up', source: x.id, lo: op.lo, values: list }, ...rangeOfList(list));
  builder.lookup(result.name, valuesTable(builder, `${op.values}`, op.lo, list), x, [x.id, y.id]);
}
