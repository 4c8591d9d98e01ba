/**
 * Verifies a stream of server-sent events as it flows: every event enters the chunk chain before it is released, signed
 * checkpoints must agree with that chain, and the last event is held back until the receipt was verified. So a consumer
 * that saw the stream end has seen a verified answer.
 */
import { fromBase64url } from '@haca/platform/rpc';
import { bytesEqual, type CryptoProvider, concatBytes, MalformedError, toHex } from '@haca/primitives';
import {
  type Check,
  check,
  failed,
  passed,
  RECEIPT,
  type Receipt,
  type SignedObject,
  STREAM_CHECKPOINT,
  streamNext,
  streamStart,
  verdictOf,
} from '@haca/protocol';
import { VerificationError } from '../errors.ts';
import type { Policy } from '../policy.ts';
import { commentText, isDoneEvent, looksDone, type SseBlock, splitSse } from './sse.ts';

export interface StreamExpectations {
  readonly crypto: CryptoProvider;
  readonly keyId: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly requestHash: Uint8Array;
  /** Most this request may cost. */
  readonly reserve: bigint;
  readonly policy: Policy;
}

export interface StreamOutcome {
  readonly receipt: SignedObject<Receipt> | null;
  readonly response: Uint8Array;
  /** Checks about the stream itself. */
  readonly checks: readonly Check[];
  /** The connection broke and nothing else was wrong with it, and this is what came when it was asked for again. */
  readonly isResumed: boolean;
}

/** How far a stream came on the connection that brought the most of it. */
export interface StreamProgress {
  readonly events: number;
  readonly bytes: number;
  /** Events that the consumer has. */
  readonly releasedEvents: number;
}

export interface VerifiedStreamOptions {
  readonly expectations: StreamExpectations;
  readonly body: ReadableStream<Uint8Array>;
  /** Asks for the same answer again after a broken connection; it starts from the first event. */
  readonly reopen: () => Promise<ReadableStream<Uint8Array>>;
  /** Called once with everything; throws `VerificationError` to withhold the end of the stream. */
  readonly finish: (outcome: StreamOutcome) => Promise<void>;
  /** The error that says of a connection which broke for good what had come by then; `cause` may be a check that failed before. */
  readonly interrupted: (cause: unknown, progress: StreamProgress) => unknown;
  /** The stream broke for good, or the consumer went away. */
  readonly abandon: (reason: unknown, isBroken: boolean) => void;
}

const BLOCK_MAX_BYTES = 4 * 1024 * 1024;
const REOPENS_MAX = 2;

export function verifiedStream(options: VerifiedStreamOptions): ReadableStream<Uint8Array> {
  const chain = chunkChain(options.expectations);
  let reader = options.body.getReader();
  let reopens = 0;
  let isOver = false;
  /** Of a connection that was given up: asked again, the answer may be whole, but no broken connection explains it. */
  let failedCheck: unknown = null;

  const failureOf = (error: unknown): unknown =>
    isFailedCheck(error) ? error : options.interrupted(failedCheck ?? error, chain.progress());

  const read = async (): Promise<Uint8Array | null> => {
    for (;;) {
      try {
        const { done, value } = await reader.read();
        if (!done) return value;
        if (chain.receipt() !== null || reopens >= REOPENS_MAX) return null;
      } catch (error) {
        if (reopens >= REOPENS_MAX) throw failureOf(error);
        if (isFailedCheck(error)) failedCheck ??= error;
      }
      reopens++;
      const again = await options.reopen().catch((error: unknown) => {
        throw failureOf(error);
      });
      reader = again.getReader();
      chain.restart();
    }
  };

  const step = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    for (;;) {
      // The receipt is the end, whether or not the connection is closed: what might follow is never released.
      const chunk = chain.isSealed() ? null : await read();
      if (chunk === null) {
        await options.finish({ ...chain.outcome(), isResumed: reopens > 0 && failedCheck === null });
        isOver = true;
        for (const bytes of chain.releaseAll()) controller.enqueue(bytes);
        controller.close();
        await reader.cancel().catch(() => undefined);
        return;
      }
      const released = chain.push(chunk);
      for (const bytes of released) controller.enqueue(bytes);
      if (released.length > 0) return;
    }
  };

  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        await step(controller);
      } catch (caught) {
        isOver = true;
        const error = caught instanceof MalformedError ? malformedStream(caught) : caught;
        options.abandon(error, true);
        await reader.cancel().catch(() => undefined);
        controller.error(error);
      }
    },
    cancel: async (reason) => {
      if (!isOver) options.abandon(reason, false);
      await reader.cancel(reason).catch(() => undefined);
    },
  });
}

/** What came was looked at and found wrong, which is no matter of connections. */
export function isFailedCheck(error: unknown): boolean {
  return error instanceof MalformedError || error instanceof VerificationError;
}

function malformedStream({ code, expected, got }: MalformedError): VerificationError {
  return new VerificationError(
    'the stream was stopped',
    verdictOf([failed('stream.format', code, expected, got)]),
  );
}

