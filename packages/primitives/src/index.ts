export * from './base64.ts';
export * from './bytes.ts';
export { CBOR_DEPTH_MAX, CborReader, CborWriter, writeCbor } from './cbor.ts';
export * from './codec.ts';
export * from './cose.ts';
export type { CryptoProvider } from './crypto-provider.ts';
export { isAdmissibleEd25519 } from './ed25519-rule.ts';
export { MalformedError, UsageError } from './errors.ts';
export * from './hex.ts';
export * from './merkle.ts';
export {
  domainHash,
  domainPrefix,
  type HashFunction,
  installSha256,
  sha256,
} from './sha256.ts';
