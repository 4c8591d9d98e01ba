/**
 * What a prover computes with: coarse operations over vectors that the backend keeps. Everything whose cost grows with
 * the model happens behind this interface; the code in front of it handles points, descriptors and messages only. Every
 * backend gives the same results as `referenceBackend`, to the last bit.
 *
 * Conventions. Indices are most significant bit first; a tensor's index is its axes' bits one after another. Binding
 * replaces v by v[i] + r·(v[i + half] − v[i]): the first bit goes first. Elements are canonical at this boundary, whatever
 * form a backend keeps inside. All calls are synchronous; the caller yields to the event loop between them.
 *
 * Ownership. A base vector lives until `release` and must outlive the trees, sumchecks and commitments that it was given
 * to. A vector over F that goes into a `productSumcheck` or a `fold` is consumed: it belongs to that object from then on
 * and goes with its `release`. All other calls leave the vectors given to them alone and are done with them on return.
 */
import type { BaseValues, Ext, ExtVector } from '@haca/primitives/zk';

declare const OWNED: unique symbol;

/** A vector that a backend keeps: of small integers (of the width in which they came, or residues) or over F. */
export interface Vector {
  readonly [OWNED]?: never;
  readonly field: 'base' | 'extension';
  readonly length: number;
}

/** The real cells of a padded cube: 1 where each axis' index is below its extent. */
export interface CellMask {
  readonly extents: readonly number[];
  readonly axisBits: readonly number[];
}

/**
 * One committed column of 2^columnBits cells: `length` cells of `vector` (base) from `from` on stand at `offset`; cells
 * that no piece covers are 0. Pieces do not overlap.
 */
export interface Column {
  readonly pieces: readonly {
    readonly vector: Vector;
    readonly from: number;
    readonly length: number;
    readonly offset: number;
  }[];
}

export interface ColumnsRequest {
  readonly columns: readonly Column[];
  readonly columnBits: number;
  readonly blowupBits: number;
  readonly capBits: number;
}

/** A Merkle tree over rows or over leaves of a folded word, kept with what it hashes. */
export interface CommittedTree {
  /** The 2^min(capBits, depth) digests of the cap. */
  readonly cap: Uint8Array;
  /**
   * The bytes of one leaf. Of columns: one canonical word (4 bytes, little-endian) per column. Of a folded word with
   * leaves of 2^arity values: value k is the word at `index + k · leaves`, 20 bytes each, k ascending.
   */
  readonly leaf: (index: number) => Uint8Array;
  /** Siblings from the leaf up to below the cap. */
  readonly path: (index: number) => Uint8Array;
  readonly release: () => void;
}

/** What becomes of one axis of a vector that is evaluated in part. */
export type AxisUse =
  | { readonly kind: 'keep'; readonly bits: number }
  /** Summed up with eq(point, ·); an empty point is an axis without bits. */
  | { readonly kind: 'point'; readonly point: readonly Ext[] }
  /** Summed up with weights of F, one per index. */
  | { readonly kind: 'weights'; readonly bits: number; readonly weights: Vector }
  /** Replaced by an axis of `rowBits`: new index k is Σ_i matrix[k · 2^bits + i] · v[i]; few entries of a row are not 0. */
  | { readonly kind: 'matrix'; readonly bits: number; readonly rowBits: number; readonly matrix: Vector };

export interface PartialEvaluation {
  readonly vector: Vector;
  /** All axes of the vector, outermost first. */
  readonly axes: readonly AxisUse[];
  /** Numbers of the axes with `keep` or `matrix`, in the order that they have in the result. */
  readonly order: readonly number[];
}

/**
 * Σ over x of a(x)·c(x)·mask(x), the first eqPoint.length variables weighted by eq(eqPoint, ·). Rounds over these are in
 * format EQ2, the others in `format`. With n rounds in all, a and c have length 2^n and mask has n bits.
 */
export interface ProductSumcheck {
  readonly eqPoint: readonly Ext[];
  readonly format: 'SC2' | 'SC3';
  /** Base or extension. */
  readonly a: Vector;
  /** null: 1 everywhere. */
  readonly c: Vector | null;
  readonly mask: CellMask | null;
}

/** Rounds of one sumcheck: `round`, `bind`, `round`, `bind`, …, `finals`. */
export interface Sumcheck {
  readonly rounds: number;
  /** The message of the current round, in its format (see `SumcheckFormat` of the primitives). */
  readonly round: () => readonly Ext[];
  /** Binds the current variable. May be put off to the next call, so that both passes become one. */
  readonly bind: (challenge: Ext) => void;
  /** After the last `bind`: the factors at the point of all challenges. */
  readonly finals: () => readonly Ext[];
  readonly release: () => void;
}

/** One aligned run of 2^bits leaves; its denominators are affine in vectors of small integers. */
export interface LeafSegment {
  readonly bits: number;
  readonly offset: number;
  /**
   * `mask`: the segment's mask; `blocks`: 1 in the listed blocks of 2^blockBits cells; `negated`: minus the entries of a
   * base vector of residues.
   */
  readonly numerator:
    | { readonly kind: 'mask' }
    | { readonly kind: 'blocks'; readonly blockBits: number; readonly blocks: readonly number[] }
    | { readonly kind: 'negated'; readonly vector: Vector };
  /** Null where neither numerator nor denominators use it. */
  readonly mask: CellMask | null;
  /** Denominator of a cell: constant + Σ coefficient · vector[cell] + maskCoefficient · mask(cell). */
  readonly constant: Ext;
  readonly terms: readonly { readonly coefficient: Ext; readonly vector: Vector }[];
  /** Null: the mask is not in the denominators. */
  readonly maskCoefficient: Ext | null;
}

