/** Whether collateral is whose it has to be. What a function here returns was signed under the root it was given. */
import { bytesEqual, type CryptoProvider, MalformedError } from '@haca/primitives';
import type { SignedJson } from '@haca/protocol';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import {
  type ChainFault,
  ECDSA_P256_SHA256,
  nameFault,
  P256_SHA256_PROFILE,
  profileFault,
  signatureFault,
} from '../../der/chain.ts';
import { crlFault, parseCrl, type RevocationList } from '../../der/crl.ts';
import { phraseFault, SIGNER_CHAIN_PHRASES } from './certificates.ts';

export type Fault = Omit<ChainFault, 'position'> | null;

/** The list, if `issuer` signed it: one signature. Throws `MalformedError`. */
export function authenticCrl(
  der: Uint8Array,
  name: string,
  issuer: Certificate,
  crypto: CryptoProvider,
): RevocationList {
  const crl = parseCrl(der, name);
  const fault = crlFault(crl, issuer, ECDSA_P256_SHA256, crypto);
  if (fault !== null) throw new MalformedError(fault.code, name, fault.expected, fault.got);
  return crl;
}

export type Signer = { readonly certificate: Certificate } | { readonly fault: NonNullable<Fault> };

/**
 * Whether a chain of collateral is the given root and a TCB signer under it. The root is compared as bytes: collateral of
 * another root is worth nothing here, however well it is signed. One signature is verified; the signer's window is not judged.
 */
export function verifySigner(
  issuerChain: readonly Uint8Array[],
  root: Certificate,
  crypto: CryptoProvider,
): Signer {
  const [rootDer, signerDer] = issuerChain;
  if (issuerChain.length !== 2 || rootDer === undefined || signerDer === undefined)
    return faulty('collateral.chain', 'the root and the TCB signer', `${issuerChain.length} certificates`);
  if (!bytesEqual(rootDer, root.der))
    return faulty('collateral.other-root', 'the root of the evidence', 'another certificate');
  try {
    const chain = [root, parseCertificate(signerDer, 'signer')];
    const fault =
      profileFault(chain, P256_SHA256_PROFILE) ??
      nameFault(chain) ??
      phraseFault(chain, SIGNER_CHAIN_PHRASES) ??
      signatureFault(chain, P256_SHA256_PROFILE, crypto);
    return fault === null ? { certificate: chain[1] as Certificate } : { fault };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return faulty(error.code, error.expected, error.got);
  }
}

/** The signature over the exact bytes of the object. */
export function jsonSignatureFault(
  { body, signature }: SignedJson,
  { publicKey }: Certificate,
  crypto: CryptoProvider,
): Fault {
  if (crypto.verifyEcdsaP256(publicKey, body, signature)) return null;
  const expected = 'a signature by the TCB signer over these bytes';
  return { code: 'collateral.signature', expected, got: 'one that does not verify' };
}

function faulty(code: string, expected: string, got: string): Signer {
  return { fault: { code, expected, got } };
}
