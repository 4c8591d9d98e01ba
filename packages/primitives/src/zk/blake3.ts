/**
 * BLAKE3 (the specification of 2020: hash, keyed hash, key derivation, extendable output), written for the two uses a
 * proof makes of it: millions of keyed 64-byte nodes, and a transcript of short frames.
 */
import { utf8Encode } from '../bytes.ts';
import { UsageError } from '../errors.ts';

export const BLAKE3_KEY_BYTES = 32;
export const BLAKE3_DIGEST_BYTES = 32;
const BLOCK_BYTES = 64;
const CHUNK_BYTES = 1024;

const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const KEYED_HASH = 16;
const DERIVE_KEY_CONTEXT = 32;
const DERIVE_KEY_MATERIAL = 64;

const IV_0 = 0x6a09e667;
const IV_1 = 0xbb67ae85 | 0;
const IV_2 = 0x3c6ef372;
const IV_3 = 0xa54ff53a | 0;
const IV = Int32Array.of(IV_0, IV_1, IV_2, IV_3, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);

const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** `count` messages of equal size, one after another, and room for as many 32-byte digests. */
export interface HashManyRequest {
  /** 32 bytes, or the same as eight little-endian words. */
  readonly key: Uint8Array | Uint32Array;
  readonly messages: Uint8Array;
  /** 0 to 1024: each message is one chunk. */
  readonly messageBytes: number;
  readonly count: number;
  /** Receives 32 bytes a message; must not overlap `messages`. */
  readonly out: Uint8Array;
}

/** The plain hash, `outBytes` of extendable output. */
export function blake3(bytes: Uint8Array, outBytes = BLAKE3_DIGEST_BYTES): Uint8Array {
  return hashTree(IV, bytes, 0, outBytes);
}

/** The keyed hash under a 32-byte key. */
export function keyedHash(key: Uint8Array, bytes: Uint8Array, outBytes = BLAKE3_DIGEST_BYTES): Uint8Array {
  return hashTree(keyWords(key), bytes, KEYED_HASH, outBytes);
}

/** Key derivation: `context` is a fixed string of the application, `bytes` the key material. */
export function deriveKey(context: string, bytes: Uint8Array, outBytes = BLAKE3_DIGEST_BYTES): Uint8Array {
  const contextKey = hashTree(IV, utf8Encode(context), DERIVE_KEY_CONTEXT, BLAKE3_KEY_BYTES);
  return hashTree(keyWords(contextKey), bytes, DERIVE_KEY_MATERIAL, outBytes);
}

/** The keyed hash of each of `count` messages of one size. Throws `UsageError` if the sizes do not fit. */
export function hashMany(request: HashManyRequest): void {
  const { messages, messageBytes, count, out } = request;
  checkHashMany(request);
  const key = keyWords(request.key);
  const words = wordsView(messages);
  const outWords = wordsView(out);
  const lastBlock = messageBytes === 0 ? 0 : BLOCK_BYTES * (Math.ceil(messageBytes / BLOCK_BYTES) - 1);
  const lastBytes = messageBytes - lastBlock;
  const direct = words !== undefined && messageBytes % BLOCK_BYTES === 0 && messageBytes > 0;
  const [chaining, state, block] = [CHAINING, STATE, BLOCK];
  for (let i = 0; i < count; i++) {
    const start = i * messageBytes;
    let flags = KEYED_HASH | CHUNK_START;
    let from = key;
    for (let at = 0; at <= lastBlock; at += BLOCK_BYTES) {
      const isLast = at === lastBlock;
      if (isLast) flags |= CHUNK_END | ROOT;
      const size = isLast ? lastBytes : BLOCK_BYTES;
      if (direct) {
        compress(from, words, (start + at) >>> 2, 0, 0, size, flags, state);
      } else {
        loadBlock(messages, start + at, size, block);
        compress(from, block, 0, 0, 0, size, flags, state);
      }
      if (!isLast) {
        for (let k = 0; k < 8; k++) chaining[k] = state[k] as number;
        from = chaining;
        flags = KEYED_HASH;
      }
    }
    if (outWords === undefined) storeWords(state, out, 32 * i, 32);
    else for (let k = 0; k < 8; k++) outWords[8 * i + k] = state[k] as number;
  }
}

function checkHashMany({ messages, messageBytes, count, out }: HashManyRequest): void {
  if (!Number.isInteger(messageBytes) || messageBytes < 0 || messageBytes > CHUNK_BYTES) {
    throw new UsageError(`a message of ${messageBytes} bytes is not one chunk`);
  }
  if (!Number.isSafeInteger(count) || count < 0) throw new UsageError(`${count} messages`);
  // Word offsets are 32-bit integers.
  if (count * messageBytes >= 2 ** 32) throw new UsageError('4 GiB of messages at once');
  if (messages.length < count * messageBytes) throw new UsageError('fewer bytes than messages');
  if (out.length < count * BLAKE3_DIGEST_BYTES) throw new UsageError('no room for the digests');
}

