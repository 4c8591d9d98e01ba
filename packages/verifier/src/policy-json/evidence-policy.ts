/** The policy of every kind of evidence as JSON, read in one way (`haca evidence verify --policy`, files of operators). */
import { NITRO_LIMITS } from '../tee/nitro/parse.ts';
import type { NitroPolicy } from '../tee/nitro/validate.ts';
import {
  expected,
  flag,
  hex,
  measurements,
  milliseconds,
  orNull,
  type PolicyReaders,
  readPolicy,
} from './read-members.ts';

const nitroField = expected(orNull(hex(0, NITRO_LIMITS.fieldBytes)));

const NITRO_POLICY: PolicyReaders<NitroPolicy> = {
  allowDebug: flag(false),
  measurements: expected(measurements('nitro')),
  maxAgeMs: expected(milliseconds),
  maxFutureSkewMs: expected(milliseconds),
  userData: nitroField,
  nonce: nitroField,
  publicKey: nitroField,
};

/** What each kind is judged by. */
export interface EvidencePolicies {
  readonly nitro: NitroPolicy;
}

const POLICY_READERS: { readonly [Kind in keyof EvidencePolicies]: PolicyReaders<EvidencePolicies[Kind]> } = {
  nitro: NITRO_POLICY,
};

/** Members that a policy of this kind may have. */
export function policyMembers(kind: keyof EvidencePolicies): readonly string[] {
  return Object.keys(POLICY_READERS[kind]);
}

/**
 * Reads e.g. `{"measurements": [{"name": "release", "registers": {"mrtd": "ab..", ...}}], "reportData": "00..",
 * "allowDebug": false}`. A member left out is not given, so its check is skipped; `"any"` waives it; debug mode is allowed
 * only by `"allowDebug": true`. Throws `MalformedError` for unknown members and values of another form.
 */
export function parsePolicy<Kind extends keyof EvidencePolicies>(
  kind: Kind,
  value: unknown,
): EvidencePolicies[Kind] {
  return readPolicy(value, POLICY_READERS[kind]);
}
