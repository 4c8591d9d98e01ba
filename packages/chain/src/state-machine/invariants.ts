/**
 * The invariants of the two cycles. `runningViolations` looks at the one totals record; `checkInvariants` recomputes every
 * sum from scratch over all records and is for tests, devnets and audits.
 */
import {
  type Codec,
  compareBytes,
  decode,
  isWellFormedFrontier,
  MalformedError,
  toHex,
} from '@haca/primitives';
import {
  type AccountRecord,
  type AllocationRecord,
  accountRecordCodec,
  allocationRecordCodec,
  assetRecordCodec,
  type ChannelRecord,
  type ClaimRecord,
  CONSENSUS_ADDRESS_BYTES,
  type CollateralRecord,
  chainConfigRecordCodec,
  channelRecordCodec,
  claimRecordCodec,
  collateralRecordCodec,
  evidencePolicyRecordCodec,
  governanceRecordCodec,
  type HardwareRecord,
  hardwareIdOf,
  hardwareRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  type LaneRecord,
  laneRecordCodec,
  type MeasurementIndexRecord,
  type MeasurementRecord,
  measurementIdOf,
  measurementIndexRecordCodec,
  measurementRecordCodec,
  modelRecordCodec,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  OPG_SUPPLY_NOPG,
  type ProtocolParams,
  type QueueRecord,
  queueRecordCodec,
  type RunningTotals,
  recentBlockRecordCodec,
  revokedCertificatesRecordCodec,
  type SeqRange,
  type SessionRecord,
  sessionRecordCodec,
  type TableName,
  type TotalsRecord,
  tableOf,
  totalsRecordCodec,
  type UnbondingRecord,
  unbondingRecordCodec,
  type ValidatorRecord,
  type ValidatorSetRecord,
  validatorRecordCodec,
  validatorSetRecordCodec,
  verifyingKeyRecordCodec,
} from '@haca/protocol';
import { creditSum } from './credit-ledger.ts';
import { keyDrainedAt } from './node-keys.ts';
import { opgSum } from './opg-ledger.ts';
import { totalsSum } from './running-totals.ts';
import type { ChainConfig, EnumerableView } from './types.ts';
import { consensusAddress, earnedPower, NOPG_PER_POWER, validatorBondFloor } from './validators.ts';

/** I1 and I2 on the running totals: O(1), also what a light client can check with one proof. */
export function runningViolations(totals: TotalsRecord): readonly string[] {
  const found: string[] = [];
  const sum = opgSum(totals);
  if (sum !== OPG_SUPPLY_NOPG) found.push(`I1: the slots of OPG sum to ${sum} nopg`);
  for (const [asset, slots] of totals.assets) {
    if (creditSum(slots) !== slots.issued - slots.retired) {
      found.push(
        `I2: asset ${asset} has ${creditSum(slots)} ncr in slots, ${slots.issued - slots.retired} in being`,
      );
    }
  }
  return found;
}

/** I3 and I6: what may only move one way, between the totals of two blocks in a row. */
export function transitionViolations(
  before: TotalsRecord,
  after: TotalsRecord,
  block: { readonly baseFee: bigint; readonly gasUsed: number },
): readonly string[] {
  const found: string[] = [];
  for (const slot of ['burnedFees', 'burnedSlash', 'burnedDeposit'] as const) {
    if (after[slot] < before[slot]) found.push(`I3: ${slot} fell`);
  }
  if (after.reserve > before.reserve) found.push('I3: the reserve rose');
  for (const [asset, slots] of before.assets) {
    const next = after.assets.find(([id]) => id === asset)?.[1];
    if (next === undefined || next.issued < slots.issued || next.retired < slots.retired) {
      found.push(`I3: issued or retired of asset ${asset} fell`);
    }
  }
  const burned = after.burnedFees - before.burnedFees;
  if (burned !== block.baseFee * BigInt(block.gasUsed)) found.push(`I6: ${burned} nopg of fees burned`);
  return found;
}

