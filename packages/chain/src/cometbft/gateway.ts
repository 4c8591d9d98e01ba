/**
 * The public face of a full node on CometBFT: one address for CometBFT's RPC and the explorer's page, which stays up while
 * the processes behind it are started again, and says so instead of refusing connections.
 */
import {
  Agent,
  createServer,
  type IncomingMessage,
  type ServerResponse,
  request as sendRequest,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import { type ListenOptions, listenOn } from '@haca/platform';
import { faultJson, RpcFault } from '../rpc/json-rpc.ts';
import { createPipelineLimit } from '../rpc/pipeline.ts';
import { RPC_LIMITS, refuseUpgrade, type StaticPage, urlOf } from '../rpc/server.ts';

export interface GatewayOptions extends ListenOptions {
  /** The port on 127.0.0.1 that CometBFT's RPC listens on now. */
  readonly rpcPort: () => number;
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** What the processes behind it are doing, for people: part of the answer while CometBFT gives none. */
  readonly state: () => string;
}

export interface Gateway {
  readonly url: string;
  readonly close: () => Promise<void>;
}

const LOOPBACK = '127.0.0.1';
/** Longer than any answer of CometBFT: it waits 10 s in broadcast_tx_commit. */
const ANSWER_TIMEOUT_MS = 30_000;
const FORWARDED_HEADERS = ['accept'] as const;
/** Those of a body, which only a POST has. */
const BODY_HEADERS = ['content-type', 'content-length'] as const;

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { rpcPort } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const tunnels = new Set<Socket>();
  const mayServe = createPipelineLimit();

  const forward = (incoming: IncomingMessage, response: ServerResponse): void => {
    const outgoing = sendRequest({
      host: LOOPBACK,
      port: rpcPort(),
      agent,
      method: incoming.method,
      path: incoming.url,
      headers: headersOf(incoming),
      timeout: ANSWER_TIMEOUT_MS,
    });
    outgoing.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, {
        'content-type': answer.headers['content-type'] ?? 'application/json',
        'x-content-type-options': 'nosniff',
      });
      answer.once('error', () => response.destroy());
      answer.pipe(response);
    });
    outgoing.once('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('error', () => {
      incoming.unpipe(outgoing);
      incoming.resume();
      if (response.headersSent) response.destroy();
      else sendNotReady(response, options.state());
    });
    response.once('close', () => outgoing.destroy());
    incoming.once('error', () => outgoing.destroy());
    if (incoming.method === 'POST') incoming.pipe(outgoing);
    else {
      // Node sends the body of these without framing, and CometBFT would read it as the next request of the connection.
      incoming.resume();
      outgoing.end();
    }
  };

  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 }, (incoming, response) => {
    if (!mayServe(incoming, response)) return;
    response.setHeader('access-control-allow-origin', '*');
    const { method = '' } = incoming;
    if (method === 'OPTIONS') {
      response.setHeader('access-control-allow-methods', 'GET, POST, OPTIONS');
      response.setHeader('access-control-allow-headers', 'content-type');
      response.setHeader('access-control-max-age', '86400');
      response.writeHead(204).end();
      return;
    }
    const page = method === 'GET' || method === 'HEAD' ? pageOf(options.pages, incoming.url) : undefined;
    if (page !== undefined) {
      response.writeHead(200, {
        'content-type': page.contentType,
        'content-length': Buffer.byteLength(page.body),
        'x-content-type-options': 'nosniff',
      });
      response.end(method === 'HEAD' ? undefined : page.body);
    } else if (method === 'GET' || method === 'POST' || method === 'HEAD') forward(incoming, response);
    else response.writeHead(405, { 'content-type': 'text/plain' }).end('GET or POST\n');
  });
  server.maxConnections = RPC_LIMITS.connections;

  server.on('upgrade', (incoming: IncomingMessage, client: Socket, head: Buffer) => {
    client.on('error', () => client.destroy());
    const isKnown = URL.parse(incoming.url ?? '', 'http://rpc')?.pathname === '/websocket';
    if (!isKnown || tunnels.size >= RPC_LIMITS.sockets) {
      refuseUpgrade(client);
      return;
    }
    const upstream = connect(rpcPort(), LOOPBACK);
    tunnels.add(client);
    const drop = (): void => {
      tunnels.delete(client);
      client.destroy();
      upstream.destroy();
    };
    upstream.once('error', drop).once('close', drop);
    client.once('close', drop);
    upstream.write(upgradeHead(incoming));
    upstream.write(head);
    client.pipe(upstream).pipe(client);
  });

  const { host, port, anyPortIfTaken = false } = options;
  const url = urlOf(host, await listenOn(server, { host, port, anyPortIfTaken }));
  return {
    url,
    close: async () => {
      for (const tunnel of tunnels) tunnel.destroy();
      agent.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function headersOf(incoming: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = { host: 'rpc' };
  const names = incoming.method === 'POST' ? [...FORWARDED_HEADERS, ...BODY_HEADERS] : FORWARDED_HEADERS;
  for (const name of names) {
    const value = incoming.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

function pageOf(pages: GatewayOptions['pages'], url = '/'): StaticPage | undefined {
  const path = URL.parse(url, 'http://rpc')?.pathname;
  return path === undefined ? undefined : pages?.get(path);
}

/** The origin is left out: CometBFT refuses foreign ones, and whoever may read this RPC may read it from a page too. */
function upgradeHead({ headers }: IncomingMessage): string {
  const names = [
    'upgrade',
    'connection',
    'sec-websocket-key',
    'sec-websocket-version',
    'sec-websocket-protocol',
  ];
  const lines = names.flatMap((name) => (headers[name] === undefined ? [] : [`${name}: ${headers[name]}`]));
  return `GET /websocket HTTP/1.1\r\nhost: rpc\r\n${lines.join('\r\n')}\r\n\r\n`;
}

function sendNotReady(response: ServerResponse, state: string): void {
  const text = faultJson(null, new RpcFault(-32_000, 'The node is not ready', state));
  response.writeHead(503, { 'content-type': 'application/json', 'retry-after': '1' });
  response.end(text);
}
