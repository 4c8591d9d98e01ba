/** The container of circom's and snarkjs' binary files: a name, a version, and numbered sections. All little-endian. */
export interface Section {
  readonly number: number;
  readonly content: Uint8Array;
}

export function encodeIden3File(name: string, version: number, sections: readonly Section[]): Uint8Array {
  return Buffer.concat([
    Buffer.from(name, 'ascii'),
    uint32(version),
    uint32(sections.length),
    ...sections.flatMap(({ number, content }) => [uint32(number), uint64(content.length), content]),
  ]);
}

export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
