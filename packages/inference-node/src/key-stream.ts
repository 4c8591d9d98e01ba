/**
 * One node key and the gapless stream of receipts it signs: issuing, journalling, batches, proofs. It knows nothing of HTTP
 * or transactions. A stream restored from the log of an earlier process signs statements, never receipts.
 */
import type { Ed25519Signer } from '@haca/platform';
import { merkleInclusionPath, merkleRoot, toHex } from '@haca/primitives';
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
  VOUCHER,
  type Voucher,
  ZERO_DIGEST,
} from '@haca/protocol';
import { decodeJournalEntry, encodeJournalEntry } from './journal.ts';
import type { WriteAheadLog } from './write-ahead-log.ts';

export interface IssuedReceipt {
  readonly id: string;
  readonly receipt: SignedObject<Receipt>;
  readonly voucher: SignedObject<Voucher>;
  readonly issuedAtMs: number;
}

export interface SettledBatch {
  readonly firstSeq: number;
  readonly count: number;
  readonly statement: SignedObject<Statement>;
  readonly txHash: Uint8Array;
  readonly height: number;
}

export type ReceiptState = 'executed' | 'settled' | 'verified' | 'final';

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
  readonly binding: RegistrationBinding;
  readonly modelIds: readonly Uint8Array[];
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
  /** Takes the next place in the stream at once; the receipt may leave the node when `durable` is fulfilled. */
  readonly issue: (
    id: string,
    content: ReceiptContent,
    voucher: SignedObject<Voucher>,
  ) => {
    readonly receipt: SignedObject<Receipt>;
    readonly durable: Promise<void>;
  };
  readonly byId: (idOrHash: string) => ReceiptView | undefined;
  readonly receiptAt: (seq: number) => IssuedReceipt | undefined;
  readonly lastSeq: () => number;
  readonly settledSeq: () => number;
  /** Issue time of the oldest receipt that no block has, or undefined. */
  readonly oldestUnsettledMs: () => number | undefined;
  /** Signs a statement over the next unsettled receipts (at most `maxCount`; 0 for none) with these charge lines. */
  readonly signStatement: (maxCount: number, charges: readonly ChargeLine[]) => SignedObject<Statement>;
  /** Durable before the statement is sent. */
  readonly recordSent: (statement: SignedObject<Statement>, txHash: Uint8Array) => Promise<void>;
  readonly recordSettled: (
    statement: SignedObject<Statement>,
    txHash: Uint8Array,
    height: number,
  ) => Promise<void>;
  /** Statements that were sent and of which nothing more is known: what a crash leaves. */
  readonly unresolved: () => readonly {
    readonly statement: SignedObject<Statement>;
    readonly txHash: Uint8Array;
  }[];
  readonly forgetUnresolved: (txHash: Uint8Array) => void;
  /** Shows that a settled receipt is in the key's log as it stands now; null before. */
  readonly proof: (seq: number) => Uint8Array | null;
  readonly close: () => Promise<void>;
}

