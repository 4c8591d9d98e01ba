/** The RPC server: JSON-RPC over POST, plain GET, and WebSocket with subscriptions. Bounded in every direction. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type ListenOptions, listenOn } from '@haca/platform';
import { WebSocket, WebSocketServer } from 'ws';
import { breather } from './breather.ts';
import {
  faultJson,
  methodFault,
  parseFault,
  parseRpcRequest,
  RpcFault,
  type RpcId,
  readJsonParams,
  readUriParams,
  requestFault,
  resultJson,
} from './json-rpc.ts';
import { faultOf, METHODS, type RpcContext } from './methods.ts';
import { createPipelineLimit } from './pipeline.ts';
import { createSubscriptions, eventsOfBlock, type Subscriptions } from './subscriptions.ts';

export interface RpcLimits {
  readonly bodyBytes: number;
  readonly batch: number;
  /** A batch is cut off once its answers are this long. */
  readonly batchAnswerBytes: number;
  readonly connections: number;
  /** WebSocket connections with subscriptions or without. */
  readonly sockets: number;
  /** What a slow WebSocket client may have waiting before it is dropped. */
  readonly socketBacklogBytes: number;
  /** A WebSocket client that answers no ping within this time is gone. */
  readonly pingIntervalMs: number;
}

export const RPC_LIMITS: RpcLimits = {
  bodyBytes: 1_500_000,
  batch: 20,
  batchAnswerBytes: 32 * 1024 * 1024,
  connections: 1_000,
  sockets: 100,
  socketBacklogBytes: 8 * 1024 * 1024,
  pingIntervalMs: 30_000,
};

/** A page served beside the RPC, such as the explorer. */
export interface StaticPage {
  readonly contentType: string;
  readonly body: string;
}

export interface RpcServerOptions extends ListenOptions {
  readonly context: RpcContext;
  readonly limits?: Partial<RpcLimits>;
  readonly pages?: ReadonlyMap<string, StaticPage>;
  readonly log: (line: string) => void;
}

