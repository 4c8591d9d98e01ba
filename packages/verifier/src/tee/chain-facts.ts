/** What has to be known of a chain to see later that one of its certificates was taken back: issuers and serials. */
import { arrayOf, bytesOf, decode, encode, field, struct } from '@haca/primitives';
import type { Certificate } from '../der/certificate.ts';
import type { RevokedCertificate } from '../der/chain.ts';

const revocable = struct({
  /** DER of the issuer's Name. */
  issuer: field(0, bytesOf(1, 512)),
  serial: field(1, bytesOf(1, 20)),
});

/** Root first. Embed it in facts that say more. */
export const chainFactsCodec = arrayOf(revocable, 9, 2);

export function chainFactsOf(chain: readonly Certificate[]): readonly RevokedCertificate[] {
  return chain.map(({ issuer, serial }) => ({ issuer, serial }));
}

export function encodeChainFacts(chain: readonly Certificate[]): Uint8Array {
  return encode(chainFactsCodec, chainFactsOf(chain));
}

/** Throws `MalformedError`. */
export function decodeChainFacts(facts: Uint8Array): readonly RevokedCertificate[] {
  return decode(chainFactsCodec, facts, 'facts');
}
