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
import { weightedSum } from './powers.ts';

/** How a tuple becomes one field element (λ), and where the poles are looked for (γ). */
export interface LookupChallenges {
  readonly lambda: Ext;
  readonly gamma: Ext;
}

/** What a segment's leaves come to at the tail of the point: numerator, tuple, and the table that the tuple is of. */
interface Leaves {
  readonly numerator: Ext;
  readonly tuple: readonly Ext[];
  readonly table: number;
}

export function handOver(
  context: StepContext,
  step: HandoverStep,
  leaf: LeafClaim,
  { lambda, gamma }: LookupChallenges,
  kernels: ZkKernels,
): void {
  fillSlots(context, step.fills, LABELS.SEGMENTS);
  const { program, gate, place } = context;
  const square = extMul(lambda, lambda);
  const powers = [EXT_ONE, lambda, square, extMul(square, lambda)];
  const tableWeights = tailWeights(leaf.point, program.tables);
  let numerator = EXT_ZERO;
  // Leaves that no segment uses have denominator 1.
  let denominator = EXT_ONE;
  for (const { kind, index, bits, offset } of program.segments) {
    const head = leaf.point.slice(0, program.treeBits - bits);
    const selector = eqAt(head, offset / 2 ** bits);
    const leaves =
      kind === 'lookup'
        ? lookupLeaves(context, step, index, leaf.point.slice(head.length))
        : tableLeaves(context, step, index, tableWeights[bits] as ExtVector, kernels);
    const fingerprint = weightedSum([...leaves.tuple, extFromBase(leaves.table + 1)], powers);
    numerator = extAdd(numerator, extMul(selector, leaves.numerator));
    denominator = extAdd(denominator, extMul(selector, extSub(extSub(gamma, fingerprint), EXT_ONE)));
  }
  gate.requireEqual('numerator', numerator, leaf.numerator, place);
  gate.requireEqual('denominator', denominator, leaf.denominator, place);
}

function lookupLeaves(
  { program, state }: StepContext,
  step: HandoverStep,
  index: number,
  tail: readonly Ext[],
): Leaves {
  const lookup = program.lookups[index] as PlanLookup;
  const slots = step.lookupSlots[index] as readonly (Slot | null)[];
  const tuple = lookup.tuple.map((entry: TupleEntry, coordinate): Ext => {
    if (entry.kind === 'constant') return extFromBase(fromSigned(entry.value));
    if (entry.kind === 'mask') return maskAt(lookup.extents, axisPoints(tail, lookup.axisBits));
    return state.slot(slots[coordinate] as Slot);
  });
  return { numerator: lookupNumerator(lookup, tail), tuple, table: lookup.table };
}

function tableLeaves(
  { program, state }: StepContext,
  step: HandoverStep,
  index: number,
  weights: ExtVector,
  kernels: ZkKernels,
): Leaves {
  const { columns } = program.tables[index] as PlanTable;
  const tuple = columns.map((column) =>
    column.some((value) => value !== 0) ? kernels.dotBase(column, weights) : EXT_ZERO,
  );
  return { numerator: extNeg(state.slot(step.tableSlots[index] as Slot)), tuple, table: index };
}

/** 1 on real cells; in a registration, 1 on the blocks that hold some. */
function lookupNumerator(lookup: PlanLookup, tail: readonly Ext[]): Ext {
  const { numerator, extents, axisBits, bits } = lookup;
  if (numerator.kind === 'real') return maskAt(extents, axisPoints(tail, axisBits));
  const head = tail.slice(0, bits - numerator.blockBits);
  return numerator.blocks.reduce((sum, block) => extAdd(sum, eqAt(head, block)), EXT_ZERO);
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