export interface RpcServer {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Where a server on that port is reached. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Resolves once it listens; rejects where the port is taken. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const limits = { ...RPC_LIMITS, ...options.limits };
  const { context, log } = options;
  const mayServe = createPipelineLimit();
  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 }, (request, response) => {
    if (!mayServe(request, response)) return;
    serve(request, response).catch((error: unknown) => {
      log(`rpc: ${request.method} ${request.url?.slice(0, 80)}: ${String(error)}`);
      response.destroy();
    });
  });
  server.maxConnections = limits.connections;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: limits.bodyBytes });
  const subscribers = new Map<WebSocket, Subscriptions>();

  const answer = async (value: unknown, subscriptions: Subscriptions | null): Promise<string | null> => {
    let id: RpcId = null;
    try {
      const request = parseRpcRequest(value);
      id = request.id ?? null;
      const result =
        subscriptions === null ? undefined : subscribing(subscriptions, id, request.method, request.params);
      const answered = result ?? (await call(request.method, request.params));
      return request.id === undefined ? null : resultJson(id, answered);
    } catch (error) {
      if (!(error instanceof RpcFault)) log(`rpc: ${String(error)}`);
      return faultJson(id, faultOf(error));
    }
  };

  const call = async (name: string, params: unknown): Promise<unknown> => {
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
    if (method === undefined) throw methodFault();
    return await method.answer(context, readJsonParams(method.params, params));
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.setHeader('access-control-allow-origin', '*');
    if (request.method === 'OPTIONS') {
      response.setHeader('access-control-allow-methods', 'GET, POST, OPTIONS');
      response.setHeader('access-control-allow-headers', 'content-type');
      response.setHeader('access-control-max-age', '86400');
      response.writeHead(204).end();
      return;
    }
    if (request.method === 'POST') return await servePost(request, response);
    if (request.method === 'GET' || request.method === 'HEAD') return await serveGet(request, response);
    send(response, 405, 'text/plain', 'GET or POST\n');
  };

  const servePost = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await readBody(request, limits.bodyBytes);
    if (body === null) {
      response.setHeader('connection', 'close');
      const fault = requestFault(`request body larger than ${limits.bodyBytes} bytes`);
      send(response, 413, JSON_TYPE, faultJson(null, fault));
      return;
    }
    const [status, text] = await answerText(body, null);
    send(response, status, JSON_TYPE, text);
  };

  /** Status and body for one request or a batch of them. */
  const answerText = async (
    body: string,
    subscriptions: Subscriptions | null,
  ): Promise<readonly [number, string]> => {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return [500, faultJson(null, parseFault('error unmarshaling request'))];
    }
    if (!Array.isArray(value)) return [200, (await answer(value, subscriptions)) ?? ''];
    if (value.length === 0 || value.length > limits.batch) {
      return [500, faultJson(null, requestFault(`a batch has 1 to ${limits.batch} requests`))];
    }
    const answers: string[] = [];
    const breathe = breather();
    let sizeBytes = 0;
    for (const each of value) {
      await breathe();
      const isOver = sizeBytes > limits.batchAnswerBytes;
      const text = isOver
        ? faultJson(null, requestFault('the answers before this one are too long for one batch'))
        : await answer(each, subscriptions);
      sizeBytes += text?.length ?? 0;
      if (text !== null) answers.push(text);
    }
    return [200, answers.length === 0 ? '' : `[${answers.join(',')}]`];
  };

  const serveGet = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = URL.parse(request.url ?? '/', 'http://rpc');
    const page = url === null ? undefined : options.pages?.get(url.pathname);
    if (page !== undefined) {
      send(response, 200, page.contentType, page.body);
      return;
    }
    const name = url?.pathname.slice(1) ?? '';
    if (url === null || name === '') {
      send(response, 200, 'text/plain', `${Object.keys(METHODS).join('\n')}\n`);
      return;
    }
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
    if (method === undefined) {
      send(response, 404, JSON_TYPE, faultJson(-1, methodFault()));
      return;
    }
    try {
      const result = await method.answer(context, readUriParams(method.params, url.searchParams));
      send(response, 200, JSON_TYPE, resultJson(-1, result));
    } catch (error) {
      if (faultOf(error).data === 'the node could not answer') log(`rpc: ${name}: ${String(error)}`);
      send(response, 500, JSON_TYPE, faultJson(-1, faultOf(error)));
    }
  };

  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (
      URL.parse(request.url ?? '', 'http://rpc')?.pathname !== '/websocket' ||
      subscribers.size >= limits.sockets
    ) {
      refuseUpgrade(socket);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => serveSocket(client));
  });

  const serveSocket = (client: WebSocket): void => {
    const subscriptions = createSubscriptions();
    subscribers.set(client, subscriptions);
    client.on('close', () => subscribers.delete(client));
    client.on('error', () => client.terminate());
    client.on('pong', () => unanswered.delete(client));
    // One request of a connection at a time, in order; what waits is bounded by pausing the socket.
    let queue = Promise.resolve();
    let waiting = 0;
    client.on('message', (data, isBinary) => {
      if (++waiting >= SOCKET_QUEUE_MAX) client.pause();
      const answered = async (): Promise<void> => {
        const [, text] = isBinary
          ? [0, faultJson(null, parseFault('text frames only'))]
          : await answerText(data.toString(), subscriptions);
        deliver(client, text);
        if (--waiting < SOCKET_QUEUE_MAX && client.isPaused) client.resume();
      };
      queue = queue.then(answered).catch((error: unknown) => {
        log(`rpc: dropped a WebSocket client: ${String(error)}`);
        client.terminate();
      });
    });
  };

  const deliver = (client: WebSocket, text: string): void => {
    if (text === '' || client.readyState !== WebSocket.OPEN) return;
    if (client.bufferedAmount > limits.socketBacklogBytes) {
      log('rpc: dropped a WebSocket client that does not keep up');
      client.terminate();
      return;
    }
    client.send(text);
  };

  const stopEvents = context.engine.onBlock((committed) => {
    if (subscribers.size === 0) return;
    // Whoever makes blocks must not fail because somebody could not be told.
    try {
      const events = eventsOfBlock(committed);
      for (const [client, subscriptions] of subscribers) {
        for (const message of subscriptions.messagesFor(events)) deliver(client, message);
      }
    } catch (error) {
      log(`rpc: events of block ${committed.block.header.height} not delivered: ${String(error)}`);
    }
  });

  const unanswered = new WeakSet<WebSocket>();
  const pinger = setInterval(() => {
    for (const client of subscribers.keys()) {
      if (unanswered.has(client)) client.terminate();
      unanswered.add(client);
      client.ping();
    }
  }, limits.pingIntervalMs);
  pinger.unref();

  const { host, port, anyPortIfTaken = false } = options;
  const url = urlOf(host, await listenOn(server, { host, port, anyPortIfTaken }));
  return {
    url,
    close: async () => {
      stopEvents();
      clearInterval(pinger);
      for (const client of subscribers.keys()) client.terminate();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Ends a connection that wanted to become another one: the HTTP server knows it no more, and sets it no time. */
export function refuseUpgrade(socket: Socket): void {
  socket.once('finish', () => socket.destroy());
  socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n');
}

const JSON_TYPE = 'application/json';
const SOCKET_QUEUE_MAX = 8;

/** The result of a subscription method, or undefined where `method` is none. */
function subscribing(
  subscriptions: Subscriptions,
  id: RpcId,
  method: string,
  params: unknown,
): object | undefined {
  if (method === 'unsubscribe_all') {
    subscriptions.removeAll();
    return {};
  }
  if (method !== 'subscribe' && method !== 'unsubscribe') return undefined;
  const query = readJsonParams([{ name: 'query', kind: 'text' }], params).text('query') ?? '';
  if (method === 'subscribe') subscriptions.add(id, query);
  else subscriptions.remove(query);
  return {};
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** The body as text, or null where it is larger than `maxBytes`. */
async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | null> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return null;
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    sizeBytes += part.length;
    if (sizeBytes > maxBytes) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
