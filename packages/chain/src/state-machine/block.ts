/**
 * One block, in two phases: first every transaction is admitted and charged in order, then the effects of those that were
 * are applied in order, each all or nothing; then what is due at this height. Total: whatever the bytes, a result comes.
 */
import { MalformedError } from '@haca/primitives';
import { codeNumber, type ErrorCode, nopg, type TotalsRecord } from '@haca/protocol';
import { type FirstPhase, openFirstPhase, type Payable } from './admission.ts';
import { expireClaim } from './claims.ts';
import { eventOf } from './events.ts';
import { runningViolations } from './invariants.ts';
import { type DueBlock, deleteKey, drainKey, LANE_ROWS_SWEPT_MAX } from './node-keys.ts';
import { burnedSum, receiveTips } from './opg-ledger.ts';
import { applyOp } from './ops/apply.ts';
import type { Step } from './ops/step.ts';
import { takeDue } from './queue.ts';
import { keepBlockHashes } from './recent-blocks.ts';
import type { Refusal } from './refusal.ts';
import { slashNode } from './slashing.ts';
import { openState, type Savepoint, type State, StateCorruptError } from './state.ts';
import { putTotals, totalsOf, validators } from './tables.ts';
import type {
  BlockInput,
  BlockOutput,
  ChainEvent,
  ExecutionContext,
  PostingStep,
  StateView,
  TxResult,
  ValidatorUpdate,
} from './types.ts';
import { matureUnbonding, matureValidatorUnbonding } from './unbonding.ts';
import { countParticipation, payEpoch, punishMisbehavior, updateValidatorSet } from './validators.ts';

/** The block being executed. */
interface Run {
  readonly state: State;
  readonly input: BlockInput;
  readonly ctx: ExecutionContext;
  readonly before: TotalsRecord;
  /** Operator of the proposer, where it is known. */
  readonly tipsTo: Uint8Array | undefined;
  readonly phase: FirstPhase;
  readonly events: ChainEvent[];
  readonly postings: PostingStep[];
  /** Some operation may have changed voting power. */
  stakesChanged: boolean;
}

function openRun(view: StateView, input: BlockInput, ctx: ExecutionContext): Run {
  const state = openState(view, ctx.collectPostings === true);
  const before = totalsOf(state);
  const tipsTo = validators.get(state, input.proposer)?.operator;
  const phase = openFirstPhase(state, input.height, ctx, 'block', tipsTo !== undefined);
  return { state, input, ctx, before, tipsTo, phase, events: [], postings: [], stakesChanged: false };
}

/** Never throws on hostile transactions; throws `StateCorruptError` where the state itself can't be read. */
export function executeBlock(view: StateView, input: BlockInput, ctx: ExecutionContext): BlockOutput {
  const run = openRun(view, input, ctx);
  return applyBlock(
    run,
    input.txs.map((_, txIndex) => admit(run, txIndex)),
  );
}

/** As `executeBlock`, but null if a transaction is not payable: a proposer leaves those out. */
export function executeProposal(
  view: StateView,
  input: BlockInput,
  ctx: ExecutionContext,
): BlockOutput | null {
  const run = openRun(view, input, ctx);
  const payables: Payable[] = [];
  for (const txIndex of input.txs.keys()) {
    const payable = admit(run, txIndex);
    if ('code' in payable) return null;
    payables.push(payable);
  }
  return applyBlock(run, payables);
}

/** The transactions of `input` one after the other, and nothing kept: all that comes of it is what `ctx.crypto` was asked. */
export function rehearseTransactions(view: StateView, input: BlockInput, ctx: ExecutionContext): void {
  const run = openRun(view, input, ctx);
  for (const txIndex of input.txs.keys()) resultOf(run, admit(run, txIndex), txIndex);
}

function admit(run: Run, txIndex: number): Payable | Refusal {
  return recorded(run, 'fee', txIndex, () => run.phase.admit(run.input.txs[txIndex] as Uint8Array));
}

function applyBlock(run: Run, payables: readonly (Payable | Refusal)[]): BlockOutput {
  const { state, tipsTo, phase } = run;
  if (tipsTo !== undefined) collectTips(state, tipsTo, payables);
  const results = payables.map((payable, txIndex) => resultOf(run, payable, txIndex));

  const gasUsed = results.reduce((sum, result) => sum + result.gasUsed, 0);
  if (gasUsed > 0) closeFees(run, phase.baseFee, gasUsed);
  const validatorUpdates = runDue(run);
  return outputOf(run, results, gasUsed, validatorUpdates);
}

/** Tips go to the proposer's operator once all transactions were charged. No proposer known, no tips taken. */
function collectTips(state: State, operator: Uint8Array, payables: readonly (Payable | Refusal)[]): void {
  let tips = 0n;
  for (const payable of payables) if (!('code' in payable)) tips += payable.tip;
  if (tips > 0n) receiveTips(state, operator, nopg(tips));
}

function resultOf(run: Run, payable: Payable | Refusal, txIndex: number): TxResult {
  if ('code' in payable) {
    return { ...statusOf(payable.code), gasUsed: 0, gasWanted: 0, events: [], info: payable.info };
  }
  const { admitted, fee } = payable;
  const events: ChainEvent[] = [
    eventOf('burn', { amountNopg: fee, payer: admitted.payer, gas: admitted.gas, class: admitted.class }),
  ];
  const refusal = applyAll(run, payable, txIndex, events);
  return {
    ...statusOf(refusal?.code ?? 'OK'),
    gasUsed: admitted.gas,
    gasWanted: admitted.gas,
    events,
    info: refusal?.info ?? '',
  };
}

