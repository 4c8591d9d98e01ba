/**
 * Queries: rows of both roots at random positions, combined and folded down to the word of the final vector. Each value
 * that the fold gives is inserted in the leaf of the next layer, so that the path of that leaf is the check of it.
 */
import { foldDepths, type OpeningShape } from '@haca/circuit';
import {
  codewordExt,
  DIGEST_BYTES,
  EXT_BYTES,
  type Ext,
  type ExtVector,
  encodeExt,
  extAdd,
  extMul,
  extScale,
  extSub,
  extVectorOf,
  getExt,
  inverse,
  LABELS,
  leafHashes,
  mul,
  pow,
  rootOfUnity,
  verifyPaths,
  type ZkKernels,
} from '@haca/primitives/zk';
import type { Gate } from './checks.ts';
import type { Commitments, FoldedWord } from './opening.ts';
import type { ProofReader } from './proof-reader.ts';

/** Reads the nonce and all queries, which end the proof. */
export function verifyQueries(
  opening: OpeningShape,
  reader: ProofReader,
  gate: Gate,
  commitments: Commitments,
  folded: FoldedWord,
  kernels: ZkKernels,
): void {
  reader.readNonce(opening.grindingBits);
  gate.close('zk.pow');
  const depth = opening.columnBits + opening.blowupBits;
  const indices = reader.challengeIndices(LABELS.QUERY, opening.queries, depth);
  const opened = readQueries(opening, reader);
  const authenticate = (
    name: 'merkle-weights' | 'merkle-witness' | 'merkle-fold',
    tree: OpenedTree,
    cap: Uint8Array,
    positions: readonly number[],
  ): void => {
    const { depth: treeDepth, rowBytes, rows, paths } = tree;
    const leaves = leafHashes(kernels, rows, rowBytes, positions.length);
    const request = { kernels, cap, capLog: opening.capBits, depth: treeDepth, indices: positions };
    gate.require(name, verifyPaths({ ...request, leafHashes: leaves, paths }), 'a path elsewhere');
  };
  authenticate('merkle-weights', opened.weights, commitments.weightCap, indices);
  authenticate('merkle-witness', opened.witness, commitments.witnessCap, indices);
  let values = combineRows(opening, opened, folded.columnWeights, kernels);
  let positions = indices;
  let sizeBits = depth;
  for (const [layer, fold] of opening.folds.entries()) {
    const tree = opened.layers[layer] as OpenedTree & OpenedLayer;
    sizeBits -= fold;
    const leafCount = 2 ** sizeBits;
    const challenges = folded.challenges[layer] as readonly Ext[];
    const leaves = insertValues(tree, positions, leafCount, values, fold);
    positions = positions.map((position) => position % leafCount);
    authenticate('merkle-fold', tree, folded.caps[layer] as Uint8Array, positions);
    values = foldLeaves(leaves, positions, sizeBits + fold, challenges);
  }
  gate.close('zk.merkle');
  requireFinalWord(gate, codewordExt(folded.final, opening.blowupBits), positions, values);
  gate.close('zk.query');
}

function requireFinalWord(
  gate: Gate,
  word: ExtVector,
  positions: readonly number[],
  values: readonly Ext[],
): void {
  for (const [query, position] of positions.entries())
    gate.requireEqual('query', values[query] as Ext, getExt(word, position), `query ${query}`);
}

/** The openings of one tree, those of all queries one after the other. */
interface OpenedTree {
  readonly depth: number;
  readonly rowBytes: number;
  /** Leaves; for a fold layer with room for the value that is inserted. */
  readonly rows: Uint8Array;
  readonly paths: Uint8Array;
}

interface OpenedLayer {
  /** By query the values of its leaf but the inserted one. */
  readonly others: (readonly Ext[])[];
}

interface Opened {
  readonly weights: OpenedTree;
  readonly witness: OpenedTree;
  readonly layers: readonly (OpenedTree & OpenedLayer)[];
  /** By query the row of the weights and that of the witness, `columns` words in all. */
  readonly words: Uint32Array;
}

