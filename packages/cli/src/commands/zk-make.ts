/** `haca zk import` and `haca zk prove`: flags in, a program started, its result shown. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, extname, resolve } from 'node:path';
import { type Call, type Command, CommandLineError, type Flag } from '../command.ts';
import { duration } from '../progress-line.ts';
import { printable, sizeText } from '../report.ts';
import { runZkProgram } from '../zk-process.ts';

export const DEFAULT_CONTEXT = 'haca zk prove';

const THREADS_FLAG: Flag = { value: 'N', help: 'threads to compute with (default: one per core, at most 8)' };
const THREADS_DEFAULT_MAX = 8;
const THREADS_MAX = 64;

export const zkImportCommand: Command = {
  name: 'zk import',
  summary: `Makes an ONNX model one that can be proved: integers in place of floats, measured against the original on your data.
The data file is {"inputs": {"NAME": [row, ...]}, "labels": [3, 1, ...]}; labels, the right answers, may be left out.
Exit code 0: written. 1: the model can't be imported; each operator that is in the way is named. 2: unreadable input.`,
  operands: 'MODEL.onnx',
  flags: {
    calibration: { value: 'FILE', help: 'rows of inputs that the model will see, JSON: some 100 are enough' },
    out: { value: 'FILE', help: 'the model file (default: MODEL.hzk)' },
    name: { value: 'NAME', help: 'what the model is called (default: the name of the file)' },
    activations: {
      value: 'BITS',
      help: 'bits of values between layers: 8 to 12, or auto: the fewest that keep --agreement (default)',
    },
    weights: { value: 'BITS', help: 'bits of weights: 8 to 12 (default: 8)' },
    agreement: { value: 'SHARE', help: 'share of rows that must have the original answer (default: 0.99)' },
    batch: { value: 'N', help: 'most inferences in one proof (default: what fits, up to 64)' },
    profile: { value: '1|2', help: '1: smaller proofs (default); 2: less memory' },
    classes: { value: 'A,B,...', help: "names of the first output's positions" },
    output: { value: 'NAME', help: 'keep only this output; may be repeated', multiple: true },
    threads: THREADS_FLAG,
  },
  examples: [
    'haca zk import digits.onnx --calibration digits.json',
    'haca zk import digits.onnx --calibration digits.json --out d.hzk --activations 8 --batch 16 --json',
  ],
  run: (call) => {
    const model = operand(call, 'MODEL.onnx');
    const stem = basename(model, extname(model));
    const { activations, agreement } = {
      activations: call.text('activations') ?? 'auto',
      agreement: call.text('agreement'),
    };
    const request = {
      kind: 'import',
      model: existing(model),
      calibration: existing(required(call, 'calibration')),
      out: resolve(call.text('out') ?? `${stem}.hzk`),
      name: shortText('name', call.text('name') ?? stem),
      activationBits: activations === 'auto' ? 'auto' : wholeNumber(call, 'activations', 8, 12),
      weightBits: wholeNumber(call, 'weights', 8, 12),
      agreement: agreement === undefined ? undefined : share(agreement),
      maxBatch: wholeNumber(call, 'batch', 1, 1_024),
      profile: wholeNumber(call, 'profile', 1, 2),
      classes: call
        .text('classes')
        ?.split(',')
        .map((name) => shortText('classes', name)),
      outputs: call.has('output') ? call.list('output') : undefined,
      threads: threadsOf(call),
    };
    return runZkProgram(call, request, (result) => {
      for (const line of importLines(result as unknown as ImportResult)) call.out(line);
    });
  },
};

interface PortView {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: string;
  readonly lo: number;
  readonly hi: number;
  readonly scale: number;
}

interface ImportResult {
  readonly file: string;
  readonly sizeBytes: number;
  readonly name: string;
  readonly verifyingKeyHash: string;
  readonly source: { readonly producer: string; readonly opset: number };
  readonly parameters: number;
  readonly multiplications: number;
  readonly activationBits: number;
  readonly weightBits: number;
  readonly samples: number;
  readonly agreement: number;
  readonly agreementWanted: number;
  readonly accuracy?: { readonly float: number; readonly integer: number };
  readonly relativeError: number;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
  readonly operations: number;
  readonly maxBatch: number;
  readonly proof: { readonly bytes: number; readonly bytesAtMaxBatch: number; readonly securityBits: number };
  readonly notes: readonly string[];
  readonly ms: number;
}

function importLines(result: ImportResult): string[] {
  const { accuracy, proof, maxBatch, agreement, agreementWanted, samples } = result;
  const answers = `${percent(agreement)} of ${samples} rows have the answer of the original`;
  return [
    `model      ${result.name}: ${result.source.producer}, opset ${result.source.opset}`,
    `weights    ${count(result.parameters)} of ${result.weightBits} bits, ${count(result.multiplications)} multiplications`,
    ...result.inputs.map((port) => `input      ${portText(port)}`),
    ...result.outputs.map((port) => `output     ${portText(port)}`),
    `operations ${result.operations}, ${result.activationBits} bits between layers`,
    `agreement  ${answers}; relative error ${result.relativeError.toFixed(4)}`,
    ...(agreement < agreementWanted
      ? [`           below ${percent(agreementWanted)}: more --activations or --weights bits, or more data`]
      : []),
    ...(accuracy === undefined
      ? []
      : [`accuracy   ${percent(accuracy.integer)}, of the original ${percent(accuracy.float)}`]),
    `proof      ${sizeText(proof.bytes)} for one inference, ${sizeText(proof.bytesAtMaxBatch)} for ${maxBatch}; ${proof.securityBits} bits proven`,
    `key        ${result.verifyingKeyHash}`,
    ...result.notes.map((note) => `note       ${note}`),
    `written    ${result.file} (${sizeText(result.sizeBytes)}) in ${duration(result.ms)}`,
  ].map(printable);
}

function portText({ name, shape, kind, lo, hi, scale }: PortView): string {
  return `${name} [${shape.join(', ')}] ${kind} in [${lo}, ${hi}], steps of ${Number(scale.toPrecision(4))}`;
}

export const zkProveCommand: Command = {
  name: 'zk prove',
  summary: `Runs a model and proves that it was run: one file that anybody can verify, for one input or several.
The input file is {"inputs": {"NAME": [row, ...]}} of real values, {"integers": ...} of the model's own integers, or, for a
model with one input, rows alone or a grey image (PGM). Nothing is hidden: inputs and outputs stand in the file.`,
  operands: 'MODEL.hzk',
  flags: {
    input: { value: 'FILE', help: 'what to run it on' },
    out: { value: 'FILE', help: 'the proof file (default: MODEL.hzp)' },
    context: {
      value: 'TEXT',
      help: `what the proof is for, e.g. who asked and when; the verifier has to give the same (default: "${DEFAULT_CONTEXT}")`,
    },
    'no-weights-proof': {
      help: 'leave out the proof that the weights are small integers; verifying then ends with exit code 3',
    },
    threads: THREADS_FLAG,
  },
  examples: [
    'haca zk prove digits.hzk --input three.json',
    'haca zk prove digits.hzk --input three.json --out three.hzp --context "order 7, 2026-01-31" --json',
  ],
  run: (call) => {
    const model = operand(call, 'MODEL.hzk');
    const request = {
      kind: 'prove',
      model: existing(model),
      input: existing(required(call, 'input')),
      out: resolve(call.text('out') ?? `${basename(model, extname(model))}.hzp`),
      context: call.text('context') ?? DEFAULT_CONTEXT,
      withRegistration: !call.has('no-weights-proof'),
      threads: threadsOf(call),
    };
    return runZkProgram(call, request, (result) => {
      for (const line of proveLines(result as unknown as ProveResult)) call.out(line);
    });
  },
};

interface ProveResult {
  readonly file: string;
  readonly sizeBytes: number;
  readonly proofBytes: number;
  readonly registrationBytes: number;
  readonly model: string;
  readonly verifyingKeyHash: string;
  readonly context: string;
  readonly batchSize: number;
  readonly clippedInputs: number;
  readonly outputs: readonly OutputView[];
  readonly securityBits: number;
  readonly threads: number;
  readonly times: Readonly<Record<string, number>>;
}

export interface OutputView {
  readonly name: string;
  readonly rows: readonly {
    readonly values: readonly number[];
    readonly largest?: number;
    readonly label?: string;
  }[];
}

const ROWS_SHOWN = 8;
const VALUES_SHOWN = 10;

/** A line for each row, the first few of both rows and values. */
export function outputLines(outputs: readonly OutputView[]): string[] {
  return outputs.flatMap(({ name, rows }) => [
    ...rows.slice(0, ROWS_SHOWN).map(({ values, largest, label }, row) => {
      const shown = values
        .slice(0, VALUES_SHOWN)
        .map((value) => `${Number.isInteger(value) ? value : Number(value.toPrecision(4))}`);
      const more = values.length > VALUES_SHOWN ? `, and ${values.length - VALUES_SHOWN} more` : '';
      const answer = largest === undefined ? '' : `${label ?? `position ${largest}`}: `;
      return `output     ${name}, row ${row + 1}: ${answer}${shown.join(', ')}${more}`;
    }),
    ...(rows.length > ROWS_SHOWN ? [`           and ${rows.length - ROWS_SHOWN} more rows`] : []),
  ]);
}

