/** The node's HTTP API on bare `node:http`: routes, limits, CORS. What an answer means is decided elsewhere. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type ListenOptions, listenOn } from '@haca/platform';
import { type OpenedRequest, type RequestPlace, SEALED_TYPE } from '@haca/platform/sealing';
import type { AnswerSink } from './answer-sink.ts';
import { ApiError, apiErrorOf, errorBody, errorHeaders } from './api-error.ts';
import type { InferenceRequest } from './inference.ts';
import { randomHex } from './random-hex.ts';
import { sealedSink } from './sealed.ts';
import type { TlsIdentity } from './tls-files.ts';
import { ZK_CONTENT_TYPE } from './zk/inference.ts';

export interface ApiHandlers {
  readonly chat: (request: InferenceRequest, sink: AnswerSink) => Promise<void>;
  readonly zkInference: (request: InferenceRequest, sink: AnswerSink) => Promise<void>;
  /** Opens a sealed request; `ApiError` where it can't be. */
  readonly openSealed: (sealed: Uint8Array, place: RequestPlace) => Promise<OpenedRequest>;
  readonly models: () => unknown;
  readonly model: (id: string) => unknown;
  readonly info: () => unknown;
  readonly receipt: (id: string) => Promise<unknown>;
  /** The transaction that proved a receipt, as it was sent. */
  readonly proofTransaction: (id: string) => Promise<Uint8Array>;
  readonly attestation: (keyId: string) => unknown;
  readonly lane: (channelId: string, lane: string, keyId: string) => Promise<unknown>;
  /** Named checks; the node is ready if each says `ok`. */
  readonly readiness: () => Promise<Readonly<Record<string, string>>>;
  readonly metrics: () => string;
  readonly refused: (code: string) => void;
  /** An error nobody foresaw. */
  readonly report: (error: unknown) => void;
}

export interface ApiServer {
  readonly port: number;
  /** Takes no further connection and closes those that wait; resolves when the last answer is out. */
  readonly drain: () => Promise<void>;
  /** Breaks every connection that is left. */
  readonly closeAll: () => void;
}

export interface ApiLimits {
  /** A client that takes nothing for this long is gone. */
  readonly stalledMs: number;
  /** Bodies that are being read at one time. */
  readonly bodiesMaxBytes: number;
}

const LIMITS: ApiLimits = { stalledMs: 30_000, bodiesMaxBytes: 256 * 1024 * 1024 };
const BODY_MAX_BYTES = 4 * 1024 * 1024;
const REST_MAX_BYTES = 64 * 1024 * 1024;
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 65_000;
/** Connections waiting to be accepted; beyond the usual 511 a burst of clients has its connections reset by the kernel. */
const BACKLOG = 4_096;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,64}$/;

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers':
    'x-request-id, openai-processing-ms, x-haca-receipt-id, x-haca-receipt, x-haca-node-id, x-haca-overhead-us, x-haca-replayed, x-haca-sealed',
};
/** What a browser asks before it sends the request itself. */
const PREFLIGHT = {
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  // The wildcard does not cover `authorization`.
  'access-control-allow-headers': '*, authorization',
  'access-control-max-age': '86400',
};
const CORS_HEADERS = Object.entries(CORS);

export async function startApiServer(
  listen: ListenOptions,
  handlers: ApiHandlers,
  limits: ApiLimits = LIMITS,
  tls: Pick<TlsIdentity, 'certificate' | 'key'> | null = null,
): Promise<ApiServer> {
  let isDraining = false;
  const read = bodyReader(limits.bodiesMaxBytes);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('x-request-id', `req_${randomHex(12)}`);
    for (const [name, value] of CORS_HEADERS) response.setHeader(name, value);
    if (isDraining) response.setHeader('connection', 'close');
    route(handlers, read, limits, request, response).catch((error: unknown) =>
      answerError(handlers, request, response, error),
    );
  };
  const server = tls === null ? createServer(onRequest) : createTlsServer(tlsOptions(tls), onRequest);
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const port = await listenOn(server, { ...listen, backlog: BACKLOG });
  return {
    port,
    drain: () => {
      isDraining = true;
      return drainServer(server);
    },
    closeAll: () => server.closeAllConnections(),
  };
}

function tlsOptions({ certificate: cert, key }: Pick<TlsIdentity, 'certificate' | 'key'>) {
  return { cert, key, minVersion: 'TLSv1.2', handshakeTimeout: HEADERS_TIMEOUT_MS } as const;
}

