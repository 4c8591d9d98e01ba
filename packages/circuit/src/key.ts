/**
 * The verifying key: one tensor graph with its integer arithmetic, its tables of values, its opening parameters and the
 * commitment to its weights. Everything else (columns, lookups, claims, the length of a proof) follows from the key and
 * the batch size by `plan`. A key is registered by anybody, so it is read as hostile input: this file checks its form,
 * `validateVerifyingKey` its meaning.
 *
 * Axes and bits. Every tensor but a weight has the batch as a leading axis that the key does not mention. An axis of
 * extent D has ⌈log2 D⌉ bits (none for extent 1), most significant first; the bits of a tensor are those of its axes in
 * order.
 */
import {
  arrayOf,
  bytesOf,
  type CborReader,
  type Codec,
  decode,
  encode,
  field,
  MalformedError,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import { LIMITS } from './limits.ts';

const SIGNED_MAX = 2 ** 31;

/** A signed integer as an unsigned one, zigzag: 0, -1, 1, -2, … become 0, 1, 2, 3, … */
export function sint(bound: number = SIGNED_MAX): Codec<number> {
  const inner = uint(2 * bound);
  return {
    cddl: `zigzag .le ${2 * bound}`,
    write: (writer, value) => inner.write(writer, value < 0 ? -2 * value - 1 : 2 * value),
    read: (reader: CborReader) => {
      const value = inner.read(reader);
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    },
  };
}

export const TENSOR_ROLES = ['virtual', 'weight', 'input', 'output', 'anchor'] as const;
export type TensorRole = (typeof TENSOR_ROLES)[number];

export const TENSOR_KINDS = ['i8', 'u8', 'i16', 'i32', 'id'] as const;
export type TensorKind = (typeof TENSOR_KINDS)[number];

const tensorIndex = uint(LIMITS.tensors - 1);
const listIndex = uint(LIMITS.lists - 1);
const extent = uint(LIMITS.extent);
const axis = uint(LIMITS.axes - 1);

/**
 * - `virtual`: the result of a linear op; never stored, its interval is computed, so `lo = hi = 0` and kind i32 here.
 * - `weight`: committed once, in the key. `input`, `output`: public. `anchor`: committed by each proof.
 * Values lie in [lo, hi].
 */
export const tensorCodec = struct({
  role: field(0, oneOf(...TENSOR_ROLES)),
  kind: field(1, oneOf(...TENSOR_KINDS)),
  lo: field(2, sint()),
  hi: field(3, sint()),
  extents: field(4, arrayOf(extent, LIMITS.axes)),
});
export type TensorSpec = TypeOf<typeof tensorCodec>;

/**
 * Where one bit of an operand comes from: 0 and 1 are constants, 2 + k is bit k of the result (batch bits not counted).
 * A transpose, a broadcast, a split at a power of two and a strided half are all such maps.
 */
const bitSource = uint(1 + LIMITS.axes * 24);

/** y[i] = constant + Σ coefficient · x[bits(i)]: bias, addition, scaling, views. The constant is added in every cell. */
const sumCodec = struct({
  y: field(0, tensorIndex),
  constant: field(1, sint()),
  terms: field(
    2,
    arrayOf(
      struct({
        x: field(0, tensorIndex),
        coefficient: field(1, sint(2 ** 20)),
        bits: field(2, arrayOf(bitSource, 28)),
      }),
      64,
      1,
    ),
  ),
});

/**
 * y = Σ over contracted labels of a · c. Axis i of y has label i; further labels are contracted, in ascending order.
 * Labels of `a` and `c` name their axes. A label of y stands in a, in c or in both (then the product is elementwise
 * along it); a contracted label stands in `a`, and in `c` too where `c` is a tensor. `c` null sums `a` up; `indexLabel`
 * multiplies by the index along that contracted label instead.
 */
const contractCodec = struct({
  y: field(0, tensorIndex),
  a: field(1, tensorIndex),
  c: field(2, nullable(tensorIndex)),
  labelsA: field(3, arrayOf(uint(11), LIMITS.axes)),
  labelsC: field(4, arrayOf(uint(11), LIMITS.axes)),
  indexLabel: field(5, nullable(uint(11))),
});

const relationNumbers = {
  stride: field(10, uint(LIMITS.stride)),
  dilation: field(11, uint(LIMITS.stride)),
  pad: field(12, uint(LIMITS.offset)),
  start: field(13, uint(LIMITS.offset)),
};

/**
 * How axes of x and y of a wire belong together. With i an index along the long axis, j a position and k a tap:
 * i + pad = stride · j + dilation · k + start, all three inside their extents.
 * - `same`: one axis each, equal extents.
 * - `window`: i along x, j and k along two axes of y: the patches of a convolution, an axis split in two.
 * - `pool`: i along x, j along y, summed over `taps` values of k; one tap is a slice, a pad or a part of a concatenation.
 * - `merge`: j and k along two axes of x, i along y: two axes joined into one.
 */
const relationCodec = union({
  same: variant(0, struct({ x: field(0, axis), y: field(1, axis) })),
  window: variant(
    1,
    struct({ x: field(0, axis), yPosition: field(1, axis), yTap: field(2, axis), ...relationNumbers }),
  ),
  pool: variant(
    2,
    struct({ x: field(0, axis), y: field(1, axis), taps: field(2, uint(LIMITS.extent)), ...relationNumbers }),
  ),
  merge: variant(
    3,
    struct({ xPosition: field(0, axis), xTap: field(1, axis), y: field(2, axis), ...relationNumbers }),
  ),
});
export type AxisRelation = TypeOf<typeof relationCodec>;

/** y[o] = Σ x[i] over all i related to o; cells without a partner are 0. */
const wireCodec = struct({
  y: field(0, tensorIndex),
  x: field(1, tensorIndex),
  relations: field(2, arrayOf(relationCodec, LIMITS.axes)),
});

/** y[i…, d…] = table[ids[i…], d…], `ids` a public input of kind id. */
const gatherCodec = struct({
  y: field(0, tensorIndex),
  table: field(1, tensorIndex),
  ids: field(2, tensorIndex),
});

const requantizeCommon = {
  y: field(0, tensorIndex),
  x: field(1, tensorIndex),
  shift: field(2, uint(20)),
  offset: field(3, sint(2 ** 16)),
  /** `saturating`; `exact`: 0 ≤ U < 2^(shift+window); `unsigned`: U ≥ 0, saturating above. */
  mode: field(4, oneOf('saturating', 'exact', 'unsigned')),
  /** Width of the overflow digit: it lies in [-2^(b-1), 2^(b-1)), in `unsigned` mode in [0, 2^b). 0 in `exact` mode. */
  overflowBits: field(5, uint(16)),
};

/** U = x + 2^(shift-1) + offset·2^shift, q = clamp(U >> shift, 0, 2^window - 1), y = values[q]. */
const requantizeCodec = struct({
  ...requantizeCommon,
  window: field(6, uint(12)),
  values: field(7, listIndex),
});

/** As `requantize` with a window of 16 bits and y = q - zero; zero 32768 gives i16, zero 0 a ReLU. */
const requantize16Codec = struct({
  ...requantizeCommon,
  zero: field(6, uint(2 ** 15)),
});

/** y = max(a, b), elementwise. */
const maxCodec = struct({ y: field(0, tensorIndex), a: field(1, tensorIndex), b: field(2, tensorIndex) });

/** Probabilities 0…128 along the last axis; `exponentials` is E[δ], `causal` masks j > i of the last two axes. */
const softmaxCodec = struct({
  y: field(0, tensorIndex),
  x: field(1, tensorIndex),
  keyBits: field(2, uint(12)),
  exponentials: field(3, listIndex),
  causal: field(4, oneOf('no', 'yes')),
});

/** One-hot of the largest along the last axis, ties to the lowest index. */
const top1Codec = struct({ y: field(0, tensorIndex), x: field(1, tensorIndex) });

/** y = values[x - lo]. */
const tableCodec = struct({
  y: field(0, tensorIndex),
  x: field(1, tensorIndex),
  lo: field(2, sint(2 ** 20)),
  values: field(3, listIndex),
});

const opCodec = union({
  sum: variant(0, sumCodec),
  contract: variant(1, contractCodec),
  wire: variant(2, wireCodec),
  gather: variant(3, gatherCodec),
  requantize: variant(16, requantizeCodec),
  requantize16: variant(17, requantize16Codec),
  max: variant(18, maxCodec),
  softmax: variant(19, softmaxCodec),
  top1: variant(20, top1Codec),
  table: variant(21, tableCodec),
});
export type Op = TypeOf<typeof opCodec>;
export type OpOf<K extends Op['kind']> = Extract<Op, { readonly kind: K }>;
export type RequantizeMode = OpOf<'requantize'>['mode'];

const keyCodec = struct({
  version: field(0, uint(1)),
  /** 1: rate 1/8; 2: rate 1/4 (less memory, larger proofs). */
  profile: field(1, uint(2)),
  maxBatch: field(2, uint(LIMITS.maxBatch)),
  /** Width of range limbs, 8 to 12. */
  limbBits: field(3, uint(12)),
  tensors: field(4, arrayOf(tensorCodec, LIMITS.tensors, 1)),
  ops: field(5, arrayOf(opCodec, LIMITS.ops, 1)),
  /** Lists of values that requantizations, softmax and tables look up. */
  lists: field(6, arrayOf(arrayOf(sint(), LIMITS.listEntries, 1), LIMITS.lists)),
  /** Columns have 2^columnBits cells; each fold layer halves that often; 2^finalBits values are sent in clear. */
  columnBits: field(7, uint(24)),
  folds: field(8, arrayOf(uint(4), 8, 1)),
  finalBits: field(9, uint(8)),
  /** The Merkle cap of the weight columns. */
  weightCap: field(10, bytesOf(0, 32 * 128)),
});

/** Shapes: see the field comments above; ranges are those of the codec until `validateVerifyingKey` has looked. */
export type VerifyingKey = TypeOf<typeof keyCodec>;

export const VERIFYING_KEY_CDDL: string = keyCodec.cddl;
export const KEY_VERSION = 1;

/** @throws UsageError on values outside the codec's ranges */
export function encodeVerifyingKey(key: VerifyingKey): Uint8Array {
  return encode(keyCodec, key);
}

/** Reads the form only; the one encoding of a key is accepted. @throws MalformedError */
export function parseVerifyingKey(bytes: Uint8Array): VerifyingKey {
  if (bytes.length > LIMITS.keyBytes)
    throw new MalformedError('zk.key-size', 'key', `at most ${LIMITS.keyBytes} bytes`, `${bytes.length}`);
  return decode(keyCodec, bytes, 'key');
}

const KEY_CONTEXT = 'haca zkml v1 verifying key';

/** What registers name and statements carry: 32 bytes, BLAKE3 in key-derivation mode. */
export function verifyingKeyHash(bytes: Uint8Array): Uint8Array {
  return deriveKey(KEY_CONTEXT, bytes);
}
