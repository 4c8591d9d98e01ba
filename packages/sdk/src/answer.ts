import { RpcError } from '@haca/platform/rpc';
import { bytesEqual, type CryptoProvider, decode, MalformedError, toHex, UsageError } from '@haca/primitives';
import {
  type Assurance,
  encodeBundle,
  failed,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  type ProvenRecord,
  passed,
  type Receipt,
  recordKey,
  type SignedObject,
  sessionRecordCodec,
  type Verdict,
  VOUCHER,
  type Voucher,
  verdictOf,
  verifyReceiptProof,
} from '@haca/protocol';
import type { ChainView } from './chain-view.ts';
import type { Route } from './directory.ts';
import { NodeError, TimeoutError, VerificationError } from './errors.ts';
import { encodeLightBlock } from './light-block-json.ts';
import { RECEIPT_STATES, type ReceiptState, type ReceiptStatus } from './node-api.ts';
import { sleep } from './platform.ts';

export interface LifecycleStep {
  readonly state: ReceiptState;
  /** Block height; null for `executed`. For `final` the header that proves it. */
  readonly height: number | null;
  readonly atMs: number;
  /** Who says so: the signed receipt, the node's word, or a proof this client verified. */
  readonly by: 'receipt' | 'node' | 'light-client';
}

export interface Lifecycle {
  readonly steps: readonly LifecycleStep[];
  /** Of the last proof that was checked; empty and not ok before there is one. */
  readonly verdict: Verdict;
  readonly txHash: Uint8Array | null;
}

export interface UntilOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called for each state: at once for those already reached, then as they come. */
  readonly onState?: (step: LifecycleStep) => void;
}

/** A verified answer: what was received, the receipt behind it, every check that was made, and its way into the chain. */
export interface Answer {
  /** Receipt id at the node, `rcpt_…`. */
  readonly id: string;
  /** For a stream: fulfilled when all of it was verified, rejected with `VerificationError` where it was not. */
  readonly completed: Promise<Answer>;
  /** These throw `UsageError` before a stream is complete. */
  readonly receipt: SignedObject<Receipt>;
  readonly verdict: Verdict;
  readonly assurance: Assurance;
  readonly response: Uint8Array;
  readonly request: Uint8Array;
  readonly modelName: string;
  readonly node: {
    readonly nodeId: Uint8Array;
    readonly keyId: Uint8Array;
    readonly url: string;
    readonly name: string;
  };
  /** Milliseconds from sending to the verified end, and the part of it that verifying took. */
  readonly timing: { readonly totalMs: number; readonly verifyMs: number };
  /** Follows the receipt. `final` is proven: receipt in a batch, batch in the key's log, key row in the state, header signed. */
  readonly until: (state: ReceiptState, options?: UntilOptions) => Promise<Lifecycle>;
  /** Everything to check this answer offline later: CBOR. Complete once the receipt is final. */
  readonly bundle: () => Promise<Uint8Array>;
}

export interface CompletedAnswer {
  readonly receipt: SignedObject<Receipt>;
  readonly verdict: Verdict;
  readonly assurance: Assurance;
  readonly response: Uint8Array;
  readonly timing: Answer['timing'];
}

export interface AnswerContext {
  readonly crypto: CryptoProvider;
  readonly chain: ChainView;
  readonly route: Route;
  readonly clock: () => number;
  readonly id: string;
  readonly request: Uint8Array;
  readonly voucher: SignedObject<Voucher>;
}

export interface PendingAnswer {
  readonly answer: Answer;
  readonly complete: (completed: CompletedAnswer) => void;
  readonly fail: (error: unknown) => void;
}

const UNTIL_TIMEOUT_MS = 60_000;
const AHEAD_MAX_BLOCKS = 100;

