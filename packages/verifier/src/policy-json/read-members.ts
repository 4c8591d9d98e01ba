/** What policies are made of, as people write them down: JSON, bytes as hex. Every reader throws `MalformedError`. */
import { MalformedError, toHex, utf8Encode } from '@haca/primitives';
import {
  EVIDENCE_KINDS,
  type EvidenceKind,
  MEASUREMENT_REGISTERS_MAX,
  type Measurement,
} from '@haca/protocol';
import { hexOf } from '../file-forms/text-forms.ts';
import type { Expected } from '../tee/expected.ts';
import { requiredRegisters } from '../tee/measurements.ts';

/** What counts where an expected value is left out. */
export type Unstated = 'allow-any' | 'not-given';

/** Reads one member; `given` is undefined where it is left out. */
export type MemberReader<T> = (given: unknown, path: string, unstated: Unstated) => T;

/** A reader for every member of a policy. */
export type PolicyReaders<Policy> = { readonly [Member in keyof Policy]-?: MemberReader<Policy[Member]> };

const MEASUREMENTS_MAX = 1024;
const NAME_MAX_CHARS = 64;

const OTHERS = 'others';

/** Unknown members are refused, with the known ones in the error. `"others": "any"` waives what is left out. */
export function readPolicy<Policy>(value: unknown, readers: PolicyReaders<Policy>): Policy {
  return readMembers(value, 'policy', readers, 'not-given');
}

function readMembers<T>(value: unknown, path: string, readers: PolicyReaders<T>, unstated: Unstated): T {
  const members = objectOf(value, path);
  const known = [...Object.keys(readers), OTHERS];
  for (const name of Object.keys(members))
    if (!known.includes(name)) throw malformed(path, known.join(' | '), name);
  const others = memberOf(members, OTHERS);
  if (others !== undefined && others !== 'any') throw malformed(`${path}.${OTHERS}`, '"any"', others);
  const own: Unstated = others === 'any' ? 'allow-any' : unstated;
  const read = Object.entries(readers as Readonly<Record<string, MemberReader<unknown>>>);
  return Object.fromEntries(
    read.map(([name, reader]) => [name, reader(memberOf(members, name), `${path}.${name}`, own)]),
  ) as T;
}

/** A policy inside a policy; left out, it is one that says nothing. */
export function nested<T>(readers: PolicyReaders<T>): MemberReader<T> {
  return (given, path, unstated) => readMembers(given ?? {}, path, readers, unstated);
}

/** An object all of whose members are needed. */
export function object<T>(
  readers: {
    readonly [Member in keyof T]-?: (given: unknown, path: string) => T[Member];
  },
): (given: unknown, path: string) => T {
  return (given, path) => {
    const members = objectOf(given, path);
    const known = Object.keys(readers);
    for (const name of Object.keys(members))
      if (!known.includes(name)) throw malformed(path, known.join(' | '), name);
    const read = Object.entries(readers as Readonly<Record<string, (each: unknown, at: string) => unknown>>);
    return Object.fromEntries(
      read.map(([name, reader]) => [name, reader(memberOf(members, name), `${path}.${name}`)]),
    ) as T;
  };
}

/** `true` or `false`; `otherwise` where it is left out. */
export function flag(otherwise: boolean): MemberReader<boolean> {
  return (given, path) => (given === undefined ? otherwise : truth(given, path));
}

/** A value that evidence must have; `"any"` or `"allow-any"` waives it; left out, or `"not-given"`: the check is skipped. */
export function expected<T>(read: (given: unknown, path: string) => T): MemberReader<Expected<T>> {
  return (given, path, unstated) => {
    if (given === undefined) return unstated;
    if (given === 'not-given') return 'not-given';
    return given === 'any' || given === 'allow-any' ? 'allow-any' : read(given, path);
  };
}

/** As `expected`, but only its own name waives it. */
export function statedOnly<T>(reader: MemberReader<Expected<T>>): MemberReader<Expected<T>> {
  return (given, path) => reader(given, path, 'not-given');
}

