/**
 * Provers that lie in one place and are honest everywhere else. Lies about tensors go into the assignment; lies about
 * messages into a backend, which is asked for each message after the challenges before it. A lie can be carried on: what
 * the next message would have to be is found from what the verifier says it expected.
 */
import assert from 'node:assert/strict';
import {
  decodeTensor,
  encodeTensor,
  type PlanLookup,
  type PlanTensor,
  type Program,
  padTensor,
  type TensorValues,
  unpadTensor,
  type ZkStatement,
} from '@haca/circuit';
import {
  capOf,
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  extAdd,
  extInverse,
  extMul,
  extSub,
  leafHashes,
  merkleLevels,
  openPath,
  P,
  portableZkKernels,
} from '@haca/primitives/zk';
import type { Assignment, CommittedTree, ProverBackend, Sumcheck } from '@haca/prover';
import { createZkGraph, type ZkExample, type ZkGraph, type ZkNode } from '@haca/testkit';
import type { CheckName } from '@haca/verifier/zk-testing';
import { proofOf, type Subject, verdictOn } from './verify-harness.ts';

const IDENTITY = [0, 1, 2, 3, 4, 5, 6, 7];
const SQUARES = [0, 1, 4, 9, 16, 25, 36, 49];
const exact = { shift: 0, mode: 'exact', window: 3 } as const;

/** A network whose last op cuts `made` (values 0 to 7) to itself; its result is the first output. */
function cut(
  make: (g: ZkGraph) => ZkNode,
  more: (g: ZkGraph, x: ZkNode) => readonly ZkNode[] = () => [],
): ZkExample {
  const g = createZkGraph({ maxBatch: 3 });
  const x = make(g);
  const y = g.requantize(x, { ...exact, values: IDENTITY });
  const example = g.finish([y, ...more(g, x)]);
  return { ...example, key: { ...example.key, columnBits: 4, folds: [1, 1], finalBits: 2 } };
}

const weightedInput = (g: ZkGraph): ZkNode =>
  g.contract({
    a: g.input('u8', [3], 0, 1),
    c: g.weight('u8', [4, 3], 0, 1),
    labelsA: [1],
    labelsC: [0, 1],
    extents: [4],
  });

/** An output that reads a weight, for networks that need none otherwise. */
const readsWeight = (g: ZkGraph): ZkNode[] => [
  g.contract({
    a: g.input('u8', [2], 0, 1),
    c: g.weight('u8', [2], 0, 1),
    labelsA: [0],
    labelsC: [0],
    extents: [],
  }),
];

/** By the check that a false digit in front of the first output breaks. */
export const NETWORKS = {
  contract: () => cut(weightedInput),
  wire: () =>
    cut(
      (g) =>
        g.wire(
          g.input('u8', [5], 0, 3),
          [{ kind: 'pool', x: 0, y: 0, taps: 2, stride: 2, dilation: 1, pad: 1, start: 0 }],
          [3],
        ),
      readsWeight,
    ),
  gather: () => cut((g) => g.gather(g.weight('u8', [5, 2], 0, 7), g.input('id', [3], 0, 4))),
  /** Two ops read one tensor at one point. */
  sum: () => cut(weightedInput, (g, x) => [g.requantize(x, { ...exact, values: SQUARES })]),
  /** Two ops read one tensor at two points. */
  aggregate: () =>
    cut(weightedInput, (g, x) => [
      g.requantize(g.sum([{ x, bits: [3, 2] }], [4]), { ...exact, values: SQUARES }),
    ]),
  'public-evaluation': () =>
    cut((g) => {
      const bias = g.weight('u8', [3], 0, 3);
      return g.sum([{ x: bias }, { x: g.input('u8', [3], 0, 4) }], [3]);
    }),
  rows: () =>
    cut((g) => {
      const bias = g.weight('u8', [3], 0, 3);
      return g.sum([{ x: g.input('u8', [3], 0, 4) }, { x: bias }], [3]);
    }),
} as const;

type Values = ReturnType<Assignment['values']>;

/** The assignment with some tensors replaced, and multiplicities counted anew. */
export function falsified(
  program: Program,
  honest: Assignment,
  replaced: ReadonlyMap<number, Values>,
): Assignment {
  const values = (id: number): Values => replaced.get(id) ?? honest.values(id);
  const counted = new Map(
    program.tables.map(({ multiplicity }, table) => [multiplicity, count(program, table, values)]),
  );
  return { values: (id) => counted.get(id) ?? values(id) };
}

