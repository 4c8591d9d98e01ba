/**
 * Writes the bincode 1 format with its default options: little-endian fixed-width integers, 64-bit lengths, 32-bit
 * variant numbers, one byte before an optional value.
 */
export interface BincodeWriter {
  readonly bool: (value: boolean) => void;
  readonly u32: (value: number) => void;
  readonly i32: (value: number) => void;
  readonly f32: (value: number) => void;
  readonly u64: (value: number) => void;
  readonly i128: (value: bigint) => void;
  readonly raw: (value: Uint8Array) => void;
  readonly text: (value: string) => void;
  readonly list: <T>(values: readonly T[], item: (value: T) => void) => void;
  readonly some: () => void;
  readonly none: () => void;
  /** A copy of what was written. */
  readonly bytes: () => Uint8Array;
}

const FIRST_CAPACITY = 1 << 16;

export function createBincodeWriter(): BincodeWriter {
  let buffer = new Uint8Array(FIRST_CAPACITY);
  let view = new DataView(buffer.buffer);
  let length = 0;

  /** Makes room and returns where it begins. */
  const reserve = (size: number): number => {
    if (length + size > buffer.length) {
      const larger = new Uint8Array(Math.max(2 * buffer.length, length + size));
      larger.set(buffer);
      buffer = larger;
      view = new DataView(buffer.buffer);
    }
    length += size;
    return length - size;
  };
  const u8 = (value: number): void => {
    const at = reserve(1);
    view.setUint8(at, value);
  };
  const u32 = (value: number): void => {
    const at = reserve(4);
    view.setUint32(at, value, true);
  };
  const u64 = (value: number): void => {
    const at = reserve(8);
    view.setBigUint64(at, BigInt(value), true);
  };
  const raw = (value: Uint8Array): void => {
    const at = reserve(value.length);
    buffer.set(value, at);
  };
  return {
    bool: (value) => u8(value ? 1 : 0),
    u32,
    i32: (value) => {
      const at = reserve(4);
      view.setInt32(at, value, true);
    },
    f32: (value) => {
      const at = reserve(4);
      view.setFloat32(at, value, true);
    },
    u64,
    i128: (value) => {
      const at = reserve(16);
      view.setBigUint64(at, BigInt.asUintN(64, value), true);
      view.setBigInt64(at + 8, BigInt.asIntN(64, value >> 64n), true);
    },
    raw,
    text: (value) => {
      const encoded = new TextEncoder().encode(value);
      u64(encoded.length);
      raw(encoded);
    },
    list: (values, item) => {
      u64(values.length);
      for (const value of values) item(value);
    },
    some: () => u8(1),
    none: () => u8(0),
    bytes: () => buffer.slice(0, length),
  };
}