interface Records {
  readonly totals: (readonly [string, TotalsRecord])[];
  readonly account: (readonly [string, AccountRecord])[];
  readonly channel: (readonly [string, ChannelRecord])[];
  readonly session: (readonly [string, SessionRecord])[];
  readonly allocation: (readonly [string, AllocationRecord])[];
  readonly lane: (readonly [string, LaneRecord])[];
  readonly node: (readonly [string, NodeRecord])[];
  readonly nodeKey: (readonly [string, NodeKeyRecord])[];
  readonly unbonding: (readonly [string, UnbondingRecord])[];
  readonly validator: (readonly [string, ValidatorRecord])[];
  readonly validatorUnbonding: (readonly [string, UnbondingRecord])[];
  readonly queue: (readonly [string, QueueRecord])[];
  readonly validatorSet: (readonly [string, ValidatorSetRecord])[];
  readonly claim: (readonly [string, ClaimRecord])[];
  readonly collateral: (readonly [string, CollateralRecord])[];
  readonly measurement: (readonly [string, MeasurementRecord])[];
  readonly measurementIndex: (readonly [string, MeasurementIndexRecord])[];
  readonly hardware: (readonly [string, HardwareRecord])[];
  readonly keyEvidence: (readonly [string, KeyEvidenceRecord])[];
}

const CODECS: Readonly<Record<TableName, Codec<unknown>>> = {
  totals: totalsRecordCodec as Codec<unknown>,
  account: accountRecordCodec as Codec<unknown>,
  asset: assetRecordCodec as Codec<unknown>,
  channel: channelRecordCodec as Codec<unknown>,
  session: sessionRecordCodec as Codec<unknown>,
  allocation: allocationRecordCodec as Codec<unknown>,
  lane: laneRecordCodec as Codec<unknown>,
  model: modelRecordCodec as Codec<unknown>,
  node: nodeRecordCodec as Codec<unknown>,
  nodeKey: nodeKeyRecordCodec as Codec<unknown>,
  unbonding: unbondingRecordCodec as Codec<unknown>,
  validator: validatorRecordCodec as Codec<unknown>,
  validatorUnbonding: unbondingRecordCodec as Codec<unknown>,
  queue: queueRecordCodec as Codec<unknown>,
  params: chainConfigRecordCodec as Codec<unknown>,
  validatorSet: validatorSetRecordCodec as Codec<unknown>,
  recentBlock: recentBlockRecordCodec as Codec<unknown>,
  claim: claimRecordCodec as Codec<unknown>,
  verifyingKey: verifyingKeyRecordCodec as Codec<unknown>,
  governance: governanceRecordCodec as Codec<unknown>,
  collateral: collateralRecordCodec as Codec<unknown>,
  measurement: measurementRecordCodec as Codec<unknown>,
  hardware: hardwareRecordCodec as Codec<unknown>,
  measurementIndex: measurementIndexRecordCodec as Codec<unknown>,
  evidencePolicy: evidencePolicyRecordCodec as Codec<unknown>,
  revokedCertificates: revokedCertificatesRecordCodec as Codec<unknown>,
  keyEvidence: keyEvidenceRecordCodec as Codec<unknown>,
};

/** The decoded content of a record, whatever its table; throws `MalformedError` on anything that is no record. */
export function decodeRecordValue(
  key: Uint8Array,
  value: Uint8Array,
): { readonly table: TableName; readonly record: unknown } {
  const table = tableOf(key);
  if (table === undefined) throw new MalformedError('record.table', '', 'a known table', `${key[0]}`);
  return { table, record: decode(CODECS[table], value, table) };
}

/** I1, I2, I7, I8, I10, I11 and the bookkeeping between rows, from scratch. Empty where all hold. */
export function checkInvariants(
  view: EnumerableView,
  { params }: Pick<ChainConfig, 'params'>,
  height: number,
): readonly string[] {
  const found: string[] = [];
  const records = readAll(view, found);
  const totals = records.totals[0]?.[1];
  if (totals === undefined) return [...found, 'there is no totals record'];
  return [
    ...found,
    ...runningViolations(totals),
    ...opgViolations(records, totals),
    ...creditViolations(records, totals),
    ...channelViolations(records),
    ...keyViolations(records, params, height),
    ...nodeViolations(records, params),
    ...validatorViolations(records, totals, params),
    ...setViolations(records),
    ...queueViolations(records),
    ...evidenceViolations(records),
  ];
}

