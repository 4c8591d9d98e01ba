/**
 * The file of `--calibration`: inputs a model will see, and, if known, the right answers.
 *
 *   { "inputs": { "NAME": [row, row, …] or { "shape": [N, …], "type": "u8", "base64": "…" }, … }, "labels": [3, 1, …] }
 *
 * Every input of the model is named. A row is a nested array with the input's shape without its batch axis, or a flat one
 * with as many numbers; `type` is u8, i8, i32 or f32 (little-endian). `labels` are positions in the model's first output.
 */
import { BASE64, MalformedError, readBase64 } from '@haca/primitives';
import type { FloatGraph, FloatValue } from './float/graph.ts';
import { cellsOf, formatShape, type Tensor, tensorOf } from './float/tensor.ts';

export const SAMPLES_MAX = 65_536;
const NESTING_MAX = 8;

export interface CalibrationData {
  /** One inference each, by input name. */
  readonly samples: readonly ReadonlyMap<string, Tensor>[];
  readonly labels: readonly number[] | undefined;
}

/** Throws `MalformedError` (`calibration.json`, `.input`, `.shape`, `.value`, `.labels`, `.rows`) with the place. */
export function parseCalibration(text: string, graph: FloatGraph): CalibrationData {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new MalformedError(
      'calibration.json',
      'calibration',
      'JSON',
      String((error as Error).message).slice(0, 120),
    );
  }
  return readCalibration(json, graph);
}

/** The same of a value that was parsed already. */
export function readCalibration(json: unknown, graph: FloatGraph): CalibrationData {
  const file = objectAt(json, 'calibration');
  for (const key of Object.keys(file)) {
    if (key !== 'inputs' && key !== 'labels')
      throw new MalformedError('calibration.json', 'calibration', 'inputs and labels', JSON.stringify(key));
  }
  const inputs = objectAt(file['inputs'], 'calibration.inputs');
  const wanted = graph.inputs.map((index) => graph.values[index] as FloatValue);
  const names = wanted.map(({ name }) => name);
  for (const name of Object.keys(inputs)) {
    if (!names.includes(name))
      throw new MalformedError(
        'calibration.input',
        'calibration.inputs',
        names.map((n) => JSON.stringify(n)).join(', '),
        JSON.stringify(name),
      );
  }
  const columns = wanted.map((value) => readRows(inputs[value.name], value));
  const count = (columns[0] as readonly Tensor[]).length;
  for (const [i, rows] of columns.entries()) {
    if (rows.length !== count)
      throw new MalformedError(
        'calibration.rows',
        `calibration.inputs.${names[i]}`,
        `${count} rows, as the first input`,
        `${rows.length}`,
      );
  }
  const samples = Array.from(
    { length: count },
    (_, row) => new Map(names.map((name, i) => [name, (columns[i] as readonly Tensor[])[row] as Tensor])),
  );
  return { samples, labels: readLabels(file['labels'], count) };
}

function objectAt(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedError('calibration.json', path, 'an object', describe(value));
  return value as Record<string, unknown>;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  return value === null ? 'null' : typeof value;
}

function readRows(given: unknown, value: FloatValue): Tensor[] {
  const path = `calibration.inputs.${value.name}`;
  if (given === undefined) throw new MalformedError('calibration.input', path, 'rows', 'nothing');
  const width = cellsOf(value.shape);
  const check = (numbers: ArrayLike<number>, row: number): Tensor => {
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] as number;
      if (!Number.isFinite(number) || (value.type !== 'float' && !Number.isInteger(number)))
        throw new MalformedError(
          'calibration.value',
          `${path}[${row}]`,
          value.type === 'float' ? 'finite numbers' : 'integers',
          `${number}`,
        );
    }
    return tensorOf(value.type, value.shape, numbers);
  };
  if (Array.isArray(given)) {
    checkCount(given.length, path);
    return given.map((row, i) => check(flatten(row, value, width, `${path}[${i}]`), i));
  }
  const { numbers, rows } = readPacked(objectAt(given, path), value, width, path);
  return Array.from({ length: rows }, (_, i) => check(numbers.subarray(i * width, (i + 1) * width), i));
}

