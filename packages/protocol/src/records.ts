/**
 * What chain state holds: one record per key, both canonical bytes, so that anybody can check a record against an app hash.
 * A record key is one table byte followed by fixed-width parts (32-byte ids; integers big-endian: session 1, lane 1,
 * asset 2, slot 4, height 8 bytes). What has to be enumerated by the state machine itself is listed in a record (due work by
 * height, validators, unbonding entries of a node, lanes of a key), because state is read by exact key only.
 */
import {
  arrayOf,
  bool,
  bytesOf,
  type Codec,
  concatBytes,
  domainHash,
  encode,
  field,
  fromHex,
  nullable,
  oneOf,
  optionalField,
  struct,
  type TypeOf,
  textOf,
  u64,
  uint,
  uintMapOf,
} from '@haca/primitives';
import { collateralCodec } from './collateral.ts';
import {
  ASSURANCE_TIERS,
  accountKeyCodec,
  chainIdCodec,
  digest32,
  heightCodec,
  methodCodec,
} from './common.ts';
import { PROOF_KINDS, proofKindCodec, releaseInfoCodec, revokedCertificateCodec } from './decree.ts';
import {
  acceptedTcbStatusCodec,
  hardwareCodec,
  SNP_PRODUCTS,
  snpTcbFloorCodec,
  TCB_STATUS_KINDS,
  TCB_STATUSES,
} from './hardware.ts';
import { measurementCodec } from './measurement.ts';
import { modelManifestCodec } from './model.ts';
import { DEFAULT_PARAMS, type ProtocolParams } from './params.ts';
import { runningTotalsCodec } from './receipt.ts';
import { evidenceKindCodec, GPUS_MAX, registrationBindingCodec } from './registration.ts';
import { ASSET_ID_MAX, creditCodec, nopgCodec } from './units.ts';
import { consensusAddressCodec, VALIDATORS_MAX } from './validator.ts';
import { LANES_PER_CHANNEL_AND_KEY, SESSIONS_PER_CHANNEL } from './voucher.ts';
import { VERIFYING_KEY_MAX_BYTES, ZK_BATCH_MAX, ZK_TENSORS_MAX } from './zk-limits.ts';

const TABLES = {
  totals: 1,
  account: 2,
  asset: 3,
  channel: 4,
  session: 5,
  allocation: 6,
  lane: 7,
  model: 8,
  node: 9,
  nodeKey: 10,
  unbonding: 11,
  validator: 12,
  queue: 13,
  params: 14,
  validatorSet: 15,
  recentBlock: 16,
  validatorUnbonding: 17,
  claim: 18,
  verifyingKey: 19,
  governance: 20,
  collateral: 21,
  measurement: 22,
  hardware: 23,
  measurementIndex: 24,
  evidencePolicy: 25,
  revokedCertificates: 26,
  keyEvidence: 27,
} as const;
export type TableName = keyof typeof TABLES;

