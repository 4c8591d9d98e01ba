/**
 * Operands of steps: any tensor, evaluated on some of its axes while others stay. A virtual wire or sum is not built for
 * this: the evaluation moves on to what it reads. A wire's patches, which would be taps times larger than its operand,
 * are thus summed over positions before they exist: the relation between long axis and tap, with the position at a point,
 * is one small matrix.
 */
import type { PlanRelation, SumDefinition, SumTerm, WireDefinition } from '@haca/circuit';
import { EXT_ONE, EXT_ZERO, type Ext, type ExtVector, getExt } from '@haca/primitives/zk';
import type { AxisUse, ProverBackend, Vector } from './backend.ts';
import { type AxisPoint, longMatrix, longWeights, pairMatrix, pairWeights } from './relation-tables.ts';
import type { TensorStore } from './tensor-store.ts';

/** The point of each axis, or null where it stays. */
export type AxisPoints = readonly AxisPoint[];

/** A vector, and whether the caller has to release it (or to hand it over). */
export interface Operand {
  readonly vector: Vector;
  readonly owned: boolean;
}

interface Context {
  readonly backend: ProverBackend;
  readonly store: TensorStore;
}

/**
 * The tensor with some axes at points; the axes that stay come in the order given. A base vector where nothing was to be
 * summed up, so that small integers stay what they are.
 */
export function evaluateOperand(
  context: Context,
  tensor: number,
  points: AxisPoints,
  order: readonly number[],
): Operand {
  const { definition, storage } = context.store.tensor(tensor);
  if (storage === 'virtual' && definition.kind === 'wire') {
    const found = wireOperand(context, definition, points, order);
    if (found !== null) return found;
  }
  if (storage === 'virtual' && definition.kind === 'sum' && pathsOf(context.store, tensor) <= PATHS_MAX) {
    const found = sumOperand(context, tensor, definition, points, order);
    if (found !== null) return found;
  }
  const bits = context.store.tensor(tensor).axisBits;
  const uses = points.map(
    (point, axis): AxisUse =>
      point === null ? { kind: 'keep', bits: bits[axis] as number } : { kind: 'point', point },
  );
  return evaluateVector(context, context.store.vector(tensor), uses, order);
}

/** Sums that reach more operands than this, along all ways through sums of sums, are built instead. */
const PATHS_MAX = 64;
const pathsByStore = new WeakMap<TensorStore, Map<number, number>>();

/** Ways from a tensor down to those that are read as vectors: in sums of sums they can double with every op. */
function pathsOf(store: TensorStore, tensor: number): number {
  const counts = pathsByStore.get(store) ?? new Map<number, number>();
  pathsByStore.set(store, counts);
  const count = (id: number): number => {
    const { storage, definition } = store.tensor(id);
    if (storage !== 'virtual' || definition.kind !== 'sum') return 1;
    const known = counts.get(id);
    if (known !== undefined) return known;
    let paths = 0;
    for (const each of definition.terms) paths = Math.min(PATHS_MAX + 1, paths + count(each.tensor));
    counts.set(id, paths);
    return paths;
  };
  return count(tensor);
}

/** The MLE of any tensor at a whole point. */
export function evaluateTensor(context: Context, tensor: number, point: readonly Ext[]): Ext {
  const { storage, axisBits, definition } = context.store.tensor(tensor);
  if (storage !== 'virtual' || (definition.kind !== 'wire' && definition.kind !== 'sum'))
    return context.backend.evaluate([context.store.vector(tensor)], point)[0] as Ext;
  let at = 0;
  const points = axisBits.map((bits) => {
    at += bits;
    return point.slice(at - bits, at);
  });
  const { vector, owned } = evaluateOperand(context, tensor, points, []);
  const value = getExt(context.backend.download(vector), 0);
  if (owned) context.backend.release(vector);
  return value;
}

function evaluateVector(
  { backend }: Context,
  vector: Vector,
  uses: readonly AxisUse[],
  order: readonly number[],
): Operand {
  const stays = uses.every((use) => use.kind === 'keep' || (use.kind === 'point' && use.point.length === 0));
  const ascends = order.every((axis, i) => i === 0 || axis > (order[i - 1] as number));
  if (stays && ascends) return { vector, owned: false };
  return { vector: backend.partialEvaluate({ vector, axes: uses, order }), owned: true };
}

/** What a wire makes of its operand's axes, and where the axes of its result come from. */
interface Rewiring {
  /** By first axis of x; `axes` of x are treated as one (two where they are joined). */
  readonly uses: Map<number, { readonly use: AxisUse; readonly axes: number }>;
  /** By axis of y that stays: the first axis of x that it comes from. */
  readonly from: Map<number, number>;
  readonly temporary: Vector[];
}

