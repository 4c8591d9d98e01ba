/** Random networks of all ops, small, with odd extents and odd ways to read: whatever the contract takes must be provable. */
import type { AxisRelation } from '@haca/circuit';
import {
  createZkGraph,
  exponentialList,
  PLAIN_LIST,
  type ZkExample,
  type ZkGraph,
  type ZkNode,
} from '@haca/testkit';

interface Held {
  readonly node: ZkNode;
  /** Degree in committed and public tensors. */
  readonly degree: number;
  reads: number;
  readonly isInput: boolean;
}

const bitsOf = (extent: number): number => (extent <= 1 ? 0 : 32 - Math.clz32(extent - 1));
const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);
const sizeOf = (extents: readonly number[]): number =>
  extents.reduce((product, extent) => product * extent, 1);

/** @throws KeyError where the random choices make no key that means something */
export function randomGraph(seed: number): ZkExample {
  const g = createZkGraph({ seed, maxBatch: 3 });
  const held: Held[] = [];
  const below = (count: number): number => Math.floor(g.random() * count);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const hold = (node: ZkNode, degree: number, isInput = false): Held => {
    const made = { node, degree, reads: 0, isInput };
    held.push(made);
    return made;
  };
  const read = (each: Held): ZkNode => {
    each.reads++;
    return each.node;
  };
  const extents = (): number[] => range(1 + below(3)).map(() => 1 + below(5));
  hold(g.input('i8', extents(), -8, 7), 1, true);
  if (g.random() < 0.4) hold(g.input('u8', extents(), 0, 15), 1, true);
  const context: Context = { g, held, below, pick, hold, read };
  for (let left = 4 + below(8); left > 0; left--) {
    const unread = held.filter(({ reads }) => reads === 0);
    grow(context, unread.length > 0 && g.random() < 0.7 ? pick(unread) : pick(held));
  }
  for (const each of held.filter(({ isInput, reads }) => isInput && reads === 0)) shift(context, each);
  return g.finish(held.filter(({ isInput, reads }) => !isInput && reads === 0).map(({ node }) => node));
}

/** What an op made, or nothing where it cannot read this operand. */
type Grown = Held | undefined;

interface Context {
  readonly g: ZkGraph;
  readonly held: readonly Held[];
  readonly below: (count: number) => number;
  readonly pick: <T>(list: readonly T[]) => T;
  readonly hold: (node: ZkNode, degree: number) => Held;
  readonly read: (each: Held) => ZkNode;
}

/** Large values are cut before anything else is done with them. */
function grow(context: Context, x: Held): Grown {
  const { node } = x;
  if (Math.max(-node.lo, node.hi) > 2 ** 12) return requantize(context, x);
  const { pick } = context;
  if (node.extents.length === 0) return pick([shift, requantize])(context, x);
  return pick([shift, view, product, dense, wire, wire, requantize, choose, gather, maximum])(context, x);
}

/** With a weight added, so that every network commits one. */
function shift({ g, hold, read }: Context, x: Held): Grown {
  const w = g.weight('i8', x.node.extents, -5, 5);
  return hold(
    g.sum([{ x: w }, { x: read(x), coefficient: g.random() < 0.5 ? -2 : 3 }], x.node.extents, 1),
    x.degree,
  );
}

/** A permutation, slice or broadcast of bits, summed with another view of the same tensor now and then. */
function view({ g, hold, read, below, pick }: Context, x: Held): Grown {
  const whole = x.node.extents.every((extent) => 2 ** bitsOf(extent) === extent);
  if (!whole) return undefined;
  const count = x.node.extents.reduce((sum, extent) => sum + bitsOf(extent), 0);
  const wide = range(1 + below(3)).map(() => pick([1, 2, 4]));
  const available = range(
    wide.reduce((sum, extent) => sum + bitsOf(extent), 0),
    2,
  );
  const map = (): number[] => {
    const left = [...available];
    return range(count).map(() => {
      if (left.length === 0 || g.random() < 0.3) return below(2);
      return left.splice(below(left.length), 1)[0] as number;
    });
  };
  const terms =
    g.random() < 0.4
      ? [
          { x: read(x), bits: map() },
          { x: read(x), bits: map(), coefficient: -1 },
        ]
      : [{ x: read(x), bits: map() }];
  return hold(g.sum(terms, wide), x.degree);
}

/** Elementwise, with itself or with another of one shape; summed over the last axis now and then. */
function product({ g, held, hold, read, pick }: Context, x: Held): Grown {
  const { extents } = x.node;
  const others = held.filter(
    ({ node, degree }) => node.extents.join() === extents.join() && degree + x.degree <= 2,
  );
  if (others.length === 0) return undefined;
  const other = pick(others);
  const labels = range(extents.length);
  const kept = g.random() < 0.5 ? extents : extents.slice(0, -1);
  return hold(
    g.contract({ a: read(x), c: read(other), labelsA: labels, labelsC: labels, extents: kept }),
    x.degree + other.degree,
  );
}

