/** The model-based cases of the light client specification: a trusted block, headers to verify, recorded verdicts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { runSingleStepCase } from './single-step-cases.ts';
import { readVector, vectorNames, vectorsMissing } from './vector-files.ts';

test('recorded single-step cases', { skip: vectorsMissing }, async (context) => {
  const names = vectorNames('single_step');
  assert.ok(names.length >= 20, `only ${names.length} cases found`);
  for (const name of names) {
    await context.test(name, () => {
      const { got, expected, reasons } = runSingleStepCase(nodeCrypto, readVector('single_step', name));
      assert.deepEqual(got, expected, reasons.join(' | '));
    });
  }
});
