/** The lookup argument: leaves of the fraction tree, its layers, and the hand-over to tensors. */
import {
  FIRST_CHALLENGE,
  type HandoverStep,
  type PlanLookup,
  type PlanTable,
  type Segment,
  type TupleEntry,
} from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  extFromBase,
  extIsZero,
  extMul,
  extNeg,
  extSub,
  fromSigned,
  LABELS,
} from '@haca/primitives/zk';
import type { FractionTree, LeafSegment, Vector } from './backend.ts';
import type { Checkpoint } from './progress.ts';
import { type ProofState, runRounds, sendFills, setCoordinates } from './steps.ts';

/** Draws λ and γ, proves the sum of all fractions zero, and sends the looked-up values at the tree's point. */
export async function proveLookups(
  state: ProofState,
  handover: HandoverStep,
  checkpoint: Checkpoint,
): Promise<void> {
  const { backend, program, writer } = state;
  const [lambda, gamma] = writer.challengeExts(LABELS.LOGUP, 2) as [Ext, Ext];
  const powers: readonly Ext[] = [EXT_ONE, lambda, extMul(lambda, lambda)];
  const uploads: Vector[] = [];
  const segments = program.segments.map((segment) => {
    const { kind, index } = segment;
    const table = kind === 'lookup' ? (program.lookups[index] as PlanLookup).table : index;
    const id = extMul(extMul(extMul(lambda, lambda), lambda), extFromBase(table + 1));
    const constant = extSub(gamma, id);
    return kind === 'lookup'
      ? lookupLeaves(state, segment, powers, constant)
      : tableLeaves(state, segment, powers, constant, uploads);
  });
  const tree = backend.fractionTree(program.treeBits, segments);
  for (const vector of uploads) backend.release(vector);
  try {
    await checkpoint('lookups', 0.4);
    const point = await proveLayers(state, tree, checkpoint);
    setCoordinates(
      state,
      point.map((_, i) => FIRST_CHALLENGE + i),
      point,
    );
  } finally {
    tree.release();
  }
  sendFills(state, handover.fills, LABELS.SEGMENTS);
  state.store.releaseVirtual();
  await checkpoint('lookups', 1);
}

function lookupLeaves(
  { program, store }: ProofState,
  { bits, offset, index }: Segment,
  powers: readonly Ext[],
  start: Ext,
): LeafSegment {
  const { tuple, extents, axisBits, numerator } = program.lookups[index] as PlanLookup;
  let constant = start;
  let maskCoefficient: Ext | null = null;
  const terms: { readonly coefficient: Ext; readonly vector: Vector }[] = [];
  tuple.forEach((entry: TupleEntry, c) => {
    const power = powers[c] as Ext;
    if (entry.kind === 'tensor')
      terms.push({ coefficient: extNeg(power), vector: store.vector(entry.tensor) });
    else if (entry.kind === 'mask') maskCoefficient = extSub(maskCoefficient ?? EXT_ZERO, power);
    else constant = extSub(constant, extMul(power, extFromBase(fromSigned(entry.value))));
  });
  return {
    bits,
    offset,
    numerator: numerator.kind === 'real' ? { kind: 'mask' } : numerator,
    mask: { extents, axisBits },
    constant,
    terms,
    maskCoefficient,
  };
}

function tableLeaves(
  { program, backend, store }: ProofState,
  { bits, offset, index }: Segment,
  powers: readonly Ext[],
  constant: Ext,
  uploads: Vector[],
): LeafSegment {
  const { columns, multiplicity } = program.tables[index] as PlanTable;
  const terms = columns.flatMap((column, c) => {
    if (column.every((value) => value === 0)) return [];
    const vector = backend.upload(column);
    uploads.push(vector);
    return [{ coefficient: extNeg(powers[c] as Ext), vector }];
  });
  const numerator = { kind: 'negated' as const, vector: store.vector(multiplicity) };
  return { bits, offset, numerator, mask: null, constant, terms, maskCoefficient: null };
}

/** From the root to the leaves; returns the point that the leaves are evaluated at. */
async function proveLayers(
  state: ProofState,
  tree: FractionTree,
  checkpoint: Checkpoint,
): Promise<readonly Ext[]> {
  const { writer, program } = state;
  const [, , q0, q1] = tree.top;
  if (extIsZero(q0) || extIsZero(q1)) throw new UsageError('a denominator is zero');
  writer.sendExts(LABELS.GKR_VALUES, tree.top);
  let point: readonly Ext[] = [writer.challengeExt(LABELS.GKR_VALUES)];
  for (let level = 1; level < program.treeBits; level++) {
    const lambda = writer.challengeExt(LABELS.GKR_LAMBDA);
    const sumcheck = tree.layer(level, lambda, point);
    const challenges = runRounds(state, sumcheck, LABELS.GKR_ROUND, level);
    writer.sendExts(LABELS.GKR_VALUES, sumcheck.finals());
    sumcheck.release();
    point = [writer.challengeExt(LABELS.GKR_VALUES), ...challenges];
    await checkpoint('lookups', 0.4 + (0.5 * (level + 1)) / program.treeBits);
  }
  return point;
}
