/** From the ops of a key to tensors, lookups and ties: the first half of `plan`, and most of what a key is refused for. */

import { isPowerOfTwo } from '../integers.ts';
import type { Op, OpOf, TensorKind, TensorSpec, VerifyingKey } from '../key.ts';
import { INTEGER_BOUND, LIMITS } from '../limits.ts';
import type { PublicTensor } from '../program.ts';
import { type Builder, type BuiltTensor, createBuilder, refuse } from './builder.ts';
import type { ResultPlace } from './digits.ts';
import { type LinearResult, lowerContract, lowerGather, lowerSum, lowerWire } from './linear.ts';
import { lowerMax, lowerTable } from './pointwise.ts';
import { lowerRequantize, lowerRequantize16 } from './requantize.ts';
import { lowerSoftmax } from './softmax.ts';
import { lowerTop1 } from './top1.ts';

export interface Lowered {
  readonly builder: Builder;
  readonly inputs: readonly PublicTensor[];
  readonly outputs: readonly PublicTensor[];
  /** Virtual tensors that are outputs, by the public tensor they must equal. */
  readonly virtualOutputs: readonly { readonly virtual: number; readonly published: number }[];
}

interface Context {
  readonly key: VerifyingKey;
  readonly builder: Builder;
  /** Plan tensor that a reader of a key tensor gets; undefined while it is not produced. */
  readonly current: (BuiltTensor | undefined)[];
  readonly reads: number[];
  readonly listReads: number[];
  readonly virtualOutputs: { readonly virtual: number; readonly published: number }[];
}

const KIND_BOUNDS: Readonly<Record<TensorKind, readonly [number, number]>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32_768, 32_767],
  i32: [-INTEGER_BOUND, INTEGER_BOUND],
  id: [0, LIMITS.extent - 1],
};

/** @throws KeyError */
export function lowerKey(key: VerifyingKey, batchSize: number): Lowered {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1 || batchSize > key.maxBatch)
    refuse('batch', `${batchSize} of at most ${key.maxBatch}`);
  checkLists(key);
  const context: Context = {
    key,
    builder: createBuilder(batchSize, key.limbBits),
    current: key.tensors.map(() => undefined),
    reads: key.tensors.map(() => 0),
    listReads: key.lists.map(() => 0),
    virtualOutputs: [],
  };
  key.tensors.forEach((spec, index) => {
    checkSpec(spec, index);
    if (spec.role === 'weight' || spec.role === 'input') declare(context, spec, index);
  });
  key.ops.forEach((op, index) => {
    lowerOp(context, op, `op ${index} ${op.kind}`);
  });
  checkCoverage(context);
  const publics = (role: 'input' | 'output'): PublicTensor[] =>
    key.tensors.flatMap((spec, index) =>
      spec.role === role
        ? [{ tensor: (context.current[index] as BuiltTensor).id, kind: spec.kind, lo: spec.lo, hi: spec.hi }]
        : [],
    );
  return {
    builder: context.builder,
    inputs: publics('input'),
    outputs: publics('output'),
    virtualOutputs: context.virtualOutputs,
  };
}

function checkLists({ lists }: VerifyingKey): void {
  for (const [index, list] of lists.entries())
    if (list.some((value) => Math.abs(value) > INTEGER_BOUND))
      refuse('interval', `list ${index} holds a value beyond ±${INTEGER_BOUND}`);
  const sorted = [...lists].sort(compareLists);
  sorted.forEach((list, i) => {
    const next = sorted[i + 1];
    if (next !== undefined && compareLists(list, next) === 0)
      refuse('duplicate', `list ${lists.indexOf(next)} stands twice`);
  });
}