function count(program: Program, table: number, values: (id: number) => Values): Uint32Array {
  const { bits, rowOf } = program.tables[table] as Program['tables'][number];
  const counts = new Uint32Array(2 ** bits);
  for (const lookup of program.lookups) {
    if (lookup.table !== table) continue;
    const cells = lookup.tuple.map((entry) =>
      entry.kind === 'tensor'
        ? unpadTensor(lookup, values(entry.tensor) as TensorValues)
        : { constant: entry.kind === 'constant' ? entry.value : 1 },
    );
    const real = lookup.extents.reduce((product, extent) => product * extent, 1);
    for (let i = 0; i < real; i++) {
      const [c0, c1, c2] = cells.map((each) =>
        'constant' in each ? each.constant : centred(each[i] as number),
      );
      const row = rowOf(c0 as number, c1 as number, c2 as number);
      if (row >= 0) counts[row] = (counts[row] as number) + 1;
    }
  }
  return counts;
}

const centred = (value: number): number => (value > P / 2 ? value - P : value);

/** Replaces the first public output in assignment and statement. */
function withOutput(
  subject: Subject,
  change: (values: TensorValues) => void,
): { statement: ZkStatement; padded: Values } {
  const { program, statement } = subject;
  const { tensor, kind, lo, hi } = program.outputs[0] as Program['outputs'][number];
  const planned = program.tensors[tensor] as PlanTensor;
  const shape = { kind, lo, hi, extents: planned.extents.slice(1) };
  const dense = decodeTensor(shape, statement.outputs[0] as Uint8Array, statement.batchSize, 'output');
  change(dense);
  const outputs = [encodeTensor(shape, dense), ...statement.outputs.slice(1)];
  return { statement: { ...statement, outputs }, padded: padTensor(planned, dense) };
}

const raised = (values: { [index: number]: number }): void => {
  values[0] = ((values[0] as number) + 1) % 8;
};

/** The op in front of the first output claims another digit, and the output that belongs to it. */
export function falseDigit(subject: Subject): Subject {
  const { program, assignment } = subject;
  const output = program.outputs[0]?.tensor as number;
  const lookup = program.lookups.find(
    ({ tuple: [, , y] }) => y.kind === 'tensor' && y.tensor === output,
  ) as PlanLookup;
  const [digit] = lookup.tuple;
  assert.equal(digit.kind, 'tensor');
  const window = (digit as { readonly tensor: number }).tensor;
  const digits = assignment.values(window).slice();
  raised(digits);
  const { statement, padded } = withOutput(subject, raised);
  const replaced = new Map([
    [window, digits],
    [output, padded],
  ]);
  return { ...subject, statement, assignment: falsified(program, assignment, replaced) };
}

/** The first output is another than its digit says. */
export function falseResult(subject: Subject): Subject {
  const { statement, padded } = withOutput(subject, raised);
  const replaced = new Map([[subject.program.outputs[0]?.tensor as number, padded]]);
  return { ...subject, statement, assignment: falsified(subject.program, subject.assignment, replaced) };
}

/** The statement alone is false: the first output is the result of a linear op. */
export const falseStatement = (subject: Subject): Subject => ({
  ...subject,
  statement: withOutput(subject, (values) => {
    values[0] = (values[0] as number) + 1;
  }).statement,
});

/** Messages that a backend sends instead of its own. */
export interface Lies {
  readonly top?: (values: readonly Ext[]) => readonly Ext[];
  readonly layer?: (level: number, values: readonly Ext[]) => readonly Ext[];
  /** Values of whole tensors, those of `cells` cells at one point. */
  readonly evaluated?: (cells: number, values: readonly Ext[]) => readonly Ext[];
  readonly columnValues?: (values: readonly Ext[]) => readonly Ext[];
  readonly foldRound?: (round: number, line: readonly Ext[]) => readonly Ext[];
  readonly final?: (values: readonly Ext[]) => readonly Ext[];
  readonly witnessTree?: (tree: CommittedTree, leaves: number) => CommittedTree;
  readonly foldTree?: (layer: number, tree: CommittedTree) => CommittedTree;
  readonly nonce?: (seed: Uint8Array) => Uint8Array;
}

