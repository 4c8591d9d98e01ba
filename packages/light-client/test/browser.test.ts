/** The light client in a real browser, from the same source files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browserMissing, openInBrowser, serveSources } from '@haca/testkit/browser';
import { readVector, vectorNames, vectorsMissing } from './vector-files.ts';

const skip = browserMissing || vectorsMissing;

test('the light client gives every recorded verdict in a browser', { skip }, async (t) => {
  const names = vectorNames('single_step');
  assert.ok(names.length >= 20);
  const data = Object.fromEntries(names.map((name) => [name, () => readVector('single_step', name)]));
  const sources = await serveSources({ ...data, cases: () => names });
  t.after(sources.close);
  t.after(openInBrowser(sources.pageUrl('/packages/light-client/test/browser-page.ts')));
  const { error, userAgent, results } = (await sources.result) as {
    error?: string;
    userAgent: string;
    results: Record<string, { got: string[]; expected: string[] }>;
  };
  assert.equal(error, undefined);
  assert.match(userAgent, /Chrome/);
  assert.deepEqual(Object.keys(results).sort(), names.sort());
  for (const [name, { got, expected }] of Object.entries(results)) assert.deepEqual(got, expected, name);
});