function proveLines(result: ProveResult): string[] {
  const { times, batchSize, clippedInputs } = result;
  const time = (name: string): string => duration(times[name] ?? 0);
  const of = batchSize === 1 ? 'one inference' : `${batchSize} inferences`;
  const weights =
    result.registrationBytes === 0
      ? 'without a proof of the weights'
      : `and ${sizeText(result.registrationBytes)} that prove the weights small (${time('registrationMs')})`;
  return [
    `model      ${result.model}, key ${result.verifyingKeyHash}`,
    ...outputLines(result.outputs),
    ...(clippedInputs === 0
      ? []
      : [`note       ${clippedInputs} input values were cut off at the interval that calibration saw`]),
    `proof      ${sizeText(result.proofBytes)} for ${of}, ${result.securityBits} bits proven; ${weights}`,
    `context    ${JSON.stringify(result.context)}`,
    `time       ${time('proveMs')} proving, ${time('inferenceMs')} running, ${time('weightsMs')} committing to the weights, ${result.threads} threads`,
    `written    ${result.file} (${sizeText(result.sizeBytes)})`,
  ].map(printable);
}

const count = (value: number): string => value.toLocaleString('en-US');
const percent = (value: number): string => `${Number((100 * value).toFixed(2))}%`;

function operand(call: Call, name: string): string {
  const [path, ...others] = call.operands;
  if (path === undefined || others.length > 0)
    throw new CommandLineError(
      `haca ${call.command.name} takes one ${name}\nTry: haca ${call.command.name} --help`,
    );
  return path;
}

