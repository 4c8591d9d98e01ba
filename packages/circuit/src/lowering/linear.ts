/** Lowering of the linear ops: each is one virtual tensor, with its interval recomputed from its operands. */
import { toResidue } from '../integers.ts';
import type { AxisRelation, OpOf } from '../key.ts';
import { LIMITS } from '../limits.ts';
import type { ContractDefinition, Definition, PlanRelation, RelationAxis, SumTerm } from '../program.ts';
import { type Builder, type BuiltTensor, bitsOfExtent, overLimit, refuse } from './builder.ts';

/** The result of an op before it has a tensor: what the key declares for it is compared by `lowerKey`. */
export interface LinearResult {
  readonly definition: Definition;
  readonly extents: readonly number[];
  readonly lo: number;
  readonly hi: number;
  readonly degree: number;
}

interface Interval {
  readonly lo: number;
  readonly hi: number;
}

const scaled = ({ lo, hi }: Interval, by: number): Interval =>
  by >= 0 ? { lo: lo * by, hi: hi * by } : { lo: hi * by, hi: lo * by };

function product(a: Interval, b: Interval): Interval {
  const corners = [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi];
  return { lo: Math.min(...corners), hi: Math.max(...corners) };
}

/** Extents of an operand without the batch axis. */
const inner = (tensor: BuiltTensor): readonly number[] =>
  tensor.storage === 'weight' ? tensor.extents : tensor.extents.slice(1);

const innerBits = (tensor: BuiltTensor): readonly number[] =>
  tensor.storage === 'weight' ? tensor.axisBits : tensor.axisBits.slice(1);

const sumOf = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0);

export function lowerSum(
  builder: Builder,
  op: OpOf<'sum'>,
  operands: readonly BuiltTensor[],
  declared: readonly number[],
): LinearResult {
  const bits = declared.map(bitsOfExtent);
  const batchBits = bitsOfExtent(builder.batchSize);
  let interval: Interval = { lo: op.constant, hi: op.constant };
  let degree = 0;
  const terms = op.terms.map((each, i): SumTerm => {
    const x = operands[i] as BuiltTensor;
    if (each.coefficient === 0) refuse('coefficient', `term ${i} of a sum has coefficient 0`);
    checkBitMap(each.bits, x, declared, bits, i);
    const own = scaled(x, each.coefficient);
    interval = { lo: interval.lo + own.lo, hi: interval.hi + own.hi };
    // Terms of opposite signs would hide the rounding of a double in an interval that fits again.
    if (!Number.isSafeInteger(interval.lo) || !Number.isSafeInteger(interval.hi))
      refuse('interval', `a sum reaches [${interval.lo}, ${interval.hi}] at term ${i}`);
    degree = Math.max(degree, x.degree);
    const shifted = each.bits.map((source) => (source < 2 ? source : source + batchBits));
    const batch = x.storage === 'weight' ? [] : Array.from({ length: batchBits }, (_, bit) => 2 + bit);
    return { tensor: x.id, coefficient: toResidue(each.coefficient), bits: [...batch, ...shifted] };
  });
  if (terms.every(({ tensor }) => builder.tensor(tensor).storage === 'weight'))
    refuse('operands', 'a sum of weights alone is a constant');
  return {
    definition: { kind: 'sum', constant: toResidue(op.constant), functions: [], terms },
    extents: [builder.batchSize, ...declared],
    ...interval,
    degree,
  };
}

/** Every real cell of the result reads a real cell of the operand, whatever bits the map picks. */
function checkBitMap(
  map: readonly number[],
  x: BuiltTensor,
  extents: readonly number[],
  bits: readonly number[],
  place: number,
): void {
  const xBits = innerBits(x);
  const total = sumOf(bits);
  if (map.length !== sumOf(xBits))
    refuse('bit-map', `term ${place} maps ${map.length} bits, its operand has ${sumOf(xBits)}`);
  if (map.some((source) => source >= 2 + total))
    refuse('bit-map', `term ${place} names a bit beyond the result's ${total}`);
  const chosen = map.filter((source) => source >= 2);
  // A diagonal is not multilinear: its value at a point is no value of the operand's extension.
  if (new Set(chosen).size !== chosen.length)
    refuse('bit-map', `term ${place} uses a bit of the result twice`);
  let at = 0;
  inner(x).forEach((extent, axis) => {
    const width = xBits[axis] as number;
    const reach = reachOf(map.slice(at, at + width), extents, bits);
    if (reach >= extent)
      refuse('bit-map', `term ${place} reads index ${reach} of an axis of extent ${extent}`);
    at += width;
  });
}

