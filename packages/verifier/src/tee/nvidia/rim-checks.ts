/**
 * A report against the reference manifests of its driver and its VBIOS, by NVIDIA's rule: what both manifests mark active, joined,
 * with no index in both; each measurement one of its alternatives. Which manifests those are, the authentic report says.
 */
import { type Check, check, failed, notApplicable, passed, skipped } from '@haca/protocol';
import type { RevokedCertificate } from '../../der/chain.ts';
import type { Expected } from '../expected.ts';
import { NVIDIA_RIM_ROOT, type TrustRoot } from '../trust-root.ts';
import type { NvidiaClaims } from './claims.ts';
import { compareGolden, type GoldenMeasurement } from './golden.ts';
import { chipOf } from './names.ts';
import type { ManifestMinimum, NvidiaManifestKind } from './rim-manifest.ts';
import { type NvidiaManifest, type NvidiaManifestTrust, verifyNvidiaManifest } from './rim-verify.ts';

/** Which manifest a report asks for. */
export interface NvidiaManifestRef {
  readonly kind: NvidiaManifestKind;
  /** As the device's certificate names the chip, e.g. `GH100`. */
  readonly product: string;
  readonly version: string;
}

/**
 * Where manifests are taken from. A function of the reference; what it returns is verified, so it need not be trusted. Null: there
 * is none.
 */
export type NvidiaManifestSource = (ref: NvidiaManifestRef) => Uint8Array | null;

/** What manifests are judged against. */
export interface NvidiaManifestContext extends Pick<NvidiaManifestTrust, 'crypto' | 'nowMs'> {
  readonly revoked: readonly RevokedCertificate[];
  /** Left out: there are none. */
  readonly manifests?: NvidiaManifestSource;
  /** Left out: NVIDIA's own. A test root vouches for manifests only where it stands here. */
  readonly manifestRoots?: readonly TrustRoot[];
}

/** The part of a policy that is about manifests. */
export interface NvidiaManifestPolicy {
  /**
   * `required`: both have to be there. Not given: they are asked for unless `goldenMeasurements` says something. Manifests that are
   * there are judged whatever this says.
   */
  readonly manifests: Expected<'required'>;
  readonly goldenMeasurements: Expected<readonly GoldenMeasurement[]>;
  readonly revocation: 'not-given' | 'allow-any';
}

const ASPECTS = ['authentic', 'product', 'version', 'window', 'revocation'] as const;

function idsOf(kind: NvidiaManifestKind): readonly string[] {
  return ASPECTS.map((aspect) => `nvidia.rim.${kind}.${aspect}`);
}

/** Ids of the checks, in order. */
export const NVIDIA_RIM_CHECKS: readonly string[] = [
  ...idsOf('driver'),
  ...idsOf('vbios'),
  'nvidia.rim.measurements',
  'nvidia.rim.minimums',
];

export interface ManifestsAppraisal {
  readonly checks: readonly Check[];
  /** Every manifest that the device has is there, authentic, and of this chip and these versions. */
  readonly isWhole: boolean;
  /** Those that are authentic, of this chip and these versions. */
  readonly held: readonly NvidiaManifest[];
}

/** At most eight signatures are verified. */
export function appraiseManifests(
  claims: NvidiaClaims,
  policy: NvidiaManifestPolicy,
  context: NvidiaManifestContext,
): ManifestsAppraisal {
  const judged = [judgeDriver(claims, policy, context), judgeOne('vbios', claims, policy, context)];
  const held = judged.map(({ manifest }) => manifest).filter((manifest) => manifest !== null);
  const ids = ['nvidia.rim.measurements', 'nvidia.rim.minimums'] as const;
  const unmade = whyNotCompared(judged, held.length, policy);
  const compared =
    unmade === null ? [measurementsCheck(claims, held), minimumsCheck(claims, held)] : ids.map(unmade);
  return {
    checks: [...judged.flatMap(({ checks }) => checks), ...compared],
    isWhole: held.length > 0 && judged.every(({ state }) => state === 'held' || state === 'not-needed'),
    held,
  };
}

