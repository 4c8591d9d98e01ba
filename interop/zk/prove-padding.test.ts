/**
 * Padding is "don't care": whatever stands in the padded cells of committed tensors, the proof is accepted. And what
 * stands in a real cell is not: each tensor of a witness in turn is changed by one, and the proof refused.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  blocksOf,
  encodeTensor,
  type PlanTensor,
  type Program,
  plan,
  publicTensorShapes,
  type TensorShape,
  unpadTensor,
} from '@haca/circuit';
import { P } from '@haca/primitives/zk';
import type { Assignment } from '@haca/prover';
import { assign } from '@haca/runtime';
import {
  createRandom,
  createZkGraph,
  exponentialList,
  mlp,
  PLAIN_LIST,
  softmaxOnly,
  tinyConv,
  type ZkExample,
} from '@haca/testkit';
import { evaluateDefinition, paddedCells, realCells, residuesOf } from './prove-evaluator.ts';
import {
  assertAccepted,
  assertRefused,
  type Network,
  openNetwork,
  proveTampered,
  statementFor,
  verdictOn,
} from './prove-harness.ts';

/** Products, a residual sum, a wire, sixteen bits and a selection in one network. */
function mixed(): ZkExample {
  const g = createZkGraph({ seed: 5 });
  const x = g.input('i8', [3, 5]);
  const w = g.weight('i8', [5, 5], -30, 30);
  const product = g.contract({ a: x, c: w, labelsA: [0, 2], labelsC: [1, 2], extents: [3, 5] });
  const y = g.requantize(product, { shift: 6, offset: 128, values: PLAIN_LIST });
  const sum = g.sum([{ x: y }, { x, coefficient: 2 }], [3, 5]);
  const wide = g.requantize16(sum, { shift: 1 });
  const scores = g.contract({ a: y, c: y, labelsA: [0, 2], labelsC: [1, 2], extents: [3, 3] });
  const narrow = g.requantize(scores, { shift: 8, offset: 128, values: PLAIN_LIST });
  const p = g.softmax(narrow, { keyBits: 9, exponentials: exponentialList(9, 10, 1 / 32) });
  const out = g.contract({ a: p, c: y, labelsA: [0, 2], labelsC: [2, 1], extents: [3, 5] });
  const low = g.requantize(wide, { shift: 4, offset: 128, values: PLAIN_LIST });
  return g.finish([out, g.top1(low)]);
}

const NETWORKS: Readonly<Record<string, () => ZkExample>> = {
  mlp: () => mlp([5, 3, 3]),
  convolution: () => tinyConv(),
  softmax: () => softmaxOnly(5, true),
  mixed,
};

/** Tensors whose padded cells an obligation reads too: there it says 0 = 0. */
function obliged(program: Program): Set<number> {
  const ids = new Set<number>();
  for (const step of program.steps) {
    if (step.kind !== 'tie') continue;
    if (!('maskExtents' in step.side)) ids.add(step.side.tensor);
    const { definition } = program.tensors[step.claim.tensor] as PlanTensor;
    if (definition.kind === 'contract') ids.add(definition.a);
  }
  return ids;
}

/** Padded cells that are committed: blocks without a real cell count as zero. */
function storedPadding({ key }: Network, tensor: PlanTensor): number[] {
  const blockBits = Math.min(key.columnBits, tensor.bits);
  const stored = blocksOf(tensor, blockBits);
  return paddedCells(tensor).filter((cell) => stored[Math.floor(cell / 2 ** blockBits)]);
}

/** All virtual tensors as the definitions give them for these committed ones. */
function completed(
  program: Program,
  honest: Assignment,
  changed: ReadonlyMap<number, Uint32Array>,
): Map<number, Uint32Array> {
  const all = new Map<number, Uint32Array>();
  for (const { id, storage } of program.tensors)
    all.set(
      id,
      storage === 'virtual'
        ? evaluateDefinition(program, id, (each) => all.get(each) as Uint32Array)
        : (changed.get(id) ?? residuesOf(honest.values(id))),
    );
  return all;
}

