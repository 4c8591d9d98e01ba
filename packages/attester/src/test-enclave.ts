/**
 * The software test enclave: documents of the shape AWS Nitro gives, under a root made from a seed. They prove nothing
 * about hardware. Only a genesis marked simulated may list such a root.
 */
import { randomBytes } from 'node:crypto';
import { UsageError } from '@haca/primitives';
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
import { KEY_USAGE_BIT, keyUsage, leafConstraints } from './certificate-writer.ts';
import { encodeNitroPayload, signNitroPayload } from './nitro-document.ts';
import { type P384Signer, p384SignerFromSeed } from './signers.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How long AWS lets each certificate live. */
export const LEAF_LIFE_MS = 3 * HOUR_MS;
const CA_LIVES = [
  ['region', 20 * DAY_MS],
  ['zone', 6 * DAY_MS],
  ['instance', DAY_MS],
] as const;
/** Certificates begin a little before they are made, as AWS has it: clocks differ. */
const BACKDATE_MS = 3_000;
const PCR_COUNT = 16;
const PCR_BYTES = 48;

/** Index 0 to 15 and 48 bytes each; PCR0 to PCR2 at least. */
export type TestMeasurement = readonly (readonly [index: number, value: Uint8Array])[];

/** The root of Nitro-shaped enclaves. */
export interface NitroTestRoot extends TestRoot {
  readonly signer: P384Signer;
}

/** The root of a seed of at least 16 bytes; a fresh one without. Who knows the seed can forge everything below it. */
export function createTestRoot(seed: Uint8Array = randomBytes(32)): NitroTestRoot {
  const signer = p384SignerFromSeed(seed, 'haca test enclave root');
  const root = selfSign({
    commonName: 'haca.test-enclaves',
    signer,
    notBeforeMs: ROOT_NOT_BEFORE_MS,
    notAfterMs: ROOT_NOT_AFTER_MS,
    extensions: authorityExtensions(null),
  });
  return { ...root, signer };
}

export interface TestEnclaveOptions {
  readonly root: NitroTestRoot;
  readonly measurement: TestMeasurement;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** Makes every key and name of this enclave; fresh without. */
  readonly seed?: Uint8Array;
  /** Zeroes PCR0 to PCR2, as AWS does in debug mode. */
  readonly debug?: boolean;
}

export function createTestEnclave(options: TestEnclaveOptions): Attester {
  const seed = options.seed ?? randomBytes(32);
  const id = Buffer.from(digest('sha256', seed)).toString('hex');
  const moduleId = `i-${id.slice(0, 17)}-enc${id.slice(17, 33)}`;
  const pcrs = pcrsOf(options.measurement, options.debug ?? false);
  let chain: TestChain | undefined;
  return {
    kind: 'nitro',
    isSimulated: true,
    attest: async (request) => {
      requireRequest(request);
      const timestampMs = options.nowMs();
      if (chain === undefined || !isFresh(chain, timestampMs))
        chain = mintTestChain(options.root, seed, moduleId, timestampMs);
      const { certificate, cabundle, leaf } = chain;
      const { bindingHash: userData, signPublicKey: publicKey, refBlockHash: nonce } = request;
      const asked = { userData, publicKey, nonce };
      const fields = { moduleId, digest: 'SHA384', timestampMs, pcrs, certificate, cabundle, ...asked };
      return signNitroPayload(encodeNitroPayload(fields), leaf);
    },
  };
}

/** Certificates from the root down to the leaf of one enclave, and the leaf's key. */
export interface TestChain {
  readonly cabundle: readonly Uint8Array[];
  readonly certificate: Uint8Array;
  readonly leaf: P384Signer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Three CAs and a leaf that begin at `timestampMs`, with the names and path lengths of the AWS chain. */
export function mintTestChain(
  root: NitroTestRoot,
  seed: Uint8Array,
  moduleId: string,
  timestampMs: number,
): TestChain {
  const notBeforeMs = timestampMs - BACKDATE_MS;
  const cabundle = [root.der];
  let issuer: Authority = root;
  for (const [i, [level, lifeMs]] of CA_LIVES.entries()) {
    issuer = issue(issuer, {
      commonName: `${level}.${moduleId}.test-enclaves`,
      signer: p384SignerFromSeed(seed, `haca test enclave ${level}`),
      extensions: authorityExtensions(CA_LIVES.length - 1 - i),
      notBeforeMs,
      notAfterMs: notBeforeMs + lifeMs,
    });
    cabundle.push(issuer.der);
  }
  const leaf = p384SignerFromSeed(seed, 'haca test enclave leaf');
  const notAfterMs = timestampMs + LEAF_LIFE_MS;
  const { der: certificate } = issue(issuer, {
    commonName: `${moduleId}.test-enclaves`,
    signer: leaf,
    extensions: [
      leafConstraints(),
      keyUsage(false, KEY_USAGE_BIT.digitalSignature, KEY_USAGE_BIT.nonRepudiation),
    ],
    notBeforeMs,
    notAfterMs,
  });
  return { cabundle, certificate, leaf, notBeforeMs, notAfterMs };
}

/** A leaf is replaced in the last third of its life, so that a document leaves time to be submitted. */
function isFresh(chain: TestChain, nowMs: number): boolean {
  return chain.notBeforeMs <= nowMs && nowMs <= chain.notAfterMs - LEAF_LIFE_MS / 3;
}

function pcrsOf(measurement: TestMeasurement, isDebug: boolean): TestMeasurement {
  const given = new Map(measurement);
  for (const [index, value] of measurement) {
    if (!Number.isInteger(index) || index < 0 || index >= PCR_COUNT || value.length !== PCR_BYTES)
      throw new UsageError(`a measurement has 48 bytes at PCR0 to PCR15, not ${value.length} at PCR${index}`);
  }
  const isWhole = [0, 1, 2].every((index) => given.get(index)?.some((byte) => byte !== 0) ?? false);
  if (!isWhole) throw new UsageError('a measurement sets PCR0, PCR1 and PCR2; debug mode is its own option');
  return Array.from({ length: PCR_COUNT }, (_, index) => {
    const value = isDebug && index < 3 ? undefined : given.get(index);
    return [index, value ?? new Uint8Array(PCR_BYTES)] as const;
  });
}

/**
 * A measurement for an image that no hypervisor measured: each of PCR0 to PCR2 extends zero by SHA-384 of the image under its
 * own label. Same bytes, same values.
 */
export function measureTestImage(image: Uint8Array): TestMeasurement {
  return (['image', 'kernel', 'application'] as const).map((part, index) => {
    const event = digest('sha384', Buffer.concat([Buffer.from(`haca test enclave ${part}\0`), image]));
    return [index, digest('sha384', Buffer.concat([new Uint8Array(PCR_BYTES), event]))] as const;
  });
}
