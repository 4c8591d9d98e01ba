/**
 * The verifier's fast path: hashing and dot products in a small WebAssembly module, for Node and browsers. The caller
 * brings the module's bytes (`build/zk-kernels.wasm` of this package), so nothing here knows where they come from.
 */
import { MalformedError, UsageError } from '@haca/primitives';
import {
  type BaseValues,
  type Ext,
  type ExtVector,
  extAdd,
  type HashManyRequest,
  portableZkKernels,
  type ZkKernels,
} from '@haca/primitives/zk';
import { type WasmMemory, webAssembly } from './web-assembly.ts';

const PAGE_BYTES = 65536;
const KEY_BYTES = 32;
const DIGEST_BYTES = 32;
const MESSAGE_BYTES_MAX = 1024;
const ELEMENT_BYTES = 20;
/** Messages or weights go through the module's memory in pieces of about this size. */
const PIECE_BYTES = 1 << 20;
/** Below this many values the call into the module costs more than it saves. */
const DOT_LENGTH_MIN = 32;
/** Terms that go through the module's memory at a time. */
const DOT_PIECE = 32768;

interface Exports {
  readonly memory: WasmMemory;
  readonly heapStart: () => number;
  readonly hashMany: (key: number, messages: number, size: number, count: number, out: number) => void;
  readonly keyedHash: (key: number, message: number, size: number, out: number, outBlocks: number) => void;
  readonly dotBase: (
    type: number,
    values: number,
    planes: number,
    stride: number,
    count: number,
    out: number,
  ) => void;
}

/** Throws `MalformedError` when the bytes are no module of these kernels. */
export function wasmZkKernels(moduleBytes: Uint8Array): ZkKernels {
  const exports = instantiate(moduleBytes);
  const start = exports.heapStart();
  let bytes = new Uint8Array(exports.memory.buffer);

  /** Room for `size` bytes behind the start. */
  function reserve(size: number): void {
    const missing = start + size - exports.memory.buffer.byteLength;
    if (missing > 0) exports.memory.grow(Math.ceil(missing / PAGE_BYTES));
    if (bytes.buffer !== exports.memory.buffer) bytes = new Uint8Array(exports.memory.buffer);
  }

  function hashMany({ key, messages, messageBytes, count, out }: HashManyRequest): void {
    const isWhole = Number.isInteger(messageBytes) && Number.isInteger(count) && count >= 0;
    if (!isWhole || messageBytes < 0 || messageBytes > MESSAGE_BYTES_MAX) {
      throw new UsageError(`${count} messages of ${messageBytes} bytes`);
    }
    const keyBytes = keyOf(key);
    if (messages.length < count * messageBytes || out.length < count * DIGEST_BYTES) {
      throw new UsageError(`${count} messages in ${messages.length} bytes, digests in ${out.length}`);
    }
    const most = Math.max(4, Math.floor(PIECE_BYTES / Math.max(1, messageBytes)));
    for (let from = 0; from < count; from += most) {
      const some = Math.min(most, count - from);
      const input = start + 64;
      const output = input + align(some * messageBytes);
      reserve(output + some * DIGEST_BYTES - start);
      bytes.set(keyBytes, start);
      bytes.set(messages.subarray(from * messageBytes, (from + some) * messageBytes), input);
      exports.hashMany(start, input, messageBytes, some, output);
      out.set(bytes.subarray(output, output + some * DIGEST_BYTES), from * DIGEST_BYTES);
    }
  }

  function keyedHash(key: Uint8Array, message: Uint8Array, outBytes: number = DIGEST_BYTES): Uint8Array {
    // Longer messages are trees of chunks: rare, and not worth a second implementation here.
    if (
      message.length > MESSAGE_BYTES_MAX ||
      outBytes > PIECE_BYTES ||
      !Number.isInteger(outBytes) ||
      outBytes < 0
    ) {
      return portableZkKernels.keyedHash(key, message, outBytes);
    }
    const keyBytes = keyOf(key);
    const input = start + 64;
    const output = input + MESSAGE_BYTES_MAX;
    const blocks = Math.max(1, Math.ceil(outBytes / 64));
    reserve(output + 64 * blocks - start);
    bytes.set(keyBytes, start);
    bytes.set(message, input);
    exports.keyedHash(start, input, message.length, output, blocks);
    return bytes.slice(output, output + outBytes);
  }

  function dotBase(values: BaseValues, weights: ExtVector): Ext {
    const count = values.length;
    if (count < DOT_LENGTH_MIN || count !== weights.length) return portableZkKernels.dotBase(values, weights);
    let sum: Ext = [0, 0, 0, 0, 0];
    for (let from = 0; from < count; from += DOT_PIECE) {
      sum = extAdd(sum, dotPiece(values, weights, from, Math.min(from + DOT_PIECE, count)));
    }
    return sum;
  }

  /** The terms `from` to `to`, through the module's memory. */
  function dotPiece(values: BaseValues, weights: ExtVector, from: number, to: number): Ext {
    const count = to - from;
    const width = values.BYTES_PER_ELEMENT;
    const input = start;
    const planes = input + align(count * width + 16);
    const stride = align(4 * count + 16);
    const output = planes + 5 * stride;
    reserve(output + ELEMENT_BYTES - start);
    bytes.set(new Uint8Array(values.buffer, values.byteOffset + from * width, count * width), input);
    const words = new Uint32Array(exports.memory.buffer);
    for (let k = 0; k < 5; k++) {
      const plane = k * weights.length;
      words.set(weights.data.subarray(plane + from, plane + to), (planes + k * stride) / 4);
    }
    exports.dotBase(typeOf(values), input, planes, stride, count, output);
    const at = output / 4;
    return [
      words[at] as number,
      words[at + 1] as number,
      words[at + 2] as number,
      words[at + 3] as number,
      words[at + 4] as number,
    ];
  }

  return { name: 'wasm', hashMany, keyedHash, dotBase };
}

function instantiate(moduleBytes: Uint8Array): Exports {
  let exports: Readonly<Record<string, unknown>>;
  try {
    exports = new webAssembly.Instance(new webAssembly.Module(new Uint8Array(moduleBytes))).exports;
  } catch (error) {
    const got = (error as Error).message;
    throw new MalformedError('zk.kernels', 'module', 'a WebAssembly module that this engine can run', got);
  }
  for (const name of ['heapStart', 'hashMany', 'keyedHash', 'dotBase']) {
    if (typeof exports[name] === 'function') continue;
    throw new MalformedError('zk.kernels', name, 'a kernel', 'nothing');
  }
  return exports as unknown as Exports;
}

const align = (size: number): number => Math.ceil(size / 64) * 64;

function keyOf(key: Uint8Array | Uint32Array): Uint8Array {
  const bytes = key instanceof Uint8Array ? key : new Uint8Array(key.buffer, key.byteOffset, key.byteLength);
  if (bytes.length !== KEY_BYTES) throw new UsageError(`a key of ${bytes.length} bytes`);
  return bytes;
}

/** As the module numbers them. Signed and unsigned words differ. */
function typeOf(values: BaseValues): number {
  if (values instanceof Int8Array) return 0;
  if (values instanceof Uint8Array) return 1;
  if (values instanceof Int16Array) return 2;
  if (values instanceof Uint16Array) return 3;
  return values instanceof Int32Array ? 4 : 5;
}
