/**
 * Collects tensors, lookups and ties while the ops of a key are lowered. Every check that a hostile key could fail ends
 * in `fail`, with the op's place; limits are checked before anything of that size exists.
 */
import { toResidue } from '../integers.ts';
import { INTEGER_BOUND, LIMITS } from '../limits.ts';
import type {
  Definition,
  PlanLookup,
  PlanTable,
  PlanTensor,
  Storage,
  SumTerm,
  TupleEntry,
} from '../program.ts';

/** Why a key is refused. `E_LIMIT`: too large; `E_KEY`: it means nothing or could mean two things. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: 'E_KEY' | 'E_LIMIT';
  /** The predicate of spec/zkml.md that failed, e.g. `representation`. */
  readonly rule: string;

  constructor(code: 'E_KEY' | 'E_LIMIT', rule: string, detail: string) {
    super(`${code} ${rule}: ${detail}`);
    this.code = code;
    this.rule = rule;
  }
}

export function refuse(rule: string, detail: string): never {
  throw new KeyError('E_KEY', rule, detail);
}

export function overLimit(rule: string, limit: number, got: number): never {
  throw new KeyError('E_LIMIT', rule, `at most ${limit}, got ${got}`);
}

export interface TieSpec {
  readonly virtual: number;
  /** A committed tensor, or null for the mask of the virtual tensor's own real cells. */
  readonly equals: number | null;
}

/** A tensor while it is built: with the degree in committed and public tensors that its cells have. */
export interface BuiltTensor extends PlanTensor {
  readonly degree: number;
}

export interface TensorDraft {
  readonly storage: Storage;
  readonly name: string;
  readonly extents: readonly number[];
  readonly lo: number;
  readonly hi: number;
  readonly definition: Definition;
  readonly degree?: number;
  readonly anyResidue?: boolean;
  readonly keyTensor?: number;
  readonly keyKind?: PlanTensor['keyKind'];
}

export type TableDraft = Omit<PlanTable, 'multiplicity'>;

export interface Builder {
  readonly batchSize: number;
  readonly limbBits: number;
  readonly tensors: readonly BuiltTensor[];
  readonly lookups: readonly PlanLookup[];
  readonly tables: readonly TableDraft[];
  readonly ties: readonly TieSpec[];
  readonly tensor: (id: number) => BuiltTensor;
  readonly add: (draft: TensorDraft) => BuiltTensor;
  /** Finds or makes the table with this name, of `rows` rows: the name says all that they depend on. */
  readonly table: (name: string, rows: number, make: () => TableDraft) => number;
  readonly lookup: (
    name: string,
    table: number,
    over: BuiltTensor,
    tuple: readonly (number | TupleEntry)[],
    numerator?: PlanLookup['numerator'],
  ) => void;
  readonly tie: (virtual: BuiltTensor, equals: BuiltTensor | null) => void;
}

export const bitsOfExtent = (extent: number): number => (extent <= 1 ? 0 : 32 - Math.clz32(extent - 1));

export function createBuilder(batchSize: number, limbBits: number): Builder {
  const tensors: BuiltTensor[] = [];
  const lookups: PlanLookup[] = [];
  const tables: TableDraft[] = [];
  const tableByName = new Map<string, number>();
  let rowsInAll = 0;
  const ties: TieSpec[] = [];
  const tensor = (id: number): BuiltTensor => tensors[id] ?? refuse('reference', `no tensor ${id}`);
  return {
    batchSize,
    limbBits,
    tensors,
    lookups,
    tables,
    ties,
    tensor,
    add: (draft) => {
      if (tensors.length >= 4 * LIMITS.tensors) overLimit('tensors', 4 * LIMITS.tensors, tensors.length + 1);
      const built = buildTensor(tensors.length, draft);
      tensors.push(built);
      return built;
    },
    table: (name, rows, make) => {
      const found = tableByName.get(name);
      if (found !== undefined) return found;
      if (tables.length >= LIMITS.tables) overLimit('tables', LIMITS.tables, tables.length + 1);
      if (rows > LIMITS.tableRows) overLimit('table-rows', LIMITS.tableRows, rows);
      rowsInAll += 2 ** bitsOfExtent(rows);
      if (rowsInAll > LIMITS.tableRowsInAll) overLimit('table-rows', LIMITS.tableRowsInAll, rowsInAll);
      tableByName.set(name, tables.length);
      tables.push(make());
      return tables.length - 1;
    },
    lookup: (name, table, over, tuple, numerator = { kind: 'real' }) => {
      const entries = tuple.map(
        (entry): TupleEntry => (typeof entry === 'number' ? { kind: 'tensor', tensor: entry } : entry),
      );
      while (entries.length < 3) entries.push({ kind: 'constant', value: 0 });
      lookups.push({
        name,
        table,
        tuple: entries as unknown as PlanLookup['tuple'],
        extents: over.extents,
        axisBits: over.axisBits,
        bits: over.bits,
        numerator,
      });
    },
    tie: (virtual, equals) => {
      ties.push({ virtual: virtual.id, equals: equals === null ? null : equals.id });
    },
  };
}

function buildTensor(id: number, draft: TensorDraft): BuiltTensor {
  const axisBits = draft.extents.map(bitsOfExtent);
  const bits = axisBits.reduce((sum, each) => sum + each, 0);
  if (bits > LIMITS.tensorBits) overLimit('tensor-cells', LIMITS.tensorBits, bits);
  const anyResidue = draft.anyResidue ?? false;
  if (!anyResidue && (draft.lo < -INTEGER_BOUND || draft.hi > INTEGER_BOUND || draft.lo > draft.hi))
    refuse('interval', `${draft.name} lies in [${draft.lo}, ${draft.hi}], outside ±${INTEGER_BOUND}`);
  const degree = draft.degree ?? (draft.storage === 'weight' ? 0 : 1);
  if (degree > 2)
    refuse('degree', `${draft.name} is of degree ${degree} in committed tensors; anchor an operand`);
  return {
    id,
    storage: draft.storage,
    name: draft.name,
    extents: draft.extents,
    axisBits,
    bits,
    lo: draft.lo,
    hi: draft.hi,
    anyResidue,
    keyTensor: draft.keyTensor ?? null,
    keyKind: draft.keyKind ?? null,
    definition: draft.definition,
    degree,
  };
}

/** Identity bit map of a tensor over the bits of a result with the same axes. */
export function sameBits(bits: number): number[] {
  return Array.from({ length: bits }, (_, i) => 2 + i);
}

/** A term of a sum over the same axes. */
export function term(tensor: BuiltTensor, coefficient: number): SumTerm {
  return { tensor: tensor.id, coefficient: toResidue(coefficient), bits: sameBits(tensor.bits) };
}
