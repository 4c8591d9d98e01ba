/**
 * The memory that all threads share, and what of it is in use: first fit over a list of free ranges, neighbours joined
 * when they are freed. Addresses are multiples of 64; every allocation is followed by at least 64 bytes that kernels may
 * read, which also keeps arrays of a power of two off the same cache sets.
 */
import { type WasmMemory, webAssembly } from '@haca/platform/web-assembly';
import { UsageError } from '@haca/primitives';

const PAGE_BYTES = 65536;
const PAGES_MAX = 65536;
const LINE_BYTES = 64;
/** The memory grows by at least this much. */
const GROWTH_BYTES = 16 * 1024 * 1024;

interface Range {
  at: number;
  bytes: number;
}

export interface SharedHeap {
  readonly memory: WasmMemory;
  /** Views of the memory as it stands; taken anew after every allocation. */
  readonly bytes: () => Uint8Array;
  readonly words: () => Uint32Array;
  /** The address of `bytes` bytes. Throws `UsageError` when 4 GiB are used up. */
  readonly allocate: (bytes: number) => number;
  readonly free: (address: number) => void;
  /** Bytes in use, and the most that ever were. */
  readonly usage: () => { readonly bytes: number; readonly peakBytes: number; readonly memoryBytes: number };
  /** Counts the peak from what is in use now. */
  readonly resetPeak: () => void;
}

/** `reservedBytes` at the bottom are never handed out. */
export function createSharedHeap(reservedBytes: number): SharedHeap {
  const start = Math.ceil(reservedBytes / LINE_BYTES) * LINE_BYTES;
  const initialPages = Math.ceil((start + 4 * PAGE_BYTES) / PAGE_BYTES);
  const memory = new webAssembly.Memory({ initial: initialPages, maximum: PAGES_MAX, shared: true });
  let bytesView = new Uint8Array(memory.buffer);
  let wordsView = new Uint32Array(memory.buffer);
  let end = memory.buffer.byteLength;
  const used = new Map<number, number>();
  const free: Range[] = [{ at: start, bytes: end - start }];
  let usedBytes = 0;
  let peakBytes = 0;

  function grow(least: number): void {
    const last = free.at(-1);
    const tail = last !== undefined && last.at + last.bytes === end ? last.bytes : 0;
    const wanted = Math.max(least - tail, Math.min(GROWTH_BYTES, PAGES_MAX * PAGE_BYTES - end));
    const pages = Math.ceil(wanted / PAGE_BYTES);
    try {
      memory.grow(pages);
    } catch {
      throw new UsageError(`the prover needs more than ${end + wanted} bytes of memory`);
    }
    if (tail > 0) (last as Range).bytes += pages * PAGE_BYTES;
    else free.push({ at: end, bytes: pages * PAGE_BYTES });
    end += pages * PAGE_BYTES;
    bytesView = new Uint8Array(memory.buffer);
    wordsView = new Uint32Array(memory.buffer);
  }

  function allocate(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new UsageError(`an allocation of ${bytes} bytes`);
    const size = (Math.floor(bytes / LINE_BYTES) + 2) * LINE_BYTES;
    let index = free.findIndex((range) => range.bytes >= size);
    if (index < 0) {
      grow(size);
      index = free.length - 1;
    }
    const range = free[index] as Range;
    const address = range.at;
    range.at += size;
    range.bytes -= size;
    if (range.bytes === 0) free.splice(index, 1);
    used.set(address, size);
    usedBytes += size;
    peakBytes = Math.max(peakBytes, usedBytes);
    return address;
  }

  function release(address: number): void {
    const size = used.get(address);
    if (size === undefined) throw new UsageError(`nothing is allocated at ${address}`);
    used.delete(address);
    usedBytes -= size;
    let index = free.findIndex((range) => range.at > address);
    if (index < 0) index = free.length;
    const before = free[index - 1];
    const after = free[index];
    const joinsBefore = before !== undefined && before.at + before.bytes === address;
    const joinsAfter = after !== undefined && address + size === after.at;
    if (joinsBefore && joinsAfter) {
      before.bytes += size + after.bytes;
      free.splice(index, 1);
    } else if (joinsBefore) {
      before.bytes += size;
    } else if (joinsAfter) {
      after.at = address;
      after.bytes += size;
    } else {
      free.splice(index, 0, { at: address, bytes: size });
    }
  }

  return {
    memory,
    bytes: () => bytesView,
    words: () => wordsView,
    allocate,
    free: release,
    usage: () => ({ bytes: usedBytes, peakBytes, memoryBytes: end }),
    resetPeak: () => {
      peakBytes = usedBytes;
    },
  };
}
