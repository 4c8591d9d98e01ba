/** Verifying keys of small networks of every kind, with random weights, for tests and measurements. */
import { createZkGraph, type ZkExample, type ZkGraph, type ZkGraphOptions, type ZkNode } from './zk-graph.ts';

const clamp = (value: number, lo: number, hi: number): number => Math.min(hi, Math.max(lo, value));
const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);

/** Values of a window of `window` bits around zero: index q stands for q - 2^(window - 1). */
const around = (window: number, value: (v: number) => number): number[] =>
  range(2 ** window).map((q) => Math.round(value(q - 2 ** (window - 1))) + 0);

export const PLAIN_LIST: readonly number[] = around(8, (v) => v);
export const RELU_LIST: readonly number[] = around(8, (v) => Math.max(0, v));

/** GELU of v/16, as i8 in units of 1/16. */
export function geluList(window: number): number[] {
  const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(0.7978845608 * (x + 0.044715 * x ** 3)));
  return around(window, (v) => clamp(16 * gelu(v / 16), -128, 127));
}

/** round(2^top · exp(-δ · scale)) for 0 ≤ δ < 2^keyBits. */
export function exponentialList(keyBits: number, top: number, scale: number): number[] {
  return range(2 ** keyBits).map((delta) => Math.round(2 ** top * Math.exp(-delta * scale)));
}

/** round(scale / sqrt(v)), at most 127. */
export function rsqrtList(window: number, scale: number): number[] {
  return range(2 ** window).map((v) => clamp(Math.round(scale / Math.sqrt(Math.max(1, v))), 0, 127));
}

/** The shift that brings sums of `terms` products of about `size` each to some dozens. */
const shiftFor = (terms: number, size: number): number =>
  Math.max(0, Math.round(Math.log2((Math.sqrt(terms) * size) / 48)));

const i8 = (g: ZkGraph, x: ZkNode, shift: number, values: readonly number[] = PLAIN_LIST): ZkNode =>
  g.requantize(x, {
    shift,
    offset: 2 ** (Math.log2(values.length) - 1),
    window: Math.log2(values.length),
    values,
  });

/** x[…, k] times a weight [n, k], with a bias. */
function dense(g: ZkGraph, x: ZkNode, n: number): ZkNode {
  const k = x.extents[x.extents.length - 1] as number;
  const outer = x.extents.slice(0, -1);
  const labels = range(outer.length);
  const weight = g.weight('i8', [n, k], -127, 127);
  const bias = g.weight('i32', [n], -(2 ** 15), 2 ** 15 - 1);
  const extents = [...outer, n];
  const product = g.contract({
    a: x,
    c: weight,
    labelsA: [...labels, extents.length],
    labelsC: [outer.length, extents.length],
    extents,
  });
  return g.sum([{ x: product }, { x: bias, bits: lastBits(extents) }], extents);
}

const widthOf = (extent: number): number => (extent <= 1 ? 0 : 32 - Math.clz32(extent - 1));
const totalBits = (extents: readonly number[]): number =>
  extents.reduce((bits, extent) => bits + widthOf(extent), 0);

/** Bit map of an operand over the last axis of a result. */
function lastBits(extents: readonly number[]): number[] {
  const width = widthOf(extents[extents.length - 1] as number);
  return range(width, 2 + totalBits(extents) - width);
}

/** Bit map of an operand over the first axis of a result. */
const firstBits = (extents: readonly number[]): number[] => range(widthOf(extents[0] as number), 2);

const denseI8 = (g: ZkGraph, x: ZkNode, n: number, values: readonly number[] = PLAIN_LIST): ZkNode =>
  i8(g, dense(g, x, n), shiftFor(x.extents[x.extents.length - 1] as number, 74 * 73), values);

interface ConvolutionOptions {
  readonly channels: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly pad?: number;
  readonly values?: readonly number[];
}

