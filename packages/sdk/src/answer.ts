import { RpcError } from '@haca/platform/rpc';
import { bytesEqual, type CryptoProvider, decode, MalformedError, toHex, UsageError } from '@haca/primitives';
import {
  type Assurance,
  type AssuranceTier,
  type Bundle,
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
  skipped,
  type Verdict,
  VOUCHER,
  type Voucher,
  verdictOf,
  verifyReceiptProof,
} from '@haca/protocol';
import { encodeLightBlock } from './chain/light-block-json.ts';
import type { ChainView } from './chain/view.ts';
import type { Route } from './directory.ts';
import { NodeError, TimeoutError, UnprovedError, VerificationError } from './errors.ts';
import { EVIDENCE_RECORDS_AGE_MAX_BLOCKS } from './evidence-records.ts';
import { RECEIPT_STATES, type ReceiptState, type ReceiptStatus } from './node-api.ts';
import { sleep } from './platform.ts';
import {
  fetchZkProof,
  type ProvenClaim,
  type ProvenVerifyingKey,
  proveClaim,
  type VerifiedZkProof,
  type ZkTools,
} from './zk/proof.ts';

export interface LifecycleStep {
  readonly state: ReceiptState;
  /** Block height; null for `executed`. For `final` the header that proves it. */
  readonly height: number | null;
  readonly atMs: number;
  /** Who says so: the signed receipt, the node's word, a state proof or a proof of inference this client verified. */
  readonly by: 'receipt' | 'node' | 'light-client' | 'proof';
}

