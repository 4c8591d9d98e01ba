/** Claims and counts: readers of one tensor that see two, outputs, inputs, multiplicities, tables with one row too many. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeTensor, type PlanTensor, type Program, publicTensorShapes } from '@haca/circuit';
import { EXT_ZERO, P } from '@haca/primitives/zk';
import type { Verdict } from '@haca/protocol';
import type { LeafSegment, ProverBackend } from '@haca/prover';
import type { ZkExample } from '@haca/testkit';
import { CHECKS, type CheckName } from '@haca/verifier/zk-testing';
import { proofOfLie, set, tensorOf } from './cheats/cheat.ts';
import { falseLookups, forge, type Lies, outputOf, withInputs } from './cheats/forged.ts';
import { readersOf, withoutSteps, withSplitReaders } from './cheats/mutants.ts';
import {
  gathered,
  linearOutputs,
  pooled,
  probabilities,
  REQUANTIZE_INPUT,
  requantized,
  residual,
  signed,
} from './cheats/networks.ts';
import { assertAccepted, failureOf, proofOf, type Subject, subjectOf, verdictOn } from './verify-harness.ts';

const codeOf = ({ checks }: Verdict): { readonly code?: string } =>
  checks.find(({ status }) => status === 'failed') ?? {};

/** The readers of a tensor, those of one op together. */
function groupedReaders(program: Program, tensor: number): number[][] {
  const groups = new Map<string, number[]>();
  for (const id of readersOf(program, tensor)) {
    const op = /^op \d+/.exec((program.tensors[id] as PlanTensor).name)?.[0] ?? '';
    groups.set(op, [...(groups.get(op) ?? []), id]);
  }
  return [...groups.values()];
}

test('ZK-18 a tensor with several readers: each in turn is shown another one', async () => {
  const subject = await subjectOf(residual(), { batchSize: 3 });
  const { program } = subject;
  const seen = new Map<string, number>();
  for (const { id, name, storage } of program.tensors) {
    const groups = groupedReaders(program, id);
    if (groups.length < 2 || (storage !== 'witness' && storage !== 'virtual')) continue;
    for (const readers of groups) {
      const show = (from: Program): { prover: Subject; verifier: Subject } => {
        const split = withSplitReaders(from, id, readers);
        const shift: Lies = new Map([
          [
            split.copy,
            (cells) => {
              for (const cell of [0, 1, 2]) cells[cell] = (cells[cell] as number) > 0 ? -20 : 20;
            },
          ],
        ]);
        const forged = forge(subject, shift, split.program);
        assert.deepEqual(falseLookups(forged), []);
        assert.notDeepEqual(forged.statement.outputs, subject.statement.outputs);
        return { prover: forged, verifier: { ...forged, program: from } };
      };
      const { prover, verifier } = show(program);
      const proof = await proofOf(prover);
      assert.match(failureOf(verdictOn(verifier, proof)), storage === 'witness' ? /rows|step/ : /step/);
      const { code } = codeOf(verdictOn(verifier, proof));
      if (code === CHECKS.aggregate.code) {
        const unlinked = show(
          withoutSteps(program, (step) => step.kind === 'aggregate' && step.tensor === id),
        );
        assertAccepted(verdictOn(unlinked.verifier, await proofOf(unlinked.prover)));
        continue;
      }
      // Two readers at one point share a value, and the second is compared with it.
      const omit = new Set<CheckName>([code === CHECKS.sum.code ? 'sum' : 'rows']);
      const next = verdictOn(verifier, proof, { omit });
      if (codeOf(next).code === CHECKS.aggregate.code) omit.add('aggregate');
      assertAccepted(verdictOn(verifier, proof, { omit }));
    }
    seen.set(name, groups.length);
  }
  assert.deepEqual(
    [...seen],
    [
      ['op 1 requantize', 3],
      ['op 4 contract', 3],
    ],
  );
});

/** The statement with another value in one cell of an output. */
function withOutput(subject: Subject, output: number, cell: number, by: number): Subject {
  const shape = publicTensorShapes(subject.key).outputs[output];
  assert.ok(shape !== undefined);
  const values = outputOf(subject, output);
  values[cell] = (values[cell] as number) + ((values[cell] as number) + by > shape.hi ? -by : by);
  const outputs = subject.statement.outputs.with(output, encodeTensor(shape, values));
  return { ...subject, statement: { ...subject.statement, outputs } };
}

for (const batchSize of [1, 3])
  test(`ZK-24 outputs of linear ops: after a product, a bias, a transpose, a sum, as an index; batch of ${batchSize}`, async () => {
    const subject = await subjectOf(linearOutputs(), { batchSize });
    const { program } = subject;
    const steps = program.steps.filter((step) => step.kind === 'output');
    assert.equal(steps.length, 5);
    for (const [output, { tensor }] of program.outputs.entries())
      for (const cell of [0, outputOf(subject, output).length - 1]) {
        const lying = withOutput(subject, output, cell, 1);
        const proof = await proofOf(lying);
        assert.equal(failureOf(verdictOn(lying, proof)), 'zk.output');
        assertAccepted(verdictOn(lying, proof, { omit: new Set(['output'] as const) }));
        const mutant = withoutSteps(program, (step) => step.kind === 'output' && step.tensor === tensor);
        const without = { ...lying, program: mutant };
        assertAccepted(verdictOn(without, await proofOf(without)));
      }
  });