function readAll(view: EnumerableView, found: string[]): Records {
  const records: Records = {
    totals: [],
    account: [],
    channel: [],
    session: [],
    allocation: [],
    lane: [],
    node: [],
    nodeKey: [],
    unbonding: [],
    validator: [],
    validatorUnbonding: [],
    queue: [],
    validatorSet: [],
    claim: [],
    collateral: [],
    measurement: [],
    measurementIndex: [],
    hardware: [],
    keyEvidence: [],
  };
  const entries = [...view.entries()].sort(([a], [b]) => compareBytes(a, b));
  for (const [key, value] of entries) {
    const id = toHex(key.subarray(1));
    try {
      const { table, record } = decodeRecordValue(key, value);
      (records as unknown as Partial<Record<TableName, unknown[]>>)[table]?.push([id, record]);
    } catch (error) {
      found.push(`record ${id} does not decode: ${(error as Error).message}`);
    }
  }
  return records;
}

function opgViolations(records: Records, totals: TotalsRecord): readonly string[] {
  const rewards = sum(records.validator.map(([, { rewards }]) => rewards));
  const sums: readonly (readonly [keyof TotalsRecord, bigint])[] = [
    ['liquid', sum(records.account.map(([, { nopg }]) => nopg))],
    ['nodeBond', sum(records.node.map(([, { bond }]) => bond))],
    ['nodeUnbonding', sum(records.unbonding.map(([, { amount }]) => amount))],
    ['valPool', sum(records.validator.map(([, { selfBond }]) => selfBond))],
    ['valUnbonding', sum(records.validatorUnbonding.map(([, { amount }]) => amount))],
    ['deposit', 0n],
    ['restitution', 0n],
  ];
  const found = sums
    .filter(([slot, amount]) => totals[slot] !== amount)
    .map(([slot, amount]) => `I1: ${slot} is ${String(totals[slot])}, its rows sum to ${amount}`);
  if (totals.rewards < rewards) found.push(`I1: rewards of ${rewards} are owed, ${totals.rewards} are there`);
  return found;
}

function creditViolations(records: Records, totals: TotalsRecord): readonly string[] {
  return totals.assets.flatMap(([asset, slots]) => {
    const channelIds = new Set(records.channel.filter(([, c]) => c.asset === asset).map(([id]) => id));
    const sums = {
      liquid: sum(records.account.map(([, { credits }]) => credits.find(([id]) => id === asset)?.[1] ?? 0n)),
      channelFree: sum(records.channel.filter(([, c]) => c.asset === asset).map(([, { free }]) => free)),
      allocUnpaid: sum(
        records.allocation
          .filter(([id]) => channelIds.has(ownerOf(id)))
          .map(([, { amount, paid }]) => amount - paid),
      ),
    };
    return (['liquid', 'channelFree', 'allocUnpaid'] as const)
      .filter((slot) => sums[slot] !== slots[slot])
      .map((slot) => `I2: ${slot} of asset ${asset} is ${slots[slot]}, its rows sum to ${sums[slot]}`);
  });
}

function channelViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const known = new Set(records.channel.map(([id]) => id));
  for (const [id, { amount, paid, withdrawing }] of records.allocation) {
    if (paid >= amount) found.push(`I8: allocation ${id} has paid ${paid} of ${amount} and is still there`);
    if (withdrawing > amount - paid) found.push(`I8: allocation ${id} withdraws more than is unpaid`);
    if (!known.has(ownerOf(id))) {
      found.push(`I8: allocation ${id} has no channel`);
    }
  }
  const allocationsOf = byOwner(records.allocation);
  const sessionsOf = byOwner(records.session);
  for (const [id, channel] of records.channel) {
    const rows = allocationsOf.get(id) ?? [];
    const slots = sessionsOf.get(id)?.length ?? 0;
    if (rows.length !== channel.allocations)
      found.push(`I8: channel ${id} counts ${channel.allocations} allocations`);
    if (slots !== channel.sessions) found.push(`I8: channel ${id} counts ${channel.sessions} sessions`);
    if (rows.some(([, { version }]) => version > channel.version))
      found.push(`I8: channel ${id} is behind a version`);
  }
  return found;
}