export interface Lifecycle {
  readonly steps: readonly LifecycleStep[];
  /** Of the last proof that was checked; empty and not ok before there is one. */
  readonly verdict: Verdict;
  readonly txHash: Uint8Array | null;
  /** Of a `zk` answer once it is verified. */
  readonly proof: VerifiedZkProof | null;
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
  /** Of method `zk`: `signed` until this client verified the proof, `zk` from then on. */
  readonly assurance: Assurance;
  /** What is known of who can touch the machine; null where no evidence backs the answer. */
  readonly tier: AssuranceTier | null;
  /** Intel's word for the platform when it was looked at last; null where the evidence has none. */
  readonly tcbStatus: string | null;
  /** What proves the answer, once this client verified it; null before, and for other methods. */
  readonly proof: VerifiedZkProof | null;
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
  /** Of a request of method `zk`; null for every other. */
  readonly zk: ProvenVerifyingKey | null;
  readonly zkTools: ZkTools;
  /** Ends the use of the lane that the voucher was for. */
  readonly retireLane: () => void;
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
  const progress: Progress = { steps: [], final: null, claim: null, proof: null };
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  // Whoever does not wait for the end of a stream learns of a failure by the stream itself.
  promise.catch(() => undefined);
  const done = (): CompletedAnswer => {
    if (completed === undefined)
      throw new UsageError('the answer is not complete: await answer.completed first');
    return completed;
  };
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
      const { assurance } = done();
      return progress.proof === null ? assurance : 'zk';
    },
    get proof() {
      return progress.proof;
    },
    tier: route.tier,
    tcbStatus: route.tcbStatus,
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
      return follow(context, done().receipt, progress, state, options);
    },
    bundle: async () => makeBundle(context, (await promise) && done(), progress),
  };
  return {
    answer,
    complete: (value) => {
      completed = value;
      progress.steps.push({ state: 'executed', height: null, atMs: context.clock(), by: 'receipt' });
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

/** How far an answer was followed. */
interface Progress {
  readonly steps: LifecycleStep[];
  final: FinalProof | null;
  claim: ProvenClaim | null;
  proof: VerifiedZkProof | null;
}

const NO_VERDICT: Verdict = { ok: false, checks: [] };
const isReached = (steps: readonly LifecycleStep[], state: ReceiptState): boolean =>
  steps.some((step) => RECEIPT_STATES.indexOf(step.state) >= RECEIPT_STATES.indexOf(state));

async function follow(
  context: AnswerContext,
  receipt: SignedObject<Receipt>,
  progress: Progress,
  wanted: ReceiptState,
  { timeoutMs = UNTIL_TIMEOUT_MS, signal, onState }: UntilOptions,
): Promise<Lifecycle> {
  const { steps } = progress;
  const deadline = Date.now() + timeoutMs;
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
    if (status.state === 'unpaid') await concludeUnproved(context, receipt);
    if (status.state !== 'executed') add('settled', status.height, 'node');
    if (status.state === 'proving') add('proving', status.height, 'node');
    const isVerified = status.state === 'verified' || status.state === 'final';
    if (context.zk === null) {
      if (isVerified) add('verified', status.height, 'node');
    } else {
      await followClaim(context, context.zk, receipt, progress, status, isVerified);
      if (progress.proof !== null) add('verified', status.claim?.endedAt ?? null, 'proof');
    }
    if (status.proof !== null && wanted === 'final' && isVerified) {
      progress.final = (await proveFinal(context, receipt, status, status.proof)) ?? progress.final;
      const { final } = progress;
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
  const { final, proof } = progress;
  return { steps: [...steps], verdict: final?.verdict ?? NO_VERDICT, txHash, proof };
}

/** The claim is caught while the full node still has the state it was opened in; the proof as soon as there is one. */
async function followClaim(
  { crypto, chain, route, id, zkTools }: AnswerContext,
  zk: ProvenVerifyingKey,
  receipt: SignedObject<Receipt>,
  progress: Progress,
  status: ReceiptStatus,
  isVerified: boolean,
): Promise<void> {
  if (status.claim === null || status.height === null || progress.proof !== null) return;
  if (status.height > (await chain.sync()).height + AHEAD_MAX_BLOCKS) return;
  const { claim, height, txHash } = status;
  progress.claim ??= await proveClaim(crypto, chain, route, claim, height, txHash);
  if (!isVerified) return;
  if (progress.claim === null) {
    const gone = skipped(
      'zk.claim',
      'claim.unavailable',
      'the full node no longer has the state of its block',
    );
    throw new VerificationError('the proof can not be checked any more', verdictOf([gone]), id);
  }
  progress.proof = await fetchZkProof(chain, route, receipt, id, zk, progress.claim, status, zkTools);
}

/** Throws once the chain's own record says that the receipt will never be paid. */
async function concludeUnproved(
  { chain, route, id, retireLane }: AnswerContext,
  { value }: SignedObject<Receipt>,
): Promise<void> {
  await chain.sync();
  const { value: bytes } = await chain.record(recordKey.nodeKey(route.keyId));
  const key = bytes === null ? null : decode(nodeKeyRecordCodec, bytes, 'node-key');
  const isUnpaid = key?.unpaidRanges.some(({ first, last }) => first <= value.seq && value.seq <= last);
  if (isUnpaid !== true) return;
  // A later promise on this lane would count on over what was forfeited, and a false amount in one proved receipt take it.
  retireLane();
  const { amount, asset } = value;
  const text = `the answer was not proved in time: ${amount} base units are not charged, and the node lost bond`;
  throw new UnprovedError(text, amount, asset, id);
}

/** Of a node that starts, of what stands before one that is away, of one that has too much to do. */
const AWAY_STATUSES: readonly unknown[] = [429, 502, 503, 504];

/** Whoever was asked is away or starting: waiting helps. Every other error is thrown on. */
function asAway(error: unknown): Error {
  const isAway =
    (error instanceof NodeError &&
      (error.code === 'E_UNREACHABLE' || AWAY_STATUSES.includes(error.status))) ||
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
  const endedAt = status.claim?.endedAt ?? status.height;
  if (endedAt !== null && endedAt > seen.height + AHEAD_MAX_BLOCKS) return null;
  const head = await chain.sync(endedAt === null ? {} : { minHeight: endedAt + 1 });
  const heights = new Set([endedAt ?? head.height - 1, head.height - 1]);
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
  { crypto, chain, route, request, voucher, zk }: AnswerContext,
  { receipt, response }: CompletedAnswer,
  { final, proof: zkProof }: Progress,
): Promise<Uint8Array> {
  const { node, model, config } = route.proofs;
  const evidence = await currentEvidence(chain, route, receipt.value.refHeight);
  const key = final?.keyRecord ?? route.proofs.key;
  const { channelId, session: slot } = voucher.value;
  const session = await chain.record(recordKey.session(channelId, slot));
  // A slot that was freed or taken by another key since says nothing about this voucher.
  const isHeld = session.value !== null && signs(crypto, session.value, voucher);
  // Offline only the chain's own record of the claim will do.
  const claim = zkProof?.claim.record ?? null;
  const proved = zk === null || claim === null ? [] : [claim, zk.proof];
  const headers = await chain.trace([
    ...[node, model, config, key, ...evidence, ...proved, ...(isHeld ? [session] : [])].map(
      ({ stateHeight }) => stateHeight + 1,
    ),
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
    ...evidencePart(route),
    ...(evidence.length === 0 ? {} : { evidenceRecords: evidence }),
    receiptProof: final?.proof.bytes ?? null,
    headers: headers.map(encodeLightBlock),
    ...(zk === null || zkProof === null || claim === null
      ? {}
      : {
          zk: {
            claim,
            verifyingKey: zk.proof,
            transaction: zkProof.transaction,
          },
        }),
  });
}

/** As the key was judged by, or proven again where that was long before the answer. */
async function currentEvidence(
  chain: ChainView,
  { proofs }: Route,
  refHeight: number,
): Promise<readonly ProvenRecord[]> {
  const provenAt = proofs.evidence[0]?.stateHeight ?? refHeight;
  if (refHeight - provenAt <= EVIDENCE_RECORDS_AGE_MAX_BLOCKS) return proofs.evidence;
  const { height } = await chain.sync();
  return Promise.all(proofs.evidence.map(({ key }) => chain.record(key, height - 1)));
}

function evidencePart({
  evidence,
  evidenceRecord,
}: Route): Pick<Bundle, 'evidence' | 'gpuEvidence' | 'keyEvidence'> {
  const row = evidenceRecord === null ? {} : { keyEvidence: evidenceRecord };
  if (evidence === null) return { evidence, ...row };
  const { envelope, binding, gpuEvidence = [] } = evidence;
  return { evidence: { envelope, binding }, ...(gpuEvidence.length === 0 ? {} : { gpuEvidence }), ...row };
}

function signs(crypto: CryptoProvider, record: Uint8Array, voucher: SignedObject<Voucher>): boolean {
  return VOUCHER.verify(crypto, voucher, decode(sessionRecordCodec, record, 'session').publicKey);
}
