/**
 * Keys and values packed into large byte arrays. A `Uint8Array` object for each would cost several times the bytes it
 * holds; a million entries here cost their own size and little more.
 */

const PAGE_BYTES = 1 << 20;
/** Slot sizes: multiples of 16 up to here, then growing by a quarter. */
const FINE_BYTES = 512;
/** Larger entries get an array of their own. */
const SLOT_BYTES_MAX = 64 * 1024;
const SLOT_SIZES = slotSizes();

function slotSizes(): readonly number[] {
  const sizes: number[] = [];
  for (let size = 16; size <= FINE_BYTES; size += 16) sizes.push(size);
  for (let size = 640; size < SLOT_BYTES_MAX; size = Math.ceil(size / 64) * 80) sizes.push(size);
  return [...sizes, SLOT_BYTES_MAX];
}

/** Where an entry lies: a page and an offset, or an array of its own (`offset` -1). */
export interface EntryPlace {
  page: number;
  offset: number;
}

export interface EntryHeap {
  /** Stores `key || value`; the place is written to `place`, so that none needs to be made for each entry. */
  readonly store: (key: Uint8Array, value: Uint8Array, place: EntryPlace) => void;
  /** The stored bytes, not a copy: gone with the next `release` or `store`. */
  readonly view: (page: number, offset: number, sizeBytes: number) => Uint8Array;
  readonly release: (page: number, offset: number, sizeBytes: number) => void;
  /** Bytes held, free slots included. */
  readonly sizeBytes: () => number;
}

interface SlotClass {
  readonly slotBytes: number;
  /** Free slots as page * PAGE_BYTES + offset. */
  readonly free: number[];
  page: number;
  used: number;
}

function classOf(sizeBytes: number): number {
  if (sizeBytes <= FINE_BYTES) return Math.max(0, Math.ceil(sizeBytes / 16) - 1);
  let index = FINE_BYTES / 16;
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
    const slot = slots.page * PAGE_BYTES + slots.used;
    slots.used += slots.slotBytes;
    return slot;
  }

  function storeLarge(key: Uint8Array, value: Uint8Array, place: EntryPlace): void {
    const bytes = new Uint8Array(key.length + value.length);
    bytes.set(key);
    bytes.set(value, key.length);
    place.page = largeFree.pop() ?? large.length;
    place.offset = -1;
    large[place.page] = bytes;
    largeBytes += bytes.length;
  }

  return {
    store(key, value, place) {
      const sizeBytes = key.length + value.length;
      if (sizeBytes > SLOT_BYTES_MAX) return storeLarge(key, value, place);
      const slot = takeSlot(classes[classOf(sizeBytes)] as SlotClass);
      place.page = Math.floor(slot / PAGE_BYTES);
      place.offset = slot % PAGE_BYTES;
      const page = pages[place.page] as Uint8Array;
      page.set(key, place.offset);
      page.set(value, place.offset + key.length);
    },
    view(page, offset, sizeBytes) {
      if (offset < 0) return large[page] as Uint8Array;
      return (pages[page] as Uint8Array).subarray(offset, offset + sizeBytes);
    },
    release(page, offset, sizeBytes) {
      if (offset < 0) {
        large[page] = undefined;
        largeFree.push(page);
        largeBytes -= sizeBytes;
      } else {
        (classes[classOf(sizeBytes)] as SlotClass).free.push(page * PAGE_BYTES + offset);
      }
    },
    sizeBytes: () => pages.length * PAGE_BYTES + largeBytes,
  };
}