test('ZK-24 an output that a table gives is compared where it is looked up', async () => {
  const lying = withOutput(await subjectOf(requantized(true)), 0, 2, 1);
  const proof = await proofOf(lying);
  assert.equal(failureOf(verdictOn(lying, proof)), 'zk.lookup');
  assertAccepted(verdictOn(lying, proof, { omit: new Set(['denominator'] as const) }));
});

test('ZK-24 the input that was computed from is the one of the statement', async () => {
  const subject = withInputs(await subjectOf(requantized(false)), [REQUANTIZE_INPUT]);
  const other = withInputs(subject, [REQUANTIZE_INPUT.with(2, 4)]);
  assert.notDeepEqual(other.statement.outputs, subject.statement.outputs);
  const lying = { ...other, statement: { ...other.statement, inputs: subject.statement.inputs } };
  assert.equal(failureOf(verdictOn(lying, await proofOf(lying))), 'zk.public-evaluation');
  const mutant = withoutSteps(lying.program, ({ kind }) => kind === 'public');
  const without = { ...lying, program: mutant };
  assertAccepted(verdictOn(without, await proofOf(without)));
});

test('ZK-23 values outside an interval and other lengths are refused before anything is read', async () => {
  const subject = await subjectOf(requantized(true));
  const proof = await proofOf(subject);
  const { statement } = subject;
  const refused = (changes: Partial<typeof statement>): void =>
    assert.equal(
      failureOf(verdictOn(subject, proof, { statement: { ...statement, ...changes } })),
      'zk.public',
    );
  for (const value of [-65, 61, 127]) refused({ inputs: [new Uint8Array(6).fill(value)] });
  for (const value of [4, 255]) refused({ outputs: [new Uint8Array(6).fill(value)] });
  for (const length of [0, 5, 7]) {
    refused({ inputs: [new Uint8Array(length)] });
    refused({ outputs: [new Uint8Array(length)] });
  }
});

test('ZK-23 an id without a row, whether in the padding of the table or beyond it', async () => {
  const subject = await subjectOf(gathered());
  const proof = await proofOf(subject);
  for (const id of [5, 7, 8, 2 ** 31 - 1, -1]) {
    const inputs = [new Uint8Array(Int32Array.of(0, id, 1).buffer)];
    const verdict = verdictOn(subject, proof, { statement: { ...subject.statement, inputs } });
    assert.equal(failureOf(verdict), 'zk.public');
  }
});

/** By tensor name, more or less of some rows' counts. */
const counted = (subject: Subject, name: string, changes: Readonly<Record<number, number>>): Lies =>
  new Map([
    [
      tensorOf(subject.program, name).id,
      (cells) => {
        for (const [row, by] of Object.entries(changes))
          cells[Number(row)] = (cells[Number(row)] as number) + by;
      },
    ],
  ]);

test('ZK-24 multiplicities: more, fewer, moved, negative; counts of equal rows may be shared out', async () => {
  const subject = withInputs(await subjectOf(signed()), [REQUANTIZE_INPUT]);
  const table = subject.program.tables.find(({ kind }) => kind === 'activation');
  assert.ok(table !== undefined && table.rows < 2 ** table.bits);
  const name = `multiplicities of ${table.name}`;
  const last = table.rows - 1;
  for (const changes of [
    { 4: 1 },
    { 4: -1 },
    { 4: 1, 5: -1 },
    { 3: P - 1 },
    { 0: 5, 1: -5 },
    { [last]: 1 },
  ]) {
    const lying = forge(subject, counted(subject, name, changes));
    assert.equal(failureOf(verdictOn(lying, await proofOf(lying))), 'zk.gkr-root', JSON.stringify(changes));
  }
  for (const changes of [
    { [last]: -2, [last + 1]: 2 },
    { [last]: 3, [last + 2]: -3 },
  ]) {
    const sharing = forge(subject, counted(subject, name, changes));
    assertAccepted(verdictOn(sharing, await proofOf(sharing)));
  }
});

test('ZK-24 a tuple outside the table is not made up for by any count', async () => {
  const subject = withInputs(await subjectOf(requantized(true)), [REQUANTIZE_INPUT]);
  const table = subject.program.tables.findIndex(({ kind }) => kind === 'activation');
  const { bits, multiplicity } = subject.program.tables[table] as Program['tables'][number];
  const y = tensorOf(subject.program, 'op 1 requantize').id;
  for (let row = 0; row < 2 ** bits; row++)
    for (const by of [1, -1]) {
      const lies: Lies = new Map([
        [y, set({ 2: 1 })],
        [multiplicity, (cells) => cells.splice(row, 1, (cells[row] as number) + by)],
      ]);
      const lying = forge(subject, lies);
      assert.equal(failureOf(verdictOn(lying, await proofOf(lying))), 'zk.gkr-root');
    }
});

