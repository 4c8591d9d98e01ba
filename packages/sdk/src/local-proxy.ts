/**
 * A local endpoint that pays and verifies for programs that can't: any OpenAI client, in any language, or curl. It listens
 * on loopback, because whoever reaches it spends the wallet's money.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type ListenOptions, listenOn } from '@haca/platform';
import { VerificationError } from './errors.ts';
import type { Haca } from './options.ts';

export interface LocalProxy {
  /** For `OPENAI_BASE_URL` and the like. */
  readonly url: string;
  readonly close: () => Promise<void>;
}

const BODY_MAX_BYTES = 4 * 1024 * 1024;

export async function startLocalProxy(haca: Haca, listen: Omit<ListenOptions, 'host'>): Promise<LocalProxy> {
  const server = createServer((request, response) => {
    forward(haca, request, response).catch((error: unknown) => answerError(response, error));
  });
  const port = await listenOn(server, { ...listen, host: '127.0.0.1' });
  return {
    url: `http://127.0.0.1:${port}/v1`,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

/**
 * Only programs on this machine may spend the wallet: a browser page of some site reaches loopback too, and shows itself by
 * its origin, or by a host name that was pointed here.
 */
function isFromThisMachine({ headers }: IncomingMessage): boolean {
  const isLocal = (host: string): boolean => /^(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?$/.test(host);
  const { host = '', origin } = headers;
  return isLocal(host) && (origin === undefined || isLocal(origin.replace(/^https?:\/\//, '')));
}

async function forward(haca: Haca, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!isFromThisMachine(request)) {
    const message = 'this endpoint spends a wallet and answers programs on this machine only';
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { message, type: 'haca', param: null, code: null } }));
    return;
  }
  const abort = new AbortController();
  response.once('close', () => abort.abort());
  const method = request.method ?? 'GET';
  const body = method === 'POST' ? await readBody(request) : null;
  const path = (request.url ?? '/').replace(/^\/v1/, '');
  const answer = await haca.fetch(`${haca.baseUrl}${path}`, {
    method,
    headers: { 'content-type': request.headers['content-type'] ?? 'application/json' },
    signal: abort.signal,
    ...(body === null ? {} : { body }),
  });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body !== null) for await (const chunk of answer.body) response.write(chunk);
  response.end();
}

async function readBody(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_MAX_BYTES) throw new RangeError(`a request body has at most ${BODY_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** A failed verification is 502 with the verdict: the answer itself is withheld. */
function answerError(response: ServerResponse, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const verdict = error instanceof VerificationError ? { verdict: error.verdict } : {};
  const status = error instanceof RangeError ? 413 : 502;
  const said = (error as { readonly code?: unknown } | null)?.code;
  const code = typeof said === 'string' ? said : null;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { message, type: 'haca', param: null, code }, ...verdict }));
}