/** A check that can only be waived. */
export const waiver: MemberReader<Unstated> = (given, path, unstated) => {
  if (given === undefined) return unstated;
  if (given === 'not-given') return 'not-given';
  if (given === 'any' || given === 'allow-any') return 'allow-any';
  throw malformed(path, '"any"', given);
};

/** `true` or `false`, which must be stated. */
export function truth(given: unknown, path: string): boolean {
  if (typeof given !== 'boolean') throw malformed(path, 'true or false', given);
  return given;
}

/** A number of up to 64 bits: a JSON number, or text in decimal or `0x` hex. */
export function bits64(given: unknown, path: string): bigint {
  const isNumber = typeof given === 'number' && Number.isSafeInteger(given) && given >= 0;
  const isText = typeof given === 'string' && /^(?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20})$/.test(given);
  const value = isNumber || isText ? BigInt(given) : -1n;
  if (value < 0n || value >= 1n << 64n) throw malformed(path, 'a number of up to 64 bits', given);
  return value;
}

function orElse<T>(given: unknown, otherwise: T, read: (each: unknown, path: string) => T, path: string): T {
  return given === undefined ? otherwise : read(given, path);
}

export function orNull<T>(
  read: (given: unknown, path: string) => T,
): (given: unknown, path: string) => T | null {
  return (given, path) => (given === null ? null : read(given, path));
}

/** Hex of either case, with or without `0x`; the empty text is no bytes. */
export function hex(minBytes: number, maxBytes = minBytes): (given: unknown, path: string) => Uint8Array {
  const count = minBytes === maxBytes ? `${minBytes}` : `${minBytes} to ${maxBytes}`;
  return (given, path) => {
    const bytes = given === '' ? new Uint8Array(0) : typeof given === 'string' ? hexOf(given) : null;
    if (bytes === null) throw malformed(path, `${count} bytes as hex`, given);
    if (bytes.length < minBytes || bytes.length > maxBytes)
      throw malformed(path, `${count} bytes as hex`, `${bytes.length} bytes`);
    return bytes;
  };
}

export function integer(min: number, max: number, unit = ''): (given: unknown, path: string) => number {
  const wanted = `${unit === '' ? '' : `${unit}, `}an integer from ${min} to ${max}`;
  return (given, path) => {
    if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < min || given > max)
      throw malformed(path, wanted, given);
    return given;
  };
}

export const milliseconds = integer(0, Number.MAX_SAFE_INTEGER, 'milliseconds');

export function text(maxChars: number): (given: unknown, path: string) => string {
  return (given, path) => {
    if (typeof given !== 'string' || given === '' || given.length > maxChars)
      throw malformed(path, `a text of up to ${maxChars} characters`, given);
    return given;
  };
}

export function listOf<T>(
  read: (given: unknown, path: string) => T,
  max = MEASUREMENTS_MAX,
): (given: unknown, path: string) => readonly T[] {
  return (given, path) => {
    if (!Array.isArray(given) || given.length > max) throw malformed(path, `a list of up to ${max}`, given);
    return given.map((entry, i) => read(entry, `${path}.${i}`));
  };
}

export function oneOf<const T extends string>(...names: readonly T[]): (given: unknown, path: string) => T {
  return (given, path) => {
    const found = names.find((name) => name === given);
    if (found === undefined) throw malformed(path, names.join(' | '), given);
    return found;
  };
}

/**
 * `[{"name": "release", "registers": {"mrtd": hex, ...}}, ...]`; for PCRs also `"pcrs": {"0": hex, ...}`. A measurement that
 * lacks a register without which it could match nothing is refused here, where a person can see why.
 */
export function measurements(kind: EvidenceKind): (given: unknown, path: string) => readonly Measurement[] {
  return (given, path) => {
    if (!Array.isArray(given) || given.length > MEASUREMENTS_MAX)
      throw malformed(path, 'a list of measurements, or "any"', given);
    return given.map((entry, i) => readMeasurement(entry, kind, `${path}.${i}`, i));
  };
}

