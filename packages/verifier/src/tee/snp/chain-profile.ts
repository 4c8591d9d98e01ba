/** How AMD signs certificates and revocation lists: RSA-4096 with RSASSA-PSS (RFC 4055) by its CAs, P-384 for endorsement keys. */
import { bytesEqual, fromHex } from '@haca/primitives';
import { type ChainProfile, type KeyAlgorithm, P384_KEY, type SignatureAlgorithm } from '../../der/chain.ts';

/** RSASSA-PSS-params: SHA-384, MGF1 with SHA-384, salt of 48 bytes. */
const PSS_PARAMETERS =
  'a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130';
/** trailerField 1, which is the default that DER would leave out. */
const TRAILER_FIELD = 'a303020101';

/** The two forms AMD writes: without the trailer field (since 2025), and with it (CAs, and endorsement keys before). */
const PARAMETER_FORMS: readonly Uint8Array[] = [
  fromHex(`3034${PSS_PARAMETERS}`),
  fromHex(`3039${PSS_PARAMETERS}${TRAILER_FIELD}`),
];

const RSA_4096_BYTES = 512;
/** DER RSAPublicKey: SEQUENCE, INTEGER of 513 bytes with its leading zero. */
const RSA_4096_HEAD = fromHex('3082020a0282020100');
const RSA_EXPONENT = fromHex('0203010001');

/** One signature: 512 bytes, big-endian. */
export const AMD_SIGNATURE: SignatureAlgorithm = {
  oid: '1.2.840.113549.1.1.10',
  acceptsParameters: (parameters) =>
    parameters !== null && PARAMETER_FORMS.some((form) => bytesEqual(form, parameters)),
  rawSignature: (content) => content,
  verify: (crypto, publicKey, message, signature) =>
    signature.length === RSA_4096_BYTES && crypto.verifyRsaPssSha384(publicKey, message, signature),
};

/** rsaEncryption with NULL parameters, a modulus of exactly 4096 bits and exponent 65537. */
const RSA_4096_KEY: KeyAlgorithm = {
  oid: '1.2.840.113549.1.1.1',
  parameters: Uint8Array.of(0x05, 0x00),
  form: 'RSAPublicKey with a modulus of 4096 bits and exponent 65537',
  isWellFormed: (publicKey) =>
    publicKey.length === RSA_4096_HEAD.length + RSA_4096_BYTES + RSA_EXPONENT.length &&
    bytesEqual(publicKey.subarray(0, RSA_4096_HEAD.length), RSA_4096_HEAD) &&
    (publicKey[RSA_4096_HEAD.length] as number) >= 0x80 &&
    bytesEqual(publicKey.subarray(-RSA_EXPONENT.length), RSA_EXPONENT),
};

/** ARK, ASK or ASVK, endorsement key. AMD writes neither keyUsage nor basicConstraints into the last. */
export const AMD_PROFILE: ChainProfile = {
  signature: AMD_SIGNATURE,
  caKey: RSA_4096_KEY,
  leafKey: P384_KEY,
  leafKeyUsageOptional: true,
};