for (const [name, make] of Object.entries(NETWORKS)) {
  test(`${name}: the definitions say what the engine computes`, async () => {
    const network = await openNetwork(make());
    const statement = statementFor(network, 3);
    const program = plan(network.key, 3);
    const honest = assign(program, network.model, statement.inputs);
    for (const [id, cells] of completed(program, honest, new Map()))
      assert.deepEqual(cells, residuesOf(honest.values(id)), program.tensors[id]?.name);
  });

  test(`${name}: garbage in padded cells is accepted`, async () => {
    const network = await openNetwork(make());
    const random = createRandom(17);
    const statement = statementFor(network, 3);
    let garbage = 0;
    const proof = await proveTampered(network, statement, {
      values: (program, honest) => {
        const kept = obliged(program);
        const changed = new Map<number, Uint32Array>();
        for (const tensor of program.tensors) {
          if (tensor.storage !== 'witness' || kept.has(tensor.id)) continue;
          const cells = residuesOf(honest.values(tensor.id));
          for (const cell of storedPadding(network, tensor)) {
            cells[cell] = Math.floor(random() * P);
            garbage++;
          }
          changed.set(tensor.id, cells);
        }
        return completed(program, honest, changed);
      },
    });
    assert.ok(garbage > 0);
    assertAccepted(verdictOn(network, statement, proof), 'garbage');
  });

  test(`${name}: one real cell of any witness tensor off by one is refused`, async () => {
    const network = await openNetwork(make());
    const random = createRandom(3);
    const statement = statementFor(network, 2);
    const program = plan(network.key, 2);
    for (const tensor of program.tensors) {
      if (tensor.storage !== 'witness') continue;
      // Virtual tensors follow the change, or for some do not.
      for (const consistent of tensor.id % 3 === 0 ? [false, true] : [true]) {
        const proof = await proveTampered(network, statement, {
          values: (_, honest) => {
            const changed = new Map([[tensor.id, offByOne(tensor, honest, random)]]);
            return consistent ? completed(program, honest, changed) : changed;
          },
        });
        assertRefused(verdictOn(network, statement, proof), `${tensor.name}, ${consistent}`);
      }
    }
  });

  test(`${name}: another output is refused`, async () => {
    const network = await openNetwork(make());
    const statement = statementFor(network, 2);
    const program = plan(network.key, 2);
    for (const [i, { tensor }] of program.outputs.entries()) {
      const planned = program.tensors[tensor] as PlanTensor;
      const cells = offByOne(planned, assign(program, network.model, statement.inputs), createRandom(i));
      const outputs = [...statement.outputs];
      outputs[i] = bytesOf(network, i, planned, cells);
      const false_ = { ...statement, outputs };
      for (const consistent of [false, true]) {
        const proof = await proveTampered(network, statement, {
          statement: false_,
          values: (_, honest) =>
            consistent ? completed(program, honest, new Map([[tensor, cells]])) : new Map(),
        });
        assertRefused(verdictOn(network, false_, proof), `output ${i}, ${consistent}`);
      }
    }
  });
}

/** Adds one, or subtracts it where the tensor is at its upper bound. */
function offByOne(tensor: PlanTensor, honest: Assignment, random: () => number): Uint32Array {
  const values = honest.values(tensor.id);
  const cells = residuesOf(values);
  const real = realCells(tensor);
  const cell = real[Math.floor(random() * real.length)] as number;
  const down = (values[cell] as number) >= tensor.hi && tensor.hi > tensor.lo;
  cells[cell] = ((cells[cell] as number) + (down ? P - 1 : 1)) % P;
  return cells;
}

function bytesOf({ key }: Network, output: number, tensor: PlanTensor, residues: Uint32Array): Uint8Array {
  const values = Int32Array.from(residues, (value) => (value > P / 2 ? value - P : value));
  return encodeTensor(publicTensorShapes(key).outputs[output] as TensorShape, unpadTensor(tensor, values));
}