/** Record keys, by table. */
export const recordKey = {
  totals: (): Uint8Array => Uint8Array.of(TABLES.totals),
  params: (): Uint8Array => Uint8Array.of(TABLES.params),
  account: (accountId: Uint8Array): Uint8Array => keyOf(TABLES.account, accountId),
  asset: (asset: number): Uint8Array => keyOf(TABLES.asset, bigEndian(asset, 2)),
  channel: (channelId: Uint8Array): Uint8Array => keyOf(TABLES.channel, channelId),
  session: (channelId: Uint8Array, session: number): Uint8Array =>
    keyOf(TABLES.session, channelId, bigEndian(session, 1)),
  allocation: (channelId: Uint8Array, nodeId: Uint8Array): Uint8Array =>
    keyOf(TABLES.allocation, channelId, nodeId),
  lane: (keyId: Uint8Array, channelId: Uint8Array, lane: number): Uint8Array =>
    keyOf(TABLES.lane, keyId, channelId, bigEndian(lane, 1)),
  model: (modelId: Uint8Array): Uint8Array => keyOf(TABLES.model, modelId),
  node: (nodeId: Uint8Array): Uint8Array => keyOf(TABLES.node, nodeId),
  nodeKey: (keyId: Uint8Array): Uint8Array => keyOf(TABLES.nodeKey, keyId),
  keyEvidence: (keyId: Uint8Array): Uint8Array => keyOf(TABLES.keyEvidence, keyId),
  /** Maturing bonds of a node, by the height they mature at. */
  unbonding: (nodeId: Uint8Array, height: number): Uint8Array =>
    keyOf(TABLES.unbonding, nodeId, bigEndian(height, 8)),
  validator: (consensusAddress: Uint8Array): Uint8Array => keyOf(TABLES.validator, consensusAddress),
  /** Maturing bonds of a validator, by the height they mature at. */
  validatorUnbonding: (consensusAddress: Uint8Array, height: number): Uint8Array =>
    keyOf(TABLES.validatorUnbonding, consensusAddress, bigEndian(height, 8)),
  /** Work due at a height. */
  queue: (height: number): Uint8Array => keyOf(TABLES.queue, bigEndian(height, 8)),
  validatorSet: (): Uint8Array => Uint8Array.of(TABLES.validatorSet),
  claim: (claimId: Uint8Array): Uint8Array => keyOf(TABLES.claim, claimId),
  verifyingKey: (verifyingKeyHash: Uint8Array): Uint8Array => keyOf(TABLES.verifyingKey, verifyingKeyHash),
  governance: (): Uint8Array => Uint8Array.of(TABLES.governance),
  /** By `collateralIdOf`. */
  collateral: (collateralId: Uint8Array): Uint8Array => keyOf(TABLES.collateral, collateralId),
  /** By `measurementIdOf`. */
  measurement: (measurementId: Uint8Array): Uint8Array => keyOf(TABLES.measurement, measurementId),
  /** By `hardwareIdOf`. */
  hardware: (hardwareId: Uint8Array): Uint8Array => keyOf(TABLES.hardware, hardwareId),
  measurementIndex: (): Uint8Array => Uint8Array.of(TABLES.measurementIndex),
  evidencePolicy: (): Uint8Array => Uint8Array.of(TABLES.evidencePolicy),
  revokedCertificates: (): Uint8Array => Uint8Array.of(TABLES.revokedCertificates),
  /** Slot of a block among the last `settleWindow`: its height modulo that. */
  recentBlock: (height: number, settleWindow: number): Uint8Array =>
    keyOf(TABLES.recentBlock, bigEndian(height % settleWindow, 4)),
} as const;

/** The table a record key belongs to, or undefined. */
export function tableOf(key: Uint8Array): TableName | undefined {
  return (Object.keys(TABLES) as TableName[]).find((name) => TABLES[name] === key[0]);
}

/** All keys of a table (and of a prefix within it) start with this. */
export function tablePrefix(table: TableName, ...parts: readonly Uint8Array[]): Uint8Array {
  return keyOf(TABLES[table], ...parts);
}

function keyOf(table: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(table), ...parts);
}

function bigEndian(value: number, width: number): Uint8Array {
  return fromHex(value.toString(16).padStart(2 * width, '0'));
}

/** Unsigned integers that may pass 2^64: big-endian, shortest form, at most 16 bytes. */
const u128 = {
  cddl: 'bstr .size (0..16)',
  write: (writer: { bytes: (value: Uint8Array) => void }, value: bigint): void => {
    const digits = value.toString(16);
    writer.bytes(
      value === 0n ? new Uint8Array(0) : fromHex(digits.padStart(digits.length + (digits.length % 2), '0')),
    );
  },
  read: (reader: {
    bytes: (min: number, max: number) => Uint8Array;
    fail: (code: string, expected: string, got: string) => never;
  }): bigint => {
    const bytes = reader.bytes(0, 16);
    if (bytes[0] === 0) reader.fail('u128.non-minimal', 'no leading zero', 'a leading zero');
    let value = 0n;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    return value;
  },
};

