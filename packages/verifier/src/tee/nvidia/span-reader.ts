/** Little-endian fields of a fixed layout, one after the other. Every length is checked; what is short is malformed. */
import { MalformedError } from '@haca/primitives';

export class SpanReader {
  readonly #bytes: Uint8Array;
  readonly #path: string;
  #offset = 0;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#path = path;
  }

  get offset(): number {
    return this.#offset;
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  fail(code: string, name: string, expected: string, got: string): never {
    throw new MalformedError(code, name === '' ? this.#path : `${this.#path}.${name}`, expected, got);
  }

  /** Throws unless every byte was read. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) this.fail('spdm.trailing-bytes', '', 'the end', `${left} more bytes`);
  }

  /** A view of the next `sizeBytes`. */
  bytes(sizeBytes: number, name: string): Uint8Array {
    const left = this.#bytes.length - this.#offset;
    if (sizeBytes > left) this.fail('spdm.truncated', name, `${sizeBytes} bytes`, `${left}`);
    this.#offset += sizeBytes;
    return this.#bytes.subarray(this.#offset - sizeBytes, this.#offset);
  }

  /** An unsigned integer of up to 4 bytes. */
  uint(sizeBytes: 1 | 2 | 3 | 4, name: string): number {
    const bytes = this.bytes(sizeBytes, name);
    let value = 0;
    for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + (bytes[i] as number);
    return value;
  }

  /** A number that has one value only. */
  constant(value: number, sizeBytes: 1 | 2, name: string): void {
    const got = this.uint(sizeBytes, name);
    if (got !== value) this.fail('spdm.value', name, hex(value), hex(got));
  }
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
