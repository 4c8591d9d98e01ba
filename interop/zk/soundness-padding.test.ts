/**
 * Masks and bounds that keep padding and wrapped numbers out of results: what happens in a program that lacks one of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeVerifyingKey,
  KeyError,
  type PlanTensor,
  type Program,
  planRegistration,
  planWith,
  type VerifyingKey,
} from '@haca/circuit';
import { fromSigned, inverse, mul, P, pow } from '@haca/primitives/zk';
import { commitWeights, type ProverBackend, proveRegistration, referenceBackend } from '@haca/prover';
import { assign, createIntegerModel } from '@haca/runtime';
import { createZkGraph, mlp, PLAIN_LIST, type ZkExample, type ZkGraph, type ZkNode } from '@haca/testkit';
import { verifyZkRegistration } from '@haca/verifier';
import { set, tensorOf } from './cheats/cheat.ts';
import { type Forged, falseLookups, forge, type Lies, withInputs } from './cheats/forged.ts';
import { linearOutputs, probabilities, routed, throughWeight } from './cheats/networks.ts';
import { paddedCells } from './prove-evaluator.ts';
import {
  assertAccepted,
  FEW_QUERIES,
  failureOf,
  proofOf,
  type Subject,
  subjectOf,
  verdictOn,
} from './verify-harness.ts';

const anchored = (g: ZkGraph, x: ZkNode): ZkNode =>
  g.requantize(throughWeight(g, x), { shift: 0, offset: 128, values: PLAIN_LIST });

/** An anchor of five read by a product, by a sum over positions and as patches. */
function readers(): ZkExample {
  const g = createZkGraph();
  const x = anchored(g, g.input('i8', [5], -20, 20));
  const numbers = { stride: 1, dilation: 1, pad: 0, start: 0 };
  const patches = g.wire(x, [{ kind: 'window', x: 0, yPosition: 0, yTap: 1, ...numbers, start: 1 }], [3, 3]);
  return g.finish([
    g.contract({ a: x, c: g.weight('i8', [2, 5], 1, 5), labelsA: [1], labelsC: [0, 1], extents: [2] }),
    g.contract({ a: x, labelsA: [0], extents: [] }),
    g.contract({ a: patches, c: g.weight('i8', [3], 1, 5), labelsA: [0, 1], labelsC: [1], extents: [3] }),
  ]);
}

/**
 * Garbage in the padded cells of the witness, multiplicities left out. What a tie adds up or compares is free only behind
 * the end of a row: elsewhere the tie says that padding is zero.
 */
function garbage({ program }: Subject): Lies {
  const compared = new Set<number>();
  const addedUp = new Set<number>();
  for (const step of program.steps) {
    if (step.kind !== 'tie') continue;
    if (!('maskExtents' in step.side)) compared.add(step.side.tensor);
    const { definition } = program.tensors[step.claim.tensor] as PlanTensor;
    if (definition.kind === 'contract') addedUp.add(definition.a);
  }
  const isFree = ({ id, extents, axisBits }: PlanTensor, cell: number): boolean => {
    const last = extents.length - 1;
    return !addedUp.has(id) || cell % 2 ** (axisBits[last] as number) >= (extents[last] as number);
  };
  return new Map(
    program.tensors
      .filter(
        ({ id, storage, definition }) =>
          storage === 'witness' && definition.kind !== 'multiplicity' && !compared.has(id),
      )
      .map((tensor) => [
        tensor.id,
        (cells): void => {
          for (const cell of paddedCells(tensor))
            if (isFree(tensor, cell)) cells[cell] = 1 + ((cell * 7919 + tensor.id) % 97);
        },
      ]),
  );
}

const tensorsWith = (program: Program, id: number, change: Partial<PlanTensor>): Program => ({
  ...program,
  tensors: program.tensors.map((each) => (each.id === id ? { ...each, ...change } : each)),
});

const full = (axisBits: readonly number[]): number[] => axisBits.map((bits) => 2 ** bits);

/**
 * By what was removed: a program without one mask. Left out are masks behind which there are zeros anyway: where the
 * other factor is a weight, whose padding registration proves to be zero, and outputs that no garbage reaches.
 */
function unmasked({ program, read }: Forged): Record<string, Program> {
  const mutants: Record<string, Program> = {};
  for (const [i, { name, bits, extents, axisBits }] of program.lookups.entries()) {
    if (extents.every((extent, axis) => extent === 2 ** (axisBits[axis] as number))) continue;
    const numerator = { kind: 'blocks' as const, blockBits: bits, blocks: [0] };
    mutants[`lookup ${name}`] = {
      ...program,
      lookups: program.lookups.map((each, k) => (k === i ? { ...each, numerator } : each)),
    };
  }
  for (const [i, step] of program.steps.entries()) {
    const name = `step ${i} ${step.kind}`;
    const replace = (by: typeof step): Program => ({ ...program, steps: program.steps.with(i, by) });
    if (step.kind === 'output') {
      const tensor = program.tensors[step.out.tensor] as PlanTensor;
      const { axisBits } = tensor;
      if (paddedCells(tensor).some((cell) => read(tensor.id)[cell] !== 0))
        mutants[name] = tensorsWith(program, step.out.tensor, { extents: full(axisBits) });
    }
    if (step.kind === 'tie' && 'maskExtents' in step.side) {
      const { axisBits, extents } = program.tensors[step.claim.tensor] as PlanTensor;
      if (extents.some((extent, axis) => extent !== 2 ** (axisBits[axis] as number)))
        mutants[name] = replace({ ...step, side: { ...step.side, maskExtents: full(axisBits) } });
    }
    if (step.kind === 'contract' && step.contracted.some(({ masked }) => masked)) {
      if (step.c !== null && program.tensors[step.c.tensor]?.storage === 'weight') continue;
      const contracted = step.contracted.map((label) => ({ ...label, masked: false }));
      mutants[name] = replace({ ...step, contracted });
    }
  }
  return mutants;
}

