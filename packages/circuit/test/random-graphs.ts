/** Random keys of all ops, valid by construction but for limits. */
import { type AxisRelation, KeyError, type VerifyingKey } from '@haca/circuit';
import { createZkGraph, type ZkExample, type ZkGraph, type ZkNode } from '@haca/testkit';
import { bitsOfExtent } from '../src/lowering/builder.ts';
import { EXPONENTIALS, PLAIN, range } from './support.ts';

interface Drawing {
  readonly g: ZkGraph;
  readonly nodes: ZkNode[];
  readonly anchors: Set<number>;
  readonly read: Set<number>;
  readonly below: (count: number) => number;
}

const sizeOf = (extents: readonly number[]): number => extents.reduce((cells, extent) => cells * extent, 1);

/** A key, or null where the drawn graph is over a limit. */
export function randomKey(seed: number, ops: number): VerifyingKey | null {
  return randomExample(seed, ops)?.key ?? null;
}

/** The same with weights. */
export function randomExample(seed: number, ops: number): ZkExample | null {
  const g = createZkGraph({ seed, maxBatch: 5, limbBits: 8 + (seed % 5), profile: 1 + (seed % 2) });
  const below = (count: number): number => Math.floor(g.random() * count);
  const extent = (): number => 1 + below(5);
  const drawing: Drawing = { g, nodes: [], anchors: new Set(), read: new Set(), below };
  const bounded = (): ZkNode => {
    const lo = -below(20);
    return g.input('i8', [extent(), extent()], lo, lo + below(40));
  };
  drawing.nodes.push(bounded(), bounded());
  for (const node of drawing.nodes) drawing.anchors.add(node.id);
  try {
    keep(drawing, normalized(drawing, weighted(drawing, drawing.nodes[0] as ZkNode)), true);
    for (let i = 0; i < ops; i++) step(drawing);
    for (const node of drawing.nodes.slice(0, 2))
      if (!drawing.read.has(node.id)) keep(drawing, normalized(drawing, node), true);
    // Some outputs are read as well.
    const outputs = drawing.nodes.filter(({ id }) => id > 1 && (!drawing.read.has(id) || below(9) === 0));
    return g.finish(outputs);
  } catch (error) {
    if (error instanceof KeyError || error instanceof RangeError) return null;
    throw error;
  }
}

function keep({ nodes, anchors }: Drawing, node: ZkNode, isAnchor: boolean): ZkNode {
  nodes.push(node);
  if (isAnchor) anchors.add(node.id);
  return node;
}

function use(drawing: Drawing, node: ZkNode): ZkNode {
  drawing.read.add(node.id);
  return node;
}

function weighted(drawing: Drawing, x: ZkNode): ZkNode {
  const { g, below } = drawing;
  const n = 1 + below(6);
  const k = x.extents[x.extents.length - 1] as number;
  const outer = x.extents.slice(0, -1);
  return g.contract({
    a: use(drawing, x),
    c: g.weight('i8', [n, k], -9, 9),
    labelsA: [...range(outer.length), outer.length + 1],
    labelsC: [outer.length, outer.length + 1],
    extents: [...outer, n],
  });
}

/** To 8 bits by the least shift that does it. */
function normalized(drawing: Drawing, x: ZkNode): ZkNode {
  const shift = Math.max(0, Math.ceil(Math.log2(Math.max(-x.lo, x.hi + 1, 1))) - 7);
  return drawing.g.requantize(use(drawing, x), { shift, offset: 128, values: PLAIN });
}

