/** `haca zk prove`: a model file and inputs in, one proof file out. */
import {
  decodeTensor,
  encodeProofFile,
  encodeVerifyingKey,
  HZK_BYTES_MAX,
  type HzkModel,
  type HzkPort,
  offChainIds,
  parseHzk,
  plan,
  planRegistration,
  publicTensorShapes,
  type TensorShape,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { bytesEqual, MalformedError, toHex } from '@haca/primitives';
import { type CommittedWeights, commitWeights, prove, proveRegistration, wasmBackend } from '@haca/prover';
import { assign, createIntegerModel, type IntegerModel, runModel } from '@haca/runtime';
import { checkWritable, readFile, writeWhole } from './files.ts';
import { readInput } from './input-data.ts';
import type { ProveRequest, Report } from './request.ts';

const INPUT_BYTES_MAX = 2 ** 28;

export async function proveModel(
  request: ProveRequest,
  report: Report,
  signal: AbortSignal,
): Promise<object> {
  const clock = createClock();
  checkWritable(request.out);
  report('load', 0, 1);
  const file = parseHzk(readFile(request.model, HZK_BYTES_MAX, 'hzk.size'));
  const rows = readInput(readFile(request.input, INPUT_BYTES_MAX, 'input.size'), file);
  const keyBytes = encodeVerifyingKey(file.key);
  const { securityBits } = plan(file.key, rows.batchSize);
  const model = createIntegerModel({ key: file.key, weights: file.weights });
  const backend = wasmBackend({ threads: request.threads });
  await backend.ready();
  clock.lap('loadMs');
  const committed = await commitWeights({
    key: file.key,
    weights: file.weights,
    backend,
    signal,
    onProgress: ({ fraction }) => report('weights', fraction, 1),
  });
  if (!bytesEqual(committed.cap, file.key.weightCap))
    throw new MalformedError('hzk.weights', 'weights', 'the weights that the key is committed to', 'others');
  clock.lap('weightsMs');
  const outputs = runModel(model, rows.inputs, rows.batchSize);
  clock.lap('inferenceMs');
  const statement: ZkStatement = {
    ...offChainIds(request.context),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize: rows.batchSize,
    inputs: rows.inputs,
    outputs,
  };
  const proof = await prove({
    keyBytes,
    model,
    committed,
    statement,
    backend,
    signal,
    onProgress: ({ phase, fraction }) => report(phase, fraction, 1),
  });
  clock.lap('proveMs');
  const registration = request.withRegistration
    ? await registrationOf(file, model, committed, report, signal)
    : undefined;
  clock.lap('registrationMs');
  committed.release();
  await backend.close();
  const { verifyingKeyHash: hash, ...parts } = statement;
  const bytes = encodeProofFile({
    ...parts,
    verifyingKey: keyBytes,
    proof,
    ...(registration === undefined ? {} : { registration }),
  });
  signal.throwIfAborted();
  writeWhole(request.out, bytes);
  return {
    ok: true,
    kind: 'zk-proof',
    file: request.out,
    sizeBytes: bytes.length,
    proofBytes: proof.length,
    registrationBytes: registration?.length ?? 0,
    model: file.name,
    verifyingKeyHash: toHex(hash),
    context: request.context,
    batchSize: rows.batchSize,
    clippedInputs: rows.clipped,
    outputs: outputViews(file, outputs, rows.batchSize),
    securityBits,
    threads: request.threads,
    times: clock.times,
  };
}

/** That the weights are integers of their intervals: without it outputs are unique only among residues. */
async function registrationOf(
  { key }: HzkModel,
  model: IntegerModel,
  committed: CommittedWeights,
  report: Report,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const program = planRegistration(key);
  return await proveRegistration({
    program,
    key,
    assignment: assign(program, model, []),
    committed,
    backend: committed.backend,
    signal,
    onProgress: ({ phase, fraction }) => report(`weights: ${phase}`, fraction, 1),
  });
}

function outputViews(file: HzkModel, outputs: readonly Uint8Array[], batchSize: number): object[] {
  const shapes = publicTensorShapes(file.key).outputs;
  return file.outputs.map((port, i) => {
    const values = decodeTensor(shapes[i] as TensorShape, outputs[i] as Uint8Array, batchSize, port.name);
    const width = values.length / batchSize;
    const rows = Array.from({ length: batchSize }, (_, row) =>
      rowView(port, [...values.subarray(row * width, (row + 1) * width)]),
    );
    return { name: port.name, shape: port.shape, scale: port.scale, rows };
  });
}

function rowView({ scale, labels }: HzkPort, integers: readonly number[]): object {
  const largest = integers.reduce((best, value, i) => (value > (integers[best] as number) ? i : best), 0);
  return {
    values: integers.map((value) => Number((value * scale).toPrecision(6))),
    integers,
    ...(integers.length > 1 ? { largest } : {}),
    ...(labels.length === 0 ? {} : { label: labels[largest] }),
  };
}

function createClock(): {
  readonly times: Readonly<Record<string, number>>;
  readonly lap: (name: string) => void;
} {
  const times: Record<string, number> = {};
  let last = performance.now();
  return {
    times,
    lap: (name) => {
      const now = performance.now();
      times[name] = Math.round((now - last) * 10) / 10;
      last = now;
    },
  };
}
