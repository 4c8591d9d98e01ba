/** Appraisal of SGX quotes: parse, verify, validate (spec/tee-intel.md). */
import { toHex } from '@haca/primitives';
import { type Appraisal, appraisalOf, type Validation, type Verification } from '../check-run.ts';
import { checkBytes, type Expected } from '../expected.ts';
import { checkMeasurement } from '../measurements.ts';
import type { RootedTrust } from '../trust.ts';
import { type QuoteClaims, quoteClaims } from './claims.ts';
import { JUDGE_CHECKS } from './judge.ts';
import { isDebugEnclave } from './match.ts';
import { checkFlag, debugCheck, type IntelPolicy, TCB_POLICY_CHECKS, tcbPolicyChecks } from './policy.ts';
import type { SgxReport } from './reports.ts';
import { hasBit } from './tdx.ts';
import { AUTHENTICITY_CHECKS, verifyQuote } from './verify.ts';

/** What an SGX quote says once it was verified. */
export interface SgxClaims extends QuoteClaims, Omit<SgxReport, 'kind' | 'bytes' | 'reportData'> {
  readonly kind: 'sgx';
  /** Attribute DEBUG is set. */
  readonly isDebug: boolean;
}

export interface SgxPolicy extends IntelPolicy {
  /** Whether attribute PROVISIONKEY (bit 4) is set: such an enclave can track the platform across owners. */
  readonly provisionKey: Expected<boolean>;
}

/** Ids of the checks of each step, in order. */
export const SGX_VERIFY_CHECKS: readonly string[] = [...AUTHENTICITY_CHECKS, ...JUDGE_CHECKS].map(
  (name) => `sgx.${name}`,
);
export const SGX_VALIDATE_CHECKS: readonly string[] = [
  ...TCB_POLICY_CHECKS,
  'debug',
  'attributes.provision-key',
  'measurement',
  'report-data',
].map((name) => `sgx.${name}`);

/** Total for every byte string: returns failed checks, never throws for what is in `bytes`. At most 10 signatures. */
export function verifySgx(bytes: Uint8Array, trust: RootedTrust): Verification<SgxClaims> {
  const { checks, authentic } = verifyQuote(bytes, 'sgx', trust, SGX_VERIFY_CHECKS);
  const body = authentic?.quote.body;
  if (authentic === null || body?.kind !== 'sgx') return { checks, claims: null };
  const { kind, bytes: _bytes, ...report } = body;
  const claims: SgxClaims = {
    ...quoteClaims(authentic),
    ...report,
    kind,
    isDebug: isDebugEnclave(body.attributes),
    registers: registersOf(body),
  };
  return { checks, claims };
}

/** Numbers as two bytes, little-endian as in the report. */
function registersOf(body: SgxReport): ReadonlyMap<string, Uint8Array> {
  const littleEndian = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
  return new Map([
    ['mrenclave', body.mrEnclave],
    ['mrsigner', body.mrSigner],
    ['isvprodid', littleEndian(body.isvProdId)],
    ['isvsvn', littleEndian(body.isvSvn)],
    ['configid', body.configId],
    ['configsvn', littleEndian(body.configSvn)],
    ['isvextprodid', body.isvExtProdId],
    ['isvfamilyid', body.isvFamilyId],
  ]);
}

const PROVISION_KEY = 4;

/** All checks run. Throws `UsageError` for a policy that makes no sense. */
export function validateSgx(claims: SgxClaims, policy: SgxPolicy): Validation {
  const { tcb, attributes, isDebug, reportData } = claims;
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    ...tcbPolicyChecks('sgx', tcb, policy),
    debugCheck('sgx.debug', isDebug, policy.allowDebug, toHex(attributes)),
    checkFlag('sgx.attributes.provision-key', hasBit(attributes, PROVISION_KEY), policy.provisionKey),
    measured.check,
    checkBytes('sgx.report-data', reportData, policy.reportData),
  ];
  return { checks, measurement: measured.name };
}

export interface SgxContext extends RootedTrust {
  readonly policy: SgxPolicy;
}

/** Total for every byte string. Throws `UsageError` for a context that makes no sense. */
export function appraiseSgx(document: Uint8Array, context: SgxContext): Appraisal<SgxClaims> {
  return appraisalOf(verifySgx(document, context), SGX_VALIDATE_CHECKS, (claims) =>
    validateSgx(claims, context.policy),
  );
}
