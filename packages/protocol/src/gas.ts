/**
 * Verification gas: 1 gas is 1 byte of transaction or about 1 microsecond of the reference core. It is a function of the
 * transaction's bytes alone, known before any work starts. Table and measurement: spec/gas.md.
 */
import { encode, UsageError } from '@haca/primitives';
import { type Collateral, collateralCodec } from './collateral.ts';
import type { DecreeAction } from './decree.ts';
import type { EvidenceKind } from './registration.ts';
import type { Op, Transaction } from './transaction.ts';
import { zkBatchIndex } from './zk-limits.ts';

export const GAS = {
  transaction: 100,
  byte: 1,
  ed25519: 110,
  rowWrite: 18,
  temporaryRow: 300,
  permanentRow: 3_000,
  logAppend: 5,
  nitro: 5_000,
  tdx: 1_100,
  sgx: 1_100,
  snp: 1_100,
  nvidia: 5_300,
  dstack: 1_300,
  azure: 1_300,
  /** A piece of collateral: four signatures, and reading it. */
  collateral: 1_500,
  /** Checking a verifying key: for the key, for each tensor, and for each op in each batch size that has a cost of its own. */
  verifyingKey: 5_000,
  verifyingKeyTensor: 40,
  verifyingKeyOp: 40,
} as const satisfies Readonly<Record<string, number>>;

export function evidenceGas(kind: EvidenceKind): number {
  return GAS[kind];
}

/** All gas of a transaction. */
export function transactionGas(transaction: Transaction): number {
  const signatures = transaction.feePayerSignature === null ? 1 : 2;
  let gas = GAS.transaction + transaction.bytes.length * GAS.byte + signatures * GAS.ed25519;
  for (const op of transaction.body.ops) gas += opGas(op);
  return gas;
}

function opGas(op: Op): number {
  switch (op.kind) {
    case 'transfer-opg':
    case 'transfer-credit':
    case 'issue':
      // The receiving account may be new, and account rows are never deleted.
      return 2 * GAS.rowWrite + GAS.permanentRow;
    case 'retire':
      return 2 * GAS.rowWrite;
    case 'open-channel':
      return 2 * GAS.rowWrite + GAS.permanentRow;
    case 'register-model':
      return modelGas(op);
    case 'register-node':
      // The node, and a payout account that may be new.
      return 3 * GAS.rowWrite + 2 * GAS.permanentRow;
    case 'update-node':
      return 2 * GAS.rowWrite + GAS.permanentRow;
    case 'register-session':
    case 'allocate':
      return 2 * GAS.rowWrite + GAS.temporaryRow;
    case 'release':
      return 2 * GAS.rowWrite + GAS.ed25519;
    case 'deposit':
    case 'revoke-session':
    case 'request-withdraw':
    case 'finalize-withdraw':
    case 'withdraw-free':
    case 'close-channel':
    case 'bond-node':
      return 2 * GAS.rowWrite;
    case 'unbond-node':
      // The entry, its place in the queue, and it may close keys.
      return 4 * GAS.rowWrite + GAS.temporaryRow;
    case 'close-key':
    case 'abandon-key':
      // Closing moves the key's two places in the queue.
      return 4 * GAS.rowWrite;
    case 'register-validator':
      // The account, the set and the validator, whose row keeps its key from ever being used again.
      return 3 * GAS.rowWrite + GAS.permanentRow + GAS.ed25519;
    case 'bond-validator':
      // The account, the validator, and the set where its power changes.
      return 3 * GAS.rowWrite;
    case 'unbond-validator':
      // The validator, the entry, its place in the queue, and the set.
      return 4 * GAS.rowWrite + GAS.temporaryRow;
    case 'claim-rewards':
      return 2 * GAS.rowWrite;
    case 'open-key':
      return (
        4 * GAS.rowWrite +
        GAS.temporaryRow +
        GAS.ed25519 +
        // What is kept of the documents has a row of its own.
        (op.evidence === null ? 0 : evidenceGas(op.evidence.kind) + GAS.rowWrite + GAS.temporaryRow) +
        // Each chip that evidence names has a row.
        hardwareRows(op) * (GAS.rowWrite + GAS.temporaryRow) +
        (op.gpuEvidence?.length ?? 0) * GAS.nvidia
      );
    case 'settle':
      return (
        GAS.ed25519 +
        GAS.rowWrite +
        GAS.logAppend +
        op.vouchers.length * CHARGE_LINE_GAS +
        (op.receipts === undefined ? 0 : CLAIM_GAS + lineReceiptsGas(op.receipts))
      );
    case 'decree':
      return (
        4 * GAS.rowWrite + op.signatures.length * GAS.ed25519 + decreeRows(op.action.kind) * GAS.permanentRow
      );
    case 'post-collateral':
      return op.items.reduce<number>(
        (gas, item) => gas + GAS.collateral + GAS.rowWrite + collateralRows(item) * GAS.permanentRow,
        GAS.rowWrite,
      );
    case 'prove':
      return op.verificationGas + CLAIM_GAS + (op.redeem === null ? 0 : redeemGas(op.redeem));
  }
}

