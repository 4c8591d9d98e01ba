/**
 * The program: what prover and verifier execute for one verifying key and one batch size. `plan` derives it from the
 * key; neither side knows any op of the key, only the tensors, lookups and steps below. Everything here is fixed before
 * the first challenge, and the length of a proof follows from it.
 *
 * Three numberings run through it.
 * - A *coordinate* is a place for a field element that the transcript yields: 0 and 1 stand for the constants 0 and 1,
 *   FIRST_CHALLENGE + k for the k-th challenge coordinate. A point is a list of coordinates, most significant bit first.
 * - A *slot* is a place for the value of one tensor at one point: sent by the prover, computed by the verifier (public
 *   tensors) or derived from other slots.
 * - A *claim* says that a tensor has the value in a slot at a point. Claims are lists and never replace each other. Two
 *   claims that share tensor, point and slot are one claim.
 */
import type { TensorKind } from './key.ts';

export type Coordinate = number;
export type Slot = number;
export type Point = readonly Coordinate[];

export const COORDINATE_ZERO: Coordinate = 0;
export const COORDINATE_ONE: Coordinate = 1;
export const FIRST_CHALLENGE: Coordinate = 2;

/** Where the cells of a tensor come from. `public`: an input or output that both sides know. */
export type Storage = 'weight' | 'witness' | 'public' | 'virtual';

export interface PlanTensor {
  readonly id: number;
  readonly storage: Storage;
  /** For messages and progress, e.g. `op 3 requantize: overflow`. */
  readonly name: string;
  /** Extents of all axes, the batch first unless the tensor is a weight. A multiplicity tensor has one axis, its rows. */
  readonly extents: readonly number[];
  readonly axisBits: readonly number[];
  /** Σ axisBits; the tensor has 2^bits cells, its padded cells being "don't care" where committed, 0 where public. */
  readonly bits: number;
  /** Bounds of the real cells, recomputed from the operands' bounds; for solved limbs those of the honest prover. */
  readonly lo: number;
  readonly hi: number;
  /** True where the tensor may hold any residue (multiplicities; padded cells of virtual tensors are so in any case). */
  readonly anyResidue: boolean;
  /** Index of the tensor in the key, or null for one that the lowering of an op made. */
  readonly keyTensor: number | null;
  readonly keyKind: TensorKind | null;
  readonly definition: Definition;
}

/** How the cells of a tensor are found. For a virtual tensor it holds on the whole padded cube and is what is proved. */
export type Definition =
  | { readonly kind: 'given' }
  | WitnessDefinition
  | { readonly kind: 'multiplicity'; readonly table: number }
  /** The public side of an output that is virtual: the real cells of `source`, 0 elsewhere. */
  | { readonly kind: 'published'; readonly source: number }
  | SumDefinition
  | ContractDefinition
  | WireDefinition
  | GatherDefinition;

/** Made by the prover from the tensors that stand before it; what it must be is fixed by lookups and ties alone. */
export type WitnessDefinition =
  /** floor(source / 2^from) mod 2^width of the integer `source` (null width: all the rest, a signed digit). */
  | {
      readonly kind: 'digit';
      readonly source: number;
      readonly add: number;
      readonly from: number;
      readonly width: number | null;
    }
  /** -1, 0 or 1, the sign of `source`. */
  | { readonly kind: 'sign'; readonly source: number }
  /** values[clamp(floor((source + add) / 2^from), 0, 2^width - 1)]; for values null the index itself. */
  | {
      readonly kind: 'requantized';
      readonly source: number;
      readonly add: number;
      readonly from: number;
      readonly width: number;
      readonly values: readonly number[] | null;
    }
  /** One byte (0 low, 1 high) of clamp(floor((source + add) / 2^from), 0, 65535). */
  | {
      readonly kind: 'requantized-byte';
      readonly source: number;
      readonly add: number;
      readonly from: number;
      readonly byte: 0 | 1;
    }
  | { readonly kind: 'maximum'; readonly a: number; readonly b: number }
  | {
      readonly kind: 'looked-up';
      readonly source: number;
      readonly lo: number;
      readonly values: readonly number[];
    }
  /** Over the last axis: the maximum of `source` (over unmasked entries where causal). */
  | { readonly kind: 'row-maximum'; readonly source: number; readonly causal: boolean }
  /** 1 at the first place of the last axis where `source` equals the row's maximum, else 0. */
  | { readonly kind: 'one-hot'; readonly source: number; readonly maximum: number; readonly causal: boolean }
  /** values[maximum - source] along the last axis, 0 where masked. */
  | {
      readonly kind: 'exponential';
      readonly source: number;
      readonly maximum: number;
      readonly values: readonly number[];
      readonly causal: boolean;
    }
  /** Σ over the last axis. */
  | { readonly kind: 'row-sum'; readonly source: number }
  /** floor(numerator / source). */
  | { readonly kind: 'reciprocal'; readonly source: number; readonly numerator: number }
  /** floor((a · b + add) / 2^from), b one axis shorter. */
  | {
      readonly kind: 'scaled-product';
      readonly a: number;
      readonly b: number;
      readonly add: number;
      readonly from: number;
    };

