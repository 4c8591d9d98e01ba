/**
 * From the leaves of the fraction tree to tensors: the claimed numerator and denominator at the tree's point must be
 * those that the looked-up values, the tables and the multiplicities give there.
 */
import type { HandoverStep, PlanLookup, PlanTable, Program, Slot, TupleEntry } from '@haca/circuit';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  type ExtVector,
  extAdd,
  extFromBase,
  extMul,
  extNeg,
  extScale,
  extSub,
  extVector,
  fromSigned,
  LABELS,
  maskAt,
  scaleRange,
  setExt,
  type ZkKernels,
} from '@haca/primitives/zk';
import { eqAt } from './eq-weights.ts';
import { fillSlots, type StepContext } from './fill.ts';
import type { LeafClaim } from './fraction-tree.ts';
import { axisPoints } from './points.ts';

/** How a tuple becomes one field element (λ), and where the poles are looked for (γ). */
export interface LookupChallenges {
  readonly lambda: Ext;
  readonly gamma: Ext;
}

type Tuple = readonly [Ext, Ext, Ext];

export function handOver(
  context: StepContext,
  step: HandoverStep,
  leaf: LeafClaim,
  { lambda, gamma }: LookupChallenges,
  kernels: ZkKernels,
): void {
  fillSlots(context, step.fills, LABELS.SEGMENTS);
  const { program, gate, state, place } = context;
  const { treeBits, lookups, tables, segments } = program;
  const square = extMul(lambda, lambda);
  const cube = extMul(square, lambda);
  const tableWeights = tailWeights(leaf.point, tables);
  let numerator = EXT_ZERO;
  // Leaves that no segment uses have denominator 1.
  let denominator = EXT_ONE;
  for (const { kind, index, bits, offset } of segments) {
    const selector = eqAt(leaf.point.slice(0, treeBits - bits), offset / 2 ** bits);
    const tail = leaf.point.slice(treeBits - bits);
    const lookup = lookups[index] as PlanLookup;
    const table = kind === 'lookup' ? lookup.table : index;
    const tuple =
      kind === 'lookup'
        ? lookupTuple(context, lookup, step.lookupSlots[index] as readonly (Slot | null)[], tail)
        : tableTuple(tables[index] as PlanTable, tableWeights[bits] as ExtVector, kernels);
    const own =
      kind === 'lookup' ? lookupNumerator(lookup, tail) : extNeg(state.slot(step.tableSlots[index] as Slot));
    const [c0, c1, c2] = tuple;
    const low = extAdd(c0, extMul(lambda, c1));
    const fingerprint = extAdd(extAdd(low, extMul(square, c2)), extScale(cube, table + 1));
    numerator = extAdd(numerator, extMul(selector, own));
    denominator = extAdd(denominator, extMul(selector, extSub(extSub(gamma, fingerprint), EXT_ONE)));
  }
  gate.requireEqual('numerator', numerator, leaf.numerator, place);
  gate.requireEqual('denominator', denominator, leaf.denominator, place);
}

function lookupTuple(
  { state }: StepContext,
  lookup: PlanLookup,
  slots: readonly (Slot | null)[],
  tail: readonly Ext[],
): Tuple {
  const [c0, c1, c2] = lookup.tuple.map((entry: TupleEntry, coordinate): Ext => {
    if (entry.kind === 'constant') return extFromBase(fromSigned(entry.value));
    if (entry.kind === 'mask') return maskAt(lookup.extents, axisPoints(tail, lookup.axisBits));
    return state.slot(slots[coordinate] as Slot);
  }) as [Ext, Ext, Ext];
  return [c0, c1, c2];
}

/** 1 on real cells; in a registration, 1 on the blocks that hold some. */
function lookupNumerator(lookup: PlanLookup, tail: readonly Ext[]): Ext {
  const { numerator, extents, axisBits, bits } = lookup;
  if (numerator.kind === 'real') return maskAt(extents, axisPoints(tail, axisBits));
  const head = tail.slice(0, bits - numerator.blockBits);
  return numerator.blocks.reduce((sum, block) => extAdd(sum, eqAt(head, block)), EXT_ZERO);
}

function tableTuple(table: PlanTable, weights: ExtVector, kernels: ZkKernels): Tuple {
  const [c0, c1, c2] = table.columns.map((column) =>
    column.some((value) => value !== 0) ? kernels.dotBase(column, weights) : EXT_ZERO,
  ) as [Ext, Ext, Ext];
  return [c0, c1, c2];
}

/** By number of bits k: eq weights of the last k coordinates, each table twice the one before. */
function tailWeights(point: readonly Ext[], tables: Program['tables']): readonly ExtVector[] {
  const most = tables.reduce((bits, table) => Math.max(bits, table.bits), 0);
  let last = extVector(1);
  setExt(last, 0, EXT_ONE);
  const weights = [last];
  for (let k = 1; k <= most; k++) {
    const coordinate = point[point.length - k] as Ext;
    const next = extVector(2 ** k);
    scaleRange(last, 0, last.length, extSub(EXT_ONE, coordinate), next, 0);
    scaleRange(last, 0, last.length, coordinate, next, last.length);
    weights.push(next);
    last = next;
  }
  return weights;
}
