/**
 * Cryptographic verification of NVIDIA evidence, in the order of spec/tee-nvidia.md: cheap before dear, and nothing is
 * reported about contents that were not proved authentic.
 */
import { bytesEqual, type CryptoProvider, decode, MalformedError, utf8Encode } from '@haca/primitives';
import { check, type NvidiaDocument, notApplicable, nvidiaDocumentCodec } from '@haca/protocol';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import {
  nameFault,
  P384_SHA384_PROFILE,
  profileFault,
  type RevokedCertificate,
  revocationFault,
  signatureFault,
  windowFault,
} from '../../der/chain.ts';
import { encodeChainFacts } from '../chain-facts.ts';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import { shortHex } from '../expected.ts';
import type { TrustRoot } from '../trust-root.ts';
import { type NvidiaClaims, nvidiaClaimsDigest } from './claims.ts';
import { type DiceIdentity, readDiceIdentity } from './dice.ts';
import { type NvidiaFields, readNvidiaFields } from './fields.ts';
import { nvidiaMeasurementsDigest } from './golden.ts';
import { deviceOf, type NvidiaDevice } from './names.ts';
import { type NvidiaReport, parseNvidiaReport } from './report.ts';

/** Limits known before any work is done. */
export const NVIDIA_LIMITS = {
  documentBytes: 24 * 1024,
  /** Root, product line, provisioner, device (boot ROM), attestation key: NVIDIA's chains all have five. */
  certificates: 5,
} as const;

/** Ids of the checks of this step, in order. */
export const NVIDIA_VERIFY_CHECKS = [
  'nvidia.size',
  'nvidia.document',
  'nvidia.report',
  'nvidia.chain.root',
  'nvidia.chain.certificates',
  'nvidia.chain.profile',
  'nvidia.chain.names',
  'nvidia.chain.window',
  'nvidia.chain.revocation',
  'nvidia.chain.signatures',
  'nvidia.signature',
  'nvidia.device',
  'nvidia.fields',
  'nvidia.fwid',
] as const;

export interface NvidiaTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch: block time on chain, the caller's choice elsewhere. */
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
  readonly revoked: readonly RevokedCertificate[];
}

type Run = CheckRun<(typeof NVIDIA_VERIFY_CHECKS)[number]>;

/**
 * `bytes` is CBOR of `nvidiaDocumentCodec`. Total for every byte string: returns failed checks, never throws for what is in
 * it. At most five signatures are verified.
 */
export function verifyNvidia(bytes: Uint8Array, trust: NvidiaTrust): Verification<NvidiaClaims> {
  const run = openCheckRun(NVIDIA_VERIFY_CHECKS);
  const claims = runChecks(bytes, trust, run);
  return { checks: run.checks(), claims };
}

function runChecks(bytes: Uint8Array, trust: NvidiaTrust, run: Run): NvidiaClaims | null {
  const document = readDocument(bytes, run);
  if (document === null) return null;
  const report = run.parse('nvidia.report', () => parseNvidiaReport(document.report));
  if (report === null) return null;
  const certificateSha256 = document.certificates.map(trust.crypto.sha256);
  const root = run.root(
    'nvidia.chain.root',
    'nvidia.root-untrusted',
    certificateSha256[0] as Uint8Array,
    trust.roots,
  );
  if (root === null) return null;
  const chain = run.parse('nvidia.chain.certificates', () => parseChain(document.certificates));
  if (chain === null || !verifyChain(chain, trust, run)) return null;
  if (!checkSignature(report, chain, trust.crypto, run)) return null;
  const device = readDevice(chain, run);
  if (device === null) return null;
  const fields = run.parse('nvidia.fields', () => readNvidiaFields(report.opaque, device.type));
  if (fields === null) return null;
  const dice = checkFwid(chain, fields, run);
  if (dice === undefined) return null;
  return claimsOf({ report, chain, certificateSha256, root, device, fields, dice }, trust.crypto);
}

function readDocument(bytes: Uint8Array, run: Run): NvidiaDocument | null {
  const { documentBytes, certificates } = NVIDIA_LIMITS;
  if (bytes.length > documentBytes) {
    run.fail('nvidia.size', 'nvidia.too-large', `at most ${documentBytes} bytes`, `${bytes.length} bytes`);
    return null;
  }
  run.pass('nvidia.size', `${bytes.length} bytes`);
  return run.parse('nvidia.document', () => {
    const document = decode(nvidiaDocumentCodec, bytes, 'document');
    const { length } = document.certificates;
    if (length === certificates) return document;
    throw new MalformedError('nvidia.chain-length', 'document.certificates', `${certificates}`, `${length}`);
  });
}

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseCertificate(der, `certificates.${i}`));
}

function verifyChain(
  chain: readonly Certificate[],
  { nowMs, revoked, crypto }: NvidiaTrust,
  run: Run,
): boolean {
  const { length } = chain;
  const isSound =
    run.chain('nvidia.chain.profile', profileFault(chain, P384_SHA384_PROFILE), length) &&
    run.chain('nvidia.chain.names', nameFault(chain), length);
  if (!isSound) return false;
  run.chain('nvidia.chain.window', windowFault(chain, nowMs), length);
  run.chain('nvidia.chain.revocation', revocationFault(chain, revoked), length);
  return run.chain('nvidia.chain.signatures', signatureFault(chain, P384_SHA384_PROFILE, crypto), length);
}

