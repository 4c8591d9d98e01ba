/** Typed access to the tables of the state. */
import type { Codec } from '@haca/primitives';
import {
  type AccountRecord,
  type AllocationRecord,
  type AssetRecord,
  accountRecordCodec,
  allocationRecordCodec,
  assetRecordCodec,
  type ChannelRecord,
  type ClaimRecord,
  type CollateralRecord,
  chainConfigRecordCodec,
  channelRecordCodec,
  claimRecordCodec,
  collateralRecordCodec,
  DEFAULT_TCB_STATUSES,
  type EvidencePolicyRecord,
  evidencePolicyRecordCodec,
  type GovernanceRecord,
  governanceRecordCodec,
  type HardwareRecord,
  hardwareRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceRecordCodec,
  type LaneRecord,
  laneRecordCodec,
  type MeasurementIndexRecord,
  type MeasurementRecord,
  type ModelRecord,
  measurementIndexRecordCodec,
  measurementRecordCodec,
  modelRecordCodec,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  type QueueRecord,
  queueRecordCodec,
  type RecentBlockRecord,
  type RecordedEvidence,
  type RevokedCertificatesRecord,
  recentBlockRecordCodec,
  recordKey,
  revokedCertificatesRecordCodec,
  type SessionRecord,
  sessionRecordCodec,
  TCB_STATUS_KINDS,
  type TotalsRecord,
  totalsRecordCodec,
  type UnbondingRecord,
  unbondingRecordCodec,
  type ValidatorRecord,
  type ValidatorSetRecord,
  type VerifyingKeyRecord,
  validatorRecordCodec,
  validatorSetRecordCodec,
  verifyingKeyRecordCodec,
  ZERO_DIGEST,
} from '@haca/protocol';
import { type State, StateCorruptError } from './state.ts';
import type { ChainConfig } from './types.ts';

interface Table<T, K extends readonly unknown[]> {
  readonly get: (state: State, ...key: K) => T | undefined;
  readonly put: (state: State, value: T, ...key: K) => void;
  readonly remove: (state: State, ...key: K) => void;
}

function table<T, K extends readonly unknown[]>(
  codec: Codec<T>,
  keyOf: (...key: K) => Uint8Array,
): Table<T, K> {
  return {
    get: (state, ...key) => state.read(codec, keyOf(...key)),
    put: (state, value, ...key) => state.write(codec, keyOf(...key), value),
    remove: (state, ...key) => state.write(codec, keyOf(...key), undefined),
  };
}

export const accounts = table<AccountRecord, [accountId: Uint8Array]>(accountRecordCodec, recordKey.account);
export const assets = table<AssetRecord, [asset: number]>(assetRecordCodec, recordKey.asset);
export const channels = table<ChannelRecord, [channelId: Uint8Array]>(channelRecordCodec, recordKey.channel);
export const sessions = table<SessionRecord, [channelId: Uint8Array, session: number]>(
  sessionRecordCodec,
  recordKey.session,
);
export const allocations = table<AllocationRecord, [channelId: Uint8Array, nodeId: Uint8Array]>(
  allocationRecordCodec,
  recordKey.allocation,
);
export const lanes = table<LaneRecord, [keyId: Uint8Array, channelId: Uint8Array, lane: number]>(
  laneRecordCodec,
  recordKey.lane,
);
export const models = table<ModelRecord, [modelId: Uint8Array]>(modelRecordCodec, recordKey.model);
export const nodes = table<NodeRecord, [nodeId: Uint8Array]>(nodeRecordCodec, recordKey.node);
export const nodeKeys = table<NodeKeyRecord, [keyId: Uint8Array]>(nodeKeyRecordCodec, recordKey.nodeKey);
/** Of keys with evidence, from opening to deletion. */
export const keyEvidences = table<KeyEvidenceRecord, [keyId: Uint8Array]>(
  keyEvidenceRecordCodec,
  recordKey.keyEvidence,
);
export const unbondings = table<UnbondingRecord, [nodeId: Uint8Array, due: number]>(
  unbondingRecordCodec,
  recordKey.unbonding,
);
export const validators = table<ValidatorRecord, [address: Uint8Array]>(
  validatorRecordCodec,
  recordKey.validator,
);
export const recentBlocks = table<RecentBlockRecord, [height: number, settleWindow: number]>(
  recentBlockRecordCodec,
  recordKey.recentBlock,
);
export const validatorUnbondings = table<UnbondingRecord, [address: Uint8Array, due: number]>(
  unbondingRecordCodec,
  recordKey.validatorUnbonding,
);
export const queues = table<QueueRecord, [height: number]>(queueRecordCodec, recordKey.queue);