/** x[c, h, w] to accumulators [channels, h', w'], with a bias per channel. */
function convolve(g: ZkGraph, x: ZkNode, options: ConvolutionOptions): ZkNode {
  const { channels, kernel, stride = 1, pad = 0 } = options;
  const [depth, height, width] = x.extents as [number, number, number];
  const outer = (size: number): number => Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const extents = [channels, outer(height), outer(width)];
  const numbers = { stride, dilation: 1, pad, start: 0 };
  const patches = g.wire(
    x,
    [
      { kind: 'same', x: 0, y: 0 },
      { kind: 'window', x: 1, yPosition: 1, yTap: 3, ...numbers },
      { kind: 'window', x: 2, yPosition: 2, yTap: 4, ...numbers },
    ],
    [depth, extents[1] as number, extents[2] as number, kernel, kernel],
  );
  const weight = g.weight('i8', [channels, depth, kernel, kernel], -127, 127);
  const bias = g.weight('i32', [channels], -(2 ** 15), 2 ** 15 - 1);
  const product = g.contract({
    a: patches,
    c: weight,
    labelsA: [3, 1, 2, 4, 5],
    labelsC: [0, 3, 4, 5],
    extents,
  });
  return g.sum([{ x: product }, { x: bias, bits: firstBits(extents) }], extents);
}

function convolveI8(g: ZkGraph, x: ZkNode, options: ConvolutionOptions): ZkNode {
  const terms = (x.extents[0] as number) * options.kernel ** 2;
  return i8(g, convolve(g, x, options), shiftFor(terms, 50 * 73), options.values ?? RELU_LIST);
}

/** Every second row and column, from `row` and `column` on. */
function strided(g: ZkGraph, x: ZkNode, row: number, column: number): ZkNode {
  const [depth, height, width] = x.extents as [number, number, number];
  const extents = [depth, height / 2, width / 2];
  const bits = [
    ...range(widthOf(depth), 2),
    ...range(widthOf(height / 2), 2 + widthOf(depth)),
    row,
    ...range(widthOf(width / 2), 2 + widthOf(depth) + widthOf(height / 2)),
    column,
  ];
  return g.sum([{ x, bits }], extents);
}

/** 2 × 2 maxima of even heights and widths. */
function maxPool(g: ZkGraph, x: ZkNode): ZkNode {
  return g.max(
    g.max(strided(g, x, 0, 0), strided(g, x, 0, 1)),
    g.max(strided(g, x, 1, 0), strided(g, x, 1, 1)),
  );
}

/** All axes as one, by joining the last two until one is left. */
function flatten(g: ZkGraph, x: ZkNode): ZkNode {
  if (x.extents.length === 1) return x;
  const last = x.extents.length - 1;
  const [outer, inner] = [x.extents[last - 1] as number, x.extents[last] as number];
  const extents = [...x.extents.slice(0, last - 1), outer * inner];
  if (2 ** (widthOf(outer) + widthOf(inner)) === outer * inner || outer === 1 || inner === 1)
    return flatten(g, g.sum([{ x }], extents));
  const joined = g.wire(
    x,
    [
      ...range(last - 1).map((axis) => ({ kind: 'same' as const, x: axis, y: axis })),
      {
        kind: 'merge',
        xPosition: last - 1,
        xTap: last,
        y: last - 1,
        stride: inner,
        dilation: 1,
        pad: 0,
        start: 0,
      },
    ],
    extents,
  );
  return flatten(g, joined);
}

/** Dense layers with ReLU between them; the output is the last layer's accumulators (i32). */
export function mlp(sizes: readonly number[], options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  let x = g.input('i8', [sizes[0] as number]);
  for (const n of sizes.slice(1, -1)) x = denseI8(g, x, n, RELU_LIST);
  return g.finish([dense(g, x, sizes[sizes.length - 1] as number)]);
}

/** 1 × 28 × 28 to 10 logits, maximum pooling. */
export function lenet5(options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  let x = g.input('i8', [1, 28, 28]);
  x = maxPool(g, convolveI8(g, x, { channels: 6, kernel: 5, pad: 2 }));
  x = maxPool(g, convolveI8(g, x, { channels: 16, kernel: 5 }));
  x = denseI8(g, flatten(g, x), 120, RELU_LIST);
  x = denseI8(g, x, 84, RELU_LIST);
  return g.finish([denseI8(g, x, 10)]);
}

/** 2 × 6 × 5 to 3 logits: odd extents, a stride and padding. */
export function tinyConv(options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const x = g.input('i8', [2, 6, 5]);
  const y = convolveI8(g, x, { channels: 3, kernel: 3, stride: 2, pad: 1 });
  return g.finish([denseI8(g, flatten(g, y), 3)]);
}

/** Probabilities of `n` logits that a weight shifts; `causal`: of an n × n square. */
export function softmaxOnly(n = 10, causal = false, options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const extents = causal ? [n, n] : [n];
  const x = g.input('i8', extents);
  const bias = g.weight('i8', [n], -128, 127);
  const sum = g.sum([{ x }, { x: bias, bits: lastBits(extents) }], extents);
  return g.finish([g.softmax(sum, { keyBits: 9, exponentials: exponentialList(9, 10, 1 / 32), causal })]);
}