export interface SumTerm {
  readonly tensor: number;
  /** Residue mod p. */
  readonly coefficient: number;
  /** For each bit of the operand: 0, 1, or 2 + k for bit k of the result (batch bits included here). */
  readonly bits: readonly number[];
}

/**
 * Public functions of the index that a sum may add: [j > i], the index along bits (most significant first), and 1 on the
 * real cells of the sum's own tensor.
 */
export type PublicFunction =
  | { readonly kind: 'mask' }
  | {
      readonly kind: 'above-diagonal';
      readonly rowBits: readonly number[];
      readonly columnBits: readonly number[];
    }
  | { readonly kind: 'index'; readonly bits: readonly number[] };

/** y = constant + Σ coefficient · x + Σ coefficient · f, in F_p, in every cell. The last term is the one solved for. */
export interface SumDefinition {
  readonly kind: 'sum';
  /** Residue mod p. */
  readonly constant: number;
  readonly functions: readonly { readonly coefficient: number; readonly function: PublicFunction }[];
  readonly terms: readonly SumTerm[];
}

/**
 * y = Σ over contracted labels of a · c · mask; axis i of y has label i. `axesA[k]` is the label of axis k of a.
 * Every contracted axis whose extent is no power of two carries the mask [index < extent].
 */
export interface ContractDefinition {
  readonly kind: 'contract';
  readonly a: number;
  readonly c: number | 'ones' | 'index';
  readonly labelsA: readonly number[];
  readonly labelsC: readonly number[];
  /** The label whose index multiplies, with c = 'index'. */
  readonly indexLabel: number | null;
  /** Extent of each label. */
  readonly extents: readonly number[];
}

/** One axis relation of a wire; axes are numbered with the batch axis as 0. See `AxisRelation` of the key. */
export type PlanRelation =
  | { readonly kind: 'same'; readonly x: number; readonly y: number }
  | {
      readonly kind: 'window' | 'pool' | 'merge';
      /** Bits and extent of i, j, k; `from` says whether they are axes of x, of y, or summed out. */
      readonly long: RelationAxis;
      readonly position: RelationAxis;
      readonly tap: RelationAxis;
      readonly stride: number;
      readonly dilation: number;
      readonly pad: number;
      readonly start: number;
    };
export interface RelationAxis {
  readonly side: 'x' | 'y' | 'summed';
  readonly axis: number;
  readonly extent: number;
}

export interface WireDefinition {
  readonly kind: 'wire';
  readonly x: number;
  readonly relations: readonly PlanRelation[];
}

export interface GatherDefinition {
  readonly kind: 'gather';
  readonly table: number;
  readonly ids: number;
}