/** Credit balances per asset, ascending; zero balances are absent. */
const creditBalancesCodec = uintMapOf(ASSET_ID_MAX, creditCodec, 8);

/** Every slot that OPG or a fee asset can be in, and the base fee. The sums of the invariants, in one provable record. */
export const totalsRecordCodec = struct({
  liquid: field(0, nopgCodec),
  nodeBond: field(1, nopgCodec),
  nodeUnbonding: field(2, nopgCodec),
  valPool: field(3, nopgCodec),
  valUnbonding: field(4, nopgCodec),
  deposit: field(5, nopgCodec),
  restitution: field(6, nopgCodec),
  rewards: field(7, nopgCodec),
  reserve: field(8, nopgCodec),
  burnedFees: field(9, nopgCodec),
  burnedSlash: field(10, nopgCodec),
  burnedDeposit: field(11, nopgCodec),
  assets: field(
    12,
    uintMapOf(
      ASSET_ID_MAX,
      struct({
        liquid: field(0, creditCodec),
        channelFree: field(1, creditCodec),
        allocUnpaid: field(2, creditCodec),
        issued: field(3, u128),
        retired: field(4, u128),
      }),
      8,
    ),
  ),
  baseFee: field(13, u64),
  baseFeeHeight: field(14, heightCodec),
  baseFeeGasUsed: field(15, uint()),
  /** Epochs below this one had their rewards paid out of the reserve, or paid nothing. */
  rewardedEpoch: field(16, uint()),
});
export type TotalsRecord = TypeOf<typeof totalsRecordCodec>;

export const accountRecordCodec = struct({
  nopg: field(0, nopgCodec),
  credits: field(1, creditBalancesCodec),
  /** Highest nonce used plus one, and the 64 below it as bits, newest lowest: a row is never deleted. */
  nonceHigh: field(2, uint()),
  nonceBits: field(3, u64),
  /** Bonded OPG may be locked; transfers may not go under this. */
  lockedNopg: optionalField(4, nopgCodec),
});
export type AccountRecord = TypeOf<typeof accountRecordCodec>;

export const assetRecordCodec = struct({
  symbol: field(0, textOf(1, 16)),
  issuer: field(1, digest32),
});
export type AssetRecord = TypeOf<typeof assetRecordCodec>;

export const channelRecordCodec = struct({
  payer: field(0, digest32),
  asset: field(1, uint(ASSET_ID_MAX)),
  free: field(2, creditCodec),
  allocations: field(3, uint(0xffff)),
  sessions: field(4, uint(SESSIONS_PER_CHANNEL)),
  version: field(5, uint()),
});
export type ChannelRecord = TypeOf<typeof channelRecordCodec>;

export const sessionRecordCodec = struct({
  publicKey: field(0, bytesOf(32)),
  expiryHeight: field(1, heightCodec),
  revokedAt: optionalField(2, heightCodec),
});
export type SessionRecord = TypeOf<typeof sessionRecordCodec>;

export const allocationRecordCodec = struct({
  amount: field(0, creditCodec),
  paid: field(1, creditCodec),
  withdrawing: field(2, creditCodec),
  readyAt: field(3, heightCodec),
  version: field(4, uint()),
});
export type AllocationRecord = TypeOf<typeof allocationRecordCodec>;

/** A lane of some key, named within that key. */
const laneRefCodec = struct({
  channelId: field(0, digest32),
  lane: field(1, uint(LANES_PER_CHANNEL_AND_KEY - 1)),
});
export type LaneRef = TypeOf<typeof laneRefCodec>;