const MEASUREMENT_MEMBERS = ['name', 'kind', 'registers', 'pcrs'] as const;

function readMeasurement(value: unknown, kind: EvidenceKind, path: string, index: number): Measurement {
  const members = objectOf(value, path);
  for (const name of Object.keys(members))
    if (!(MEASUREMENT_MEMBERS as readonly string[]).includes(name))
      throw malformed(path, MEASUREMENT_MEMBERS.join(' | '), name);
  const own = orElse(memberOf(members, 'kind'), kind, oneOf(...EVIDENCE_KINDS), `${path}.kind`);
  const name = orElse(
    memberOf(members, 'name'),
    `measurement ${index + 1}`,
    text(NAME_MAX_CHARS),
    `${path}.name`,
  );
  const registers = [
    ...registersOf(memberOf(members, 'registers'), `${path}.registers`, (register) => register),
    ...registersOf(memberOf(members, 'pcrs'), `${path}.pcrs`, (index) => `pcr${index}`),
  ].sort((a, b) => (a.register < b.register ? -1 : 1));
  const names = registers.map(({ register }) => register);
  const twice = names.find((register, i) => names.indexOf(register) !== i);
  if (twice !== undefined) throw malformed(path, 'each register once', twice);
  const missing = requiredRegisters(own).filter((register) => !names.includes(register));
  if (missing.length > 0)
    throw malformed(path, `at least ${requiredRegisters(own).join(', ')}`, `no ${missing.join(', ')}`);
  return { kind: own, name, registers };
}

function registersOf(
  value: unknown,
  path: string,
  nameOf: (key: string) => string,
): readonly { readonly register: string; readonly value: Uint8Array }[] {
  if (value === undefined) return [];
  const entries = Object.entries(objectOf(value, path));
  if (entries.length > MEASUREMENT_REGISTERS_MAX)
    throw malformed(path, `at most ${MEASUREMENT_REGISTERS_MAX} registers`, `${entries.length}`);
  return entries.map(([key, given]) => {
    const register = nameOf(key);
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(register) || /^pcr(0[0-9]|3[2-9]|[4-9][0-9])/.test(register))
      throw malformed(path, 'names of registers in lower case', key);
    return { register, value: readRegister(register, given, `${path}.${key}`) };
  });
}

/** Registers of SGX that are numbers stand in reports as two bytes, little-endian, and may be given as numbers. */
const NUMBER_REGISTERS: readonly string[] = ['isvprodid', 'isvsvn', 'configsvn'];

/** Registers of NVIDIA that are versions, and may be given as they are written: `550.90.07`. */
const TEXT_REGISTERS: readonly string[] = ['driver-version', 'vbios-version'];

function readRegister(register: string, given: unknown, path: string): Uint8Array {
  if (
    typeof given === 'string' &&
    TEXT_REGISTERS.includes(register) &&
    /^[\x21-\x7e]*\.[\x21-\x7e]*$/.test(given)
  )
    return utf8Encode(text(64)(given, path));
  if (typeof given !== 'number' || !NUMBER_REGISTERS.includes(register)) return hex(1, 64)(given, path);
  const value = integer(0, 0xffff)(given, path);
  return Uint8Array.of(value & 0xff, value >> 8);
}

function memberOf(members: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(members, name) ? members[name] : undefined;
}

function objectOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed(path, 'a JSON object', value);
  return value as Readonly<Record<string, unknown>>;
}

function malformed(path: string, wanted: string, got: unknown): MalformedError {
  return new MalformedError('policy.malformed', path, wanted, shown(got));
}

function shown(got: unknown): string {
  if (typeof got === 'string') return JSON.stringify(got.length > 40 ? `${got.slice(0, 40)}...` : got);
  if (got instanceof Uint8Array) return toHex(got);
  if (typeof got === 'number' || typeof got === 'boolean' || got === null) return `${got}`;
  return Array.isArray(got) ? 'a list' : typeof got;
}
