/** Networks so small that every cell can be chosen by hand: one op each, with a dense layer behind it where that fits. */
import { createZkGraph, type ZkExample, type ZkGraph, type ZkGraphOptions, type ZkNode } from '@haca/testkit';

/** x, moved by a weight of zeros: what the next op reads is the input itself, and yet a virtual tensor. */
export function throughWeight(g: ZkGraph, x: ZkNode): ZkNode {
  const zeros = g.weight('i8', x.extents, 0, 0);
  return g.sum([{ x: zeros }, { x }], x.extents);
}

/** Sum of the last axis with weights, an output. */
export function behind(g: ZkGraph, y: ZkNode, count = 2): ZkNode {
  const [k] = y.extents as [number];
  const weights = g.weight(
    'i8',
    [count, k],
    1,
    3,
    Array.from({ length: count * k }, (_, i) => 1 + (i % 3)),
  );
  return g.contract({ a: y, c: weights, labelsA: [1], labelsC: [0, 1], extents: [count] });
}

/** Window of 3 bits around zero, negative values to zero. */
export const RELU_3 = [0, 0, 0, 0, 0, 1, 2, 3];
const SIGNED_3 = [-4, -3, -2, -1, 0, 1, 2, 3];

/** A saturated, a negative, a zero, a tie and a plain value. */
export const REQUANTIZE_INPUT = [60, -30, 0, 2, 5, -3];

/** Shift 2, window 3, an overflow digit of two bits; `output`: the result itself is public. */
export function requantized(output: boolean, options: ZkGraphOptions = {}): ZkExample {
  const g = createZkGraph(options);
  const x = throughWeight(g, g.input('i8', [6], -64, 60));
  const y = g.requantize(x, { shift: 2, offset: 4, window: 3, values: RELU_3 });
  return g.finish(output ? [y] : [behind(g, y)]);
}

/** As `requantized`, signed, so that the first value of the list is not zero. */
export function signed(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i8', [6], -64, 60));
  return g.finish([behind(g, g.requantize(x, { shift: 2, offset: 4, window: 3, values: SIGNED_3 }))]);
}

/** A remainder of two limbs. */
export function twoLimbs(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i16', [4], -2_000, 2_000));
  const y = g.requantize(x, { shift: 9, offset: 4, window: 3, values: SIGNED_3 });
  return g.finish([behind(g, y)]);
}

/** Exact and unsigned modes. */
export function otherModes(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('u8', [4], 0, 31));
  const exact = g.requantize(x, {
    shift: 2,
    mode: 'exact',
    window: 4,
    values: Array.from({ length: 16 }, (_, i) => i),
  });
  const unsigned = g.requantize(x, {
    shift: 1,
    mode: 'unsigned',
    window: 3,
    values: [7, 6, 5, 4, 3, 2, 1, 0],
  });
  return g.finish([behind(g, exact), behind(g, unsigned)]);
}

export const REQUANTIZE_16_INPUT = [5_000, -30_000, 300, 255];

export function sixteenBits(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i16', [4], -32_768, 32_767));
  const scaled = g.sum([{ x, coefficient: 5 }], [4]);
  return g.finish([g.requantize16(scaled, { shift: 1 })]);
}

export const SOFTMAX_INPUT = [3, 9, 5, 6, 3, 5, 2, 15, 4];
/** E[δ] = round(16 · 2^(-δ/2)). */
export const EXPONENTIALS = Array.from({ length: 16 }, (_, delta) => Math.round(16 * 2 ** (-delta / 2)));

/** Three rows of three; `causal`: masked above the diagonal. */
export function probabilities(causal: boolean, options: ZkGraphOptions = {}): ZkExample {
  const g = createZkGraph(options);
  const x = throughWeight(g, g.input('u8', [3, 3], 0, 15));
  const y = g.softmax(x, { keyBits: 4, exponentials: EXPONENTIALS, causal });
  const weights = g.weight('i8', [3], 1, 3, [1, 2, 3]);
  return g.finish([g.contract({ a: y, c: weights, labelsA: [0, 1], labelsC: [1], extents: [3] })]);
}

/** The second and the last are equal. */
export const ROUTING_INPUT = [4, 90, -7, 90, 89];

/** Which of five is the largest: one-hot and as a number. */
export function routed(): ZkExample {
  const g = createZkGraph();
  const z = g.top1(throughWeight(g, g.input('i8', [5])));
  const number = g.contract({ a: z, labelsA: [0], indexLabel: 0, extents: [] });
  return g.finish([number, behind(g, z)]);
}

export const POOL_INPUT = [3, -8, 5, 5, -100, 20];

/** Pairwise maxima, and squares of them from a list. */
export function pooled(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i8', [3, 2], -100, 100));
  const half = (bit: 0 | 1): ZkNode => g.sum([{ x, bits: [2, 3, bit] }], [3]);
  const y = g.max(half(0), half(1));
  const squares = g.table(
    y,
    -100,
    Array.from({ length: 201 }, (_, i) => 5 + (((i - 100) ** 2) >> 5)),
  );
  return g.finish([y, behind(g, squares)]);
}

