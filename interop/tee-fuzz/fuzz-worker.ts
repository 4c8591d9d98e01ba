/** The thread that fuzzes one parser at a time. What it works on lies in memory that the watching thread reads. */
import { parentPort, workerData } from 'node:worker_threads';
import { INPUT_MAX_BYTES } from './byte-mutations.ts';
import { fuzzParser } from './fuzz-parser.ts';
import { PARSERS } from './parsers.ts';

export interface FuzzWorkerData {
  readonly seed: number;
  readonly shared: SharedArrayBuffer;
}

export interface FuzzJob {
  readonly parser: string;
  readonly inputs: number;
}

/** Number of the input, its length, then its bytes. */
export const SHARED_HEAD_BYTES = 8;
export const SHARED_BYTES = SHARED_HEAD_BYTES + INPUT_MAX_BYTES;

if (parentPort !== null) {
  const port = parentPort;
  const { seed, shared } = workerData as FuzzWorkerData;
  const head = new Int32Array(shared, 0, 2);
  const bytes = new Uint8Array(shared, SHARED_HEAD_BYTES);
  port.on('message', ({ parser: name, inputs }: FuzzJob) => {
    const parser = PARSERS.find((each) => each.name === name);
    if (parser === undefined) throw new RangeError(`no parser ${name}`);
    const beforeInput = (number: number, input: Uint8Array): void => {
      bytes.set(input);
      head[1] = input.length;
      head[0] = number;
    };
    port.postMessage(fuzzParser(parser, { seed, inputs, beforeInput }));
  });
}