function readQueries(opening: OpeningShape, reader: ProofReader): Opened {
  const { queries, weightColumns, witnessColumns, folds } = opening;
  const depth = opening.columnBits + opening.blowupBits;
  const columns = weightColumns + witnessColumns;
  const tree = (treeDepth: number, rowBytes: number): OpenedTree => ({
    depth: treeDepth,
    rowBytes,
    rows: new Uint8Array(rowBytes * queries),
    paths: new Uint8Array(DIGEST_BYTES * pathDigests(opening, treeDepth) * queries),
  });
  const depths = foldDepths(opening);
  const opened: Opened = {
    weights: tree(depth, 4 * weightColumns),
    witness: tree(depth, 4 * witnessColumns),
    layers: folds.map((fold, l) => ({ ...tree(depths[l] as number, EXT_BYTES * 2 ** fold), others: [] })),
    words: new Uint32Array(columns * queries),
  };
  const readPath = ({ depth: treeDepth, paths }: OpenedTree, query: number): void => {
    const bytes = DIGEST_BYTES * pathDigests(opening, treeDepth);
    paths.set(reader.readOpening(bytes), bytes * query);
  };
  for (let query = 0; query < queries; query++) {
    const at = columns * query;
    const { weights, witness, words } = opened;
    weights.rows.set(reader.readOpenedWords(words, at, weightColumns), weights.rowBytes * query);
    readPath(weights, query);
    witness.rows.set(
      reader.readOpenedWords(words, at + weightColumns, witnessColumns),
      witness.rowBytes * query,
    );
    readPath(witness, query);
    for (const [l, layer] of opened.layers.entries()) {
      layer.others.push(reader.readOpenedExts(2 ** (folds[l] as number) - 1));
      readPath(layer, query);
    }
  }
  reader.requireEnd();
  return opened;
}

const pathDigests = ({ capBits }: OpeningShape, depth: number): number => Math.max(0, depth - capBits);

/** Σ eq(η, c) · value_c for each query. */
function combineRows(
  { queries }: OpeningShape,
  { words }: Opened,
  columnWeights: readonly Ext[],
  kernels: ZkKernels,
): Ext[] {
  const weights = extVectorOf(columnWeights);
  const columns = weights.length;
  return Array.from({ length: queries }, (_, query) =>
    kernels.dotBase(words.subarray(columns * query, columns * (query + 1)), weights),
  );
}

/**
 * Puts each query's value in its place among the values of its leaf, and the bytes of the leaf in `rows`. Leaf i of a
 * layer of N positions holds positions i + k · N / 2^fold.
 */
function insertValues(
  { others, rows, rowBytes }: OpenedTree & OpenedLayer,
  positions: readonly number[],
  leafCount: number,
  values: readonly Ext[],
  fold: number,
): Ext[][] {
  return positions.map((position, query) => {
    const own = Math.floor(position / leafCount);
    const rest = others[query] as readonly Ext[];
    const leaf: Ext[] = [];
    for (let k = 0; k < 2 ** fold; k++) {
      const value = k === own ? values[query] : rest[k < own ? k : k - 1];
      leaf.push(value as Ext);
      encodeExt(value as Ext, rows, rowBytes * query + EXT_BYTES * k);
    }
    return leaf;
  });
}

/**
 * Folds each leaf to one value: a pair at x and -x becomes (1 - r) E + r O with E = (u + v) / 2 and O = (u - v) / 2x. The
 * halves are taken at the end.
 */
function foldLeaves(
  leaves: readonly (readonly Ext[])[],
  positions: readonly number[],
  sizeBits: number,
  challenges: readonly Ext[],
): Ext[] {
  const inverseRoot = inverse(rootOfUnity(sizeBits));
  const step = pow(inverseRoot, 2 ** (sizeBits - challenges.length));
  const halves = inverse(2 ** challenges.length);
  return leaves.map((leaf, query) => {
    let values = leaf;
    let first = pow(inverseRoot, positions[query] as number);
    let ratio = step;
    for (const challenge of challenges) {
      const half = values.length / 2;
      const folded: Ext[] = [];
      for (let k = 0, inverseX = first; k < half; k++, inverseX = mul(inverseX, ratio)) {
        const u = values[k] as Ext;
        const v = values[k + half] as Ext;
        const even = extAdd(u, v);
        const odd = extScale(extSub(u, v), inverseX);
        folded.push(extAdd(even, extMul(challenge, extSub(odd, even))));
      }
      values = folded;
      first = mul(first, first);
      ratio = mul(ratio, ratio);
    }
    return extScale(values[0] as Ext, halves);
  });
}