function step(drawing: Drawing): ZkNode | undefined {
  const { g, nodes, anchors, below } = drawing;
  const x = nodes[below(nodes.length)] as ZkNode;
  const anchored = nodes.filter(({ id }) => anchors.has(id));
  const a = anchored[below(anchored.length)] as ZkNode;
  const rank = x.extents.length;
  switch (below(13)) {
    case 0:
      return rank === 0 ? undefined : keep(drawing, weighted(drawing, x), false);
    case 1:
      return keep(drawing, normalized(drawing, x), true);
    case 2: {
      const bias = g.weight('i8', x.extents.length === 0 ? [1] : [...x.extents], -5, 5);
      const terms = [{ x: use(drawing, x), coefficient: below(2) === 0 ? -2 : 3 }, { x: bias }];
      return keep(drawing, g.sum(terms, x.extents, below(9) - 4), false);
    }
    case 3:
      return keep(drawing, slice(drawing, x), false);
    case 4: {
      const labels = range(a.extents.length);
      const options = { labelsA: labels, labelsC: labels, extents: a.extents };
      return keep(drawing, g.contract({ a: use(drawing, a), c: a, ...options }), false);
    }
    case 5: {
      if (a.extents.length === 0) return undefined;
      const inner = a.extents.length - 1;
      const indexed = below(2) === 0 ? { indexLabel: inner } : {};
      const summed = g.contract({
        a: use(drawing, a),
        labelsA: range(inner + 1),
        extents: a.extents.slice(0, -1),
        ...indexed,
      });
      return keep(drawing, summed, false);
    }
    case 6: {
      if (a.extents.length !== 2) return undefined;
      const extents = [a.extents[0] as number, a.extents[0] as number];
      const gram = g.contract({ a: use(drawing, a), c: a, labelsA: [0, 2], labelsC: [1, 2], extents });
      return keep(drawing, gram, false);
    }
    case 7:
      return rank === 0 ? undefined : keep(drawing, wired(drawing, x), false);
    case 8: {
      const y = normalized(drawing, x);
      return keep(drawing, g.max(use(drawing, y), use(drawing, normalized(drawing, x))), true);
    }
    case 9: {
      if (rank === 0) return undefined;
      const narrow = g.requantize(use(drawing, x), {
        shift: Math.max(0, Math.ceil(Math.log2(Math.max(-x.lo, x.hi + 1, 1))) - 3),
        offset: 8,
        window: 4,
        values: range(16),
      });
      const causal = rank >= 2 && narrow.extents[rank - 1] === narrow.extents[rank - 2];
      const options = { keyBits: 4, exponentials: EXPONENTIALS, causal };
      return keep(drawing, g.softmax(use(drawing, narrow), options), true);
    }
    case 10:
      return rank === 0 ? undefined : keep(drawing, g.top1(use(drawing, x)), true);
    case 11: {
      const y = normalized(drawing, x);
      return keep(
        drawing,
        g.table(
          use(drawing, y),
          -128,
          range(256).map((v) => (v * 7) % 50),
        ),
        true,
      );
    }
    default: {
      const shift = Math.max(0, Math.ceil(Math.log2(Math.max(-x.lo, x.hi + 1, 1))) - 15);
      return keep(drawing, g.requantize16(use(drawing, x), { shift }), true);
    }
  }
}

/** The half of an axis, or a broadcast. */
function slice(drawing: Drawing, x: ZkNode): ZkNode {
  const { g, below } = drawing;
  const [first, ...rest] = x.extents;
  const bits = range(
    x.extents.reduce((sum, each) => sum + bitsOfExtent(each), 0),
    2,
  );
  if (first === undefined || first < 2 || below(3) === 0)
    return g.sum([{ x: use(drawing, x), bits: bits.map((b) => b + 1) }], [2, ...x.extents]);
  const width = bitsOfExtent(first);
  const kept = bits.slice(0, bits.length - width);
  return g.sum([{ x: use(drawing, x), bits: [...range(width).map(() => 0), ...kept] }], rest);
}

function wired(drawing: Drawing, x: ZkNode): ZkNode {
  const { g, below } = drawing;
  const [first, ...rest] = x.extents as [number, ...number[]];
  const same = (onX: number, onY: number): AxisRelation[] =>
    rest.map((_, i) => ({ kind: 'same', x: onX + i, y: onY + i }));
  const numbers = { stride: 1 + below(2), dilation: 1, pad: below(2), start: 0 };
  if (below(3) === 0) {
    const relation: AxisRelation = { kind: 'window', x: 0, yPosition: 0, yTap: 1, ...numbers };
    return g.wire(use(drawing, x), [relation, ...same(1, 2)], [first, 2, ...rest]);
  }
  if (below(2) === 0 && rest.length > 0) {
    const [second, ...others] = rest as [number, ...number[]];
    const relation: AxisRelation = {
      kind: 'merge',
      xPosition: 0,
      xTap: 1,
      y: 0,
      stride: second,
      dilation: 1,
      pad: 0,
      start: 0,
    };
    const moved = others.map((_, i): AxisRelation => ({ kind: 'same', x: 2 + i, y: 1 + i }));
    return g.wire(use(drawing, x), [relation, ...moved], [sizeOf([first, second]), ...others]);
  }
  const relation: AxisRelation = { kind: 'pool', x: 0, y: 0, taps: 2, ...numbers };
  return g.wire(use(drawing, x), [relation, ...same(1, 1)], [1 + below(4), ...rest]);
}