const finalsOf = (sumcheck: Sumcheck, lie: (values: readonly Ext[]) => readonly Ext[]): Sumcheck => ({
  ...sumcheck,
  finals: () => lie(sumcheck.finals()),
});

export function lyingBackend(honest: ProverBackend, lies: Lies): ProverBackend {
  return {
    ...honest,
    commitColumns: (request) => {
      const tree = honest.commitColumns(request);
      return lies.witnessTree?.(tree, 2 ** (request.columnBits + request.blowupBits)) ?? tree;
    },
    fractionTree: (treeBits, segments) => {
      const tree = honest.fractionTree(treeBits, segments);
      const top = (lies.top?.(tree.top) ?? tree.top) as typeof tree.top;
      const layer: typeof tree.layer = (level, lambda, point) =>
        finalsOf(tree.layer(level, lambda, point), (values) => lies.layer?.(level, values) ?? values);
      return { ...tree, top, layer };
    },
    evaluate: (vectors, point) => {
      const values = honest.evaluate(vectors, point);
      return [...(lies.evaluated?.(2 ** point.length, values) ?? values)];
    },
    evaluateColumns: (columns, point) => {
      const values = honest.evaluateColumns(columns, point);
      return [...(lies.columnValues?.(values) ?? values)];
    },
    fold: (column, point) => {
      const folding = honest.fold(column, point);
      let round = 0;
      let layer = 0;
      return {
        ...folding,
        commit: (...parameters) => {
          const tree = folding.commit(...parameters);
          return lies.foldTree?.(layer++, tree) ?? tree;
        },
        round: () => {
          const line = folding.round();
          return (lies.foldRound?.(round++, line) ?? line) as typeof line;
        },
        values: () => lies.final?.(folding.values()) ?? folding.values(),
      };
    },
    grind: (seed, bits) => lies.nonce?.(seed) ?? honest.grind(seed, bits),
  };
}

/** The subject with a backend that lies; the weights stay those committed before. */
export function withLies(subject: Subject, lies: Lies): Subject {
  const backend = lyingBackend(subject.backend, lies);
  return { ...subject, backend, committed: { ...subject.committed, backend } };
}

/** By check, the two values that its failure reports. */
async function valuesAt(name: CheckName, subject: Subject): Promise<readonly [Ext, Ext]> {
  const verdict = verdictOn(subject, await proofOf(subject));
  const got = verdict.checks.find(({ status }) => status === 'failed')?.got ?? '';
  const match = /\[([\d,]+)\], not \[([\d,]+)\]/.exec(got);
  assert.ok(match !== null, `${name}: ${got}`);
  const [value, expected] = [match[1], match[2]].map((text) => (text as string).split(',').map(Number));
  return [value, expected] as unknown as readonly [Ext, Ext];
}

/**
 * The lie δ that makes the check `name` hold, where the value checked is affine in δ: found from two failures.
 */
export async function solveFor(name: CheckName, subject: Subject, lie: (delta: Ext) => Lies): Promise<Lies> {
  const [atZero, expected] = await valuesAt(name, withLies(subject, lie(EXT_ZERO)));
  const [atOne] = await valuesAt(name, withLies(subject, lie(EXT_ONE)));
  const delta = extMul(extSub(expected, atZero), extInverse(extSub(atOne, atZero)));
  return lie(delta);
}

export const addTo = (values: readonly Ext[], index: number, delta: Ext): Ext[] =>
  values.map((value, i) => (i === index ? extAdd(value, delta) : value));

/** A tree over other leaves. */
export function treeOver(
  leafOf: (index: number) => Uint8Array,
  leaves: number,
  capBits: number,
): CommittedTree {
  const rowBytes = leafOf(0).length;
  const rows = new Uint8Array(rowBytes * leaves);
  for (let i = 0; i < leaves; i++) rows.set(leafOf(i), rowBytes * i);
  const levels = merkleLevels(portableZkKernels, leafHashes(portableZkKernels, rows, rowBytes, leaves));
  return {
    cap: capOf(levels, capBits),
    leaf: leafOf,
    path: (index) => openPath(levels, index, capBits),
    release: () => {},
  };
}
