/** Software test GPUs with reports of the shape of NVIDIA's, under a root made from a seed. They prove nothing. */
import { randomBytes } from 'node:crypto';
import { concatBytes, encode, fromHex, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { nvidiaDocumentCodec } from '@haca/protocol';
import { type GpuAttester, requireLength } from './attester.ts';
import { type Authority, digest, issue, ROOT_NOT_BEFORE_MS, selfSign, type TestRoot } from './authority.ts';
import { caConstraints, extension, KEY_USAGE_BIT, keyIdentifiers, keyUsage } from './certificate-writer.ts';
import { derElement, derOctetString, derOid, derSequence, derUnsigned } from './der-writer.ts';
import { u16 } from './intel-test-platform.ts';
import { bytesFromSeed, p384SignerFromSeed } from './signers.ts';

/** Root, product line and provisioner. */
export interface NvidiaTestRoot extends TestRoot {
  readonly architecture: NvidiaTestArchitecture;
  readonly identity: Authority;
  readonly provisioner: Authority;
}

export type NvidiaTestArchitecture = 'hopper' | 'blackwell';

const PRODUCTS: Readonly<Record<NvidiaTestArchitecture, string>> = { hopper: 'GH100', blackwell: 'GB100' };
/** As the vendor has it: certificates of devices do not end. */
const NEVER_MS = Date.UTC(9999, 11, 31, 23, 59, 59);
const WINDOW = { notBeforeMs: ROOT_NOT_BEFORE_MS, notAfterMs: NEVER_MS } as const;
const CA_USAGE = keyUsage(true, KEY_USAGE_BIT.keyCertSign, KEY_USAGE_BIT.crlSign);

/** The root of a seed of at least 16 bytes; a fresh one without. Who knows the seed can forge everything below it. */
export function createNvidiaTestRoot(
  seed: Uint8Array = randomBytes(32),
  architecture: NvidiaTestArchitecture = 'hopper',
): NvidiaTestRoot {
  const product = PRODUCTS[architecture];
  const signer = p384SignerFromSeed(seed, 'haca test nvidia root');
  const root = selfSign({
    ...WINDOW,
    commonName: 'HACA test Device Identity CA',
    signer,
    extensions: [caConstraints(null), CA_USAGE, ...keyIdentifiers(signer, signer)],
  });
  const below = (issuer: Authority, part: string, commonName: string): Authority => {
    const partSigner = p384SignerFromSeed(seed, `haca test nvidia ${part} ${product}`);
    const extensions = [caConstraints(null), CA_USAGE, ...keyIdentifiers(partSigner, issuer.signer)];
    return issue(issuer, { ...WINDOW, commonName, signer: partSigner, extensions });
  };
  const identity = below(root, 'identity', `HACA test ${product} Identity`);
  const provisioner = below(identity, 'provisioner', `HACA test ${product} Provisioner ICA 1`);
  return { ...root, architecture, identity, provisioner };
}

export interface NvidiaTestOptions {
  readonly root: NvidiaTestRoot;
  /** 1 without. */
  readonly count?: number;
  /** Names the devices; fresh without. */
  readonly seed?: Uint8Array;
  /** Names this boot, and with it attestation keys; the seed without. */
  readonly bootSeed?: Uint8Array;
  /** What the firmware is measured from; something fixed without. */
  readonly firmware?: Uint8Array;
  readonly driverVersion?: string;
  /** Eight bytes as in a report; `96.00.A5.00.01` without. */
  readonly vbiosVersion?: Uint8Array;
  /** Firmware in debug mode. Blackwell only: certificates of Hopper do not say. */
  readonly debug?: boolean;
}

const BLOCKS = 64;
const OPAQUE = {
  driverVersion: 3,
  vbiosVersion: 6,
  nvdec0Status: 11,
  fwid: 20,
  protectedPcieStatus: 21,
  version: 34,
  featureFlag: 36,
} as const;
const DISABLED = Uint8Array.of(0x55);
const SINGLE_GPU = u16(0);

export function createNvidiaTestGpus(options: NvidiaTestOptions): GpuAttester {
  const { root, count = 1, debug = false } = options;
  if (debug && root.architecture !== 'blackwell')
    throw new UsageError('debug mode shows in certificates of Blackwell only');
  const seed = options.seed ?? randomBytes(32);
  const { bootSeed = seed } = options;
  const devices = Array.from({ length: count }, (_, index) => mintDevice(options, seed, bootSeed, index));
  return {
    isSimulated: true,
    attest: async (nonce) => {
      requireLength('nonce', nonce, 32);
      return devices.map(({ chain, sign }) =>
        encode(nvidiaDocumentCodec, { report: sign(nonce), certificates: [...chain] }),
      );
    },
  };
}

interface TestDevice {
  readonly chain: readonly Uint8Array[];
  readonly sign: (nonce: Uint8Array) => Uint8Array;
}

function mintDevice(
  options: NvidiaTestOptions,
  seed: Uint8Array,
  bootSeed: Uint8Array,
  index: number,
): TestDevice {
  const { root, firmware = utf8Encode('haca test gpu firmware') } = options;
  const product = PRODUCTS[root.architecture];
  const deviceSigner = p384SignerFromSeed(seed, `haca test nvidia device ${index}`);
  const device = issue(root.provisioner, {
    ...WINDOW,
    commonName: `${product} A01 GSP BROM`,
    signer: deviceSigner,
    serial: concatBytes(Uint8Array.of(0x41), bytesFromSeed(seed, `haca test nvidia serial ${index}`, 8)),
    extensions: [
      caConstraints(null),
      keyUsage(true, KEY_USAGE_BIT.keyCertSign),
      ...keyIdentifiers(deviceSigner, root.provisioner.signer),
    ],
  });
  const fwid = digest('sha384', firmware);
  const leaf = p384SignerFromSeed(bootSeed, `haca test nvidia attestation key ${index} ${toHex(fwid)}`);
  const { der } = issue(device, {
    ...WINDOW,
    commonName: `${product} A01 GSP FMC LF`,
    signer: leaf,
    extensions: [
      keyUsage(true, KEY_USAGE_BIT.digitalSignature),
      ...keyIdentifiers(leaf, deviceSigner),
      diceExtension(root.architecture, deviceSigner.keyInfo, fwid, options.debug ?? false),
    ],
  });
  const response = responseOf(options, fwid, firmware);
  return {
    chain: [root.der, root.identity.der, root.provisioner.der, device.der, der],
    sign: (nonce) => {
      const responderNonce = digest('sha256', concatBytes(bootSeed, nonce));
      const request = concatBytes(Uint8Array.of(0x11, 0xe0, 0x01, 0xff), nonce, Uint8Array.of(0));
      const signed = concatBytes(request, response.record, responderNonce, response.opaque);
      return concatBytes(signed, leaf.sign(signed));
    },
  };
}

/** The firmware that the attestation key is for: the device's composite id (Hopper) or DiceTcbInfo (Blackwell), TCG DICE. */
function diceExtension(
  architecture: NvidiaTestArchitecture,
  deviceKeyInfo: Uint8Array,
  fwid: Uint8Array,
  debug: boolean,
): Uint8Array {
  const measured = derSequence(derOid('2.16.840.1.101.3.4.2.2'), derOctetString(fwid));
  if (architecture === 'hopper')
    return extension(
      '2.23.133.5.4.1',
      false,
      derSequence(derUnsigned(Uint8Array.of(1)), deviceKeyInfo, measured),
    );
  // OperationalFlags: bit 3 is debug.
  const flags = debug ? Uint8Array.of(4, 0x10) : Uint8Array.of(0);
  const tcbInfo = derSequence(derElement(0xa6, measured), derElement(0x87, flags));
  return extension('2.23.133.5.4.1.1', false, tcbInfo);
}

/** SPDM 1.1 MEASUREMENTS: what comes before and after the nonce of the responder. */
function responseOf(options: NvidiaTestOptions, fwid: Uint8Array, firmware: Uint8Array) {
  const { driverVersion = '590.12', vbiosVersion = fromHex('00a5009601000000') } = options;
  requireLength('vbiosVersion', vbiosVersion, 8);
  const blocks = Array.from({ length: BLOCKS }, (_, i) => {
    const value = digest('sha384', concatBytes(firmware, Uint8Array.of(i)));
    return concatBytes(
      Uint8Array.of(i + 1, 1),
      u16(3 + value.length),
      Uint8Array.of(1),
      u16(value.length),
      value,
    );
  });
  const record = concatBytes(...blocks);
  const field = (type: number, value: Uint8Array): Uint8Array =>
    concatBytes(u16(type), u16(value.length), value);
  const opaque = concatBytes(
    field(OPAQUE.vbiosVersion, vbiosVersion),
    field(OPAQUE.driverVersion, utf8Encode(`${driverVersion}\0`)),
    field(OPAQUE.nvdec0Status, DISABLED),
    field(OPAQUE.fwid, fwid),
    field(OPAQUE.protectedPcieStatus, DISABLED),
    field(OPAQUE.version, u16(1)),
    field(OPAQUE.featureFlag, SINGLE_GPU),
  );
  const head = Uint8Array.of(
    0x11,
    0x60,
    0,
    0,
    BLOCKS,
    record.length,
    record.length >>> 8,
    record.length >>> 16,
  );
  return { record: concatBytes(head, record), opaque: concatBytes(u16(opaque.length), opaque) };
}
