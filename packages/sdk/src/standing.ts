/** What is left of evidence after it was accepted, in the words of spec/tee-chain.md: the gravest first. */
import type { AssuranceTier, Check, MeasurementRecord } from '@haca/protocol';
import { ASSURANCE_TIERS } from '@haca/protocol';

export const STANDINGS = [
  'good',
  'measurement-deprecated',
  'expired',
  'measurement-revoked',
  'hardware-revoked',
  'certificate-revoked',
  'tcb-out-of-date',
  'stale-collateral',
] as const;
export type Standing = (typeof STANDINGS)[number];

export type MeasurementPhase = 'proposed' | 'active' | 'deprecated' | 'revoked';

/** TC-11. */
export function measurementPhase(
  { activeFrom, deprecatedAt, revokedAt }: MeasurementRecord,
  height: number,
): MeasurementPhase {
  if (revokedAt !== undefined && height >= revokedAt) return 'revoked';
  if (deprecatedAt !== undefined && height >= deprecatedAt) return 'deprecated';
  return height < activeFrom ? 'proposed' : 'active';
}

/** What collateral, revocations and TCB policy say against a platform; null where nothing. */
export type PlatformFault = 'certificate-revoked' | 'tcb-out-of-date' | 'stale-collateral';

/** By the checks of a rescoring that failed; what is missing or too old is stale. */
export function platformFault(checks: readonly Check[]): PlatformFault | null {
  if (checks.every(({ status }) => status === 'passed' || status === 'not-applicable')) return null;
  const ids = checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
  if (ids.some((id) => /\.(revocation|chain\.crl)$/.test(id))) return 'certificate-revoked';
  return ids.some((id) => /\.tcb\.|\.module$/.test(id)) ? 'tcb-out-of-date' : 'stale-collateral';
}

/** Intel's word for the platform; null where the kind has none, or it was not judged. */
export function tcbStatusOf(checks: readonly Check[]): string | null {
  return checks.find(({ id }) => id.endsWith('.tcb.status'))?.got ?? null;
}

/** A platform that Intel revoked, or knows no level of, has no grace (TC-8). */
export function mayHaveGrace(tcbStatus: string | null): boolean {
  return tcbStatus !== null && tcbStatus !== 'Revoked' && tcbStatus !== 'Unsupported';
}

/** Whether a tier says at least as much about who can touch the machine. */
export function isTierAtLeast(tier: AssuranceTier, least: AssuranceTier): boolean {
  return ASSURANCE_TIERS.indexOf(tier) >= ASSURANCE_TIERS.indexOf(least);
}
