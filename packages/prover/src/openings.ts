/**
 * The opening of all claims on committed tensors: grouped into vectors over a row, one sumcheck over rows, one random
 * combination of columns, one fold, and rows at random positions.
 */
import type { Claim, Placement, Point } from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { EXT_BYTES, EXT_ONE, type Ext, eqList, extAdd, extMul, LABELS } from '@haca/primitives/zk';
import type { Column, CommittedTree, RowSumcheck } from './backend.ts';
import type { Checkpoint } from './progress.ts';
import { type ProofState, pointOf, powersOf, runRounds } from './steps.ts';

export interface Committed {
  readonly columns: readonly Column[];
  readonly tree: CommittedTree;
}

export async function proveOpenings(
  state: ProofState,
  weights: Committed,
  witness: Committed,
  checkpoint: Checkpoint,
): Promise<void> {
  const { backend, program, writer } = state;
  const { opening } = program;
  const columns = [...weights.columns, ...witness.columns];
  const powers = powersOf(writer.challengeExt(LABELS.BETA), program.openings.length);
  const groups = [...blockGroups(state, columns, powers), ...partGroups(state, columns, powers)];
  const rows = backend.rowSumcheck({ columnBits: opening.columnBits, groups });
  const rowPoint = runRounds(state, rows, LABELS.ROW_ROUND, opening.columnBits);
  rows.release();
  writer.sendExts(LABELS.COLUMN_VALUES, backend.evaluateColumns(columns, rowPoint));
  await checkpoint('opening', 0.3);
  const selectors = eqList(writer.challengeExts(LABELS.ETA, opening.selectorBits));
  const combined = backend.combineColumns(columns, opening.columnBits, selectors.slice(0, columns.length));
  const folding = backend.fold(combined, rowPoint);
  const { blowupBits, capBits } = opening;
  const trees: CommittedTree[] = [];
  try {
    for (const [layer, arity] of opening.folds.entries()) {
      const tree = folding.commit(arity, blowupBits, capBits);
      trees.push(tree);
      writer.sendBytes(LABELS.FOLD_CAP, tree.cap);
      runRounds(state, folding, LABELS.FOLD_ROUND, arity);
      await checkpoint('opening', 0.3 + (0.5 * (layer + 1)) / opening.folds.length);
    }
    writer.sendExts(LABELS.FINAL, folding.values());
    openQueries(state, [weights.tree, witness.tree], trees);
  } finally {
    folding.release();
    for (const tree of trees) tree.release();
  }
  await checkpoint('opening', 1);
}

function openQueries(
  { backend, program, writer }: ProofState,
  roots: readonly CommittedTree[],
  layers: readonly CommittedTree[],
): void {
  const { columnBits, blowupBits, queries, grindingBits, folds } = program.opening;
  const nonce = backend.grind(writer.squeeze(LABELS.POW, 32), grindingBits);
  writer.sendBytes(LABELS.POW, nonce);
  for (const query of writer.challengeIndices(LABELS.QUERY, queries, columnBits + blowupBits)) {
    for (const tree of roots) {
      writer.write(tree.leaf(query));
      writer.write(tree.path(query));
    }
    let domain = 2 ** (columnBits + blowupBits);
    let index = query;
    layers.forEach((tree, l) => {
      domain /= 2 ** (folds[l] as number);
      // What the layers above give is left out: the verifier knows it.
      const known = Math.floor(index / domain);
      index %= domain;
      const leaf = tree.leaf(index);
      writer.write(leaf.subarray(0, EXT_BYTES * known));
      writer.write(leaf.subarray(EXT_BYTES * (known + 1)));
      writer.write(tree.path(index));
    });
  }
}

/** Placements by tensor, with the number of the first column of their root. */
function placesOf({
  program,
}: ProofState): Map<number, { readonly at: Placement['at']; readonly first: number }> {
  const places = new Map<number, { readonly at: Placement['at']; readonly first: number }>();
  for (const { tensor, at } of program.weightPlacements) places.set(tensor, { at, first: 0 });
  for (const { tensor, at } of program.witnessPlacements)
    places.set(tensor, { at, first: program.opening.weightColumns });
  return places;
}

interface BlockGroup {
  readonly rowPoint: Point;
  readonly weights: Map<number, Ext>;
}

/** Claims on tensors of at least one column: those with the same low coordinates share one eq. */
function blockGroups(
  state: ProofState,
  columns: readonly Column[],
  powers: readonly Ext[],
): RowSumcheck['groups'] {
  const places = placesOf(state);
  const { columnBits } = state.program.opening;
  const groups = new Map<string, BlockGroup>();
  state.program.openings.forEach(({ tensor, point }: Claim, j) => {
    const place = places.get(tensor);
    if (place === undefined) throw new UsageError(`an opening of tensor ${tensor}, which is not committed`);
    if (place.at.kind !== 'blocks') return;
    const rowPoint = point.slice(point.length - columnBits);
    const name = rowPoint.join();
    const group = groups.get(name) ?? { rowPoint, weights: new Map<number, Ext>() };
    groups.set(name, group);
    const ofBlock = eqList(pointOf(state, point.slice(0, point.length - columnBits)));
    place.at.columns.forEach((column, block) => {
      if (column === null) return;
      const number = place.first + column;
      const weight = extMul(powers[j] as Ext, ofBlock[block] as Ext);
      const before = group.weights.get(number);
      group.weights.set(number, before === undefined ? weight : extAdd(before, weight));
    });
  });
  return [...groups.values()].map(({ rowPoint, weights }) => {
    const point = pointOf(state, rowPoint);
    const [only] = weights;
    // One column alone stays in small integers: its weight goes to the other factor.
    if (weights.size === 1 && only !== undefined)
      return {
        columns: [{ column: columns[only[0]] as Column, weight: EXT_ONE }],
        eqs: [{ offset: 0, point, weight: only[1] }],
      };
    return {
      columns: [...weights].map(([number, weight]) => ({ column: columns[number] as Column, weight })),
      eqs: [{ offset: 0, point, weight: EXT_ONE }],
    };
  });
}

/** Claims on smaller tensors, column by column. */
function partGroups(
  state: ProofState,
  columns: readonly Column[],
  powers: readonly Ext[],
): RowSumcheck['groups'] {
  const places = placesOf(state);
  const eqs = new Map<number, Map<string, { offset: number; point: Point; weight: Ext }>>();
  state.program.openings.forEach(({ tensor, point }: Claim, j) => {
    const place = places.get(tensor);
    if (place?.at.kind !== 'part') return;
    const number = place.first + place.at.column;
    const ofColumn = eqs.get(number) ?? new Map<string, { offset: number; point: Point; weight: Ext }>();
    eqs.set(number, ofColumn);
    const name = `${place.at.offset}:${point.join()}`;
    const before = ofColumn.get(name);
    const weight = powers[j] as Ext;
    ofColumn.set(name, {
      offset: place.at.offset,
      point,
      weight: before === undefined ? weight : extAdd(before.weight, weight),
    });
  });
  return [...eqs].map(([number, ofColumn]) => ({
    columns: [{ column: columns[number] as Column, weight: EXT_ONE }],
    eqs: [...ofColumn.values()].map((each) => ({ ...each, point: pointOf(state, each.point) })),
  }));
}