/** By length, then entry by entry. */
function compareLists(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return a.length - b.length;
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

export function checkSpec(spec: TensorSpec, index: number): void {
  const [min, max] = KIND_BOUNDS[spec.kind];
  if (spec.extents.some((extent) => extent < 1)) refuse('shape', `tensor ${index} has an empty axis`);
  if (spec.lo > spec.hi || spec.lo < min || spec.hi > max)
    refuse('interval', `tensor ${index}: [${spec.lo}, ${spec.hi}] is no interval of ${spec.kind}`);
  if (spec.role === 'virtual' && (spec.lo !== 0 || spec.hi !== 0 || spec.kind !== 'i32'))
    refuse('form', `virtual tensor ${index} declares an interval`);
  if ((spec.kind === 'id') !== (spec.role === 'input' && spec.kind === 'id'))
    refuse('kind', `tensor ${index}: ids are inputs`);
  if (spec.role === 'input' && spec.kind === 'i32') refuse('kind', `input ${index} of kind i32`);
  if (spec.role === 'weight') checkWeight(spec, index);
}

/** Registration proves a weight's interval by one table of its values or by limbs of exact total width. */
function checkWeight(spec: TensorSpec, index: number): void {
  const size = spec.hi - spec.lo + 1;
  if (size > 2 ** 12 && !(isPowerOfTwo(size) && size <= 2 ** 29))
    refuse('interval', `weight ${index}: ${size} values; above 4096 a power of two up to 2^29`);
  if (spec.extents.length === 0) refuse('shape', `weight ${index} has no axis`);
}

function declare(context: Context, spec: TensorSpec, index: number): void {
  const weight = spec.role === 'weight';
  context.current[index] = context.builder.add({
    storage: weight ? 'weight' : 'public',
    name: `${spec.role} ${index}`,
    extents: weight ? spec.extents : [context.builder.batchSize, ...spec.extents],
    lo: spec.lo,
    hi: spec.hi,
    definition: { kind: 'given' },
    keyTensor: index,
    keyKind: spec.kind,
  });
}

function read(context: Context, index: number, name: string): BuiltTensor {
  const found = context.current[index];
  if (found === undefined) refuse('order', `${name} reads tensor ${index} before it is produced`);
  context.reads[index] = (context.reads[index] as number) + 1;
  return found;
}

function lowerOp(context: Context, op: Op, name: string): void {
  const { key } = context;
  const target =
    key.tensors[op.y] ?? refuse('reference', `${name} produces tensor ${op.y}, which does not exist`);
  if (target.role === 'weight' || target.role === 'input')
    refuse('role', `${name} produces a tensor of role ${target.role}`);
  if (context.current[op.y] !== undefined) refuse('order', `${name} produces tensor ${op.y} again`);
  const x = (index: number): BuiltTensor => read(context, index, name);
  if (isLookupOp(op)) lowerLookupOp(context, op, x, name);
  else placeLinear(context, op.y, name, lowerLinear(context, op, x, name));
}

type LookupOp = OpOf<'requantize' | 'max' | 'softmax' | 'top1' | 'table'>;
type LinearOp = Exclude<Op, LookupOp>;

const LOOKUP_OPS: readonly Op['kind'][] = ['requantize', 'max', 'softmax', 'top1', 'table'];

const isLookupOp = (op: Op): op is LookupOp => LOOKUP_OPS.includes(op.kind);

function lowerLinear(
  { builder, key }: Context,
  op: LinearOp,
  x: (index: number) => BuiltTensor,
  name: string,
): LinearResult {
  const { role, extents } = key.tensors[op.y] as TensorSpec;
  // Sixteen bits are two looked-up bytes: their sum is virtual and yet bounded, so it may stand as an anchor.
  if (op.kind === 'requantize16') {
    if (role === 'virtual') refuse('role', `${name} produces a virtual tensor; it is an anchor or an output`);
    return lowerRequantize16(builder, op, activation(x(op.x), name), name);
  }
  if (role === 'anchor')
    refuse('role', `${name} produces an anchor; a linear op gives a virtual tensor or an output`);
  switch (op.kind) {
    case 'sum':
      return lowerSum(
        builder,
        op,
        op.terms.map((each) => x(each.x)),
        extents,
      );
    case 'contract':
      return lowerContract(builder, op, x(op.a), op.c === null ? null : x(op.c), extents);
    case 'wire':
      return lowerWire(builder, op, x(op.x), extents);
    case 'gather':
      return lowerGather(builder, x(op.table), x(op.ids), extents);
  }
}

function lowerLookupOp(
  context: Context,
  op: LookupOp,
  x: (index: number) => BuiltTensor,
  name: string,
): void {
  const { builder, key } = context;
  const source = activation(x(op.kind === 'max' ? op.a : op.x), name);
  const result = resultPlace(context, op.y, name, source);
  switch (op.kind) {
    case 'requantize':
      readList(context, op.values);
      lowerRequantize(builder, op, source, key.lists, result);
      break;
    case 'max':
      lowerMax(builder, source, activation(x(op.b), name), result);
      break;
    case 'softmax':
      readList(context, op.exponentials);
      lowerSoftmax(builder, op, source, key.lists, result);
      break;
    case 'top1':
      lowerTop1(builder, source, result);
      break;
    case 'table':
      readList(context, op.values);
      lowerTable(builder, op, source, key.lists, result);
      break;
  }
}

function activation(x: BuiltTensor, name: string): BuiltTensor {
  if (x.storage === 'weight') refuse('operands', `${name} reads a weight`);
  return x;
}

function readList(context: Context, index: number): void {
  if (index >= context.listReads.length) refuse('reference', `no list ${index}`);
  context.listReads[index] = (context.listReads[index] as number) + 1;
}

/** The tensor of an op that looks its result up: committed where it is an anchor, public where it is an output. */
function resultPlace(context: Context, index: number, name: string, like: BuiltTensor): ResultPlace {
  const spec = context.key.tensors[index] as TensorSpec;
  if (spec.role === 'virtual')
    refuse('role', `${name} produces a virtual tensor; it is an anchor or an output`);
  checkShape(spec, like.extents, name);
  return {
    name,
    place: (definition, lo, hi) => {
      checkDeclared(spec, lo, hi, name);
      const built = context.builder.add({
        storage: spec.role === 'output' ? 'public' : 'witness',
        name,
        extents: like.extents,
        lo: spec.lo,
        hi: spec.hi,
        definition,
        keyTensor: index,
        keyKind: spec.kind,
      });
      context.current[index] = built;
      return built;
    },
  };
}

/** The tensor of a linear op: virtual, and beside it a public one where it is an output. */
function placeLinear(context: Context, index: number, name: string, result: LinearResult): void {
  const spec = context.key.tensors[index] as TensorSpec;
  checkShape(spec, result.extents, name);
  const declared = spec.role !== 'virtual';
  if (declared) checkDeclared(spec, result.lo, result.hi, name);
  const { builder } = context;
  const bounds = declared ? { lo: spec.lo, hi: spec.hi } : { lo: result.lo, hi: result.hi };
  const virtual = builder.add({
    storage: 'virtual',
    name,
    extents: result.extents,
    ...bounds,
    degree: result.degree,
    definition: result.definition,
    keyTensor: index,
    keyKind: spec.kind,
  });
  if (spec.role !== 'output') {
    context.current[index] = virtual;
    return;
  }
  const published = builder.add({
    storage: 'public',
    name: `${name} published`,
    extents: result.extents,
    ...bounds,
    definition: { kind: 'published', source: virtual.id },
    keyTensor: index,
    keyKind: spec.kind,
  });
  context.virtualOutputs.push({ virtual: virtual.id, published: published.id });
  context.current[index] = published;
}

function checkShape(spec: TensorSpec, extents: readonly number[], name: string): void {
  if (
    spec.extents.length + 1 !== extents.length ||
    spec.extents.some((extent, axis) => extent !== extents[axis + 1])
  )
    refuse('shape', `${name} gives [${extents.slice(1)}], declared [${spec.extents}]`);
}

function checkDeclared(spec: TensorSpec, lo: number, hi: number, name: string): void {
  if (lo < spec.lo || hi > spec.hi)
    refuse('interval', `${name} reaches [${lo}, ${hi}], declared [${spec.lo}, ${spec.hi}]`);
}

function checkCoverage(context: Context): void {
  const { key, current, reads, listReads } = context;
  key.tensors.forEach((spec, index) => {
    if (current[index] === undefined) refuse('coverage', `tensor ${index} is never produced`);
    if (spec.role !== 'output' && reads[index] === 0) refuse('coverage', `tensor ${index} is never read`);
  });
  listReads.forEach((count, index) => {
    if (count === 0) refuse('coverage', `list ${index} is never used`);
  });
  for (const needed of ['input', 'output'])
    if (!key.tensors.some(({ role }) => role === needed)) refuse('coverage', `no ${needed}`);
}
