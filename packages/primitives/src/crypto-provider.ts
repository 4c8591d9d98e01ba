/**
 * What differs by platform: native crypto on nodes, portable code in browsers. Every function is synchronous, pure and
 * total: a malformed key or signature is `false`, never an exception, and all implementations agree on every input.
 *
 * Signature inputs are raw: Ed25519 keys 32 bytes and signatures 64; ECDSA keys are uncompressed points (0x04 || x || y)
 * and signatures r || s of fixed width (IEEE P1363). RSA keys are DER RSAPublicKey (RFC 8017 appendix A.1.1) with a modulus of
 * exactly 2048, 3072 or 4096 bits and exponent 65537; signatures are as long as the modulus.
 */
export interface CryptoProvider {
  /** Name shown in benchmarks and diagnostics, e.g. `node` or `portable`. */
  readonly name: string;
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  readonly sha384: (bytes: Uint8Array) => Uint8Array;
  readonly sha512: (bytes: Uint8Array) => Uint8Array;
  /** By the fixed acceptance rule of `verifyEd25519Strict`. */
  readonly verifyEd25519: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** ECDSA over SHA-256(message); key 65 bytes, signature 64. */
  readonly verifyEcdsaP256: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** ECDSA over SHA-384(message); key 97 bytes, signature 96. */
  readonly verifyEcdsaP384: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** RSASSA-PSS: SHA-384, MGF1 with SHA-384, salt of 48 bytes. */
  readonly verifyRsaPssSha384: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  /** RSASSA-PKCS1-v1_5 with SHA-256. */
  readonly verifyRsaPkcs1Sha256: (
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ) => boolean;
}