interface JudgedManifest {
  readonly checks: readonly Check[];
  /** `held`: authentic, of this chip and version. */
  readonly state: 'not-needed' | 'absent' | 'refused' | 'held';
  /** Where it holds. */
  readonly manifest: NvidiaManifest | null;
}

function judgeDriver(
  claims: NvidiaClaims,
  policy: NvidiaManifestPolicy,
  context: NvidiaManifestContext,
): JudgedManifest {
  if (claims.driverVersion !== null) return judgeOne('driver', claims, policy, context);
  const checks = idsOf('driver').map((id) => notApplicable(id, 'a switch has no driver'));
  return { checks, state: 'not-needed', manifest: null };
}

function judgeOne(
  kind: NvidiaManifestKind,
  claims: NvidiaClaims,
  policy: NvidiaManifestPolicy,
  { crypto, nowMs, revoked, manifests, manifestRoots = [NVIDIA_RIM_ROOT] }: NvidiaManifestContext,
): JudgedManifest {
  const { driverVersion, vbiosVersion } = claims;
  const version = kind === 'driver' ? (driverVersion ?? '') : vbiosVersion;
  const ref: NvidiaManifestRef = { kind, product: chipOf(claims), version };
  const bytes = manifests?.(ref) ?? null;
  if (bytes === null) {
    const checks = idsOf(kind).map(absentCheck(policy, `${kind} ${version} of ${ref.product}`));
    return { checks, state: 'absent', manifest: null };
  }
  const verified = verifyNvidiaManifest(bytes, { crypto, nowMs, roots: manifestRoots, revoked });
  return verified.claims === null
    ? refused(kind, faultOf(verified.checks))
    : judgeAuthentic(ref, verified.claims, verified.checks, policy);
}

function refused(kind: NvidiaManifestKind, fault: Check): JudgedManifest {
  const [authentic, ...rest] = idsOf(kind) as [string, ...string[]];
  const unread = rest.map((id) => skipped(id, 'not-reached', 'an earlier check failed'));
  return { checks: [renamed(fault, authentic), ...unread], state: 'refused', manifest: null };
}

/** `noted` has the checks of the manifest by itself. */
function judgeAuthentic(
  { kind, product, version }: NvidiaManifestRef,
  manifest: NvidiaManifest,
  noted: readonly Check[],
  policy: NvidiaManifestPolicy,
): JudgedManifest {
  const [authentic, ofProduct, ofVersion, window, revocation] = idsOf(kind) as readonly [
    string,
    string,
    string,
    string,
    string,
  ];
  const find = (id: string): Check => noted.find((each) => each.id === id) as Check;
  const matches = [
    sameText(ofProduct, 'nvidia.rim.product', chipName(product), chipName(manifest.product)),
    // A device that states a version of the other form gets no manifest of the other kind for it.
    sameText(ofVersion, 'nvidia.rim.version', `${kind} ${version}`, `${manifest.kind} ${manifest.version}`),
  ];
  const checks = [
    passed(authentic, `tag ${manifest.tagId.slice(0, 96)}`),
    ...matches,
    renamed(find('nvidia.rim.window'), window),
    revocationCheck(revocation, find('nvidia.rim.revoked'), policy),
  ];
  const holds = matches.every(({ status }) => status === 'passed');
  return holds ? { checks, state: 'held', manifest } : { checks, state: 'refused', manifest: null };
}

/** The first failure among those that prove authenticity: window and revocation, which end nothing, have ids of their own. */
function faultOf(checks: readonly Check[]): Check {
  const noted = ['nvidia.rim.window', 'nvidia.rim.revoked'];
  return checks.find(({ id, status }) => status === 'failed' && !noted.includes(id)) as Check;
}

