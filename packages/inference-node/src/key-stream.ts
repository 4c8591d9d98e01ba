/**
 * One node key and the gapless stream of receipts it signs: issuing, journalling, batches, proofs. It knows nothing of HTTP
 * or of the chain. A stream restored from the log of an earlier process signs statements, never receipts.
 */
import type { Ed25519Signer } from '@haca/platform';
import type { SealingKey } from '@haca/platform/sealing';
import { bytesEqual, merkleInclusionPath, merkleRoot, toHex } from '@haca/primitives';
import {
  type ChargeLine,
  type Credit,
  credit,
  type EvidenceEnvelope,
  encodeReceiptProof,
  RECEIPT,
  RECEIPTS_PER_BATCH_MAX,
  type Receipt,
  type RegistrationBinding,
  type RunningTotals,
  receiptLeafHash,
  type SignedObject,
  STATEMENT,
  type Statement,
  statementLeafHash,
  type Transaction,
  VOUCHER,
  type Voucher,
  ZERO_DIGEST,
} from '@haca/protocol';
import {
  decodeJournalEntry,
  encodeJournalEntry,
  type JournalEntry,
  type SentProof,
  type SentSettlement,
  sentProof,
  sentSettlement,
} from './journal.ts';
import { openMerkleLog } from './merkle-log.ts';
import { openReceiptIndex, type ReceiptIndex } from './receipt-index.ts';
import { openWriteAheadLog, WalCorruptError, type WriteAheadLog } from './write-ahead-log.ts';

export interface IssuedReceipt {
  readonly id: string;
  readonly receipt: SignedObject<Receipt>;
  readonly voucher: SignedObject<Voucher>;
}

/** Raw bodies of what a receipt is over. */
export interface Exchange {
  readonly request: Uint8Array;
  readonly response: Uint8Array;
}

/** How the claim of a `zk` batch ended. */
export interface ClaimEnding {
  readonly state: 'verified' | 'unpaid';
  readonly height: number;
  readonly txHash: Uint8Array | null;
  /** The record of the proof that was sent, and what making it took; null where there is none. */
  readonly proofPlace: number | null;
  readonly proveMs: number | null;
}

/** A batch that a block took. Its statement stays in the log, inside the transaction. */
export interface SettledBatch {
  readonly firstSeq: number;
  readonly count: number;
  readonly statementPlace: number;
  readonly txHash: Uint8Array;
  readonly height: number;
  /** Root over its receipts: part of the name of its claim. */
  readonly receiptsRoot: Uint8Array;
  /** Of a `zk` key; null while the claim is open. */
  ending: ClaimEnding | null;
}

export interface ReceiptView extends IssuedReceipt {
  readonly batch: SettledBatch | null;
}

export interface KeyIdentity {
  readonly chainId: string;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly keyEpoch: number;
  readonly signer: Ed25519Signer;
  readonly evidence: EvidenceEnvelope | null;
  /** Documents of its GPUs. */
  readonly gpuEvidence: readonly Uint8Array[];
  readonly binding: RegistrationBinding;
  /** What requests are sealed to; null for a key of an earlier process, which takes none any more. */
  readonly sealing: SealingKey | null;
  readonly modelIds: readonly Uint8Array[];
  /** The model of a `zk` key, and null for every other method. */
  readonly zkModelId: Uint8Array | null;
}

/** What a receipt says beyond its place in the stream. */
export type ReceiptContent = Omit<
  Receipt,
  'version' | 'chainId' | 'nodeId' | 'keyId' | 'keyEpoch' | 'seq' | 'prevReceiptHash' | 'running'
>;

