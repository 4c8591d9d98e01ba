import { UsageError } from '@haca/primitives';
import type { ModelManifest } from '@haca/protocol';
import { type Dispatcher, Pool } from 'undici';
import {
  type ChatRequest,
  type Engine,
  EngineError,
  type EngineEvent,
  validateChatRequest,
} from '../engine.ts';
import { openEventChannel } from '../event-channel.ts';
import { connectionFailure, failureOf, parseOrNull } from './errors.ts';
import { startExchange } from './exchange.ts';
import { isStreamed, upstreamBody } from './request-body.ts';

export interface UpstreamModel {
  /** As this node's clients name it. */
  readonly name: string;
  readonly manifest: ModelManifest;
  /** As the upstream server names it; `name` unless given. */
  readonly upstreamName?: string;
}

export interface UpstreamTimeouts {
  /** Until the connection stands; 5,000 ms unless given. */
  readonly connectTimeoutMs?: number;
  /** From the request to the headers of a streamed response; 120,000 ms unless given. A whole one has `totalTimeoutMs`. */
  readonly firstByteTimeoutMs?: number;
  /** Between two pieces of the response; 60,000 ms unless given. */
  readonly idleTimeoutMs?: number;
  /** For the whole answer; 900,000 ms unless given. */
  readonly totalTimeoutMs?: number;
}

export interface UpstreamEngineOptions {
  /** Up to and including the version, for example `http://127.0.0.1:8000/v1`. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly models: readonly UpstreamModel[];
  /**
   * False only if the server runs inside the same TEE or host, under the same operator, so that this node's evidence covers it.
   * Otherwise true: its answers are another provider's claim, and receipts say so.
   */
  readonly proxied: boolean;
  /** What the server is, for receipts, for example `{name: 'vllm', version: '0.27.0'}`. */
  readonly software?: { readonly name: string; readonly version: string };
  /** How the server calls the limit on output tokens, where the client gave none; `max_tokens` unless given. */
  readonly limitField?: 'max_tokens' | 'max_completion_tokens';
  readonly timeouts?: UpstreamTimeouts;
  /** Requests at the same time, one connection each; 512 unless given. Further ones get `E_UNAVAILABLE`. */
  readonly maxConcurrent?: number;
}

interface Upstream {
  readonly pool: Pool;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeouts: Required<UpstreamTimeouts>;
}

/**
 * An engine in front of any server with an OpenAI-compatible `POST /chat/completions` (vLLM, SGLang, llama.cpp, Ollama, a
 * provider). Opens no connection before the first request. Throws `UsageError` for options that make no sense.
 */
export function openUpstreamEngine(options: UpstreamEngineOptions): Engine {
  const upstream = openUpstream(options);
  const { models, maxConcurrent = DEFAULT_CONCURRENT, limitField = 'max_tokens' } = options;
  const upstreamNames = new Map(models.map((model) => [model.name, model.upstreamName ?? model.name]));
  let open = 0;
  let closed = false;

  const begin = (request: ChatRequest): Dispatcher.DispatchOptions => {
    if (closed) throw new EngineError('E_UNAVAILABLE', 'the engine is closed');
    validateChatRequest(request, models);
    if (open >= maxConcurrent) {
      const message = `${open} requests are running at the upstream server, the limit set for it`;
      throw new EngineError('E_UNAVAILABLE', message, { retryAfterMs: 1000 });
    }
    const { path, headers, timeouts } = upstream;
    return {
      path: `${path}/chat/completions`,
      method: 'POST',
      headers,
      body: upstreamBody(request, upstreamNames.get(request.model) as string, limitField),
      // Of an answer in one piece nothing comes before all of it is computed.
      headersTimeout: isStreamed(request) ? timeouts.firstByteTimeoutMs : timeouts.totalTimeoutMs,
      bodyTimeout: timeouts.idleTimeoutMs,
    };
  };
  const chat = (request: ChatRequest, signal: AbortSignal): AsyncIterable<EngineEvent> => {
    let exchange: ReturnType<typeof startExchange> | undefined;
    const channel = openEventChannel<EngineEvent>({
      start: () => {
        const dispatch = begin(request);
        open++;
        exchange = startExchange({
          pool: upstream.pool,
          dispatch,
          request,
          signal,
          channel,
          totalTimeoutMs: upstream.timeouts.totalTimeoutMs,
          onClosed: () => {
            open--;
          },
        });
      },
      pause: () => exchange?.pause(),
      resume: () => exchange?.resume(),
      cancel: () => exchange?.cancel(),
    });
    return channel.events;
  };
  return {
    name: options.software?.name ?? 'openai-compatible',
    version: options.software?.version ?? 'unknown',
    proxied: options.proxied,
    models: models.map(({ name, manifest }) => ({ name, manifest })),
    chat,
    ready: () => probe(upstream, new Set(upstreamNames.values())),
    close: async () => {
      closed = true;
      await upstream.pool.destroy(new EngineError('E_UNAVAILABLE', 'the engine is closed'));
    },
  };
}