function wireOperand(
  context: Context,
  definition: WireDefinition,
  points: AxisPoints,
  order: readonly number[],
): Operand | null {
  const { backend, store } = context;
  const rewiring: Rewiring = { uses: new Map(), from: new Map(), temporary: [] };
  const x = store.tensor(definition.x);
  const done = (): void => {
    for (const vector of rewiring.temporary) backend.release(vector);
  };
  for (const relation of definition.relations) {
    if (rewire(backend, relation, points, x.axisBits, rewiring)) continue;
    done();
    return null;
  }
  if (order.some((axis) => !rewiring.from.has(axis))) {
    done();
    return null;
  }
  const firstAxes = [...rewiring.uses.keys()].sort((a, b) => a - b);
  const uses = firstAxes.map((axis) => rewiring.uses.get(axis)?.use as AxisUse);
  const places = order.map((axis) => firstAxes.indexOf(rewiring.from.get(axis) as number));
  const operand = evaluateVector(context, store.vector(definition.x), uses, places);
  done();
  return operand;
}

/** Enters one relation; false where it takes more than one matrix. */
function rewire(
  backend: ProverBackend,
  relation: PlanRelation,
  points: AxisPoints,
  axisBits: readonly number[],
  { uses, from, temporary }: Rewiring,
): boolean {
  if (relation.kind === 'same') {
    const point = points[relation.y] as AxisPoint;
    const bits = axisBits[relation.x] as number;
    uses.set(relation.x, {
      use: point === null ? { kind: 'keep', bits } : { kind: 'point', point },
      axes: 1,
    });
    if (point === null) from.set(relation.y, relation.x);
    return true;
  }
  const enter = (
    axis: number,
    bits: number,
    table: ExtVector | null,
    staying: number | null,
    axes: number,
  ): boolean => {
    if (table === null) return false;
    const vector = backend.uploadExtension(table);
    temporary.push(vector);
    const rowBits = Math.log2(table.length) - bits;
    uses.set(axis, {
      use:
        staying === null
          ? { kind: 'weights', bits, weights: vector }
          : { kind: 'matrix', bits, rowBits, matrix: vector },
      axes,
    });
    if (staying !== null) from.set(staying, axis);
    return true;
  };
  if (relation.kind === 'merge') {
    const { position, tap, long } = relation;
    if (tap.axis !== position.axis + 1) return false;
    const bits = (axisBits[position.axis] as number) + (axisBits[tap.axis] as number);
    const point = points[long.axis] as AxisPoint;
    return point === null
      ? enter(position.axis, bits, pairMatrix(relation), long.axis, 2)
      : enter(position.axis, bits, pairWeights(relation, point), null, 2);
  }
  const { long, position, tap } = relation;
  const bits = axisBits[long.axis] as number;
  const atPosition = points[position.axis] as AxisPoint;
  const summed = tap.side === 'summed';
  const atTap = summed ? null : (points[tap.axis] as AxisPoint);
  if (atPosition === null && !summed && atTap === null) return false;
  if (atPosition === null) return enter(long.axis, bits, longMatrix(relation, null, atTap), position.axis, 1);
  if (summed || atTap !== null)
    return enter(long.axis, bits, longWeights(relation, atPosition, atTap), null, 1);
  return enter(long.axis, bits, longMatrix(relation, atPosition, null), tap.axis, 1);
}

/** What becomes of one bit of a sum's result. */
type BitUse =
  | { readonly kind: 'at'; readonly coordinate: Ext }
  | { readonly kind: 'stays'; readonly place: number };

function sumOperand(
  context: Context,
  tensor: number,
  definition: SumDefinition,
  points: AxisPoints,
  order: readonly number[],
): Operand | null {
  const { axisBits } = context.store.tensor(tensor);
  const uses = bitUses(axisBits, points, order);
  const kept = uses.filter(({ kind }) => kind === 'stays').length;
  const repeats = ({ bits }: SumTerm): boolean => {
    const used = bits.filter((bit) => bit >= 2);
    return new Set(used).size !== used.length;
  };
  if (definition.functions.length > 0 || definition.terms.some(repeats)) return null;
  const [only] = definition.terms;
  if (definition.terms.length === 1 && definition.constant === 0 && only?.coefficient === 1) {
    const { runs, places } = runsOf(only, uses);
    if (places.length === kept) return evaluateTerm(context, only, runs, inOrder(runs));
  }
  const parts = definition.terms.map((term) => {
    const { runs, places } = runsOf(term, uses);
    const staying = runs.flatMap((run, i) => (run.use.kind === 'keep' ? [i] : []));
    return { ...evaluateTerm(context, term, runs, staying), coefficient: term.coefficient, bits: places };
  });
  const { constant } = definition;
  const vector = context.backend.combineTerms({ bits: kept, constant, terms: parts });
  for (const part of parts) if (part.owned) context.backend.release(part.vector);
  return { vector, owned: true };
}

