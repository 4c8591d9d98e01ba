/** What can change the worth of SNP evidence later: its certificates, and the level its platform proved to be at. */
import { bytesOf, decode, encode, field, oneOf, struct, type TypeOf } from '@haca/primitives';
import { SNP_PRODUCTS, type SnpProduct } from '@haca/protocol';
import type { Certificate } from '../../der/certificate.ts';
import { chainFactsCodec, chainFactsOf } from '../chain-facts.ts';

const factsCodec = struct({
  /** DER: signs the revocation list, and names it. */
  rootCertificate: field(0, bytesOf(1, 2048)),
  /** Root first. */
  chain: field(1, chainFactsCodec),
  product: field(2, oneOf(...SNP_PRODUCTS)),
  /** TCB_VERSIONs in the product's layout. */
  reportedTcb: field(3, bytesOf(8)),
  committedTcb: field(4, bytesOf(8)),
});
export type SnpFacts = TypeOf<typeof factsCodec>;

/** The largest root certificate that facts have room for. */
export const SNP_ROOT_MAX_BYTES = 2048;

export function encodeSnpFacts(
  chain: readonly Certificate[],
  product: SnpProduct,
  { reportedTcb, committedTcb }: Pick<SnpFacts, 'reportedTcb' | 'committedTcb'>,
): Uint8Array {
  const rootCertificate = (chain[0] as Certificate).der;
  return encode(factsCodec, {
    rootCertificate,
    chain: chainFactsOf(chain),
    product,
    reportedTcb,
    committedTcb,
  });
}

/** Throws `MalformedError`. */
export function decodeSnpFacts(facts: Uint8Array): SnpFacts {
  return decode(factsCodec, facts, 'facts');
}
