/** `haca zk verify` and `haca zk inspect`: in this process, with nothing of what runs or proves models. */
import { readFileSync, statSync } from 'node:fs';
import {
  decodeTensor,
  encodeVerifyingKey,
  HZK_BYTES_MAX,
  HZP_BYTES_MAX,
  type HzkModel,
  type HzkPort,
  KeyError,
  type Op,
  type PlanTensor,
  type ProofFile,
  parseHzk,
  parseProofFile,
  parseVerifyingKey,
  plan,
  publicTensorShapes,
  type TensorShape,
  type TensorSpec,
  type VerifyingKey,
  verifyingKeyHash,
} from '@haca/circuit';
import { nodeZkKernels } from '@haca/platform';
import { bytesEqual, fromHex, MalformedError, toHex } from '@haca/primitives';
import { type Verdict, verdictExitCode } from '@haca/protocol';
import { verifyProofFile } from '@haca/verifier';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { duration } from '../progress-line.ts';
import { checkLine, checkLines, printable, sizeText } from '../report.ts';
import { DEFAULT_CONTEXT, type OutputView, outputLines } from './zk-make.ts';

export const zkVerifyCommand: Command = {
  name: 'zk verify',
  summary: `Verifies a proof file: that a model with this key, run on the inputs in the file, gives the outputs in the file.
Which model has to come from you: --model or --key. Without either the proof is verified, but of which model is not.
Exit code 0: all checks passed. 1: a check failed. 2: unreadable. 3: nothing failed, but something was not checked.`,
  operands: 'PROOF.hzp|-',
  flags: {
    model: {
      value: 'FILE',
      help: 'the model file (.hzk) it must be a proof of; outputs are shown in its units',
    },
    key: { value: 'HEX', help: 'or the hash of its verifying key, as zk import and zk inspect print it' },
    context: { value: 'TEXT', help: `what it must have been made for (default: "${DEFAULT_CONTEXT}")` },
    checks: { help: 'list every check' },
  },
  examples: [
    'haca zk verify three.hzp --model digits.hzk',
    'haca zk verify three.hzp --key 9a…(64 hex digits) --context "order 7, 2026-01-31" --json',
  ],
  run: async (call) => runVerify(call),
};

const OUTCOME = {
  0: 'verified',
  1: 'NOT verified',
  3: 'incomplete: nothing failed, but not everything was checked',
};

const NOT_HIDDEN =
  'inputs and outputs stand in the file; the weights are committed, not hidden: a proof opens some of their rows';

function runVerify(call: Call): number {
  const [path, ...others] = call.operands;
  if (path === undefined || others.length > 0)
    throw new CommandLineError('what to verify? haca zk verify PROOF.hzp --model MODEL.hzk');
  const { hash: expected, model } = expectation(call);
  const bytes = readLimited(path, HZP_BYTES_MAX, 'hzp.size');
  const file = parseProofFile(bytes);
  const context = call.text('context') ?? DEFAULT_CONTEXT;
  const kernels = nodeZkKernels();
  const startedAt = performance.now();
  const verdict = verifyProofFile(file, { verifyingKeyHash: expected, context, kernels });
  const ms = performance.now() - startedAt;
  const hash = verifyingKeyHash(file.verifyingKey);
  const isThisModel = model !== null && expected !== null && bytesEqual(hash, expected);
  const view: Appraised = {
    verdict,
    file,
    hash,
    fileBytes: bytes.length,
    context,
    ms,
    parsed: keyOf(file),
    model: isThisModel ? model : null,
    isPinned: expected !== null,
  };
  if (call.json) call.out(JSON.stringify(jsonView(view), null, 2));
  else for (const line of lines(view, call.has('checks'))) call.out(line);
  return verdictExitCode(verdict);
}

