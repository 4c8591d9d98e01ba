/**
 * The file of `--input`: what a model shall be run on.
 *
 *   { "inputs": { "NAME": [row, …] } }      real values, or token ids, as in a calibration file
 *   { "integers": { "NAME": [row, …] } }    the integers of the model's tensors, as they are proved
 *   [row, …] or one flat row                real values, for a model with one input
 *   P5 …                                    one grey image (PGM), for a model with one input: its pixels, 0 to maxval
 */
import {
  encodeTensor,
  type HzkModel,
  type HzkPort,
  publicTensorShapes,
  type TensorShape,
} from '@haca/circuit';
import { type FloatGraph, quantizeInput, readCalibration, type Tensor } from '@haca/compiler';
import { MalformedError } from '@haca/primitives';
import { pixelsOfPgm } from './pgm.ts';

export interface InputRows {
  readonly batchSize: number;
  /** Per input of the model all rows, one after the other. */
  readonly inputs: readonly Uint8Array[];
  /** Values that were cut off at their tensor's interval. */
  readonly clipped: number;
}

/** Throws `MalformedError` (`input.*`) with the place. */
export function readInput(bytes: Uint8Array, model: HzkModel): InputRows {
  const { inputs, isInteger } = parse(bytes, model);
  const samples = rowsOf(inputs, model);
  const { maxBatch } = model.key;
  if (samples.length > maxBatch)
    throw new MalformedError(
      'input.rows',
      'input',
      `at most ${maxBatch} rows in one proof`,
      `${samples.length}`,
    );
  const shapes = publicTensorShapes(model.key).inputs;
  let clipped = 0;
  const tensors = model.inputs.map((port, i) => {
    const shape = shapes[i] as TensorShape;
    const rows = samples.map((sample, row) => {
      const { data } = sample.get(port.name) as Tensor;
      const quantum = isInteger ? 1 : port.scale;
      const isExact = isInteger || shape.kind === 'id';
      clipped += checkValues(data, quantum, shape, isExact, `input.inputs.${port.name}[${row}]`);
      return isExact ? encodeTensor(shape, data) : quantizeInput(port, shape, { data });
    });
    return joined(rows);
  });
  return { batchSize: samples.length, inputs: tensors, clipped };
}

interface Parsed {
  readonly inputs: unknown;
  readonly isInteger: boolean;
}

function parse(bytes: Uint8Array, { inputs: ports }: HzkModel): Parsed {
  const only = ports.length === 1 ? (ports[0] as HzkPort) : undefined;
  if (bytes[0] === 0x50 && bytes[1] === 0x35) {
    if (only === undefined)
      throw new MalformedError('input.pgm', 'input', 'a model with one input', `${ports.length}`);
    return { inputs: { [only.name]: [[...pixelsOfPgm(bytes)]] }, isInteger: false };
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new MalformedError(
      'input.json',
      'input',
      'JSON or PGM (P5)',
      (error as Error).message.slice(0, 120),
    );
  }
  if (Array.isArray(json) && only !== undefined) {
    const rows = typeof json[0] === 'number' ? [json] : json;
    return { inputs: { [only.name]: rows }, isInteger: false };
  }
  const file = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  const [name, ...others] = Object.keys(file).filter((key) => key !== 'labels');
  if ((name !== 'inputs' && name !== 'integers') || others.length > 0 || Array.isArray(json))
    throw new MalformedError(
      'input.json',
      'input',
      `{"inputs": {${ports.map((port) => JSON.stringify(port.name)).join(', ')}: rows}}, or "integers" in its place`,
      Array.isArray(json)
        ? `an array, for ${ports.length} inputs`
        : Object.keys(file).join(', ').slice(0, 80),
    );
  return { inputs: file[name], isInteger: name === 'integers' };
}

/** Rows are read as those of calibration are, by a graph of nothing but inputs. */
function rowsOf(inputs: unknown, { inputs: ports, key }: HzkModel): readonly ReadonlyMap<string, Tensor>[] {
  const values = ports.map((port) => ({
    name: port.name,
    type: key.tensors[port.tensor]?.kind === 'id' ? ('int' as const) : ('float' as const),
    shape: [1, ...port.shape],
  }));
  const graph: FloatGraph = { values, nodes: [], inputs: ports.map((_, i) => i), outputs: [] };
  try {
    return readCalibration({ inputs }, graph).samples;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    const own = (text: string): string => text.replace(/^calibration/, 'input');
    throw new MalformedError(own(error.code), own(error.path), error.expected, error.got);
  }
}

/** @returns how many values lie outside the interval, where that is no error */
function checkValues(
  data: ArrayLike<number>,
  quantum: number,
  { lo, hi }: TensorShape,
  isExact: boolean,
  path: string,
): number {
  let outside = 0;
  for (let i = 0; i < data.length; i++) {
    const value = data[i] as number;
    const integer = Math.round(value / quantum);
    if (isExact && (value !== integer || value < lo || value > hi))
      throw new MalformedError('input.value', `${path}[${i}]`, `an integer in [${lo}, ${hi}]`, `${value}`);
    if (integer < lo || integer > hi) outside++;
  }
  return outside;
}

function joined(rows: readonly Uint8Array[]): Uint8Array {
  const size = rows[0]?.length ?? 0;
  const bytes = new Uint8Array(size * rows.length);
  for (const [i, row] of rows.entries()) bytes.set(row, i * size);
  return bytes;
}
