/**
 * Accounts for everything a network did: what its nodes promised (their logs), what its clients hold (their answers) and what
 * the chain did (its blocks and its proven records) have to be one story.
 */
import { copyFileSync, globSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJournalEntry, openWriteAheadLog } from '@haca/inference-node';
import { connectRpc, nodeCrypto } from '@haca/platform';
import { decode, fromHex, toHex } from '@haca/primitives';
import {
  allocationRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  RECEIPT,
  type Receipt,
  recordKey,
  type SignedObject,
  VOUCHER,
  type Voucher,
  verifyReceiptProof,
} from '@haca/protocol';
import { type Answer, connectNode, type Haca } from '@haca/sdk/node';
import { openHistory, type Payment, type Settlement } from './history.ts';
import type { TestNetwork } from './network.ts';

export interface AuditReport {
  /** Receipts in the nodes' logs: everything they ever promised. */
  readonly receipts: number;
  /** Of those: settled on chain, and proven so by the light client. */
  readonly settled: number;
  readonly proven: number;
  readonly batches: number;
  readonly keys: number;
  readonly lanes: number;
  /** Base units of the fee asset: on the receipts, and by all payments. */
  readonly charged: bigint;
  readonly paid: bigint;
  /** Receipts that no client holds: the answer was cut off after it was promised. */
  readonly undelivered: number;
  readonly height: number;
  /** How long it took from the last request until everything was settled and paid. */
  readonly settledAfterMs: number;
  readonly violations: readonly string[];
}

interface Logged {
  readonly receipt: SignedObject<Receipt>;
  readonly voucher: SignedObject<Voucher>;
}

interface Ledger {
  /** Receipts by key, in order. */
  readonly logs: ReadonlyMap<string, readonly Logged[]>;
  readonly settlements: readonly Settlement[];
  readonly payments: readonly Payment[];
}

const SETTLE_TIMEOUT_MS = 60_000;
const POLL_MS = 250;

/** Waits until the chain has everything that the logs hold, then checks all of it. `haca` reads proven records. */
export async function auditNetwork(
  network: TestNetwork,
  haca: Haca,
  answers: readonly Answer[],
): Promise<AuditReport> {
  const startedAt = performance.now();
  const rpc = connectRpc(network.rpcUrl);
  const history = openHistory(rpc);
  let ledger: Ledger;
  for (;;) {
    await history.advance();
    ledger = { ...history, logs: await readLogs(network) };
    const isLate = performance.now() - startedAt > SETTLE_TIMEOUT_MS;
    if (outstanding(ledger).length === 0 || isLate) break;
    await new Promise((settle) => setTimeout(settle, POLL_MS));
  }
  const settledAfterMs = performance.now() - startedAt;
  const violations = [
    ...outstanding(ledger),
    ...checkLogs(ledger),
    ...checkSettlements(ledger),
    ...checkPayments(ledger),
    ...checkAnswers(ledger, answers),
    ...(await checkAllocations(ledger, haca)),
    ...(await checkInvariants(rpc)),
  ];
  const proofs = await proveReceipts(network, ledger, haca);
  rpc.close();
  const receipts = [...ledger.logs.values()].flat();
  const held = new Set(answers.map(({ receipt }) => toHex(receipt.hash)));
  const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n);
  return {
    receipts: receipts.length,
    settled: ledger.settlements.reduce((total, { firstSeq, lastSeq }) => total + lastSeq - firstSeq + 1, 0),
    proven: proofs.proven,
    batches: ledger.settlements.length,
    keys: ledger.logs.size,
    lanes: new Set(ledger.payments.map(laneOf)).size,
    charged: sum(receipts.map(({ receipt }) => receipt.value.amount)),
    paid: sum(ledger.payments.map(({ amount }) => amount)),
    undelivered: receipts.filter(({ receipt }) => !held.has(toHex(receipt.hash))).length,
    height: history.height(),
    settledAfterMs,
    violations: [...violations, ...proofs.violations],
  };
}

