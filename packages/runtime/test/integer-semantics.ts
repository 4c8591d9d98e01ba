/**
 * What every op of a key means, cell by cell in BigInt, written from the definitions and not from the lowering: the
 * other side of the integer engine's tests. Slow, for tensors of some hundred cells.
 */
import type { AxisRelation, Op, OpOf, TensorValues, VerifyingKey } from '@haca/circuit';

export interface Dense {
  /** The batch first, except for weights. */
  readonly extents: readonly number[];
  readonly values: readonly bigint[];
}

const sizeOf = (extents: readonly number[]): number => extents.reduce((cells, extent) => cells * extent, 1);

export function* indices(extents: readonly number[]): Generator<number[]> {
  for (let cell = 0; cell < sizeOf(extents); cell++) {
    let rest = cell;
    const index = extents.map(() => 0);
    for (let axis = extents.length - 1; axis >= 0; axis--) {
      index[axis] = rest % (extents[axis] as number);
      rest = Math.floor(rest / (extents[axis] as number));
    }
    yield index;
  }
}

function at(tensor: Dense, index: readonly number[]): bigint {
  let cell = 0;
  tensor.extents.forEach((extent, axis) => {
    const i = index[axis] as number;
    if (!(i >= 0 && i < extent)) throw new RangeError(`index ${index} of extents ${tensor.extents}`);
    cell = cell * extent + i;
  });
  return tensor.values[cell] as bigint;
}

const build = (extents: readonly number[], value: (index: number[]) => bigint): Dense => ({
  extents,
  values: [...indices(extents)].map(value),
});

export const widthOf = (extent: number): number => {
  let bits = 0;
  while (2 ** bits < extent) bits++;
  return bits;
};

/** All tensors of a key for given weights and inputs (dense, `batch` rows). */
export function evaluateKey(
  key: VerifyingKey,
  weights: readonly TensorValues[],
  inputs: readonly TensorValues[],
  batch: number,
): Dense[] {
  const tensors: Dense[] = [];
  const queues = { weight: [...weights], input: [...inputs] };
  key.tensors.forEach(({ role, extents }, id) => {
    if (role !== 'weight' && role !== 'input') return;
    const values = [...(queues[role].shift() as TensorValues)].map(BigInt);
    tensors[id] = { extents: role === 'weight' ? extents : [batch, ...extents], values };
  });
  for (const op of key.ops) {
    const extents = [batch, ...(key.tensors[op.y]?.extents as number[])];
    tensors[op.y] = evaluateOp(key, op, tensors, extents);
  }
  return tensors;
}

function evaluateOp(key: VerifyingKey, op: Op, tensors: readonly Dense[], extents: readonly number[]): Dense {
  const of = (id: number): Dense => tensors[id] as Dense;
  const isWeight = (id: number): boolean => key.tensors[id]?.role === 'weight';
  switch (op.kind) {
    case 'sum':
      return build(extents, (index) => sumCell(op, of, isWeight, extents, index));
    case 'contract':
      return contraction(op, of, isWeight, extents);
    case 'wire':
      return wired(op.relations, of(op.x), extents);
    case 'gather':
      return build(extents, (index) => {
        const ids = of(op.ids);
        const id = Number(at(ids, index.slice(0, ids.extents.length)));
        return at(of(op.table), [id, ...index.slice(ids.extents.length)]);
      });
    case 'requantize':
      return build(extents, (index) => {
        const values = key.lists[op.values] as number[];
        const q = clamped(halfUp(at(of(op.x), index), op.shift) + BigInt(op.offset), values.length - 1);
        return BigInt(values[q] as number);
      });
    case 'requantize16':
      return build(extents, (index) => {
        const q = clamped(halfUp(at(of(op.x), index), op.shift) + BigInt(op.offset), 65_535);
        return BigInt(q - op.zero);
      });
    case 'max':
      return build(extents, (index) => {
        const [a, b] = [at(of(op.a), index), at(of(op.b), index)];
        return a > b ? a : b;
      });
    case 'softmax':
      return softmax(op, of(op.x), key.lists[op.exponentials] as number[]);
    case 'top1':
      return top1(of(op.x));
    case 'table':
      return build(extents, (index) =>
        BigInt((key.lists[op.values] as number[])[Number(at(of(op.x), index)) - op.lo] as number),
      );
  }
}

/** The integer nearest to value / 2^shift, of two the larger. */
export function halfUp(value: bigint, shift: number): bigint {
  const divisor = 2n ** BigInt(shift);
  const doubled = 2n * value + divisor;
  const quotient = doubled / (2n * divisor);
  return quotient * 2n * divisor > doubled ? quotient - 1n : quotient;
}

const clamped = (value: bigint, top: number): number =>
  value < 0n ? 0 : value > BigInt(top) ? top : Number(value);

/** The bits of an index, first axis first, most significant bit first. */
const bitsOfIndex = (index: readonly number[], extents: readonly number[]): number[] =>
  index.flatMap((i, axis) => {
    const width = widthOf(extents[axis] as number);
    return Array.from({ length: width }, (_, bit) => (i >> (width - 1 - bit)) & 1);
  });

