/**
 * The keys of one node: those of earlier processes, which settle and redeem what they promised, and the one of this process,
 * which signs. A successor is opened before a key closes; a key is closed when nothing of it is left to settle, and its
 * folder is removed when nobody can ask for it any more.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bytesEqual, toHex } from '@haca/primitives';
import type { NodeKeyRecord, SignedObject, VerifyingKeyRecord, Voucher } from '@haca/protocol';
import { ApiError } from './api-error.ts';
import type { NodeChainView } from './chain-view.ts';
import {
  type EvidenceStanding,
  type EvidenceView,
  evidenceLeftMs,
  evidenceRefusal,
  isBeyondMending,
  isEvidenceDue,
  standingLine,
} from './evidence-standing.ts';
import { alreadyAnswered, type PricedModel, type ServingKey } from './inference.ts';
import { type KeyStream, openKeyStream } from './key-stream.ts';
import type { Operator } from './operator.ts';
import type { PaymentBook } from './payment-book.ts';
import { closingAt } from './redemption.ts';
import { type FreshKeyParts, keyDir, listKeyDirs, openFreshKey, readKeyIdentity } from './registration.ts';
import { registrationAdvice } from './registration-advice.ts';
import { type SettlementOptions, type Settler, startSettler } from './settlement.ts';
import type { ProvableModel } from './zk/provable-model.ts';
import { openZkKey, type ZkKey } from './zk/zk-key.ts';

/** A key whose log is open. */
export interface OpenKey {
  readonly stream: KeyStream;
  readonly dir: string;
}

export interface LiveKey extends OpenKey, ServingKey {
  readonly settler: Settler;
  /** Null for every method but `zk`. */
  readonly zk: ZkKey | null;
  /** As of the last look at the newest state; null where the chain has none. */
  record: NodeKeyRecord | null;
  /** Of its evidence, as of the last look; null for keys without, and where the full node can't say. */
  standing: EvidenceStanding | null;
  /** Local milliseconds at which a successor took over; null before. */
  succeededAtMs: number | null;
}

export interface KeyRing {
  readonly all: () => readonly LiveKey[];
  /** The key that is advertised; undefined before the first. */
  readonly active: () => LiveKey | undefined;
  readonly find: (keyId: Uint8Array) => LiveKey | undefined;
  /** Why the key takes no new work; undefined if it does. */
  readonly refusal: (key: LiveKey | undefined) => ApiError | undefined;
  readonly keyFor: (voucher: SignedObject<Voucher>) => Promise<LiveKey>;
  /** What is due: a first key or a successor, closing and forgetting old ones. One call at a time. */
  readonly keepHouse: () => Promise<void>;
  /** Settles what can be settled now. */
  readonly flush: () => Promise<void>;
  /** Stops settling and closes the logs. */
  readonly close: () => Promise<void>;
}

