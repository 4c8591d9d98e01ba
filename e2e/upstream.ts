/** An OpenAI-compatible server for a node to stand in front of: it says the prompt again, word by word. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface UpstreamServer {
  /** Up to and including the version. */
  readonly baseUrl: string;
  /** Headers of the chat requests that arrived, oldest first. */
  readonly seen: readonly IncomingHttpHeaders[];
  readonly close: () => Promise<void>;
}

export interface UpstreamOptions {
  readonly model: string;
  /** A stream waits for this before it ends. */
  readonly beforeEnd?: () => Promise<void>;
}

interface ChatBody {
  readonly messages?: readonly { readonly content?: unknown }[];
  readonly stream?: boolean;
  readonly max_tokens?: number;
}

export async function startUpstream({
  model,
  beforeEnd = () => Promise.resolve(),
}: UpstreamOptions): Promise<UpstreamServer> {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      sendJson(response, { object: 'list', data: [{ id: model, object: 'model' }] });
      return;
    }
    seen.push(request.headers);
    // A node that is killed takes its connection with it; the answer then goes nowhere.
    readJson(request)
      .then((body) => answer(response, model, body, beforeEnd))
      .catch(() => response.destroy());
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    seen,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

/** What the server answers to a prompt. */
export function echoOf(prompt: string): string {
  return `You said: ${prompt}`;
}

async function answer(
  response: ServerResponse,
  model: string,
  { messages, stream, max_tokens: limit }: ChatBody,
  beforeEnd: () => Promise<void>,
): Promise<void> {
  const prompt = String(messages?.at(-1)?.content ?? '');
  const all = echoOf(prompt).split(/(?<= )/);
  const words = all.slice(0, limit ?? all.length);
  const finishReason = words.length < all.length ? 'length' : 'stop';
  const usage = {
    prompt_tokens: prompt.split(' ').length,
    completion_tokens: words.length,
    total_tokens: prompt.split(' ').length + words.length,
  };
  const head = { id: 'chatcmpl-upstream', created: 1, model };
  if (stream !== true) {
    const message = { role: 'assistant', content: words.join('') };
    const choices = [{ index: 0, message, finish_reason: finishReason }];
    sendJson(response, { ...head, object: 'chat.completion', choices, usage });
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (choices: readonly unknown[], more: object = {}): void => {
    const chunk = { ...head, object: 'chat.completion.chunk', choices, ...more };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  for (const content of words) send([{ index: 0, delta: { content }, finish_reason: null }]);
  await beforeEnd();
  send([{ index: 0, delta: {}, finish_reason: finishReason }]);
  send([], { usage });
  response.end('data: [DONE]\n\n');
}

async function readJson(request: IncomingMessage): Promise<ChatBody> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return JSON.parse(Buffer.concat(pieces).toString('utf8')) as ChatBody;
}

function sendJson(response: ServerResponse, value: object): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': `${body.length}` });
  response.end(body);
}
