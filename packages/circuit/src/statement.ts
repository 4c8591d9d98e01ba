/**
 * What a proof is about, and its bytes: public tensors, their digests, and the header that opens the transcript. All of
 * it comes from the caller, nothing from the proof.
 */
import {
  arrayOf,
  bytesOf,
  concatBytes,
  encode,
  field,
  MalformedError,
  struct,
  UsageError,
  uint,
} from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import type { ZkStatement } from '@haca/protocol';
import { type TensorKind, tensorCodec, type VerifyingKey } from './key.ts';
import { LIMITS } from './limits.ts';
import type { PlanTensor, Program } from './program.ts';

export type TensorValues = Int8Array | Uint8Array | Int16Array | Int32Array;

const CELL_BYTES: Readonly<Record<TensorKind, number>> = { i8: 1, u8: 1, i16: 2, i32: 4, id: 4 };

/** A public tensor of a key as its users see it: one row of the batch. */
export interface TensorShape {
  readonly kind: TensorKind;
  readonly lo: number;
  readonly hi: number;
  readonly extents: readonly number[];
}

export function publicTensorShapes(key: VerifyingKey): {
  readonly inputs: readonly TensorShape[];
  readonly outputs: readonly TensorShape[];
} {
  const ofRole = (role: string): TensorShape[] =>
    key.tensors.flatMap(({ role: each, kind, lo, hi, extents }) =>
      each === role ? [{ kind, lo, hi, extents }] : [],
    );
  return { inputs: ofRole('input'), outputs: ofRole('output') };
}

const cellsOf = (extents: readonly number[]): number => extents.reduce((cells, extent) => cells * extent, 1);

/** Bytes of one row: row-major, unpadded, two's complement, little-endian. */
export function tensorRowBytes(shape: TensorShape): number {
  return cellsOf(shape.extents) * CELL_BYTES[shape.kind];
}

export function createValues(kind: TensorKind, length: number): TensorValues {
  if (kind === 'i8') return new Int8Array(length);
  if (kind === 'u8') return new Uint8Array(length);
  return kind === 'i16' ? new Int16Array(length) : new Int32Array(length);
}

/** @throws UsageError when a value is outside the tensor's interval */
export function encodeTensor(shape: TensorShape, values: ArrayLike<number>): Uint8Array {
  const size = CELL_BYTES[shape.kind];
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!Number.isInteger(value) || value < shape.lo || value > shape.hi)
      throw new UsageError(`cell ${i} is ${value}, expected an integer in [${shape.lo}, ${shape.hi}]`);
    if (size === 1) view.setInt8(i, value);
    else if (size === 2) view.setInt16(2 * i, value, true);
    else view.setInt32(4 * i, value, true);
  }
  return bytes;
}

/**
 * Reads `rows` rows of tensor bytes. @throws MalformedError on a wrong length or a value outside the interval
 */
export function decodeTensor(
  shape: TensorShape,
  bytes: Uint8Array,
  rows: number,
  name: string,
): TensorValues {
  const expected = tensorRowBytes(shape) * rows;
  if (bytes.length !== expected)
    throw new MalformedError('zk.tensor-length', name, `${expected} bytes`, `${bytes.length}`);
  const size = CELL_BYTES[shape.kind];
  const values = createValues(shape.kind, bytes.length / size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < values.length; i++) {
    const value =
      size === 1
        ? shape.kind === 'u8'
          ? view.getUint8(i)
          : view.getInt8(i)
        : size === 2
          ? view.getInt16(2 * i, true)
          : view.getInt32(4 * i, true);
    if (value < shape.lo || value > shape.hi)
      throw new MalformedError('zk.tensor-value', `${name}[${i}]`, `[${shape.lo}, ${shape.hi}]`, `${value}`);
    values[i] = value;
  }
  return values;
}

/** Spreads real cells (row-major) over the padded cube; padded cells are 0. */
export function padTensor(
  tensor: Pick<PlanTensor, 'extents' | 'axisBits' | 'bits'>,
  dense: TensorValues,
): TensorValues {
  const padded = new (dense.constructor as new (length: number) => TensorValues)(2 ** tensor.bits);
  forEachRun(tensor, (from, to, length) => {
    padded.set(dense.subarray(from, from + length) as never, to);
  });
  return padded;
}

/** The real cells of a padded cube, row-major. */
export function unpadTensor<T extends TensorValues | Uint32Array>(
  tensor: Pick<PlanTensor, 'extents' | 'axisBits' | 'bits'>,
  padded: T,
): T {
  const dense = new (padded.constructor as new (length: number) => T)(cellsOf(tensor.extents));
  forEachRun(tensor, (from, to, length) => {
    dense.set(padded.subarray(to, to + length) as never, from);
  });
  return dense;
}

