import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request the server got. `closed` resolves when its connection or response is finished, whoever ended it. */
export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readonly<Record<string, unknown>>;
  readonly closed: Promise<void>;
}

export interface OpenAiServer {
  readonly baseUrl: string;
  readonly received: Received[];
  /** Connections accepted so far. */
  readonly connections: () => number;
  readonly close: () => Promise<void>;
}

export type Reply = (response: ServerResponse, socket: Socket, received: Received) => void | Promise<void>;

/** A real HTTP server on the loopback interface; `reply` writes whatever bytes the test is about. */
export async function startOpenAiServer(reply: Reply): Promise<OpenAiServer> {
  const received: Received[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const text = Buffer.concat(pieces).toString('utf8');
      const one: Received = {
        path: request.url ?? '',
        headers: request.headers,
        body: text === '' ? {} : JSON.parse(text),
        closed: new Promise((resolve) => response.once('close', resolve)),
      };
      received.push(one);
      void reply(response, request.socket, one);
    });
  });
  server.on('connection', () => {
    connections++;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    received,
    connections: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function sseHead(response: ServerResponse, extra: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', ...extra });
}

export function chunkOf(delta: unknown, finishReason: string | null = null, extra: object = {}): object {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'upstream-model',
    choices: [{ index: 0, delta, finish_reason: finishReason, ...extra }],
  };
}

export const USAGE_CHUNK = {
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  system_fingerprint: 'fp_1',
  choices: [],
  usage: { prompt_tokens: 11, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } },
};

export const event = (data: unknown): string =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

/** A complete stream: three words, usage, `[DONE]`. */
export const HELLO_STREAM = [
  event(chunkOf({ role: 'assistant', content: '' })),
  event(chunkOf({ content: 'Hällo' })),
  event(chunkOf({ content: ', ' })),
  event(chunkOf({ content: '😀' })),
  event(chunkOf({}, 'stop')),
  event(USAGE_CHUNK),
  event('[DONE]'),
].join('');
export const HELLO_TEXT = 'Hällo, 😀';
