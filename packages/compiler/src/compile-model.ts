/** From an ONNX file to a model file: import, and the commitment to the weights that completes the key. */
import { encodeHzk, type HzkModel, type HzkPort, type VerifyingKey } from '@haca/circuit';
import { MalformedError, sha256 } from '@haca/primitives';
import { type CommittedWeights, commitWeights, type ProverBackend } from '@haca/prover';
import { type ImportProgress, type ImportReport, type ImportRequest, importOnnx } from './import-onnx.ts';
import type { Port } from './quantize/lowering.ts';

export interface CompileRequest extends Omit<ImportRequest, 'onProgress'> {
  readonly name: string;
  /** Of the first output's positions, e.g. what the classes of a classifier are called. */
  readonly labels?: readonly string[] | undefined;
  readonly backend: ProverBackend;
  readonly onProgress?: ((progress: CompileProgress) => void) | undefined;
}

export type CompileProgress =
  | ImportProgress
  | { readonly stage: 'commit'; readonly done: number; readonly of: number };

export interface CompiledModel {
  readonly model: HzkModel;
  /** `model` as a file. */
  readonly file: Uint8Array;
  readonly report: ImportReport;
}

/** Throws as `importOnnx` does. */
export async function compileModel(request: CompileRequest): Promise<CompiledModel> {
  const { name, labels = [], backend, signal, onProgress } = request;
  const imported = await importOnnx(request);
  const commitment: CommittedWeights = await commitWeights({
    key: imported.key,
    weights: imported.weights,
    backend,
    ...(signal === undefined ? {} : { signal }),
  });
  onProgress?.({ stage: 'commit', done: 1, of: 1 });
  const key: VerifyingKey = { ...imported.key, weightCap: commitment.cap };
  commitment.release();
  const cells = imported.outputs[0]?.shape.reduce((product, extent) => product * extent, 1);
  if (labels.length !== 0 && labels.length !== cells)
    throw new MalformedError(
      'import.options',
      'labels',
      `${cells}, one for each cell of the first output`,
      `${labels.length}`,
    );
  const port = ({ name: own, tensor, scale, shape }: Port, i: number, named: readonly string[]): HzkPort => ({
    name: own,
    tensor,
    scale,
    shape,
    labels: i === 0 ? named : [],
  });
  const model: HzkModel = {
    name,
    sourceHash: sha256(request.model),
    key,
    weights: imported.weights,
    inputs: imported.inputs.map((each, i) => port(each, i, [])),
    outputs: imported.outputs.map((each, i) => port(each, i, labels)),
  };
  return { model, file: encodeHzk(model), report: imported.report };
}
