/**
 * Builds verifying keys with weights for tests: tensors by handle, intervals followed along, so that shifts and overflow
 * widths that the contract asks for come out by themselves.
 */
import {
  type AxisRelation,
  bitsOfExtent,
  chooseOpening,
  createValues,
  type Op,
  type RequantizeMode,
  type TensorKind,
  type TensorSpec,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';

/** A key and the weights that belong to it, dense, in key order. Its weight cap is zeros until it is committed. */
export interface ZkExample {
  readonly key: VerifyingKey;
  readonly weights: readonly TensorValues[];
}

/** A tensor of the graph; `extents` without the batch. */
export interface ZkNode {
  readonly id: number;
  readonly extents: readonly number[];
  readonly lo: number;
  readonly hi: number;
}

export interface ZkTerm {
  readonly x: ZkNode;
  readonly coefficient?: number;
  /** Identity where absent. */
  readonly bits?: readonly number[];
}

export interface RequantizeOptions {
  readonly shift: number;
  readonly offset?: number;
  readonly mode?: RequantizeMode;
  readonly window?: number;
  readonly values: readonly number[];
}

export interface Requantize16Options {
  readonly shift: number;
  readonly offset?: number;
  readonly mode?: RequantizeMode;
  readonly zero?: 0 | 32768;
}

export interface ContractOptions {
  readonly a: ZkNode;
  readonly c?: ZkNode;
  readonly labelsA: readonly number[];
  readonly labelsC?: readonly number[];
  readonly indexLabel?: number;
  readonly extents: readonly number[];
}

export interface ZkGraphOptions {
  readonly seed?: number;
  readonly maxBatch?: number;
  readonly limbBits?: number;
  readonly profile?: number;
}

export interface ZkGraph {
  /** Uniform in [0, 1), from the seed. */
  readonly random: () => number;
  readonly input: (kind: TensorKind, extents: readonly number[], lo?: number, hi?: number) => ZkNode;
  /** Random in [lo, hi] where no values are given. */
  readonly weight: (
    kind: TensorKind,
    extents: readonly number[],
    lo: number,
    hi: number,
    values?: ArrayLike<number>,
  ) => ZkNode;
  readonly sum: (terms: readonly ZkTerm[], extents: readonly number[], constant?: number) => ZkNode;
  readonly contract: (options: ContractOptions) => ZkNode;
  readonly wire: (x: ZkNode, relations: readonly AxisRelation[], extents: readonly number[]) => ZkNode;
  readonly gather: (table: ZkNode, ids: ZkNode) => ZkNode;
  readonly requantize: (x: ZkNode, options: RequantizeOptions) => ZkNode;
  readonly requantize16: (x: ZkNode, options: Requantize16Options) => ZkNode;
  readonly max: (a: ZkNode, b: ZkNode) => ZkNode;
  readonly softmax: (
    x: ZkNode,
    options: {
      readonly keyBits: number;
      readonly exponentials: readonly number[];
      readonly causal?: boolean;
    },
  ) => ZkNode;
  readonly top1: (x: ZkNode) => ZkNode;
  readonly table: (x: ZkNode, lo: number, values: readonly number[]) => ZkNode;
  /** `batchSize`: where the opening is to be smallest; 1 unless given. */
  readonly finish: (outputs: readonly ZkNode[], batchSize?: number) => ZkExample;
}

interface Draft {
  role: TensorSpec['role'];
  kind: TensorKind;
  lo: number;
  hi: number;
  extents: readonly number[];
}

const RANGES: Readonly<Record<TensorKind, readonly [number, number]>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32_768, 32_767],
  i32: [-(2 ** 29), 2 ** 29 - 1],
  id: [0, 0],
};

const sizeOf = (extents: readonly number[]): number => extents.reduce((cells, extent) => cells * extent, 1);
const bitsOf = (extents: readonly number[]): number =>
  extents.reduce((bits, extent) => bits + bitsOfExtent(extent), 0);

function kindFor(lo: number, hi: number): TensorKind {
  for (const kind of ['i8', 'u8', 'i16'] as const)
    if (lo >= RANGES[kind][0] && hi <= RANGES[kind][1]) return kind;
  return 'i32';
}