function keyViolations(records: Records, params: ProtocolParams, height: number): readonly string[] {
  const found: string[] = [];
  const lanesOf = byOwner(records.lane);
  for (const [id, key] of records.nodeKey) {
    if (!isWithin(key.paid, key.verified) || !isWithin(key.verified, key.settled)) {
      found.push(`I7: key ${id} is not paid <= verified <= settled`);
    }
    const ranges = [...key.openClaims, ...key.unpaidRanges].sort((a, b) => a.first - b.first);
    const isTiled = ranges.every(
      ({ first, last }, i) =>
        first >= 1 && first <= last && last <= key.settledSeq && first > (ranges[i - 1]?.last ?? 0),
    );
    if (!isTiled) found.push(`I10: ranges of key ${id} overlap or leave 1..${key.settledSeq}`);
    if (!isWellFormedFrontier({ size: key.logSize, roots: key.logFrontier })) {
      found.push(`I10: the log of key ${id} is not a frontier`);
    }
    if (key.logSize > key.settledSeq) found.push(`I10: key ${id} has more batches than receipts`);
    const rows = lanesOf.get(id) ?? [];
    if (rows.some(([, { seq }]) => seq > key.settledSeq))
      found.push(`I9: a lane of key ${id} is beyond what settled`);
    if (chainLength(key, id, rows) !== rows.length) found.push(`I9: the lane chain of key ${id} misses rows`);
    const marks = sum(rows.map(([, { mark }]) => mark));
    const paid = sum(key.paid.map(([, amount]) => amount));
    // The lines of a zk key may skip what belongs to unpaid ranges.
    const isPaid = key.method === 'zk' ? paid <= marks : paid === marks;
    if (height < keyDrainedAt(key, params) && !isPaid) {
      found.push(`I9: key ${id} was paid ${paid}, its lanes show ${marks}`);
    }
  }
  return [...found, ...claimViolations(records)];
}

/** I10: the open ranges of a key are its claims, and what they would verify is settled and not verified yet. */
function claimViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const claimsOf = Map.groupBy(records.claim, ([, { keyId }]) => toHex(keyId));
  for (const [id, key] of records.nodeKey) {
    const claims = (claimsOf.get(id) ?? []).map(([, claim]) => claim);
    claimsOf.delete(id);
    if (key.method !== 'zk' && key.unpaidRanges.length + key.openClaims.length > 0) {
      found.push(`I10: key ${id} has claims and is no zk key`);
    }
    const open = new Set(claims.map(({ firstSeq, count }) => `${firstSeq}..${firstSeq + count - 1}`));
    const listed = key.openClaims.map(({ first, last }) => `${first}..${last}`);
    if (open.size !== listed.length || !listed.every((range) => open.has(range))) {
      found.push(`I10: key ${id} lists ${listed}, its claims are ${[...open]}`);
    }
    const pending = claims.reduce((totals, { delta }) => totalsSum(totals, delta), key.verified);
    if (!isWithin(pending, key.settled))
      found.push(`I10: claims of key ${id} would verify more than settled`);
    const isApart = key.unpaidRanges.every(
      ({ first }, i) => i === 0 || first > (key.unpaidRanges[i - 1] as SeqRange).last + 1,
    );
    if (!isApart) found.push(`I10: unpaid ranges of key ${id} are not merged`);
  }
  for (const id of claimsOf.keys()) found.push(`I10: a claim belongs to key ${id}, which is not there`);
  return found;
}

function chainLength(key: NodeKeyRecord, id: string, rows: Records['lane']): number {
  const byId = new Map(rows);
  let length = 0;
  for (let at = key.lastLane; at !== null && length <= rows.length; length++) {
    const row = byId.get(id + toHex(at.channelId) + at.lane.toString(16).padStart(2, '0'));
    if (row === undefined) return -1;
    at = row.previous;
  }
  return length;
}

function nodeViolations(records: Records, params: ProtocolParams): readonly string[] {
  const found: string[] = [];
  const lanesOf = byOwner(records.lane);
  const unbondingOf = byOwner(records.unbonding);
  const keysOf = Map.groupBy(records.nodeKey, ([, { nodeId }]) => toHex(nodeId));
  for (const [id, node] of records.node) {
    const keys = keysOf.get(id) ?? [];
    const laneRows = keys.reduce((count, [keyId]) => count + (lanesOf.get(keyId)?.length ?? 0), 0);
    if (laneRows !== node.laneRows)
      found.push(`node ${id} counts ${node.laneRows} lane rows, has ${laneRows}`);
    if (keys.some(([, { keyEpoch }]) => keyEpoch > node.keyEpoch))
      found.push(`node ${id} is behind a key epoch`);
    if (!node.keys.every((keyId) => keys.some(([other]) => other === toHex(keyId)))) {
      found.push(`node ${id} lists a key that is not there`);
    }
    const entries = unbondingOf.get(id) ?? [];
    const dues = entries.map(([other]) => dueOf(other, ID_DIGITS)).sort((a, b) => a - b);
    if (dues.join() !== [...node.unbondingDue].join()) found.push(`node ${id} lists other unbonding entries`);
    if (sum(entries.map(([, { amount }]) => amount)) !== node.unbonding) {
      found.push(`node ${id} has ${node.unbonding} nopg unbonding, its entries sum to another amount`);
    }
    if (node.bucketGas > params.gasTarget) found.push(`node ${id} has a bucket above its capacity`);
  }
  return found;
}