export interface KeyStream {
  readonly identity: KeyIdentity;
  /** False for the stream of an earlier process. */
  readonly signsReceipts: boolean;
  /**
   * Takes the next place in the stream at once; the receipt may leave the node when `durable` is fulfilled. Throws, and
   * takes no place, if the content can't be a receipt.
   */
  readonly issue: (
    id: string,
    content: ReceiptContent,
    voucher: SignedObject<Voucher>,
    exchange?: Exchange,
  ) => { readonly receipt: SignedObject<Receipt>; readonly durable: Promise<void> };
  /** By id or hash; receipts that are not on disk yet do not exist. */
  readonly find: (idOrHash: string) => Promise<ReceiptView | undefined>;
  /** The charged receipt that was signed for exactly this voucher, if it is the newest of its lane. */
  readonly answeredBy: (voucher: SignedObject<Voucher>) => Promise<IssuedReceipt | undefined>;
  readonly lastSeq: () => number;
  readonly settledSeq: () => number;
  /** Hash of the last settled receipt, or undefined before the first. */
  readonly settledHead: () => Uint8Array | undefined;
  /** The oldest receipt that no block has. */
  readonly oldestUnsettled: () => IssuedReceipt | undefined;
  /** The newest charged receipt of each lane, until `forgetPaid`. */
  readonly unpaidHeads: () => Iterable<IssuedReceipt>;
  /** The lane was paid up to `atSeq`; nothing happens if it was charged more since. */
  readonly forgetPaid: (channelId: Uint8Array, lane: number, atSeq: number) => void;
  /** Signs a statement over the next unsettled receipts (at most `maxCount`; 0 for none) with these charge lines. */
  readonly signStatement: (maxCount: number, charges: readonly ChargeLine[]) => SignedObject<Statement>;
  /** Durable before the transaction is sent. There is one at a time. */
  readonly recordSent: (transaction: Transaction) => Promise<void>;
  readonly recordSettled: (txHash: Uint8Array, height: number) => Promise<void>;
  /** It never settled anything and never can. */
  readonly recordDropped: (txHash: Uint8Array) => Promise<void>;
  /** The settlement that was sent and of which nothing more is known. */
  readonly inFlight: () => SentSettlement | undefined;
  /** A receipt with its voucher and, for a `zk` key, what it is over; undefined where none is on disk. */
  readonly read: (
    seq: number,
  ) => Promise<(IssuedReceipt & { readonly exchange: Exchange | null }) | undefined>;
  /** Receipts of a `zk` key that are behind this number and not settled, oldest first. */
  readonly unsettled: () => readonly IssuedReceipt[];
  /** Settled batches of a `zk` key whose claim is not known to have ended, oldest first. */
  readonly openClaims: () => readonly SettledBatch[];
  /** Every settled batch. */
  readonly batches: () => readonly SettledBatch[];
  /** Durable before the transaction is sent. There is one at a time, beside a settlement. */
  readonly recordProofSent: (firstSeq: number, transaction: Transaction, proveMs: number) => Promise<void>;
  readonly recordProofDropped: (txHash: Uint8Array) => Promise<void>;
  /** Verified by the transaction of this hash, or unpaid where it is null. */
  readonly recordClaimEnded: (firstSeq: number, txHash: Uint8Array | null, height: number) => Promise<void>;
  readonly proofInFlight: () => SentProof | undefined;
  /** The transaction that proved a batch, as it was sent. */
  readonly proofTransaction: (batch: SettledBatch) => Promise<Uint8Array | null>;
  /** Shows that a settled receipt is in the key's log as it stands now; null before. */
  readonly proof: (seq: number) => Promise<Uint8Array | null>;
  readonly failure: () => Error | undefined;
  readonly close: () => Promise<void>;
}

/** Everything a stream remembers. Rebuilt from the log by the same steps that made it. */
interface StreamState {
  readonly index: ReceiptIndex;
  /** Receipts behind the settled ones, in order. */
  readonly unsettled: IssuedReceipt[];
  /** By lane: its newest charged receipt while that is unpaid, and the number of the newest one, paid or not. */
  readonly unpaid: Map<string, IssuedReceipt>;
  readonly laneHeads: Map<string, number>;
  readonly batches: SettledBatch[];
  readonly statements: ReturnType<typeof openMerkleLog>;
  last: SignedObject<Receipt> | null;
  inFlight: { readonly sent: SentSettlement; readonly place: number } | null;
  proofInFlight: { readonly sent: SentProof; readonly place: number } | null;
}

export async function openKeyStream(
  identity: KeyIdentity,
  logFile: string,
  signsReceipts: boolean,
): Promise<KeyStream> {
  const state: StreamState = {
    index: openReceiptIndex(),
    unsettled: [],
    unpaid: new Map(),
    laneHeads: new Map(),
    batches: [],
    statements: openMerkleLog(),
    last: null,
    inFlight: null,
    proofInFlight: null,
  };
  const log = await openWriteAheadLog(logFile, (record, place) => {
    replay(state, decodeJournalEntry(record), place, logFile);
  });
  return streamOver(identity, state, log, signsReceipts);
}