/** Σ over all but the first axis of x[c, h, w], through the list: the mean of each channel, rounded. */
function averagePool(g: ZkGraph, x: ZkNode): ZkNode {
  const [depth, height, width] = x.extents as [number, number, number];
  const sum = g.contract({ a: x, labelsA: [0, 1, 2], extents: [depth] });
  const shift = Math.ceil(Math.log2(height * width));
  return g.requantize(sum, {
    shift,
    mode: 'exact',
    window: 8,
    values: range(256).map((q) => Math.min(127, q)),
  });
}

/** 3 × `size` × `size` to 4 logits: a convolution, a depthwise one, a skip around both, the mean of each channel. */
export function residualNet(size = 7, options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const channels = 5;
  const x = convolveI8(g, g.input('u8', [3, size, size], 0, 127), { channels, kernel: 1 });
  const inner = convolveI8(g, x, { channels, kernel: 3, pad: 1 });
  const numbers = { stride: 1, dilation: 2, pad: 2, start: 0 };
  const patches = g.wire(
    inner,
    [
      { kind: 'same', x: 0, y: 0 },
      { kind: 'window', x: 1, yPosition: 1, yTap: 3, ...numbers },
      { kind: 'window', x: 2, yPosition: 2, yTap: 4, ...numbers },
    ],
    [channels, size, size, 3, 3],
  );
  const weight = g.weight('i8', [channels, 3, 3], -127, 127);
  const depthwise = g.contract({
    a: patches,
    c: weight,
    labelsA: [0, 1, 2, 3, 4],
    labelsC: [0, 3, 4],
    extents: [channels, size, size],
  });
  const sum = g.sum([{ x: depthwise }, { x, coefficient: 200 }], x.extents);
  const y = i8(g, sum, shiftFor(9, 50 * 73), RELU_LIST);
  return g.finish([denseI8(g, averagePool(g, y), 4)]);
}

/** (x - mean) · rsqrt(variance) along the last axis (of a power of two), as i8; without `centre` the root mean square. */
function normalize(g: ZkGraph, x: ZkNode, centre: boolean): ZkNode {
  const [tokens, width] = x.extents as [number, number];
  const bits = widthOf(width);
  let c = x;
  if (centre) {
    const sum = g.contract({ a: x, labelsA: [0, 1], extents: [tokens] });
    const mean = i8(g, sum, bits);
    c = g.sum([{ x }, { x: mean, coefficient: -1, bits: range(widthOf(tokens), 2) }], x.extents);
  }
  const squares = g.contract({ a: c, c, labelsA: [0, 1], labelsC: [0, 1], extents: [tokens] });
  // A window of 10 bits in units of 2^5: the root is that of the mean square times width / 2^5.
  const root = g.requantize(squares, { shift: 5, window: 10, values: rsqrtList(10, 2 ** 8) });
  const scaled = g.contract({ a: c, c: root, labelsA: [0, 1], labelsC: [0], extents: x.extents });
  return i8(g, scaled, 2);
}

export interface TransformerSizes {
  readonly tokens: number;
  /** Powers of two. */
  readonly width: number;
  readonly heads: number;
  readonly vocabulary: number;
}

/** x[t, w] as [t, heads, w / heads], rescaled to i8. */
function project(g: ZkGraph, x: ZkNode, heads: number): ZkNode {
  const [tokens, width] = x.extents as [number, number];
  const y = denseI8(g, x, width);
  return g.sum([{ x: y }], [tokens, heads, width / heads]);
}

function attention(g: ZkGraph, x: ZkNode, heads: number): ZkNode {
  const [tokens, width] = x.extents as [number, number];
  const [q, k, v] = [project(g, x, heads), project(g, x, heads), project(g, x, heads)];
  // Labels of the scores: head, query, key; the width of a head is contracted.
  const scores = g.contract({
    a: q,
    c: k,
    labelsA: [1, 0, 3],
    labelsC: [2, 0, 3],
    extents: [heads, tokens, tokens],
  });
  const probabilities = g.softmax(i8(g, scores, shiftFor(width / heads, 45 * 45)), {
    keyBits: 8,
    exponentials: exponentialList(8, 10, 1 / 24),
    causal: true,
  });
  const mixed = g.contract({
    a: probabilities,
    c: v,
    labelsA: [1, 0, 3],
    labelsC: [3, 1, 2],
    extents: [tokens, heads, width / heads],
  });
  return denseI8(g, i8(g, g.sum([{ x: mixed }], [tokens, width]), 7), width);
}

