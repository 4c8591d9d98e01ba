/**
 * Reed-Solomon codewords of columns. A column a of 2^h values on the hypercube (index i, most significant bit first)
 * stands for the polynomial A(X) = sum of a[i] X^rev(i), rev the reversal of h bits; its codeword at blow-up 2^v is
 * A(w^j) for j < 2^(h+v), w of order 2^(h+v). Binding x_0 of the column is then folding even and odd powers of A.
 */
import { UsageError } from '../errors.ts';
import { INVERSE_P_LOW, inverse, mul, P, rootOfUnity, TWO_ADICITY } from './babybear.ts';
import { exactLog2, reverseBits, signedWords } from './bits.ts';
import { EXT_DEGREE } from './ext.ts';
import { type ExtVector, extVector } from './ext-vector.ts';

// Constants of the module, for the speed of the loops: see babybear.ts.
const PRIME = P;
const INVERSE_LOW = INVERSE_P_LOW;

/** Twiddles of the butterflies of width 2 * half: w^j at [half + j], w of order 2 * half; grown when a longer word comes. */
let twiddles = Int32Array.of(0, 1);

function twiddlesFor(size: number): Int32Array {
  if (twiddles.length >= size) return twiddles;
  const table = new Int32Array(size);
  table.set(twiddles);
  for (let half = 1, order = 1; half < size; half *= 2, order++) {
    if (half < twiddles.length) continue;
    const root = rootOfUnity(order);
    let power = 1;
    for (let j = 0; j < half; j++) {
      table[half + j] = power;
      power = mul(power, root);
    }
  }
  twiddles = table;
  return table;
}

/** The codeword of a column of 2^h canonical values: 2^(h + blowupLog2) values, h + blowupLog2 at most 27. */
export function codeword(column: Uint32Array, blowupLog2: number): Uint32Array {
  const word = new Uint32Array(wordLength(column.length, blowupLog2));
  encodeInto(column, blowupLog2, word);
  return word;
}

/** The codeword of a column over F: that of each plane. */
export function codewordExt(column: ExtVector, blowupLog2: number): ExtVector {
  const length = wordLength(column.length, blowupLog2);
  const word = extVector(length);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const plane = column.data.subarray(k * column.length, (k + 1) * column.length);
    encodeInto(plane, blowupLog2, word.data.subarray(k * length, (k + 1) * length));
  }
  return word;
}

function wordLength(columnLength: number, blowupLog2: number): number {
  const h = exactLog2(columnLength);
  if (h === undefined) throw new UsageError(`a column of ${columnLength} values`);
  if (!Number.isInteger(blowupLog2) || blowupLog2 < 0 || h + blowupLog2 > TWO_ADICITY) {
    throw new UsageError(`a word of 2^(${h} + ${blowupLog2}) values`);
  }
  return columnLength * 2 ** blowupLog2;
}

function encodeInto(column: Uint32Array, blowupLog2: number, word: Uint32Array): void {
  // In bit-reversed order coefficient rev(i) of the padded polynomial stands at i * 2^v, zeros between; the first v
  // layers of butterflies would copy each value over the zeros behind it.
  // A shift, not a power: the engine would carry a power, and all indices made from it, as a double.
  const blowup = 1 << blowupLog2;
  for (let i = 0; i < column.length; i++) word.fill(column[i] as number, i * blowup, (i + 1) * blowup);
  transform(word, blowup);
}

/** Butterflies of half-width `firstHalf` upward: bit-reversed coefficients in, values in natural order out. */
function transform(word: Uint32Array, firstHalf: number): void {
  const table = twiddlesFor(word.length);
  const words = signedWords(word);
  for (let half = firstHalf; half < word.length; half *= 2) {
    for (let block = 0; block < word.length; block += 2 * half) {
      butterflies(words, block, half, table);
    }
  }
}

function butterflies(word: Int32Array, block: number, half: number, table: Int32Array): void {
  for (let j = 0; j < half; j++) {
    const at = block + j;
    const w = table[half + j] as number;
    const u = word[at] as number;
    const v = word[at + half] as number;
    const quotient = (v * w * INVERSE_LOW) | 0;
    const remainder = (Math.imul(v, w) - Math.imul(quotient, PRIME)) | 0;
    const t = remainder >= PRIME ? remainder - PRIME : remainder;
    const sum = (u - PRIME + t) | 0;
    const difference = (u - t) | 0;
    word[at] = sum + (PRIME & (sum >> 31));
    word[at + half] = difference + (PRIME & (difference >> 31));
  }
}

/**
 * The column whose codeword this is. Throws `UsageError` if it is no codeword of that blow-up.
 */
export function columnOfCodeword(word: Uint32Array, blowupLog2: number): Uint32Array {
  const bits = exactLog2(word.length);
  if (bits === undefined || blowupLog2 > bits) throw new UsageError(`a word of ${word.length} values`);
  const values = new Uint32Array(word.length);
  for (let j = 0; j < word.length; j++) values[reverseBits(j, bits)] = word[j] as number;
  transform(values, 1);
  // Values at w^-k of the word as a polynomial are its coefficients times the length.
  const scale = inverse(word.length % PRIME);
  const column = new Uint32Array(2 ** (bits - blowupLog2));
  for (let k = 0; k < word.length; k++) {
    const coefficient = mul(values[(word.length - k) % word.length] as number, scale);
    if (k < column.length) column[reverseBits(k, bits - blowupLog2)] = coefficient;
    else if (coefficient !== 0) throw new UsageError(`coefficient ${k} of a word is not zero`);
  }
  return column;
}