function bitUses(axisBits: readonly number[], points: AxisPoints, order: readonly number[]): BitUse[] {
  const first = new Map<number, number>();
  let place = 0;
  for (const axis of order) {
    first.set(axis, place);
    place += axisBits[axis] as number;
  }
  return axisBits.flatMap((bits, axis) => {
    const point = points[axis] as AxisPoint;
    return Array.from(
      { length: bits },
      (_, bit): BitUse =>
        point === null
          ? { kind: 'stays', place: (first.get(axis) as number) + bit }
          : { kind: 'at', coordinate: point[bit] as Ext },
    );
  });
}

/** Bits of a term's operand that are used alike, as one axis. */
interface Run {
  readonly use: AxisUse;
  /** Place of its first bit in the result, -1 where it is summed up. */
  readonly place: number;
}

/** The runs of a term's operand, and for each of its bits that stay the bit of the result. */
function runsOf(term: SumTerm, uses: readonly BitUse[]): { readonly runs: Run[]; readonly places: number[] } {
  const runs: Run[] = [];
  const places: number[] = [];
  for (const source of term.bits) {
    const use: BitUse =
      source < 2
        ? { kind: 'at', coordinate: source === 0 ? EXT_ZERO : EXT_ONE }
        : (uses[source - 2] as BitUse);
    const last = runs[runs.length - 1];
    if (use.kind === 'at') {
      if (last?.use.kind === 'point')
        runs[runs.length - 1] = {
          use: { kind: 'point', point: [...last.use.point, use.coordinate] },
          place: -1,
        };
      else runs.push({ use: { kind: 'point', point: [use.coordinate] }, place: -1 });
      continue;
    }
    places.push(use.place);
    if (last?.use.kind === 'keep' && last.place + last.use.bits === use.place)
      runs[runs.length - 1] = { use: { kind: 'keep', bits: last.use.bits + 1 }, place: last.place };
    else runs.push({ use: { kind: 'keep', bits: 1 }, place: use.place });
  }
  return { runs, places };
}

const inOrder = (runs: readonly Run[]): number[] =>
  runs
    .map((run, i) => ({ ...run, i }))
    .filter(({ use }) => use.kind === 'keep')
    .sort((a, b) => a.place - b.place)
    .map(({ i }) => i);

function evaluateTerm(
  context: Context,
  term: SumTerm,
  runs: readonly Run[],
  order: readonly number[],
): Operand {
  const uses = runs.map(({ use }) => use);
  const { storage, axisBits, definition } = context.store.tensor(term.tensor);
  if (storage === 'virtual' && (definition.kind === 'wire' || definition.kind === 'sum')) {
    const found = evaluateByAxes(context, term.tensor, axisBits, uses, order);
    if (found !== null) return found;
  }
  return evaluateVector(context, context.store.vector(term.tensor), uses, order);
}

/** Where runs of bits are whole axes, the evaluation can move on through a virtual operand. */
function evaluateByAxes(
  context: Context,
  tensor: number,
  axisBits: readonly number[],
  uses: readonly AxisUse[],
  order: readonly number[],
): Operand | null {
  const bits = uses.flatMap((use, run): { readonly run: number; readonly coordinate: Ext | null }[] =>
    use.kind === 'point'
      ? use.point.map((coordinate) => ({ run, coordinate }))
      : Array.from({ length: use.bits }, () => ({ run, coordinate: null })),
  );
  let at = 0;
  const runOfAxis: number[] = [];
  const points: AxisPoint[] = [];
  for (const width of axisBits) {
    const own = bits.slice(at, at + width);
    at += width;
    const stays = own.filter(({ coordinate }) => coordinate === null).length;
    if (stays !== 0 && (stays !== width || new Set(own.map(({ run }) => run)).size !== 1)) return null;
    points.push(stays === 0 ? own.map(({ coordinate }) => coordinate as Ext) : null);
    runOfAxis.push(stays === 0 ? -1 : (own[0]?.run as number));
  }
  const axes = order.flatMap((run) => runOfAxis.flatMap((each, axis) => (each === run ? [axis] : [])));
  return evaluateOperand(context, tensor, points, axes);
}