export function openAnswer(context: AnswerContext): PendingAnswer {
  const { route } = context;
  let completed: CompletedAnswer | undefined;
  let final: FinalProof | undefined;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  // Whoever does not wait for the end of a stream learns of a failure by the stream itself.
  promise.catch(() => undefined);
  const done = (): CompletedAnswer => {
    if (completed === undefined)
      throw new UsageError('the answer is not complete: await answer.completed first');
    return completed;
  };
  const steps: LifecycleStep[] = [];
  const answer: Answer = {
    id: context.id,
    completed: promise,
    get receipt() {
      return done().receipt;
    },
    get verdict() {
      return done().verdict;
    },
    get assurance() {
      return done().assurance;
    },
    get response() {
      return done().response;
    },
    get timing() {
      return done().timing;
    },
    request: context.request,
    modelName: route.manifest.name,
    node: { nodeId: route.nodeId, keyId: route.keyId, url: route.api.url, name: route.node.name },
    until: async (state, options = {}) => {
      await promise;
      const followed = await follow(context, done().receipt, { steps, final: final ?? null }, state, options);
      final = followed.final ?? final;
      return followed.lifecycle;
    },
    bundle: async () => makeBundle(context, (await promise) && done(), final ?? null),
  };
  return {
    answer,
    complete: (value) => {
      completed = value;
      steps.push({ state: 'executed', height: null, atMs: context.clock(), by: 'receipt' });
      resolve(answer);
    },
    fail: reject,
  };
}

interface FinalProof {
  readonly proof: NonNullable<ReceiptStatus['proof']>;
  readonly keyRecord: ProvenRecord;
  readonly verdict: Verdict;
}

const NO_VERDICT: Verdict = { ok: false, checks: [] };
const isReached = (steps: readonly LifecycleStep[], state: ReceiptState): boolean =>
  steps.some((step) => RECEIPT_STATES.indexOf(step.state) >= RECEIPT_STATES.indexOf(state));

async function follow(
  context: AnswerContext,
  receipt: SignedObject<Receipt>,
  { steps, final: known }: { readonly steps: LifecycleStep[]; readonly final: FinalProof | null },
  wanted: ReceiptState,
  { timeoutMs = UNTIL_TIMEOUT_MS, signal, onState }: UntilOptions,
): Promise<{ readonly lifecycle: Lifecycle; readonly final: FinalProof | null }> {
  const deadline = Date.now() + timeoutMs;
  let final = known;
  let txHash: Uint8Array | null = null;
  const add = (state: ReceiptState, height: number | null, by: LifecycleStep['by']): void => {
    if (isReached(steps, state)) return;
    const step: LifecycleStep = { state, height, atMs: context.clock(), by };
    steps.push(step);
    onState?.(step);
  };
  const look = async (): Promise<void> => {
    const status = await context.route.api.receipt(toHex(receipt.hash));
    if (!bytesEqual(status.receipt.hash, receipt.hash)) throw otherReceipt(receipt, status.receipt);
    txHash = status.txHash ?? txHash;
    if (status.state !== 'executed') add('settled', status.height, 'node');
    if (status.state === 'verified' || status.state === 'final') add('verified', status.height, 'node');
    if (status.proof !== null && wanted === 'final') {
      final = await proveFinal(context, receipt, status, status.proof);
      if (final !== null) add('final', final.keyRecord.stateHeight + 1, 'light-client');
    }
  };
  for (const step of steps) onState?.(step);
  for (let pauseMs = 10; !isReached(steps, wanted); pauseMs = nextPause(pauseMs)) {
    const away = await look().catch(asAway);
    if (isReached(steps, wanted)) break;
    if (Date.now() + pauseMs > deadline) {
      const last = steps.at(-1)?.state ?? 'unknown';
      const why = away === undefined ? '' : `: ${away.message}`;
      const text = `the answer is not ${wanted} after ${timeoutMs} ms; it is ${last}${why}`;
      throw new TimeoutError(text, { cause: away });
    }
    await sleep(pauseMs, signal);
  }
  return { lifecycle: { steps: [...steps], verdict: final?.verdict ?? NO_VERDICT, txHash }, final };
}

/** Whoever was asked is away or starting: waiting helps. Every other error is thrown on. */
function asAway(error: unknown): Error {
  const isAway =
    (error instanceof NodeError && (error.code === 'E_UNREACHABLE' || error.status === 503)) ||
    (error instanceof RpcError && error.code === 'unreachable');
  if (isAway) return error;
  throw error;
}

const nextPause = (pauseMs: number): number => Math.min(Math.ceil(pauseMs * 1.5), 250);

