import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyError } from '@haca/circuit';
import { assertAccepted, failureOf, proofOf, subjectOf, verdictOn } from './verify-harness.ts';
import { randomGraph } from './verify-random-graphs.ts';

const SEEDS = 120;

test('ZK-13: whatever random network the contract takes is proved and accepted; its outputs are no others', async (t) => {
  const refusals = new Map<string, number>();
  let proved = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const batchSize = 1 + (seed % 3);
    try {
      const subject = await subjectOf(randomGraph(seed), { batchSize });
      const proof = await proofOf(subject);
      const { statement } = subject;
      try {
        assertAccepted(verdictOn(subject, proof));
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause });
      }
      const outputs = statement.outputs.map((bytes, i) =>
        i === 0 ? bytes.with(0, (bytes[0] as number) ^ 1) : bytes,
      );
      failureOf(verdictOn(subject, proof, { statement: { ...statement, outputs } }));
      proved++;
    } catch (error) {
      if (!(error instanceof KeyError)) throw new Error(`seed ${seed}`, { cause: error });
      refusals.set(error.rule, (refusals.get(error.rule) ?? 0) + 1);
    }
  }
  t.diagnostic(
    `${proved} proved; refused: ${[...refusals].map(([rule, count]) => `${rule} ${count}`).join(', ')}`,
  );
  assert.ok(proved > SEEDS / 3);
});