for (const [name, network] of Object.entries({
  readers,
  softmax: () => probabilities(false),
  routing: routed,
  outputs: linearOutputs,
}))
  test(`ZK-24 masks of ${name}: garbage in the padding is accepted with the same outputs, and refused without any of them`, async () => {
    const honest = await subjectOf(network(), { batchSize: 3 });
    const dirty = forge(honest, garbage(honest));
    assert.deepEqual(dirty.statement.outputs, honest.statement.outputs);
    assertAccepted(verdictOn(dirty, await proofOf(dirty)));
    const mutants = Object.entries(unmasked(dirty));
    assert.ok(mutants.length >= 4);
    for (const [what, program] of mutants) {
      // The same witness: only the masks of what is proved are gone.
      const without = { ...dirty, program };
      assert.match(
        failureOf(verdictOn(without, await proofOf(without))),
        /^zk\.(gkr-root|step|output)/,
        what,
      );
    }
  });

test('ZK-24 a contraction without its mask adds up garbage, and a wire without its bound reads it', async () => {
  const honest = withInputs(await subjectOf(readers()), [[1, 2, 3, 4, 5]]);
  const { program } = honest;
  const anchor = tensorOf(program, 'op 1 requantize').id;
  const lies: Lies = new Map([[anchor, set({ 5: 100, 6: 50, 7: 25 })]]);
  const mutants: Record<string, Program> = {};
  for (const [i, step] of program.steps.entries()) {
    if (step.kind !== 'contract' || step.contracted.every(({ masked }) => !masked)) continue;
    const { definition } = program.tensors[step.claim.tensor] as PlanTensor;
    if (definition.kind !== 'contract' || definition.a !== anchor || definition.c !== 'ones') continue;
    const contracted = step.contracted.map((label) => ({ ...label, extent: 2 ** label.bits, masked: false }));
    const results = definition.extents.length - contracted.length;
    const extents = [...definition.extents.slice(0, results), ...contracted.map(({ extent }) => extent)];
    mutants[`contract ${i}`] = tensorsWith(
      { ...program, steps: program.steps.with(i, { ...step, contracted }) },
      step.claim.tensor,
      { definition: { ...definition, extents } },
    );
  }
  const patches = tensorOf(program, 'op 2 wire');
  assert.ok(patches.definition.kind === 'wire');
  // One position further: its last tap lies behind the row.
  const relations = patches.definition.relations.map((relation) =>
    relation.kind === 'same' ? relation : { ...relation, start: 2, long: { ...relation.long, extent: 8 } },
  );
  mutants['wire'] = tensorsWith(program, patches.id, { definition: { ...patches.definition, relations } });
  assert.equal(Object.keys(mutants).length, 2);
  const clean = forge(honest, lies);
  assert.deepEqual(clean.statement.outputs, honest.statement.outputs);
  for (const [what, mutant] of Object.entries(mutants)) {
    const dirty = forge(honest, lies, mutant);
    assert.notDeepEqual(dirty.statement.outputs, honest.statement.outputs, what);
    assertAccepted(verdictOn(dirty, await proofOf(dirty)));
    const asked = { ...dirty, program };
    assert.equal(asked.program, honest.program);
    assert.match(failureOf(verdictOn(asked, await proofOf(asked))), /^zk\.(step|output)/, what);
  }
});

test('ZK-27 a stored cell of the weights that pads them is not zero', async () => {
  const { key: draft, weights } = mlp([5, 3, 3]);
  const honest = referenceBackend();
  for (const [value, accepted] of [
    [0, true],
    [1, false],
    [2 ** 20, false],
  ] as const) {
    const upload: ProverBackend['upload'] = (values) => {
      // The first layer's weights: 3 × 5 in a cube of 4 × 8.
      if (values.length !== 32 || value === 0) return honest.upload(values);
      const cells = Int32Array.from(values);
      cells[7] = value;
      return honest.upload(cells);
    };
    const backend = { ...honest, upload };
    const committed = await commitWeights({ key: draft, weights, backend });
    const key = { ...draft, weightCap: committed.cap };
    const assignment = assign(planRegistration(key), createIntegerModel({ key: draft, weights }), []);
    const proof = await proveRegistration({ key, assignment, committed, backend });
    const verdict = verifyZkRegistration({ verifyingKey: encodeVerifyingKey(key), proof });
    assert.equal(verdict.ok, accepted);
    if (!accepted) assert.equal(failureOf(verdict), 'zk.gkr-root');
  }
});