/** Runs along the last axis: offset among the real cells, offset in the cube, length. */
export function forEachRun(
  tensor: Pick<PlanTensor, 'extents' | 'axisBits'>,
  visit: (dense: number, padded: number, length: number) => void,
): void {
  const { extents, axisBits } = tensor;
  const length = extents.length === 0 ? 1 : (extents[extents.length - 1] as number);
  const runs = cellsOf(extents) / length;
  for (let run = 0; run < runs; run++) {
    let rest = run;
    let padded = 0;
    let scale = 2 ** (axisBits[axisBits.length - 1] ?? 0);
    for (let axis = extents.length - 2; axis >= 0; axis--) {
      const extent = extents[axis] as number;
      padded += (rest % extent) * scale;
      rest = Math.floor(rest / extent);
      scale *= 2 ** (axisBits[axis] as number);
    }
    visit(run * length, padded, length);
  }
}

const TENSOR_CONTEXT = 'haca zkml v1 tensor';
const PLAN_CONTEXT = 'haca zkml v1 plan';
const PROTOCOL_VERSION = 1;

function words(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  return bytes;
}

const VOID_BLOCK = 0xffffffff;

/** Binds what both sides derived from the key: a second implementation that derives anything else differs here. */
export function programDigest(program: Program): Uint8Array {
  const { opening } = program;
  const list: number[] = [
    program.proofBytes,
    program.treeBits,
    opening.weightColumns,
    opening.witnessColumns,
    program.segments.length,
    program.steps.length,
    program.slots,
    program.coordinates,
    program.openings.length,
  ];
  for (const { kind, index, bits, offset } of program.segments)
    list.push(kind === 'lookup' ? 0 : 1, index, bits, offset);
  for (const { at } of [...program.weightPlacements, ...program.witnessPlacements]) {
    if (at.kind === 'part') list.push(1, at.column, at.offset);
    else list.push(0, at.columns.length, ...at.columns.map((column) => column ?? VOID_BLOCK));
  }
  return deriveKey(PLAN_CONTEXT, words(list));
}

const parameterBytes = ({ opening }: Program, profile: number): Uint8Array =>
  concatBytes(
    new Uint8Array([PROTOCOL_VERSION, profile, opening.blowupBits, opening.grindingBits, opening.capBits]),
    words([opening.queries]),
  );

const registrationCodec = struct({
  profile: field(0, uint()),
  columnBits: field(1, uint()),
  folds: field(2, arrayOf(uint(), 8)),
  finalBits: field(3, uint()),
  limbBits: field(4, uint()),
  weights: field(5, arrayOf(tensorCodec, LIMITS.tensors)),
  weightCap: field(6, bytesOf(0, 4096)),
});

const REGISTRATION_CONTEXT = 'haca zkml v1 registration';

/**
 * What a registration proof is about: the weights' kinds, intervals and extents, how they are opened, and their cap. It
 * names no chain and no graph, so another key over the same weights may use the same proof.
 */
export function registrationStatement(key: VerifyingKey): Uint8Array {
  const { profile, columnBits, folds, finalBits, limbBits, weightCap } = key;
  const weights = key.tensors.filter(({ role }) => role === 'weight');
  return deriveKey(
    REGISTRATION_CONTEXT,
    encode(registrationCodec, { profile, columnBits, folds, finalBits, limbBits, weights, weightCap }),
  );
}

/** The first frame of a registration proof's transcript, under a label of its own. */
export function registrationHeader(program: Program, key: VerifyingKey): Uint8Array {
  return concatBytes(
    parameterBytes(program, key.profile),
    registrationStatement(key),
    programDigest(program),
  );
}

/** The first frame of an inference proof's transcript. Lengths of ids are the caller's: 32 bytes each. */
export function statementHeader(program: Program, profile: number, statement: ZkStatement): Uint8Array {
  for (const id of [statement.chainId, statement.claimId, statement.nonce, statement.verifyingKeyHash])
    if (id.length !== 32) throw new UsageError(`ids of a statement have 32 bytes, got ${id.length}`);
  const digests = (tensors: readonly Uint8Array[]): Uint8Array[] =>
    tensors.map((bytes) => deriveKey(TENSOR_CONTEXT, bytes));
  return concatBytes(
    parameterBytes(program, profile),
    statement.chainId,
    statement.claimId,
    statement.nonce,
    statement.verifyingKeyHash,
    words([statement.batchSize, statement.inputs.length]),
    ...digests(statement.inputs),
    words([statement.outputs.length]),
    ...digests(statement.outputs),
    programDigest(program),
  );
}