/** Exists only after a first redemption and until its key is drained. `previous` chains the lanes of a key. */
export const laneRecordCodec = struct({
  mark: field(0, creditCodec),
  seq: field(1, uint()),
  previous: field(2, nullable(laneRefCodec)),
});
export type LaneRecord = TypeOf<typeof laneRecordCodec>;

export const modelRecordCodec = struct({
  manifest: field(0, modelManifestCodec),
  registrant: field(1, digest32),
  height: field(2, heightCodec),
});
export type ModelRecord = TypeOf<typeof modelRecordCodec>;

/** Verification gas and proof size for batches of 1, 2, 4, … receipts: entry i is for up to `2^i`. */
const perBatchLog2 = arrayOf(uint(1_000_000_000), 11, 1);

/**
 * A verifying key, under the hash that names it, with what full nodes derived from it once: nobody needs the circuit to know
 * what a proof costs. Rows are never deleted.
 */
export const verifyingKeyRecordCodec = struct({
  verifyingKey: field(0, bytesOf(1, VERIFYING_KEY_MAX_BYTES)),
  batchMax: field(1, uint(ZK_BATCH_MAX)),
  verificationGas: field(2, perBatchLog2),
  proofBytes: field(3, perBatchLog2),
  /** Bytes that one inference has of each public tensor, in the key's order. */
  inputRowBytes: field(4, arrayOf(uint(), ZK_TENSORS_MAX, 1)),
  outputRowBytes: field(5, arrayOf(uint(), ZK_TENSORS_MAX, 1)),
  height: field(6, heightCodec),
  /** SHA-256 of the registration proof that was verified. */
  registrationProofHash: optionalField(7, digest32),
});
export type VerifyingKeyRecord = TypeOf<typeof verifyingKeyRecordCodec>;

/**
 * A settled batch of a `zk` key that waits for its proof. The row is there exactly while the claim is open: verified, expired and
 * void claims have none, and of the last two the key lists the range as unpaid.
 */
export const claimRecordCodec = struct({
  keyId: field(0, digest32),
  firstSeq: field(1, uint()),
  count: field(2, uint(ZK_BATCH_MAX)),
  receiptsRoot: field(3, digest32),
  /** What the batch added to the key's settled totals: what is verified with it. */
  delta: field(4, runningTotalsCodec),
  openedAt: field(5, heightCodec),
  /** Hash of the block that settled the batch: every challenge of the proof hangs on it. */
  nonce: field(6, digest32),
  /** Last height at which its proof is accepted. */
  due: field(7, heightCodec),
  /** Base fee of the block that opened it: congestion is measured against it. */
  baseFee: field(8, u64),
  extensions: field(9, uint(3)),
  /** Least verification gas that its proof has to declare. */
  verificationGas: field(10, uint()),
});
export type ClaimRecord = TypeOf<typeof claimRecordCodec>;

/** What a decree of the validators changed; absent as long as there was none. */
export const governanceRecordCodec = struct({
  /** Of the last decree. */
  serial: field(0, uint()),
  /** Kinds of proof that are not accepted until further notice. */
  disabledKinds: field(1, arrayOf(proofKindCodec, PROOF_KINDS.length)),
});
export type GovernanceRecord = TypeOf<typeof governanceRecordCodec>;

const versionCodec = struct({
  /** `tcbEvaluationDataNumber`, or the number of a revocation list. */
  number: field(0, uint()),
  /** Unix milliseconds. */
  issuedMs: field(1, uint()),
});

/** Evaluations that were raised and whose grace may still run: the oldest and the newest of them. */
export const SUPERSEDED_COLLATERAL_MAX = 2;