function renamed(original: Check, id: string): Check {
  return { ...original, id };
}

/** Versions in hex are written in either case. */
function sameText(id: string, code: string, expected: string, got: string): Check {
  const holds = expected.toLowerCase() === got.toLowerCase();
  return check(id, code, holds, expected, got.slice(0, 80));
}

/** The switch is `LS_10` in certificates and `LS10` elsewhere. */
function chipName(product: string): string {
  return product.replaceAll('_', '');
}

function revocationCheck(id: string, isRevoked: Check, { revocation }: NvidiaManifestPolicy): Check {
  if (isRevoked.status === 'failed') return renamed(isRevoked, id);
  return revocation === 'allow-any'
    ? notApplicable(id, 'the policy waives it: known revocations were looked at, OCSP was not asked')
    : skipped(id, 'nvidia.ocsp-offline', 'NVIDIA revokes by OCSP, which can not be asked offline');
}

/** A check about a manifest that is not there. */
function absentCheck(
  { manifests, goldenMeasurements }: NvidiaManifestPolicy,
  what: string,
): (id: string) => Check {
  if (manifests === 'allow-any') return (id) => notApplicable(id, 'the policy waives manifests');
  if (manifests === 'not-given' && goldenMeasurements !== 'not-given')
    return (id) => notApplicable(id, 'the policy gives golden measurements, or waives them');
  return (id) => skipped(id, 'nvidia.rim.missing', `no manifest for ${what}`);
}

/** Null where everything that is asked for is there to be compared. */
function whyNotCompared(
  judged: readonly JudgedManifest[],
  heldCount: number,
  policy: NvidiaManifestPolicy,
): ((id: string) => Check) | null {
  if (judged.some(({ state }) => state === 'refused'))
    return (id) => skipped(id, 'not-reached', 'a manifest does not hold');
  const absent = absentCheck(policy, 'all of the device');
  const isAsked = absent('').status === 'skipped';
  return heldCount === 0 || (isAsked && judged.some(({ state }) => state === 'absent')) ? absent : null;
}

function measurementsCheck(claims: NvidiaClaims, manifests: readonly NvidiaManifest[]): Check {
  const id = 'nvidia.rim.measurements';
  const active = manifests.flatMap(({ measurements }) => measurements.filter((each) => each.active));
  const { code, expected, got } = compareGolden(claims, active, 'nvidia.rim');
  return code === null ? { ...passed(id, got), expected } : failed(id, code, expected, got);
}

/** A value of two bytes, little-endian, of this type: a security version number. */
const SVN_VALUE_TYPE = 0x87;
const SVN_BYTES = 2;

function minimumsCheck({ opaque }: NvidiaClaims, manifests: readonly NvidiaManifest[]): Check {
  const id = 'nvidia.rim.minimums';
  const minimums = manifests.flatMap((manifest) => manifest.minimums);
  if (minimums.length === 0) return notApplicable(id, 'the manifests state none');
  const twice = minimums.find(
    ({ fieldType, name }, at) =>
      minimums.findIndex((other) => other.fieldType === fieldType || other.name === name) !== at,
  );
  if (twice !== undefined)
    return failed(id, 'nvidia.rim.conflict', 'each field once', `${twice.name.slice(0, 64)} twice`);
  const isBelow = ({ fieldType, minimum }: ManifestMinimum): boolean => {
    const field = opaque.fields.get(fieldType);
    if (field === undefined || field.valueType !== SVN_VALUE_TYPE || field.value.length !== SVN_BYTES)
      return true;
    const [low = 0, high = 0] = field.value;
    return low + 256 * high < minimum;
  };
  const below = minimums.filter(isBelow).map(({ name }) => name.slice(0, 64));
  const got = below.length === 0 ? 'all' : `below, or none: ${below.slice(0, 8).join(', ')}`;
  return check(id, id, below.length === 0, `${minimums.length} fields not below their minimum`, got);
}