/** The largest index that the bits of one operand axis can form over the real cells of the result. */
function reachOf(sources: readonly number[], extents: readonly number[], bits: readonly number[]): number {
  let reach = 0;
  let first = 0;
  sources.forEach((source, i) => {
    if (source === 1) reach += 2 ** (sources.length - 1 - i);
  });
  extents.forEach((extent, axis) => {
    const width = bits[axis] as number;
    const used = sources.flatMap((source, i) =>
      source >= 2 + first && source < 2 + first + width ? [i] : [],
    );
    const whole =
      used.length === width &&
      used.every((i, k) => sources[i] === 2 + first + k && i === (used[0] as number) + k);
    if (whole && width > 0) reach += (extent - 1) * 2 ** (sources.length - 1 - (used[width - 1] as number));
    else for (const i of used) reach += 2 ** (sources.length - 1 - i);
    first += width;
  });
  return reach;
}

export function lowerContract(
  builder: Builder,
  op: OpOf<'contract'>,
  a: BuiltTensor,
  c: BuiltTensor | null,
  declared: readonly number[],
): LinearResult {
  if (a.storage === 'weight') refuse('operands', 'the first operand of a contraction is no weight');
  if (c === null && op.labelsC.length > 0) refuse('labels', 'labels of an operand that is not there');
  if (c !== null && op.indexLabel !== null) refuse('labels', 'an index label beside a second operand');
  // The batch is label 0 of the program, so that the key's labels move up by one.
  const labelsA = [0, ...op.labelsA.map((label) => label + 1)];
  const labelsC =
    c === null ? [] : [...(c.storage === 'weight' ? [] : [0]), ...op.labelsC.map((label) => label + 1)];
  const extents = labelExtents([builder.batchSize, ...declared], labelsA, a, labelsC, c);
  const results = declared.length + 1;
  for (let label = 0; label < extents.length; label++) {
    const inA = labelsA.includes(label);
    const inC = labelsC.includes(label);
    if (label < results ? !inA && !inC : !inA || (c !== null && !inC))
      refuse('labels', `label ${label} is missing from an operand`);
  }
  const indexLabel = op.indexLabel === null ? null : op.indexLabel + 1;
  if (indexLabel !== null && (indexLabel < results || indexLabel >= extents.length))
    refuse('labels', 'an index label that is not contracted');
  const terms = extents.slice(results).reduce((count, extent) => count * extent, 1);
  const factor =
    c !== null
      ? c
      : indexLabel !== null
        ? { lo: 0, hi: (extents[indexLabel] as number) - 1 }
        : { lo: 1, hi: 1 };
  const definition: ContractDefinition = {
    kind: 'contract',
    a: a.id,
    c: c !== null ? c.id : indexLabel !== null ? 'index' : 'ones',
    labelsA,
    labelsC,
    indexLabel,
    extents,
  };
  return {
    definition,
    extents: [builder.batchSize, ...declared],
    ...scaled(product(a, factor), terms),
    degree: a.degree + (c === null ? 0 : c.degree),
  };
}

function labelExtents(
  result: readonly number[],
  labelsA: readonly number[],
  a: BuiltTensor,
  labelsC: readonly number[],
  c: BuiltTensor | null,
): number[] {
  const extents = [...result];
  const enter = (labels: readonly number[], tensor: BuiltTensor): void => {
    if (labels.length !== tensor.extents.length)
      refuse('labels', `${labels.length} labels for ${tensor.extents.length} axes of ${tensor.name}`);
    if (new Set(labels).size !== labels.length) refuse('labels', `a label twice on ${tensor.name}`);
    labels.forEach((label, axis) => {
      const extent = tensor.extents[axis] as number;
      if (label > extents.length)
        refuse('labels', 'contracted labels ascend in the order of the first operand');
      if (label === extents.length) extents.push(extent);
      else if (extents[label] !== extent)
        refuse('shape', `label ${label} is ${extents[label]} and ${extent}`);
    });
  };
  enter(labelsA, a);
  if (c !== null) enter(labelsC, c);
  if (extents.length > 12) overLimit('labels', 12, extents.length);
  return extents;
}

