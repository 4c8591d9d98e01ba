import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher, Pool } from 'undici';
import { type ChatRequest, EngineError, type EngineEvent } from '../engine.ts';
import type { EventChannel } from '../event-channel.ts';
import { type AnswerReader, createAnswerReader } from './answer-reader.ts';
import { connectionFailure, failureOf, parseOrNull } from './errors.ts';
import { createSseReader } from './sse.ts';

export interface ExchangeOptions {
  readonly pool: Pool;
  readonly dispatch: Dispatcher.DispatchOptions;
  readonly request: ChatRequest;
  readonly signal: AbortSignal;
  readonly channel: EventChannel<EngineEvent>;
  readonly totalTimeoutMs: number;
  /** The connection is free again or gone; called once. */
  readonly onClosed: () => void;
}

/** One request at the upstream server, from dispatch until its connection is free again. */
export interface Exchange {
  readonly pause: () => void;
  readonly resume: () => void;
  /** Nobody reads any more: close the connection. */
  readonly cancel: () => void;
}

export const EVENT_MAX_BYTES = 1 << 20;
const BODY_MAX_BYTES = 16 << 20;
const ERROR_BODY_MAX_BYTES = 64 << 10;
const STREAM_MAX_BYTES = 256 << 20;
/** Time a server has to end the response after `[DONE]`, so that its connection can be used again. */
const LINGER_MS = 2000;

/** Takes the bytes of one response body. */
interface BodyReader {
  readonly push: (chunk: Uint8Array) => void;
  readonly finish: () => void;
}

export function startExchange(options: ExchangeOptions): Exchange {
  const { request, signal, channel } = options;
  const answer = createAnswerReader(request.messages, request.maxOutputTokens, channel.push);
  let controller: Dispatcher.DispatchController | undefined;
  let body: BodyReader | undefined;
  let gone: Error | undefined;
  let receivedBytes = 0;

  /** Closes the connection, also if the request still waits for one. */
  const disconnect = (reason: Error): void => {
    gone ??= reason;
    controller?.abort(gone);
  };
  const fail = (error: unknown): void => {
    const failure = connectionFailure(error);
    channel.fail(failure);
    disconnect(failure);
  };
  const onAbort = (): void => {
    if (!channel.closed()) {
      channel.push(answer.end('abort'));
      channel.end();
    }
    disconnect(new Error('the request was aborted'));
  };
  let timer = setTimeout(() => fail(tooSlow(options.totalTimeoutMs)), options.totalTimeoutMs);
  let settled = false;
  const settle = (): void => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    options.onClosed();
  };
  const finishAnswer = (): void => {
    if (channel.closed()) return;
    channel.push(answer.end());
    channel.end();
    clearTimeout(timer);
    timer = setTimeout(() => disconnect(new Error('the response did not end after [DONE]')), LINGER_MS);
  };

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: (started) => {
      controller = started;
      if (gone !== undefined) started.abort(gone);
    },
    onResponseStart: (_, status, headers) => {
      if (status < 200) return;
      try {
        body = bodyReader(status, headers, answer);
      } catch (error) {
        fail(error);
      }
    },
    onResponseData: (_, chunk) => {
      receivedBytes += chunk.length;
      if (channel.closed()) return;
      try {
        if (receivedBytes > STREAM_MAX_BYTES) throw tooLarge('answer', STREAM_MAX_BYTES);
        body?.push(chunk);
        if (answer.done()) finishAnswer();
      } catch (error) {
        fail(error);
      }
    },
    onResponseEnd: () => {
      try {
        if (!channel.closed()) {
          body?.finish();
          if (!answer.complete())
            throw new EngineError('E_ENGINE', 'the upstream server ended its answer midway');
          finishAnswer();
        }
      } catch (error) {
        fail(error);
      }
      settle();
    },
    onResponseError: (_, error) => {
      channel.fail(connectionFailure(error));
      settle();
    },
  };

  if (signal.aborted) {
    onAbort();
    settle();
  } else {
    signal.addEventListener('abort', onAbort, { once: true });
    options.pool.dispatch(options.dispatch, handler);
  }
  return {
    pause: () => controller?.pause(),
    resume: () => controller?.resume(),
    cancel: () => disconnect(new Error('nobody reads the answer any more')),
  };
}

/** Chooses by status and type. Throws `EngineError` for a response that can't be an answer. */
function bodyReader(status: number, headers: IncomingHttpHeaders, answer: AnswerReader): BodyReader {
  if (status !== 200) {
    const retryAfter = headers['retry-after'];
    return wholeBody(ERROR_BODY_MAX_BYTES, 'cut', (text) => {
      throw failureOf(status, parseOrNull(text), retryAfter);
    });
  }
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new EngineError('E_ENGINE', `the upstream server answers in content encoding ${encoding}, unasked`);
  }
  const type = String(headers['content-type'] ?? '').split(';', 1)[0];
  switch (type?.trim().toLowerCase()) {
    case 'text/event-stream':
      return createSseReader(answer.chunk, EVENT_MAX_BYTES);
    case 'application/json':
      return wholeBody(BODY_MAX_BYTES, 'refuse', answer.body);
    default:
      throw new EngineError('E_ENGINE', `the upstream server answers with content type '${type}'`);
  }
}

function wholeBody(most: number, beyond: 'cut' | 'refuse', onText: (text: string) => void): BodyReader {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const finish = (): void => onText(Buffer.concat(pieces).toString('utf8'));
  return {
    push: (chunk) => {
      length += chunk.length;
      if (length <= most) pieces.push(chunk);
      else if (beyond === 'refuse') throw tooLarge('body', most);
      else finish();
    },
    finish,
  };
}

function tooLarge(what: string, most: number): EngineError {
  return new EngineError('E_ENGINE', `the upstream server sent an ${what} of more than ${most} bytes`);
}

function tooSlow(timeoutMs: number): EngineError {
  return new EngineError('E_ENGINE', `the upstream server did not finish its answer within ${timeoutMs} ms`, {
    status: 504,
  });
}