function required(call: Call, flag: string): string {
  const value = call.text(flag);
  if (value === undefined)
    throw new CommandLineError(`--${flag} is needed\nTry: haca ${call.command.name} --help`);
  return value;
}

function existing(path: string): string {
  if (!existsSync(path)) throw new CommandLineError(`there is no file ${path}`);
  return resolve(path);
}

function wholeNumber(call: Call, flag: string, least: number, most: number): number | undefined {
  const text = call.text(flag);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || value < least || value > most)
    throw new CommandLineError(`--${flag} takes a whole number from ${least} to ${most}, not ${text}`);
  return value;
}

const NAME_BYTES_MAX = 256;

/** What a model file takes as a name. */
function shortText(flag: string, text: string): string {
  if (Buffer.byteLength(text) > NAME_BYTES_MAX)
    throw new CommandLineError(`--${flag} takes names of at most ${NAME_BYTES_MAX} bytes`);
  return text;
}

function share(text: string): number {
  const value = Number(text);
  if (!/^(?:0(?:\.[0-9]+)?|1(?:\.0+)?)$/.test(text))
    throw new CommandLineError(`--agreement takes a share from 0 to 1, not ${text}`);
  return value;
}

function threadsOf(call: Call): number {
  return (
    wholeNumber(call, 'threads', 1, THREADS_MAX) ?? Math.min(THREADS_DEFAULT_MAX, availableParallelism())
  );
}