/** The bytes as little-endian words without a copy, where alignment and byte order of the machine allow it. */
function wordsView(bytes: Uint8Array): Int32Array | undefined {
  if (!IS_LITTLE_ENDIAN || bytes.byteOffset % 4 !== 0) return undefined;
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

function keyWords(key: Uint8Array | Uint32Array): Int32Array {
  if (key.byteLength !== BLAKE3_KEY_BYTES) throw new UsageError(`a key of ${key.byteLength} bytes`);
  if (key instanceof Uint32Array) return Int32Array.from(key);
  const words = new Int32Array(8);
  for (let k = 0; k < 8; k++) words[k] = wordAt(key, 4 * k);
  return words;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** `size` bytes from `start` into sixteen words, the rest zero. */
function loadBlock(bytes: Uint8Array, start: number, size: number, block: Int32Array): void {
  const whole = size >>> 2;
  for (let k = 0; k < whole; k++) block[k] = wordAt(bytes, start + 4 * k);
  for (let k = whole; k < 16; k++) block[k] = 0;
  for (let i = 4 * whole; i < size; i++) {
    block[whole] = (block[whole] as number) | ((bytes[start + i] as number) << (8 * (i & 3)));
  }
}

function storeWords(words: Int32Array, out: Uint8Array, offset: number, size: number): void {
  for (let i = 0; i < size; i++) out[offset + i] = (words[i >>> 2] as number) >>> (8 * (i & 3));
}

// Working space of every hash: none of them calls out while it is in use.
const STATE = new Int32Array(16);
const BLOCK = new Int32Array(16);
const CHAINING = new Int32Array(8);

/**
 * What the last compression of a subtree needs, kept back until it is known whether the subtree is the root. That of a
 * chunk lies in the working space, and is used up before the next chunk begins.
 */
interface Node {
  readonly chaining: Int32Array;
  readonly block: Int32Array;
  readonly counter: number;
  readonly size: number;
  readonly flags: number;
}

function hashTree(key: Int32Array, bytes: Uint8Array, mode: number, outBytes: number): Uint8Array {
  if (!Number.isSafeInteger(outBytes) || outBytes < 0) throw new UsageError(`${outBytes} bytes of output`);
  return rootOutput(subtree(key, bytes, 0, bytes.length, mode), outBytes);
}

/** The left part of a tree is the largest power of two of chunks that leaves something on the right. */
function subtree(key: Int32Array, bytes: Uint8Array, start: number, end: number, mode: number): Node {
  if (end - start <= CHUNK_BYTES) return chunkNode(key, bytes, start, end, mode);
  let leftBytes = CHUNK_BYTES;
  while (2 * leftBytes < end - start) leftBytes *= 2;
  const block = new Int32Array(16);
  const left = subtree(key, bytes, start, start + leftBytes, mode);
  block.set(chainingValue(left), 0);
  const right = subtree(key, bytes, start + leftBytes, end, mode);
  block.set(chainingValue(right), 8);
  return { chaining: key, block, counter: 0, size: BLOCK_BYTES, flags: mode | PARENT };
}

function chunkNode(key: Int32Array, bytes: Uint8Array, start: number, end: number, mode: number): Node {
  const counter = Math.floor(start / CHUNK_BYTES);
  const [chaining, block] = [CHAINING, BLOCK];
  chaining.set(key);
  let flags = mode | CHUNK_START;
  let at = start;
  for (; end - at > BLOCK_BYTES; at += BLOCK_BYTES) {
    loadBlock(bytes, at, BLOCK_BYTES, block);
    compress(chaining, block, 0, counter, counter / 2 ** 32, BLOCK_BYTES, flags, STATE);
    for (let k = 0; k < 8; k++) chaining[k] = STATE[k] as number;
    flags = mode;
  }
  loadBlock(bytes, at, end - at, block);
  return { chaining, block, counter, size: end - at, flags: flags | CHUNK_END };
}

function chainingValue({ chaining, block, counter, size, flags }: Node): Int32Array {
  compress(chaining, block, 0, counter, counter / 2 ** 32, size, flags, STATE);
  return STATE.subarray(0, 8);
}

function rootOutput(node: Node, outBytes: number): Uint8Array {
  const { chaining, block, size, flags } = node;
  const out = new Uint8Array(outBytes);
  for (let offset = 0, counter = 0; offset < outBytes; offset += BLOCK_BYTES, counter++) {
    compress(chaining, block, 0, counter, counter / 2 ** 32, size, flags | ROOT, STATE);
    storeWords(STATE, out, offset, Math.min(BLOCK_BYTES, outBytes - offset));
  }
  return out;
}

/**
 * The compression function: `out` receives sixteen words, the first eight of them the chaining value. Message words and
 * state live in local variables; `block` is read from word `at`.
 */
function compress(
  chaining: Int32Array,
  block: Int32Array,
  at: number,
  counterLow: number,
  counterHigh: number,
  blockBytes: number,
  flags: number,
  out: Int32Array,
): void {
  let m0 = block[at] as number;
  let m1 = block[at + 1] as number;
  let m2 = block[at + 2] as number;
  let m3 = block[at + 3] as number;
  let m4 = block[at + 4] as number;
  let m5 = block[at + 5] as number;
  let m6 = block[at + 6] as number;
  let m7 = block[at + 7] as number;
  let m8 = block[at + 8] as number;
  let m9 = block[at + 9] as number;
  let m10 = block[at + 10] as number;
  let m11 = block[at + 11] as number;
  let m12 = block[at + 12] as number;
  let m13 = block[at + 13] as number;
  let m14 = block[at + 14] as number;
  let m15 = block[at + 15] as number;
  let v0 = chaining[0] as number;
  let v1 = chaining[1] as number;
  let v2 = chaining[2] as number;
  let v3 = chaining[3] as number;
  let v4 = chaining[4] as number;
  let v5 = chaining[5] as number;
  let v6 = chaining[6] as number;
  let v7 = chaining[7] as number;
  let v8 = IV_0;
  let v9 = IV_1;
  let v10 = IV_2;
  let v11 = IV_3;
  let v12 = counterLow | 0;
  let v13 = counterHigh | 0;
  let v14 = blockBytes;
  let v15 = flags;
  for (let round = 0; ; round++) {
    v0 = (v0 + v4 + m0) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 16) | (v12 << 16);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 12) | (v4 << 20);
    v0 = (v0 + v4 + m1) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 8) | (v12 << 24);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 7) | (v4 << 25);
    v1 = (v1 + v5 + m2) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 16) | (v13 << 16);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 12) | (v5 << 20);
    v1 = (v1 + v5 + m3) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 8) | (v13 << 24);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 7) | (v5 << 25);
    v2 = (v2 + v6 + m4) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 16) | (v14 << 16);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 12) | (v6 << 20);
    v2 = (v2 + v6 + m5) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 8) | (v14 << 24);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 7) | (v6 << 25);
    v3 = (v3 + v7 + m6) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 16) | (v15 << 16);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 12) | (v7 << 20);
    v3 = (v3 + v7 + m7) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 8) | (v15 << 24);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 7) | (v7 << 25);
    v0 = (v0 + v5 + m8) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 16) | (v15 << 16);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 12) | (v5 << 20);
    v0 = (v0 + v5 + m9) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 8) | (v15 << 24);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 7) | (v5 << 25);
    v1 = (v1 + v6 + m10) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 16) | (v12 << 16);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 12) | (v6 << 20);
    v1 = (v1 + v6 + m11) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 8) | (v12 << 24);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 7) | (v6 << 25);
    v2 = (v2 + v7 + m12) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 16) | (v13 << 16);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 12) | (v7 << 20);
    v2 = (v2 + v7 + m13) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 8) | (v13 << 24);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 7) | (v7 << 25);
    v3 = (v3 + v4 + m14) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 16) | (v14 << 16);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 12) | (v4 << 20);
    v3 = (v3 + v4 + m15) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 8) | (v14 << 24);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 7) | (v4 << 25);
    if (round === 6) break;
    const first0 = m0;
    m0 = m2;
    m2 = m3;
    m3 = m10;
    m10 = m12;
    m12 = m9;
    m9 = m11;
    m11 = m5;
    m5 = first0;
    const first1 = m1;
    m1 = m6;
    m6 = m4;
    m4 = m7;
    m7 = m13;
    m13 = m14;
    m14 = m15;
    m15 = m8;
    m8 = first1;
  }
  out[8] = v8 ^ (chaining[0] as number);
  out[9] = v9 ^ (chaining[1] as number);
  out[10] = v10 ^ (chaining[2] as number);
  out[11] = v11 ^ (chaining[3] as number);
  out[12] = v12 ^ (chaining[4] as number);
  out[13] = v13 ^ (chaining[5] as number);
  out[14] = v14 ^ (chaining[6] as number);
  out[15] = v15 ^ (chaining[7] as number);
  out[0] = v0 ^ v8;
  out[1] = v1 ^ v9;
  out[2] = v2 ^ v10;
  out[3] = v3 ^ v11;
  out[4] = v4 ^ v12;
  out[5] = v5 ^ v13;
  out[6] = v6 ^ v14;
  out[7] = v7 ^ v15;
}
