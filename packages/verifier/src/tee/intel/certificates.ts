/** Certificates of Intel's provisioning hierarchy: root, PCK CA, PCK; and root, TCB signer. */
import { bytesEqual } from '@haca/primitives';
import type { Certificate } from '../../der/certificate.ts';
import type { ChainFault } from '../../der/chain.ts';
import { DerReader, TAG } from '../../der/reader.ts';

const COMMON_NAME = Uint8Array.of(0x55, 0x04, 0x03);
/** Phrases of the common names by which Intel's verification library tells its certificates apart. */
export const PCK_CHAIN_PHRASES = ['SGX Root CA', 'CA', 'SGX PCK Certificate'] as const;
export const SIGNER_CHAIN_PHRASES = ['SGX Root CA', 'SGX TCB Signing'] as const;

/** The common name of a Name that was parsed before; empty where it has none. */
export function commonNameOf(name: Uint8Array): string {
  const relativeNames = new DerReader(name, 'name').sequence('names');
  while (!relativeNames.isAtEnd) {
    const attributes = relativeNames.open(TAG.set, 'relativeName');
    while (!attributes.isAtEnd) {
      const attribute = attributes.sequence('attribute');
      const type = attribute.content(TAG.oid, 'type');
      const { content } = attribute.any('value');
      if (bytesEqual(type, COMMON_NAME)) return String.fromCharCode(...content.subarray(0, 128));
    }
  }
  return '';
}

/** Each subject's common name contains the phrase of its position. */
export function phraseFault(chain: readonly Certificate[], phrases: readonly string[]): ChainFault | null {
  for (const [position, phrase] of phrases.entries()) {
    const certificate = chain[position];
    const got = certificate === undefined ? '' : commonNameOf(certificate.subject);
    if (!got.includes(phrase))
      return { code: 'certificate.subject', position, expected: phrase, got: JSON.stringify(got) };
  }
  return null;
}