/** Token ids to logits for each position: embedding, causal attention, GELU, both norms, residual sums. */
export function transformerBlock(
  { tokens, width, heads, vocabulary }: TransformerSizes = { tokens: 5, width: 8, heads: 2, vocabulary: 11 },
  options?: ZkGraphOptions,
): ZkExample {
  const g = createZkGraph(options);
  const ids = g.input('id', [tokens], 0, vocabulary - 1);
  const words = g.gather(g.weight('i8', [vocabulary, width], -64, 63), ids);
  const places = g.weight('i8', [tokens, width], -64, 63);
  let x = i8(g, g.sum([{ x: words }, { x: places }], [tokens, width]), 0);
  const attended = attention(g, normalize(g, x, false), heads);
  x = i8(g, g.sum([{ x }, { x: attended }], x.extents), 0);
  const hidden = dense(g, normalize(g, x, true), 4 * width);
  const gelu = i8(g, hidden, shiftFor(width, 74 * 73), geluList(9));
  x = i8(g, g.sum([{ x }, { x: denseI8(g, gelu, width) }], x.extents), 0);
  return g.finish([denseI8(g, x, vocabulary)]);
}

/** A router picks one of `experts` dense layers; outputs: its result and its number. */
export function moe(experts = 3, width = 6, options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const x = g.input('i8', [width]);
  const chosen = g.top1(denseI8(g, x, experts));
  const weight = g.weight('i8', [experts, 4, width], -127, 127);
  const each = g.contract({ a: x, c: weight, labelsA: [2], labelsC: [0, 1, 2], extents: [experts, 4] });
  const one = g.contract({ a: chosen, c: each, labelsA: [1], labelsC: [1, 0], extents: [4] });
  const number = g.contract({ a: chosen, labelsA: [0], indexLabel: 0, extents: [] });
  const y = i8(g, one, shiftFor(width, 74 * 73));
  return g.finish([
    g.table(
      y,
      -128,
      range(256, -128).map((v) => (v * v) >> 7),
    ),
    number,
  ]);
}

/** An image and some words, each to a vector, the vectors one after the other, and three logits. */
export function twoInput(options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const image = g.input('u8', [1, 8, 8]);
  const ids = g.input('id', [5], 0, 19);
  const seen = denseI8(
    g,
    flatten(g, maxPool(g, convolveI8(g, image, { channels: 3, kernel: 3, pad: 1 }))),
    10,
  );
  const words = g.gather(g.weight('i8', [20, 8], -128, 127), ids);
  const read = i8(g, g.contract({ a: words, labelsA: [1, 0], extents: [8] }), 2);
  const place = (x: ZkNode, at: number): ZkNode =>
    g.wire(x, [{ kind: 'pool', x: 0, y: 0, taps: 1, stride: 1, dilation: 1, pad: at, start: 0 }], [18]);
  return g.finish([denseI8(g, g.sum([{ x: place(seen, 0) }, { x: place(read, 10) }], [18]), 3)]);
}

/** Hidden layers of 16 bits, signed and rectified, one of them from unsigned sums. */
export function requantize16Net(options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph(options);
  const x = g.input('i16', [6], -2048, 2047);
  const signed = g.requantize16(dense(g, x, 5), { shift: 2 });
  const rectified = g.requantize16(dense(g, signed, 7), { shift: 6, zero: 0 });
  const weight = g.weight('u8', [3, 7], 0, 100);
  const sum = g.contract({ a: rectified, c: weight, labelsA: [1], labelsC: [0, 1], extents: [3] });
  const exact = g.requantize(sum, { shift: 16, mode: 'unsigned', window: 8, values: range(256) });
  return g.finish([exact, g.requantize16(sum, { shift: 10, zero: 0, mode: 'unsigned' })]);
}

const VGG16_STAGES = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
];

/** VGG-16 for 3 × 32 × 32: 313 million products. `divide` makes every layer that much narrower. */
export function vgg16Size(divide = 1, options?: ZkGraphOptions): ZkExample {
  const g = createZkGraph({ maxBatch: 1, ...options });
  let x = g.input('i8', [3, 32, 32]);
  for (const stage of VGG16_STAGES) {
    for (const channels of stage) x = convolveI8(g, x, { channels: channels / divide, kernel: 3, pad: 1 });
    x = maxPool(g, x);
  }
  return g.finish([denseI8(g, flatten(g, x), 10)]);
}