export const claims = table<ClaimRecord, [claimId: Uint8Array]>(claimRecordCodec, recordKey.claim);
export const verifyingKeys = table<VerifyingKeyRecord, [verifyingKeyHash: Uint8Array]>(
  verifyingKeyRecordCodec,
  recordKey.verifyingKey,
);

export const collaterals = table<CollateralRecord, [collateralId: Uint8Array]>(
  collateralRecordCodec,
  recordKey.collateral,
);
export const measurements = table<MeasurementRecord, [measurementId: Uint8Array]>(
  measurementRecordCodec,
  recordKey.measurement,
);
export const hardwares = table<HardwareRecord, [hardwareId: Uint8Array]>(
  hardwareRecordCodec,
  recordKey.hardware,
);

/** Both rows of a key's evidence; null where it has none. */
export function recordedEvidence(
  state: State,
  keyId: Uint8Array,
  { evidence }: Pick<NodeKeyRecord, 'evidence'>,
): RecordedEvidence | null {
  if (evidence === null) return null;
  const record = keyEvidences.get(state, keyId);
  if (record === undefined) throw new StateCorruptError('the row of a key names evidence that has no row');
  return { ...record, ...evidence };
}

const totalsKey = recordKey.totals();
const validatorSetKey = recordKey.validatorSet();
const paramsKey = recordKey.params();
const governanceKey = recordKey.governance();
const measurementIndexKey = recordKey.measurementIndex();
const evidencePolicyKey = recordKey.evidencePolicy();
const revokedCertificatesKey = recordKey.revokedCertificates();

export function totalsOf(state: State): TotalsRecord {
  return present(state.read(totalsRecordCodec, totalsKey), 'totals');
}

export function putTotals(state: State, totals: TotalsRecord): void {
  state.write(totalsRecordCodec, totalsKey, totals);
}

export function validatorSetOf(state: State): ValidatorSetRecord {
  return present(state.read(validatorSetRecordCodec, validatorSetKey), 'validatorSet');
}

export function putValidatorSet(state: State, set: ValidatorSetRecord): void {
  state.write(validatorSetRecordCodec, validatorSetKey, set);
}

/** Absent as long as there was no decree. */
export function governanceOf(state: State): GovernanceRecord | undefined {
  return state.read(governanceRecordCodec, governanceKey);
}

export function putGovernance(state: State, governance: GovernanceRecord): void {
  state.write(governanceRecordCodec, governanceKey, governance);
}

/** Absent while no measurement was ever approved. */
export function measurementIndexOf(state: State): MeasurementIndexRecord {
  return state.read(measurementIndexRecordCodec, measurementIndexKey) ?? [];
}

export function putMeasurementIndex(state: State, index: MeasurementIndexRecord): void {
  state.write(measurementIndexRecordCodec, measurementIndexKey, index);
}

/** Absent as long as nothing was posted or decided. */
export function evidencePolicyOf(state: State): EvidencePolicyRecord {
  return state.read(evidencePolicyRecordCodec, evidencePolicyKey) ?? FIRST_EVIDENCE_POLICY;
}

export function putEvidencePolicy(state: State, policy: EvidencePolicyRecord): void {
  state.write(evidencePolicyRecordCodec, evidencePolicyKey, policy);
}

export function revokedCertificatesOf(state: State): RevokedCertificatesRecord {
  return state.read(revokedCertificatesRecordCodec, revokedCertificatesKey) ?? NO_CERTIFICATES;
}

export function putRevokedCertificates(state: State, revoked: RevokedCertificatesRecord): void {
  state.write(revokedCertificatesRecordCodec, revokedCertificatesKey, revoked);
}

const NO_CERTIFICATES: RevokedCertificatesRecord = [];
const FIRST_EVIDENCE_POLICY: EvidencePolicyRecord = {
  version: ZERO_DIGEST,
  tcbStatuses: TCB_STATUS_KINDS.map((evidenceKind) => ({ evidenceKind, statuses: DEFAULT_TCB_STATUSES })),
  tcbFloors: [],
};

export function chainConfigOf(state: State): ChainConfig {
  return present(state.read(chainConfigRecordCodec, paramsKey), 'params');
}

export function putChainConfig(state: State, config: ChainConfig): void {
  state.write(chainConfigRecordCodec, paramsKey, config);
}

function present<T>(record: T | undefined, name: string): T {
  if (record === undefined)
    throw new StateCorruptError(`the state has no ${name} record: genesis was not applied`);
  return record;
}

/** An account nobody has used yet. */
export const NEW_ACCOUNT: AccountRecord = { nopg: nopg(0n), credits: [], nonceHigh: 0, nonceBits: 0n };
