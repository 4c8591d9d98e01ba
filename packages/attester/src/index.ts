export {
  ATTESTER_ERROR_CODES,
  type AttestationRequest,
  type Attester,
  AttesterError,
  type AttesterErrorCode,
  type GpuAttester,
} from './attester.ts';
export {
  type CertificateFields,
  type CertificateParts,
  caConstraints,
  certificateParts,
  derName,
  ECDSA_SHA384,
  ecdsaSignatureToDer,
  extension,
  KEY_USAGE_BIT,
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
export { type P384Signer, p384SignerFromSeed } from './p384.ts';
export {
  createTestEnclave,
  createTestRoot,
  LEAF_LIFE_MS,
  measureTestImage,
  mintTestChain,
  type TestChain,
  type TestEnclaveOptions,
  type TestMeasurement,
  type TestRoot,
} from './test-enclave.ts';
export { openTsmAttester, TSM_REPORT_ROOT, type TsmOptions } from './tsm.ts';
export { nodeTsmFiles, type TsmFiles } from './tsm-files.ts';
