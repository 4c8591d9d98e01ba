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
export { type RevocationListFields, signRevocationList } from './crl-writer.ts';
export * from './der-writer.ts';
export { DSTACK_SOCKET, type DstackOptions, openDstackAttester } from './dstack.ts';
export {
  type IntelTestCollateralOptions,
  type IntelTestStatus,
  mintSgxCollateral,
  mintTdxCollateral,
} from './intel-test-collateral.ts';
export { type IntelTestPlatform, intelTestPlatform, TEST_TCB } from './intel-test-platform.ts';
export { createTdxTestRoot, type IntelTestRoot, renewTcbSigning } from './intel-test-root.ts';
export { encodeNsmRequest, type NitroOptions, openNitroAttester, parseNsmResponse } from './nitro-device.ts';
export {
  encodeNitroPayload,
  NITRO_PROTECTED_HEADER,
  type NitroDocumentFields,
  signNitroPayload,
} from './nitro-document.ts';
export { type NvidiaOptions, openNvidiaAttester, parseNvidiaEvidence } from './nvidia.ts';
export {
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  type NvidiaTestArchitecture,
  type NvidiaTestOptions,
  type NvidiaTestRoot,
} from './nvidia-test-gpu.ts';
export { rsaSignerFromSeed } from './rsa.ts';
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
  type AmdTestCollateralOptions,
  createSnpTestEnclave,
  createSnpTestRoot,
  measureSnpTestImage,
  mintAmdCollateral,
  SNP_TEST_CSP_ID,
  SNP_TEST_TCB,
  type SnpTestOptions,
  type SnpTestProduct,
  type SnpTestRoot,
  type SnpTestTcb,
  snpRegisters,
} from './snp-test-enclave.ts';
export {
  createDstackTestEnclave,
  createSgxTestEnclave,
  createTdxTestEnclave,
  type DstackTestOptions,
  type IntelTestEnclave,
  type IntelTestOptions,
  measureTdxTestImage,
  type SgxTestOptions,
  type TdxTestMeasurement,
  type TdxTestOptions,
  tdxRegisters,
} from './tdx-test-enclave.ts';
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
