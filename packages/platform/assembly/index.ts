/** Kernels of the verifier's fast path. Memory belongs to the host: everything from `heapStart()` on. */
import { hashMany as hashManyAt, keyedHash as keyedHashAt } from './blake3';
import { dotBase as dotBaseAt } from './dot';

const SCRATCH = memory.data(896, 16);

/** First byte that the module does not use itself. */
export function heapStart(): usize {
  return (__heap_base + 63) & ~63;
}

/** Keyed digests of `count` messages of one size (0 to 1024 bytes) that stand one after another. */
export function hashMany(key: usize, messages: usize, messageBytes: usize, count: usize, out: usize): void {
  hashManyAt(key, messages, messageBytes, count, out, SCRATCH);
}

/** Keyed hash of one message of at most 1024 bytes, `blocks` blocks of 64 bytes of output. */
export function keyedHash(key: usize, message: usize, messageBytes: usize, out: usize, blocks: usize): void {
  keyedHashAt(key, message, messageBytes, out, blocks, SCRATCH);
}

/** Sum of values times weights over F, see `dot.ts`. */
export function dotBase(
  type: u32,
  values: usize,
  planes: usize,
  stride: usize,
  count: usize,
  out: usize,
): void {
  dotBaseAt(type, values, planes, stride, count, out);
}

