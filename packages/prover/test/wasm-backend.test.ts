/** The compiled backend, on one thread and on several, against the reference backend. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { UsageError } from '@haca/primitives';
import { referenceBackend } from '../src/reference-backend.ts';
import { wasmBackend } from '../src/wasm/backend.ts';
import { testConformance } from './backend-conformance.ts';

const one = wasmBackend();
// Every job on three threads, however small it is.
const three = wasmBackend({ threads: 3, parallelWork: 0 });

before(three.ready);
after(three.close);

testConformance(one, referenceBackend());
testConformance(three, referenceBackend());

test('threads end with the process, which they do not keep alive', () => {
  const backendFile = JSON.stringify(new URL('../src/wasm/backend.ts', import.meta.url).href);
  const program = `
    import { wasmBackend } from ${backendFile};
    const backend = wasmBackend({ threads: 3, parallelWork: 0 });
    await backend.ready();
    backend.grind(new Uint8Array(32), 4);
    console.log(backend.evaluate([backend.upload(Int8Array.of(1, 2, 3, 4))], [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])[0][0]);
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.deepEqual([status, stdout, stderr], [0, '3\n', '']);
});

test('a count of threads that cannot be is refused', () => {
  for (const threads of [0, -1, 1.5, 65]) assert.throws(() => wasmBackend({ threads }), UsageError);
});

test('closing twice, and before the threads are up, is no mistake', async () => {
  const backend = wasmBackend({ threads: 2 });
  await backend.close();
  await backend.close();
  await backend.ready();
});
