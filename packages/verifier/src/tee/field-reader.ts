/** Fields of binary formats whose layout a vendor fixed, one after the other. What is short, or has anything behind it, is malformed. */
import { MalformedError } from '@haca/primitives';

/** `codes` begins the code of every `MalformedError` it throws: `<codes>.truncated`, `.value`, `.reserved`, `.trailing-bytes`. */
export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #path: string;
  readonly #codes: string;
  #offset = 0;

  constructor(bytes: Uint8Array, path: string, codes: string) {
    this.#bytes = bytes;
    this.#path = path;
    this.#codes = codes;
  }

  /** How many bytes were read. */
  get offset(): number {
    return this.#offset;
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  fail(code: string, name: string, expected: string, got: string): never {
    throw new MalformedError(code, name === '' ? this.#path : `${this.#path}.${name}`, expected, got);
  }

  /** A view of the next bytes. */
  take(sizeBytes: number, name: string): Uint8Array {
    const left = this.#bytes.length - this.#offset;
    if (sizeBytes > left) this.fail(`${this.#codes}.truncated`, name, `${sizeBytes} bytes`, `${left}`);
    this.#offset += sizeBytes;
    return this.#bytes.subarray(this.#offset - sizeBytes, this.#offset);
  }

  /** An unsigned integer of at most 6 bytes. */
  little(sizeBytes: number, name: string): number {
    const bytes = this.take(sizeBytes, name);
    let value = 0;
    for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + (bytes[i] as number);
    return value;
  }

  /** An unsigned integer of at most 6 bytes, big-endian. */
  big(sizeBytes: number, name: string): number {
    return this.take(sizeBytes, name).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** A field that has one possible value. */
  expect(value: number, got: number, name: string): void {
    if (got !== value) this.fail(`${this.#codes}.value`, name, hex(value), hex(got));
  }

  zeros(sizeBytes: number, name: string): void {
    if (this.take(sizeBytes, name).some((byte) => byte !== 0))
      this.fail(`${this.#codes}.reserved`, name, 'zero bytes', 'others');
  }

  /** Throws unless every byte was read. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) this.fail(`${this.#codes}.trailing-bytes`, '', 'the end', `${left} more bytes`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
