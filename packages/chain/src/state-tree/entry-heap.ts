/**
 * Keys and values packed into large byte arrays. A `Uint8Array` object for each would cost several times the bytes it
 * holds; a million entries here cost their own size and little more.
 */

const PAGE_BYTES = 1 << 20;
/** Addresses count these, so that one 32-bit word reaches 32 GiB. */
const UNIT_BYTES = 8;
const UNITS_PER_PAGE_BITS = 17;
const UNIT_MASK = (1 << UNITS_PER_PAGE_BITS) - 1;
/** Slot sizes: multiples of a unit up to here, then growing by a quarter. */
const FINE_BYTES = 512;
/** Larger entries get an array of their own, and its index is their address. */
const SLOT_BYTES_MAX = 64 * 1024;
const SLOT_SIZES = slotSizes();

function slotSizes(): readonly number[] {
  const sizes: number[] = [];
  for (let size = UNIT_BYTES; size <= FINE_BYTES; size += UNIT_BYTES) sizes.push(size);
  for (let size = 640; size < SLOT_BYTES_MAX; size = Math.ceil(size / 64) * 80) sizes.push(size);
  return [...sizes, SLOT_BYTES_MAX];
}

/** Entries are found by an address, an unsigned 32-bit integer, and their size, which the caller keeps. */
export interface EntryHeap {
  /** Stores `key || value`; gives the address. */
  readonly store: (key: Uint8Array, value: Uint8Array) => number;
  /** The stored bytes, not a copy: gone with the next `release` or `store`. */
  readonly view: (address: number, sizeBytes: number) => Uint8Array;
  /** Whether `bytes` stand at `offset` of the entry. */
  readonly holds: (address: number, sizeBytes: number, offset: number, bytes: Uint8Array) => boolean;
  readonly release: (address: number, sizeBytes: number) => void;
  /** Bytes held, free slots included. */
  readonly sizeBytes: () => number;
}

interface SlotClass {
  readonly slotBytes: number;
  /** Addresses of free slots. */
  readonly free: number[];
  page: number;
  used: number;
}

function classOf(sizeBytes: number): number {
  if (sizeBytes <= FINE_BYTES) return Math.max(0, Math.ceil(sizeBytes / UNIT_BYTES) - 1);
  let index = Math.floor(FINE_BYTES / UNIT_BYTES);
  while ((SLOT_SIZES[index] as number) < sizeBytes) index++;
  return index;
}

export function createEntryHeap(): EntryHeap {
  const pages: Uint8Array[] = [];
  const classes = SLOT_SIZES.map(
    (slotBytes): SlotClass => ({ slotBytes, free: [], page: -1, used: PAGE_BYTES }),
  );
  const large: (Uint8Array | undefined)[] = [];
  const largeFree: number[] = [];
  let largeBytes = 0;

  function takeSlot(slots: SlotClass): number {
    const free = slots.free.pop();
    if (free !== undefined) return free;
    if (slots.used + slots.slotBytes > PAGE_BYTES) {
      slots.page = pages.push(new Uint8Array(PAGE_BYTES)) - 1;
      slots.used = 0;
    }
    const address = ((slots.page << UNITS_PER_PAGE_BITS) | Math.floor(slots.used / UNIT_BYTES)) >>> 0;
    slots.used += slots.slotBytes;
    return address;
  }

  function storeLarge(key: Uint8Array, value: Uint8Array): number {
    const bytes = new Uint8Array(key.length + value.length);
    bytes.set(key);
    bytes.set(value, key.length);
    const address = largeFree.pop() ?? large.length;
    large[address] = bytes;
    largeBytes += bytes.length;
    return address;
  }

  return {
    store(key, value) {
      const sizeBytes = key.length + value.length;
      if (sizeBytes > SLOT_BYTES_MAX) return storeLarge(key, value);
      const address = takeSlot(classes[classOf(sizeBytes)] as SlotClass);
      const page = pages[address >>> UNITS_PER_PAGE_BITS] as Uint8Array;
      const at = (address & UNIT_MASK) * UNIT_BYTES;
      // Short copies: a loop is faster than a call of `set`.
      for (let i = 0; i < key.length; i++) page[at + i] = key[i] as number;
      const valueAt = at + key.length;
      if (value.length > 128) page.set(value, valueAt);
      else for (let i = 0; i < value.length; i++) page[valueAt + i] = value[i] as number;
      return address;
    },
    view(address, sizeBytes) {
      if (sizeBytes > SLOT_BYTES_MAX) return large[address] as Uint8Array;
      const at = (address & UNIT_MASK) * UNIT_BYTES;
      return (pages[address >>> UNITS_PER_PAGE_BITS] as Uint8Array).subarray(at, at + sizeBytes);
    },
    holds(address, sizeBytes, offset, bytes) {
      const isLarge = sizeBytes > SLOT_BYTES_MAX;
      const page = (isLarge ? large[address] : pages[address >>> UNITS_PER_PAGE_BITS]) as Uint8Array;
      const at = (isLarge ? 0 : (address & UNIT_MASK) * UNIT_BYTES) + offset;
      for (let i = 0; i < bytes.length; i++) if (page[at + i] !== bytes[i]) return false;
      return true;
    },
    release(address, sizeBytes) {
      if (sizeBytes > SLOT_BYTES_MAX) {
        large[address] = undefined;
        largeFree.push(address);
        largeBytes -= sizeBytes;
      } else {
        (classes[classOf(sizeBytes)] as SlotClass).free.push(address);
      }
    },
    sizeBytes: () => pages.length * PAGE_BYTES + largeBytes,
  };
}