/** Exact requantization of a zero by 18 bits, window 11. */
function wide(): ZkExample {
  const g = createZkGraph({ limbBits: 10 });
  const x = throughWeight(g, g.input('u8', [2], 0, 3));
  const values = Array.from({ length: 2 ** 11 }, (_, i) => i % 100);
  return g.finish([g.requantize(x, { shift: 18, mode: 'exact', window: 11, values })]);
}

/** The same with a shift of 20 bits and nothing added, which no key may say: 2^31 is more than p. */
function wider({ program }: Subject): Program {
  const window = tensorOf(program, 'window');
  const { definition } = window;
  assert.ok(definition.kind === 'sum');
  const quarter = inverse(4);
  const terms = definition.terms.map((term) => ({ ...term, coefficient: mul(term.coefficient, quarter) }));
  const mutant = tensorsWith(program, window.id, { definition: { ...definition, constant: 0, terms } });
  const lookups = mutant.lookups.map((lookup) => {
    if (!lookup.name.endsWith('remainder limb 1')) return lookup;
    const [limb, , zero] = lookup.tuple;
    return { ...lookup, tuple: [limb, { kind: 'constant' as const, value: 10 }, zero] as const };
  });
  return { ...mutant, lookups };
}

test('ZK-14 digits that range over more than p: zero is also 1 + 1920 · 2^20', async () => {
  assert.equal(1 + 1920 * 2 ** 20, P);
  const honest = withInputs(await subjectOf(wide()), [[0, 0]]);
  const { key, program } = honest;
  const mutant = wider(honest);
  const digits = (values: Readonly<Record<string, number>>): Lies =>
    new Map(
      Object.entries(values).map(([name, value]) => [tensorOf(program, name).id, set({ 0: value, 1: 0 })]),
    );
  const limbs = { 'remainder limb 0': 0, 'remainder limb 1': 0, 'op 1 requantize': 0 };
  const truth = forge(honest, zeroed(program), mutant);
  assertAccepted(verdictOn(truth, await proofOf(truth)));
  const lies = new Map([
    ...zeroed(program),
    ...digits({ ...limbs, 'remainder limb 0': 1, 'op 1 requantize': 1920 % 100 }),
  ]);
  const lying = forge(honest, lies, mutant);
  assert.deepEqual(falseLookups(lying), []);
  assert.notDeepEqual(lying.statement.outputs, truth.statement.outputs);
  assertAccepted(verdictOn(lying, await proofOf(lying)));
  assert.equal(fromSigned(lying.read(tensorOf(program, 'window').id)[0] as number), 1920);
  assert.equal(mul(1920, pow(2, 20)), P - 1);

  const shifted = {
    ...key,
    ops: key.ops.map((op) => (op.kind === 'requantize' ? { ...op, shift: 20 } : op)),
  };
  refusedFor('representation', shifted);
});

/** Limbs of nothing: the mutant adds nothing before it shifts. */
const zeroed = (program: Program): Lies =>
  new Map(
    ['remainder limb 0', 'remainder limb 1', 'op 1 requantize'].map((name) => [
      tensorOf(program, name).id,
      set({ 0: 0, 1: 0 }),
    ]),
  );

function refusedFor(rule: string, key: VerifyingKey): void {
  assert.throws(
    () => planWith(key, 1, FEW_QUERIES),
    (error) => error instanceof KeyError && error.rule === rule,
  );
}

test('ZK-8 ZK-14 a sum that may leave the range of its digits is no key', async () => {
  const g = createZkGraph();
  const x = g.input('i8', [8]);
  const w = g.weight('i8', [2, 8], -128, 127);
  const y = g.contract({ a: x, c: w, labelsA: [1], labelsC: [0, 1], extents: [2] });
  const { key } = g.finish([g.requantize(y, { shift: 20, window: 8, values: PLAIN_LIST })]);
  const sized = (terms: number): VerifyingKey => ({
    ...key,
    tensors: key.tensors.map((tensor) => ({
      ...tensor,
      extents: tensor.extents.map((extent) => (extent === 8 ? terms : extent)),
    })),
    ops: key.ops.map((op) => (op.kind === 'requantize' ? { ...op, overflowBits: 2 } : op)),
    columnBits: 12,
    folds: [4, 4],
    finalBits: 4,
    weightCap: new Uint8Array(32 * 128),
  });
  // 2^29 - 2^19 - 1 over 2^14 on the upper side.
  const most = Math.floor((2 ** 29 - 2 ** 19 - 1) / 2 ** 14);
  assert.equal(planWith(sized(most), 1, FEW_QUERIES).batchSize, 1);
  refusedFor('representation', sized(most + 1));
  refusedFor('representation', sized(33_027));
  // Beyond (p - 1) / 2 it is not even an interval.
  refusedFor('interval', sized(2 ** 17));
});
