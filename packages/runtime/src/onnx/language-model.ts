import { EngineError } from '../engine.ts';
import type { ModelDescription } from './model-files.ts';
import { loadOnnxRuntime, type OnnxRuntime, type OnnxSession, type OnnxTensor } from './onnx-runtime.ts';

/** Keys and values of the tokens fed so far: tensors of the runtime, never changed once made. */
export interface KeyValueCache {
  readonly tokens: number;
  readonly keys: OnnxTensor;
  readonly values: OnnxTensor;
}

export interface StepResult {
  /** Of the token after the last one fed; valid until the next step. */
  readonly logits: Float32Array;
  readonly cache: KeyValueCache;
}

/** One loaded network. Steps of different answers may follow each other in any order, one at a time. */
export interface LanguageModel {
  readonly runtimeVersion: string;
  readonly emptyCache: KeyValueCache;
  /** Feeds `ids` after the tokens of `cache`. Throws `EngineError`. */
  readonly step: (ids: readonly number[], cache: KeyValueCache) => Promise<StepResult>;
  readonly release: () => Promise<void>;
}

/** Loads the network and runs one token through it, so that a wrong shape shows now and not at the first request. */
export async function loadLanguageModel(
  bytes: Uint8Array,
  description: ModelDescription,
  threads: number,
): Promise<LanguageModel> {
  const runtime = await loadOnnxRuntime();
  const session = await openSession(runtime, bytes, threads);
  const empty = new runtime.Tensor('float32', new Float32Array(0), cacheDims(description, 0));
  const model: LanguageModel = {
    runtimeVersion: runtime.env.versions.node ?? runtime.env.versions.common,
    emptyCache: { tokens: 0, keys: empty, values: empty },
    step: (ids, cache) => step(runtime, session, description, ids, cache),
    release: () => session.release(),
  };
  await model.step([0], model.emptyCache);
  return model;
}

async function openSession(runtime: OnnxRuntime, bytes: Uint8Array, threads: number): Promise<OnnxSession> {
  try {
    return await runtime.InferenceSession.create(bytes, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // Failures come back as errors; the runtime need not print them as well.
      logSeverityLevel: 4,
    });
  } catch (error) {
    throw new EngineError('E_UNAVAILABLE', `model.onnx cannot be loaded: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function step(
  runtime: OnnxRuntime,
  session: OnnxSession,
  description: ModelDescription,
  ids: readonly number[],
  cache: KeyValueCache,
): Promise<StepResult> {
  let outputs: Awaited<ReturnType<OnnxSession['run']>>;
  try {
    outputs = await session.run({
      input_ids: new runtime.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      past_k: cache.keys,
      past_v: cache.values,
    });
  } catch (error) {
    throw new EngineError('E_ENGINE', `the model failed: ${messageOf(error)}`, { cause: error });
  }
  const tokens = cache.tokens + ids.length;
  const dims = cacheDims(description, tokens);
  const keys = checkedTensor(outputs['present_k'], 'present_k', dims);
  const values = checkedTensor(outputs['present_v'], 'present_v', dims);
  const { vocabSize } = description;
  const logits = checkedTensor(outputs['logits'], 'logits', [1, ids.length, vocabSize]).data as Float32Array;
  return { logits: logits.subarray((ids.length - 1) * vocabSize), cache: { tokens, keys, values } };
}

function cacheDims({ layers, heads, headDim }: ModelDescription, tokens: number): number[] {
  return [layers, 1, heads, tokens, headDim];
}

function checkedTensor(tensor: OnnxTensor | undefined, name: string, dims: readonly number[]): OnnxTensor {
  const got = tensor === undefined ? 'nothing' : `${tensor.type} [${tensor.dims.join(', ')}]`;
  const expected = `float32 [${dims.join(', ')}]`;
  if (tensor === undefined || got !== expected) {
    throw new EngineError('E_UNAVAILABLE', `model.onnx: output ${name} must be ${expected}, got ${got}`);
  }
  return tensor;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
