import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { vectorsMissing } from '../../interop/tee-documents/vector-files.ts';
import { compareVerifiers } from './compare.ts';
import { DISAGREEMENTS } from './disagreements.ts';

/** Coarser than the run that writes the page, and fine enough to meet every disagreement. */
const STRIDE = 61;

test(
  'every disagreement with another verifier is explained, and every explanation is needed',
  {
    skip: vectorsMissing,
  },
  async (context) => {
    const { compared, missing, unused } = await compareVerifiers(STRIDE);
    for (const { name, missing: why } of missing) context.diagnostic(`not asked: ${name}: ${why}`);
    if (compared.length === 0) {
      context.skip(`no other verifier could be had: ${missing.map(({ missing: why }) => why).join('; ')}`);
      return;
    }
    const unexplained = compared.flatMap(({ rows }) =>
      rows.filter(({ explanation }) => explanation === null),
    );
    assert.deepEqual(unexplained, []);
    assert.deepEqual(unused, []);
    for (const { peer, asked, acceptedByBoth } of compared) {
      assert.ok(asked > 100, `${peer} was asked ${asked} times`);
      assert.ok(acceptedByBoth >= 2, `${peer} and we accept ${acceptedByBoth} cases together`);
    }
  },
);

test('the page lists every explanation', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/tee-differential.md'), 'utf8');
  for (const { why, peer } of DISAGREEMENTS) {
    assert.ok(page.includes(why), why);
    assert.ok(page.includes(`## ${peer}`), peer);
  }
});