/** The logs as they are on disk now, of running nodes too: an unfinished last record promises nothing. */
async function readLogs(network: TestNetwork): Promise<ReadonlyMap<string, readonly Logged[]>> {
  const logs = new Map<string, readonly Logged[]>();
  const copy = join(network.home, 'copy.wal');
  for (const index of network.nodes.keys()) {
    for (const file of globSync(join(network.dataDir(index), '**/*.wal'))) {
      const logged: Logged[] = [];
      copyFileSync(file, copy);
      const log = await openWriteAheadLog(copy, (bytes) => {
        const entry = decodeJournalEntry(bytes);
        if (entry.kind !== 'receipt') return;
        logged.push({ receipt: RECEIPT.decode(entry.receipt), voucher: VOUCHER.decode(entry.voucher) });
      });
      await log.close();
      rmSync(copy);
      const [first] = logged;
      if (first !== undefined) logs.set(toHex(first.receipt.value.keyId), logged);
    }
  }
  return logs;
}

type LaneName = Pick<Payment, 'keyId' | 'channelId' | 'lane'>;

function laneOf({ keyId, channelId, lane }: LaneName): string {
  return `${keyId}/${channelId}/${lane}`;
}

/** What each lane was charged in total, by its last receipt that cost something. */
function chargedByLane({ logs }: Ledger): ReadonlyMap<string, bigint> {
  const charged = new Map<string, bigint>();
  for (const { receipt } of [...logs.values()].flat()) {
    const { keyId, channelId, lane, amount, cumulative } = receipt.value;
    if (amount === 0n) continue;
    charged.set(laneOf({ keyId: toHex(keyId), channelId: toHex(channelId), lane }), cumulative);
  }
  return charged;
}

function paidByLane({ payments }: Ledger): ReadonlyMap<string, bigint> {
  const paid = new Map<string, bigint>();
  for (const payment of payments) {
    paid.set(laneOf(payment), (paid.get(laneOf(payment)) ?? 0n) + payment.amount);
  }
  return paid;
}

/** What was promised and is not on chain (yet). */
function outstanding(ledger: Ledger): string[] {
  const settled = new Map<string, number>();
  for (const { keyId, lastSeq } of ledger.settlements) settled.set(keyId, lastSeq);
  const paid = paidByLane(ledger);
  const unsettled = [...ledger.logs].flatMap(([keyId, logged]) => {
    const lastSeq = settled.get(keyId) ?? 0;
    return lastSeq >= logged.length ? [] : [`key ${keyId}: settled ${lastSeq} of ${logged.length} receipts`];
  });
  const unpaid = [...chargedByLane(ledger)].flatMap(([lane, charged]) => {
    const amount = paid.get(lane) ?? 0n;
    return amount >= charged ? [] : [`lane ${lane}: paid ${amount} of ${charged}`];
  });
  return [...unsettled, ...unpaid];
}

/** Each log is one gapless chain of receipts, and each lane in it only grows by what its receipts say. */
function checkLogs({ logs }: Ledger): string[] {
  const violations: string[] = [];
  for (const [keyId, logged] of logs) {
    const lanes = new Map<string, bigint>();
    logged.forEach(({ receipt, voucher }, i) => {
      const { seq, prevReceiptHash, channelId, lane, amount, cumulative } = receipt.value;
      const before = logged[i - 1];
      const follows = before === undefined || toHex(before.receipt.hash) === toHex(prevReceiptHash);
      if (seq !== i + 1 || !follows) violations.push(`key ${keyId}: receipt ${seq} does not follow ${i}`);
      const name = laneOf({ keyId, channelId: toHex(channelId), lane });
      const charged = (lanes.get(name) ?? 0n) + amount;
      lanes.set(name, charged);
      if (charged !== cumulative)
        violations.push(`lane ${name}: receipt ${seq} says ${cumulative}, adds to ${charged}`);
      if (cumulative > voucher.value.cumulative)
        violations.push(`lane ${name}: receipt ${seq} exceeds its voucher`);
    });
  }
  return violations;
}

/** The settled ranges of a key follow each other without gap or overlap, and end where its log ends. */
function checkSettlements({ settlements, logs }: Ledger): string[] {
  const next = new Map<string, number>();
  const violations = settlements.flatMap(({ keyId, firstSeq, lastSeq, height }) => {
    const expected = next.get(keyId) ?? 1;
    next.set(keyId, lastSeq + 1);
    return firstSeq === expected && lastSeq >= firstSeq
      ? []
      : [`key ${keyId}: block ${height} settled ${firstSeq}..${lastSeq} where ${expected} was next`];
  });
  for (const [keyId, expected] of next) {
    const count = logs.get(keyId)?.length ?? 0;
    if (expected - 1 > count)
      violations.push(`key ${keyId}: settled to ${expected - 1}, its log has ${count}`);
  }
  return violations;
}