/** Mulberry32: small, fast, good enough for test data. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);

const span = (a: { lo: number; hi: number }, c: { lo: number; hi: number }): readonly [number, number] => {
  const corners = [a.lo * c.lo, a.lo * c.hi, a.hi * c.lo, a.hi * c.hi];
  return [Math.min(...corners), Math.max(...corners)];
};

/** How many cells of x one cell of y may sum up along a relation, as the contract counts them. */
function partnersOf(relation: AxisRelation, extentOf: (axis: number) => number): number {
  if (relation.kind === 'pool') return relation.taps;
  if (relation.kind !== 'merge') return 1;
  const taps = extentOf(relation.xTap);
  return relation.stride > relation.dilation * (taps - 1) ? 1 : taps;
}

export function createZkGraph(options: ZkGraphOptions = {}): ZkGraph {
  const random = createRandom(options.seed ?? 1);
  const drafts: Draft[] = [];
  const weights: TensorValues[] = [];
  const ops: Op[] = [];
  const lists: (readonly number[])[] = [];
  const roles = new Map<number, 'linear' | 'looked-up'>();

  const add = (
    role: Draft['role'],
    kind: TensorKind,
    extents: readonly number[],
    lo: number,
    hi: number,
  ): ZkNode => {
    drafts.push({ role, kind, lo, hi, extents });
    return { id: drafts.length - 1, extents, lo, hi };
  };
  const linear = (extents: readonly number[], lo: number, hi: number): ZkNode => {
    // A negative zero from a product of bounds would not survive a comparison with the contract's.
    const node = add('virtual', 'i32', extents, lo + 0, hi + 0);
    roles.set(node.id, 'linear');
    return node;
  };
  const anchor = (extents: readonly number[], lo: number, hi: number): ZkNode => {
    const node = add('anchor', kindFor(lo, hi), extents, lo, hi);
    roles.set(node.id, 'looked-up');
    return node;
  };
  const listOf = (values: readonly number[]): number => {
    const text = values.join();
    const found = lists.findIndex((list) => list.join() === text);
    if (found >= 0) return found;
    lists.push(values);
    return lists.length - 1;
  };
  const overflowBitsFor = (
    x: ZkNode,
    shift: number,
    offset: number,
    window: number,
    mode: RequantizeMode,
  ): number => {
    if (mode === 'exact') return 0;
    const added = (shift > 0 ? 2 ** (shift - 1) : 0) + offset * 2 ** shift;
    const top = 2 ** (shift + window);
    for (let bits = 1; bits <= 16; bits++) {
      const below = mode === 'saturating' ? 2 ** (bits - 1) * top : 0;
      const above = (mode === 'saturating' ? 2 ** (bits - 1) : 2 ** bits) * top;
      if (x.lo + added >= -below && x.hi + added < above) return bits;
    }
    throw new RangeError(`no overflow width for [${x.lo}, ${x.hi}] at shift ${shift}`);
  };

  return {
    random,
    input: (kind, extents, lo = RANGES[kind][0], hi = RANGES[kind][1]) => add('input', kind, extents, lo, hi),
    weight: (kind, extents, lo, hi, values) => {
      const dense = createValues(kind, sizeOf(extents));
      for (let i = 0; i < dense.length; i++)
        dense[i] = values === undefined ? lo + Math.floor(random() * (hi - lo + 1)) : (values[i] as number);
      weights.push(dense);
      return add('weight', kind, extents, lo, hi);
    },
    sum: (terms, extents, constant = 0) => {
      let lo = constant;
      let hi = constant;
      const made = terms.map(({ x, coefficient = 1, bits = range(bitsOf(x.extents), 2) }) => {
        const ends = [x.lo * coefficient, x.hi * coefficient];
        lo += Math.min(...ends);
        hi += Math.max(...ends);
        return { x: x.id, coefficient, bits: [...bits] };
      });
      const y = linear(extents, lo, hi);
      ops.push({ kind: 'sum', y: y.id, constant, terms: made });
      return y;
    },
    contract: ({ a, c, labelsA, labelsC = [], indexLabel, extents }) => {
      const contracted = labelsA.map((label, axis) =>
        label >= extents.length ? (a.extents[axis] as number) : 1,
      );
      const factor =
        c ??
        (indexLabel === undefined
          ? { lo: 1, hi: 1 }
          : { lo: 0, hi: (a.extents[labelsA.indexOf(indexLabel)] as number) - 1 });
      const [lo, hi] = span(a, factor);
      const y = linear(extents, lo * sizeOf(contracted), hi * sizeOf(contracted));
      ops.push({
        kind: 'contract',
        y: y.id,
        a: a.id,
        c: c?.id ?? null,
        labelsA: [...labelsA],
        labelsC: [...labelsC],
        indexLabel: indexLabel ?? null,
      });
      return y;
    },
    wire: (x, relations, extents) => {
      const partners = relations.reduce(
        (count, relation) => count * partnersOf(relation, (axis) => x.extents[axis] as number),
        1,
      );
      const y = linear(extents, Math.min(0, x.lo * partners), Math.max(0, x.hi * partners));
      ops.push({ kind: 'wire', y: y.id, x: x.id, relations: [...relations] });
      return y;
    },
    gather: (table, ids) => {
      const y = linear([...ids.extents, ...table.extents.slice(1)], table.lo, table.hi);
      ops.push({ kind: 'gather', y: y.id, table: table.id, ids: ids.id });
      return y;
    },
    requantize: (x, { shift, offset = 0, mode = 'saturating', window = 8, values }) => {
      const y = anchor(x.extents, Math.min(...values), Math.max(...values));
      ops.push({
        kind: 'requantize',
        y: y.id,
        x: x.id,
        shift,
        offset,
        mode,
        overflowBits: overflowBitsFor(x, shift, offset, window, mode),
        window,
        values: listOf(values),
      });
      return y;
    },
    requantize16: (x, { shift, zero = 32_768, offset = zero, mode = 'saturating' }) => {
      const node = add('anchor', zero === 0 ? 'i32' : 'i16', x.extents, 0 - zero, 65_535 - zero);
      roles.set(node.id, 'looked-up');
      ops.push({
        kind: 'requantize16',
        y: node.id,
        x: x.id,
        shift,
        offset,
        mode,
        overflowBits: overflowBitsFor(x, shift, offset, 16, mode),
        zero,
      });
      return node;
    },
    max: (a, b) => {
      const y = anchor(a.extents, Math.max(a.lo, b.lo), Math.max(a.hi, b.hi));
      ops.push({ kind: 'max', y: y.id, a: a.id, b: b.id });
      return y;
    },
    softmax: (x, { keyBits, exponentials, causal = false }) => {
      const y = anchor(x.extents, 0, 128);
      ops.push({
        kind: 'softmax',
        y: y.id,
        x: x.id,
        keyBits,
        exponentials: listOf(exponentials),
        causal: causal ? 'yes' : 'no',
      });
      return y;
    },
    top1: (x) => {
      const y = anchor(x.extents, 0, 1);
      ops.push({ kind: 'top1', y: y.id, x: x.id });
      return y;
    },
    table: (x, lo, values) => {
      const y = anchor(x.extents, Math.min(...values), Math.max(...values));
      ops.push({ kind: 'table', y: y.id, x: x.id, lo, values: listOf(values) });
      return y;
    },
    finish: (outputs, batchSize = 1) => {
      for (const { id } of outputs) {
        const draft = drafts[id] as Draft;
        draft.role = 'output';
        if (roles.get(id) === 'linear') draft.kind = kindFor(draft.lo, draft.hi);
      }
      const tensors = drafts.map(
        ({ role, kind, lo, hi, extents }): TensorSpec =>
          role === 'virtual'
            ? { role, kind: 'i32', lo: 0, hi: 0, extents: [...extents] }
            : { role, kind, lo, hi, extents: [...extents] },
      );
      const draft: VerifyingKey = {
        version: 1,
        profile: options.profile ?? 1,
        maxBatch: options.maxBatch ?? 4,
        limbBits: options.limbBits ?? 8,
        tensors,
        ops,
        lists: lists.map((list) => [...list]),
        columnBits: 8,
        folds: [4],
        finalBits: 4,
        weightCap: new Uint8Array(0),
      };
      return { key: chooseOpening(draft, batchSize), weights };
    },
  };
}