/** A piece of collateral, the newest of its name that was posted. Rows are never deleted. */
export const collateralRecordCodec = struct({
  item: field(0, collateralCodec),
  /** A newer piece has a higher number, or the same and a later issue. */
  version: field(1, versionCodec),
  /** Unix milliseconds. */
  nextUpdateMs: field(2, uint()),
  /** It hangs on a test root that a simulated genesis names. */
  simulated: field(3, bool),
  height: field(4, heightCodec),
  /** What a higher TCB evaluation took the place of, ascending by time. */
  superseded: field(
    5,
    arrayOf(
      struct({
        item: field(0, collateralCodec),
        version: field(1, versionCodec),
        /** Block time at which it was superseded. */
        atMs: field(2, uint()),
      }),
      SUPERSEDED_COLLATERAL_MAX,
    ),
  ),
});
export type CollateralRecord = TypeOf<typeof collateralRecordCodec>;

/**
 * A release that evidence may show. Its state is a function of the height: proposed before `activeFrom`, then active, deprecated from
 * `deprecatedAt` on, revoked from `revokedAt` on, whatever it was. Rows are never deleted.
 */
export const measurementRecordCodec = struct({
  measurement: field(0, measurementCodec),
  /** Null for those of genesis. */
  release: field(1, nullable(releaseInfoCodec)),
  proposedAt: field(2, heightCodec),
  activeFrom: field(3, heightCodec),
  deprecatedAt: optionalField(4, heightCodec),
  revokedAt: optionalField(5, heightCodec),
});
export type MeasurementRecord = TypeOf<typeof measurementRecordCodec>;

export const LIVE_MEASUREMENTS_MAX = 256;

/** Measurements that are neither revoked nor were deprecated when another was proposed; ascending by id. */
export const measurementIndexRecordCodec = arrayOf(
  struct({ kind: field(0, evidenceKindCodec), measurementId: field(1, digest32) }),
  LIVE_MEASUREMENTS_MAX,
);
export type MeasurementIndexRecord = TypeOf<typeof measurementIndexRecordCodec>;

/** A chip while a key names it, while it is registered, and for ever once it is revoked. */
export const hardwareRecordCodec = struct({
  hardware: field(0, hardwareCodec),
  simulated: field(1, bool),
  holder: optionalField(
    2,
    struct({
      operator: field(0, digest32),
      /** The one node that a GPU serves; null for chips that may serve several of one operator. */
      nodeId: field(1, nullable(digest32)),
      /** Keys that name it and are not drained. */
      keys: field(2, uint()),
    }),
  ),
  /** Who answers for where it stands. */
  provider: optionalField(3, textOf(1, 64)),
  revokedAt: optionalField(4, heightCodec),
});
export type HardwareRecord = TypeOf<typeof hardwareRecordCodec>;

/** What validators decided about platforms; absent as long as there was nothing to judge by. */
export const evidencePolicyRecordCodec = struct({
  /**
   * A hash over all that was ever decided or posted, one thing after the other: where it is the same, everything that evidence is
   * judged by is the same.
   */
  version: field(0, digest32),
  tcbStatuses: field(
    1,
    arrayOf(
      struct({
        evidenceKind: field(0, oneOf(...TCB_STATUS_KINDS)),
        statuses: field(1, arrayOf(acceptedTcbStatusCodec, TCB_STATUSES.length)),
      }),
      TCB_STATUS_KINDS.length,
    ),
  ),
  tcbFloors: field(
    2,
    arrayOf(
      struct({ product: field(0, oneOf(...SNP_PRODUCTS)), floor: field(1, snpTcbFloorCodec) }),
      SNP_PRODUCTS.length,
    ),
  ),
});
export type EvidencePolicyRecord = TypeOf<typeof evidencePolicyRecordCodec>;

export const REVOKED_CERTIFICATES_MAX = 512;

/** Certificates revoked by decree, in the order of the decrees. */
export const revokedCertificatesRecordCodec = arrayOf(revokedCertificateCodec, REVOKED_CERTIFICATES_MAX);
export type RevokedCertificatesRecord = TypeOf<typeof revokedCertificatesRecordCodec>;

/** Blocks in which so many expired claims of a node cost it bond; then it is jailed for as long. */
export const CLAIM_FAULT_WINDOW = 86_400;
export const CLAIM_FAULTS_MAX = 8;