export function openKeyStream(
  identity: KeyIdentity,
  log: WriteAheadLog,
  records: readonly Uint8Array[],
  signsReceipts: boolean,
): KeyStream {
  const receipts: IssuedReceipt[] = [];
  const byName = new Map<string, IssuedReceipt>();
  const batches: SettledBatch[] = [];
  const pending = new Map<string, { statement: SignedObject<Statement>; txHash: Uint8Array }>();

  const add = (issued: IssuedReceipt): void => {
    receipts.push(issued);
    byName.set(issued.id, issued);
    byName.set(toHex(issued.receipt.hash), issued);
  };
  const addSettled = (statement: SignedObject<Statement>, txHash: Uint8Array, height: number): void => {
    const { batch } = statement.value;
    pending.delete(toHex(txHash));
    if (batch === null) return;
    batches.push({ firstSeq: batch.firstSeq, count: batch.count, statement, txHash, height });
  };
  for (const record of records) {
    const entry = decodeJournalEntry(record);
    if (entry.kind === 'receipt') {
      const receipt = RECEIPT.decode(entry.receipt);
      const issuedAtMs = receipt.value.completedAtMs;
      add({ id: entry.id, receipt, voucher: VOUCHER.decode(entry.voucher), issuedAtMs });
    } else if (entry.kind === 'sent') {
      pending.set(toHex(entry.txHash), {
        statement: STATEMENT.decode(entry.statement),
        txHash: entry.txHash,
      });
    } else {
      const sent = pending.get(toHex(entry.txHash));
      if (sent !== undefined) addSettled(sent.statement, entry.txHash, entry.height);
    }
  }

  const settledSeq = (): number => {
    const last = batches.at(-1);
    return last === undefined ? 0 : last.firstSeq + last.count - 1;
  };
  const { chainId, nodeId, keyId, keyEpoch, signer } = identity;

  return {
    identity,
    signsReceipts,
    issue: (id, content, voucher) => {
      if (!signsReceipts) throw new Error('a key signs receipts only in the process that made it');
      const previous = receipts.at(-1)?.receipt;
      const receipt = RECEIPT.sign(
        {
          version: 1,
          chainId,
          nodeId,
          keyId,
          keyEpoch,
          seq: receipts.length + 1,
          prevReceiptHash: previous?.hash ?? ZERO_DIGEST,
          ...content,
          running: addTo(previous?.value.running ?? [], content.asset, content.amount),
        },
        signer.sign,
      );
      add({ id, receipt, voucher, issuedAtMs: content.completedAtMs });
      const entry = encodeJournalEntry({
        kind: 'receipt',
        id,
        receipt: receipt.bytes,
        voucher: voucher.bytes,
      });
      return { receipt, durable: log.append(entry) };
    },
    byId: (idOrHash) => {
      const issued = byName.get(idOrHash);
      return issued === undefined
        ? undefined
        : { ...issued, batch: batchOf(batches, issued.receipt.value.seq) ?? null };
    },
    receiptAt: (seq) => receipts[seq - 1],
    lastSeq: () => receipts.length,
    settledSeq,
    oldestUnsettledMs: () => receipts[settledSeq()]?.issuedAtMs,
    signStatement: (maxCount, charges) => {
      const first = settledSeq();
      const batch = receipts.slice(first, first + Math.min(maxCount, RECEIPTS_PER_BATCH_MAX));
      return STATEMENT.sign(
        {
          version: 1,
          chainId,
          keyId,
          batch: batch.length === 0 ? null : batchOver(batch, receipts[first - 1]),
          charges,
        },
        signer.sign,
      );
    },
    recordSent: (statement, txHash) => {
      pending.set(toHex(txHash), { statement, txHash });
      return log.append(encodeJournalEntry({ kind: 'sent', statement: statement.bytes, txHash }));
    },
    recordSettled: (statement, txHash, height) => {
      addSettled(statement, txHash, height);
      return log.append(encodeJournalEntry({ kind: 'settled', txHash, height }));
    },
    unresolved: () => [...pending.values()],
    forgetUnresolved: (txHash) => {
      pending.delete(toHex(txHash));
    },
    proof: (seq) => {
      const batch = batchOf(batches, seq);
      const issued = receipts[seq - 1];
      return batch === undefined || issued === undefined ? null : proofOf(issued, batch, batches, receipts);
    },
    close: log.close,
  };
}

function addTo(running: RunningTotals, asset: number, amount: Credit): RunningTotals {
  const before = running.find(([id]) => id === asset)?.[1] ?? 0n;
  const others = running.filter(([id]) => id !== asset);
  return [...others, [asset, credit(before + amount)] as const].sort(([a], [b]) => a - b);
}

function batchOver(
  batch: readonly IssuedReceipt[],
  before: IssuedReceipt | undefined,
): NonNullable<Statement['batch']> {
  const first = batch[0] as IssuedReceipt;
  const last = batch[batch.length - 1] as IssuedReceipt;
  return {
    firstSeq: first.receipt.value.seq,
    count: batch.length,
    prevReceiptHash: before?.receipt.hash ?? ZERO_DIGEST,
    lastReceiptHash: last.receipt.hash,
    receiptsRoot: merkleRoot(batch.map(({ receipt }) => receiptLeafHash(receipt.hash))),
    running: last.receipt.value.running,
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

function proofOf(
  issued: IssuedReceipt,
  batch: SettledBatch,
  batches: readonly SettledBatch[],
  receipts: readonly IssuedReceipt[],
): Uint8Array {
  const leaves = receipts
    .slice(batch.firstSeq - 1, batch.firstSeq - 1 + batch.count)
    .map(({ receipt }) => receiptLeafHash(receipt.hash));
  const logLeaves = batches.map(({ statement }) => statementLeafHash(statement.hash));
  const logIndex = batches.indexOf(batch);
  return encodeReceiptProof({
    version: 1,
    receipt: issued.receipt.bytes,
    receiptPath: merkleInclusionPath(leaves, issued.receipt.value.seq - batch.firstSeq),
    statement: batch.statement.bytes,
    logIndex,
    logSize: logLeaves.length,
    logPath: merkleInclusionPath(logLeaves, logIndex),
  });
}