function expectation(call: Call): { readonly hash: Uint8Array | null; readonly model: HzkModel | null } {
  const [modelPath, key] = [call.text('model'), call.text('key')];
  if (modelPath !== undefined && key !== undefined)
    throw new CommandLineError('either --model or --key, not both');
  if (key !== undefined) {
    if (!/^[0-9a-fA-F]{64}$/.test(key)) throw new CommandLineError('--key takes 64 hex digits');
    return { hash: fromHex(key.toLowerCase(), '--key'), model: null };
  }
  if (modelPath === undefined) return { hash: null, model: null };
  const model = readModel(modelPath);
  return { hash: verifyingKeyHash(encodeVerifyingKey(model.key)), model };
}

function readModel(path: string): HzkModel {
  return parseHzk(readLimited(path, HZK_BYTES_MAX, 'hzk.size'));
}

function readLimited(path: string, maxBytes: number, code: string): Uint8Array {
  if (path === '-') return new Uint8Array(readFileSync(0));
  const { size } = statSync(path);
  if (size > maxBytes) throw new MalformedError(code, path, `at most ${maxBytes} bytes`, `${size}`);
  return new Uint8Array(readFileSync(path));
}

interface Appraised {
  readonly verdict: Verdict;
  readonly file: ProofFile;
  readonly hash: Uint8Array;
  readonly fileBytes: number;
  readonly context: string;
  readonly ms: number;
  readonly parsed: ParsedKey | null;
  /** The caller's, where the proof names its key. */
  readonly model: HzkModel | null;
  readonly isPinned: boolean;
}

interface ParsedKey {
  readonly key: VerifyingKey;
  readonly securityBits: number;
}

/** Null where the key means nothing, which the verdict says. */
function keyOf({ verifyingKey, batchSize }: ProofFile): ParsedKey | null {
  try {
    const key = parseVerifyingKey(verifyingKey);
    return { key, securityBits: plan(key, batchSize).securityBits };
  } catch (error) {
    if (error instanceof KeyError || error instanceof MalformedError) return null;
    throw error;
  }
}

function jsonView(view: Appraised): object {
  const { verdict, file, hash, fileBytes, context, ms, parsed, model, isPinned } = view;
  return {
    kind: 'zk-proof',
    ...verdict,
    verifyingKeyHash: toHex(hash),
    keyPinned: isPinned,
    model: model?.name ?? null,
    context,
    batchSize: file.batchSize,
    inputs: tensorViews(view, 'inputs'),
    outputs: tensorViews(view, 'outputs'),
    sizeBytes: fileBytes,
    proofBytes: file.proof.length,
    registrationBytes: file.registration?.length ?? 0,
    securityBits: parsed?.securityBits ?? null,
    verifyMs: Math.round(ms * 10) / 10,
    notHidden: NOT_HIDDEN,
  };
}

interface TensorView extends OutputView {
  readonly rows: readonly {
    readonly integers: readonly number[];
    readonly values: readonly number[];
    readonly largest?: number;
    readonly label?: string;
  }[];
}

/** In the units of the caller's model, or as integers where there is none; null where the bytes are no such tensors. */
function tensorViews(
  { file, parsed, model }: Appraised,
  side: 'inputs' | 'outputs',
): readonly TensorView[] | null {
  if (parsed === null) return null;
  const shapes = publicTensorShapes(parsed.key)[side];
  if (shapes.length !== file[side].length) return null;
  const views: TensorView[] = [];
  for (const [i, shape] of shapes.entries()) {
    const integers = integersOf(shape, file[side][i] as Uint8Array, file.batchSize);
    if (integers === null) return null;
    views.push(tensorView(integers, file.batchSize, model?.[side][i], `${side.slice(0, -1)} ${i}`));
  }
  return views;
}