export function lowerWire(
  builder: Builder,
  op: OpOf<'wire'>,
  x: BuiltTensor,
  declared: readonly number[],
): LinearResult {
  if (x.storage === 'weight') refuse('operands', 'a wire reads no weight');
  const extents = [builder.batchSize, ...declared];
  const usedX = new Set<number>([0]);
  const usedY = new Set<number>([0]);
  const take = (used: Set<number>, axis: number, count: number): number => {
    const numbered = axis + 1;
    if (numbered >= count || used.has(numbered)) refuse('relations', `axis ${axis} is missing or used twice`);
    used.add(numbered);
    return numbered;
  };
  let partners = 1;
  const relations: PlanRelation[] = [{ kind: 'same', x: 0, y: 0 }];
  let plain = true;
  for (const relation of op.relations) {
    const onX = (axis: number): RelationAxis => side('x', take(usedX, axis, x.extents.length), x.extents);
    const onY = (axis: number): RelationAxis => side('y', take(usedY, axis, extents.length), extents);
    const lowered = lowerRelation(relation, onX, onY);
    relations.push(lowered);
    if (lowered.kind !== 'same') {
      plain = false;
      partners *= checkRelation(lowered);
    } else if (x.extents[lowered.x] !== extents[lowered.y])
      refuse('shape', `axes of a wire differ: ${x.extents[lowered.x]}, ${extents[lowered.y]}`);
  }
  if (usedX.size !== x.extents.length || usedY.size !== extents.length)
    refuse('relations', 'an axis without a relation');
  if (plain) refuse('relations', 'a wire that moves axes alone is a sum with a bit map');
  const many = scaled(x, partners);
  return {
    definition: { kind: 'wire', x: x.id, relations },
    extents,
    lo: Math.min(0, many.lo),
    hi: Math.max(0, many.hi),
    degree: x.degree,
  };
}

const side = (which: 'x' | 'y', axis: number, extents: readonly number[]): RelationAxis => ({
  side: which,
  axis,
  extent: extents[axis] as number,
});

function lowerRelation(
  relation: AxisRelation,
  onX: (axis: number) => RelationAxis,
  onY: (axis: number) => RelationAxis,
): PlanRelation {
  if (relation.kind === 'same') return { kind: 'same', x: onX(relation.x).axis, y: onY(relation.y).axis };
  const numbers = {
    stride: relation.stride,
    dilation: relation.dilation,
    pad: relation.pad,
    start: relation.start,
  };
  switch (relation.kind) {
    case 'window':
      return {
        kind: 'window',
        long: onX(relation.x),
        position: onY(relation.yPosition),
        tap: onY(relation.yTap),
        ...numbers,
      };
    case 'pool':
      return {
        kind: 'pool',
        long: onX(relation.x),
        position: onY(relation.y),
        tap: { side: 'summed', axis: 0, extent: relation.taps },
        ...numbers,
      };
    case 'merge':
      return {
        kind: 'merge',
        position: onX(relation.xPosition),
        tap: onX(relation.xTap),
        long: onY(relation.y),
        ...numbers,
      };
  }
}

/** Bounds of one relation; returns how many cells of x one cell of y may sum up. */
function checkRelation(relation: Exclude<PlanRelation, { readonly kind: 'same' }>): number {
  const { position, tap, stride, dilation, pad, start } = relation;
  if (stride < 1 || dilation < 1 || tap.extent < 1)
    refuse('relations', 'stride, dilation and taps are at least 1');

  if (pad > 0 && start > 0) refuse('relations', 'pad and start exclude each other');
  if (tap.extent === 1 && dilation !== 1) refuse('relations', 'a single tap has dilation 1');
  const cells = position.extent * tap.extent;
  if (cells > LIMITS.relationCells) overLimit('relation-cells', LIMITS.relationCells, cells);
  if (relation.kind === 'window') return 1;
  if (relation.kind === 'pool') return tap.extent;
  return stride > dilation * (tap.extent - 1) ? 1 : tap.extent;
}

export function lowerGather(
  builder: Builder,
  table: BuiltTensor,
  ids: BuiltTensor,
  declared: readonly number[],
): LinearResult {
  if (table.storage !== 'weight' || table.extents.length < 1) refuse('operands', 'gather reads a weight');
  if (ids.storage !== 'public' || ids.keyKind !== 'id')
    refuse('operands', 'gather indexes by an input of kind id');
  const rows = table.extents[0] as number;
  if (ids.lo !== 0 || ids.hi !== rows - 1)
    refuse('interval', `ids lie in [0, ${rows - 1}], declared [${ids.lo}, ${ids.hi}]`);
  const extents = [...ids.extents, ...table.extents.slice(1)];
  if (
    extents.length !== declared.length + 1 ||
    extents.some((extent, i) => i > 0 && extent !== declared[i - 1])
  )
    refuse('shape', `gather gives [${extents.slice(1)}], declared [${declared}]`);
  return {
    definition: { kind: 'gather', table: table.id, ids: ids.id },
    extents: [builder.batchSize, ...declared],
    lo: table.lo,
    hi: table.hi,
    degree: 1,
  };
}