function sumCell(
  op: OpOf<'sum'>,
  of: (id: number) => Dense,
  isWeight: (id: number) => boolean,
  extents: readonly number[],
  index: readonly number[],
): bigint {
  const bits = bitsOfIndex(index.slice(1), extents.slice(1));
  return op.terms.reduce((sum, { x, coefficient, bits: map }) => {
    const tensor = of(x);
    const own = isWeight(x) ? tensor.extents : tensor.extents.slice(1);
    let place = 0;
    const inner = own.map((extent) => {
      let i = 0;
      for (let bit = 0; bit < widthOf(extent); bit++) {
        const source = map[place++] as number;
        i = 2 * i + (source < 2 ? source : (bits[source - 2] as number));
      }
      return i;
    });
    return sum + BigInt(coefficient) * at(tensor, isWeight(x) ? inner : [index[0] as number, ...inner]);
  }, BigInt(op.constant));
}

function contraction(
  op: OpOf<'contract'>,
  of: (id: number) => Dense,
  isWeight: (id: number) => boolean,
  extents: readonly number[],
): Dense {
  const results = extents.length - 1;
  const a = of(op.a);
  const inner: number[] = [];
  op.labelsA.forEach((label, axis) => {
    if (label >= results) inner[label - results] = a.extents[axis + 1] as number;
  });
  return build(extents, (index) => {
    let sum = 0n;
    for (const k of indices(inner)) {
      const labels = [...index.slice(1), ...k];
      const operand = (id: number, own: readonly number[]): bigint =>
        at(of(id), [
          ...(isWeight(id) ? [] : [index[0] as number]),
          ...own.map((label) => labels[label] as number),
        ]);
      const second =
        op.c !== null
          ? operand(op.c, op.labelsC)
          : op.indexLabel === null
            ? 1n
            : BigInt(labels[op.indexLabel] as number);
      sum += operand(op.a, op.labelsA) * second;
    }
    return sum;
  });
}

/** How often all relations hold for cells x[i] and one y[o]; relation by relation, since each has its own axes. */
export function* partners<R>(
  relations: readonly R[],
  axesOf: (relation: R) => readonly number[],
  times: (relation: R, index: readonly number[]) => number,
  extents: readonly number[],
): Generator<{ readonly index: number[]; readonly times: number }> {
  const [relation, ...rest] = relations;
  if (relation === undefined) {
    yield { index: extents.map(() => 0), times: 1 };
    return;
  }
  const axes = axesOf(relation);
  for (const own of indices(axes.map((axis) => extents[axis] as number))) {
    const index = extents.map(() => 0);
    axes.forEach((axis, k) => {
      index[axis] = own[k] as number;
    });
    const count = times(relation, index);
    if (count === 0) continue;
    for (const more of partners(rest, axesOf, times, extents)) {
      const whole = more.index.map((i, axis) => (axes.includes(axis) ? (index[axis] as number) : i));
      yield { index: whole, times: count * more.times };
    }
  }
}

function wired(relations: readonly AxisRelation[], x: Dense, extents: readonly number[]): Dense {
  const axesOf = (relation: AxisRelation): number[] =>
    relation.kind === 'merge' ? [relation.xPosition + 1, relation.xTap + 1] : [relation.x + 1];
  return build(extents, (o) => {
    let sum = 0n;
    const times = (relation: AxisRelation, i: readonly number[]): number => solutions(relation, i, o);
    for (const each of partners(relations, axesOf, times, x.extents))
      sum += BigInt(each.times) * at(x, [o[0] as number, ...each.index.slice(1)]);
    return sum;
  });
}

function solutions(relation: AxisRelation, x: readonly number[], y: readonly number[]): number {
  const ofX = (axis: number): number => x[axis + 1] as number;
  const ofY = (axis: number): number => y[axis + 1] as number;
  if (relation.kind === 'same') return ofX(relation.x) === ofY(relation.y) ? 1 : 0;
  const { stride, dilation, pad, start } = relation;
  const holds = (i: number, j: number, k: number): number =>
    i + pad === stride * j + dilation * k + start ? 1 : 0;
  if (relation.kind === 'window') return holds(ofX(relation.x), ofY(relation.yPosition), ofY(relation.yTap));
  if (relation.kind === 'merge') return holds(ofY(relation.y), ofX(relation.xPosition), ofX(relation.xTap));
  let count = 0;
  for (let k = 0; k < relation.taps; k++) count += holds(ofX(relation.x), ofY(relation.y), k);
  return count;
}

function softmax(op: OpOf<'softmax'>, x: Dense, exponentials: readonly number[]): Dense {
  const rank = x.extents.length;
  const n = x.extents[rank - 1] as number;
  const q = 29 - widthOf(n);
  const t = q - 7;
  return build(x.extents, (index) => {
    const row = index[rank - 2] as number;
    const allowed = (j: number): boolean => op.causal === 'no' || j <= row;
    const entry = (j: number): bigint => at(x, [...index.slice(0, -1), j]);
    const places = Array.from({ length: n }, (_, j) => j).filter(allowed);
    const maximum = places.map(entry).reduce((a, b) => (a > b ? a : b));
    const e = (j: number): bigint => BigInt(exponentials[Number(maximum - entry(j))] as number);
    const sum = places.reduce((total, j) => total + e(j), 0n);
    const reciprocal = (2n ** BigInt(q) - 1n) / sum;
    const own = index[rank - 1] as number;
    const value = allowed(own) ? e(own) : 0n;
    return (value * reciprocal + 2n ** BigInt(t - 1)) / 2n ** BigInt(t);
  });
}

function top1(x: Dense): Dense {
  const rank = x.extents.length;
  const n = x.extents[rank - 1] as number;
  return build(x.extents, (index) => {
    const entries = Array.from({ length: n }, (_, j) => at(x, [...index.slice(0, -1), j]));
    const best = entries.reduce((winner, value, j) => (value > (entries[winner] as bigint) ? j : winner), 0);
    return best === index[rank - 1] ? 1n : 0n;
  });
}
