/** Small valid keys of every op, changes to them, and who refused a key where. */
import assert from 'node:assert/strict';
import { KeyError, type Op, type TensorSpec, type VerifyingKey } from '@haca/circuit';
import { createZkGraph, type ZkGraph, type ZkNode } from '@haca/testkit';

export type Mutable<T> = T extends Uint8Array
  ? T
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;
export type MutableKey = Mutable<VerifyingKey>;

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);

/** A copy of the key, changed. */
export function changed(key: VerifyingKey, change: (key: MutableKey) => void): VerifyingKey {
  const copy = structuredClone(key) as MutableKey;
  change(copy);
  return copy;
}

/** The first op of a kind, to be changed in place. */
export function opOf<K extends Op['kind']>(
  key: MutableKey,
  kind: K,
): Mutable<Extract<Op, { readonly kind: K }>> {
  const found = key.ops.find((op) => op.kind === kind);
  assert.ok(found, `the key has no ${kind}`);
  return found as Mutable<Extract<Op, { readonly kind: K }>>;
}

export function tensorOf(key: MutableKey, index: number): Mutable<TensorSpec> {
  const found = key.tensors[index];
  assert.ok(found, `the key has no tensor ${index}`);
  return found;
}

export interface Refusal {
  readonly code: string;
  readonly rule: string;
  /** File and line of the refusal in src, e.g. `lowering/linear.ts:84`. */
  readonly site: string;
}

/** Fails unless `run` throws a KeyError. */
export function refusalOf(run: () => unknown): Refusal {
  try {
    run();
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    const frames = [...(error.stack ?? '').matchAll(/at (?:(\S+) )?.*\/circuit\/src\/([\w/.-]+):(\d+):\d+/g)];
    const site = frames.find(([, name]) => name !== 'refuse' && name !== 'overLimit');
    return { code: error.code, rule: error.rule, site: site === undefined ? '' : `${site[2]}:${site[3]}` };
  }
  return assert.fail('was not refused');
}

export const PLAIN: readonly number[] = range(256, -128);
export const EXPONENTIALS: readonly number[] = range(16).map((d) => Math.round(2 ** 8 * Math.exp(-d / 4)));

export const plain = (g: ZkGraph, x: ZkNode, shift: number): ZkNode =>
  g.requantize(x, { shift, offset: 128, values: PLAIN });

export function dense(g: ZkGraph, x: ZkNode, n: number): ZkNode {
  const [k] = x.extents as readonly [number];
  return g.contract({
    a: x,
    c: g.weight('i8', [n, k], -127, 127),
    labelsA: [1],
    labelsC: [0, 1],
    extents: [n],
  });
}

const made = new Map<string, VerifyingKey>();

function once(name: string, make: () => VerifyingKey): () => VerifyingKey {
  return () => {
    const found = made.get(name) ?? make();
    made.set(name, found);
    return found;
  };
}

/** Tensors: 0 input [4], 1 weight [3,4], 2 virtual [3], 3 output [3]. Ops: contract, requantize. */
export const layerKey = once('layer', () => {
  const g = createZkGraph();
  return g.finish([plain(g, dense(g, g.input('i8', [4]), 3), 6)]).key;
});

/** Tensors: 0 input [4], 1 weight [4], 2 virtual [4], 3 output. Ops: sum, requantize. */
export const sumKey = once('sum', () => {
  const g = createZkGraph();
  const sum = g.sum([{ x: g.input('i8', [4]) }, { x: g.weight('i8', [4], -127, 127) }], [4], 5);
  return g.finish([plain(g, sum, 1)]).key;
});

/** A linear output: 0 input [4], 1 weight [3,4], 2 output [3] virtual; 3 anchor of the input. */
export const linearOutputKey = once('linear-output', () => {
  const g = createZkGraph();
  const x = plain(g, g.input('i8', [4]), 0);
  return g.finish([dense(g, x, 3)]).key;
});

/** Tensors: 0 input [6,5], 1 weight, 2 sum, 3 wire. A window of 3 over the first axis. */
export const wireKey = once('wire', () => {
  const g = createZkGraph();
  const x = g.sum([{ x: g.input('i8', [6, 5]) }, { x: g.weight('i8', [6, 5], -9, 9) }], [6, 5]);
  const numbers = { stride: 1, dilation: 1, pad: 1, start: 0 };
  const windows = g.wire(
    x,
    [
      { kind: 'window', x: 0, yPosition: 0, yTap: 2, ...numbers },
      { kind: 'same', x: 1, y: 1 },
    ],
    [6, 5, 3],
  );
  return g.finish([plain(g, windows, 1)]).key;
});

/** 0 ids [3] of 10, 1 weight [10,4], 2 gathered [3,4]. */
export const gatherKey = once('gather', () => {
  const g = createZkGraph();
  const ids = g.input('id', [3], 0, 9);
  return g.finish([plain(g, g.gather(g.weight('i8', [10, 4], -100, 100), ids), 0)]).key;
});

export const requantize16Key = once('requantize16', () => {
  const g = createZkGraph();
  return g.finish([g.requantize16(dense(g, g.input('i8', [4]), 3), { shift: 3 })]).key;
});

/** Tensors: 0 and 1 inputs, 2 weight, 3 sum of an input and the weight. */
export const maxKey = once('max', () => {
  const g = createZkGraph();
  const [a, b] = [g.input('i8', [4], 0, 100), g.input('i8', [4], 0, 50)];
  return g.finish([g.max(g.sum([{ x: a }, { x: g.weight('i8', [4], 0, 9) }], [4]), b)]).key;
});

const attended = (name: string, causal: boolean): (() => VerifyingKey) =>
  once(name, () => {
    const g = createZkGraph();
    const x = g.sum(
      [{ x: g.input('i8', [3, 3], 0, 6) }, { x: g.weight('i8', [3], 0, 9), bits: [4, 5] }],
      [3, 3],
    );
    return g.finish([g.softmax(x, { keyBits: 4, exponentials: EXPONENTIALS, causal })]).key;
  });

export const softmaxKey = attended('softmax', false);
export const causalKey = attended('causal', true);

export const top1Key = once('top1', () => {
  const g = createZkGraph();
  return g.finish([g.top1(dense(g, g.input('i8', [4]), 3))]).key;
});

export const tableKey = once('table', () => {
  const g = createZkGraph();
  const x = g.sum([{ x: g.input('u8', [4], 0, 3) }, { x: g.weight('u8', [4], 0, 3) }], [4]);
  return g.finish([g.table(x, -1, range(9, 20))]).key;
});

/** A product of two anchors, summed over a label: 0 input, contract of a with itself. */
export const squareKey = once('square', () => {
  const g = createZkGraph();
  const x = plain(g, dense(g, g.input('i8', [4]), 3), 6);
  const square = g.contract({ a: x, c: x, labelsA: [0], labelsC: [0], extents: [3] });
  return g.finish([plain(g, square, 8)]).key;
});

export const KEYS: Readonly<Record<string, () => VerifyingKey>> = {
  layerKey,
  sumKey,
  linearOutputKey,
  wireKey,
  gatherKey,
  requantize16Key,
  maxKey,
  softmaxKey,
  causalKey,
  top1Key,
  tableKey,
  squareKey,
};