function integersOf(shape: TensorShape, bytes: Uint8Array, batchSize: number): readonly number[] | null {
  try {
    return [...decodeTensor(shape, bytes, batchSize, 'tensor')];
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

function tensorView(
  integers: readonly number[],
  batchSize: number,
  port: HzkPort | undefined,
  name: string,
): TensorView {
  const width = integers.length / batchSize;
  const rows = Array.from({ length: batchSize }, (_, row) => {
    const own = integers.slice(row * width, (row + 1) * width);
    const largest = own.reduce((best, value, i) => (value > (own[best] as number) ? i : best), 0);
    const label = port?.labels[largest];
    return {
      integers: own,
      values: own.map((value) => Number((value * (port?.scale ?? 1)).toPrecision(6))),
      ...(width > 1 ? { largest } : {}),
      ...(label === undefined ? {} : { label }),
    };
  });
  return { name: port?.name ?? name, rows };
}

function lines(view: Appraised, all: boolean): string[] {
  const { verdict, file, hash, context, ms, parsed, model, isPinned } = view;
  const of = file.batchSize === 1 ? 'one inference' : `${file.batchSize} inferences`;
  const who = isPinned ? (model === null ? '' : `${model.name}, `) : 'NOT KNOWN (give --model or --key), ';
  const inputs = tensorViews(view, 'inputs');
  const bits = parsed === null ? '' : `, ${parsed.securityBits} bits proven`;
  const code = verdictExitCode(verdict);
  return [
    `proof      of ${of}, ${sizeText(file.proof.length)}${bits}`,
    `model      ${who}key ${toHex(hash)}`,
    `context    ${JSON.stringify(context)}`,
    ...(code === 1 ? [] : (inputs ?? [])).map(
      ({ name, rows }) => `input      ${name}: ${rows.length} x ${rows[0]?.values.length ?? 0} values`,
    ),
    ...outputLines(code === 1 ? [] : (tensorViews(view, 'outputs') ?? [])),
    ...(all ? verdict.checks.map(checkLine) : checkLines(verdict, false)).map((line) => `  ${line}`),
    `not hidden ${NOT_HIDDEN}`,
    `${OUTCOME[code]} in ${duration(ms)}`,
  ].map(printable);
}

export const zkInspectCommand: Command = {
  name: 'zk inspect',
  summary:
    'Shows what is in a model file: its key, inputs and outputs, and every operation with the values it can give.',
  operands: 'MODEL.hzk',
  flags: {},
  examples: ['haca zk inspect digits.hzk', 'haca zk inspect digits.hzk --json'],
  run: async (call) => {
    const [path, ...others] = call.operands;
    if (path === undefined || others.length > 0)
      throw new CommandLineError('what to inspect? haca zk inspect MODEL.hzk');
    const view = inspect(readModel(path));
    if (call.json) call.out(JSON.stringify(view, null, 2));
    else for (const line of inspectLines(view)) call.out(line);
    return 0;
  },
};

interface LayerView {
  readonly operation: number;
  readonly kind: string;
  /** Tensors of the key that it reads. */
  readonly reads: readonly number[];
  readonly tensor: number;
  readonly extents: readonly number[];
  readonly role: string;
  readonly lo: number;
  readonly hi: number;
}

interface Inspected {
  readonly ok: true;
  readonly kind: 'zk-model';
  readonly name: string;
  readonly verifyingKeyHash: string;
  readonly sourceSha256: string;
  readonly keyBytes: number;
  readonly parameters: number;
  readonly maxBatch: number;
  readonly profile: number;
  readonly inputs: readonly object[];
  readonly outputs: readonly object[];
  readonly weights: readonly {
    readonly tensor: number;
    readonly extents: readonly number[];
    readonly lo: number;
    readonly hi: number;
  }[];
  readonly layers: readonly LayerView[];
  readonly lookups: number;
  readonly proof: { readonly bytes: number; readonly bytesAtMaxBatch: number; readonly securityBits: number };
}

/** Throws `MalformedError` where the key means nothing. */
function inspect({ key, name, sourceHash, inputs, outputs }: HzkModel): Inspected {
  const keyBytes = encodeVerifyingKey(key);
  const [single, full] = planned(key);
  const tensors = new Map<number, PlanTensor>();
  for (const tensor of single.tensors) if (tensor.keyTensor !== null) tensors.set(tensor.keyTensor, tensor);
  const weights = key.tensors.flatMap(({ role, extents, lo, hi }, tensor) =>
    role === 'weight' ? [{ tensor, extents, lo, hi }] : [],
  );
  const port = ({ name: own, tensor, scale, shape, labels }: HzkPort): object => {
    const { kind, lo, hi } = key.tensors[tensor] as TensorSpec;
    return { name: own, tensor, shape, kind, lo, hi, scale, labels };
  };
  return {
    ok: true,
    kind: 'zk-model',
    name,
    verifyingKeyHash: toHex(verifyingKeyHash(keyBytes)),
    sourceSha256: toHex(sourceHash),
    keyBytes: keyBytes.length,
    parameters: weights.reduce(
      (sum, { extents }) => sum + extents.reduce((cells, each) => cells * each, 1),
      0,
    ),
    maxBatch: key.maxBatch,
    profile: key.profile,
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    weights,
    layers: key.ops.map((op, operation) => layerView(op, operation, key, tensors)),
    lookups: single.lookups.length,
    proof: {
      bytes: single.proofBytes,
      bytesAtMaxBatch: full.proofBytes,
      securityBits: Math.min(single.securityBits, full.securityBits),
    },
  };
}

function planned(key: VerifyingKey): readonly [ReturnType<typeof plan>, ReturnType<typeof plan>] {
  try {
    return [plan(key, 1), plan(key, key.maxBatch)];
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new MalformedError('hzk.key', 'header.key', 'a key that means one thing', error.message);
  }
}

function layerView(
  op: Op,
  operation: number,
  key: VerifyingKey,
  tensors: ReadonlyMap<number, PlanTensor>,
): LayerView {
  const spec = key.tensors[op.y] as TensorSpec;
  const { lo, hi } = tensors.get(op.y) ?? spec;
  return {
    operation,
    kind: op.kind,
    reads: operandsOf(op),
    tensor: op.y,
    extents: spec.extents,
    role: spec.role,
    lo,
    hi,
  };
}

function operandsOf(op: Op): readonly number[] {
  switch (op.kind) {
    case 'sum':
      return op.terms.map(({ x }) => x);
    case 'contract':
      return op.c === null ? [op.a] : [op.a, op.c];
    case 'gather':
      return [op.table, op.ids];
    case 'max':
      return [op.a, op.b];
    default:
      return [op.x];
  }
}

function inspectLines(view: Inspected): string[] {
  const { proof, maxBatch } = view;
  const rows = view.layers.map(({ operation, kind, reads, tensor, extents, role, lo, hi }) => [
    `${operation}`,
    kind,
    reads.map((each) => `t${each}`).join(' '),
    `t${tensor}`,
    `[${extents.join(', ')}]`,
    role,
    `[${lo}, ${hi}]`,
  ]);
  return [
    `model      ${view.name}`,
    `key        ${view.verifyingKeyHash} (${sizeText(view.keyBytes)})`,
    `source     sha256 ${view.sourceSha256}`,
    `weights    ${view.parameters} in ${view.weights.length} tensors`,
    ...view.inputs.map((port) => `input      ${portText(port as PortView)}`),
    ...view.outputs.map((port) => `output     ${portText(port as PortView)}`),
    `proof      ${sizeText(proof.bytes)} for one inference, ${sizeText(proof.bytesAtMaxBatch)} for ${maxBatch}; ${proof.securityBits} bits proven`,
    '',
    ...table([['#', 'operation', 'reads', 'gives', 'shape', 'role', 'values'], ...rows]),
  ].map(printable);
}

interface PortView {
  readonly name: string;
  readonly tensor: number;
  readonly shape: readonly number[];
  readonly kind: string;
  readonly lo: number;
  readonly hi: number;
  readonly scale: number;
}

function portText({ name, tensor, shape, kind, lo, hi, scale }: PortView): string {
  return `${name} = t${tensor} [${shape.join(', ')}] ${kind} in [${lo}, ${hi}], steps of ${Number(scale.toPrecision(4))}`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd((widths[column] as number) + 2))
      .join('')
      .trimEnd(),
  );
}
