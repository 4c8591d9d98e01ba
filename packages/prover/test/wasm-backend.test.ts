/** The compiled backend, on one thread and on several, against the reference backend. */
import { after, before } from 'node:test';
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