const DEFAULT_CONCURRENT = 512;
const PROBE_TIMEOUT_MS = 5000;
const PROBE_MAX_BYTES = 4 << 20;
const DEFAULT_TIMEOUTS: Required<UpstreamTimeouts> = {
  connectTimeoutMs: 5000,
  firstByteTimeoutMs: 120_000,
  idleTimeoutMs: 60_000,
  totalTimeoutMs: 900_000,
};

function openUpstream(options: UpstreamEngineOptions): Upstream {
  const { baseUrl, apiKey, models, maxConcurrent = DEFAULT_CONCURRENT } = options;
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`baseUrl must be an http or https URL, got '${baseUrl}'`);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new UsageError('baseUrl must hold no credentials, query or fragment: use apiKey');
  }
  if (models.length === 0) throw new UsageError('an upstream engine needs at least one model');
  if (new Set(models.map(({ name }) => name)).size !== models.length) {
    throw new UsageError('two models of an upstream engine have one name');
  }
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new UsageError('apiKey must be printable ASCII without spaces');
  }
  for (const text of Object.values(options.software ?? {})) {
    const { length } = new TextEncoder().encode(text);
    if (length < 1 || length > 64) throw new UsageError(`software: expected 1 to 64 bytes, got ${length}`);
  }
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const pool = new Pool(url.origin, {
    connections: maxConcurrent,
    pipelining: 1,
    allowH2: false,
    connect: { timeout: timeouts.connectTimeoutMs },
  });
  const headers = {
    'content-type': 'application/json',
    accept: 'text/event-stream, application/json',
    'accept-encoding': 'identity',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  return { pool, path: url.pathname.replace(/\/+$/, ''), headers, timeouts };
}

/** Asks for the list of models. A server without one is ready if it answers; a server with one must serve ours. */
async function probe({ pool, path, headers }: Upstream, names: ReadonlySet<string>): Promise<void> {
  try {
    const response = await pool.request({
      path: `${path}/models`,
      method: 'GET',
      headers,
      headersTimeout: PROBE_TIMEOUT_MS,
      bodyTimeout: PROBE_TIMEOUT_MS,
      signal: AbortSignal.timeout(2 * PROBE_TIMEOUT_MS),
    });
    const served = await servedModels(response);
    const missing = served === undefined ? [] : [...names].filter((name) => !served.has(name));
    if (missing.length > 0) {
      throw new EngineError('E_UNAVAILABLE', `the upstream server does not serve ${missing.join(', ')}`);
    }
  } catch (error) {
    throw connectionFailure(error);
  }
}

/** Undefined where the server has no list of models. */
async function servedModels(response: Dispatcher.ResponseData): Promise<ReadonlySet<string> | undefined> {
  const { statusCode, body } = response;
  let text = '';
  for await (const piece of body.setEncoding('utf8')) {
    text += piece as string;
    if (text.length > PROBE_MAX_BYTES) throw new EngineError('E_ENGINE', 'the list of models is too long');
  }
  if (statusCode === 404 || statusCode === 405 || statusCode === 501) return undefined;
  const json = parseOrNull(text) as { readonly data?: unknown } | null;
  if (statusCode !== 200) throw failureOf(statusCode, json);
  if (!Array.isArray(json?.data) || json.data.length === 0) return undefined;
  return new Set(json.data.map((model) => String((model as { readonly id?: unknown } | null)?.id)));
}