/** Claims of a key that may be open at a time. */
export const OPEN_CLAIMS_MAX = 64;
/** A key with more unpaid ranges than this is frozen; what is still open by then may add to them. */
export const UNPAID_RANGES_MAX = 16;

export const UNBONDING_ENTRIES_MAX = 7;
/** Keys of a node that are not drained yet, at most. */
export const UNDRAINED_KEYS_MAX = 64;

export const nodeRecordCodec = struct({
  operator: field(0, digest32),
  operatorKey: field(1, accountKeyCodec),
  name: field(2, textOf(1, 64)),
  endpoint: field(3, textOf(1, 256)),
  payout: field(4, digest32),
  bond: field(5, nopgCodec),
  unbonding: field(6, nopgCodec),
  /** Highest epoch ever used; a new key must be above. */
  keyEpoch: field(7, uint()),
  /** Keys that are not drained yet. */
  keys: field(8, arrayOf(digest32, UNDRAINED_KEYS_MAX)),
  laneRows: field(9, uint()),
  /** Token bucket of verification gas: level as of a height. */
  bucketGas: field(10, uint()),
  bucketHeight: field(11, heightCodec),
  jailedUntil: optionalField(12, heightCodec),
  tombstoned: optionalField(13, bool),
  /** Heights its unbonding entries are due at, ascending: their record keys. */
  unbondingDue: field(14, arrayOf(heightCodec, UNBONDING_ENTRIES_MAX)),
  /** Expired claims that cost it bond, in the window of `CLAIM_FAULT_WINDOW` blocks it last happened in. */
  expiries: optionalField(15, struct({ window: field(0, uint()), count: field(1, uint(CLAIM_FAULTS_MAX)) })),
});
export type NodeRecord = TypeOf<typeof nodeRecordCodec>;

const seqRangeCodec = struct({ first: field(0, uint()), last: field(1, uint()) });
export type SeqRange = TypeOf<typeof seqRangeCodec>;

/** At most so many bytes of facts come with one document. */
const factsCodec = bytesOf(0, 4096);
/** Chips that one key can name. */
export const KEY_HARDWARE_MAX = 64;

export const KEY_STOPS = ['abandoned', 'frozen', 'revoked'] as const;

/**
 * What the documents behind a `tee` key say, as the chain keeps it. Written with the key and removed with it, never changed in
 * between; the key's row holds its hash, so whoever has that row proven needs no proof of this one.
 */
export const keyEvidenceRecordCodec = struct({
  /** SHA-256 of the document, to find and re-check it. */
  documentHash: field(0, digest32),
  /** Hash of the verified claims: what identifies the evidence whatever its encoding. */
  claimsDigest: field(1, digest32),
  /** Its name, as approved. */
  measurement: field(2, textOf(1, 64)),
  measurementId: field(3, digest32),
  /** What collateral and revocations are judged against again; the verifier's own form. */
  facts: field(4, factsCodec),
  /** Rows of the chips it names, those of its GPUs too. */
  hardware: field(5, arrayOf(digest32, KEY_HARDWARE_MAX)),
  gpus: field(
    6,
    arrayOf(
      struct({
        documentHash: field(0, digest32),
        claimsDigest: field(1, digest32),
        measurementId: field(2, digest32),
        facts: field(3, factsCodec),
      }),
      GPUS_MAX,
    ),
  ),
});
export type KeyEvidenceRecord = TypeOf<typeof keyEvidenceRecordCodec>;

/** 32 bytes over the whole record: what the row of its key holds. */
export function keyEvidenceHash(record: KeyEvidenceRecord): Uint8Array {
  return domainHash('haca/key-evidence/1', encode(keyEvidenceRecordCodec, record));
}

