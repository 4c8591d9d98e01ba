/** Appraisal of TDX quotes: parse, verify, validate (spec/tee-intel.md). */
import { toHex, UsageError } from '@haca/primitives';
import { type Check, check } from '@haca/protocol';
import { type Appraisal, appraisalOf, type Validation, type Verification } from '../check-run.ts';
import { checkBytes, type Expected } from '../expected.ts';
import { checkMeasurement } from '../measurements.ts';
import type { RootedTrust } from '../trust.ts';
import { type QuoteClaims, quoteClaims } from './claims.ts';
import { JUDGE_TDX_CHECKS } from './judge.ts';
import { checkFlag, debugCheck, type IntelPolicy, TCB_POLICY_CHECKS, tcbPolicyChecks } from './policy.ts';
import type { TdReport } from './reports.ts';
import { AUTHENTICITY_CHECKS, verifyQuote } from './verify.ts';

/** What a TDX quote says once it was verified. */
export interface TdxClaims extends QuoteClaims, Omit<TdReport, 'kind' | 'bytes' | 'reportData'> {
  readonly kind: 'tdx';
  /** A bit of the first byte of the TD attributes is set: the TD is untrusted by its own word. */
  readonly isDebug: boolean;
}

export interface TdxPolicy extends IntelPolicy {
  /** Whether SEPT_VE_DISABLE (TD attribute bit 28) is set, so that the host can't inject faults by taking pages away. */
  readonly septVeDisable: Expected<boolean>;
  /** Whether MIGRATABLE (bit 29) is set. */
  readonly migratable: Expected<boolean>;
  /** XFAM, all 8 bytes as in the report: the extended processor features that the TD may use. */
  readonly xfam: Expected<Uint8Array>;
  /**
   * MRSERVICETD, 48 bytes, zero where no service TD is bound; null demands a body without it (TDX 1.0). Where the body says which
   * service TD is bound by now (TDX 1.5ex with SERVTD_EXT), that one has to be the same.
   */
  readonly serviceTd: Expected<Uint8Array | null>;
}

/** Ids of the checks of each step, in order. */
export const TDX_VERIFY_CHECKS: readonly string[] = [...AUTHENTICITY_CHECKS, ...JUDGE_TDX_CHECKS].map(
  (name) => `tdx.${name}`,
);
export const TDX_VALIDATE_CHECKS: readonly string[] = [
  ...TCB_POLICY_CHECKS,
  'debug',
  'attributes.reserved',
  'attributes.sept-ve-disable',
  'attributes.migratable',
  'xfam',
  'service-td',
  'measurement',
  'report-data',
].map((name) => `tdx.${name}`);

/** Total for every byte string: returns failed checks, never throws for what is in `bytes`. At most 10 signatures. */
export function verifyTdx(bytes: Uint8Array, trust: RootedTrust): Verification<TdxClaims> {
  const { checks, authentic } = verifyQuote(bytes, 'tdx', trust, TDX_VERIFY_CHECKS);
  const body = authentic?.quote.body;
  if (authentic === null || body?.kind !== 'tdx') return { checks, claims: null };
  const { kind, bytes: _bytes, ...report } = body;
  const claims: TdxClaims = {
    ...quoteClaims(authentic),
    ...report,
    kind,
    isDebug: body.tdAttributes[0] !== 0,
    registers: registersOf(body),
  };
  return { checks, claims };
}

function registersOf(body: TdReport): ReadonlyMap<string, Uint8Array> {
  const registers = new Map([
    ['mrtd', body.mrTd],
    ...body.rtmrs.map((value, index) => [`rtmr${index}`, value] as const),
    ['mrconfigid', body.mrConfigId],
    ['mrowner', body.mrOwner],
    ['mrownerconfig', body.mrOwnerConfig],
    ['mrseam', body.mrSeam],
    ['mrsignerseam', body.mrSignerSeam],
    ['tdattributes', body.tdAttributes],
    ['xfam', body.xfam],
  ]);
  if (body.mrServiceTd !== null) registers.set('mrservicetd', body.mrServiceTd);
  if (body.extension !== null) registers.set('currentservicetd', body.extension.currentServiceTd);
  return registers;
}

/**
 * Bits of the TD attributes that Intel defines (TDX module base architecture specification, ATTRIBUTES): the first byte, which
 * the debug check judges, then ICSSD 16, SERVTD_EXT 17, LASS 27, SEPT_VE_DISABLE 28, MIGRATABLE 29, PKS 30, KL 31, TPA 62, PERFMON
 * 63. Bits 18 to 22 are reserved, but not among those that verifiers have to refuse (table 3.23 of its ABI, 348551-008).
 */
const DEFINED_ATTRIBUTES = [0xff, 0x00, 0x7f, 0xf8, 0x00, 0x00, 0x00, 0xc0] as const;
const SERVTD_EXT = 17;
const SEPT_VE_DISABLE = 28;
const MIGRATABLE = 29;

/** All checks run. Throws `UsageError` for a policy that makes no sense. */
export function validateTdx(claims: TdxClaims, policy: TdxPolicy): Validation {
  const { tcb, tdAttributes, isDebug, xfam, reportData } = claims;
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    ...tcbPolicyChecks('tdx', tcb, policy),
    debugCheck('tdx.debug', isDebug, policy.allowDebug, toHex(tdAttributes)),
    reservedCheck(tdAttributes),
    checkFlag('tdx.attributes.sept-ve-disable', hasBit(tdAttributes, SEPT_VE_DISABLE), policy.septVeDisable),
    checkFlag('tdx.attributes.migratable', hasBit(tdAttributes, MIGRATABLE), policy.migratable),
    checkBytes('tdx.xfam', xfam, policy.xfam),
    serviceTdCheck(claims, policy.serviceTd),
    measured.check,
    checkBytes('tdx.report-data', reportData, policy.reportData),
  ];
  return { checks, measurement: measured.name };
}

/** MRSERVICETD tells which service TD was bound first, which is not all where others may be bound later. */
function serviceTdCheck(
  { mrServiceTd, tdAttributes, extension }: TdxClaims,
  expected: TdxPolicy['serviceTd'],
): Check {
  const id = 'tdx.service-td';
  const first = checkBytes(id, mrServiceTd, expected);
  const isExtended = extension !== null && hasBit(tdAttributes, SERVTD_EXT);
  return first.status === 'passed' && isExtended
    ? checkBytes(id, extension.currentServiceTd, expected)
    : first;
}

function reservedCheck(attributes: Uint8Array): Check {
  const holds = DEFINED_ATTRIBUTES.every((defined, i) => ((attributes[i] as number) & ~defined) === 0);
  const id = 'tdx.attributes.reserved';
  return check(id, id, holds, 'reserved bits of zero', toHex(attributes));
}

/** Bit `bit` of a little-endian number. */
export function hasBit(bytes: Uint8Array, bit: number): boolean {
  const byte = bytes[bit >> 3];
  if (byte === undefined) throw new UsageError(`there is no bit ${bit} in ${bytes.length} bytes`);
  return (byte & (1 << (bit & 7))) !== 0;
}

export interface TdxContext extends RootedTrust {
  readonly policy: TdxPolicy;
}

/** Total for every byte string. Throws `UsageError` for a context that makes no sense. */
export function appraiseTdx(document: Uint8Array, context: TdxContext): Appraisal<TdxClaims> {
  return appraisalOf(verifyTdx(document, context), TDX_VALIDATE_CHECKS, (claims) =>
    validateTdx(claims, context.policy),
  );
}