/** The program whose tables are filled up with zeros instead. */
function zeroPadded(program: Program): Program {
  const tables = program.tables.map((table) => {
    const columns = table.columns.map((column) =>
      column.slice().fill(0, table.rows),
    ) as unknown as typeof table.columns;
    const rowOf: typeof table.rowOf = (c0, c1, c2) => {
      const row = table.rowOf(c0, c1, c2);
      return row < 0 && c0 === 0 && c1 === 0 && c2 === 0 && table.rows < 2 ** table.bits ? table.rows : row;
    };
    return { ...table, columns, rowOf };
  });
  return { ...program, tables };
}

const ZERO_ROWS: Readonly<
  Record<
    string,
    {
      network: () => ZkExample;
      inputs: number[];
      lies: Readonly<Record<string, Readonly<Record<number, number>>>>;
    }
  >
> = {
  // The window digit 0 stands for -4.
  activation: { network: signed, inputs: [0, -18, 0, 0, 0, 0], lies: { 'op 1 requantize': { 1: 0 } } },
  // The list has 5 at 0.
  values: { network: pooled, inputs: [0, 0, 1, 1, 2, 2], lies: { 'op 4 table': { 0: 0 } } },
  // A place of the maximum without an exponential, beside another one.
  exponential: {
    network: () => probabilities(false),
    inputs: [6, 6, 1, 0, 0, 0, 0, 0, 0],
    lies: { 'op 1 softmax place of the maximum': { 0: 0, 1: 1 }, 'op 1 softmax exponential': { 0: 0 } },
  },
};

for (const [kind, { network, inputs, lies }] of Object.entries(ZERO_ROWS))
  test(`ZK-16 a row of zeros is in no table that lacks it: ${kind}`, async () => {
    const subject = withInputs(await subjectOf(network()), [inputs]);
    const { program } = subject;
    const told: Lies = new Map(
      Object.entries(lies).map(([name, values]) => [tensorOf(program, name).id, set(values)]),
    );
    const lying = forge(subject, told);
    assert.notDeepEqual(lying.statement.outputs, subject.statement.outputs);
    assert.equal(failureOf(verdictOn(lying, await proofOf(lying))), 'zk.gkr-root');
    const mutant = forge(subject, told, zeroPadded(program));
    assertAccepted(verdictOn(mutant, await proofOfLie(mutant, told)));
  });

test('ZK-16 tables of every kind of key repeat their last row', async () => {
  for (const network of [signed, pooled, residual, () => probabilities(true), linearOutputs]) {
    const { program } = await subjectOf(network());
    for (const { columns, rows, bits } of program.tables)
      for (const column of columns)
        for (let row = rows; row < 2 ** bits; row++) assert.equal(column[row], column[rows - 1]);
  }
});

/**
 * A fraction tree in which all leaves of one lookup have denominator zero, as if γ had been known when the witness was
 * chosen: with two of them, every node above is 0/0, and any sum is zero. The prover looks at the root before it sends
 * it; it is shown another one first.
 */
function withVanishingLeaves(subject: Subject): Subject {
  const honest = subject.backend;
  const fractionTree: ProverBackend['fractionTree'] = (treeBits, segments) => {
    const vanishing = (segment: LeafSegment, i: number): LeafSegment =>
      i === 0 ? { ...segment, constant: EXT_ZERO, terms: [], maskCoefficient: null } : segment;
    const tree = honest.fractionTree(treeBits, segments.map(vanishing));
    const shown = honest.fractionTree(treeBits, segments).top;
    let reads = 0;
    return {
      ...tree,
      get top() {
        return reads++ === 0 ? shown : tree.top;
      },
    };
  };
  const backend = { ...honest, fractionTree };
  return { ...subject, backend, committed: { ...subject.committed, backend } };
}

test('ZK-24 leaves of denominator zero would make any sum zero', async () => {
  const subject = withInputs(await subjectOf(requantized(true)), [REQUANTIZE_INPUT]);
  const y = tensorOf(subject.program, 'op 1 requantize').id;
  const lying = withVanishingLeaves(forge(subject, new Map([[y, set({ 2: 1 })]])));
  const proof = await proofOf(lying);
  const omitting = (
    ...names: readonly ('zero-denominator' | 'denominator')[]
  ): ReturnType<typeof verdictOn> => verdictOn(lying, proof, { omit: new Set(names) });
  assert.equal(failureOf(omitting()), 'zk.degenerate');
  // γ is not known before the witness is bound, so the leaves are not those that the verifier finds.
  assert.equal(failureOf(omitting('zero-denominator')), 'zk.lookup');
  assert.equal(failureOf(omitting('denominator')), 'zk.degenerate');
  assertAccepted(omitting('zero-denominator', 'denominator'));
});
