/**
 * All claims on committed tensors at once: a sumcheck over the rows turns them into one value per column, a random
 * combination of the columns into one word, and rounds of folding that word into a vector short enough to be sent.
 */
import { capDigests, foldDepths, type Placement, type Program } from '@haca/circuit';
import {
  EXT_ZERO,
  type Ext,
  type ExtVector,
  eqList,
  eqPoint,
  evaluateMultilinear,
  extAdd,
  extMul,
  extSub,
  extVectorOf,
  LABELS,
} from '@haca/primitives/zk';
import { type Gate, Rejection } from './checks.ts';
import { eqAt, eqWeights } from './eq-weights.ts';
import { powersOf, weightedSum } from './powers.ts';
import type { ProofReader } from './proof-reader.ts';
import type { State } from './state.ts';
import { sumcheck } from './sumchecks.ts';

/** What the queries are held against. */
export interface Commitments {
  readonly weightCap: Uint8Array;
  readonly witnessCap: Uint8Array;
}

export interface FoldedWord {
  /** eq(η, c) for each column, those of the weights first. */
  readonly columnWeights: readonly Ext[];
  /** Cap of each fold layer. */
  readonly caps: readonly Uint8Array[];
  /** Challenges of each fold layer. */
  readonly challenges: readonly (readonly Ext[])[];
  readonly final: ExtVector;
}

export function verifyOpening(program: Program, reader: ProofReader, gate: Gate, state: State): FoldedWord {
  const { opening } = program;
  const columns = opening.weightColumns + opening.witnessColumns;
  const powers = powersOf(reader.challengeExt(LABELS.BETA), program.openings.length);
  const values = program.openings.map(({ slot }) => state.slot(slot));
  const claim = weightedSum(values, powers);
  const rows = sumcheck(reader, LABELS.ROW_ROUND, 'SC2', claim, opening.columnBits);
  const columnValues = reader.readExts(LABELS.COLUMN_VALUES, columns);
  const combined = weightedSum(claimWeights(program, state, rows.point, columnValues), powers);
  gate.requireEqual('rows', combined, rows.claim, 'columns');
  gate.close('zk.rows');

  const columnWeights = eqList(reader.challengeExts(LABELS.ETA, opening.selectorBits)).slice(0, columns);
  return {
    columnWeights,
    ...verifyFolds(program, reader, gate, rows.point, weightedSum(columnValues, columnWeights)),
  };
}

/** For each claim the value that the column values give it at the rows' point, with the factor of its own point. */
function claimWeights(
  program: Program,
  state: State,
  rowPoint: readonly Ext[],
  columnValues: readonly Ext[],
): Ext[] {
  const placed = placements(program);
  const { columnBits } = program.opening;
  return program.openings.map(({ tensor, point }) => {
    const values = state.pointOf(point);
    const place = placed.get(tensor);
    if (place === undefined) throw new Rejection('plan', `tensor ${tensor} has no columns`);
    if (place.kind === 'part') {
      const head = rowPoint.slice(0, columnBits - values.length);
      const prefix = eqAt(head, place.offset / 2 ** values.length);
      const own = eqPoint(values, rowPoint.slice(head.length));
      return extMul(extMul(prefix, own), columnValues[place.column] as Ext);
    }
    const blockBits = values.length - columnBits;
    const weight = eqWeights(values.slice(0, blockBits));
    let sum = EXT_ZERO;
    for (const { block, column } of place.blocks)
      sum = extAdd(sum, extMul(weight(block), columnValues[column] as Ext));
    return extMul(sum, eqPoint(values.slice(blockBits), rowPoint));
  });
}

type Place =
  | {
      readonly kind: 'blocks';
      readonly blocks: readonly { readonly block: number; readonly column: number }[];
    }
  | { readonly kind: 'part'; readonly column: number; readonly offset: number };

/** By tensor; columns are numbered through, those of the weights first. */
function placements({ weightPlacements, witnessPlacements, opening }: Program): Map<number, Place> {
  const placed = new Map<number, Place>();
  const enter = (placement: Placement, firstColumn: number): void => {
    const { tensor, at } = placement;
    if (at.kind === 'part') {
      placed.set(tensor, { kind: 'part', column: firstColumn + at.column, offset: at.offset });
      return;
    }
    const blocks = at.columns.flatMap((column, block) =>
      column === null ? [] : [{ block, column: firstColumn + column }],
    );
    placed.set(tensor, { kind: 'blocks', blocks });
  };
  for (const placement of weightPlacements) enter(placement, 0);
  for (const placement of witnessPlacements) enter(placement, opening.weightColumns);
  return placed;
}

function verifyFolds(
  { opening }: Program,
  reader: ProofReader,
  gate: Gate,
  rowPoint: readonly Ext[],
  value: Ext,
): Omit<FoldedWord, 'columnWeights'> {
  const caps: Uint8Array[] = [];
  const challenges: (readonly Ext[])[] = [];
  const depths = foldDepths(opening);
  let claim = value;
  let round = 0;
  for (const [layer, fold] of opening.folds.entries()) {
    caps.push(reader.readDigests(LABELS.FOLD_CAP, capDigests(depths[layer] as number)));
    const ofLayer: Ext[] = [];
    for (let i = 0; i < fold; i++, round++) {
      const line = reader.readExts(LABELS.FOLD_ROUND, 2) as readonly [Ext, Ext];
      const challenge = reader.challengeExt(LABELS.FOLD_ROUND);
      gate.requireEqual('fold', lineAt(line, rowPoint[round] as Ext), claim, `fold round ${round}`);
      claim = lineAt(line, challenge);
      ofLayer.push(challenge);
    }
    challenges.push(ofLayer);
  }
  gate.close('zk.fold');
  const final = extVectorOf(reader.readExts(LABELS.FINAL, 2 ** opening.finalBits));
  const finalValue = evaluateMultilinear(final, rowPoint.slice(round));
  gate.requireEqual('final', finalValue, claim, 'final vector');
  gate.close('zk.final');
  return { caps, challenges, final };
}

/** A polynomial of degree 1 from its values at 0 and 1: what a round of format EV1 sends. */
const lineAt = ([atZero, atOne]: readonly [Ext, Ext], x: Ext): Ext =>
  extAdd(atZero, extMul(x, extSub(atOne, atZero)));
