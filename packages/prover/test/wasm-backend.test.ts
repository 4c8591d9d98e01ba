/** The compiled backend, with one thread and with two, against the reference backend. */
import { after } from 'node:test';
import { referenceBackend } from '../src/reference-backend.ts';
import { wasmBackend } from '../src/wasm/backend.ts';
import { testConformance } from './backend-conformance.ts';

const one = wasmBackend();
testConformance(one, referenceBackend());

after(async () => {
  await one.close();
});
