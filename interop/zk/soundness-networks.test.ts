/**
 * One verifier for every graph: mixtures of experts, several inputs, norms, shapes of one cell. It knows no op, and what
 * it is shown of one is refused if it is false.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeTensor, publicTensorShapes, type TensorShape } from '@haca/circuit';
import {
  createZkGraph,
  exponentialList,
  mlp,
  moe,
  PLAIN_LIST,
  requantize16Net,
  residualNet,
  softmaxOnly,
  transformerBlock,
  twoInput,
  type ZkExample,
} from '@haca/testkit';
import { outputOf } from './cheats/forged.ts';
import { throughWeight } from './cheats/networks.ts';
import { openNetwork, proveHonestly, statementFor, verdictOn as verdictOnBytes } from './prove-harness.ts';
import { assertAccepted, failureOf, proofOf, type Subject, subjectOf, verdictOn } from './verify-harness.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const one = (
  extents: readonly number[],
  make: (
    g: ReturnType<typeof createZkGraph>,
    x: ReturnType<typeof throughWeight>,
  ) => ReturnType<typeof throughWeight>,
): ZkExample => {
  const g = createZkGraph();
  return g.finish([make(g, throughWeight(g, g.input('i8', extents, -100, 100)))]);
};

const tap = { stride: 1, dilation: 1, pad: 0, start: 0 };

/** Shapes at the lower end, and some that are no powers of two. */
const SHAPES: Readonly<Record<string, () => ZkExample>> = {
  'a single cell': () => {
    const g = createZkGraph();
    const x = g.input('i8', []);
    const y = g.requantize(g.sum([{ x, coefficient: 2 }], []), { shift: 1, offset: 128, values: PLAIN_LIST });
    const weight = g.weight('i8', [1], 3, 3);
    return g.finish([y, g.contract({ a: y, c: weight, labelsA: [], labelsC: [0], extents: [1] })]);
  },
  'one by one': () =>
    one([1, 1], (g, x) =>
      g.contract({
        a: g.requantize(x, { shift: 0, offset: 128, values: PLAIN_LIST }),
        c: g.weight('i8', [1, 1], 2, 2),
        labelsA: [0, 2],
        labelsC: [1, 2],
        extents: [1, 1],
      }),
    ),
  'softmax of one': () =>
    one([1], (g, x) => g.softmax(x, { keyBits: 8, exponentials: exponentialList(8, 4, 1) })),
  'softmax of two, causal': () =>
    one([2, 2], (g, x) =>
      g.softmax(x, { keyBits: 8, exponentials: exponentialList(8, 4, 1 / 8), causal: true }),
    ),
  'the largest of one': () =>
    one([1], (g, x) =>
      g.contract({ a: g.top1(x), c: g.weight('i8', [1], 3, 3), labelsA: [0], labelsC: [0], extents: [1] }),
    ),
  'the largest of three, of five rows': () =>
    one([5, 3], (g, x) => g.contract({ a: g.top1(x), labelsA: [0, 1], indexLabel: 1, extents: [5] })),
  'the maximum of one and itself': () =>
    one([1], (g, x) => {
      const y = g.requantize(x, { shift: 1, offset: 64, window: 7, values: PLAIN_LIST.slice(64, 192) });
      return g.max(y, y);
    }),
  'a window of one': () =>
    one([1], (g, x) =>
      g.requantize(g.wire(x, [{ kind: 'window', x: 0, yPosition: 0, yTap: 1, ...tap }], [1, 1]), {
        shift: 0,
        offset: 128,
        values: PLAIN_LIST,
      }),
    ),
  'three, five, seven': () => mlp([3, 5, 7]),
  'layers of one': () => mlp([1, 1, 1]),
  'seventeen to one': () => mlp([17, 2, 1]),
};

/** An output with one cell off by one, inside its interval. */
function offByOne(subject: Subject, output: number, cell: number): Subject | null {
  const shape = publicTensorShapes(subject.key).outputs[output] as TensorShape;
  if (shape.lo === shape.hi) return null;
  const values = outputOf(subject, output);
  const value = values[cell] as number;
  values[cell] = value < shape.hi ? value + 1 : value - 1;
  const outputs = subject.statement.outputs.with(output, encodeTensor(shape, values));
  return { ...subject, statement: { ...subject.statement, outputs } };
}

for (const [name, network] of Object.entries(SHAPES))
  test(`ZK-19 shapes: ${name}; honest, and with each output off by one`, async () => {
    for (const batchSize of [1, 2, 3]) {
      const subject = await subjectOf(network(), { batchSize });
      assertAccepted(verdictOn(subject, await proofOf(subject)));
      for (const [output] of subject.program.outputs.entries())
        for (let cell = 0; cell < outputOf(subject, output).length; cell += 2) {
          const lying = offByOne(subject, output, cell);
          if (lying === null) continue;
          assert.match(
            failureOf(verdictOn(lying, await proofOf(lying))),
            /^zk\.(lookup|output|gkr-root|public-evaluation)/,
          );
        }
    }
  });

const GRAPHS: Readonly<Record<string, () => ZkExample>> = {
  'experts of which a router picks one': () => moe(),
  'an image and words': () => twoInput(),
  'a transformer block': () => transformerBlock(),
  'convolutions with skips': () => residualNet(),
  'sixteen bits': () => requantize16Net(),
  'causal softmax': () => softmaxOnly(4, true),
};

for (const [name, network] of Object.entries(GRAPHS))
  test(`ZK-19 the verifier of all graphs takes ${name}, and no proof about other inputs or outputs`, async () => {
    const opened = await openNetwork(network());
    for (const batchSize of [1, 3]) {
      const statement = statementFor(opened, batchSize, 5 + batchSize);
      const proof = await proveHonestly(opened, statement);
      assertAccepted(verdictOnBytes(opened, statement, proof));
      for (const which of ['inputs', 'outputs'] as const)
        for (const [i, bytes] of statement[which].entries()) {
          const changed = {
            ...statement,
            [which]: statement[which].with(i, bytes.with(0, (bytes[0] as number) ^ 1)),
          };
          assert.match(failureOf(verdictOnBytes(opened, changed, proof)), /^zk\.(gkr|public)/);
        }
    }
  });

/** What ops of keys, and of the networks they come from, are called; those that are steps are left out. */
const OPS =
  /requantize|softmax|\btop-?1\b|top1|argmax|\brelu\b|gelu|sigmoid|attention|convolution|\bconv\b|embedding|\bexperts?\b|activation|transformer|layer ?norm|rsqrt|maxpool|\bop kind/i;
/** Op kinds that are common words too: as strings they would be a case distinction by op. */
const KINDS =
  /['"`](max|table|requantize\w*|softmax|top1)['"`]|\bkey\.(ops|lists|tensors)\b|\bOpOf\b|\bLookupOp\b/;

test('ZK-19 no line of verifier and prover knows an op', () => {
  const paths = ['packages/verifier/src/zk', 'packages/prover/src'].flatMap((folder) =>
    globSync('**/*.ts', { cwd: join(ROOT, folder) }).map((path) => join(ROOT, folder, path)),
  );
  assert.ok(paths.length > 40, `${paths.length} files`);
  const found = paths.flatMap((path) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .flatMap((line, i) => (OPS.test(line) || KINDS.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
  );
  assert.deepEqual(found, []);
});