/** The state of one stream: chain head, what waits to be released, what was signed about it. */
function chunkChain(expectations: StreamExpectations) {
  const { policy, requestHash } = expectations;
  let splitter = splitSse(BLOCK_MAX_BYTES);
  let head = streamStart(requestHash);
  let events = 0;
  /** What the consumer has: after a restart exactly these events must come again, and no fewer. */
  let releasedEvents = 0;
  let releasedHead = head;
  let raw: Uint8Array[] = [];
  let rawBytes = 0;
  /** Events of this connection that wait, each with the chain head after it. */
  const held: { readonly bytes: Uint8Array; readonly head: Uint8Array }[] = [];
  let receipt: SignedObject<Receipt> | null = null;
  let isDone = false;
  let checkpoints = 0;
  let eventsAfterReceipt = 0;
  let most = { events, bytes: rawBytes };

  const refuse = (failure: Check): never => {
    throw new VerificationError('the stream was stopped', verdictOf([failure]));
  };

  const takeCheckpoint = (text: string): void => {
    const checks = checkpointChecks(text, { ...expectations, head, events });
    const bad = checks.find(({ status }) => status === 'failed');
    if (bad !== undefined && !policy.allowUnverified) refuse(bad);
    checkpoints++;
  };

  const takeEvent = (block: SseBlock): void => {
    if (receipt !== null) eventsAfterReceipt++;
    if (isDone) refuse(failed('stream.order', 'stream.after-done', 'nothing after [DONE]', 'another event'));
    head = streamNext(head, block.bytes);
    events++;
    isDone = isDoneEvent(block);
    // A reader that stops at its own idea of the end would never hear of a receipt that did not verify.
    if (!isDone && looksDone(block)) {
      refuse(failed('stream.order', 'stream.done-form', 'data: [DONE]', 'another form of it'));
    }
    if (events > releasedEvents) held.push({ bytes: block.bytes, head });
    else if (events === releasedEvents && !bytesEqual(head, releasedHead)) {
      refuse(failed('stream.replay', 'stream.replay', toHex(releasedHead), toHex(head)));
    }
  };

  const release = (count: number): Uint8Array[] => {
    const released = held.splice(0, count);
    releasedEvents += released.length;
    releasedHead = released.at(-1)?.head ?? releasedHead;
    return released.map(({ bytes }) => bytes);
  };

  /** How many of the held events may go out now. */
  const releasable = (sawCheckpoint: boolean): number => {
    const beforeDone = isDone ? held.length - 1 : held.length;
    if (policy.streamRelease === 'live') return beforeDone;
    return policy.streamRelease === 'attributed' && sawCheckpoint ? beforeDone : 0;
  };

  return {
    push: (chunk: Uint8Array): Uint8Array[] => {
      raw.push(chunk);
      rawBytes += chunk.length;
      if (rawBytes > policy.responseMaxBytes) {
        throw new MalformedError('response.size', '', `at most ${policy.responseMaxBytes} bytes`, 'more');
      }
      const released: Uint8Array[] = [];
      for (const block of splitter.push(chunk)) {
        let sawCheckpoint = false;
        if (!block.isComment) takeEvent(block);
        const checkpoint = commentText(block, 'haca-checkpoint');
        if (checkpoint !== undefined) {
          takeCheckpoint(checkpoint);
          sawCheckpoint = true;
        }
        const signed = commentText(block, 'haca-receipt');
        if (signed !== undefined && receipt === null) receipt = RECEIPT.decode(fromBase64url(signed));
        released.push(...release(releasable(sawCheckpoint)));
      }
      if (rawBytes > most.bytes) most = { events, bytes: rawBytes };
      return released;
    },
    restart: (): void => {
      // What was not released yet is as unverified as the connection it came by.
      held.length = 0;
      receipt = null;
      eventsAfterReceipt = 0;
      checkpoints = 0;
      splitter = splitSse(BLOCK_MAX_BYTES);
      head = streamStart(requestHash);
      events = 0;
      isDone = false;
      raw = [];
      rawBytes = 0;
    },
    progress: (): StreamProgress => ({ ...most, releasedEvents }),
    receipt: (): SignedObject<Receipt> | null => receipt,
    isSealed: (): boolean => receipt !== null && isDone,
    outcome: (): Omit<StreamOutcome, 'isResumed'> => ({
      receipt,
      response: concatBytes(...raw),
      checks: [
        check(
          'stream.complete',
          'stream.truncated',
          splitter.rest().length === 0,
          'whole events',
          'half an event',
        ),
        check('stream.done', 'stream.no-done', isDone, 'a last event [DONE]', `${events} events`),
        check(
          'stream.replay',
          'stream.replay',
          events >= releasedEvents,
          `the ${releasedEvents} events handed over before`,
          `${events} events`,
        ),
        check(
          'stream.sealed',
          'stream.after-receipt',
          eventsAfterReceipt === 0,
          'no event after the receipt',
          `${eventsAfterReceipt}`,
        ),
        passed('stream.checkpoints', `${checkpoints}`),
      ],
    }),
    releaseAll: (): Uint8Array[] => release(held.length),
  };
}

function checkpointChecks(
  text: string,
  at: StreamExpectations & { readonly head: Uint8Array; readonly events: number },
): Check[] {
  const checkpoint = STREAM_CHECKPOINT.decode(fromBase64url(text));
  const { value } = checkpoint;
  return [
    check(
      'stream.checkpoint.signature',
      'E_SIG',
      STREAM_CHECKPOINT.verify(at.crypto, checkpoint, at.publicKey),
      `a signature by ${toHex(at.publicKey)}`,
      'see status',
    ),
    check(
      'stream.checkpoint.subject',
      'stream.checkpoint',
      bytesEqual(value.keyId, at.keyId) && bytesEqual(value.requestHash, at.requestHash),
      `request ${toHex(at.requestHash)}`,
      `request ${toHex(value.requestHash)}`,
    ),
    check(
      'stream.checkpoint.head',
      'stream.chunk-chain',
      value.events === at.events && bytesEqual(value.head, at.head),
      `${toHex(at.head)} after ${at.events} events`,
      `${toHex(value.head)} after ${value.events} events`,
    ),
    check(
      'stream.checkpoint.charged',
      'price.reserve',
      value.charged <= at.reserve,
      `at most ${at.reserve}`,
      `${value.charged}`,
    ),
  ];
}
