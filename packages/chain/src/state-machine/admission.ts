/**
 * The first phase of a block, and all that a mempool checks: is this transaction well formed, signed, fresh, within its
 * class's share, and can its fee be paid. Looks at nothing that an earlier transaction's effects could change except
 * nonces, fees and gas, so whether a transaction is payable never hangs on what its neighbours do.
 */
import { bytesEqual, MalformedError } from '@haca/primitives';
import {
  type AccountRecord,
  accountIdOf,
  baseFeeAt,
  decodeTransaction,
  type NodeRecord,
  type Nopg,
  nopg,
  type Op,
  type ProtocolParams,
  permanentRows,
  type SignedObject,
  STATEMENT,
  type Statement,
  type TotalsRecord,
  TRANSACTION_MAX_BYTES,
  type Transaction,
  type TransactionClass,
  transactionClass,
  transactionGas,
  transactionMessage,
} from '@haca/protocol';
import { burnFee, takeTip } from './opg-ledger.ts';
import { nodeBucket } from './ops/registry.ts';
import { type Refusal, refuse } from './refusal.ts';
import { openState, type State } from './state.ts';
import { accounts, claims, nodeKeys, nodes, totalsOf } from './tables.ts';
import type {
  Admission,
  AdmittedTransaction,
  BlockHead,
  DecodedTransaction,
  ExecutionContext,
  StateView,
} from './types.ts';

/** `block`: the limits of one block and the fee itself. `mempool`: no block limits, and the most it may cost is covered. */
export type AdmissionMode = 'block' | 'mempool';

export const BLOCK_BYTES_MAX = 2_000_000;
export const BLOCK_PERMANENT_ROWS_MAX = 200;
/** Class E may use this much gas even where an eighth of the target is less. */
const CLASS_E_GAS_LEAST = 40_000;

/** Most gas a block may use, and the share of each class. */
export function blockGasLimits(gasTarget: number): Readonly<Record<TransactionClass | 'all', number>> {
  return {
    all: 4 * gasTarget,
    S: 4 * gasTarget,
    E: Math.max(Math.floor(gasTarget / 8), CLASS_E_GAS_LEAST),
    G: Math.floor((3 * gasTarget) / 8),
  };
}

/** The base fee of block `height`. */
export function baseFeeOf(totals: TotalsRecord, height: number, params: ProtocolParams): bigint {
  const { baseFee, baseFeeHeight, baseFeeGasUsed } = totals;
  return baseFeeAt({ baseFee, height: baseFeeHeight, gasUsed: baseFeeGasUsed }, height, params);
}

/** What the transactions of a block have used so far. */
interface Usage {
  readonly gas: Record<TransactionClass | 'all', number>;
  bytes: number;
  permanentRows: number;
}

export interface AdmissionWindow {
  readonly baseFee: bigint;
  /** Total on any bytes. What is admitted counts against what follows; what is refused leaves no trace. */
  readonly admit: (tx: Uint8Array) => Admission;
}

/** `block.height` is the height of the block being built, one above the view's. */
export function openAdmission(
  view: StateView,
  block: BlockHead,
  ctx: ExecutionContext,
  mode: AdmissionMode,
): AdmissionWindow {
  const phase = openFirstPhase(openState(view, false), block.height, ctx, mode);
  return {
    baseFee: phase.baseFee,
    admit: (tx) => {
      const result = phase.admit(tx);
      return 'code' in result ? { ok: false, ...result } : { ok: true, admitted: result.admitted };
    },
  };
}

/** A payable transaction with everything decoded, so that the second phase decodes nothing again. */
export interface Payable extends DecodedTransaction {
  readonly admitted: AdmittedTransaction;
  readonly fee: Nopg;
  readonly tip: Nopg;
}

export interface FirstPhase {
  readonly baseFee: bigint;
  readonly admit: (tx: Uint8Array) => Payable | Refusal;
}

/** Works on `state` itself: nonces, fees and buckets are written as transactions are admitted. */
export function openFirstPhase(
  state: State,
  height: number,
  ctx: ExecutionContext,
  mode: AdmissionMode,
  hasTipReceiver = true,
): FirstPhase {
  const { params } = ctx.config;
  const decodeTx = ctx.decode ?? decodeForAdmission;
  const baseFee = baseFeeOf(totalsOf(state), height, params);
  const usage: Usage = { gas: { all: 0, S: 0, E: 0, G: 0 }, bytes: 0, permanentRows: 0 };
  return {
    baseFee,
    admit: (tx) => {
      const decoded = decodeTx(tx);
      if ('code' in decoded) return decoded;
      const checked = checkPayable(state, decoded, { height, ctx, mode, baseFee, usage, hasTipReceiver });
      if ('code' in checked) return checked;
      charge(state, checked, height, params, usage);
      return checked;
    },
  };
}

