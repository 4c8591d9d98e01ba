/** A Nitro policy as people write it down: JSON, bytes as lower-case hex. */
import { fromHex, MalformedError } from '@haca/primitives';
import { type Measurement, pcrRegisters } from '@haca/protocol';
import type { Expected } from '../expected.ts';
import { NITRO_LIMITS, PCR_BYTES } from './parse.ts';
import type { NitroPolicy } from './validate.ts';

type Members = Readonly<Record<string, unknown>>;

const POLICY_MEMBERS = [
  'allowDebug',
  'measurements',
  'maxAgeMs',
  'maxFutureSkewMs',
  'userData',
  'nonce',
  'publicKey',
] as const;

/**
 * Reads e.g. `{"measurements": [{"name": "release", "pcrs": {"0": "ab..", "1": "..", "2": ".."}}], "maxAgeMs": 300000,
 * "nonce": "allow-any"}`. A member left out is not given, so its check is skipped; debug mode is allowed only by
 * `"allowDebug": true`. Throws `MalformedError` for unknown members and values of another form.
 */
export function parseNitroPolicy(value: unknown): NitroPolicy {
  const members = objectOf(value, 'policy');
  for (const name of Object.keys(members)) {
    if (!(POLICY_MEMBERS as readonly string[]).includes(name))
      throw malformed('policy', POLICY_MEMBERS.join(' | '), name);
  }
  const allowDebug = members['allowDebug'] ?? false;
  if (typeof allowDebug !== 'boolean') throw malformed('policy.allowDebug', 'true or false', allowDebug);
  const member = <T>(
    name: (typeof POLICY_MEMBERS)[number],
    read: (given: unknown, path: string) => T,
  ): Expected<T> => {
    const given = Object.hasOwn(members, name) ? members[name] : 'not-given';
    return given === 'not-given' || given === 'allow-any' ? given : read(given, `policy.${name}`);
  };
  return {
    allowDebug,
    measurements: member('measurements', readMeasurements),
    maxAgeMs: member('maxAgeMs', readMilliseconds),
    maxFutureSkewMs: member('maxFutureSkewMs', readMilliseconds),
    userData: member('userData', readField),
    nonce: member('nonce', readField),
    publicKey: member('publicKey', readField),
  };
}

function readMeasurements(value: unknown, path: string): readonly Measurement[] {
  if (!Array.isArray(value)) throw malformed(path, 'a list', value);
  return value.map((entry, i) => readMeasurement(entry, `${path}.${i}`));
}

function readMeasurement(value: unknown, path: string): Measurement {
  const { name, pcrs, ...others } = objectOf(value, path);
  if (typeof name !== 'string' || name === '' || Object.keys(others).length > 0)
    throw malformed(path, 'a name and pcrs', Object.keys(others)[0] ?? name);
  const entries = Object.entries(objectOf(pcrs, `${path}.pcrs`)).map(([index, pcr]) => {
    if (!/^(0|[1-9][0-9]?)$/.test(index) || Number(index) >= NITRO_LIMITS.pcrs)
      throw malformed(`${path}.pcrs`, 'indices 0 to 31', index);
    return [Number(index), readHex(pcr, `${path}.pcrs.${index}`, PCR_BYTES, PCR_BYTES)] as const;
  });
  return { kind: 'nitro', name, registers: pcrRegisters(entries) };
}

function readMilliseconds(value: unknown, path: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed(path, 'milliseconds, or allow-any', value);
  return value;
}

function readField(value: unknown, path: string): Uint8Array | null {
  return value === null ? null : readHex(value, path, 0, NITRO_LIMITS.fieldBytes);
}

function readHex(value: unknown, path: string, minBytes: number, maxBytes: number): Uint8Array {
  if (typeof value !== 'string' || value.length < 2 * minBytes || value.length > 2 * maxBytes)
    throw malformed(path, `${minBytes} to ${maxBytes} bytes as hex`, value);
  return fromHex(value, path);
}

function objectOf(value: unknown, path: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed(path, 'an object', value);
  return value as Members;
}

function malformed(path: string, expected: string, got: unknown): MalformedError {
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 40)) : typeof got;
  return new MalformedError('policy.malformed', path, expected, shown);
}
