import { EngineError } from '../engine.ts';

/**
 * The part of onnxruntime-node that is used here. Declared rather than imported, because the package is optional: where it
 * is not installed, everything but this engine still type-checks and runs.
 */
export interface OnnxRuntime {
  readonly Tensor: new (
    type: 'int64' | 'float32',
    data: BigInt64Array | Float32Array,
    dims: readonly number[],
  ) => OnnxTensor;
  readonly InferenceSession: {
    readonly create: (model: Uint8Array, options: Readonly<Record<string, unknown>>) => Promise<OnnxSession>;
  };
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } };
}

export interface OnnxTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

export interface OnnxSession {
  readonly run: (
    feeds: Readonly<Record<string, OnnxTensor>>,
  ) => Promise<Readonly<Record<string, OnnxTensor | undefined>>>;
  readonly release: () => Promise<void>;
}

export const ONNX_RUNTIME_PACKAGE = 'onnxruntime-node';

/** Throws `EngineError` with what to do if the package is absent or has no binary for this machine. */
export async function loadOnnxRuntime(specifier: string = ONNX_RUNTIME_PACKAGE): Promise<OnnxRuntime> {
  let module: Partial<OnnxRuntime> & { default?: OnnxRuntime };
  try {
    module = (await import(specifier)) as typeof module;
  } catch (error) {
    throw new EngineError(
      'E_UNAVAILABLE',
      `the embedded ONNX engine needs the optional package ${specifier}, which cannot be loaded here (${firstLine(error)}). ` +
        'Run `npm install` again with optional dependencies (not --omit=optional); on a machine it has no binary for, use an upstream engine',
      { cause: error },
    );
  }
  const runtime = module.InferenceSession === undefined ? module.default : (module as OnnxRuntime);
  if (runtime?.InferenceSession === undefined || runtime.Tensor === undefined) {
    throw new EngineError(
      'E_UNAVAILABLE',
      `${specifier} is not ONNX Runtime: it exports no InferenceSession`,
    );
  }
  return runtime;
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] as string;
}