/**
 * A node key. No transition is run by a timer: its state is a function of this row and the height. It holds the whole
 * settled history as one log root, so a receipt proof needs this record and nothing else of the chain. Every batch writes it anew:
 * what is large and never changes has no place in it.
 */
export const nodeKeyRecordCodec = struct({
  nodeId: field(0, digest32),
  keyEpoch: field(1, uint()),
  publicKey: field(2, bytesOf(32)),
  method: field(3, methodCodec),
  /** The model of a zk key. */
  modelId: field(4, nullable(digest32)),
  modelIds: field(5, arrayOf(digest32, 64)),
  binding: field(6, registrationBindingCodec),
  evidence: field(
    7,
    nullable(
      struct({
        kind: field(0, evidenceKindCodec),
        /** Milliseconds of block time after which it backs no new batch. */
        endMs: field(1, uint()),
        /** Appraised under a test root that a simulated genesis names. */
        simulated: field(2, bool),
        tier: field(3, oneOf(...ASSURANCE_TIERS)),
        /** `keyEvidenceHash` of the key's row of evidence. */
        recordHash: field(4, digest32),
      }),
    ),
  ),
  openedAt: field(8, heightCodec),
  notAfter: field(9, heightCodec),
  closingAt: optionalField(10, heightCodec),
  stop: optionalField(11, oneOf(...KEY_STOPS)),
  settledSeq: field(12, uint()),
  headHash: field(13, digest32),
  settled: field(14, runningTotalsCodec),
  verified: field(15, runningTotalsCodec),
  paid: field(16, runningTotalsCodec),
  /** Log of statement hashes: frontier of the RFC 9162 tree. */
  logSize: field(17, uint()),
  logFrontier: field(18, arrayOf(digest32, 32)),
  /** Ranges `[first, last]` of expired or void claims; ascending, disjoint. */
  unpaidRanges: field(19, arrayOf(seqRangeCodec, UNPAID_RANGES_MAX + OPEN_CLAIMS_MAX)),
  openClaims: field(20, arrayOf(seqRangeCodec, OPEN_CLAIMS_MAX)),
  c1Seq: field(21, uint()),
  c1Due: field(22, heightCodec),
  /** One bit per fault kind N2 to N5 already punished. */
  faults: field(23, uint(15)),
  /** Head of the chain of its lane records. */
  lastLane: field(24, nullable(laneRefCodec)),
});
export type NodeKeyRecord = TypeOf<typeof nodeKeyRecordCodec>;

/** Both rows of a key's evidence together. */
export type RecordedEvidence = NonNullable<NodeKeyRecord['evidence']> & KeyEvidenceRecord;

export const unbondingRecordCodec = struct({
  amount: field(0, nopgCodec),
  sinceHeight: field(1, heightCodec),
  /** Block time it began at: it matures by height and by time, both. */
  sinceMs: field(2, uint()),
});
export type UnbondingRecord = TypeOf<typeof unbondingRecordCodec>;

export const validatorRecordCodec = struct({
  consensusKey: field(0, bytesOf(32)),
  operator: field(1, digest32),
  selfBond: field(2, nopgCodec),
  /** Voting power that consensus was told last. */
  power: field(3, uint()),
  /** Accrued out of the reserve and not claimed yet. */
  rewards: field(4, nopgCodec),
  /** It was proved to have signed twice: never a validator again. */
  tombstoned: optionalField(5, bool),
  /** Lowest height it was proved to have signed twice at. */
  faultHeight: optionalField(6, heightCodec),
  /** Heights its unbonding entries are due at, ascending: their record keys. */
  unbondingDue: field(7, arrayOf(heightCodec, UNBONDING_ENTRIES_MAX)),
});
export type ValidatorRecord = TypeOf<typeof validatorRecordCodec>;

