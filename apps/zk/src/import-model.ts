/** `haca zk import`: an ONNX file and data in, a model file and a report out. */
import { encodeVerifyingKey, HZK_BYTES_MAX, type HzkPort, plan, verifyingKeyHash } from '@haca/circuit';
import { compileModel, MODEL_BYTES_MAX } from '@haca/compiler';
import { MalformedError, toHex } from '@haca/primitives';
import { wasmBackend } from '@haca/prover';
import { checkWritable, readFile, writeWhole } from './files.ts';
import type { ImportRequest, Report } from './request.ts';

const CALIBRATION_BYTES_MAX = 2 ** 29;

export async function importModel(
  request: ImportRequest,
  report: Report,
  signal: AbortSignal,
): Promise<object> {
  const startedAt = performance.now();
  checkWritable(request.out);
  const model = readFile(request.model, MODEL_BYTES_MAX, 'model.too-large');
  const calibration = readText(request.calibration);
  const backend = wasmBackend({ threads: request.threads });
  const { activationBits, weightBits, agreement, maxBatch, profile, outputs, classes, name } = request;
  const compiled = await compileModel({
    model,
    calibration,
    name,
    labels: classes,
    backend,
    signal,
    options: { activationBits, weightBits, agreement, maxBatch, profile, outputs },
    onProgress: ({ stage, done, of }) => report(stage, done, of),
  });
  await backend.close();
  const { key, sourceHash, inputs, outputs: results } = compiled.model;
  if (compiled.file.length > HZK_BYTES_MAX)
    throw new MalformedError(
      'model.too-large',
      'model',
      `a file of ${HZK_BYTES_MAX} bytes`,
      `${compiled.file.length}`,
    );
  const [single, full] = [plan(key, 1), plan(key, key.maxBatch)];
  signal.throwIfAborted();
  writeWhole(request.out, compiled.file);
  const { layers, notes, producer, opset, parameters, multiplications, ...quality } = compiled.report;
  return {
    ok: true,
    kind: 'zk-model',
    file: request.out,
    sizeBytes: compiled.file.length,
    name,
    verifyingKeyHash: toHex(verifyingKeyHash(encodeVerifyingKey(key))),
    source: { file: request.model, sha256: toHex(sourceHash), producer, opset },
    parameters,
    multiplications,
    ...quality,
    agreementWanted: agreement ?? 0.99,
    inputs: inputs.map((port) => portView(port, key.tensors[port.tensor])),
    outputs: results.map((port) => portView(port, key.tensors[port.tensor])),
    operations: key.ops.length,
    maxBatch: key.maxBatch,
    proof: {
      bytes: single.proofBytes,
      bytesAtMaxBatch: full.proofBytes,
      securityBits: Math.min(single.securityBits, full.securityBits),
    },
    layers,
    notes,
    ms: Math.round(performance.now() - startedAt),
  };
}

function readText(path: string): string {
  const bytes = readFile(path, CALIBRATION_BYTES_MAX, 'calibration.size');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new MalformedError('calibration.json', path, 'UTF-8 text', 'other bytes');
  }
}

function portView(
  { name, shape, scale, labels }: HzkPort,
  tensor: { readonly kind: string; readonly lo: number; readonly hi: number } | undefined,
): object {
  return {
    name,
    shape,
    kind: tensor?.kind,
    lo: tensor?.lo,
    hi: tensor?.hi,
    scale,
    ...(labels.length === 0 ? {} : { labels }),
  };
}
