/** The node's HTTP API on bare `node:http`: routes, limits, CORS. What an answer means is decided elsewhere. */

import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiError, errorBody } from './api-error.ts';
import { type AnswerSink, apiErrorOf } from './inference.ts';
import { WalFailedError } from './write-ahead-log.ts';

export interface ApiHandlers {
  readonly chat: (
    request: {
      readonly body: Uint8Array;
      readonly voucherHeader: string | undefined;
      readonly idempotencyKey: string | undefined;
      readonly startedAt: number;
    },
    sink: AnswerSink,
  ) => Promise<void>;
  readonly models: () => unknown;
  readonly model: (id: string) => unknown;
  readonly info: () => unknown;
  readonly receipt: (id: string) => unknown;
  readonly attestation: (keyId: string) => unknown;
  readonly lane: (channelId: string, lane: string, keyId: string) => Promise<unknown>;
  /** Named checks; the node is ready if none says otherwise. */
  readonly readiness: () => Promise<Readonly<Record<string, string>>>;
  readonly metrics: () => string;
  readonly refused: (code: string) => void;
}

export interface ApiServer {
  readonly port: number;
  /** Stops accepting and waits for running answers; `forced` ends them. */
  readonly close: (forced?: boolean) => Promise<void>;
}

const BODY_MAX_BYTES = 4 * 1024 * 1024;
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 65_000;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,64}$/;

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  'access-control-allow-headers': '*',
  'access-control-max-age': '86400',
  'access-control-expose-headers':
    'x-request-id, openai-processing-ms, x-haca-receipt-id, x-haca-receipt, x-haca-node-id, x-haca-overhead-us, x-haca-replayed',
};

export async function startApiServer(host: string, port: number, handlers: ApiHandlers): Promise<ApiServer> {
  const server = createServer((request, response) => {
    response.setHeader('x-request-id', `req_${randomBytes(12).toString('hex')}`);
    for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    route(handlers, request, response).catch((error: unknown) => answerError(handlers, response, error));
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((settle, fail) => {
    server.once('error', fail);
    server.listen(port, host, settle);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: (forced = false) => closeServer(server, forced),
  };
}

function closeServer(server: Server, forced: boolean): Promise<void> {
  return new Promise((settle) => {
    server.close(() => settle());
    server.closeIdleConnections();
    if (forced) server.closeAllConnections();
  });
}

async function route(
  handlers: ApiHandlers,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  const { method } = request;
  const url = new URL(request.url ?? '/', 'http://node');
  const parts = url.pathname.split('/').filter((part) => part !== '');
  if (method === 'OPTIONS') {
    response.writeHead(204).end();
    return;
  }
  if (method === 'POST' && url.pathname === '/v1/chat/completions') {
    await chat(handlers, request, response, startedAt);
    return;
  }
  if (method !== 'GET')
    throw new ApiError('E_REQUEST', `${method} ${url.pathname} is not part of this API.`, { status: 404 });
  await get(handlers, parts, url, response);
}

async function get(
  handlers: ApiHandlers,
  parts: readonly string[],
  url: URL,
  response: ServerResponse,
): Promise<void> {
  const [first, second, third, fourth, ...more] = parts;
  const path = parts.length > 0 && more.length === 0 ? `${first}/${second ?? ''}` : '';
  if (path === 'v1/models')
    return json(
      response,
      third === undefined ? handlers.models() : handlers.model(decodeURIComponent(third)),
    );
  if (path === 'v1/haca' && third === undefined) return json(response, handlers.info());
  if (path === 'v1/receipts' && third !== undefined) return json(response, handlers.receipt(third));
  if (path === 'v1/attestation' && third !== undefined) return json(response, handlers.attestation(third));
  if (path === 'v1/lanes' && third !== undefined && fourth !== undefined) {
    return json(response, await handlers.lane(third, fourth, url.searchParams.get('key') ?? ''));
  }
  if (path === 'health/live') return json(response, { status: 'ok' });
  if (path === 'health/ready' || path === 'health/') {
    const checks = await handlers.readiness();
    const ready = Object.values(checks).every((state) => state === 'ok');
    return json(response, { ready, checks }, ready ? 200 : 503);
  }
  if (path === 'metrics/') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(handlers.metrics());
    return;
  }
  throw new ApiError('E_REQUEST', `GET ${url.pathname} is not part of this API.`, { status: 404 });
}

async function chat(
  handlers: ApiHandlers,
  request: IncomingMessage,
  response: ServerResponse,
  startedAt: number,
): Promise<void> {
  const body = await readBody(request);
  const key = request.headers['x-haca-idempotency-key'];
  if (key !== undefined && (typeof key !== 'string' || !IDEMPOTENCY_KEY.test(key))) {
    throw new ApiError('E_REQUEST', 'x-haca-idempotency-key has 1 to 64 visible characters.');
  }
  const voucher = request.headers['x-haca-voucher'];
  const voucherHeader = typeof voucher === 'string' ? voucher : undefined;
  await handlers.chat({ body, voucherHeader, idempotencyKey: key, startedAt }, sinkOf(response));
}

/** A slow client slows the engine down; a gone one stops it. */
function sinkOf(response: ServerResponse): AnswerSink {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return {
    signal: gone.signal,
    head: (status, headers) => {
      if (!gone.signal.aborted) response.writeHead(status, headers);
    },
    write: (bytes) => {
      if (gone.signal.aborted || response.write(bytes)) return Promise.resolve();
      return new Promise((settle) => {
        const go = (): void => {
          response.off('drain', go);
          gone.signal.removeEventListener('abort', go);
          settle();
        };
        response.once('drain', go);
        gone.signal.addEventListener('abort', go, { once: true });
      });
    },
    end: () => {
      if (!gone.signal.aborted) response.end();
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_MAX_BYTES)
      throw new ApiError('E_TOO_LARGE', `A body has at most ${BODY_MAX_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return new Uint8Array(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  const body = Buffer.from(JSON.stringify(value));
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': `${body.length}` })
    .end(body);
}

function answerError(handlers: ApiHandlers, response: ServerResponse, error: unknown): void {
  const apiError =
    error instanceof WalFailedError ? new ApiError('E_UNAVAILABLE', 'The disk failed.') : apiErrorOf(error);
  handlers.refused(apiError.code);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // Retrying the same thing helps only where the node, not the request, was in the way.
  response.setHeader(
    'x-should-retry',
    apiError.status === 503 || apiError.code === 'E_LANE_BUSY' ? 'true' : 'false',
  );
  json(response, errorBody(apiError), apiError.status);
}