function validatorViolations(
  records: Records,
  totals: TotalsRecord,
  params: ProtocolParams,
): readonly string[] {
  const found: string[] = [];
  const entriesOf = Map.groupBy(records.validatorUnbonding, ([id]) => id.slice(0, ADDRESS_DIGITS));
  for (const [id, validator] of records.validator) {
    const { selfBond, tombstoned, faultHeight, unbondingDue } = validator;
    if (toHex(consensusAddress(validator.consensusKey)) !== id) found.push(`validator ${id} has another key`);
    const isSmall = selfBond > 0n && selfBond < validatorBondFloor(params) && tombstoned !== true;
    if (isSmall) found.push(`validator ${id} bonds ${selfBond} nopg`);
    if ((tombstoned === true) !== (faultHeight !== undefined))
      found.push(`validator ${id} is tombstoned without a fault, or has a fault and is not`);
    const entries = entriesOf.get(id) ?? [];
    const dues = entries.map(([other]) => dueOf(other, ADDRESS_DIGITS)).sort((a, b) => a - b);
    if (dues.join() !== [...unbondingDue].join()) found.push(`validator ${id} lists other unbonding entries`);
    if (entries.some(([, { amount }]) => amount === 0n)) found.push(`validator ${id} unbonds nothing`);
  }
  const known = new Set(records.validator.map(([id]) => id));
  if ([...entriesOf.keys()].some((id) => !known.has(id))) found.push('an unbonding entry has no validator');
  const powers = records.validator.map(([, { power }]) => BigInt(power));
  const isKept =
    sum(powers) === 1n && records.validator.every(([, validator]) => earnedPower(validator) === 0);
  if (sum(powers) * NOPG_PER_POWER > totals.valPool && !isKept) found.push('I11: more power than bonded');
  if (sum(powers) < 1n) found.push('I11: the validator set is empty');
  if (sum(powers) > OPG_SUPPLY_NOPG / NOPG_PER_POWER) found.push('I11: more power than there is OPG');
  return found;
}

/** Who has power, has what it earned and a seat; nobody else has. Only where nobody earned any, one keeps 1. */
function setViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const set = records.validatorSet[0]?.[1];
  if (set === undefined) return ['there is no validator set record'];
  const isEmpty = records.validator.every(([, validator]) => earnedPower(validator) === 0);
  const seats = new Map(set.members.map((member) => [toHex(member.address), member]));
  if (seats.size !== set.members.length) found.push('a validator has two seats');
  for (const [id, validator] of records.validator) {
    const seat = seats.get(id);
    const isKept = isEmpty && validator.power === 1;
    if (validator.power !== earnedPower(validator) && !isKept)
      found.push(`I11: validator ${id} has power ${validator.power}, it earned ${earnedPower(validator)}`);
    if ((seat !== undefined) !== validator.power > 0)
      found.push(`validator ${id} has power or a seat, not both`);
    if (seat !== undefined && seat.leastPower > earnedPower(validator))
      found.push(`validator ${id} is paid by more power than it has`);
    if (seat !== undefined && seat.signed > set.blocks)
      found.push(`validator ${id} signed more than there was`);
    seats.delete(id);
  }
  return seats.size === 0 ? found : [...found, 'a seat belongs to no validator'];
}

/** Whatever unbonds is waited for: an entry that nothing would ever mature is lost money. A claim has a deadline. */
function queueViolations(records: Records): readonly string[] {
  const waited = new Set(
    records.queue.flatMap(([, tasks]) =>
      tasks.map(({ task, subject, due }) => `${task}/${toHex(subject)}/${due}`),
    ),
  );
  const wanted = [
    ...records.unbonding.map(([id]) => `mature-unbonding/${ownerOf(id)}/${dueOf(id, ID_DIGITS)}`),
    ...records.claim.map(([id, { due }]) => `expire-claim/${id}/${due}`),
    ...records.validator.flatMap(([, { consensusKey, unbondingDue }]) =>
      unbondingDue.map((due) => `mature-validator-unbonding/${toHex(consensusKey)}/${due}`),
    ),
  ];
  return wanted.filter((name) => !waited.has(name)).map((name) => `nothing waits for ${name}`);
}