function otherReceipt(expected: SignedObject<Receipt>, got: SignedObject<Receipt>): VerificationError {
  const mismatch = failed('receipt.same', 'receipt.equivocation', toHex(expected.hash), toHex(got.hash));
  return new VerificationError('the node shows another receipt for this answer', verdictOf([mismatch]));
}

/** Null while the node's proof and the key rows that can be proven do not fit together yet. */
async function proveFinal(
  { crypto, chain, route }: AnswerContext,
  receipt: SignedObject<Receipt>,
  status: ReceiptStatus,
  proof: NonNullable<ReceiptStatus['proof']>,
): Promise<FinalProof | null> {
  const seen = await chain.sync();
  // A height far ahead of every verified header is a story, not a height to wait for.
  if (status.height !== null && status.height > seen.height + AHEAD_MAX_BLOCKS) return null;
  const head = await chain.sync(status.height === null ? {} : { minHeight: status.height + 1 });
  const heights = new Set([status.height ?? head.height - 1, head.height - 1]);
  for (const stateHeight of heights) {
    const keyRecord = await chain
      .record(recordKey.nodeKey(route.keyId), stateHeight)
      .catch((error: unknown) => {
        // States further back than the server keeps can't be proven; a newer one will do.
        if (error instanceof VerificationError) throw error;
        return null;
      });
    if (keyRecord === null || keyRecord.value === null) continue;
    const key: NodeKeyRecord = decode(nodeKeyRecordCodec, keyRecord.value, 'node-key');
    if (key.logSize !== proof.value.logSize) continue;
    const settled = receiptProofVerdict(crypto, proof.value, key, receipt.hash);
    const isOpen = settled.checks.some(
      ({ id, status: state }) => id === 'receipt-proof.verified' && state === 'failed',
    );
    if (
      isOpen &&
      settled.checks.every(({ id, status: state }) => id === 'receipt-proof.verified' || state === 'passed')
    )
      return null;
    if (!settled.ok) throw new VerificationError('the receipt is not in the chain as the node says', settled);
    const verdict = verdictOf([
      ...settled.checks,
      passed('key.proof', `state ${stateHeight}`),
      passed('chain.final', `header ${stateHeight + 1}, > 2/3 of the voting power`),
    ]);
    return { proof, keyRecord, verdict };
  }
  return null;
}

function receiptProofVerdict(
  crypto: CryptoProvider,
  proof: Parameters<typeof verifyReceiptProof>[1],
  key: NodeKeyRecord,
  receiptHash: Uint8Array,
): Verdict {
  try {
    return verifyReceiptProof(crypto, proof, key, receiptHash);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return verdictOf([failed('receipt-proof.format', 'E_MALFORMED', error.expected, error.got)]);
  }
}

async function makeBundle(
  { crypto, chain, route, request, voucher }: AnswerContext,
  { receipt, response }: CompletedAnswer,
  final: FinalProof | null,
): Promise<Uint8Array> {
  const { node, model, config } = route.proofs;
  const key = final?.keyRecord ?? route.proofs.key;
  const { channelId, session: slot } = voucher.value;
  const session = await chain.record(recordKey.session(channelId, slot));
  // A slot that was freed or taken by another key since says nothing about this voucher.
  const isHeld = session.value !== null && signs(crypto, session.value, voucher);
  const headers = await chain.trace([
    ...[node, model, config, key, ...(isHeld ? [session] : [])].map(({ stateHeight }) => stateHeight + 1),
    receipt.value.refHeight,
    route.key.openedAt,
  ]);
  return encodeBundle({
    version: 1,
    chainId: chain.chainId,
    request,
    response,
    receipt: receipt.bytes,
    offer: route.offer.bytes,
    voucher: isHeld ? voucher.bytes : null,
    session: isHeld ? session : null,
    node,
    key,
    model,
    config,
    evidence: route.evidence,
    receiptProof: final?.proof.bytes ?? null,
    headers: headers.map(encodeLightBlock),
  });
}

function signs(crypto: CryptoProvider, record: Uint8Array, voucher: SignedObject<Voucher>): boolean {
  return VOUCHER.verify(crypto, voucher, decode(sessionRecordCodec, record, 'session').publicKey);
}
