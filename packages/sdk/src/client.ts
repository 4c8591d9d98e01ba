/** The client: picks a proven node, pays, calls, verifies, and only then hands over. */
import { toHex } from '@haca/primitives';
import type { Answer } from './answer.ts';
import { listValidators } from './chain/validators.ts';
import { chat } from './chat.ts';
import type { Directory } from './directory.ts';
import { NodeError, PaymentError, TransactionError } from './errors.ts';
import { inferTensors } from './infer.ts';
import type { Haca, HacaOptions } from './options.ts';
import type { Inference } from './request/attempt.ts';
import { bodyBytes } from './request/body.ts';
import { errorResponse } from './request/http.ts';
import { sendRequest } from './request/send.ts';
import { openSession } from './request/session.ts';

export const HACA_BASE_URL = 'https://haca.invalid/v1';

const PAID_PATHS: ReadonlySet<string> = new Set([
  '/chat/completions',
  '/completions',
  '/embeddings',
  '/responses',
]);

export async function openHaca(options: HacaOptions): Promise<Haca> {
  const session = openSession(options);
  const { chain, directory, wallet } = session;
  await chain.sync();
  const answers = new WeakMap<Response, Answer>();
  const hacaFetch: typeof fetch = async (input, init) => {
    const { url, method, headers, body, signal } = await requestOf(input, init);
    const path = pathOf(url);
    if (method === 'GET' && path === '/models') return modelList(directory);
    if (method !== 'POST' || path === null || !PAID_PATHS.has(path)) {
      return errorResponse(404, 'E_REQUEST', `${method} ${url} is not part of this API`);
    }
    const result = await sendRequest(session, path, body, headers, signal).catch(asErrorResponse);
    if (result.pending !== null) answers.set(result.response, result.pending.answer);
    return result.response;
  };
  const haca: Haca = {
    baseUrl: HACA_BASE_URL,
    fetch: hacaFetch,
    answerOf: (response) => answers.get(response),
    get lastAnswer() {
      return session.lastAnswer;
    },
    chat: (request) => chat(haca, directory, request),
    infer: (request) => inferTensors(session, request),
    models: directory.models,
    nodes: directory.nodes,
    validators: () => listValidators(chain.rpc),
    directory,
    chain,
    wallet,
    close: () => chain.rpc.close(),
  };
  return haca;
}

/** Nobody knows yet whether the node did it: no status says that. */
const OUTCOME_OPEN: ReadonlySet<string> = new Set(['E_UNREACHABLE', 'E_INTERRUPTED']);

/**
 * What an API answers with a status becomes a response, so that client libraries see their own error classes. A failed
 * verification and an unknown outcome stay exceptions.
 */
function asErrorResponse(error: unknown): Inference {
  const pending = null;
  if (error instanceof PaymentError || error instanceof TransactionError) {
    return { response: errorResponse(402, error.code, error.message), pending };
  }
  if (error instanceof NodeError && !OUTCOME_OPEN.has(error.code)) {
    return { response: errorResponse(error.status ?? 503, error.code, error.message), pending };
  }
  throw error;
}

/** The parts of a fetch call. A body that is text or bytes stays exactly what it is. */
async function requestOf(...[input, init]: Parameters<typeof fetch>) {
  const given = input instanceof Request ? input : null;
  return {
    url: given?.url ?? String(input),
    method: (init?.method ?? given?.method ?? 'GET').toUpperCase(),
    headers: new Headers(init?.headers ?? given?.headers),
    body: await bodyBytes(init?.body ?? (given === null ? null : await given.arrayBuffer())),
    signal: init?.signal ?? given?.signal ?? new AbortController().signal,
  };
}

async function modelList(directory: Directory): Promise<Response> {
  // What takes tensors is not for a client that sends messages.
  const spoken = (await directory.models()).filter(({ manifest }) => manifest.task !== 'classification');
  const data = spoken.map(({ manifest, modelId }) => ({
    id: manifest.name,
    object: 'model',
    created: 0,
    owned_by: toHex(modelId),
  }));
  return new Response(JSON.stringify({ object: 'list', data }), {
    headers: { 'content-type': 'application/json' },
  });
}

/** The API path of a URL under any base that ends in `/v1`, or null. */
function pathOf(url: string): string | null {
  const { pathname } = new URL(url);
  const at = pathname.indexOf('/v1/');
  return at < 0 ? null : pathname.slice(at + 3);
}
