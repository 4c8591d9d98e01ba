export {
  ATTESTER_ERROR_CODES,
  type AttestationRequest,
  type Attester,
  AttesterError,
  type AttesterErrorCode,
  type GpuAttester,
} from './attester.ts';
export type { Authority, TestRoot } from './authority.ts';
export {
  type CertificateFields,
  type CertificateParts,
  caConstraints,
  certificateParts,
  derName,
  extension,
  KEY_USAGE_BIT,
  keyIdentifiers,
  keyUsage,
  leafConstraints,
  signCertificate,
} from './certificate-writer.ts';
export * from './der-writer.ts';
export { DSTACK_SOCKET, type DstackOptions, openDstackAttester } from './dstack.ts';
export { encodeNsmRequest, type NitroOptions, openNitroAttester, parseNsmResponse } from './nitro-device.ts';
export {
  encodeNitroPayload,
  NITRO_PROTECTED_HEADER,
  type NitroDocumentFields,
  signNitroPayload,
} from './nitro-document.ts';
export { type NvidiaOptions, openNvidiaAttester, parseNvidiaEvidence } from './nvidia.ts';
export {
  type EcSigner,
  ecdsaSignatureToDer,
  type P256Signer,
  type P384Signer,
  p256SignerFromSeed,
  p384SignerFromSeed,
  type Signer,
} from './signers.ts';
export {
  createTestEnclave,
  createTestRoot,
  LEAF_LIFE_MS,
  measureTestImage,
  mintTestChain,
  type NitroTestRoot,
  type TestChain,
  type TestEnclaveOptions,
  type TestMeasurement,
} from './test-enclave.ts';
export { openTsmAttester, TSM_REPORT_ROOT, type TsmOptions } from './tsm.ts';
export { nodeTsmFiles, type TsmFiles } from './tsm-files.ts';
