import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4_096;
const pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/** `sizeBytes` random bytes (at most 64) in hex, for names. The generator is asked for many at a time: asking is what costs. */
export function randomHex(sizeBytes: number): string {
  if (used + sizeBytes > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  used += sizeBytes;
  return pool.toString('hex', used - sizeBytes, used);
}