/**
 * The tree of fractions: level `treeBits` has the leaves (0/1 where no segment lies); node i of level j is the sum of the
 * nodes i and i + 2^j of level j + 1.
 */
export interface FractionTree {
  /** p0, p1, q0, q1: the two nodes of level 1. */
  readonly top: readonly [Ext, Ext, Ext, Ext];
  /**
   * The sumcheck over `level` variables from level `level` to `level + 1`: EQ2 at `point` of
   * p0·q1 + p1·q0 + lambda·q0·q1; its finals are p0, p1, q0, q1. Levels are asked for once each, 1 to treeBits − 1; what
   * is above is not needed any more.
   */
  readonly layer: (level: number, lambda: Ext, point: readonly Ext[]) => Sumcheck;
  readonly release: () => void;
}

/**
 * Σ over groups of (Σ weight · column)(x) · (Σ weight · eq(point, ·) in the cells from offset on)(x): SC2 over the
 * columnBits bits of a row. A group of one column with weight 1 stays in small integers until its first binding.
 */
export interface RowSumcheck {
  readonly columnBits: number;
  readonly groups: readonly {
    readonly columns: readonly { readonly column: Column; readonly weight: Ext }[];
    /** `offset` is a multiple of 2^point.length. */
    readonly eqs: readonly {
      readonly offset: number;
      readonly point: readonly Ext[];
      readonly weight: Ext;
    }[];
  }[];
}

/** The fold of one column over F towards the claim that its MLE has a value at `point`: EV1 rounds, commitments between. */
export interface Folding {
  /** Commits the codeword of the current column, 2^arityBits values a leaf. */
  readonly commit: (arityBits: number, blowupBits: number, capBits: number) => CommittedTree;
  /** t(0), t(1) of the current round. */
  readonly round: () => readonly [Ext, Ext];
  readonly bind: (challenge: Ext) => void;
  /** The current column. */
  readonly values: () => readonly Ext[];
  readonly release: () => void;
}

export interface ProverBackend {
  /** Shown in measurements, e.g. `reference`. */
  readonly name: string;

  /** Takes small integers, or residues as a `Uint32Array`. The caller does not change `values` afterwards. */
  readonly upload: (values: BaseValues) => Vector;
  readonly uploadExtension: (values: ExtVector) => Vector;
  /** The elements of a vector over F, canonical. */
  readonly download: (vector: Vector) => ExtVector;
  readonly release: (vector: Vector) => void;

  /** The vectors of all pieces stay the caller's and must outlive the tree. */
  readonly commitColumns: (request: ColumnsRequest) => CommittedTree;
  /** The MLE of each vector (all of length 2^point.length) at one point. */
  readonly evaluate: (vectors: readonly Vector[], point: readonly Ext[]) => Ext[];
  /** The MLE of each column at one point of columnBits coordinates. */
  readonly evaluateColumns: (columns: readonly Column[], point: readonly Ext[]) => Ext[];
  /** Σ weight · column, over F, 2^columnBits entries. */
  readonly combineColumns: (
    columns: readonly Column[],
    columnBits: number,
    weights: readonly Ext[],
  ) => Vector;

  /** Sums some axes of a vector up; the result is over F. */
  readonly partialEvaluate: (request: PartialEvaluation) => Vector;
  /**
   * result[i] = constant + Σ coefficient · vector[index], over F, 2^bits entries: bit m of a term's index is bit
   * `bits[m]` of i. `constant` and coefficients are residues.
   */
  readonly combineTerms: (request: {
    readonly bits: number;
    readonly constant: number;
    readonly terms: readonly {
      readonly vector: Vector;
      readonly coefficient: number;
      readonly bits: readonly number[];
    }[];
  }) => Vector;
  /** Σ weight · eq(point, ·) over points of one length. */
  readonly combineEqs: (terms: readonly { readonly point: readonly Ext[]; readonly weight: Ext }[]) => Vector;
  /** Product of tables over axes of one cube: each axis stands in one table, whose own axes are in the order given. */
  readonly outerProduct: (
    axisBits: readonly number[],
    tables: readonly { readonly vector: Vector; readonly axes: readonly number[] }[],
  ) => Vector;
  /** Entry v: Σ of eq(point, i) over the real cells i with ids[i] = v; 2^rowBits entries. */
  readonly scatterEq: (request: {
    readonly ids: Vector;
    readonly mask: CellMask;
    readonly point: readonly Ext[];
    readonly rowBits: number;
  }) => Vector;

  readonly productSumcheck: (request: ProductSumcheck) => Sumcheck;
  /** The vectors of all pieces stay the caller's and must outlive the sumcheck. */
  readonly rowSumcheck: (request: RowSumcheck) => Sumcheck;
  readonly fractionTree: (treeBits: number, segments: readonly LeafSegment[]) => FractionTree;
  /** `column` is over F; `point` has as many coordinates as the column has bits. */
  readonly fold: (column: Vector, point: readonly Ext[]) => Folding;

  /** The least nonce, 8 bytes little-endian, whose keyed hash under `seed` starts with `bits` zero bits. */
  readonly grind: (seed: Uint8Array, bits: number) => Uint8Array;
}
