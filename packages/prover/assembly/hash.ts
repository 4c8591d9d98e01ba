/** Leaves of the commitments, four at a time straight from columns or blocks, and the search for a nonce. */
import {
  CHUNK_END,
  CHUNK_START,
  compress4,
  KEYED_HASH,
  ROOT,
  startKeyed4,
  storeDigests4,
} from '../../platform/assembly/blake3';
import { scratch } from './scratch';

// Scratch: chaining values and their transposition, block.
const MESSAGE: usize = 512;

/**
 * Digests of rows `4 from` to `4 to` over `count` words each: word c of row j at `columns[c] + 4 j`. At most 256 columns;
 * the number of rows is a multiple of 4.
 */
export function hashColumns(
  key: usize,
  columns: usize,
  count: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const chaining = scratch();
  const block = chaining + MESSAGE;
  for (let group = from; group < to; group++) {
    startKeyed4(chaining, key);
    let flags: u32 = KEYED_HASH | CHUNK_START;
    let c: usize = 0;
    for (;;) {
      const words = min(count - c, 16);
      for (let k: usize = 0; k < words; k++) {
        v128.store(block + 16 * k, v128.load(<usize>load<u32>(columns + 4 * (c + k)) + 16 * group));
      }
      if (words < 16) memory.fill(block + 16 * words, 0, 256 - 16 * words);
      c += words;
      const isLast = c == count;
      if (isLast) flags |= CHUNK_END | ROOT;
      compress4(chaining, block, <u32>words * 4, flags);
      if (isLast) break;
      flags = KEYED_HASH;
    }
    storeDigests4(chaining, out + 128 * group);
  }
}

/**
 * Digests of leaves `4 from` to `4 to` of a word over F: leaf i holds elements i + k * leaves, k < count (at most 32), 20
 * bytes each. The number of leaves is a multiple of 4.
 */
export function hashBlocks(
  key: usize,
  word: usize,
  leaves: usize,
  count: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const chaining = scratch();
  const block = chaining + MESSAGE;
  const stride = leaves * 20;
  for (let group = from; group < to; group++) {
    startKeyed4(chaining, key);
    let flags: u32 = KEYED_HASH | CHUNK_START;
    const end = count * 5;
    let filled: usize = 0;
    let element = word + group * 80;
    let coefficient: usize = 0;
    for (let c: usize = 0; c < end; c++) {
      v128.store(block + 16 * filled, v128.load(element + coefficient));
      filled++;
      coefficient += 16;
      if (coefficient == 80) {
        coefficient = 0;
        element += stride;
      }
      if (filled < 16 && c + 1 < end) continue;
      if (filled < 16) memory.fill(block + 16 * filled, 0, 256 - 16 * filled);
      if (c + 1 == end) flags |= CHUNK_END | ROOT;
      compress4(chaining, block, <u32>filled * 4, flags);
      flags = KEYED_HASH;
      filled = 0;
    }
    storeDigests4(chaining, out + 128 * group);
  }
}

/**
 * The least nonce in [4 from, 4 to), below 2^31, whose keyed digest (as 8 bytes, little-endian) starts with `bits` zero
 * bits, most significant bit of the first byte first, at most 32; or -1.
 */
export function grind(key: usize, bits: u32, from: usize, to: usize): i32 {
  const chaining = scratch();
  const block = chaining + MESSAGE;
  memory.fill(block, 0, 256);
  for (let group = from; group < to; group++) {
    startKeyed4(chaining, key);
    const nonce = <u32>group * 4;
    for (let lane: u32 = 0; lane < 4; lane++) store<u32>(block + 4 * lane, nonce + lane);
    compress4(chaining, block, 8, KEYED_HASH | CHUNK_START | CHUNK_END | ROOT);
    for (let lane: u32 = 0; lane < 4; lane++) {
      if (<u32>clz(bswap(load<u32>(chaining + 4 * lane))) >= bits) return <i32>(nonce + lane);
    }
  }
  return -1;
}
