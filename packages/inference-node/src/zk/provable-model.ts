/** A model that can be proved, as the node serves it: what it is on chain, how it is run, and who proves it. */
import { availableParallelism } from 'node:os';
import type { HzkModel } from '@haca/circuit';
import {
  createValues,
  decodeTensor,
  encodeTensor,
  encodeVerifyingKey,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
  tensorRowBytes,
  type VerifyingKey,
  verifyingKeyHash,
} from '@haca/circuit';
import { type ModelManifest, modelIdOf } from '@haca/protocol';
import { createIntegerModel, runModel } from '@haca/runtime';
import { type ModelProver, openModelProver } from './prover.ts';
import { openWorkerClient } from './worker-client.ts';

export interface ProvableModel {
  readonly name: string;
  readonly manifest: ModelManifest;
  readonly modelId: Uint8Array;
  readonly key: VerifyingKey;
  readonly verifyingKey: Uint8Array;
  readonly verifyingKeyHash: Uint8Array;
  readonly inputs: readonly TensorShape[];
  readonly outputs: readonly TensorShape[];
  /** Base units for one inference; null: the node's price for a request. */
  readonly price: bigint | null;
  readonly batchMaxCount: number;
  /** One row of each output. Throws `MalformedError` on rows that are no inputs of the model. */
  readonly run: (inputs: readonly Uint8Array[]) => Promise<readonly Uint8Array[]>;
  readonly prover: ModelProver;
  readonly close: () => Promise<void>;
}

export interface ProvableModelOptions {
  readonly price: bigint | null;
  readonly batchMaxCount: number;
  readonly proverThreads: number | null;
  readonly license: string;
  /** Models that take longer would hold up everybody else's requests: they run in a thread. */
  readonly mainThreadMaxMs?: number;
}

const MAIN_THREAD_MAX_MS = 1;
const TRIALS = 3;

export function openProvableModel(file: HzkModel, options: ProvableModelOptions): ProvableModel {
  const { name, key } = file;
  const weights = file.weights.map(shared);
  const verifyingKey = encodeVerifyingKey(key);
  const hash = verifyingKeyHash(verifyingKey);
  const { inputs, outputs } = publicTensorShapes(key);
  const manifest: ModelManifest = {
    version: 1,
    name,
    task: 'classification',
    weights: { kind: 'zk-verifying-key', digest: hash },
    tokenizerHash: null,
    methods: ['zk'],
    contextTokens: 0,
    license: options.license,
  };
  const threads = options.proverThreads ?? Math.max(1, availableParallelism() - 1);
  const setup = { verifyingKey, weights, threads };
  const model = createIntegerModel({ key, weights });
  const isQuick =
    leastRunMs(() => runModel(model, inputs.map(emptyRow), 1)) <
    (options.mainThreadMaxMs ?? MAIN_THREAD_MAX_MS);
  const thread = isQuick ? null : openWorkerClient(setup);
  const prover = openModelProver(setup);
  const run = async (rows: readonly Uint8Array[]): Promise<readonly Uint8Array[]> => {
    // In a thread only what is sure to be fine.
    rows.forEach((row, i) => void decodeTensor(inputs[i] as TensorShape, row, 1, `tensors.${i}`));
    return thread === null ? runModel(model, rows, 1) : thread.run({ kind: 'run', inputs: rows });
  };
  return {
    name,
    manifest,
    modelId: modelIdOf(manifest),
    key,
    verifyingKey,
    verifyingKeyHash: hash,
    inputs,
    outputs,
    price: options.price,
    batchMaxCount: Math.min(options.batchMaxCount, key.maxBatch),
    run,
    prover,
    close: async () => {
      await Promise.all([thread?.close(), prover.close()]);
    },
  };
}

/** One copy for all threads. */
function shared(values: TensorValues): TensorValues {
  const memory = new SharedArrayBuffer(values.byteLength);
  const Kind = values.constructor as new (memory: SharedArrayBuffer) => TensorValues;
  const copy = new Kind(memory);
  copy.set(values as never);
  return copy;
}

function emptyRow(shape: TensorShape): Uint8Array {
  const cells = shape.extents.reduce((product, extent) => product * extent, 1);
  const value = Math.min(Math.max(0, shape.lo), shape.hi);
  return encodeTensor(shape, createValues(shape.kind, cells).fill(value));
}

/** The first runs are slower: what counts is the best of a few. */
function leastRunMs(run: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let trial = 0; trial < TRIALS; trial++) {
    const startedAt = performance.now();
    run();
    least = Math.min(least, performance.now() - startedAt);
  }
  return least;
}

export function rowBytesOf({ inputs, outputs }: Pick<ProvableModel, 'inputs' | 'outputs'>): number {
  return [...inputs, ...outputs].reduce((sum, shape) => sum + tensorRowBytes(shape), 0);
}
