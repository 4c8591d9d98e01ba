/** One real cell of one committed tensor of a random network changed: refused, whichever tensor it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyError, type PlanTensor } from '@haca/circuit';
import { createRandom } from '@haca/testkit';
import { falsified } from './verify-cheats.ts';
import { failureOf, proofOf, type Subject, subjectOf, verdictOn } from './verify-harness.ts';
import { randomGraph } from './verify-random-graphs.ts';

const SEEDS = 60;

/** The witness may choose among tied places of a maximum in a softmax. */
const isFree = ({ definition }: PlanTensor): boolean => definition.kind === 'one-hot';

function realCell({ extents, axisBits }: PlanTensor, random: () => number): number {
  return extents.reduce(
    (cell, extent, axis) => cell * 2 ** (axisBits[axis] as number) + Math.floor(random() * extent),
    0,
  );
}

async function lie(subject: Subject, tensor: PlanTensor, random: () => number): Promise<string> {
  const values = Int32Array.from(subject.assignment.values(tensor.id));
  const cell = realCell(tensor, random);
  values[cell] = (values[cell] as number) + (random() < 0.5 ? 1 : -1);
  const assignment = falsified(subject.program, subject.assignment, new Map([[tensor.id, values]]));
  return failureOf(verdictOn(subject, await proofOf(subject, { assignment })));
}

test('a digit, limb, maximum or result changed by one is refused', async (t) => {
  const byCheck = new Map<string, number>();
  for (let seed = 1001; seed <= 1000 + SEEDS; seed++) {
    const random = createRandom(seed);
    try {
      const subject = await subjectOf(randomGraph(seed), { batchSize: 1 + (seed % 3) });
      const witness = subject.program.tensors.filter(
        (each) => each.storage === 'witness' && each.definition.kind !== 'multiplicity' && !isFree(each),
      );
      for (let i = 0; i < Math.min(4, witness.length); i++) {
        const tensor = witness[Math.floor(random() * witness.length)] as PlanTensor;
        const id = await lie(subject, tensor, random).catch((cause) => {
          throw new Error(`${tensor.name} of seed ${seed}`, { cause });
        });
        byCheck.set(id, (byCheck.get(id) ?? 0) + 1);
      }
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
    }
  }
  t.diagnostic([...byCheck].map(([id, count]) => `${id} ${count}`).join(', '));
  assert.ok(byCheck.size > 0);
});
