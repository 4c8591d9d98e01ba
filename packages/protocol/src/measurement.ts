import {
  arrayOf,
  bytesOf,
  CborWriter,
  domainHash,
  field,
  struct,
  type TypeOf,
  textOf,
} from '@haca/primitives';
import { evidenceKindCodec } from './registration.ts';

export const MEASUREMENT_REGISTERS_MAX = 40;

/** A value that a measured register must have. Names are the vendors' own in lower case: `pcr0`, `mrtd`, `rtmr3`, `mrenclave`. */
export const measurementRegisterCodec = struct({
  register: field(0, textOf(1, 32)),
  value: field(1, bytesOf(1, 64)),
});
export type MeasurementRegister = TypeOf<typeof measurementRegisterCodec>;

/**
 * A release, by what evidence of it says. All registers must be there and equal; which ones a kind has, and which a measurement
 * has to name at least, is the verifier's to know. Registers ascend by name.
 */
export const measurementCodec = struct({
  kind: field(0, evidenceKindCodec),
  name: field(1, textOf(1, 64)),
  registers: field(2, arrayOf(measurementRegisterCodec, MEASUREMENT_REGISTERS_MAX, 1)),
});
export type Measurement = TypeOf<typeof measurementCodec>;

/** 32 bytes over kind and registers: two names of one thing have one id. */
export function measurementIdOf({ kind, registers }: Measurement): Uint8Array {
  const writer = new CborWriter();
  writer.arrayHead(2);
  writer.text(kind);
  writer.arrayHead(2 * registers.length);
  for (const { register, value } of registers) {
    writer.text(register);
    writer.bytes(value);
  }
  return domainHash('haca/measurement-id/1', writer.finish());
}

/** PCR values as registers `pcr0` to `pcr31`, ascending by name. */
export function pcrRegisters(
  pcrs: readonly (readonly [index: number, value: Uint8Array])[],
): readonly MeasurementRegister[] {
  return pcrs
    .map(([index, value]) => ({ register: `pcr${index}`, value }))
    .sort((a, b) => (a.register < b.register ? -1 : 1));
}
