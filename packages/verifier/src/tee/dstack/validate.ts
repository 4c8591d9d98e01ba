/** Validation of verified dstack claims: everything a TDX quote is held to, and the application that runs in it. */
import { bytesEqual, toHex } from '@haca/primitives';
import { type Check, check, type Measurement, notApplicable } from '@haca/protocol';
import type { Validation } from '../check-run.ts';
import type { Expected } from '../expected.ts';
import { checksWithout } from '../inner-checks.ts';
import { TDX_VALIDATE_CHECKS, type TdxPolicy, validateTdx } from '../intel/tdx.ts';
import { checkMeasurement } from '../measurements.ts';
import type { DstackClaims } from './claims.ts';

export interface DstackPolicy extends Omit<TdxPolicy, 'measurements'> {
  /**
   * Accepted if one of these matches: `mrtd` and `rtmr0` to `rtmr2` (the image), `compose-hash` (the application) and
   * `key-provider` (SHA-256 of what the guest measured of it) at least; `app-id`, `instance-id`, `os-image-hash`, `mr-kms`,
   * `rootfs-hash` and `storage-fs` where they are to be pinned too.
   */
  readonly measurements: Expected<readonly Measurement[]>;
  /** The application id is the first 20 bytes of the compose hash; false where a contract gave out another. */
  readonly requireAppIdFromCompose: boolean;
}

const REPLACED = ['tdx.measurement'];

/** Ids of the checks of this step, in order. */
export const DSTACK_VALIDATE_CHECKS: readonly string[] = [
  ...TDX_VALIDATE_CHECKS.filter((id) => !REPLACED.includes(id)),
  'dstack.measurement',
  'dstack.app-id',
];

/** Throws `UsageError` where `validateTdx` does. */
export function validateDstack(claims: DstackClaims, policy: DstackPolicy): Validation {
  const tdx = validateTdx(claims.tdx, { ...policy, measurements: 'allow-any' });
  const measured = checkMeasurement(claims, policy.measurements);
  const own = [measured.check, appIdCheck(claims, policy)];
  return { checks: [...checksWithout(tdx.checks, REPLACED), ...own], measurement: measured.name };
}

function appIdCheck({ appId, composeHash }: DstackClaims, { requireAppIdFromCompose }: DstackPolicy): Check {
  const id = 'dstack.app-id';
  if (!requireAppIdFromCompose) return notApplicable(id, 'the policy allows application ids of other making');
  const expected = composeHash.subarray(0, appId.length);
  return check(id, id, bytesEqual(appId, expected), toHex(expected), toHex(appId));
}
