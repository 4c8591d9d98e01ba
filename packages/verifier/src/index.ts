export { type ChoiceContext, type ChosenCollateral, collateralSource } from './collateral-files/choose.ts';
export type { CollateralFile, CollateralLibrary, IgnoredFile } from './collateral-files/library.ts';
export { COLLATERAL_LIMITS, readCollateral } from './collateral-files/read.ts';
export {
  type AlgorithmIdentifier,
  AMD_DEVIATIONS,
  type BasicConstraints,
  type Certificate,
  type CertificateDeviation,
  type Extension,
  parseCertificate,
} from './der/certificate.ts';
export { type RevokedCertificate, revocationFault } from './der/chain.ts';
export { parseCrl, type RevocationList, type RevokedEntry } from './der/crl.ts';
export { parsePemCertificates } from './der/pem.ts';
export { DerReader } from './der/reader.ts';
export {
  APPRAISED_KINDS,
  appraiseEvidence,
  type EvidenceContext,
  type NvidiaAcceptance,
  type Rescoring,
  rescoreEvidence,
} from './evidence.ts';
export {
  appraiseEvidenceFile,
  type EvidenceFileReport,
  type EvidenceFileRequest,
  type EvidenceFileView,
  evidenceFileView,
  type JudgedEvidence,
} from './evidence-files/appraise-file.ts';
export { EVIDENCE_FILE_MAX_BYTES } from './evidence-files/blobs.ts';
export { likelyKind } from './evidence-files/kinds.ts';
export { checkForPeople, type SummaryRow, type SummaryTone, summaryRows } from './evidence-files/summary.ts';
export { type EvidencePolicies, parsePolicy, policyMembers } from './policy-json/evidence-policy.ts';
export {
  collateralRoots,
  type EvidenceRules,
  registrationContext,
  rescoringContext,
} from './registration-context.ts';
export { type AzureContext, appraiseAzure } from './tee/azure/appraise.ts';
export type { AzureClaims } from './tee/azure/claims.ts';
export { parseAzureJson } from './tee/azure/from-json.ts';
export {
  type AzureHardware,
  canonicalHclReport,
  type HclReport,
  parseHclReport,
} from './tee/azure/hcl-report.ts';
export { azureRegistrationPolicy } from './tee/azure/registration-policy.ts';
export { rescoreAzure } from './tee/azure/rescore.ts';
export {
  type AzureRuntimeData,
  type AzureVmConfiguration,
  parseRuntimeData,
} from './tee/azure/runtime-data.ts';
export { parseTpmQuote, type TpmQuote } from './tee/azure/tpm-quote.ts';
export { type AzurePolicy, azureValidateChecks, validateAzure } from './tee/azure/validate.ts';
export {
  type AzureVerification,
  azureVerifyChecks,
  verifyAzure,
} from './tee/azure/verify.ts';
export type { Appraisal, Validation, Verification } from './tee/check-run.ts';
export type { HardwareIdentity, TeeClaims } from './tee/claims.ts';
export { type CollateralSource, NO_COLLATERAL } from './tee/collateral.ts';
export {
  appraiseCollateral,
  type CollateralAppraisal,
  type CollateralFacts,
  type CollateralTrust,
  INTEL_COLLATERAL_CHECKS,
  isNewer,
} from './tee/collateral-appraisal.ts';
export {
  appraisePosted,
  isDisowned,
  type PostingFault,
  type PostingTrust,
  postingFault,
  REVOKED_ISSUER_CHECK,
  whatKeepsOut,
} from './tee/collateral-posting.ts';
export { appraiseDstack, type DstackContext } from './tee/dstack/appraise.ts';
export type { DstackClaims } from './tee/dstack/claims.ts';
export {
  type DstackLog,
  type DstackRuntimeEvent,
  dstackEventDigest,
  parseDstackDocument,
} from './tee/dstack/document.ts';
export { parseDstackJson } from './tee/dstack/from-json.ts';
export { dstackRegistrationPolicy } from './tee/dstack/registration-policy.ts';
export { rescoreDstack } from './tee/dstack/rescore.ts';
export { DSTACK_VALIDATE_CHECKS, type DstackPolicy, validateDstack } from './tee/dstack/validate.ts';
export { DSTACK_VERIFY_CHECKS, verifyDstack } from './tee/dstack/verify.ts';
export type { Expected } from './tee/expected.ts';
export type { QuoteClaims } from './tee/intel/claims.ts';
export { type PckExtension, parsePckExtension } from './tee/intel/pck-extension.ts';
export type { IntelPolicy, IntelTcbPolicy } from './tee/intel/policy.ts';
export { parseQeIdentity, type QeIdentity } from './tee/intel/qe-identity.ts';
export { parseQuote, type Quote, type QuoteHeader, stripQuotePadding } from './tee/intel/quote.ts';
export { parseQuotePem } from './tee/intel/quote-pem.ts';
export { intelRegistrationPolicy } from './tee/intel/registration-policy.ts';
export type { SgxReport, TdExtension, TdReport } from './tee/intel/reports.ts';
export { type IntelRescoring, rescoreIntel } from './tee/intel/rescore.ts';
export {
  appraiseSgx,
  SGX_VALIDATE_CHECKS,
  SGX_VERIFY_CHECKS,
  type SgxClaims,
  type SgxContext,
  type SgxPolicy,
  validateSgx,
  verifySgx,
} from './tee/intel/sgx.ts';
export { parseTcbInfo, type TcbInfo } from './tee/intel/tcb-info.ts';
export type { TcbClaims } from './tee/intel/tcb-level.ts';
export { TCB_STATUSES, type TcbStatus } from './tee/intel/tcb-status.ts';
export {
  appraiseTdx,
  TDX_VALIDATE_CHECKS,
  TDX_VERIFY_CHECKS,
  type TdxClaims,
  type TdxContext,
  type TdxPolicy,
  validateTdx,
  verifyTdx,
} from './tee/intel/tdx.ts';
export { requiredRegisters } from './tee/measurements.ts';
export { appraiseNitro, type NitroContext } from './tee/nitro/appraise.ts';
export { type NitroClaims, nitroClaimsDigest } from './tee/nitro/claims.ts';
export {
  NITRO_LIMITS,
  type NitroEnvelope,
  type NitroPayload,
  parseNitroEnvelope,
  parseNitroPayload,
} from './tee/nitro/parse.ts';
export { nitroRegistrationPolicy } from './tee/nitro/registration-policy.ts';
export { NITRO_VALIDATE_CHECKS, type NitroPolicy, validateNitro } from './tee/nitro/validate.ts';
export { NITRO_VERIFY_CHECKS, type NitroTrust, verifyNitro } from './tee/nitro/verify.ts';
export { appraiseNvidia, type NvidiaContext } from './tee/nvidia/appraise.ts';
export { type NvidiaClaims, nvidiaClaimsDigest } from './tee/nvidia/claims.ts';
export type { NvidiaMode } from './tee/nvidia/fields.ts';
export {
  type NvidiaEvidence,
  parseNvidiaChainPem,
  parseNvidiaEvidenceJson,
  parseNvidiaReportHex,
} from './tee/nvidia/from-json.ts';
export { type GoldenMeasurement, nvidiaMeasurementsDigest } from './tee/nvidia/golden.ts';
export type { NvidiaArchitecture, NvidiaDeviceType } from './tee/nvidia/names.ts';
export { nrasKeyThumbprint, parseNrasKeys } from './tee/nvidia/nras-keys.ts';
export {
  appraiseNrasToken,
  NRAS_CHECKS,
  type NrasClaims,
  type NrasContext,
  type NrasDevice,
  type NrasKey,
} from './tee/nvidia/nras-token.ts';
export { nvidiaRegistrationPolicy } from './tee/nvidia/registration-policy.ts';
export { type MeasurementBlock, type NvidiaReport, parseNvidiaReport } from './tee/nvidia/report.ts';
export {
  appraiseManifests,
  type ManifestsAppraisal,
  NVIDIA_RIM_CHECKS,
  type NvidiaManifestContext,
  type NvidiaManifestPolicy,
  type NvidiaManifestRef,
  type NvidiaManifestSource,
} from './tee/nvidia/rim-checks.ts';
export {
  type ManifestMeasurement,
  type ManifestMinimum,
  type NvidiaManifestContent,
  type NvidiaManifestKind,
  type ParsedNvidiaManifest,
  parseNvidiaManifest,
} from './tee/nvidia/rim-manifest.ts';
export {
  NVIDIA_MANIFEST_CHECKS,
  type NvidiaManifest,
  type NvidiaManifestTrust,
  verifyNvidiaManifest,
} from './tee/nvidia/rim-verify.ts';
export { NVIDIA_VALIDATE_CHECKS, type NvidiaPolicy, validateNvidia } from './tee/nvidia/validate.ts';
export {
  NVIDIA_LIMITS,
  NVIDIA_VERIFY_CHECKS,
  type NvidiaTrust,
  verifyNvidia,
} from './tee/nvidia/verify.ts';
export { appraiseSnp, type SnpContext } from './tee/snp/appraise.ts';
export { AMD_CRL_CHECKS, type AmdCrlFacts, appraiseAmdCrl } from './tee/snp/appraise-crl.ts';
export { type SnpClaims, snpClaimsDigest } from './tee/snp/claims.ts';
export { commonNameOf, type SnpVekExtensions, snpVekExtensions } from './tee/snp/endorsement.ts';
export {
  parseSnpReport,
  SNP_PLATFORM_BITS,
  SNP_REPORT_BYTES,
  SNP_REPORT_VERSIONS,
  SNP_SIGNED_BYTES,
  type SnpCpuid,
  type SnpFirmwareVersion,
  type SnpGuestPolicy,
  type SnpReport,
  type SnpSigningKey,
} from './tee/snp/parse.ts';
export { decodeTcb, isTcbAtLeast, type SnpTcb } from './tee/snp/product.ts';
export { snpRegistrationPolicy } from './tee/snp/registration-policy.ts';
export { rescoreSnp, type SnpRescoring } from './tee/snp/rescore.ts';
export {
  SNP_GUEST_RESTRICTIONS,
  SNP_VALIDATE_CHECKS,
  type SnpGuestRestriction,
  type SnpPlatformBit,
  type SnpPolicy,
  type SnpTcbFloors,
  validateSnp,
} from './tee/snp/validate.ts';
export { SNP_VERIFY_CHECKS, verifySnp } from './tee/snp/verify.ts';
export type { Acceptance, EvidenceTrust, RootedTrust } from './tee/trust.ts';
export {
  AMD_ARK_GENOA,
  AMD_ARK_MILAN,
  AMD_ARK_TURIN,
  AWS_NITRO_ROOT_G1,
  AWS_NITRO_ROOT_G1_SHA256,
  findTrustRoot,
  genesisTrustRoots,
  INTEL_SGX_ROOT,
  NVIDIA_DEVICE_ROOT,
  NVIDIA_RIM_ROOT,
  type TrustRoot,
  vendorRoots,
} from './tee/trust-root.ts';
export { ZK_CHECK_IDS, type ZkCheckId } from './zk/checks.ts';
export {
  createZkVerifier,
  verifyZkProof,
  verifyZkRegistration,
  type ZkRegistration,
  type ZkVerification,
  type ZkVerifier,
} from './zk/verify.ts';
export { type ProofFileExpectation, verifyProofFile } from './zk/verify-file.ts';
