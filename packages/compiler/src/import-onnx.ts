/** ONNX to a verifying key with weights: import, calibration, quantization, and how well it went. */
import {
  chooseOpening,
  encodeTensor,
  encodeVerifyingKey,
  KeyError,
  planWith,
  profileParameters,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';
import { MalformedError, UsageError } from '@haca/primitives';
import { createIntegerModel, type IntegerModel, runModel } from '@haca/runtime';
import { type CalibrationData, parseCalibration, readCalibration } from './calibration-data.ts';
import { evaluateGraph, type FloatGraph, multiplicationsOf } from './float/graph.ts';
import { cellsOf, type Tensor, tensorOf } from './float/tensor.ts';
import { type NormalGraph, type NormalValue, operandsOf } from './normal/normal-graph.ts';
import { normalize } from './normal/normalize.ts';
import { importGraph } from './onnx/import-graph.ts';
import { lower } from './quantize/lower.ts';
import type { Layer, Lowered, Port } from './quantize/lowering.ts';
import { collectRanges, type Ranges } from './quantize/ranges.ts';

export interface ImportOptions {
  /** Bits of activations, 8 to 12; `auto` (with weights of 8, then 12 bits) takes the fewest that keep `agreement`. */
  readonly activationBits?: number | 'auto' | undefined;
  /** Bits of weights, 8 to 12; 8. */
  readonly weightBits?: number | undefined;
  /** Share of calibration samples on which the integer model has to give the float model's answer; 0.99. */
  readonly agreement?: number | undefined;
  /** Outputs to keep, by name. */
  readonly outputs?: readonly string[] | undefined;
  /** Inferences in one proof; the most that fit, up to 64. */
  readonly maxBatch?: number | undefined;
  /** 1: smaller proofs; 2: less memory. */
  readonly profile?: 1 | 2 | undefined;
}

export interface ImportProgress {
  readonly stage: 'read' | 'calibrate' | 'quantize' | 'evaluate';
  readonly done: number;
  readonly of: number;
}

export interface ImportRequest {
  readonly model: Uint8Array;
  /** Text or parsed JSON of a calibration file. */
  readonly calibration: unknown;
  readonly options?: ImportOptions | undefined;
  readonly onProgress?: ((progress: ImportProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ImportReport {
  readonly producer: string;
  readonly opset: number;
  readonly parameters: number;
  readonly multiplications: number;
  readonly activationBits: number;
  readonly weightBits: number;
  readonly samples: number;
  /**
   * Share of samples with the same largest entry of the first output as the float model has; where that is one number,
   * of those within 2 % of the outputs' root mean square.
   */
  readonly agreement: number;
  /** Share of right answers where the calibration file has labels. */
  readonly accuracy: { readonly float: number; readonly integer: number } | undefined;
  /** Of the first output: √(mean squared difference) / √(mean square). */
  readonly relativeError: number;
  readonly layers: readonly Layer[];
  readonly notes: readonly string[];
}

export interface ImportedKey {
  /** Complete but for the weight cap, which is zeros of its length until the weights are committed. */
  readonly key: VerifyingKey;
  /** Dense, row-major, in key order. */
  readonly weights: readonly TensorValues[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly report: ImportReport;
}

const MAX_BATCH = 64;
/** Where the output is one number: two agree that differ by less than this share of the root mean square. */
const NEAR = 0.02;
const AGREEMENT = 0.99;
/** Multiplications of float evaluation that calibration spends, and the fewest samples it looks at. */
const CALIBRATION_WORK = 6e9;
const LEAST_SAMPLES = 16;
const MOST_SAMPLES = 1_024;
const PARAMETERS_MAX = 2 ** 27;
/** What `auto` tries: bits of activations and of weights. */
const BITS = [
  [8, 8],
  [10, 8],
  [12, 8],
  [12, 12],
] as const;

/**
 * Throws `MalformedError` for a model or data that can not be imported, with place and reason, before calibration starts
 * where the fault lies in the model or the data's form; the signal's reason when it is aborted.
 */
export async function importOnnx(request: ImportRequest): Promise<ImportedKey> {
  const { options = {}, onProgress, signal } = request;
  const checkpoint = async (stage: ImportProgress['stage'], done: number, of: number): Promise<void> => {
    signal?.throwIfAborted();
    onProgress?.({ stage, done, of });
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  };
  await checkpoint('read', 0, 1);
  const imported = importGraph(request.model);
  const { graph } = imported;
  const parameters = graph.values.reduce(
    (sum, value) => sum + (value.constant === undefined ? 0 : cellsOf(value.shape)),
    0,
  );
  if (parameters > PARAMETERS_MAX)
    throw new MalformedError(
      'model.too-large',
      'model',
      `at most ${PARAMETERS_MAX} parameters`,
      `${parameters}`,
    );
  const normal = normalize(graph, { outputs: options.outputs });
  checkInputsUsed(normal);
  const data =
    typeof request.calibration === 'string'
      ? parseCalibration(request.calibration, graph)
      : readCalibration(request.calibration, graph);
  if (imported.batched) checkRowsApart(request.model, graph, data);
  const multiplications = multiplicationsOf(graph);
  const samples = data.samples.slice(0, sampleCount(multiplications));
  const expected: (Float32Array | Float64Array)[] = [];
  const ranges = await collectRanges(graph, normal, samples, {
    checkpoint: (done, of) => checkpoint('calibrate', done, of),
    onResult: (result) => expected.push(result.slice()),
  });
  const context: Context = {
    batched: imported.batched,
    normal,
    ranges,
    samples,
    expected,
    labels: data.labels,
    options,
  };
  const tried = await chooseBits(context, checkpoint);
  return {
    key: tried.model.key,
    weights: tried.model.weights,
    inputs: tried.lowered.inputs,
    outputs: tried.lowered.outputs,
    report: {
      producer: imported.producer,
      opset: imported.opset,
      parameters,
      multiplications,
      activationBits: tried.activationBits,
      weightBits: tried.weightBits,
      samples: samples.length,
      ...tried.quality,
      layers: tried.lowered.layers,
      notes: normal.notes,
    },
  };
}

function checkInputsUsed(normal: NormalGraph): void {
  for (const input of normal.inputs) {
    if (normal.nodes.some(({ op }) => operandsOf(op).includes(input))) continue;
    const { name } = normal.values[input] as NormalValue;
    throw new MalformedError(
      'onnx.input',
      `input ${JSON.stringify(name)}`,
      'an input that an output depends on',
      'one that none does',
    );
  }
}

function sampleCount(multiplications: number): number {
  const affordable = Math.floor(CALIBRATION_WORK / Math.max(1, multiplications));
  return Math.max(LEAST_SAMPLES, Math.min(MOST_SAMPLES, affordable));
}

const ROWS_TOLERANCE = 1e-3;

/**
 * A model computes each row of a batch by itself, or there is no integer form of one inference. Models whose graph holds
 * for one row alone (a batch of 1 written into a reshape) pass: nothing else can be asked of them.
 */
function checkRowsApart(bytes: Uint8Array, graph: FloatGraph, data: CalibrationData): void {
  const rows = [data.samples[0], data.samples[data.samples.length - 1]] as [
    ReadonlyMap<string, Tensor>,
    ReadonlyMap<string, Tensor>,
  ];
  let both: Map<string, Tensor>;
  try {
    const double = importGraph(bytes, 2).graph;
    const joined = new Map(
      [...rows[0]].map(([name, first]) => [name, joinRows(first, rows[1].get(name) as Tensor)]),
    );
    both = evaluateGraph(double, joined);
  } catch (error) {
    if (error instanceof MalformedError) return;
    throw error;
  }
  const alone = rows.map((row) => evaluateGraph(graph, row));
  for (const [name, tensor] of both) {
    const parts = alone.flatMap((outputs) => [...(outputs.get(name) as Tensor).data]);
    const isSame =
      parts.length === tensor.data.length &&
      parts.every(
        (value, i) => Math.abs(value - (tensor.data[i] as number)) <= ROWS_TOLERANCE * (1 + Math.abs(value)),
      );
    if (!isSame)
      throw new MalformedError(
        'onnx.batch',
        `output ${JSON.stringify(name)}`,
        'rows of a batch that do not depend on each other',
        'rows that do',
      );
  }
}

function joinRows(a: Tensor, b: Tensor): Tensor {
  return tensorOf(a.type, [2, ...a.shape.slice(1)], [...a.data, ...b.data]);
}

interface Context {
  readonly batched: boolean;
  readonly normal: NormalGraph;
  readonly ranges: Ranges;
  readonly samples: readonly ReadonlyMap<string, Tensor>[];
  /** The float model's first output by sample. */
  readonly expected: readonly (Float32Array | Float64Array)[];
  readonly labels: readonly number[] | undefined;
  readonly options: ImportOptions;
}

interface Tried {
  readonly activationBits: number;
  readonly weightBits: number;
  readonly lowered: Lowered;
  readonly model: IntegerModel;
  readonly quality: Pick<ImportReport, 'agreement' | 'accuracy' | 'relativeError'>;
}

type Checkpoint = (stage: ImportProgress['stage'], done: number, of: number) => Promise<void>;

async function chooseBits(context: Context, checkpoint: Checkpoint): Promise<Tried> {
  const { activationBits = 'auto', weightBits = 8, agreement = AGREEMENT } = context.options;
  for (const [name, bits] of Object.entries({ activationBits, weightBits })) {
    if (bits !== 'auto' && !(Number.isInteger(bits) && bits >= 8 && bits <= 12))
      throw new MalformedError('import.options', `options.${name}`, '8 to 12', `${bits}`);
  }
  const candidates = activationBits === 'auto' ? BITS : [[activationBits, weightBits] as const];
  let best: Tried | undefined;
  let refused: MalformedError | undefined;
  for (const [i, bits] of candidates.entries()) {
    await checkpoint('quantize', i, candidates.length);
    try {
      const tried = await attempt(context, bits[0], bits[1], checkpoint);
      if (best === undefined || tried.quality.agreement > best.quality.agreement) best = tried;
      if (tried.quality.agreement >= agreement) break;
    } catch (error) {
      // Sums that are too long with one width of numbers may fit with another.
      if (!(error instanceof MalformedError) || error.code !== 'model.accumulator') throw error;
      refused = error;
    }
  }
  if (best === undefined) throw refused;
  return best;
}

async function attempt(
  context: Context,
  activationBits: number,
  weightBits: number,
  checkpoint: Checkpoint,
): Promise<Tried> {
  const { lowered, model } = withinLimits(() => {
    const made = lower(context.normal, context.ranges, {
      activationBits,
      functionBits: Math.max(10, activationBits),
      weightBits,
      batched: context.batched,
    });
    const key = completeKey(made, context.options);
    encodeVerifyingKey(key);
    return { lowered: made, model: createIntegerModel({ key, weights: made.parts.weights }) };
  });
  const quality = await assess(context, lowered, model, checkpoint);
  return { activationBits, weightBits, lowered, model, quality };
}

/** What the contract refuses, in words of the importer. */
function withinLimits<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof UsageError)
      throw new MalformedError(
        'model.too-large',
        'key',
        'a model within the limits of proofs',
        error.message,
      );
    if (!(error instanceof KeyError)) throw error;
    const code = error.code === 'E_LIMIT' ? 'model.too-large' : 'model.key';
    throw new MalformedError(code, 'key', 'a model within the limits of proofs', error.message);
  }
}

/** With the parameters of the opening, the width of range limbs, and the largest batch up to what was asked for that fits. */
function completeKey({ parts }: Lowered, options: ImportOptions): VerifyingKey {
  const draft: VerifyingKey = {
    version: 1,
    profile: options.profile ?? 1,
    maxBatch: 1,
    limbBits: 8,
    tensors: parts.tensors,
    ops: parts.ops,
    lists: parts.lists,
    columnBits: 10,
    folds: [1],
    finalBits: 1,
    weightCap: new Uint8Array(0),
  };
  const key = chooseOpening({ ...draft, limbBits: bestLimbs(chooseOpening(draft, 1)) }, 1);
  if (options.maxBatch !== undefined) return chooseOpening({ ...key, maxBatch: options.maxBatch }, 1);
  for (let maxBatch = MAX_BATCH; maxBatch > 1; maxBatch /= 2) {
    try {
      return chooseOpening({ ...key, maxBatch }, 1);
    } catch (error) {
      if (!(error instanceof KeyError) || error.code !== 'E_LIMIT') throw error;
    }
  }
  return key;
}

/** The limb width with the fewest committed cells, tables counted in. */
function bestLimbs(key: VerifyingKey): number {
  let best = 8;
  let fewest = Number.POSITIVE_INFINITY;
  for (let limbBits = 8; limbBits <= 12; limbBits++) {
    const cells = committedCells({ ...key, limbBits });
    if (cells < fewest) {
      best = limbBits;
      fewest = cells;
    }
  }
  return best;
}

function committedCells(key: VerifyingKey): number {
  try {
    const { tensors, tables } = planWith(key, 1, profileParameters(key.profile));
    const cells = tensors.reduce(
      (sum, { storage, bits }) => sum + (storage === 'witness' ? 2 ** bits : 0),
      0,
    );
    return cells + tables.reduce((sum, { bits }) => sum + 2 ** bits, 0);
  } catch (error) {
    if (error instanceof KeyError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}

async function assess(
  context: Context,
  lowered: Lowered,
  model: IntegerModel,
  checkpoint: Checkpoint,
): Promise<Tried['quality']> {
  const shapes = publicTensorShapes(model.key);
  const [port] = lowered.outputs as readonly [Port];
  const count = context.samples.length;
  const near =
    NEAR * Math.sqrt(context.expected.reduce((sum, [value = 0]) => sum + value * value, 0) / count);
  let [same, rightFloat, rightInteger, errors, squares] = [0, 0, 0, 0, 0];
  for (const [i, sample] of context.samples.entries()) {
    if (i % 16 === 0) await checkpoint('evaluate', i, context.samples.length);
    const inputs = lowered.inputs.map((input, at) =>
      quantizeInput(input, shapes.inputs[at] as TensorShape, sample.get(input.name) as Tensor),
    );
    const got = readIntegers(shapes.outputs[0] as TensorShape, runModel(model, inputs, 1)[0] as Uint8Array);
    const want = context.expected[i] as Float32Array;
    const [answer, reference] = [largest(got), largest(want)];
    if (
      want.length > 1
        ? answer === reference
        : Math.abs((got[0] as number) * port.scale - (want[0] as number)) <= near
    )
      same++;
    const label = context.labels?.[i];
    if (label === reference) rightFloat++;
    if (label === answer) rightInteger++;
    for (let j = 0; j < want.length; j++) {
      errors += ((got[j] as number) * port.scale - (want[j] as number)) ** 2;
      squares += (want[j] as number) ** 2;
    }
  }
  return {
    agreement: same / count,
    accuracy:
      context.labels === undefined ? undefined : { float: rightFloat / count, integer: rightInteger / count },
    relativeError: squares === 0 ? 0 : Math.sqrt(errors / squares),
  };
}

/** An input of the model as tensor bytes of its key: rounded to steps of the port's scale, cut off at its interval. */
export function quantizeInput(
  port: Pick<Port, 'scale'>,
  shape: TensorShape,
  values: { readonly data: ArrayLike<number> },
): Uint8Array {
  const integers = Array.from(values.data, (value) =>
    Math.max(shape.lo, Math.min(shape.hi, Math.round(value / port.scale))),
  );
  return encodeTensor(shape, integers);
}

function readIntegers(shape: TensorShape, bytes: Uint8Array): ArrayLike<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = { i8: 1, u8: 1, i16: 2, i32: 4, id: 4 }[shape.kind];
  return Float64Array.from({ length: bytes.length / size }, (_, i) => {
    if (shape.kind === 'i8') return view.getInt8(i);
    if (shape.kind === 'u8') return view.getUint8(i);
    return shape.kind === 'i16' ? view.getInt16(2 * i, true) : view.getInt32(4 * i, true);
  });
}

function largest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