function replay(state: StreamState, entry: JournalEntry, place: number, logFile: string): void {
  switch (entry.kind) {
    case 'receipt': {
      addReceipt(state, issuedFrom(entry));
      state.index.place(state.index.count(), place);
      return;
    }
    case 'sent':
      state.inFlight = { sent: sentSettlement(entry.transaction), place };
      return;
    case 'settled':
    case 'dropped': {
      const flight = state.inFlight;
      if (flight === null || !bytesEqual(flight.sent.txHash, entry.txHash)) {
        throw new WalCorruptError(`${logFile} ends a settlement at byte ${place} that it did not begin`);
      }
      if (entry.kind === 'settled') addSettled(state, entry.height);
      else state.inFlight = null;
      return;
    }
    case 'proof-sent':
      state.proofInFlight = { sent: sentProof(entry), place };
      return;
    case 'proof-dropped':
      state.proofInFlight = null;
      return;
    case 'claim-ended':
      endClaim(state, entry, logFile, place);
  }
}

function endClaim(
  state: StreamState,
  { firstSeq, txHash, height }: Omit<Extract<JournalEntry, { readonly kind: 'claim-ended' }>, 'kind'>,
  logFile: string,
  place: number,
): void {
  const batch = state.batches.findLast((each) => each.firstSeq === firstSeq);
  if (batch === undefined || batch.ending !== null) {
    throw new WalCorruptError(`${logFile} ends a claim at byte ${place} that is not open`);
  }
  const flight = state.proofInFlight?.sent.firstSeq === firstSeq ? state.proofInFlight : null;
  const isProved = txHash !== null && flight !== null && bytesEqual(flight.sent.txHash, txHash);
  batch.ending = {
    state: txHash === null ? 'unpaid' : 'verified',
    height,
    txHash,
    proofPlace: isProved ? flight.place : null,
    proveMs: isProved ? flight.sent.proveMs : null,
  };
  if (flight !== null) state.proofInFlight = null;
  if (txHash !== null) return;
  // What was not proved is never paid.
  for (const [name, { receipt }] of state.unpaid) {
    const { seq } = receipt.value;
    if (seq >= firstSeq && seq < firstSeq + batch.count) state.unpaid.delete(name);
  }
}

function issuedFrom(entry: Extract<JournalEntry, { readonly kind: 'receipt' }>): IssuedReceipt {
  return { id: entry.id, receipt: RECEIPT.decode(entry.receipt), voucher: VOUCHER.decode(entry.voucher) };
}

function laneName(channelId: Uint8Array, lane: number): string {
  return `${toHex(channelId)}/${lane}`;
}

function addReceipt(state: StreamState, issued: IssuedReceipt): void {
  const { value, hash } = issued.receipt;
  state.index.add(issued.id, hash);
  state.unsettled.push(issued);
  state.last = issued.receipt;
  if (value.amount === 0n) return;
  const name = laneName(value.channelId, value.lane);
  state.unpaid.set(name, issued);
  state.laneHeads.set(name, value.seq);
}

/** The settlement in flight is in a block. */
function addSettled(state: StreamState, height: number): void {
  if (state.inFlight === null) return;
  const { sent, place } = state.inFlight;
  const { batch } = sent.statement.value;
  state.inFlight = null;
  if (batch === null) return;
  state.unsettled.splice(0, batch.count);
  state.statements.append(statementLeafHash(sent.statement.hash));
  const { firstSeq, count, receiptsRoot } = batch;
  const { txHash } = sent;
  state.batches.push({ firstSeq, count, statementPlace: place, txHash, height, receiptsRoot, ending: null });
}