/** v² of each of two rows through a list, then x scaled by it. */
export function normed(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i8', [2, 3], -7, 7));
  const anchored = g.requantize(x, {
    shift: 0,
    offset: 8,
    window: 4,
    values: Array.from({ length: 16 }, (_, i) => i - 8),
  });
  const squares = g.contract({ a: anchored, c: anchored, labelsA: [0, 1], labelsC: [0, 1], extents: [2] });
  const roots = Array.from({ length: 32 }, (_, v) => Math.round(64 / Math.sqrt(1 + 8 * v)));
  const root = g.requantize(squares, { shift: 3, window: 5, values: roots });
  return g.finish([g.contract({ a: anchored, c: root, labelsA: [0, 1], labelsC: [0], extents: [2, 3] })]);
}

/** Patches of a row of five with a pad, three taps; then a convolution; then a slice; then two axes joined. */
export function wired(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i8', [2, 5], -50, 50));
  const numbers = { stride: 1, dilation: 1, pad: 1, start: 0 };
  const patches = g.wire(
    x,
    [
      { kind: 'same', x: 0, y: 0 },
      { kind: 'window', x: 1, yPosition: 1, yTap: 2, ...numbers },
    ],
    [2, 5, 3],
  );
  const kernel = g.weight('i8', [2, 2, 3], -3, 3);
  const y = g.contract({ a: patches, c: kernel, labelsA: [2, 1, 3], labelsC: [0, 2, 3], extents: [2, 5] });
  const slice = g.wire(
    y,
    [
      { kind: 'same', x: 0, y: 0 },
      { kind: 'pool', x: 1, y: 1, taps: 1, ...numbers, pad: 0, start: 2 },
    ],
    [2, 3],
  );
  const joined = g.wire(
    slice,
    [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...numbers, pad: 0, stride: 3 }],
    [6],
  );
  return g.finish([
    g.requantize(joined, { shift: 3, offset: 128, values: Array.from({ length: 256 }, (_, i) => i - 128) }),
  ]);
}

/** Rows of a table by id, and their mean. */
export function gathered(): ZkExample {
  const g = createZkGraph();
  const ids = g.input('id', [3], 0, 4);
  const rows = g.gather(g.weight('i8', [5, 3], -50, 50), ids);
  const y = g.requantize(rows, {
    shift: 1,
    offset: 128,
    values: Array.from({ length: 256 }, (_, i) => i - 128),
  });
  return g.finish([g.contract({ a: y, labelsA: [1, 0], extents: [3] })]);
}

/** A tensor with three readers, a sum and two products; what a residual block reads twice. */
export function residual(): ZkExample {
  const g = createZkGraph();
  const narrow = (x: ZkNode, shift: number): ZkNode =>
    g.requantize(x, { shift, offset: 128, values: Array.from({ length: 256 }, (_, i) => i - 128) });
  const square = (): ZkNode => g.weight('i8', [3, 3], -20, 20);
  const dense = (x: ZkNode): ZkNode =>
    g.contract({ a: x, c: square(), labelsA: [1], labelsC: [0, 1], extents: [3] });
  const y0 = narrow(throughWeight(g, g.input('i8', [3])), 0);
  const y1 = narrow(dense(y0), 4);
  const acc2 = dense(y1);
  const y2 = narrow(g.sum([{ x: acc2 }, { x: y0, coefficient: 16 }], [3]), 4);
  const again = narrow(acc2, 5);
  const turned = g.contract({
    a: acc2,
    c: g.weight('i8', [2, 3], 1, 2),
    labelsA: [1],
    labelsC: [0, 1],
    extents: [2],
  });
  return g.finish([dense(y0), y2, again, turned]);
}

/** Every way an output can be the result of a linear op. */
export function linearOutputs(): ZkExample {
  const g = createZkGraph();
  const x = throughWeight(g, g.input('i8', [2, 3]));
  const y = g.requantize(x, {
    shift: 0,
    offset: 128,
    values: Array.from({ length: 256 }, (_, i) => i - 128),
  });
  const z = g.top1(x);
  const product = g.contract({
    a: y,
    c: g.weight('i8', [2, 3], -9, 9),
    labelsA: [0, 2],
    labelsC: [1, 2],
    extents: [2, 2],
  });
  const biased = g.sum(
    [
      { x: g.contract({ a: y, c: g.weight('i8', [3], -9, 9), labelsA: [0, 1], labelsC: [1], extents: [2] }) },
      { x: g.weight('i8', [2], -9, 9) },
    ],
    [2],
  );
  const turned = g.sum([{ x: y, bits: [4, 2, 3] }], [3, 2]);
  const doubled = g.sum([{ x: y }, { x: z, coefficient: 2 }], [2, 3]);
  const index = g.contract({ a: z, labelsA: [0, 1], indexLabel: 1, extents: [2] });
  return g.finish([product, biased, turned, doubled, index]);
}
