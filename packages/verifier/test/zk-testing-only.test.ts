import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../../', import.meta.url).pathname;

test('nothing but tests can take a check out of the verifier', () => {
  const sources = globSync(['packages/*/src/**/*.ts', 'apps/**/*.ts'], { cwd: root }).filter(
    (path) => !/node_modules|\.test\.ts$|zk\/testing\.ts$/.test(path),
  );
  assert.ok(sources.length > 100);
  const users = sources.filter((path) => {
    const text = readFileSync(`${root}${path}`, 'utf8');
    return text.includes('@haca/verifier/zk-testing') || /\bomit:|zk\/testing\.ts/.test(text);
  });
  assert.deepEqual(users, []);
});