/** All of a transaction that the first phase reads: a pure function of the bytes, total. */
export function decodeForAdmission(tx: Uint8Array): DecodedTransaction | Refusal {
  if (tx.length > TRANSACTION_MAX_BYTES) {
    return refuse('E_TOO_LARGE', `at most ${TRANSACTION_MAX_BYTES} bytes`, tx.length);
  }
  try {
    const transaction = decodeTransaction(tx);
    const statements = transaction.body.ops.map((op) => {
      const statement = statementIn(op);
      return statement === undefined ? undefined : STATEMENT.decode(statement);
    });
    return { transaction, statements };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return { code: 'E_MALFORMED', info: error.message };
  }
}

function statementIn(op: Op): Uint8Array | undefined {
  if (op.kind === 'settle') return op.statement;
  return op.kind === 'prove' ? op.redeem?.statement : undefined;
}

interface Terms {
  readonly height: number;
  readonly ctx: ExecutionContext;
  readonly mode: AdmissionMode;
  readonly baseFee: bigint;
  readonly usage: Usage;
  readonly hasTipReceiver: boolean;
}

/** Cheap checks first, signatures last: what is refused should cost little. */
function checkPayable(state: State, decoded: DecodedTransaction, terms: Terms): Payable | Refusal {
  const { transaction } = decoded;
  const { body } = transaction;
  const stale = checkTerms(body, terms);
  if (stale !== undefined) return stale;

  const sender = accountIdOf(body.sender);
  const account = accounts.get(state, sender);
  if (account === undefined) return refuse('E_UNKNOWN_ACCOUNT', 'an account that was paid into', 'none');
  if (takeNonce(account, body.nonce) === undefined) {
    return refuse('E_NONCE', `an unused nonce of ${account.nonceHigh - 64} or above`, body.nonce);
  }

  const gas = transactionGas(transaction);
  const payer = body.feePayer === null ? sender : accountIdOf(body.feePayer);
  const spare = body.maxFee - terms.baseFee;
  const tipPerGas = body.tipCap < spare ? body.tipCap : spare;
  const feePerGas = terms.mode === 'mempool' ? body.maxFee : terms.baseFee;
  const tipTaken = terms.mode === 'mempool' || !terms.hasTipReceiver ? 0n : tipPerGas;
  const cost = BigInt(gas) * (feePerGas + tipTaken);
  const balance = accounts.get(state, payer)?.nopg ?? 0n;
  if (cost > balance) return refuse('E_BALANCE', `${cost} nopg for the fee`, balance);

  const nodeId = classNode(state, decoded, sender);
  if (nodeId !== null && 'code' in nodeId) return nodeId;
  const room = checkRoom(state, transaction, gas, nodeId, terms);
  if (room !== undefined) return room;
  if (!isSigned(transaction, terms.ctx))
    return refuse('E_SIG', 'signatures of sender and fee payer', 'others');

  return {
    ...decoded,
    fee: nopg(BigInt(gas) * feePerGas),
    tip: nopg(BigInt(gas) * tipTaken),
    admitted: {
      sender,
      payer,
      nonce: body.nonce,
      validUntil: body.validUntil,
      class: nodeId === null ? transactionClass(transaction) : 'S',
      nodeId,
      gas,
      sizeBytes: transaction.bytes.length,
      maxFee: body.maxFee,
      tip: tipPerGas,
    },
  };
}

function checkTerms(body: Transaction['body'], { height, ctx, baseFee }: Terms): Refusal | undefined {
  const { chainId, params } = ctx.config;
  if (body.chainId !== chainId) return refuse('E_CHAIN', chainId, body.chainId);
  if (body.validUntil < height) return refuse('E_EXPIRED', `validUntil ${height} or above`, body.validUntil);
  const latest = height + params.validUntilAhead;
  if (body.validUntil > latest) return refuse('E_VALID_UNTIL', `at most ${latest}`, body.validUntil);
  if (body.maxFee < baseFee) return refuse('E_FEE', `at least ${baseFee} nopg per gas`, body.maxFee);
  return undefined;
}

const NONCE_WINDOW = 64;
const NONCE_MASK = (1n << 64n) - 1n;

/** The account with `nonce` used, or undefined where it was used before or has left the window. */
export function takeNonce(account: AccountRecord, nonce: number): AccountRecord | undefined {
  if (nonce >= Number.MAX_SAFE_INTEGER) return undefined;
  if (nonce >= account.nonceHigh) {
    const shift = nonce + 1 - account.nonceHigh;
    const kept = shift >= NONCE_WINDOW ? 0n : (account.nonceBits << BigInt(shift)) & NONCE_MASK;
    return { ...account, nonceHigh: nonce + 1, nonceBits: kept | 1n };
  }
  const behind = account.nonceHigh - 1 - nonce;
  const bit = 1n << BigInt(behind < NONCE_WINDOW ? behind : 0);
  if (behind >= NONCE_WINDOW || (account.nonceBits & bit) !== 0n) return undefined;
  return { ...account, nonceBits: account.nonceBits | bit };
}