function drainServer(server: Server): Promise<void> {
  return new Promise((settle) => {
    // A connection is kept alive after its answer: each is closed as soon as it waits.
    const timer = setInterval(() => server.closeIdleConnections(), 20);
    server.close(() => {
      clearInterval(timer);
      settle();
    });
    server.closeIdleConnections();
  });
}

type ReadBody = (request: IncomingMessage) => Promise<Uint8Array>;

async function route(
  handlers: ApiHandlers,
  read: ReadBody,
  limits: ApiLimits,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  const { method } = request;
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  if (method === 'OPTIONS') {
    response.writeHead(204, PREFLIGHT).end();
    return;
  }
  if (method === 'POST' && path === '/v1/chat/completions') {
    return infer(handlers, handlers.chat, path, read, limits, startedAt, request, response);
  }
  if (method === 'POST' && path === '/v1/zk/inferences') {
    const checked: ReadBody = async () => {
      const body = await read(request);
      if (!isSealed(request)) requireCbor(request);
      return body;
    };
    return infer(handlers, handlers.zkInference, path, checked, limits, startedAt, request, response);
  }
  if (method !== 'GET') throw unknownRoute(method, path);
  await get(handlers, path, new URLSearchParams(query), response);
}

type Infer = ApiHandlers['chat'];

/** An inference by either path. What is sealed comes back sealed, refusals too. */
async function infer(
  handlers: ApiHandlers,
  serve: Infer,
  path: string,
  read: ReadBody,
  limits: ApiLimits,
  startedAt: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await read(request);
  const headers = chatHeaders(request);
  const plainSink = sinkOf(response, limits);
  if (!isSealed(request)) return serve({ body, ...headers, startedAt }, plainSink);
  const { voucherHeader: voucher = null, idempotencyKey = null } = headers;
  const opened = await handlers.openSealed(body, { path, voucher, idempotencyKey });
  const sink = sealedSink(plainSink, opened.answer, handlers.report);
  try {
    await serve({ body: opened.body, ...headers, startedAt }, sink);
  } catch (error) {
    const apiError = apiErrorOf(error, handlers.report);
    handlers.refused(apiError.code);
    if (sink.hasBegun()) {
      response.destroy();
      return;
    }
    sink.head(apiError.status, errorHeaders(apiError));
    await sink.write(errorBody(apiError));
    sink.end();
  }
}

function isSealed(request: IncomingMessage): boolean {
  return contentTypeOf(request) === SEALED_TYPE;
}

function contentTypeOf({ headers }: IncomingMessage): string {
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  return type.trim().toLowerCase();
}

function unknownRoute(method: string | undefined, path: string): ApiError {
  return new ApiError('E_REQUEST', `${method} ${path.slice(0, 200)} is not part of this API.`, {
    status: 404,
  });
}

async function get(
  handlers: ApiHandlers,
  path: string,
  query: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  const [area, name, ...rest] = path.split('/').slice(1).map(decodePart);
  const [id, second] = rest;
  switch (`${area}/${name ?? ''} ${rest.length}`) {
    case 'v1/models 0':
      return json(response, handlers.models());
    case 'v1/haca 0':
      return json(response, handlers.info());
    case 'v1/receipts 1':
      return json(response, await handlers.receipt(id ?? ''));
    case 'v1/receipts 2':
      if (second !== 'proof') break;
      return cbor(response, await handlers.proofTransaction(id ?? ''));
    case 'v1/attestation 1':
      return json(response, handlers.attestation(id ?? ''));
    case 'v1/lanes 2':
      return json(response, await handlers.lane(id ?? '', second ?? '', query.get('key') ?? ''));
    case 'health/live 0':
      return json(response, { status: 'ok' });
    case 'health/ready 0':
    case 'health/ 0': {
      const checks = await handlers.readiness();
      const ready = Object.values(checks).every((state) => state === 'ok');
      return json(response, { ready, checks }, ready ? 200 : 503);
    }
    case 'metrics/ 0':
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(handlers.metrics());
      return;
  }
  // Names of models have slashes, and not every client escapes them.
  if (area === 'v1' && name === 'models') return json(response, handlers.model(rest.join('/')));
  throw unknownRoute('GET', path);
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ApiError('E_REQUEST', 'The path is not percent-encoded UTF-8.');
  }
}

