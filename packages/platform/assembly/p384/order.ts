/** Arithmetic modulo the order n of the group: limbs of 28 bits as in `field.ts`, never negative, below 1.1 n. */
import { N, N_INVERSE } from './constants';

const LIMBS: usize = 14;
const MASK: u64 = 0xfffffff;
const columns: usize = memory.data(29 * 8);

/** out = x y / R modulo n, below n + x y / R. Columns stay below 2^61. */
export function multiplyN(out: usize, x: usize, y: usize): void {
  memory.fill(columns, 0, 29 * 8);
  for (let i: usize = 0; i < LIMBS; i++) {
    const factor = load<u64>(x + (i << 3));
    const row = columns + (i << 3);
    for (let j: usize = 0; j < LIMBS; j++) {
      const at = row + (j << 3);
      store<u64>(at, load<u64>(at) + factor * load<u64>(y + (j << 3)));
    }
  }
  const order = changetype<usize>(N);
  for (let i: usize = 0; i < LIMBS; i++) {
    const row = columns + (i << 3);
    const low = load<u64>(row);
    const m = ((low & MASK) * N_INVERSE) & MASK;
    for (let j: usize = 0; j < LIMBS; j++) {
      const at = row + (j << 3);
      store<u64>(at, load<u64>(at) + m * load<u64>(order + (j << 3)));
    }
    store<u64>(row + 8, load<u64>(row + 8) + (load<u64>(row) >> 28));
  }
  let carry: u64 = 0;
  for (let i: usize = 0; i < LIMBS; i++) {
    const sum = load<u64>(columns + ((i + LIMBS) << 3)) + carry;
    store<u64>(out + (i << 3), sum & MASK);
    carry = sum >> 28;
  }
}

/** Seven words of 56 bits, two limbs each. */
const WORDS: usize = 7;
const WORD_MASK: u64 = 0xffffffffffffff;
let u: usize = memory.data(7 * 8);
let v: usize = memory.data(7 * 8);
let a: usize = memory.data(7 * 8);
let c: usize = memory.data(7 * 8);
const n: usize = memory.data(7 * 8);

/**
 * out = 1 / number modulo n, for 0 < number < n: Stein's algorithm. Throughout a number = u and c number = v modulo n, a and c in
 * [0, n), v is odd; u + v halves at least every other step, so at most 2 * 384 steps are taken.
 */
export function invertN(out: usize, number: usize): void {
  pack(u, number);
  pack(n, changetype<usize>(N));
  memory.copy(v, n, WORDS << 3);
  memory.fill(a, 0, WORDS << 3);
  memory.fill(c, 0, WORDS << 3);
  store<u64>(a, 1);
  while (true) {
    while ((load<u64>(u) & 1) == 0) {
      halve(u);
      if ((load<u64>(a) & 1) != 0) addWords(a, n);
      halve(a);
    }
    if (isBelowWords(u, v)) {
      const w = u;
      u = v;
      v = w;
      const d = a;
      a = c;
      c = d;
    }
    if (subtractWords(u, v)) break;
    if (isBelowWords(a, c)) addWords(a, n);
    subtractWords(a, c);
  }
  // u = v, and n is prime: both are 1.
  unpack(out, c);
}

function pack(out: usize, limbs: usize): void {
  for (let i: usize = 0; i < WORDS; i++)
    store<u64>(out + (i << 3), load<u64>(limbs + (i << 4)) | (load<u64>(limbs + (i << 4) + 8) << 28));
}

function unpack(limbs: usize, words: usize): void {
  for (let i: usize = 0; i < WORDS; i++) {
    const word = load<u64>(words + (i << 3));
    store<u64>(limbs + (i << 4), word & MASK);
    store<u64>(limbs + (i << 4) + 8, word >> 28);
  }
}

function halve(words: usize): void {
  let word = load<u64>(words);
  for (let at = words; at < words + 48; at += 8) {
    const next = load<u64>(at + 8);
    store<u64>(at, (word >> 1) | ((next & 1) << 55));
    word = next;
  }
  store<u64>(words + 48, word >> 1);
}

/** words += other; the sum stays below 2^392. */
function addWords(words: usize, other: usize): void {
  let carry: u64 = 0;
  for (let i: usize = 0; i < 56; i += 8) {
    const sum = load<u64>(words + i) + load<u64>(other + i) + carry;
    store<u64>(words + i, sum & WORD_MASK);
    carry = sum >> 56;
  }
}

/** words -= other, which is no larger; whether the difference is 0. */
function subtractWords(words: usize, other: usize): bool {
  let borrow: i64 = 0;
  let bits: u64 = 0;
  for (let i: usize = 0; i < 56; i += 8) {
    const difference = load<i64>(words + i) - load<i64>(other + i) + borrow;
    const word = <u64>difference & WORD_MASK;
    store<u64>(words + i, word);
    bits |= word;
    borrow = difference >> 56;
  }
  return bits == 0;
}

function isBelowWords(words: usize, other: usize): bool {
  for (let i: i32 = 48; i >= 0; i -= 8) {
    const x = load<u64>(words + i);
    const y = load<u64>(other + i);
    if (x != y) return x < y;
  }
  return false;
}