/** A list of 3-tuples, padded to a power of two by repeating its last row; its fingerprint id is 1 + its index. */
export interface PlanTable {
  readonly name: string;
  readonly kind:
    | 'range'
    | 'sign'
    | 'unsigned'
    | 'activation'
    | 'relu'
    | 'exponential'
    | 'values'
    | 'zero-or'
    | 'weights';
  /** Real rows; the padded table has 2^bits. */
  readonly rows: number;
  readonly bits: number;
  /** Coordinate c of the padded rows, as signed integers. */
  readonly columns: readonly [Int32Array, Int32Array, Int32Array];
  /** The multiplicity tensor. */
  readonly multiplicity: number;
  /** The first row that holds this tuple, or -1. */
  readonly rowOf: (c0: number, c1: number, c2: number) => number;
}

/** A coordinate of a lookup tuple: a tensor over the segment's cube, a constant, or the mask of a tensor's real cells. */
export type TupleEntry =
  | { readonly kind: 'tensor'; readonly tensor: number }
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'mask' };

/** What is looked up: for each real cell (numerator 1) of a cube the tuple stands in the table. */
export interface PlanLookup {
  readonly name: string;
  readonly table: number;
  readonly tuple: readonly [TupleEntry, TupleEntry, TupleEntry];
  readonly extents: readonly number[];
  readonly axisBits: readonly number[];
  readonly bits: number;
  /** `real`: the mask of the extents. `blocks`: 1 on the listed blocks of 2^blockBits cells (registration of weights). */
  readonly numerator:
    | { readonly kind: 'real' }
    | { readonly kind: 'blocks'; readonly blockBits: number; readonly blocks: readonly number[] };
}

/** One run of 2^bits leaves of the fraction tree, at `offset` (a multiple of its size). */
export interface Segment {
  readonly kind: 'lookup' | 'table';
  /** Index of the lookup, or of the table. */
  readonly index: number;
  readonly bits: number;
  readonly offset: number;
}

export interface Claim {
  readonly tensor: number;
  readonly point: Point;
  readonly slot: Slot;
}

/**
 * A slot and how it is filled: `sent` in the frame of its step, `public` computed by evaluation, `known` filled before
 * (both operands of a square are one value).
 */
export interface SlotFill extends Claim {
  readonly from: 'sent' | 'public' | 'known';
}

export type Step =
  | HandoverStep
  | SumStep
  | AggregateStep
  | ContractStep
  | WireStep
  | GatherStep
  | TieStep
  | OutputStep
  | PublicStep;

/** After the fraction tree: the values of all looked-up tensors and multiplicities at the tail of its point. */
export interface HandoverStep {
  readonly kind: 'handover';
  readonly fills: readonly SlotFill[];
  /** Per lookup, the slot of each tuple coordinate (null for constants and masks); per table, its multiplicity's. */
  readonly lookupSlots: readonly (readonly (Slot | null)[])[];
  readonly tableSlots: readonly Slot[];
}

/** A claim on a sum becomes claims on its terms: all but the last are known or filled, the last is solved for. */
export interface SumStep {
  readonly kind: 'sum';
  readonly claim: Claim;
  readonly fills: readonly SlotFill[];
  /** Slot of each term, in the order of the definition. */
  readonly slots: readonly Slot[];
  /** True: the slot of the last term is derived here. False: it was known, and the equation is checked. */
  readonly solvesLast: boolean;
}

/** Several claims on one tensor become one at a fresh point: SC2 over its bits. */
export interface AggregateStep {
  readonly kind: 'aggregate';
  readonly tensor: number;
  readonly claims: readonly Claim[];
  readonly rounds: readonly Coordinate[];
  readonly out: Claim;
}

/**
 * EQ2 rounds over the labels that a, c and y share (ascending), then rounds over the contracted labels (ascending): SC3
 * where a tensor or index multiplies and one label is masked, else SC2. Then the values of a and c are filled, in this
 * order, in one frame.
 */
export interface ContractStep {
  readonly kind: 'contract';
  readonly claim: Claim;
  /** Claim coordinates the EQ rounds run against, and the challenges they yield, bit by bit. */
  readonly eqPoint: Point;
  readonly eqRounds: readonly Coordinate[];
  readonly contracted: readonly {
    readonly label: number;
    readonly extent: number;
    readonly bits: number;
    readonly masked: boolean;
    readonly rounds: Point;
  }[];
  readonly format: 'SC2' | 'SC3';
  readonly a: SlotFill;
  readonly c: SlotFill | null;
}