function checkCount(rows: number, path: string): void {
  if (rows < 1 || rows > SAMPLES_MAX)
    throw new MalformedError('calibration.rows', path, `1 to ${SAMPLES_MAX} rows`, `${rows}`);
}

function flatten(row: unknown, value: FloatValue, width: number, path: string): number[] {
  const numbers: number[] = [];
  const extents: number[] = [];
  const visit = (part: unknown, depth: number): void => {
    if (!Array.isArray(part)) {
      if (typeof part !== 'number')
        throw new MalformedError('calibration.value', path, 'numbers', describe(part));
      numbers.push(part);
      return;
    }
    if (depth >= NESTING_MAX)
      throw new MalformedError('calibration.shape', path, `at most ${NESTING_MAX} axes`, 'more');
    const known = extents[depth];
    if (known === undefined) extents[depth] = part.length;
    else if (known !== part.length)
      throw new MalformedError(
        'calibration.shape',
        path,
        `rows of one length along axis ${depth}`,
        `${known} and ${part.length}`,
      );
    if (numbers.length > width) return;
    for (const inner of part) visit(inner, depth + 1);
  };
  visit(row, 0);
  const own = value.shape.filter((extent) => extent !== 1);
  const isFlat = extents.length <= 1;
  if (numbers.length !== width || (!isFlat && extents.filter((extent) => extent !== 1).join() !== own.join()))
    throw new MalformedError(
      'calibration.shape',
      path,
      `${formatShape(value.shape.slice(1))} or ${width} numbers`,
      formatShape(extents),
    );
  return numbers;
}

const TYPES: Readonly<
  Record<string, { readonly sizeBytes: number; readonly read: (view: DataView, at: number) => number }>
> = {
  u8: { sizeBytes: 1, read: (view, at) => view.getUint8(at) },
  i8: { sizeBytes: 1, read: (view, at) => view.getInt8(at) },
  i32: { sizeBytes: 4, read: (view, at) => view.getInt32(at, true) },
  f32: { sizeBytes: 4, read: (view, at) => view.getFloat32(at, true) },
};

function readPacked(
  packed: Record<string, unknown>,
  value: FloatValue,
  width: number,
  path: string,
): { readonly numbers: Float64Array; readonly rows: number } {
  const { shape, type, base64 } = packed as { shape?: unknown; type?: unknown; base64?: unknown };
  const format = typeof type === 'string' && Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (format === undefined)
    throw new MalformedError(
      'calibration.value',
      `${path}.type`,
      Object.keys(TYPES).join(', '),
      String(type),
    );
  if (!Array.isArray(shape) || !shape.every((extent) => Number.isInteger(extent) && extent > 0))
    throw new MalformedError(
      'calibration.shape',
      `${path}.shape`,
      'extents',
      JSON.stringify(shape) ?? 'nothing',
    );
  const extents = shape as number[];
  const rows = extents[0] as number;
  checkCount(rows, path);
  if (cellsOf(extents) !== rows * width)
    throw new MalformedError(
      'calibration.shape',
      `${path}.shape`,
      `[N, ${value.shape.slice(1).join(', ')}]`,
      formatShape(extents),
    );
  const reading = typeof base64 === 'string' ? readBase64(base64, BASE64) : null;
  if (reading === null || !reading.ok)
    throw new MalformedError('calibration.value', `${path}.base64`, 'base64', typeof base64);
  const { bytes } = reading;
  if (bytes.length !== rows * width * format.sizeBytes)
    throw new MalformedError(
      'calibration.shape',
      `${path}.base64`,
      `${rows * width * format.sizeBytes} bytes`,
      `${bytes.length}`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    numbers: Float64Array.from({ length: rows * width }, (_, i) => format.read(view, i * format.sizeBytes)),
    rows,
  };
}

function readLabels(given: unknown, count: number): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const path = 'calibration.labels';
  if (!Array.isArray(given) || given.length !== count)
    throw new MalformedError(
      'calibration.labels',
      path,
      `${count} labels`,
      Array.isArray(given) ? `${given.length}` : describe(given),
    );
  for (const label of given) {
    if (!Number.isInteger(label) || (label as number) < 0)
      throw new MalformedError('calibration.labels', path, 'positions from 0', String(label));
  }
  return given as number[];
}
