/**
 * The SGX extension of PCK certificates (Intel SGX PCK Certificate and Certificate Revocation List Profile Specification,
 * section 1.3.5): which processor the certificate is for, and at which TCB.
 */
import { bytesEqual, toHex } from '@haca/primitives';
import type { Certificate } from '../../der/certificate.ts';
import { DerReader, TAG } from '../../der/reader.ts';

export const SGX_EXTENSION_OID = '1.2.840.113741.1.13.1';
/** The same, as content octets of an OBJECT IDENTIFIER. */
const PREFIX = Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01);
const ENUMERATED = 0x0a;
const COMPONENTS = 16;

export interface PlatformConfiguration {
  readonly dynamicPlatform: boolean;
  readonly cachedKeys: boolean;
  readonly smtEnabled: boolean;
}

/** Byte fields are views into the certificate. */
export interface PckExtension {
  /** 16 bytes naming the processor: platform provisioning id. */
  readonly ppid: Uint8Array;
  /** SVNs of the 16 TCB components. */
  readonly components: Uint8Array;
  readonly pceSvn: number;
  /** The same TCB as the processor counts it, 16 bytes. */
  readonly cpuSvn: Uint8Array;
  readonly pceId: Uint8Array;
  /** 6 bytes: family, model, stepping, platform type, custom SKU. */
  readonly fmspc: Uint8Array;
  /** 0 standard, 1 scalable, 2 scalable with integrity. */
  readonly sgxType: number;
  /** Only in certificates of the Platform CA; null otherwise. */
  readonly platformInstanceId: Uint8Array | null;
  readonly configuration: PlatformConfiguration | null;
}

type Readers<T> = Readonly<Record<number, (value: DerReader, into: Partial<Writable<T>>) => void>>;
type Writable<T> = { -readonly [K in keyof T]: T[K] };

const octets =
  <K extends 'ppid' | 'pceId' | 'fmspc' | 'platformInstanceId'>(name: K, length: number) =>
  (reader: DerReader, into: Partial<Writable<PckExtension>>): void => {
    into[name] = octetsOf(reader, name, length);
  };

const MEMBERS: Readers<PckExtension> = {
  1: octets('ppid', 16),
  2: (reader, into) => Object.assign(into, readTcb(reader.sequence('tcb'))),
  3: octets('pceId', 2),
  4: octets('fmspc', 6),
  5: (reader, into) => {
    into.sgxType = readSgxType(reader);
  },
  6: octets('platformInstanceId', 16),
  7: (reader, into) => {
    into.configuration = readConfiguration(reader.sequence('configuration'));
  },
};

/** Each member exactly once, in any order, and no other. Throws `MalformedError`. */
export function parsePckExtension(certificate: Certificate): PckExtension {
  const extension = certificate.extensions.find(({ oid }) => oid === SGX_EXTENSION_OID);
  const input = new DerReader(extension?.value ?? new Uint8Array(0), 'pck.sgx');
  if (extension === undefined) input.fail('pck.extension', '', `extension ${SGX_EXTENSION_OID}`, 'none');
  const list = input.sequence('members');
  input.end();
  const into: Partial<Writable<PckExtension>> = {};
  const seen = readMembers(list, [], (number, value) => {
    const read = MEMBERS[number];
    if (read === undefined)
      return list.fail('pck.unknown-member', `${number}`, 'members 1 to 7', `${number}`);
    read(value, into);
  });
  const hasPlatform = seen.has(6) || seen.has(7);
  requireAll(list, seen, hasPlatform ? [1, 2, 3, 4, 5, 6, 7] : [1, 2, 3, 4, 5]);
  const { platformInstanceId = null, configuration = null, ...rest } = into;
  return {
    ...(rest as Omit<PckExtension, 'platformInstanceId' | 'configuration'>),
    platformInstanceId,
    configuration,
  };
}

/** Pairs of OBJECT IDENTIFIER and value below `prefix`; returns the numbers that were there. */
function readMembers(
  list: DerReader,
  prefix: readonly number[],
  read: (number: number, value: DerReader) => void,
): ReadonlySet<number> {
  const seen = new Set<number>();
  while (!list.isAtEnd) {
    const pair = list.sequence(`${seen.size}`);
    const number = memberNumber(pair, prefix);
    if (seen.has(number)) pair.fail('pck.duplicate-member', '', 'each member once', `${number} again`);
    seen.add(number);
    read(number, pair);
    pair.end();
  }
  return seen;
}

function memberNumber(pair: DerReader, prefix: readonly number[]): number {
  const { content } = pair.element(TAG.oid, 'oid');
  const start = PREFIX.length + prefix.length;
  const number = content[start];
  const isBelow =
    content.length === start + 1 &&
    bytesEqual(content.subarray(0, PREFIX.length), PREFIX) &&
    prefix.every((byte, i) => content[PREFIX.length + i] === byte);
  if (!isBelow || number === undefined || number > 0x7f)
    return pair.fail('pck.unknown-member', 'oid', `an OID below ${SGX_EXTENSION_OID}`, toHex(content));
  return number;
}

function requireAll(list: DerReader, seen: ReadonlySet<number>, required: readonly number[]): void {
  const missing = required.filter((number) => !seen.has(number));
  if (missing.length > 0)
    list.fail('pck.missing-member', '', required.join(', '), `no ${missing.join(', ')}`);
}

const PCE_SVN = 17;
const CPU_SVN = 18;

function readTcb(list: DerReader): Pick<PckExtension, 'components' | 'pceSvn' | 'cpuSvn'> {
  const components = new Uint8Array(COMPONENTS);
  let pceSvn = 0;
  let cpuSvn = new Uint8Array(0);
  const seen = readMembers(list, [2], (number, value) => {
    if (number >= 1 && number <= COMPONENTS) components[number - 1] = value.uint('svn', 255);
    else if (number === PCE_SVN) pceSvn = value.uint('pceSvn', 0xffff);
    else if (number === CPU_SVN) cpuSvn = new Uint8Array(octetsOf(value, 'cpuSvn', 16));
    else value.fail('pck.unknown-member', 'tcb', 'members 1 to 18', `${number}`);
  });
  requireAll(
    list,
    seen,
    Array.from({ length: CPU_SVN }, (_, i) => i + 1),
  );
  return { components, pceSvn, cpuSvn };
}

function readSgxType(reader: DerReader): number {
  const { content } = reader.element(ENUMERATED, 'sgxType');
  const [value] = content;
  if (content.length !== 1 || value === undefined || value > 2)
    return reader.fail('pck.sgx-type', 'sgxType', '0, 1 or 2', toHex(content));
  return value;
}

function readConfiguration(list: DerReader): PlatformConfiguration {
  const flags = [false, false, false];
  const seen = readMembers(list, [7], (number, value) => {
    if (number < 1 || number > 3) value.fail('pck.unknown-member', 'configuration', '1 to 3', `${number}`);
    flags[number - 1] = value.boolean('flag');
  });
  requireAll(list, seen, [1, 2, 3]);
  const [dynamicPlatform = false, cachedKeys = false, smtEnabled = false] = flags;
  return { dynamicPlatform, cachedKeys, smtEnabled };
}

function octetsOf(reader: DerReader, name: string, length: number): Uint8Array {
  const value = reader.octetString(name);
  if (value.length !== length) reader.fail('pck.length', name, `${length} bytes`, `${value.length}`);
  return value;
}