/** The validators with voting power, by consensus address, and what counts for their reward of the running epoch. */
export const validatorSetRecordCodec = struct({
  epoch: field(0, uint()),
  /** Non-empty blocks of the epoch so far, and of them those whose last commit holds the validator's signature. */
  blocks: field(1, uint()),
  members: field(
    2,
    arrayOf(
      struct({
        address: field(0, consensusAddressCodec),
        signed: field(1, uint()),
        /** Least power it had since the epoch began: what it is paid by. 0 for one that joined since. */
        leastPower: field(2, uint()),
      }),
      VALIDATORS_MAX,
    ),
  ),
});
export type ValidatorSetRecord = TypeOf<typeof validatorSetRecordCodec>;

/** Hash of a recent block. A slot may hold an older height than the one asked for: that block's hash is not kept. */
export const recentBlockRecordCodec = struct({
  height: field(0, heightCodec),
  hash: field(1, digest32),
});
export type RecentBlockRecord = TypeOf<typeof recentBlockRecordCodec>;

export const QUEUE_TASKS = [
  'mature-unbonding',
  'drain-key',
  'delete-key',
  'mature-validator-unbonding',
  'expire-claim',
] as const;
/** Tasks of one height: those that find it full are due one block later. */
export const QUEUE_TASKS_MAX = 256;

/** What is due at a height, ascending by (due, subject): matured bonds, drained lanes, dead keys, claims without proof. */
export const queueRecordCodec = arrayOf(
  struct({
    task: field(0, oneOf(...QUEUE_TASKS)),
    /** A node for `mature-unbonding`, a consensus key for `mature-validator-unbonding`, a claim for `expire-claim`, else a node key. */
    subject: field(1, digest32),
    /** The height it was first due at; of an unbonding entry part of its record key. */
    due: field(2, heightCodec),
  }),
  QUEUE_TASKS_MAX,
);
export type QueueRecord = TypeOf<typeof queueRecordCodec>;
export type QueueTask = QueueRecord[number];

/** Numbers of the parameters in the `params` record; new ones take new numbers. */
const PARAM_NUMBERS: Readonly<Record<keyof ProtocolParams, number>> = {
  gasTarget: 0,
  baseFeeMin: 1,
  baseFeeMax: 2,
  settleWindow: 3,
  proveWindow: 4,
  challengeWindow: 5,
  redeemWindow: 6,
  headLag: 7,
  requestDuration: 8,
  withdrawDelay: 9,
  keyTtl: 10,
  keyDrain: 11,
  evidenceWindow: 12,
  unbondingTime: 13,
  unbondingTimeMs: 14,
  nodeBondMin: 15,
  validatorBondMin: 16,
  channelDepositMin: 17,
  allocationMin: 18,
  existentialNopg: 19,
  existentialNcr: 20,
  bondPerLaneRow: 21,
  sessionTtlMax: 22,
  validUntilAhead: 23,
  epochLength: 24,
  reserveDivisor: 25,
  evidenceAgeMaxMs: 26,
  evidenceSkewMaxMs: 27,
  keysPerNodeMax: 28,
  allocationsPerChannelMax: 29,
  tcbGraceMs: 30,
  collateralGraceMs: 31,
  measurementDelay: 32,
};

const paramsCodec = struct(
  Object.fromEntries(
    Object.entries(PARAM_NUMBERS).map(([name, number]) => [
      name,
      field<unknown>(
        number,
        (typeof DEFAULT_PARAMS[name as keyof ProtocolParams] === 'bigint' ? u64 : uint()) as Codec<unknown>,
      ),
    ]),
  ),
) as unknown as Codec<ProtocolParams>;

/** What genesis fixed: a node that has the state needs no genesis file. */
export const chainConfigRecordCodec = struct({
  chainId: field(0, chainIdCodec),
  genesisTimeMs: field(1, uint()),
  simulated: field(2, bool),
  params: field(3, paramsCodec),
  testRoots: field(4, arrayOf(digest32, 64)),
});
export type ChainConfigRecord = TypeOf<typeof chainConfigRecordCodec>;