function statusOf(code: ErrorCode): { readonly code: number; readonly codeName: ErrorCode } {
  return { code: codeNumber(code), codeName: code };
}

/** All operations of a transaction in order, or none of them. */
function applyAll(run: Run, payable: Payable, txIndex: number, events: ChainEvent[]): Refusal | undefined {
  const { state } = run;
  const start = state.mark();
  const eventCount = events.length;
  const postingCount = run.postings.length;
  const { body } = payable.transaction;
  const step: Step = {
    state,
    ctx: run.ctx,
    block: run.input,
    baseFee: run.phase.baseFee,
    sender: payable.admitted.sender,
    senderKey: body.sender,
    nonce: body.nonce,
    restake: () => {
      run.stakesChanged = true;
    },
    emit: (type, attributes) => events.push(eventOf(type, attributes)),
  };
  for (const [i, op] of body.ops.entries()) {
    const statement = payable.statements[i];
    const refusal = recorded(run, op.kind, txIndex, () => guarded(() => applyOp(step, op, statement)));
    if (refusal === undefined) continue;
    state.rollback(start);
    events.length = eventCount;
    run.postings.length = postingCount;
    punish(run, refusal, txIndex, events);
    return { code: refusal.code, info: `op ${i} (${op.kind}): ${refusal.info}` };
  }
  return undefined;
}

/** What a refused operation costs a node all the same: its transaction has left nothing else behind by now. */
function punish(run: Run, { penalty }: Refusal, txIndex: number, events: ChainEvent[]): void {
  if (penalty === undefined) return;
  const { nodeId, keyId, claimId, fault } = penalty;
  recorded(run, 'slash', txIndex, () =>
    slashNode(run.state, nodeId, fault, { keyId, claimId }, dueBlock(run, events)),
  );
}

function dueBlock({ input, phase, ctx }: Run, events: ChainEvent[]): DueBlock {
  return { height: input.height, baseFee: phase.baseFee, params: ctx.config.params, events };
}

/**
 * An operation should return its refusal. Should one throw all the same, the chain must go on: the same bytes throw on
 * every node, nothing is applied, and the code asks to be reported. A damaged store does stop the node.
 */
function guarded(apply: () => Refusal | undefined): Refusal | undefined {
  try {
    return apply();
  } catch (error) {
    if (error instanceof StateCorruptError) throw error;
    if (error instanceof MalformedError) return { code: 'E_MALFORMED', info: error.message };
    return { code: 'E_INTERNAL', info: error instanceof Error ? error.message : 'not an error' };
  }
}

function recorded<T>(run: Run, step: PostingStep['step'], txIndex: number | undefined, act: () => T): T {
  const start: Savepoint = run.state.mark();
  const result = act();
  if (run.ctx.collectPostings !== true) return result;
  const postings = run.state.postingsSince(start);
  if (postings.length > 0) {
    run.postings.push({ step, ...(txIndex === undefined ? {} : { txIndex }), postings });
  }
  return result;
}

/** What a block with transactions leaves behind besides their effects: epoch accounts and the base fee. */
function closeFees(run: Run, baseFee: bigint, gasUsed: number): void {
  const { state, input } = run;
  const { params } = run.ctx.config;
  recorded(run, 'epoch', undefined, () => payEpoch(state, input.height, params, run.events));
  countParticipation(state, input);
  keepBlockHashes(state, input, params);
  const totals = totalsOf(state);
  putTotals(state, { ...totals, baseFee, baseFeeHeight: input.height, baseFeeGasUsed: gasUsed });
}

/** Steps of the block itself: total functions of the state, bounded in work. */
function runDue(run: Run): readonly ValidatorUpdate[] {
  const { state, input, events } = run;
  const isPunished = recorded(run, 'misbehavior', undefined, () =>
    punishMisbehavior(state, input.misbehavior ?? [], events),
  );
  const updates = run.stakesChanged || isPunished ? updateValidatorSet(state, events) : [];
  const budget = { laneRows: LANE_ROWS_SWEPT_MAX };
  for (const task of takeDue(state, input.height)) {
    if (task.task === 'drain-key') drainKey(state, task, input.height, budget);
    else if (task.task === 'delete-key') deleteKey(state, task, input.height, budget);
    else if (task.task === 'expire-claim') {
      recorded(run, task.task, undefined, () => expireClaim(state, task, dueBlock(run, events)));
    } else {
      const mature = task.task === 'mature-unbonding' ? matureUnbonding : matureValidatorUnbonding;
      recorded(run, task.task, undefined, () => mature(state, task, input, run.ctx, events));
    }
  }
  return updates;
}

function outputOf(
  run: Run,
  results: readonly TxResult[],
  gasUsed: number,
  validatorUpdates: readonly ValidatorUpdate[],
): BlockOutput {
  const after = totalsOf(run.state);
  return {
    changes: run.state.changes(),
    results,
    validatorUpdates,
    events: run.events,
    gasUsed,
    baseFee: run.phase.baseFee,
    burnedNopg: burnedSum(after) - burnedSum(run.before),
    violations: runningViolations(after),
    ...(run.ctx.collectPostings === true ? { postings: run.postings } : {}),
  };
}