function streamOver(
  identity: KeyIdentity,
  state: StreamState,
  log: WriteAheadLog,
  signsReceipts: boolean,
): KeyStream {
  const { index, unsettled, unpaid } = state;
  const settledSeq = (): number => index.count() - unsettled.length;
  const end = async (kind: 'settled' | 'dropped', txHash: Uint8Array, height: number): Promise<void> => {
    if (state.inFlight === null || !bytesEqual(state.inFlight.sent.txHash, txHash)) {
      throw new Error('only the settlement in flight can end');
    }
    const entry = kind === 'settled' ? ({ kind, txHash, height } as const) : ({ kind, txHash } as const);
    const durable = log.append(encodeJournalEntry(entry));
    if (kind === 'settled') addSettled(state, height);
    else state.inFlight = null;
    await durable;
  };
  return {
    identity,
    signsReceipts,
    issue: (id, content, voucher, exchange) => {
      if (!signsReceipts) throw new Error('a key signs receipts only in the process that made it');
      const receipt = signReceipt(identity, state, content);
      const entry = {
        kind: 'receipt',
        id,
        receipt: receipt.bytes,
        voucher: voucher.bytes,
        ...(exchange === undefined ? {} : { exchange }),
      } as const;
      const record = encodeJournalEntry(entry);
      addReceipt(state, { id, receipt, voucher });
      const durable = log.append(record).then((place) => index.place(receipt.value.seq, place));
      return { receipt, durable };
    },
    find: async (idOrHash) => {
      const issued = await readReceipt(log, index, index.seqOf(idOrHash) ?? 0);
      if (issued === undefined) return undefined;
      return { ...issued, batch: batchOf(state.batches, issued.receipt.value.seq) ?? null };
    },
    answeredBy: async (voucher) => {
      const head = state.laneHeads.get(laneName(voucher.value.channelId, voucher.value.lane));
      const issued = await readReceipt(log, index, head ?? 0);
      return issued !== undefined && bytesEqual(issued.voucher.bytes, voucher.bytes) ? issued : undefined;
    },
    lastSeq: index.count,
    settledSeq,
    settledHead: () => (settledSeq() === 0 ? undefined : new Uint8Array(index.hashAt(settledSeq()))),
    oldestUnsettled: () => unsettled[0],
    unpaidHeads: () => unpaid.values(),
    forgetPaid: (channelId, lane, atSeq) => {
      const name = laneName(channelId, lane);
      if ((unpaid.get(name)?.receipt.value.seq ?? 0) <= atSeq) unpaid.delete(name);
    },
    signStatement: (maxCount, charges) => {
      const batch = unsettled.slice(0, Math.min(maxCount, RECEIPTS_PER_BATCH_MAX));
      const { chainId, keyId, signer } = identity;
      return STATEMENT.sign(
        { version: 1, chainId, keyId, batch: batch.length === 0 ? null : batchOver(batch, index), charges },
        signer.sign,
      );
    },
    recordSent: async ({ bytes }) => {
      if (state.inFlight !== null) throw new Error('one settlement of a key is in flight at a time');
      const sent = sentSettlement(bytes);
      const place = await log.append(encodeJournalEntry({ kind: 'sent', transaction: bytes }));
      state.inFlight = { sent, place };
    },
    recordSettled: (txHash, height) => end('settled', txHash, height),
    recordDropped: (txHash) => end('dropped', txHash, 0),
    inFlight: () => state.inFlight?.sent,
    read: (seq) => readWithExchange(log, index, seq),
    unsettled: () => unsettled,
    openClaims: () => openClaimsOf(identity, state),
    batches: () => state.batches,
    recordProofSent: async (firstSeq, { bytes }, proveMs) => {
      if (state.proofInFlight !== null) throw new Error('one proof of a key is in flight at a time');
      const entry = { kind: 'proof-sent', firstSeq, transaction: bytes, proveMs } as const;
      const place = await log.append(encodeJournalEntry(entry));
      state.proofInFlight = { sent: sentProof(entry), place };
    },
    recordProofDropped: async (txHash) => {
      await log.append(encodeJournalEntry({ kind: 'proof-dropped', txHash }));
      state.proofInFlight = null;
    },
    recordClaimEnded: async (firstSeq, txHash, height) => {
      const entry = { kind: 'claim-ended', firstSeq, txHash, height } as const;
      const place = await log.append(encodeJournalEntry(entry));
      endClaim(state, entry, 'the log', place);
    },
    proofInFlight: () => state.proofInFlight?.sent,
    proofTransaction: async ({ ending }) => {
      if (ending === null || ending.proofPlace === null) return null;
      const entry = decodeJournalEntry(await log.read(ending.proofPlace));
      return entry.kind === 'proof-sent' ? entry.transaction : null;
    },
    proof: async (seq) => {
      const batch = batchOf(state.batches, seq);
      return batch === undefined ? null : proofOf(state, log, batch, seq);
    },
    failure: log.failure,
    close: log.close,
  };
}

