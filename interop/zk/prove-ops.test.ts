/** Every op and every way to read an operand: one small network each, honest proofs accepted. */
import { test } from 'node:test';
import {
  createZkGraph,
  exponentialList,
  PLAIN_LIST,
  RELU_LIST,
  rsqrtList,
  type ZkExample,
  type ZkGraph,
  type ZkNode,
} from '@haca/testkit';
import { assertAccepted, openNetwork, proveHonestly, statementFor, verdictOn } from './prove-harness.ts';

const i8 = (g: ZkGraph, x: ZkNode, shift: number): ZkNode =>
  g.requantize(x, { shift, offset: 128, values: PLAIN_LIST });

/** Bits of the result from `from` on, as a bit map names them. */
const bits = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => 2 + from + i);

/** x + w, as a network of nothing else would have no witness. */
function shifted(g: ZkGraph, x: ZkNode): ZkNode {
  const w = g.weight('i8', x.extents, -20, 20);
  return i8(g, g.sum([{ x }, { x: w }], x.extents), 1);
}

const tap = { stride: 1, dilation: 1, pad: 0, start: 0 };

const NETWORKS: Readonly<Record<string, () => ZkExample>> = {
  top1: () => {
    const g = createZkGraph();
    return g.finish([g.top1(shifted(g, g.input('i8', [7])))]);
  },
  'index of the largest': () => {
    const g = createZkGraph();
    const z = g.top1(shifted(g, g.input('i8', [3, 7])));
    return g.finish([g.contract({ a: z, labelsA: [0, 1], indexLabel: 1, extents: [3] })]);
  },
  'index over eight': () => {
    const g = createZkGraph();
    const z = g.top1(shifted(g, g.input('i8', [3, 8])));
    return g.finish([g.contract({ a: z, labelsA: [0, 1], indexLabel: 1, extents: [3] })]);
  },
  'requantize16 and a product of its result': () => {
    const g = createZkGraph();
    const x = g.input('i16', [5], -1000, 1000);
    const w = g.weight('i8', [5], -20, 20);
    const y = g.requantize16(g.sum([{ x }, { x: w }], [5]), { shift: 1 });
    const v = g.weight('i8', [3, 5], -3, 3);
    return g.finish([y, g.contract({ a: y, c: v, labelsA: [1], labelsC: [0, 1], extents: [3] })]);
  },
  'unsigned and exact modes': () => {
    const g = createZkGraph();
    const x = g.input('u8', [6]);
    const w = g.weight('u8', [6], 0, 20);
    const sum = g.sum([{ x }, { x: w }], [6]);
    const y = g.requantize(sum, { shift: 2, mode: 'exact', window: 8, values: PLAIN_LIST });
    const z = g.requantize(sum, { shift: 0, mode: 'unsigned', window: 8, values: RELU_LIST });
    return g.finish([g.sum([{ x: y }, { x: z }], [6])]);
  },
  'gather and a sum over positions': () => {
    const g = createZkGraph();
    const ids = g.input('id', [6], 0, 10);
    const table = g.weight('i8', [11, 5], -50, 50);
    const x = i8(g, g.gather(table, ids), 0);
    return g.finish([g.contract({ a: x, labelsA: [1, 0], extents: [5] })]);
  },
  'a table': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [5]));
    const squares = Array.from({ length: 256 }, (_, i) => (i - 128) ** 2);
    return g.finish([g.table(x, -128, squares)]);
  },
  'a norm: squares, rsqrt, gating': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [3, 6]));
    const square = g.contract({ a: x, c: x, labelsA: [0, 1], labelsC: [0, 1], extents: [3] });
    const r = g.requantize(square, { shift: 7, window: 10, values: rsqrtList(10, 500) });
    const scaled = g.contract({ a: x, c: r, labelsA: [0, 1], labelsC: [0], extents: [3, 6] });
    return g.finish([i8(g, scaled, 4)]);
  },
  'a residual block': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [6]));
    const w = g.weight('i8', [6, 6], -30, 30);
    const y = i8(g, g.contract({ a: x, c: w, labelsA: [1], labelsC: [0, 1], extents: [6] }), 6);
    const sum = g.sum(
      [
        { x, coefficient: 3 },
        { x: y, coefficient: -2 },
      ],
      [6],
      5,
    );
    const z = i8(g, sum, 1);
    const again = g.sum([{ x: z }, { x }, { x: y }], [6]);
    return g.finish([i8(g, again, 1), sum]);
  },
  'attention of two heads, causal': () => {
    const g = createZkGraph();
    const x = g.input('i8', [3, 8]);
    const project = (): ZkNode => {
      const w = g.weight('i8', [8, 8], -30, 30);
      return i8(g, g.contract({ a: x, c: w, labelsA: [0, 2], labelsC: [1, 2], extents: [3, 8] }), 6);
    };
    // [3, 8] as [2, 3, 4]: the head is the high bit of the last axis.
    const heads = (y: ZkNode): ZkNode => g.sum([{ x: y, bits: [3, 4, 2, 5, 6] }], [2, 3, 4]);
    const [q, k, v] = [heads(project()), heads(project()), heads(project())];
    const scores = g.contract({ a: q, c: k, labelsA: [0, 1, 3], labelsC: [0, 2, 3], extents: [2, 3, 3] });
    const exponentials = exponentialList(9, 10, 1 / 32);
    const p = g.softmax(i8(g, scores, 7), { keyBits: 9, exponentials, causal: true });
    const mixed = g.contract({ a: p, c: v, labelsA: [0, 1, 3], labelsC: [0, 3, 2], extents: [2, 3, 4] });
    const back = g.sum([{ x: mixed, bits: [4, 2, 3, 5, 6] }], [3, 8]);
    return g.finish([i8(g, back, 7)]);
  },
  'average pool, odd extents': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [2, 5, 7]));
    const pooled = g.wire(
      x,
      [
        { kind: 'same', x: 0, y: 0 },
        { kind: 'pool', x: 1, y: 1, taps: 3, stride: 2, dilation: 1, pad: 1, start: 0 },
        { kind: 'pool', x: 2, y: 2, taps: 2, stride: 2, dilation: 2, pad: 0, start: 1 },
      ],
      [2, 3, 3],
    );
    return g.finish([i8(g, pooled, 2)]);
  },
  'concatenation and slices': () => {
    const g = createZkGraph();
    const a = shifted(g, g.input('i8', [3]));
    const b = shifted(g, g.input('i8', [4]));
    const left = g.wire(a, [{ kind: 'pool', x: 0, y: 0, taps: 1, ...tap }], [7]);
    const right = g.wire(
      b,
      [{ kind: 'pool', x: 0, y: 0, taps: 1, ...tap, pad: 0, start: 0, stride: 1 }],
      [7],
    );
    const moved = g.wire(b, [{ kind: 'pool', x: 0, y: 0, taps: 1, ...tap, pad: 0, start: 1 }], [3]);
    const joined = g.sum([{ x: left }, { x: right }], [7]);
    const w = g.weight('i8', [2, 7], -30, 30);
    const y = g.contract({ a: joined, c: w, labelsA: [1], labelsC: [0, 1], extents: [2] });
    return g.finish([i8(g, y, 6), i8(g, moved, 0)]);
  },
  'patches with dilation, start and a column stride': () => {
    const g = createZkGraph();
    const x = g.input('i8', [2, 7, 6]);
    const patches = g.wire(
      x,
      [
        { kind: 'same', x: 0, y: 0 },
        { kind: 'window', x: 1, yPosition: 1, yTap: 3, stride: 1, dilation: 2, pad: 0, start: 1 },
        { kind: 'window', x: 2, yPosition: 2, yTap: 4, stride: 2, dilation: 1, pad: 1, start: 0 },
      ],
      [2, 2, 3, 3, 2],
    );
    const w = g.weight('i8', [3, 2, 3, 2], -30, 30);
    const y = g.contract({
      a: patches,
      c: w,
      labelsA: [3, 1, 2, 4, 5],
      labelsC: [0, 3, 4, 5],
      extents: [3, 2, 3],
    });
    return g.finish([i8(g, y, 7)]);
  },
  'depthwise convolution': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [3, 5, 5]));
    const patches = g.wire(
      x,
      [
        { kind: 'same', x: 0, y: 0 },
        { kind: 'window', x: 1, yPosition: 1, yTap: 3, ...tap },
        { kind: 'window', x: 2, yPosition: 2, yTap: 4, ...tap },
      ],
      [3, 3, 3, 3, 3],
    );
    const w = g.weight('i8', [3, 3, 3], -30, 30);
    const y = g.contract({
      a: patches,
      c: w,
      labelsA: [0, 1, 2, 3, 4],
      labelsC: [0, 3, 4],
      extents: [3, 3, 3],
    });
    return g.finish([i8(g, y, 6)]);
  },
  'one wire read by two contractions': () => {
    const g = createZkGraph();
    const x = g.input('i8', [6]);
    const patches = g.wire(x, [{ kind: 'window', x: 0, yPosition: 0, yTap: 1, ...tap }], [4, 3]);
    const w = g.weight('i8', [3], -30, 30);
    const v = g.weight('i8', [3], -30, 30);
    const a = g.contract({ a: patches, c: w, labelsA: [0, 1], labelsC: [1], extents: [4] });
    const b = g.contract({ a: patches, c: v, labelsA: [0, 1], labelsC: [1], extents: [4] });
    return g.finish([i8(g, a, 5), i8(g, b, 5)]);
  },
  'one contraction read twice': () => {
    const g = createZkGraph();
    const x = g.input('i8', [6]);
    const w = g.weight('i8', [5, 6], -30, 30);
    const y = g.contract({ a: x, c: w, labelsA: [1], labelsC: [0, 1], extents: [5] });
    const v = g.weight('i8', [2, 5], -3, 3);
    const z = g.contract({ a: y, c: v, labelsA: [1], labelsC: [0, 1], extents: [2] });
    return g.finish([i8(g, y, 7), i8(g, z, 9), y]);
  },
  'axes joined and contracted': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [3, 5]));
    const joined = g.wire(x, [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...tap, stride: 5 }], [15]);
    const w = g.weight('i8', [4, 15], -30, 30);
    const y = g.contract({ a: joined, c: w, labelsA: [1], labelsC: [0, 1], extents: [4] });
    return g.finish([i8(g, y, 7)]);
  },
  'axes joined the other way round': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [3, 5]));
    const joined = g.wire(x, [{ kind: 'merge', xPosition: 1, xTap: 0, y: 0, ...tap, stride: 3 }], [15]);
    const w = g.weight('i8', [4, 15], -30, 30);
    const y = g.contract({ a: joined, c: w, labelsA: [1], labelsC: [0, 1], extents: [4] });
    return g.finish([i8(g, y, 7), joined]);
  },
  'patches of a joined axis, contracted': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [3, 4]));
    const joined = g.wire(x, [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...tap, stride: 4 }], [12]);
    const patches = g.wire(
      joined,
      [{ kind: 'window', x: 0, yPosition: 0, yTap: 1, ...tap, stride: 2 }],
      [5, 3],
    );
    const w = g.weight('i8', [2, 3], -30, 30);
    const y = g.contract({ a: patches, c: w, labelsA: [1, 2], labelsC: [0, 2], extents: [2, 5] });
    return g.finish([i8(g, y, 6)]);
  },
  'an axis split into positions and taps, both contracted': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [2, 12]));
    const split = g.wire(
      x,
      [
        { kind: 'same', x: 0, y: 0 },
        { kind: 'window', x: 1, yPosition: 2, yTap: 1, ...tap, stride: 3 },
      ],
      [2, 3, 4],
    );
    const w = g.weight('i8', [5, 3, 4], -30, 30);
    const y = g.contract({ a: split, c: w, labelsA: [1, 2, 3], labelsC: [0, 2, 3], extents: [5, 2] });
    return g.finish([i8(g, y, 7)]);
  },
  'extents of 1 everywhere': () => {
    const g = createZkGraph();
    const x = g.input('i8', [1, 1]);
    const w = g.weight('i8', [1, 1, 1], -30, 30);
    const y = g.contract({ a: x, c: w, labelsA: [0, 2], labelsC: [0, 1, 2], extents: [1, 1] });
    const z = i8(g, y, 5);
    const p = g.wire(
      z,
      [
        { kind: 'pool', x: 0, y: 0, taps: 1, ...tap },
        { kind: 'same', x: 1, y: 1 },
      ],
      [1, 1],
    );
    return g.finish([p, z, g.top1(z)]);
  },
  'a batch axis alone': () => {
    const g = createZkGraph();
    const x = g.input('i8', []);
    const w = g.weight('i8', [3], -30, 30);
    const y = g.contract({ a: x, c: w, labelsA: [], labelsC: [0], extents: [3] });
    return g.finish([i8(g, y, 5)]);
  },
  'a broadcast sum as an operand': () => {
    const g = createZkGraph();
    const x = g.input('i8', [4, 3]);
    const row = shifted(g, g.input('i8', [3]));
    const sum = g.sum([{ x }, { x: row, coefficient: -1, bits: bits(2, 2) }], [4, 3], 7);
    const w = g.weight('i8', [5, 4], -30, 30);
    const y = g.contract({ a: sum, c: w, labelsA: [2, 0], labelsC: [1, 2], extents: [3, 5] });
    return g.finish([i8(g, y, 8)]);
  },
  'a transposed sum of sums as an operand': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [4, 2]));
    const turned = g.sum([{ x, bits: [3, 4, 2] }], [2, 4]);
    const more = g.sum(
      [
        { x: turned, coefficient: 2 },
        { x: turned, bits: [2, 4, 3] },
      ],
      [2, 4],
      -3,
    );
    const w = g.weight('i8', [3, 4], -30, 30);
    const y = g.contract({ a: more, c: w, labelsA: [0, 2], labelsC: [1, 2], extents: [2, 3] });
    return g.finish([i8(g, y, 8), i8(g, g.sum([{ x: more, bits: [2, 0, 3] }], [2, 2]), 1)]);
  },
  'a sum that six contractions read': () => {
    const g = createZkGraph();
    const x = shifted(g, g.input('i8', [4]));
    const layers = Array.from({ length: 6 }, () =>
      g.contract({ a: x, c: g.weight('i8', [3, 4], -30, 30), labelsA: [1], labelsC: [0, 1], extents: [3] }),
    );
    return g.finish([
      i8(
        g,
        g.sum(
          layers.map((each) => ({ x: each })),
          [3],
        ),
        8,
      ),
    ]);
  },
};

for (const [name, make] of Object.entries(NETWORKS))
  test(`honest proofs of ${name} are accepted`, async () => {
    const network = await openNetwork(make());
    for (const batchSize of [1, 2, 3]) {
      const statement = statementFor(network, batchSize, 7 * batchSize);
      assertAccepted(
        verdictOn(network, statement, await proveHonestly(network, statement)),
        `batch of ${batchSize}`,
      );
    }
  });