/** What keys name is there, counted right, and listed where it has to be found. */
function evidenceViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const listed = new Set(
    records.measurementIndex.flatMap(([, index]) => index.map(({ measurementId }) => toHex(measurementId))),
  );
  const known = new Map(records.measurement);
  for (const [id, { measurement, deprecatedAt, revokedAt }] of records.measurement) {
    if (toHex(measurementIdOf(measurement)) !== id) found.push(`measurement ${id} has another id`);
    if (!listed.has(id) && deprecatedAt === undefined && revokedAt === undefined)
      found.push(`measurement ${id} is not listed`);
  }
  for (const id of listed) if (!known.has(id)) found.push(`the index lists ${id}, which is no measurement`);
  for (const [id, { version, superseded }] of records.collateral) {
    const versions = [...superseded.map((each) => each.version), version];
    const isRising = versions.every(({ number }, i) => i === 0 || number > (versions[i - 1]?.number ?? 0));
    if (!isRising) found.push(`collateral ${id} superseded what was not older`);
  }
  return [...found, ...keyEvidenceViolations(records), ...hardwareViolations(records)];
}

/** A key whose row says that it has evidence has the row with that hash, and no other key has one. */
function keyEvidenceViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const rows = new Map(records.keyEvidence);
  for (const [id, { evidence }] of records.nodeKey) {
    const row = rows.get(id);
    if (evidence === null) continue;
    rows.delete(id);
    if (row === undefined) found.push(`key ${id} has no row of its evidence`);
    else if (toHex(keyEvidenceHash(row)) !== toHex(evidence.recordHash))
      found.push(`the evidence of key ${id} is not what its row names`);
  }
  for (const id of rows.keys()) found.push(`evidence ${id} belongs to no key that has any`);
  return found;
}

/** One chip, one operator: a row counts the keys that are not drained, and all of them are its holder's. */
function hardwareViolations(records: Records): readonly string[] {
  const found: string[] = [];
  const operators = new Map(records.node.map(([id, { operator }]) => [id, toHex(operator)]));
  const undrained = new Set(records.node.flatMap(([, { keys }]) => keys.map(toHex)));
  const holders = new Map<string, NodeKeyRecord[]>();
  const evidenceOf = new Map(records.keyEvidence);
  for (const [keyId, key] of records.nodeKey) {
    if (!undrained.has(keyId)) continue;
    for (const id of evidenceOf.get(keyId)?.hardware ?? [])
      holders.set(toHex(id), [...(holders.get(toHex(id)) ?? []), key]);
  }
  for (const [id, { hardware, simulated, holder, provider, revokedAt }] of records.hardware) {
    const keys = holders.get(id) ?? [];
    holders.delete(id);
    if (toHex(hardwareIdOf(hardware, simulated)) !== id) found.push(`hardware ${id} has another id`);
    if ((holder?.keys ?? 0) !== keys.length)
      found.push(`hardware ${id} counts ${holder?.keys ?? 0} keys, ${keys.length} name it`);
    const isAlone = keys.every(
      ({ nodeId }) => operators.get(toHex(nodeId)) === toHex(holder?.operator ?? nodeId),
    );
    if (!isAlone) found.push(`hardware ${id} serves two operators`);
    if (holder === undefined && provider === undefined && revokedAt === undefined)
      found.push(`hardware ${id} is kept for nothing`);
  }
  for (const id of holders.keys()) found.push(`hardware ${id} is named by a key and has no row`);
  return found;
}

const ID_DIGITS = 64;
const ADDRESS_DIGITS = 2 * CONSENSUS_ADDRESS_BYTES;

function dueOf(id: string, ownerDigits: number): number {
  return Number.parseInt(id.slice(ownerDigits), 16);
}

/** The 32-byte id that a record key begins with: of the channel, key or node that the row belongs to. */
function ownerOf(id: string): string {
  return id.slice(0, ID_DIGITS);
}

function byOwner<T>(rows: readonly (readonly [string, T])[]): Map<string, (readonly [string, T])[]> {
  return Map.groupBy(rows, ([id]) => ownerOf(id));
}

function isWithin(part: RunningTotals, whole: RunningTotals): boolean {
  return part.every(([asset, amount]) => amount <= (whole.find(([id]) => id === asset)?.[1] ?? 0n));
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