function leafOf(chain: readonly Certificate[]): Certificate {
  return chain[chain.length - 1] as Certificate;
}

/** Of the identity key that the device was made with; it issues the attestation key's certificate. */
function deviceCertificateOf(chain: readonly Certificate[]): Certificate {
  return chain[chain.length - 2] as Certificate;
}

/** SPDM 1.1 signs the hash of request and response as they are, without the prefix of later versions. */
function checkSignature(
  { signed, signature }: NvidiaReport,
  chain: readonly Certificate[],
  crypto: CryptoProvider,
  run: Run,
): boolean {
  const holds = crypto.verifyEcdsaP384(leafOf(chain).publicKey, signed, signature);
  const got = holds ? 'one' : 'one that does not verify';
  return run.note(check('nvidia.signature', 'nvidia.signature', holds, "a signature by the leaf's key", got));
}

function readDevice(chain: readonly Certificate[], run: Run): NvidiaDevice | null {
  return run.parse('nvidia.device', () => {
    const certificate = deviceCertificateOf(chain);
    const device = deviceOf(certificate);
    if (device !== null) return device;
    const expected = 'the name of a boot ROM of GH..., GB..., GR... or LS_10';
    const name = `certificates.${chain.length - 2}.subject`;
    throw new MalformedError('nvidia.device-unknown', name, expected, shortHex(certificate.subject));
  });
}

/** What the certificate says of the firmware, null where nothing of it is asked; undefined where the check failed. */
function checkFwid(
  chain: readonly Certificate[],
  { fwid }: NvidiaFields,
  run: Run,
): DiceIdentity | null | undefined {
  const id = 'nvidia.fwid';
  if (fwid === null) {
    run.note(notApplicable(id, 'the report of a switch names no firmware'));
    return null;
  }
  try {
    const dice = readDiceIdentity(leafOf(chain), `certificates.${chain.length - 1}`);
    if (dice === null) return failFwid(run, 'the FWID extension', 'none');
    const { deviceKey } = dice;
    if (deviceKey !== null && !bytesEqual(deviceKey, deviceCertificateOf(chain).publicKey))
      return failFwid(run, 'the key of the device that issued it', 'another');
    if (fwid.every((octet) => octet === 0)) return failFwid(run, 'measured firmware', 'zeros');
    const holds = bytesEqual(fwid, dice.fwid);
    return run.note(check(id, id, holds, shortHex(dice.fwid), shortHex(fwid))) ? dice : undefined;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    run.fail(id, error.code, error.expected, error.got);
    return undefined;
  }
}

function failFwid(run: Run, expected: string, got: string): undefined {
  run.fail('nvidia.fwid', 'nvidia.fwid', expected, got);
}

interface Verified {
  readonly report: NvidiaReport;
  readonly chain: readonly Certificate[];
  readonly certificateSha256: readonly Uint8Array[];
  readonly root: TrustRoot;
  readonly device: NvidiaDevice;
  readonly fields: NvidiaFields;
  readonly dice: DiceIdentity | null;
}

function claimsOf(verified: Verified, crypto: CryptoProvider): NvidiaClaims {
  const { report, chain, certificateSha256, root, device, fields, dice } = verified;
  const { type: deviceType, ...model } = device;
  const diceFlags = dice?.flags ?? null;
  const { serial } = deviceCertificateOf(chain);
  return {
    kind: 'nvidia',
    ...fields,
    ...model,
    deviceType,
    deviceSerial: serial,
    nonce: report.nonce,
    blocks: report.blocks,
    opaque: report.opaque,
    diceFlags,
    isSimulated: root.simulated,
    isDebug: diceFlags !== null && diceFlags.length > 0,
    registers: registersOf(report, fields, device, crypto),
    certificateSha256,
    evidenceEndMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    claimsDigest: nvidiaClaimsDigest({
      tbsSha256: chain.map(({ tbs }) => crypto.sha256(tbs)),
      signed: report.signed,
    }),
    collateralEndMs: null,
    cloud: null,
    hardware: [{ vendor: 'nvidia', id: serial }],
    facts: encodeChainFacts(chain),
  };
}

/** A switch has no driver, so a measurement, which has to name one, never matches it. */
function registersOf(
  { blocks }: NvidiaReport,
  { driverVersion, vbiosVersion, nvdec0Disabled, mode }: NvidiaFields,
  { architecture }: NvidiaDevice,
  crypto: CryptoProvider,
): ReadonlyMap<string, Uint8Array> {
  const registers = new Map([
    ['architecture', utf8Encode(architecture)],
    ['vbios-version', utf8Encode(vbiosVersion)],
    ['measurements', nvidiaMeasurementsDigest(crypto, { blocks, nvdec0Disabled })],
  ]);
  if (driverVersion === null) return registers;
  return registers.set('driver-version', utf8Encode(driverVersion)).set('mode', utf8Encode(mode));
}
