export {
  type AlgorithmIdentifier,
  type BasicConstraints,
  type Certificate,
  type Extension,
  parseCertificate,
} from './der/certificate.ts';
export type { RevokedCertificate } from './der/chain.ts';
export { parsePemCertificates } from './der/pem.ts';
export { DerReader } from './der/reader.ts';
export {
  APPRAISED_KINDS,
  appraiseEvidence,
  type EvidenceAppraisal,
  type EvidenceClaims,
  type EvidenceContext,
} from './evidence.ts';
export { appraiseNitro, type NitroAppraisal, type NitroContext } from './tee/nitro/appraise.ts';
export { type NitroClaims, nitroClaimsDigest } from './tee/nitro/claims.ts';
export {
  NITRO_LIMITS,
  type NitroEnvelope,
  type NitroPayload,
  parseNitroEnvelope,
  parseNitroPayload,
} from './tee/nitro/parse.ts';
export { parseNitroPolicy } from './tee/nitro/policy-json.ts';
export { nitroRegistrationPolicy } from './tee/nitro/registration-policy.ts';
export {
  type Expected,
  NITRO_VALIDATE_CHECKS,
  type NitroMeasurement,
  type NitroPolicy,
  type NitroValidation,
  validateNitro,
} from './tee/nitro/validate.ts';
export {
  NITRO_VERIFY_CHECKS,
  type NitroTrust,
  type NitroVerification,
  verifyNitro,
} from './tee/nitro/verify.ts';
export {
  AWS_NITRO_ROOT_G1,
  AWS_NITRO_ROOT_G1_SHA256,
  findTrustRoot,
  nitroTrustRoots,
  type TrustRoot,
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