/** Batches are few and end in order: what is open lies at the end. */
function openClaimsOf({ zkModelId }: KeyIdentity, { batches }: StreamState): readonly SettledBatch[] {
  if (zkModelId === null) return [];
  let first = batches.length;
  while (first > 0 && (batches[first - 1] as SettledBatch).ending === null) first--;
  return batches.slice(first);
}

async function readWithExchange(log: WriteAheadLog, index: ReceiptIndex, seq: number) {
  const place = index.placeOf(seq);
  if (place === undefined) return undefined;
  const entry = decodeJournalEntry(await log.read(place));
  if (entry.kind !== 'receipt') throw new WalCorruptError(`receipt ${seq} is no longer at byte ${place}`);
  return { ...issuedFrom(entry), exchange: entry.exchange ?? null };
}

function signReceipt(
  { chainId, nodeId, keyId, keyEpoch, signer }: KeyIdentity,
  { last, index }: StreamState,
  content: ReceiptContent,
): SignedObject<Receipt> {
  return RECEIPT.sign(
    {
      version: 1,
      chainId,
      nodeId,
      keyId,
      keyEpoch,
      seq: index.count() + 1,
      prevReceiptHash: last?.hash ?? ZERO_DIGEST,
      ...content,
      running: addTo(last?.value.running ?? [], content.asset, content.amount),
    },
    signer.sign,
  );
}

function addTo(running: RunningTotals, asset: number, amount: Credit): RunningTotals {
  const before = running.find(([id]) => id === asset)?.[1] ?? 0n;
  const others = running.filter(([id]) => id !== asset);
  return [...others, [asset, credit(before + amount)] as const].sort(([a], [b]) => a - b);
}

async function readReceipt(
  log: WriteAheadLog,
  index: ReceiptIndex,
  seq: number,
): Promise<IssuedReceipt | undefined> {
  const place = index.placeOf(seq);
  if (place === undefined) return undefined;
  const entry = decodeJournalEntry(await log.read(place));
  const issued = entry.kind === 'receipt' ? issuedFrom(entry) : undefined;
  if (issued === undefined || !bytesEqual(issued.receipt.hash, index.hashAt(seq))) {
    throw new WalCorruptError(`receipt ${seq} is no longer at byte ${place} of its log`);
  }
  return issued;
}

function batchOver(batch: readonly IssuedReceipt[], index: ReceiptIndex): NonNullable<Statement['batch']> {
  const { value: first } = (batch[0] as IssuedReceipt).receipt;
  const { value: last, hash: lastReceiptHash } = (batch[batch.length - 1] as IssuedReceipt).receipt;
  return {
    firstSeq: first.seq,
    count: batch.length,
    prevReceiptHash: first.seq === 1 ? ZERO_DIGEST : new Uint8Array(index.hashAt(first.seq - 1)),
    lastReceiptHash,
    receiptsRoot: merkleRoot(batch.map(({ receipt }) => receiptLeafHash(receipt.hash))),
    running: last.running,
  };
}

/** Batches are ascending and without gaps. */
function batchOf(batches: readonly SettledBatch[], seq: number): SettledBatch | undefined {
  let low = 0;
  let high = batches.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const batch = batches[middle] as SettledBatch;
    if (seq < batch.firstSeq) high = middle - 1;
    else if (seq >= batch.firstSeq + batch.count) low = middle + 1;
    else return batch;
  }
  return undefined;
}

async function proofOf(
  { index, batches, statements }: StreamState,
  log: WriteAheadLog,
  batch: SettledBatch,
  seq: number,
): Promise<Uint8Array | null> {
  const issued = await readReceipt(log, index, seq);
  const entry = decodeJournalEntry(await log.read(batch.statementPlace));
  if (issued === undefined || entry.kind !== 'sent') return null;
  const leaves = Array.from({ length: batch.count }, (_, i) =>
    receiptLeafHash(index.hashAt(batch.firstSeq + i)),
  );
  // No await from here on: path and size have to be of one moment.
  const logIndex = batches.indexOf(batch);
  return encodeReceiptProof({
    version: 1,
    receipt: issued.receipt.bytes,
    receiptPath: merkleInclusionPath(leaves, seq - batch.firstSeq),
    statement: sentSettlement(entry.transaction).statement.bytes,
    logIndex,
    logSize: statements.size(),
    logPath: statements.path(logIndex),
  });
}
