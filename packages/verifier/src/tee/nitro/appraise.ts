/** Appraisal of a Nitro attestation document: parse, verify, validate (spec/tee-nitro.md). */
import { UsageError } from '@haca/primitives';
import { skipped, type Verdict, verdictOf } from '@haca/protocol';
import type { NitroClaims } from './claims.ts';
import { NITRO_VALIDATE_CHECKS, type NitroPolicy, validateNitro } from './validate.ts';
import { NITRO_VERIFY_CHECKS, type NitroTrust, verifyNitro } from './verify.ts';

export interface NitroContext extends NitroTrust {
  readonly policy: NitroPolicy;
}

export interface NitroAppraisal {
  readonly verdict: Verdict;
  /**
   * What the enclave said, wherever chain and signature verified, also where the policy refuses it. Authentic is not
   * accepted: act on it only if `verdict.ok`.
   */
  readonly claims: NitroClaims | null;
  /** Name of the approved measurement that matched. */
  readonly measurement: string | null;
}

const ALL_CHECKS: readonly string[] = [...NITRO_VERIFY_CHECKS, ...NITRO_VALIDATE_CHECKS];

/**
 * Total for every byte string. The verdict always lists every check; those after a failed cryptographic one are skipped.
 * At most `NITRO_LIMITS.cabundleEntries` + 1 signatures are verified. Throws `UsageError` for a context that makes no sense.
 */
export function appraiseNitro(document: Uint8Array, context: NitroContext): NitroAppraisal {
  const { nowMs, roots, policy } = context;
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
  const { checks, claims } = verifyNitro(document, context);
  if (claims === null) {
    const rest = ALL_CHECKS.slice(checks.length);
    const notReached = rest.map((id) => skipped(id, 'not-reached', 'an earlier check failed'));
    return { verdict: verdictOf([...checks, ...notReached]), claims: null, measurement: null };
  }
  const validation = validateNitro(claims, nowMs, policy);
  return {
    verdict: verdictOf([...checks, ...validation.checks]),
    claims,
    measurement: validation.measurement,
  };
}