/** The node a class S transaction is about, null for other classes. All of it must be about one node of the sender. */
function classNode(
  state: State,
  decoded: DecodedTransaction,
  sender: Uint8Array,
): Uint8Array | null | Refusal {
  if (transactionClass(decoded.transaction) !== 'S') return null;
  let nodeId: Uint8Array | undefined;
  for (const [i, op] of decoded.transaction.body.ops.entries()) {
    const of = nodeOfOp(state, op, decoded.statements[i]);
    if (of === undefined) {
      return op.kind === 'prove'
        ? refuse('E_CLAIM', 'an open claim', 'none')
        : refuse('E_KEY', 'a node key', 'none');
    }
    if (nodeId !== undefined && !bytesEqual(nodeId, of))
      return refuse('E_CLASS', 'keys of one node', 'of two');
    nodeId = of;
  }
  const node = nodeId === undefined ? undefined : nodes.get(state, nodeId);
  if (nodeId === undefined || node === undefined) return refuse('E_NODE', 'a node', 'none');
  return bytesEqual(node.operator, sender)
    ? nodeId
    : refuse('E_SENDER', "the node's operator", 'another account');
}

function nodeOfOp(
  state: State,
  op: Op,
  statement: SignedObject<Statement> | undefined,
): Uint8Array | undefined {
  if (op.kind === 'open-key') return op.binding.nodeId;
  if (op.kind === 'close-key' || op.kind === 'abandon-key') return nodeKeys.get(state, op.keyId)?.nodeId;
  if (op.kind === 'register-model') return op.zk?.nodeId ?? undefined;
  if (op.kind === 'prove') {
    // A claim of this very block is not there yet: its proof can't exist either, for it hangs on the block's hash.
    const claim = claims.get(state, op.claimId);
    return claim === undefined ? undefined : nodeKeys.get(state, claim.keyId)?.nodeId;
  }
  return statement === undefined ? undefined : nodeKeys.get(state, statement.value.keyId)?.nodeId;
}

function checkRoom(
  state: State,
  transaction: Transaction,
  gas: number,
  nodeId: Uint8Array | null,
  { height, ctx, mode, usage }: Terms,
): Refusal | undefined {
  const { params } = ctx.config;
  if (nodeId !== null) {
    const node = nodes.get(state, nodeId) as NodeRecord;
    if (node.bond < params.nodeBondMin && node.keys.length === 0) {
      return refuse('E_BOND', `a bond of ${params.nodeBondMin} nopg or a key not drained`, node.bond);
    }
    const level = bucketLevel(node, height, params);
    if (gas > level) return refuse('E_BUCKET', `at most ${level} gas`, gas);
  }
  const limits = blockGasLimits(params.gasTarget);
  const kind = nodeId === null ? transactionClass(transaction) : 'S';
  const used = mode === 'block' ? usage.gas : { all: 0, S: 0, E: 0, G: 0 };
  if (used[kind] + gas > limits[kind] || used.all + gas > limits.all) {
    return refuse('E_CLASS', `at most ${limits[kind] - used[kind]} gas of class ${kind}`, gas);
  }
  if (mode === 'mempool') return undefined;
  if (usage.bytes + transaction.bytes.length > BLOCK_BYTES_MAX) {
    return refuse('E_CLASS', `${BLOCK_BYTES_MAX} bytes a block`, usage.bytes + transaction.bytes.length);
  }
  const rows = usage.permanentRows + permanentRows(transaction);
  return rows > BLOCK_PERMANENT_ROWS_MAX
    ? refuse('E_CLASS', `${BLOCK_PERMANENT_ROWS_MAX} permanent rows a block`, rows)
    : undefined;
}

/** Gas a node may use now: what the bucket held, plus the refill of the blocks since. */
function bucketLevel(node: NodeRecord, height: number, params: ProtocolParams): number {
  const { capacity, refill } = nodeBucket(params.gasTarget);
  return Math.min(capacity, node.bucketGas + (height - node.bucketHeight) * refill);
}

function isSigned(transaction: Transaction, { crypto }: ExecutionContext): boolean {
  const { body, bodyBytes, signature, feePayerSignature } = transaction;
  const message = transactionMessage(bodyBytes);
  if (!crypto.verifyEd25519(body.sender.publicKey, message, signature)) return false;
  if (body.feePayer === null || feePayerSignature === null) return body.feePayer === feePayerSignature;
  return crypto.verifyEd25519(body.feePayer.publicKey, message, feePayerSignature);
}

function charge(
  state: State,
  { admitted, transaction, fee, tip }: Payable,
  height: number,
  params: ProtocolParams,
  usage: Usage,
): void {
  const account = accounts.get(state, admitted.sender) as AccountRecord;
  accounts.put(state, takeNonce(account, admitted.nonce) as AccountRecord, admitted.sender);
  burnFee(state, admitted.payer, fee);
  if (tip > 0n) takeTip(state, admitted.payer, tip);
  if (admitted.nodeId !== null) {
    const node = nodes.get(state, admitted.nodeId) as NodeRecord;
    const bucketGas = bucketLevel(node, height, params) - admitted.gas;
    nodes.put(state, { ...node, bucketGas, bucketHeight: height }, admitted.nodeId);
  }
  usage.gas[admitted.class] += admitted.gas;
  usage.gas.all += admitted.gas;
  usage.bytes += admitted.sizeBytes;
  usage.permanentRows += permanentRows(transaction);
}