/** SC2 over the bits of x that are no `same` axis, in the order of x's axes; then the value of x is filled. */
export interface WireStep {
  readonly kind: 'wire';
  readonly claim: Claim;
  /** Axes of x summed over, and the challenges of their bits. */
  readonly summed: readonly { readonly axis: number; readonly rounds: Point }[];
  readonly x: SlotFill;
}

/** SC2 over the rows of the table; then its value is filled. */
export interface GatherStep {
  readonly kind: 'gather';
  readonly claim: Claim;
  /** Coordinates of the claim that index the ids. */
  readonly idPoint: Point;
  readonly rounds: Point;
  readonly table: SlotFill;
}

/**
 * A virtual tensor equals another side on the whole cube: at fresh coordinates the other side's value is filled (or is
 * the mask of `maskExtents`), and the virtual tensor is claimed to have it.
 */
export interface TieStep {
  readonly kind: 'tie';
  readonly fresh: Point;
  readonly side: SlotFill | { readonly maskExtents: readonly number[]; readonly slot: Slot };
  readonly claim: Claim;
}

/** A virtual output equals its public tensor on the real cells: EQ2 of mask · tensor at fresh coordinates. */
export interface OutputStep {
  readonly kind: 'output';
  readonly tensor: number;
  readonly fresh: Point;
  readonly rounds: Point;
  /** The virtual tensor's value at the rounds' point, sent. */
  readonly out: Claim;
}

/** A claim on a public tensor that another step derived: compared with its evaluation. */
export interface PublicStep {
  readonly kind: 'public';
  readonly claim: Claim;
}

/** Where the cells of a committed tensor lie in the columns of its root. */
export interface Placement {
  readonly tensor: number;
  /** Blocks of 2^columnBits cells, one column each (null: void, all zero), or a part of one column. */
  readonly at:
    | { readonly kind: 'blocks'; readonly columns: readonly (number | null)[] }
    | { readonly kind: 'part'; readonly column: number; readonly offset: number };
}

export interface Program {
  /** `inference`, or `registration`: the statement that the committed weights are small integers. */
  readonly purpose: 'inference' | 'registration';
  readonly batchSize: number;
  readonly tensors: readonly PlanTensor[];
  /** Tensors of roles input and output, in key order. */
  readonly inputs: readonly PublicTensor[];
  /**
   * The public tensor of an output that a linear op produces is one of its own, beside the virtual one, and an
   * `output` step says that they agree on the real cells.
   */
  readonly outputs: readonly PublicTensor[];
  readonly lookups: readonly PlanLookup[];
  readonly tables: readonly PlanTable[];
  /** Lookups in order, then tables in order. */
  readonly segments: readonly Segment[];
  /** The fraction tree has 2^treeBits leaves, at least 2. Its point is the first `treeBits` challenge coordinates. */
  readonly treeBits: number;
  readonly steps: readonly Step[];
  /** Claims on weights and witness, in the order in which they arose. */
  readonly openings: readonly Claim[];
  readonly slots: number;
  readonly coordinates: number;
  readonly opening: OpeningShape;
  readonly weightPlacements: readonly Placement[];
  readonly witnessPlacements: readonly Placement[];
  readonly proofBytes: number;
  /** Proven bits of security, from the parameters. */
  readonly securityBits: number;
  /** Work of the verifier, in multiplications of extension-field elements; one hash compression counts 40. */
  readonly verificationWork: number;
}

export interface PublicTensor {
  readonly tensor: number;
  readonly kind: TensorKind;
  readonly lo: number;
  readonly hi: number;
}

export interface OpeningShape {
  readonly columnBits: number;
  readonly blowupBits: number;
  readonly weightColumns: number;
  readonly witnessColumns: number;
  /** ⌈log2 (weightColumns + witnessColumns)⌉, at least 1. */
  readonly selectorBits: number;
  readonly folds: readonly number[];
  readonly finalBits: number;
  readonly queries: number;
  readonly grindingBits: number;
  /** Caps have 2^min(capBits, depth) digests. */
  readonly capBits: number;
}
