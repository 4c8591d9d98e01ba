/** onnxruntime, where it is installed, as the reference for float results. */
import { createRequire } from 'node:module';
import type { Tensor } from '../src/float/tensor.ts';

interface OrtTensor {
  readonly data: ArrayLike<number | bigint>;
  readonly dims: readonly number[];
}

interface Ort {
  readonly InferenceSession: {
    readonly create: (
      model: Uint8Array,
      options: object,
    ) => Promise<{
      readonly run: (feeds: object) => Promise<Record<string, OrtTensor>>;
      readonly release: () => Promise<void>;
    }>;
  };
  readonly Tensor: new (
    type: string,
    data: Float32Array | BigInt64Array,
    dims: readonly number[],
  ) => OrtTensor;
}

function load(): Ort | string {
  try {
    return createRequire(import.meta.url)('onnxruntime-node') as Ort;
  } catch (error) {
    return `onnxruntime-node is not installed: ${String((error as Error).message).split('\n')[0]}`;
  }
}

const loaded = load();

/** Why comparisons are skipped; false where they are not. */
export const ORT_SKIP: string | false = typeof loaded === 'string' ? loaded : false;

/** The outputs of a model as onnxruntime computes them. */
export async function runOnnxruntime(
  model: Uint8Array,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<ReadonlyMap<string, readonly number[]>> {
  if (typeof loaded === 'string') throw new Error(loaded);
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
  const session = await loaded.InferenceSession.create(model, options);
  const feeds = Object.fromEntries(
    [...inputs].map(([name, { type, shape, data }]) => [
      name,
      type === 'int'
        ? new loaded.Tensor(
            'int64',
            BigInt64Array.from(data, (v) => BigInt(v)),
            shape,
          )
        : new loaded.Tensor('float32', Float32Array.from(data), shape),
    ]),
  );
  const results = await session.run(feeds);
  await session.release();
  return new Map(Object.entries(results).map(([name, { data }]) => [name, Array.from(data, Number)]));
}