/** A weight over the last axis, batched over the first now and then; or a sum, or an index. */
function dense({ g, hold, read, below }: Context, x: Held): Grown {
  const { extents } = x.node;
  const last = extents[extents.length - 1] as number;
  const outer = range(extents.length - 1);
  const kind = below(4);
  if (kind === 0) {
    const labelsA = [...outer, extents.length - 1];
    return hold(g.contract({ a: read(x), labelsA, extents: extents.slice(0, -1) }), x.degree);
  }
  if (kind === 1) {
    const labelsA = [...outer, extents.length - 1];
    const indexLabel = extents.length - 1;
    return hold(g.contract({ a: read(x), labelsA, indexLabel, extents: extents.slice(0, -1) }), x.degree);
  }
  const n = 1 + below(5);
  const batched = kind === 2 && extents.length > 1;
  const weight = g.weight('i8', batched ? [extents[0] as number, last, n] : [n, last], -4, 4);
  const contracted = extents.length;
  const labelsC = batched ? [0, contracted, contracted - 1] : [contracted - 1, contracted];
  const made = [...extents.slice(0, -1), n];
  return hold(
    g.contract({ a: read(x), c: weight, labelsA: [...outer, contracted], labelsC, extents: made }),
    x.degree,
  );
}

function wire({ g, hold, read, below, pick }: Context, x: Held): Grown {
  const { extents } = x.node;
  const axis = below(extents.length);
  const offset = below(3);
  const numbers = {
    stride: 1 + below(3),
    dilation: 1 + below(2),
    pad: g.random() < 0.5 ? offset : 0,
    start: 0,
  };
  if (numbers.pad === 0) numbers.start = offset;
  const others = range(extents.length).filter((each) => each !== axis);
  const same = (from: number, to: number): AxisRelation => ({ kind: 'same', x: from, y: to });
  const kind = pick(['window', 'pool', 'merge'] as const);
  if (kind === 'merge') {
    if (extents.length < 2 || axis === extents.length - 1) return undefined;
    const kept = others.filter((each) => each !== axis + 1);
    const one = extents[axis + 1] === 1 ? { ...numbers, dilation: 1 } : numbers;
    const relations = [
      ...kept.map((each, i) => same(each, i)),
      { kind: 'merge' as const, xPosition: axis, xTap: axis + 1, y: kept.length, ...one },
    ];
    return hold(
      g.wire(read(x), relations, [...kept.map((each) => extents[each] as number), 1 + below(7)]),
      x.degree,
    );
  }
  const taps = 1 + below(3);
  const one = taps === 1 ? { ...numbers, dilation: 1 } : numbers;
  const moved = others.map((each, i) => same(each, i));
  const made = others.map((each) => extents[each] as number);
  const position = 1 + below(5);
  const relation: AxisRelation =
    kind === 'pool'
      ? { kind, x: axis, y: made.length, taps, ...one }
      : { kind, x: axis, yPosition: made.length, yTap: made.length + 1, ...one };
  if (kind === 'window' && made.length + 2 > 4) return undefined;
  const last = kind === 'pool' ? [position] : [position, taps];
  return hold(g.wire(read(x), [...moved, relation], [...made, ...last]), x.degree);
}

function requantize({ g, hold, read, pick, below }: Context, x: Held): Grown {
  const { lo, hi } = x.node;
  const shift = Math.min(20, Math.max(0, bitsOf(Math.max(-lo, hi) + 1) - 5 + below(3)));
  if (below(6) === 0) return hold(g.requantize16(read(x), { shift: Math.min(shift, 6) }), 1);
  const window = pick([3, 5, 8]);
  const values = window === 8 ? PLAIN_LIST : range(2 ** window, -4);
  return hold(g.requantize(read(x), { shift, offset: 2 ** (window - 1), window, values }), 1);
}

/** Softmax, top-1 or a table. */
function choose({ g, hold, read, below }: Context, x: Held): Grown {
  const { lo, hi, extents } = x.node;
  if (hi - lo > 300) return undefined;
  const kind = below(3);
  if (kind === 0) return hold(g.top1(read(x)), 1);
  if (kind === 1)
    return hold(
      g.table(
        read(x),
        lo,
        range(hi - lo + 1).map((i) => ((i * 7) % 19) - 9),
      ),
      1,
    );
  const last = extents[extents.length - 1] as number;
  const causal = extents.length > 1 && extents[extents.length - 2] === last && g.random() < 0.5;
  return hold(g.softmax(read(x), { keyBits: 9, exponentials: exponentialList(9, 8, 1 / 40), causal }), 1);
}

function gather({ g, hold, below }: Context): Grown {
  const rows = 2 + below(6);
  const ids = g.input(
    'id',
    range(1 + below(2)).map(() => 1 + below(4)),
    0,
    rows - 1,
  );
  return hold(g.gather(g.weight('i8', [rows, 1 + below(4)], -7, 7), ids), 1);
}

function maximum({ g, held, hold, read, pick }: Context, x: Held): Grown {
  const others = held.filter(
    ({ node }) =>
      node.extents.join() === x.node.extents.join() && x.node.hi - node.lo < 256 && node.hi - x.node.lo < 256,
  );
  if (others.length === 0 || sizeOf(x.node.extents) === 0) return undefined;
  return hold(g.max(read(x), read(pick(others))), 1);
}