export interface KeyRingParts extends Omit<FreshKeyParts, 'signal'> {
  readonly book: PaymentBook;
  readonly settlement: SettlementOptions;
  /** Offers for the models, made anew for each key. */
  readonly offers: () => ReadonlyMap<string, PricedModel>;
  /** What the keys of method `zk` prove, and how the chain has it. */
  readonly provable: { readonly model: ProvableModel; readonly verifying: VerifyingKeyRecord } | null;
  readonly nowMs: () => number;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonicMs: () => number;
  /** Why the operator's money forbids further promises; undefined while it does not. */
  readonly moneyRefusal: () => ApiError | undefined;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

const HEAD_AGE_MAX_MS = 60_000;
/** A new key is opened this long before the old one ends. */
const ROTATE_BEFORE_BLOCKS = 1_800;
/** Clients that know only the old key are served under it for this long. */
const OVERLAP_MS = 10 * 60_000;
const ROTATE_RETRY_MIN_MS = 5_000;
const ROTATE_RETRY_MAX_MS = 300_000;
/** Where the evidence is refused as it stands, each try costs a fee and people have to act first. */
const MEND_RETRY_MAX_MS = 3_600_000;
/** What blocks tell of that can change how evidence is judged. */
const JUDGING_EVENTS: ReadonlySet<string> = new Set(['collateral', 'decree']);

/** Opens the logs of earlier processes. Nonces they gave away are not given away again. */
export async function openOldKeys(
  keysDir: string,
  chain: NodeChainView,
  operator: Pick<Operator, 'reserveNonce'>,
  log: (line: string) => void,
): Promise<readonly OpenKey[]> {
  const keys: OpenKey[] = [];
  for (const { dir } of listKeyDirs(keysDir)) {
    const logFile = join(dir, 'receipts.wal');
    if (!existsSync(join(dir, 'key.cbor'))) {
      // Without a log nothing was signed; with one, somebody removed the key, and nothing here is thrown away.
      if (existsSync(logFile)) log(`${dir} has receipts and no key: left alone`);
      else rmSync(dir, { recursive: true, force: true });
      continue;
    }
    const identity = readKeyIdentity(dir);
    if (identity.chainId !== chain.chainId) {
      log(`${dir} is of ${identity.chainId}: left alone`);
      continue;
    }
    const stream = await openKeyStream(identity, logFile, false);
    for (const flight of [stream.inFlight(), stream.proofInFlight()]) {
      if (flight !== undefined) operator.reserveNonce(flight.transaction.body.nonce);
    }
    keys.push({ stream, dir });
  }
  return keys;
}

/** Puts back what earlier processes were promised and goes on settling it. Takes no work before `keepHouse` opened a key. */
export async function openKeyRing(parts: KeyRingParts, oldKeys: readonly OpenKey[]): Promise<KeyRing> {
  const { chain, book, log } = parts;
  const keys: LiveKey[] = [];
  let active: LiveKey | undefined;
  let lookedAt = 0;
  let rotateAtMs = 0;
  let rotateFailures = 0;

  const start = (key: OpenKey, record: NodeKeyRecord | null): LiveKey => {
    const live = startKey(parts, key, record);
    keys.push(live);
    return live;
  };
  await book.restore(oldKeys.flatMap(({ stream }) => promisesOf(stream)));
  for (const key of oldKeys) await resume(chain, key, start, log);

  const rotate = async (): Promise<void> => {
    const identity = await openFreshKey(parts);
    const record = await chain.nodeKey(identity.keyId);
    if (record === undefined) throw new Error('the key is not in the state it was opened in');
    const dir = keyDir(parts.keysDir, identity.keyEpoch);
    const stream = await openKeyStream(identity, join(dir, 'receipts.wal'), true);
    const fresh = start({ stream, dir }, record);
    if (active !== undefined) active.succeededAtMs = parts.monotonicMs();
    active = fresh;
    log(`key ${nameOf(fresh)} opened, epoch ${identity.keyEpoch}`);
    await look(fresh);
  };

  const look = async (key: LiveKey): Promise<void> => {
    const { stream, record, standing: before } = key;
    if (!stream.signsReceipts || record === null || record.evidence === null) return;
    const standing = await chain.keyStanding(stream.identity.keyId);
    if (standing === null) return;
    key.standing = standing;
    if (key === active && before !== null && before.standing !== standing.standing) {
      // Something happened: what failed before may work now.
      rotateAtMs = 0;
      rotateFailures = 0;
    }
    const line = standingLine(standing);
    if (before === null || standingLine(before) !== line) log(`key ${nameOf(key)}: ${line}`);
  };

  const rotateIfDue = async (): Promise<void> => {
    if (active !== undefined && !needsSuccessor(parts, active)) return;
    const nowMs = parts.monotonicMs();
    if (nowMs < rotateAtMs) return;
    try {
      await rotate();
      rotateFailures = 0;
      // A successor that ends as soon as the one before: nothing has changed yet, and the next one costs as much.
      if (active !== undefined && needsSuccessor(parts, active)) {
        rotateAtMs = nowMs + Math.max(ROTATE_RETRY_MIN_MS, evidenceLeftMs(evidenceOf(parts, active)) / 3);
      }
    } catch (error) {
      const isDead = active?.standing?.isBacking === false;
      const retryMaxMs = isDead ? MEND_RETRY_MAX_MS : ROTATE_RETRY_MAX_MS;
      rotateAtMs = nowMs + Math.min(ROTATE_RETRY_MIN_MS * 2 ** rotateFailures, retryMaxMs);
      rotateFailures++;
      const advice = registrationAdvice(error, parts.attester?.kind ?? null);
      if (advice !== undefined) log(`no key was opened: ${messageOf(error)}; ${advice}`);
      throw error;
    }
  };

  const find = (keyId: Uint8Array): LiveKey | undefined =>
    keys.find(({ stream }) => bytesEqual(stream.identity.keyId, keyId));

  chain.onFinalBlock((_height, events) => {
    for (const { settler, zk } of keys) {
      settler.poke();
      zk?.proving.poke();
    }
    // What is promised until the next look could not be settled.
    if (events?.some(({ type }) => JUDGING_EVENTS.has(type)) ?? true) {
      for (const key of keys) void look(key).catch(() => undefined);
    }
  });
  return {
    all: () => keys,
    active: () => active,
    find,
    refusal: (key) => refusalOf(parts, key),
    keyFor: async (voucher) => {
      const key = find(voucher.value.keyId);
      const refused = refusalOf(parts, active);
      const inUse = active === undefined ? 'none' : toHex(active.stream.identity.keyId);
      if (key === undefined) throw refused ?? new ApiError('E_VOUCHER', `The key in use is ${inUse}.`);
      const own = refusalOf(parts, key);
      if (own === undefined) return key;
      const answered = await key.stream.answeredBy(voucher);
      if (answered !== undefined) throw alreadyAnswered(answered.id);
      throw refused ?? new ApiError('E_UNAVAILABLE', `Nothing was charged. The key in use is ${inUse}.`);
    },
    keepHouse: async () => {
      if (chain.finalHeight() > lookedAt) {
        lookedAt = chain.finalHeight();
        for (const key of keys) {
          key.record = (await chain.nodeKey(key.stream.identity.keyId)) ?? key.record;
          await look(key);
        }
      }
      // Before a successor: a node has a limited number of open keys.
      for (const key of [...keys]) {
        if (key !== active && (await isForgotten(parts, key))) keys.splice(keys.indexOf(key), 1);
      }
      await rotateIfDue();
    },
    flush: async () => {
      await Promise.all(keys.map(flushKey));
    },
    close: async () => {
      await Promise.all(keys.flatMap(({ settler, zk }) => [settler.stop(), zk?.proving.stop()]));
      await Promise.all(keys.map(({ stream }) => stream.close()));
    },
  };
}

function startKey(parts: KeyRingParts, { stream, dir }: OpenKey, record: NodeKeyRecord | null): LiveKey {
  const { chain, operator, book, settlement, nowMs, log, provable } = parts;
  const { linesMax } = settlement;
  const zk =
    provable === null
      ? null
      : openZkKey({ stream, ...provable, chain, operator, book, linesMax, nowMs, log });
  const batchMaxCount = Math.min(
    settlement.batchMaxCount,
    provable?.model.batchMaxCount ?? settlement.batchMaxCount,
  );
  const options = { ...settlement, batchMaxCount };
  const settling = zk?.settling ?? null;
  const settler = startSettler({ stream, chain, operator, book, options, zk: settling, nowMs, log });
  return {
    stream,
    dir,
    settler,
    zk,
    record,
    standing: null,
    method: parts.method,
    models: stream.signsReceipts ? parts.offers() : new Map(),
    onReceipt: settler.poke,
    succeededAtMs: null,
  };
}

/** What can be proved at once is settled at once; the rest waits in the log, where no deadline runs yet. */
async function flushKey({ settler, zk }: LiveKey): Promise<void> {
  if (zk === null) return settler.flush();
  if (zk.isQuick()) await settler.flush();
  await zk.proving.flush();
  if (zk.isQuick()) await settler.flush();
}

function isDone({ settler, zk }: LiveKey): boolean {
  return settler.isDone() && (zk?.proving.isDone() ?? true);
}

function promisesOf(stream: KeyStream): (readonly [SignedObject<Voucher>, bigint])[] {
  return [...stream.unpaidHeads()].map(({ voucher, receipt }) => [voucher, receipt.value.cumulative]);
}

async function resume(
  chain: NodeChainView,
  key: OpenKey,
  start: (key: OpenKey, record: NodeKeyRecord | null) => LiveKey,
  log: (line: string) => void,
): Promise<void> {
  const { stream, dir } = key;
  const { keyId, keyEpoch } = stream.identity;
  const record = await chain.nodeKey(keyId);
  if (record !== undefined) {
    start(key, record);
    log(`key epoch ${keyEpoch} resumed: ${stream.lastSeq()} receipts, ${stream.settledSeq()} settled`);
    return;
  }
  await stream.close();
  if (stream.lastSeq() > 0) {
    log(`${dir}: the chain knows no such key. Its ${stream.lastSeq()} receipts are left alone`);
    return;
  }
  // It never was a key: nobody was promised anything under it.
  rmSync(dir, { recursive: true, force: true });
}

/** A node that can't keep a promise takes no new work before it loses accepted work. */
function refusalOf(parts: KeyRingParts, key: LiveKey | undefined): ApiError | undefined {
  const { chain } = parts;
  if (parts.signal.aborted || key === undefined) {
    return new ApiError('E_UNAVAILABLE', 'The node is starting or stopping.');
  }
  const { stream, record, zk } = key;
  const { height, seenAtMs } = chain.head();
  const { params } = chain.config;
  if (stream.failure() !== undefined) return new ApiError('E_UNAVAILABLE', 'The disk failed.');
  if (parts.monotonicMs() - seenAtMs > HEAD_AGE_MAX_MS) {
    return new ApiError('E_HEAD_STALE', `The last block seen is ${height}.`);
  }
  const oldest = stream.oldestUnsettled()?.receipt.value;
  if (oldest !== undefined && height - oldest.refHeight >= params.settleWindow) {
    return new ApiError('E_UNAVAILABLE', 'Receipts can not be settled at present.');
  }
  const isOpen =
    stream.signsReceipts &&
    record !== null &&
    record.stop === undefined &&
    height + params.requestDuration < closingAt(record) &&
    !isOverlapOver(parts, key);
  if (!isOpen) return new ApiError('E_UNAVAILABLE', 'The key is closing and takes no new work.');
  return evidenceRefusal(evidenceOf(parts, key)) ?? zk?.refusal() ?? parts.moneyRefusal();
}

function evidenceOf({ chain, monotonicMs }: KeyRingParts, { record, standing }: LiveKey): EvidenceView {
  const { blockTimeMs, seenAtMs } = chain.head();
  // Where nothing happens blocks are few, and the next one will say how late it is.
  const nowMs = blockTimeMs + Math.max(0, monotonicMs() - seenAtMs);
  return { evidence: record?.evidence ?? null, standing, params: chain.config.params, nowMs };
}

function nameOf({ stream }: Pick<LiveKey, 'stream'>): string {
  return toHex(stream.identity.keyId).slice(0, 12);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isOverlapOver({ monotonicMs }: KeyRingParts, { succeededAtMs }: LiveKey): boolean {
  return succeededAtMs !== null && monotonicMs() - succeededAtMs > OVERLAP_MS;
}

function needsSuccessor(parts: KeyRingParts, key: LiveKey): boolean {
  const { record, standing } = key;
  if (record === null || isBeyondMending(standing)) return false;
  const { chain } = parts;
  const leastBlocks = Math.min(ROTATE_BEFORE_BLOCKS, Math.floor(chain.config.params.keyTtl / 4));
  return (
    record.stop !== undefined ||
    isEvidenceDue(evidenceOf(parts, key)) ||
    closingAt(record) - chain.head().height < leastBlocks
  );
}

/** Closes an old key that has nothing left to settle; true when it is gone for good, folder and all. */
async function isForgotten(parts: KeyRingParts, key: LiveKey): Promise<boolean> {
  const { chain, book } = parts;
  const { stream, settler, record } = key;
  const { keyId } = stream.identity;
  const isIdle = book.running(keyId) === 0 && (!stream.signsReceipts || isOverlapOver(parts, key));
  if (record === null || !isIdle) return false;
  if (isDone(key)) book.forgetKey(keyId);
  if (isDone(key) && chain.finalHeight() >= deletedAt(record, chain)) {
    await Promise.all([settler.stop(), key.zk?.proving.stop()]);
    await stream.close();
    rmSync(key.dir, { recursive: true, force: true });
    return true;
  }
  const isOpen = record.stop === undefined && chain.head().height < closingAt(record);
  if (isOpen && settler.isSettled()) await closeKey(parts, key);
  return false;
}

async function closeKey({ operator, chain, signal, log }: KeyRingParts, key: LiveKey): Promise<void> {
  const { keyId, keyEpoch } = key.stream.identity;
  try {
    await operator.submit([{ kind: 'close-key', keyId }], signal);
    key.record = (await chain.nodeKey(keyId)) ?? key.record;
    log(`key epoch ${keyEpoch} closed: everything is settled`);
  } catch (error) {
    log(`key epoch ${keyEpoch} could not be closed: ${messageOf(error)}`);
  }
}

/** First height at which the chain has forgotten the key, and nobody can ask for its receipts. */
function deletedAt(record: NodeKeyRecord, { config: { params } }: NodeChainView): number {
  const { keyDrain, evidenceWindow, challengeWindow } = params;
  return closingAt(record) + Math.max(keyDrain, evidenceWindow + 4 * challengeWindow);
}