/** The rows of a model, and of a key that it brings: permanent memory by size, the check of its rules, and its proof. */
function modelGas(op: Extract<Op, { readonly kind: 'register-model' }>): number {
  const model = 2 * GAS.rowWrite + GAS.permanentRow;
  if (op.zk === undefined) return model;
  const { verifyingKey, verificationGas } = op.zk;
  return model + GAS.rowWrite + keyRows(verifyingKey) * GAS.permanentRow + verificationGas;
}

/**
 * Least gas that a `register-model` declares for checking a key that the chain does not have, and the proof it comes with:
 * what that costs follows from the weights' shapes, and is 0 where there is none.
 */
export function zkKeyGas(
  key: { readonly ops: number; readonly tensors: number; readonly batchMax: number },
  registrationGas: number,
): number {
  const sizes = zkBatchIndex(key.batchMax) + 1;
  const reading = GAS.verifyingKeyTensor * key.tensors + GAS.verifyingKeyOp * key.ops * sizes;
  return GAS.verifyingKey + reading + registrationGas;
}

/** A chip for the evidence itself, and one for each GPU. */
function hardwareRows({ evidence, gpuEvidence }: Extract<Op, { readonly kind: 'open-key' }>): number {
  return (evidence === null ? 0 : 1) + (gpuEvidence?.length ?? 0);
}

const PERMANENT_DECREES: ReadonlySet<DecreeAction['kind']> = new Set([
  'propose-measurement',
  'register-hardware',
  'revoke-hardware',
]);

/** Rows that a decree may make for ever. */
function decreeRows(action: DecreeAction['kind']): number {
  return PERMANENT_DECREES.has(action) ? 1 : 0;
}

/** A piece of many bytes counts as several permanent rows. */
function collateralRows(item: Collateral): number {
  return Math.ceil(encode(collateralCodec, item).length / KEY_BYTES_PER_ROW);
}

/** A key of many bytes counts as several permanent rows. */
function keyRows(verifyingKey: Uint8Array): number {
  return Math.ceil(verifyingKey.length / KEY_BYTES_PER_ROW);
}

function redeemGas({
  vouchers,
  receipts,
}: NonNullable<Extract<Op, { readonly kind: 'prove' }>['redeem']>): number {
  return GAS.ed25519 + vouchers.length * CHARGE_LINE_GAS + lineReceiptsGas(receipts);
}

/** Two signatures a proof, and the hashes on its two paths. */
function lineReceiptsGas(receipts: readonly (readonly Uint8Array[])[]): number {
  return receipts.reduce((sum, proofs) => sum + proofs.length, 0) * RECEIPT_PROOF_GAS;
}

/** A charge line: voucher signature, allocation, payout and key rows, and a lane row that may be new. */
export const CHARGE_LINE_GAS = GAS.ed25519 + 4 * GAS.rowWrite + GAS.temporaryRow;

