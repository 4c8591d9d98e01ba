/** Software test enclaves with quotes of the shape of Intel TDX, SGX and dstack, under a root made from a seed. They prove nothing. */
import { randomBytes } from 'node:crypto';
import { concatBytes, encode, UsageError, utf8Encode } from '@haca/primitives';
import {
  DSTACK_RUNTIME_EVENT_TYPE,
  type DstackEvent,
  dstackDocumentCodec,
  type MeasurementRegister,
} from '@haca/protocol';
import { type Attester, requireRequest } from './attester.ts';
import { digest } from './authority.ts';
import {
  type IntelTestPlatform,
  intelTestPlatform,
  sgxReport,
  signQuote,
  TEST_TCB,
} from './intel-test-platform.ts';
import type { IntelTestRoot } from './intel-test-root.ts';

const REGISTER_BYTES = 48;
const TD_15 = 3;
/** SEPT_VE_DISABLE, as production guests have it; bit 0 of the first byte is debug. */
const TD_ATTRIBUTES = Uint8Array.of(0, 0, 0, 0x10, 0, 0, 0, 0);
const XFAM = Uint8Array.of(0xe7, 0x02, 0x06, 0, 0, 0, 0, 0);
/** INIT and MODE64BIT; bit 1 of the first byte is debug. */
const SGX_ATTRIBUTES = Uint8Array.of(0x05, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0);
const DEBUG_TD = 0x01;
const DEBUG_SGX = 0x02;

/** 48 bytes each. */
export interface TdxTestMeasurement {
  readonly mrtd: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
}

/** What all Intel-shaped enclaves take. */
export interface IntelTestOptions {
  readonly root: IntelTestRoot;
  /** Names its attestation key; fresh without. */
  readonly seed?: Uint8Array;
  /** Names the platform it runs on, and with it PPID and PCK; the enclave's own without. */
  readonly platformSeed?: Uint8Array;
  /** Microcode updates that the platform has had beyond `TEST_TCB`; none without. */
  readonly patches?: number;
  /** Its host can read its memory. */
  readonly debug?: boolean;
}

export interface TdxTestOptions extends IntelTestOptions {
  readonly measurement: TdxTestMeasurement;
  /** 4 (TDX 1.0 report) without; 5 has a TDX 1.5 report. */
  readonly version?: 4 | 5;
}

/** An attester, and what it runs on. */
export interface IntelTestEnclave extends Attester {
  readonly isSimulated: true;
  readonly platform: IntelTestPlatform;
}

export function createTdxTestEnclave(options: TdxTestOptions): IntelTestEnclave {
  const { measurement } = options;
  requireRegisters(measurement);
  return intelEnclave('tdx', options, (sign, bindingHash) =>
    sign(tdQuote(options, measurement, bindingHash)),
  );
}

type Sign = (parts: Parameters<typeof signQuote>[2]) => Uint8Array;

function intelEnclave(
  kind: 'tdx' | 'sgx' | 'dstack',
  { root, seed = randomBytes(32), platformSeed = seed, patches = 0 }: IntelTestOptions,
  documentOf: (sign: Sign, bindingHash: Uint8Array) => Uint8Array,
): IntelTestEnclave {
  const platform = intelTestPlatform(root, platformSeed, patches);
  return {
    kind,
    isSimulated: true,
    platform,
    attest: async (request) => {
      requireRequest(request);
      return documentOf((parts) => signQuote(platform, seed, parts), request.bindingHash);
    },
  };
}

function tdQuote(
  { debug = false, version = 4 }: Pick<TdxTestOptions, 'debug' | 'version'>,
  { mrtd, rtmrs }: TdxTestMeasurement,
  reportData: Uint8Array,
): Parameters<typeof signQuote>[2] {
  const attributes = TD_ATTRIBUTES.slice();
  if (debug) attributes[0] = DEBUG_TD;
  const zero = new Uint8Array(REGISTER_BYTES);
  const report = concatBytes(
    TEST_TCB.teeTcbSvn,
    digest('sha384', utf8Encode('haca test TDX module')),
    zero, // mrsignerseam: the module is the vendor's
    new Uint8Array(8), // seamattributes
    attributes,
    XFAM,
    mrtd,
    zero, // mrconfigid
    zero, // mrowner
    zero, // mrownerconfig
    ...rtmrs,
    reportData,
  );
  if (version === 4) return { version, tee: 'tdx', body: report };
  const body = concatBytes(report, TEST_TCB.teeTcbSvn, zero);
  return { version, tee: 'tdx', body, bodyType: TD_15 };
}