/** Payments of a lane are adjoining intervals from zero to what was charged: nothing twice, nothing left out. */
function checkPayments(ledger: Ledger): string[] {
  const reached = new Map<string, bigint>();
  const violations = ledger.payments.flatMap((payment) => {
    const { from, to, amount } = payment;
    const before = reached.get(laneOf(payment)) ?? 0n;
    reached.set(laneOf(payment), to);
    return from === before && to > from && amount === to - from
      ? []
      : [`lane ${laneOf(payment)}: paid ${amount} for ${from}..${to} after ${before}`];
  });
  const charged = chargedByLane(ledger);
  for (const [lane, to] of reached) {
    if (to !== charged.get(lane))
      violations.push(`lane ${lane}: paid ${to}, charged ${charged.get(lane) ?? 0n}`);
  }
  return violations;
}

/** Whatever a client was given with a receipt, the node's log has too. */
function checkAnswers({ logs }: Ledger, answers: readonly Answer[]): string[] {
  const logged = new Set([...logs.values()].flat().map(({ receipt }) => toHex(receipt.hash)));
  return answers.flatMap(({ id, receipt }) =>
    logged.has(toHex(receipt.hash)) ? [] : [`answer ${id}: its receipt is in no log`],
  );
}

/** The chain's proven record of each allocation says what the payments add up to. */
async function checkAllocations({ payments }: Ledger, haca: Haca): Promise<string[]> {
  const paid = new Map<string, bigint>();
  for (const { channelId, nodeId, amount } of payments) {
    paid.set(`${channelId}/${nodeId}`, (paid.get(`${channelId}/${nodeId}`) ?? 0n) + amount);
  }
  await haca.chain.sync();
  const violations: string[] = [];
  for (const [name, amount] of paid) {
    const [channelId, nodeId] = name.split('/').map((id) => fromHex(id)) as [Uint8Array, Uint8Array];
    const { value } = await haca.chain.record(recordKey.allocation(channelId, nodeId));
    const recorded = value === null ? null : decode(allocationRecordCodec, value, 'allocation').paid;
    if (recorded !== amount)
      violations.push(`allocation ${name}: record says ${recorded}, payments ${amount}`);
  }
  return violations;
}

/** Every receipt is shown to be in the key's proven record by a proof from its node. */
async function proveReceipts(
  network: TestNetwork,
  { logs }: Ledger,
  haca: Haca,
): Promise<{ readonly proven: number; readonly violations: readonly string[] }> {
  const nodes = network.nodes.map(({ ready }) => ({
    nodeId: String(ready()['nodeId']),
    api: connectNode(String(ready()['url']), fetch),
  }));
  const violations: string[] = [];
  let proven = 0;
  for (const [keyId, logged] of logs) {
    const { value } = await haca.chain.record(recordKey.nodeKey(fromHex(keyId)));
    const key: NodeKeyRecord | null = value === null ? null : decode(nodeKeyRecordCodec, value, 'key');
    for (const { receipt } of logged) {
      const api = nodes.find(({ nodeId }) => nodeId === toHex(receipt.value.nodeId))?.api;
      const status = await api?.receipt(toHex(receipt.hash)).catch((error: unknown) => error);
      const problem = receiptProblem(receipt, key, status);
      if (problem === null) proven++;
      else violations.push(`key ${keyId}: receipt ${receipt.value.seq}: ${problem}`);
    }
  }
  return { proven, violations };
}

function receiptProblem(
  receipt: SignedObject<Receipt>,
  key: NodeKeyRecord | null,
  status: unknown,
): string | null {
  if (key === null) return 'its key is not on chain';
  if (status instanceof Error) return status.message;
  const { proof, state } = status as Awaited<ReturnType<ReturnType<typeof connectNode>['receipt']>>;
  if (proof === null) return `its node has no proof: ${state}`;
  const { ok, checks } = verifyReceiptProof(nodeCrypto, proof.value, key, receipt.hash);
  return ok ? null : checks.map(({ id, status: outcome }) => `${id} ${outcome}`).join(', ');
}

async function checkInvariants(rpc: ReturnType<typeof connectRpc>): Promise<string[]> {
  const { value } = await rpc.query('/invariants', new Uint8Array(0));
  const report = JSON.parse(new TextDecoder().decode(value)) as { enabled: boolean; ok: boolean };
  return report.enabled && report.ok ? [] : [`invariants: ${JSON.stringify(report)}`];
}
