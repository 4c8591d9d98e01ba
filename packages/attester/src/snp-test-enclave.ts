/** Software test guests with reports of the shape of AMD SEV-SNP, under a root made from a seed. They prove nothing. */
import { randomBytes } from 'node:crypto';
import { concatBytes, encode, UsageError, utf8Encode } from '@haca/primitives';
import { type Collateral, type MeasurementRegister, snpDocumentCodec } from '@haca/protocol';
import { type Attester, requireRequest } from './attester.ts';
import {
  type Authority,
  authorityExtensions,
  digest,
  issue,
  ROOT_NOT_AFTER_MS,
  ROOT_NOT_BEFORE_MS,
  selfSign,
  type TestRoot,
} from './authority.ts';
import { extension, keyIdentifiers } from './certificate-writer.ts';
import { signRevocationList } from './crl-writer.ts';
import { derElement, derUnsigned } from './der-writer.ts';
import { rsaSignerFromSeed } from './rsa.ts';
import { bytesFromSeed, type P384Signer, p384SignerFromSeed } from './signers.ts';

export type SnpTestProduct = 'milan' | 'genoa' | 'turin';

/** 0 to 255 each; `fmc` is Turin's alone. */
export interface SnpTestTcb {
  readonly fmc: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

interface Product {
  readonly name: string;
  readonly productName: string;
  readonly structVersion: number;
  readonly chipIdBytes: number;
  /** CPUID family, model and stepping. */
  readonly cpuid: readonly [number, number, number];
  /** Bytes of TCB_VERSION, as components or reserved (null), and the security patch level each is certified as. */
  readonly tcb: readonly (readonly [component: keyof SnpTestTcb | null, spl: number])[];
}

const TCB_OF_MILAN: Product['tcb'] = [
  ['bootloader', 1],
  ['tee', 2],
  [null, 4],
  [null, 5],
  [null, 6],
  [null, 7],
  ['snp', 3],
  ['microcode', 8],
];
const TCB_OF_TURIN: Product['tcb'] = [
  ['fmc', 9],
  ['bootloader', 1],
  ['tee', 2],
  ['snp', 3],
  [null, 5],
  [null, 6],
  [null, 7],
  ['microcode', 8],
];

const PRODUCTS: Readonly<Record<SnpTestProduct, Product>> = {
  milan: {
    name: 'Milan',
    productName: 'Milan-B0',
    structVersion: 0,
    chipIdBytes: 64,
    cpuid: [0x19, 0x01, 1],
    tcb: TCB_OF_MILAN,
  },
  genoa: {
    name: 'Genoa',
    productName: 'Genoa-B1',
    structVersion: 0,
    chipIdBytes: 64,
    cpuid: [0x19, 0x11, 1],
    tcb: TCB_OF_MILAN,
  },
  turin: {
    name: 'Turin',
    productName: 'Turin-C1',
    structVersion: 1,
    chipIdBytes: 8,
    cpuid: [0x1a, 0x02, 1],
    tcb: TCB_OF_TURIN,
  },
};

export const SNP_TEST_TCB: SnpTestTcb = { fmc: 1, bootloader: 10, tee: 0, snp: 23, microcode: 84 };

/** The root key of one product line, as AMD has it. */
export interface SnpTestRoot extends TestRoot {
  readonly product: SnpTestProduct;
  /** Signs keys of chips. */
  readonly ask: Authority;
  /** Signs keys of cloud providers. Made when first asked for. */
  readonly asvk: () => Authority;
  /** Serials of the two, by which the root can take them back. */
  readonly serials: { readonly ask: Uint8Array; readonly asvk: Uint8Array };
}

const SERIALS = { ask: Uint8Array.of(0x01, 0x00, 0x01), asvk: Uint8Array.of(0x01, 0x00, 0x02) } as const;
const WINDOW = { notBeforeMs: ROOT_NOT_BEFORE_MS, notAfterMs: ROOT_NOT_AFTER_MS } as const;

/**
 * The root of a seed of at least 16 bytes; a fresh one without. Its keys are RSA of 4096 bits, so it takes about a second. Who knows
 * the seed can forge everything below it.
 */
export function createSnpTestRoot(
  seed: Uint8Array = randomBytes(32),
  product: SnpTestProduct = 'genoa',
): SnpTestRoot {
  const { name } = PRODUCTS[product];
  const signer = rsaSignerFromSeed(seed, 'haca test amd ark');
  const root = selfSign({
    ...WINDOW,
    commonName: `ARK-${name}`,
    signer,
    extensions: [...keyIdentifiers(signer, signer), ...authorityExtensions(null)],
  });
  const below = (part: 'ask' | 'asvk', commonName: string): Authority => {
    const partSigner = rsaSignerFromSeed(seed, `haca test amd ${part}`);
    const extensions = [...keyIdentifiers(partSigner, signer), ...authorityExtensions(0)];
    return issue(root, { ...WINDOW, commonName, signer: partSigner, serial: SERIALS[part], extensions });
  };
  let asvk: Authority | undefined;
  return {
    ...root,
    product,
    serials: SERIALS,
    ask: below('ask', `SEV-${name}`),
    asvk: () => {
      asvk ??= below('asvk', `SEV-VLEK-${name}`);
      return asvk;
    },
  };
}

export interface SnpTestOptions {
  readonly root: SnpTestRoot;
  /** 48 bytes. */
  readonly measurement: Uint8Array;
  /** 32 bytes; zeros without. */
  readonly hostData?: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** Names this guest; fresh without. */
  readonly seed?: Uint8Array;
  /** Names the chip it runs on; the guest's own without. */
  readonly platformSeed?: Uint8Array;
  /** Which key signs; the chip's without. */
  readonly signingKey?: 'vcek' | 'vlek';
  /** Of the report; 3 without. */
  readonly version?: 2 | 3 | 5;
  /** Its host may read its memory. */
  readonly debug?: boolean;
  /** 0 to 3; 0 without. */
  readonly vmpl?: number;
  readonly tcb?: SnpTestTcb;
}

/** The cloud provider of the test root's provider keys. */
export const SNP_TEST_CSP_ID = 'CN=cc.haca.test';

const REPORT_BYTES = 1_184;
const SIGNED_BYTES = 0x2a0;
const SCALAR_FIELD_BYTES = 72;
/** Bit 16 allows shared cores, bit 17 is always one, bit 19 allows debugging. */
const GUEST_POLICY = 0x3_0000;
const GUEST_POLICY_DEBUG = 0x8_0000;
const PLATFORM_SMT = 0x01;
const SIGNING_KEY_VLEK = 1 << 2;
const AMD_ARC = '1.3.6.1.4.1.3704.1';
const IA5_STRING = 0x16;
const DAY_MS = 86_400_000;
/** A provider's key lives a year; a new one is made a little earlier. */
const VLEK_LIFE_MS = 365 * DAY_MS;
const VLEK_RENEWAL_MS = 300 * DAY_MS;

export function createSnpTestEnclave(options: SnpTestOptions): Attester {
  const { root, signingKey = 'vcek', tcb = SNP_TEST_TCB } = options;
  const { measurement, hostData = new Uint8Array(32), vmpl = 0 } = options;
  if (measurement.length !== 48 || hostData.length !== 32 || !Number.isInteger(vmpl) || vmpl < 0 || vmpl > 3)
    throw new UsageError('an SNP guest has a measurement of 48 bytes, host data of 32, and a VMPL of 0 to 3');
  const seed = options.seed ?? randomBytes(32);
  const { platformSeed = seed } = options;
  const { chipIdBytes } = PRODUCTS[root.product];
  const chipId = bytesFromSeed(platformSeed, 'haca test amd chip', chipIdBytes);
  return {
    kind: 'snp',
    isSimulated: true,
    attest: async (request) => {
      requireRequest(request);
      const key =
        signingKey === 'vcek'
          ? mintVcek(root, platformSeed, chipId, tcb)
          : mintVlek(root, tcb, options.nowMs());
      const fields = { ...options, seed, chipId, tcb, hostData, vmpl, signingKey };
      const report = signReport(fields, request.bindingHash, key.signer);
      return encode(snpDocumentCodec, { report, certificates: [...key.chain] });
    },
  };
}

interface EndorsementKey {
  readonly signer: P384Signer;
  /** ARK, ASK or ASVK, endorsement key. */
  readonly chain: readonly Uint8Array[];
}

/** The key of a chip at a TCB. */
function mintVcek(root: SnpTestRoot, seed: Uint8Array, chipId: Uint8Array, tcb: SnpTestTcb): EndorsementKey {
  const product = PRODUCTS[root.product];
  const signer = p384SignerFromSeed(seed, `haca test amd vcek ${JSON.stringify(tcb)}`);
  const { der } = issue(root.ask, {
    ...WINDOW,
    commonName: 'SEV-VCEK',
    signer,
    serial: Uint8Array.of(0),
    extensions: [
      ...endorsementExtensions(product, product.productName, tcb),
      extension(`${AMD_ARC}.4`, false, chipId),
    ],
  });
  return { signer, chain: [root.der, root.ask.der, der] };
}

/** The key of a cloud provider at a TCB. */
function mintVlek(root: SnpTestRoot, tcb: SnpTestTcb, nowMs: number): EndorsementKey {
  const product = PRODUCTS[root.product];
  const notBeforeMs = Math.floor(nowMs / VLEK_RENEWAL_MS) * VLEK_RENEWAL_MS;
  const asvk = root.asvk();
  const signer = p384SignerFromSeed(root.sha256, `haca test amd vlek ${notBeforeMs} ${JSON.stringify(tcb)}`);
  const { der } = issue(asvk, {
    commonName: 'SEV-VLEK',
    signer,
    notBeforeMs,
    notAfterMs: notBeforeMs + VLEK_LIFE_MS,
    serial: Uint8Array.of(0),
    extensions: [
      ...endorsementExtensions(product, product.name, tcb),
      extension(`${AMD_ARC}.5`, false, derElement(IA5_STRING, utf8Encode(SNP_TEST_CSP_ID))),
    ],
  });
  return { signer, chain: [root.der, asvk.der, der] };
}

/** What AMD writes into either kind (document 57230). */
function endorsementExtensions(
  product: Product,
  productName: string,
  tcb: SnpTestTcb,
): readonly Uint8Array[] {
  const number = (arc: string, value: number): Uint8Array =>
    extension(`${AMD_ARC}.${arc}`, false, derUnsigned(Uint8Array.of(value)));
  return [
    number('1', product.structVersion),
    extension(`${AMD_ARC}.2`, false, derElement(IA5_STRING, utf8Encode(productName))),
    ...product.tcb.map(([component, spl]) => number(`3.${spl}`, component === null ? 0 : tcb[component])),
  ];
}

type ReportFields = SnpTestOptions &
  Required<Pick<SnpTestOptions, 'seed' | 'tcb' | 'hostData' | 'vmpl' | 'signingKey'>> & {
    readonly chipId: Uint8Array;
  };

/** ATTESTATION_REPORT of the SEV-SNP firmware ABI (document 56860). */
function signReport(fields: ReportFields, reportData: Uint8Array, signer: P384Signer): Uint8Array {
  const { root, version = 3, debug = false, seed } = fields;
  const { tcb: layout, cpuid } = PRODUCTS[root.product];
  const tcb = Uint8Array.from(layout, ([component]) => (component === null ? 0 : fields.tcb[component]));
  const report = new Uint8Array(REPORT_BYTES);
  const view = new DataView(report.buffer);
  view.setUint32(0x00, version, true);
  view.setUint32(0x08, debug ? GUEST_POLICY | GUEST_POLICY_DEBUG : GUEST_POLICY, true);
  view.setUint32(0x30, fields.vmpl, true);
  view.setUint32(0x34, 1, true); // ECDSA P-384 with SHA-384
  for (const at of [0x38, 0x180, 0x1e0, 0x1f0]) report.set(tcb, at);
  view.setUint32(0x40, PLATFORM_SMT, true);
  view.setUint32(0x48, fields.signingKey === 'vlek' ? SIGNING_KEY_VLEK : 0, true);
  report.set(reportData, 0x50);
  report.set(fields.measurement, 0x90);
  report.set(fields.hostData, 0xc0);
  report.set(bytesFromSeed(seed, 'haca test amd report id', 32), 0x140);
  report.fill(0xff, 0x160, 0x180); // no migration agent
  if (version > 2) report.set(cpuid, 0x188);
  report.set(fields.chipId, 0x1a0);
  for (const at of [0x1e8, 0x1ec]) report.set([8, 55, 1], at); // firmware 1.55.8
  const signature = signer.sign(report.subarray(0, SIGNED_BYTES));
  report.set(signature.slice(0, 48).reverse(), SIGNED_BYTES);
  report.set(signature.slice(48).reverse(), SIGNED_BYTES + SCALAR_FIELD_BYTES);
  return report;
}

export interface AmdTestCollateralOptions {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** A year after `nowMs` without. */
  readonly nextUpdateMs?: number;
  readonly crlNumber?: number;
  /** `root.serials` of what is taken back. */
  readonly revokedSerials?: readonly Uint8Array[];
}

/** The revocation list of a product line. */
export function mintAmdCollateral(
  root: SnpTestRoot,
  options: AmdTestCollateralOptions,
): readonly Collateral[] {
  const { nowMs, nextUpdateMs = nowMs + VLEK_LIFE_MS, crlNumber = 1, revokedSerials = [] } = options;
  const fields = { thisUpdateMs: nowMs, nextUpdateMs, number: crlNumber, revoked: revokedSerials };
  return [{ kind: 'amd-crl', crl: signRevocationList(root, fields), issuerChain: [root.der] }];
}

/** A measurement for an image that no hypervisor measured. */
export function measureSnpTestImage(image: Uint8Array): Uint8Array {
  return digest('sha384', concatBytes(utf8Encode('haca test snp image\0'), image));
}

/** As registers of an approved measurement. */
export function snpRegisters(
  measurement: Uint8Array,
  hostData: Uint8Array = new Uint8Array(32),
): readonly MeasurementRegister[] {
  return [
    { register: 'host-data', value: hostData },
    { register: 'measurement', value: measurement },
  ];
}
