/**
 * The runtime data of an HCL report: JSON that the paravisor wrote and the hardware's report vouches for by its SHA-256. It
 * names the key of the virtual TPM and how the VM was configured (OpenHCL, `runtime_claims`).
 */
import { concatBytes, fromHex, MalformedError, utf8Decode } from '@haca/primitives';
import { base64UrlOf } from '../../file-forms/text-forms.ts';
import {
  type JsonObject,
  type JsonValue,
  jsonArray,
  jsonObject,
  jsonText,
  jsonTypeName,
  parseStrictJson,
} from '../strict-json.ts';

const ATTESTATION_KEY = 'HCLAkPub';
const KEYS_MAX = 8;
const MODULUS_BYTES = 256;
/** 65537, as JSON Web Keys write it. */
const EXPONENT = 'AQAB';
const USER_DATA_MAX_BYTES = 64;
const VM_ID_MAX_CHARS = 64;

/** What the paravisor says of the VM; null where it doesn't. */
export interface AzureVmConfiguration {
  readonly secureBoot: boolean | null;
  /** The serial console shows what the guest writes. */
  readonly consoleEnabled: boolean | null;
  /** The serial console takes input. */
  readonly interactiveConsoleEnabled: boolean | null;
  readonly tpmEnabled: boolean | null;
  readonly tpmPersisted: boolean | null;
  /** Devices of the host are let through to the guest. */
  readonly filteredVpciDevicesAllowed: boolean | null;
  readonly vmUniqueId: string | null;
}

export interface AzureRuntimeData {
  /** DER RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits. */
  readonly attestationKey: Uint8Array;
  readonly vmConfiguration: AzureVmConfiguration;
  /** What the guest wrote into NV index 0x01400002 before it asked for the report; null where nothing is said. */
  readonly userData: Uint8Array | null;
}

/** Throws `MalformedError`. */
export function parseRuntimeData(bytes: Uint8Array): AzureRuntimeData {
  const path = 'runtimeData';
  const root = jsonObject(parseStrictJson(utf8Decode(bytes, path), path), path);
  return {
    attestationKey: attestationKeyOf(jsonArray(root.get('keys'), `${path}.keys`), `${path}.keys`),
    vmConfiguration: vmConfigurationOf(root.get('vm-configuration'), `${path}.vm-configuration`),
    userData: userDataOf(root.get('user-data'), `${path}.user-data`),
  };
}

function attestationKeyOf(entries: readonly JsonValue[], path: string): Uint8Array {
  if (entries.length > KEYS_MAX)
    throw new MalformedError('azure.keys', path, `at most ${KEYS_MAX} keys`, `${entries.length}`);
  const keys = entries.map((entry, i) => jsonObject(entry, `${path}.${i}`));
  const ids = keys.map((key, i) => jsonText(key.get('kid'), `${path}.${i}.kid`));
  if (new Set(ids).size !== ids.length)
    throw new MalformedError('azure.keys', path, 'each key id once', ids.join(', ').slice(0, 64));
  const key = keys[ids.indexOf(ATTESTATION_KEY)];
  if (key === undefined)
    throw new MalformedError('azure.keys', path, ATTESTATION_KEY, ids.join(', ').slice(0, 64));
  return rsaKeyOf(key, `${path}.${ATTESTATION_KEY}`);
}

function rsaKeyOf(key: JsonObject, path: string): Uint8Array {
  const fail = (member: string, expected: string, got: string): never => {
    throw new MalformedError('azure.key', `${path}.${member}`, expected, got.slice(0, 64));
  };
  for (const [member, expected] of [
    ['kty', 'RSA'],
    ['e', EXPONENT],
  ] as const) {
    const got = jsonText(key.get(member), `${path}.${member}`);
    if (got !== expected) fail(member, expected, got);
  }
  // Not `key_ops`: early paravisors wrote `encrypt` there. The quote shows what the key does.
  const modulus = base64UrlOf(jsonText(key.get('n'), `${path}.n`));
  if (modulus === null || modulus.length !== MODULUS_BYTES || (modulus[0] as number) < 0x80)
    return fail('n', 'a modulus of 2048 bits in canonical base64url', `${modulus?.length ?? 'no'} bytes`);
  return concatBytes(fromHex('3082010a0282010100'), modulus, fromHex('0203010001'));
}

function vmConfigurationOf(value: JsonValue | undefined, path: string): AzureVmConfiguration {
  const members = jsonObject(value, path);
  const flag = (name: string): boolean | null => {
    const member = members.get(name) ?? null;
    if (member === null || typeof member === 'boolean') return member;
    throw new MalformedError('json.type', `${path}.${name}`, 'true or false', jsonTypeName(member));
  };
  return {
    secureBoot: flag('secure-boot'),
    consoleEnabled: flag('console-enabled'),
    interactiveConsoleEnabled: flag('interactive-console-enabled'),
    tpmEnabled: flag('tpm-enabled'),
    tpmPersisted: flag('tpm-persisted'),
    filteredVpciDevicesAllowed: flag('filtered-vpci-devices-allowed'),
    vmUniqueId: vmIdOf(members.get('vmUniqueId'), `${path}.vmUniqueId`),
  };
}

function vmIdOf(value: JsonValue | undefined, path: string): string | null {
  if (value === undefined) return null;
  const text = jsonText(value, path);
  if (text.length <= VM_ID_MAX_CHARS) return text;
  throw new MalformedError('azure.length', path, `at most ${VM_ID_MAX_CHARS} characters`, `${text.length}`);
}

function userDataOf(value: JsonValue | undefined, path: string): Uint8Array | null {
  if (value === undefined) return null;
  const text = jsonText(value, path);
  if (text === '') return null;
  if (text.length > 2 * USER_DATA_MAX_BYTES)
    throw new MalformedError(
      'azure.length',
      path,
      `at most ${USER_DATA_MAX_BYTES} bytes`,
      `${text.length} digits`,
    );
  return fromHex(text.toLowerCase(), path);
}
