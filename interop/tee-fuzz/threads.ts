/** Parsers fuzzed on a few threads, each watched: an input that never ends is a fault like any other. */
import { Worker } from 'node:worker_threads';
import type { Fault, ParserFigures } from './fuzz-parser.ts';
import { type FuzzJob, type FuzzWorkerData, SHARED_BYTES, SHARED_HEAD_BYTES } from './fuzz-worker.ts';
import type { FuzzedParser } from './parsers.ts';

const HANG_MS = 20_000;
const LOOK_EVERY_MS = 1_000;

export interface ThreadsRun {
  readonly seed: number;
  /** For each parser, times its share. */
  readonly inputs: number;
  readonly threads: number;
  readonly say: (line: string) => void;
}

export async function fuzzInThreads(
  parsers: readonly FuzzedParser[],
  run: ThreadsRun,
): Promise<readonly ParserFigures[]> {
  const queue = [...parsers];
  const figures: ParserFigures[] = [];
  const runThread = async (): Promise<void> => {
    for (let parser = queue.shift(); parser !== undefined; parser = queue.shift()) {
      const inputs = Math.ceil(run.inputs * (parser.share ?? 1));
      const result = await fuzzInThread(parser, { ...run, inputs });
      figures.push(result);
      run.say(figuresText(result));
    }
  };
  await Promise.all(Array.from({ length: run.threads }, runThread));
  return parsers.flatMap(({ name }) => figures.filter(({ parser }) => parser === name));
}

/** A thread of its own for each parser, so that the heap measured is that of this parser. */
function fuzzInThread(parser: FuzzedParser, { seed, inputs }: ThreadsRun): Promise<ParserFigures> {
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const workerData: FuzzWorkerData = { seed, shared };
  const worker = new Worker(new URL('fuzz-worker.ts', import.meta.url), { workerData });
  return new Promise((settle, fail) => {
    const stopWatching = watch(shared, (fault) => {
      void worker.terminate();
      settle(lost(parser, inputs, { ...fault, parser: parser.name }));
    });
    worker.once('message', (result: ParserFigures) => {
      stopWatching();
      void worker.terminate();
      settle(result);
    });
    worker.once('error', (error) => {
      stopWatching();
      fail(error);
    });
    worker.postMessage({ parser: parser.name, inputs } satisfies FuzzJob);
  });
}

/** Calls `hang` once the number of the input stood still for too long. */
function watch(shared: SharedArrayBuffer, hang: (fault: Omit<Fault, 'parser'>) => void): () => void {
  const head = new Int32Array(shared, 0, 2);
  let [seen, since] = [-1, performance.now()];
  const timer = setInterval(() => {
    const [number = 0, length = 0] = head;
    if (number !== seen) [seen, since] = [number, performance.now()];
    else if (performance.now() - since > HANG_MS) {
      clearInterval(timer);
      const input = new Uint8Array(shared, SHARED_HEAD_BYTES, length).slice();
      hang({ number, what: `did not end within ${HANG_MS} ms`, input });
    }
  }, LOOK_EVERY_MS);
  return () => clearInterval(timer);
}

function lost({ name }: FuzzedParser, inputs: number, fault: Fault): ParserFigures {
  return {
    parser: name,
    inputs,
    accepted: 0,
    codes: 0,
    inputsPerSecond: 0,
    parseUs: 0,
    meanBytes: 0,
    worstMs: HANG_MS,
    worstBytes: fault.input.length,
    heapGrowthBytes: 0,
    faults: [fault],
  };
}

function figuresText(result: ParserFigures): string {
  const { parser, inputs, accepted, codes, inputsPerSecond, parseUs, meanBytes, worstMs, heapGrowthBytes } =
    result;
  return (
    `  ${parser.padEnd(24)} ${inputs.toLocaleString('en').padStart(11)}  ${accepted.toLocaleString('en')} taken, ` +
    `${codes} codes, ${inputsPerSecond.toLocaleString('en')}/s of ${meanBytes} bytes, ${parseUs.toFixed(1)} µs each, worst ${worstMs.toFixed(1)} ms, ` +
    `heap ${heapGrowthBytes >= 0 ? '+' : ''}${(heapGrowthBytes / 1024).toFixed(0)} KiB`
  );
}