/** The claim, its place in the queue, the key and the node. */
export const CLAIM_GAS = 4 * GAS.rowWrite + GAS.temporaryRow;

/** A receipt proof beside a charge line of a `zk` key. */
export const RECEIPT_PROOF_GAS = 2 * GAS.ed25519 + 80;

/** Bytes of a verifying key or a piece of collateral that are charged as one permanent row. */
export const KEY_BYTES_PER_ROW = 8_192;

export interface BaseFeeState {
  /** Base fee of the last block that used gas, nopg per gas. */
  readonly baseFee: bigint;
  /** That block's height, and the gas it used. */
  readonly height: number;
  readonly gasUsed: number;
}

export interface BaseFeeParams {
  readonly gasTarget: number;
  readonly baseFeeMin: bigint;
  readonly baseFeeMax: bigint;
}

/** One step of the base fee: up to +3/64 at a full block, down to -1/64 at an empty one, within its bounds. */
export function baseFeeStep(baseFee: bigint, gasUsed: number, params: BaseFeeParams): bigint {
  const target = BigInt(params.gasTarget);
  const used = BigInt(gasUsed);
  const atLeastOne = (change: bigint): bigint => (change > 1n ? change : 1n);
  let next = baseFee;
  if (used > target) next = baseFee + atLeastOne((baseFee * (used - target)) / (target * 64n));
  if (used < target) next = baseFee - atLeastOne((baseFee * (target - used)) / (target * 64n));
  if (next < params.baseFeeMin) return params.baseFeeMin;
  return next > params.baseFeeMax ? params.baseFeeMax : next;
}

/** The base fee of `height`: stored at the last block with gas, then one step for that block and one for each idle one. */
export function baseFeeAt(state: BaseFeeState, height: number, params: BaseFeeParams): bigint {
  if (height <= state.height)
    throw new UsageError(`base fee of height ${height} asked at height ${state.height}`);
  let fee = baseFeeStep(state.baseFee, state.gasUsed, params);
  for (let idle = height - state.height - 1; idle > 0 && fee > params.baseFeeMin; idle--) {
    fee = baseFeeStep(fee, 0, params);
  }
  return fee;
}

/** Rows that are never deleted, which a block makes a limited number of. */
export function permanentRows(transaction: Transaction): number {
  return transaction.body.ops.reduce((sum, op) => sum + rowsOf(op), 0);
}

function rowsOf(op: Op): number {
  if (op.kind === 'decree') return decreeRows(op.action.kind);
  if (op.kind === 'post-collateral') return op.items.reduce((rows, item) => rows + collateralRows(item), 0);
  const rows = PERMANENT_ROWS.get(op.kind) ?? 0;
  return op.kind === 'register-model' && op.zk !== undefined ? rows + keyRows(op.zk.verifyingKey) : rows;
}

const PERMANENT_ROWS: ReadonlyMap<Op['kind'], number> = new Map([
  ['transfer-opg', 1],
  ['transfer-credit', 1],
  ['issue', 1],
  ['open-channel', 1],
  ['register-node', 2],
  ['update-node', 1],
  ['register-model', 1],
  ['register-validator', 1],
]);

/** Admission class: S own keys of a bonded operator, E challenges, evidence and decrees, G everything else. */
export type TransactionClass = 'S' | 'E' | 'G';

const CLASS_S: ReadonlySet<Op['kind']> = new Set(['settle', 'prove', 'open-key', 'close-key', 'abandon-key']);

/** S or E only if every op is such an op; a mixture is G. A verifying key that names a node is that node's business. */
export function transactionClass(transaction: Transaction): TransactionClass {
  if (transaction.body.ops.every(({ kind }) => kind === 'decree')) return 'E';
  const isOwn = (op: Op): boolean =>
    CLASS_S.has(op.kind) || (op.kind === 'register-model' && op.zk !== undefined && op.zk.nodeId !== null);
  return transaction.body.ops.every(isOwn) ? 'S' : 'G';
}