/** Registers of an image that no hypervisor measured. Same bytes, same values. */
export function measureTdxTestImage(image: Uint8Array): TdxTestMeasurement {
  const part = (name: string): Uint8Array =>
    digest('sha384', concatBytes(utf8Encode(`haca test td ${name}\0`), image));
  return { mrtd: part('mrtd'), rtmrs: [part('rtmr0'), part('rtmr1'), part('rtmr2'), part('rtmr3')] };
}

/** As registers of an approved measurement: `mrtd` and `rtmr0` to `rtmr3`. */
export function tdxRegisters({ mrtd, rtmrs }: TdxTestMeasurement): readonly MeasurementRegister[] {
  return [
    { register: 'mrtd', value: mrtd },
    ...rtmrs.map((value, index) => ({ register: `rtmr${index}`, value })),
  ];
}

function requireRegisters({ mrtd, rtmrs }: TdxTestMeasurement): void {
  if ([mrtd, ...rtmrs].some(({ length }) => length !== REGISTER_BYTES))
    throw new UsageError(`registers of a TD have ${REGISTER_BYTES} bytes`);
}

// ---- SGX -------------------------------------------------------------------------------------------------------------

export interface SgxTestOptions extends IntelTestOptions {
  /** 32 bytes each. */
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
}

/** Quotes of version 3. */
export function createSgxTestEnclave(options: SgxTestOptions): IntelTestEnclave {
  const { mrEnclave, mrSigner, debug = false } = options;
  if (mrEnclave.length !== 32 || mrSigner.length !== 32) throw new UsageError('SGX measures in 32 bytes');
  const attributes = SGX_ATTRIBUTES.slice();
  if (debug) attributes[0] = (attributes[0] as number) | DEBUG_SGX;
  return intelEnclave('sgx', options, (sign, reportData) =>
    sign({ version: 3, tee: 'sgx', body: sgxReport({ ...options, attributes, reportData }) }),
  );
}

// ---- dstack ----------------------------------------------------------------------------------------------------------

export interface DstackTestOptions extends IntelTestOptions {
  /** 48 bytes. */
  readonly mrtd: Uint8Array;
  /** Digests of what was measured at boot into RTMR0, 1 and 2. */
  readonly bootDigests: readonly [readonly Uint8Array[], readonly Uint8Array[], readonly Uint8Array[]];
  /** What the guest extended into RTMR3, in order. */
  readonly events: readonly { readonly name: string; readonly payload: Uint8Array }[];
}

/** A dstack app: the registers of its quote are those that its log replays to. */
export function createDstackTestEnclave(options: DstackTestOptions): IntelTestEnclave {
  const { mrtd, bootDigests, events } = options;
  const boot = bootDigests.flatMap((digests, imr) => digests.map((each) => bootEvent(imr, each)));
  const runtime = events.map(({ name, payload }) => ({
    imr: 3,
    eventType: DSTACK_RUNTIME_EVENT_TYPE,
    digest: null,
    name,
    payload,
  }));
  const [rtmr0, rtmr1, rtmr2] = bootDigests.map(replay) as [Uint8Array, Uint8Array, Uint8Array];
  const measurement: TdxTestMeasurement = {
    mrtd,
    rtmrs: [rtmr0, rtmr1, rtmr2, replay(events.map(runtimeDigest))],
  };
  requireRegisters(measurement);
  return intelEnclave('dstack', options, (sign, bindingHash) => {
    const quote = sign(tdQuote(options, measurement, bindingHash));
    return encode(dstackDocumentCodec, { quote, events: [...boot, ...runtime] });
  });
}

function bootEvent(imr: number, bootDigest: Uint8Array): DstackEvent {
  return { imr, eventType: 0, digest: bootDigest, name: '', payload: new Uint8Array(0) };
}

function runtimeDigest({ name, payload }: DstackTestOptions['events'][number]): Uint8Array {
  const type = new Uint8Array(4);
  new DataView(type.buffer).setUint32(0, DSTACK_RUNTIME_EVENT_TYPE, true);
  return digest('sha384', concatBytes(type, utf8Encode(`:${name}:`), payload));
}

function replay(digests: readonly Uint8Array[]): Uint8Array {
  return digests.reduce<Uint8Array>(
    (register, each) => digest('sha384', concatBytes(register, each)),
    new Uint8Array(REGISTER_BYTES),
  );
}
