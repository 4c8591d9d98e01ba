/** Runs one parser on many inputs in this thread, timing each, and looks whether the heap grew. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openInputs } from './inputs.ts';
import { type FuzzedParser, isRefusal } from './parsers.ts';
import { createRandom } from './random.ts';

/** By the clock, of the quickest of a few runs. Generous: machines are shared. */
export const INPUT_TIME_MAX_MS = 1_000;
/** Above this a time says more about the machine than about the input, so it is taken again. */
const DOUBTFUL_MS = 5;
const AGAIN = 3;
/** Inputs are small and freed at once; tables of the engine itself grow by less. */
export const HEAP_GROWTH_MAX_BYTES = 8 * 1024 * 1024;

export interface Fault {
  readonly parser: string;
  /** Number of the input in the stream of its seed. */
  readonly number: number;
  readonly what: string;
  readonly input: Uint8Array;
}

export interface ParserFigures {
  readonly parser: string;
  readonly inputs: number;
  readonly accepted: number;
  /** Distinct codes of refusal: how deep inputs went. */
  readonly codes: number;
  /** With the making of inputs. */
  readonly inputsPerSecond: number;
  /** Of the parser alone, mean. */
  readonly parseUs: number;
  readonly meanBytes: number;
  readonly worstMs: number;
  readonly worstBytes: number;
  readonly heapGrowthBytes: number;
  readonly faults: readonly Fault[];
}

export interface FuzzRun {
  readonly seed: number;
  readonly inputs: number;
  /** Told of each input before it is parsed, so that another thread can say which one never ended. */
  readonly beforeInput?: (number: number, input: Uint8Array) => void;
}

const FAULTS_MAX = 10;

export function fuzzParser(parser: FuzzedParser, { seed, inputs, beforeInput }: FuzzRun): ParserFigures {
  const next = openInputs(parser.seeds(), parser.form, createRandom(seed, parser.name));
  const codes = new Set<string>();
  const faults: Fault[] = [];
  const figures = { accepted: 0, bytes: 0, parseMs: 0, worstMs: 0, worstBytes: 0 };
  let heapBytes = 0;
  const startedAt = performance.now();
  for (let number = 0; number < inputs && faults.length < FAULTS_MAX; number++) {
    if (number === inputs >> 2) heapBytes = heapUsedBytes();
    const input = next();
    figures.bytes += input.length;
    beforeInput?.(number, input);
    const outcome = parseOnce(parser, input);
    figures.parseMs += outcome.ms;
    const ms = settledMs(outcome.ms, () => parseOnce(parser, input).ms);
    if (ms > figures.worstMs) [figures.worstMs, figures.worstBytes] = [ms, input.length];
    if (ms >= INPUT_TIME_MAX_MS) faults.push({ parser: parser.name, number, what: `took ${ms} ms`, input });
    if (outcome.error === undefined) figures.accepted++;
    else if (isRefusal(outcome.error)) codes.add(outcome.error.code);
    else faults.push({ parser: parser.name, number, what: errorText(outcome.error), input });
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const heapGrowthBytes = heapUsedBytes() - heapBytes;
  if (heapGrowthBytes > HEAP_GROWTH_MAX_BYTES)
    faults.push({
      parser: parser.name,
      number: inputs,
      what: `the heap grew by ${heapGrowthBytes} bytes`,
      input: new Uint8Array(0),
    });
  return {
    parser: parser.name,
    inputs,
    accepted: figures.accepted,
    codes: codes.size,
    inputsPerSecond: Math.round(inputs / seconds),
    parseUs: (figures.parseMs * 1000) / inputs,
    meanBytes: Math.round(figures.bytes / inputs),
    worstMs: figures.worstMs,
    worstBytes: figures.worstBytes,
    heapGrowthBytes,
    faults,
  };
}

/** `ms` where that is short, else the shortest of it and of a few more runs. */
export function settledMs(ms: number, again: () => number): number {
  let least = ms;
  for (let i = 0; i < AGAIN && least > DOUBTFUL_MS; i++) least = Math.min(least, again());
  return least;
}

function parseOnce(
  parser: FuzzedParser,
  input: Uint8Array,
): { readonly ms: number; readonly error: unknown } {
  const startedAt = performance.now();
  let error: unknown;
  try {
    parser.parse(input);
  } catch (thrown) {
    error = thrown ?? new Error('nothing was thrown');
  }
  return { ms: performance.now() - startedAt, error };
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

let collect: (() => void) | undefined;

/** After a few collections: the memory of arrays is given back some time after the arrays themselves. */
function heapUsedBytes(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  const used = Array.from({ length: 4 }, () => {
    collect?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  });
  return Math.min(...used);
}
