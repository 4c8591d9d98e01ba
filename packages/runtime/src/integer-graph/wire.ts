/** y[o] = Σ x[i] over related i and o: patches, pools, slices, joined axes. */
import { INTEGER_BOUND, type PlanRelation, type WireDefinition } from '@haca/circuit';
import { type CellArray, type Cells, integersOf, P, type Shape, sumTable } from './cells.ts';

/** Related coordinates along some axes, as offsets in x and in y. */
interface Pairs {
  readonly x: Int32Array;
  readonly y: Int32Array;
}

export function evaluateWire(definition: WireDefinition, shape: Shape, operand: Cells): Cells {
  const pairs = definition.relations.map((relation) => pairsOf(relation, operand, shape));
  const innermost = pairs.reduce(
    (most, each, i) => (each.x.length > (pairs[most] as Pairs).x.length ? i : most),
    0,
  );
  const inner = pairs[innermost] as Pairs;
  const others = pairs.filter((_, i) => i !== innermost);
  const outer = {
    x: sumTable(others.map(({ x }) => x)),
    y: sumTable(others.map(({ y }) => y)),
  };
  const copies = definition.relations.every((relation) => !addsUp(relation));
  const clean = shape.extents.map((_, axis) => cleanAlong(definition, operand, axis));
  const data = moved(operand.data, shape.cells, copies);
  const count = copies ? 1 : partners(definition);
  const lo = Math.min(0, count * operand.lo);
  const hi = Math.max(0, count * operand.hi);
  if (copies) copy(data, sameType(operand.data, data), outer, inner);
  else add(data as Int32Array, integersOf(operand.data), outer, inner, Math.max(-lo, hi) > INTEGER_BOUND);
  return { shape, data, lo: Math.max(lo, -INTEGER_BOUND), hi: Math.min(hi, INTEGER_BOUND), clean };
}

const addsUp = (relation: PlanRelation): boolean =>
  relation.kind === 'pool'
    ? relation.tap.extent > 1
    : relation.kind === 'merge' && relation.stride <= relation.dilation * (relation.tap.extent - 1);

const partners = ({ relations }: WireDefinition): number =>
  relations.reduce(
    (count, relation) => count * (relation.kind !== 'same' && addsUp(relation) ? relation.tap.extent : 1),
    1,
  );

function cleanAlong({ relations }: WireDefinition, x: Cells, axis: number): boolean {
  const same = relations.find((relation) => relation.kind === 'same' && relation.y === axis);
  return same?.kind === 'same' ? x.clean[same.x] === true : true;
}

/** i + pad = stride · j + dilation · k + start, all inside their extents; a `same` axis runs over its padding too. */
function pairsOf(relation: PlanRelation, x: Cells, y: Shape): Pairs {
  if (relation.kind === 'same') {
    const strideX = x.shape.strides[relation.x] as number;
    const strideY = y.strides[relation.y] as number;
    const size = (x.clean[relation.x] ? x.shape.extents : x.shape.sizes)[relation.x] as number;
    return {
      x: Int32Array.from({ length: size }, (_, i) => i * strideX),
      y: Int32Array.from({ length: size }, (_, i) => i * strideY),
    };
  }
  const { long, position, tap, stride, dilation, pad, start } = relation;
  const strideOf = (side: string, axis: number, of: 'x' | 'y'): number =>
    side !== of ? 0 : ((of === 'x' ? x.shape.strides : y.strides)[axis] as number);
  const inX: number[] = [];
  const inY: number[] = [];
  for (let j = 0; j < position.extent; j++)
    for (let k = 0; k < tap.extent; k++) {
      const i = stride * j + dilation * k + start - pad;
      if (i < 0 || i >= long.extent) continue;
      const at = (of: 'x' | 'y'): number =>
        i * strideOf(long.side, long.axis, of) +
        j * strideOf(position.side, position.axis, of) +
        k * strideOf(tap.side, tap.axis, of);
      inX.push(at('x'));
      inY.push(at('y'));
    }
  return { x: Int32Array.from(inX), y: Int32Array.from(inY) };
}

function moved(source: CellArray, length: number, copies: boolean): CellArray {
  if (!copies || source instanceof Int16Array) return new Int32Array(length);
  return new (source.constructor as new (length: number) => CellArray)(length);
}

/** Few types reach the loop below, so that it stays fast. */
const sameType = (source: CellArray, target: CellArray): CellArray =>
  source.constructor === target.constructor ? source : integersOf(source);

function copy(y: CellArray, x: CellArray, outer: Pairs, inner: Pairs): void {
  for (let block = 0; block < outer.x.length; block++) {
    const fromX = outer.x[block] as number;
    const fromY = outer.y[block] as number;
    for (let i = 0; i < inner.x.length; i++)
      y[fromY + (inner.y[i] as number)] = x[fromX + (inner.x[i] as number)] as number;
  }
}

/** `wraps`: a padded cell may leave the centred range, so that sums are taken mod p. */
function add(y: Int32Array, x: Int32Array, outer: Pairs, inner: Pairs, wraps: boolean): void {
  for (let block = 0; block < outer.x.length; block++) {
    const fromX = outer.x[block] as number;
    const fromY = outer.y[block] as number;
    for (let i = 0; i < inner.x.length; i++) {
      const at = fromY + (inner.y[i] as number);
      const sum = (y[at] as number) + (x[fromX + (inner.x[i] as number)] as number);
      y[at] = !wraps ? sum : sum > INTEGER_BOUND ? sum - P : sum < -INTEGER_BOUND ? sum + P : sum;
    }
  }
}
