/** The PKI of Intel-shaped test enclaves: root CA, PCK Platform CA, and the certificate that signs TCB information. */
import { randomBytes } from 'node:crypto';
import {
  type Authority,
  authorityExtensions,
  issue,
  ROOT_NOT_AFTER_MS,
  ROOT_NOT_BEFORE_MS,
  selfSign,
  serialOf,
  type TestRoot,
} from './authority.ts';
import {
  caConstraints,
  KEY_USAGE_BIT,
  keyIdentifiers,
  keyUsage,
  leafConstraints,
} from './certificate-writer.ts';
import { type P256Signer, p256SignerFromSeed } from './signers.ts';

/** For TDX, SGX and dstack shapes alike. */
export interface IntelTestRoot extends TestRoot {
  readonly platformCa: Authority;
  readonly tcbSigning: Authority & { readonly signer: P256Signer };
  /** Serials, big-endian, by which the root can take back what it issued. */
  readonly serials: { readonly platformCa: Uint8Array; readonly tcbSigning: Uint8Array };
}

const SERIALS = { platformCa: Uint8Array.of(0x51, 1), tcbSigning: Uint8Array.of(0x51, 2) } as const;
const WINDOW = { notBeforeMs: ROOT_NOT_BEFORE_MS, notAfterMs: ROOT_NOT_AFTER_MS } as const;

/** The root of a seed of at least 16 bytes; a fresh one without. Who knows the seed can forge everything below it. */
export function createTdxTestRoot(seed: Uint8Array = randomBytes(32)): IntelTestRoot {
  const signerOf = (part: string): P256Signer => p256SignerFromSeed(seed, `haca test intel ${part}`);
  const [rootSigner, caSigner, tcbSigner] = [
    signerOf('root'),
    signerOf('platform ca'),
    signerOf('tcb signing'),
  ];
  const root = selfSign({
    ...WINDOW,
    commonName: 'HACA test SGX Root CA',
    signer: rootSigner,
    extensions: [...keyIdentifiers(rootSigner, rootSigner), ...authorityExtensions(1)],
  });
  const platformCa = issue(root, {
    ...WINDOW,
    commonName: 'HACA test SGX PCK Platform CA',
    signer: caSigner,
    serial: SERIALS.platformCa,
    extensions: [
      ...keyIdentifiers(caSigner, rootSigner),
      keyUsage(true, KEY_USAGE_BIT.keyCertSign, KEY_USAGE_BIT.crlSign),
      caConstraints(0),
    ],
  });
  const tcbSigning = issueTcbSigning(root, tcbSigner, SERIALS.tcbSigning);
  return { ...root, platformCa, tcbSigning, serials: SERIALS };
}

/** The same root, signing from now on with another key and certificate, as a vendor does whose signing key was stolen. */
export function renewTcbSigning(root: IntelTestRoot, seed: Uint8Array = randomBytes(32)): IntelTestRoot {
  const signer = p256SignerFromSeed(seed, 'haca test intel renewed tcb signing');
  const serial = serialOf('tcb signing', signer);
  return {
    ...root,
    tcbSigning: issueTcbSigning(root, signer, serial),
    serials: { ...root.serials, tcbSigning: serial },
  };
}

function issueTcbSigning(
  root: TestRoot,
  signer: P256Signer,
  serial: Uint8Array,
): IntelTestRoot['tcbSigning'] {
  const certificate = issue(root, {
    ...WINDOW,
    commonName: 'HACA test SGX TCB Signing',
    signer,
    serial,
    extensions: leafExtensions(signer, root.signer),
  });
  return { ...certificate, signer };
}

/** Of a certificate whose key signs data. */
export function leafExtensions(
  subject: P256Signer,
  issuer: Pick<P256Signer, 'keyInfo'>,
): readonly Uint8Array[] {
  return [
    ...keyIdentifiers(subject, issuer),
    keyUsage(true, KEY_USAGE_BIT.digitalSignature, KEY_USAGE_BIT.nonRepudiation),
    leafConstraints(),
  ];
}