/** What is hashed is what was sent: a body that something on the way re-encoded would be another request. */
function requireCbor(request: IncomingMessage): void {
  if (contentTypeOf(request) === ZK_CONTENT_TYPE) return;
  throw new ApiError('E_REQUEST', `The content type is ${ZK_CONTENT_TYPE}.`, { param: 'content-type' });
}

function chatHeaders({
  headers,
}: IncomingMessage): Pick<InferenceRequest, 'voucherHeader' | 'idempotencyKey'> {
  const key = headers['x-haca-idempotency-key'];
  if (key !== undefined && (typeof key !== 'string' || !IDEMPOTENCY_KEY.test(key))) {
    throw new ApiError('E_REQUEST', 'x-haca-idempotency-key has 1 to 64 visible characters.');
  }
  const voucher = headers['x-haca-voucher'];
  return { voucherHeader: typeof voucher === 'string' ? voucher : undefined, idempotencyKey: key };
}

/** A slow client slows the engine down; a gone or stalled one stops it. */
function sinkOf(response: ServerResponse, { stalledMs }: ApiLimits): AnswerSink {
  const gone = new AbortController();
  // Every response closes in the end; only one that closes before it was sent lost its client.
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  if (response.destroyed) gone.abort();
  return {
    signal: gone.signal,
    head: (status, headers) => {
      if (!gone.signal.aborted) response.writeHead(status, headers);
    },
    write: (bytes) => {
      if (gone.signal.aborted || response.write(bytes)) return Promise.resolve();
      return drained(response, gone.signal, stalledMs);
    },
    end: () => {
      if (!gone.signal.aborted) response.end();
    },
  };
}

function drained(response: ServerResponse, gone: AbortSignal, stalledMs: number): Promise<void> {
  return new Promise((settle) => {
    const timer = setTimeout(() => response.destroy(), stalledMs);
    const go = (): void => {
      clearTimeout(timer);
      response.off('drain', go);
      gone.removeEventListener('abort', go);
      settle();
    };
    response.once('drain', go);
    gone.addEventListener('abort', go, { once: true });
  });
}

/** Reads bodies within a limit for each and one for all that are under way. */
function bodyReader(bodiesMaxBytes: number): ReadBody {
  let underWayBytes = 0;
  return async (request) => {
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > BODY_MAX_BYTES) throw tooLarge();
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      await new Promise<void>((settle, fail) => {
        request.on('data', (chunk: Buffer) => {
          length += chunk.length;
          underWayBytes += chunk.length;
          chunks.push(chunk);
          if (length > BODY_MAX_BYTES) fail(tooLarge());
          else if (underWayBytes > bodiesMaxBytes)
            fail(new ApiError('E_BUSY', 'Too many large requests at one time.'));
        });
        let isWhole = false;
        request.once('end', () => {
          isWhole = true;
          settle();
        });
        // Every request closes in the end, the answered ones too.
        const onCut = (): void => {
          if (!isWhole) fail(cutOff());
        };
        request.once('error', onCut);
        request.once('close', onCut);
      });
    } finally {
      underWayBytes -= length;
      request.removeAllListeners('data');
    }
    return new Uint8Array(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
  };
}

function tooLarge(): ApiError {
  return new ApiError('E_TOO_LARGE', `A body has at most ${BODY_MAX_BYTES} bytes.`);
}

function cutOff(): ApiError {
  return new ApiError('E_REQUEST', 'The connection ended before the body did.');
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  const body = Buffer.from(JSON.stringify(value));
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': `${body.length}` })
    .end(body);
}

function cbor(response: ServerResponse, body: Uint8Array): void {
  response.writeHead(200, { 'content-type': ZK_CONTENT_TYPE, 'content-length': `${body.length}` }).end(body);
}

function answerError(
  handlers: ApiHandlers,
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): void {
  const apiError = apiErrorOf(error, handlers.report);
  handlers.refused(apiError.code);
  // An answer that has begun can't become a refusal any more: it breaks off, without the receipt that would end it.
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // The rest of a body is read and thrown away, within reason: a client that still sends does not look for an answer.
  let restBytes = 0;
  request.on('data', (chunk: Buffer) => {
    restBytes += chunk.length;
    if (restBytes > REST_MAX_BYTES) request.destroy();
  });
  const body = errorBody(apiError);
  response.writeHead(apiError.status, { ...errorHeaders(apiError), 'content-length': `${body.length}` });
  response.end(body);
}
