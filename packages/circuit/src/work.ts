/**
 * What reading a key, planning it and verifying a proof costs, from the program alone: the chain charges for it before it verifies. In multiplications
 * of extension-field elements; a hash compression counts 40. Every loop of the verifier whose length a key chooses has
 * its term here.
 */
import { bitsOfExtent } from './lowering/builder.ts';
import {
  FIRST_CHALLENGE,
  type OpeningShape,
  type Placement,
  type PlanLookup,
  type PlanRelation,
  type PlanTensor,
  type Step,
} from './program.ts';

const COMPRESSION = 40;
/** Interpolation and the inverse of a coordinate of eq. */
const ROUND = 16;

export interface WorkShape {
  readonly opening: OpeningShape;
  readonly treeBits: number;
  readonly tensors: readonly PlanTensor[];
  readonly lookups: readonly PlanLookup[];
  readonly tables: readonly { readonly bits: number }[];
  readonly steps: readonly Step[];
  readonly openings: readonly { readonly tensor: number }[];
  readonly coordinates: number;
  readonly publicWork: number;
  readonly placements: readonly Placement[];
  readonly proofBytes: number;
  /** Entries of all lists of the key. */
  readonly listEntries: number;
  /** Digests of one path of the two roots, and of all fold layers together. */
  readonly pathDigests: { readonly row: number; readonly folds: number };
}

export function verificationWork(shape: WorkShape): number {
  const steps = shape.steps.reduce((sum, step) => sum + stepWork(step, shape.tensors), 0);
  return (
    planWork(shape) +
    transcriptWork(shape) +
    leafWork(shape) +
    steps +
    shape.publicWork +
    openingWork(shape) +
    queryWork(shape)
  );
}

/** Measured: a tensor with its steps takes about 4 µs, a term of a sum 1 µs, an entry of a list 0.06 µs. */
function planWork({ tensors, listEntries }: WorkShape): number {
  const terms = sumOver(tensors, ({ definition }) =>
    definition.kind === 'sum' ? definition.terms.length : 0,
  );
  return 160 * tensors.length + 40 * terms + 3 * listEntries;
}

/** Every round is a message, a challenge and an interpolation; then the public tensors' digests, and all bytes sent. */
function transcriptWork({ opening, treeBits, coordinates, tensors, proofBytes }: WorkShape): number {
  const { columnBits, finalBits } = opening;
  const rounds =
    (treeBits * (treeBits - 1)) / 2 +
    2 * treeBits +
    (coordinates - FIRST_CHALLENGE) +
    columnBits +
    (columnBits - finalBits);
  const publicBytes = tensors.reduce(
    (sum, { storage, bits }) => sum + (storage === 'public' ? 4 * 2 ** bits : 0),
    0,
  );
  return rounds * (ROUND + 2 * COMPRESSION) + ((proofBytes + publicBytes) / 64) * COMPRESSION;
}

/** Selectors, masks and fingerprints of all segments, and the tables. */
function leafWork({ treeBits, lookups, tables }: WorkShape): number {
  const segments = lookups.reduce((sum, { bits, numerator }) => {
    const blocks = numerator.kind === 'blocks' ? numerator.blocks.length * (bits - numerator.blockBits) : 0;
    return sum + 2 * treeBits + 4 * bits + blocks + 8;
  }, 0);
  return segments + tables.reduce((sum, { bits }) => sum + 8 * 2 ** bits + 2 * treeBits, 0);
}

function stepWork(step: Step, tensors: readonly PlanTensor[]): number {
  switch (step.kind) {
    case 'sum':
      return step.slots.length + 6 * step.claim.point.length + 4;
    case 'aggregate':
      return step.claims.length * (2 * step.rounds.length + 2);
    case 'wire': {
      const { definition } = tensors[step.claim.tensor] as PlanTensor;
      return definition.kind === 'wire' ? sumOver(definition.relations, relationWork) : 0;
    }
    case 'gather': {
      const cells = 2 ** step.idPoint.length;
      return 3 * cells + halfTables(step.idPoint.length) + halfTables(step.rounds.length);
    }
    default:
      return 6 * ('claim' in step ? step.claim.point.length : 0) + 8;
  }
}

/** Positions times taps, and tables of eq weights in halves of the bits. */
function relationWork(relation: PlanRelation): number {
  if (relation.kind === 'same') return 0;
  const { position, tap, long } = relation;
  const tables = sumOver([position, tap, long], ({ extent }) => halfTables(bitsOfExtent(extent)));
  return 3 * position.extent * tap.extent + tables;
}

const halfTables = (bits: number): number => (bits <= 8 ? 2 ** bits : 2 * 2 ** Math.ceil(bits / 2));

/** The power of β, the point's weight, and the columns of each claim. */
function openingWork({ opening, openings, placements, tensors }: WorkShape): number {
  const ofTensor = new Map<number, number>();
  for (const { tensor, at } of placements) {
    const columns = at.kind === 'part' ? 1 : at.columns.length;
    ofTensor.set(tensor, columns + 2 * (tensors[tensor] as PlanTensor).bits + 2 * opening.columnBits + 8);
  }
  return sumOver(openings, ({ tensor }) => ofTensor.get(tensor) ?? 0);
}

function queryWork({ opening, pathDigests }: WorkShape): number {
  const columns = opening.weightColumns + opening.witnessColumns;
  const rowBlocks = Math.ceil(opening.weightColumns / 16) + Math.ceil(opening.witnessColumns / 16);
  const foldBlocks = sumOver(opening.folds, (fold) => Math.ceil((20 * 2 ** fold) / 64));
  const compressions = rowBlocks + foldBlocks + 2 * pathDigests.row + pathDigests.folds;
  const fields = columns + sumOver(opening.folds, (fold) => 3 * 2 ** fold);
  return (
    opening.queries * (COMPRESSION * compressions + fields) +
    16 * 2 ** (opening.finalBits + opening.blowupBits) +
    2 * columns
  );
}

function sumOver<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0);
}
