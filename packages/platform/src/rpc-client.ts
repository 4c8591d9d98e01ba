import { fromHex, MalformedError, toHex } from '@haca/primitives';
import { base64, fromBase64 } from './base64.ts';

export { base64, base64url, fromBase64, fromBase64url } from './base64.ts';

/** A failed JSON-RPC call: `code` as the server gave it, or `unreachable`. Retrying helps only for the latter. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number | 'unreachable';

  constructor(code: number | 'unreachable', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Something answers for the node, but the node itself does not yet. */
class NotReadyError extends Error {}

export interface RpcStatus {
  readonly chainId: string;
  readonly height: number;
  /** Hash of the latest block, 32 bytes. */
  readonly blockHash: Uint8Array;
  readonly blockTime: string;
}

export interface RpcQueryResult {
  /** Empty where there is no such record. */
  readonly value: Uint8Array;
  /** The state height answered for; its app hash is in header `height + 1`. */
  readonly height: number;
  /** Present if asked for: the state proof. */
  readonly proof: Uint8Array | null;
}

export interface RpcEvent {
  readonly type: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface RpcTxResult {
  readonly height: number;
  readonly code: number;
  readonly log: string;
  readonly gasUsed: number;
  readonly events: readonly RpcEvent[];
}

/** The part of CometBFT's JSON-RPC that clients of this project use; works in Node and in browsers. */
export interface RpcClient {
  readonly url: string;
  /** Any method; returns `result` as parsed JSON. */
  readonly call: (method: string, params?: Readonly<Record<string, unknown>>) => Promise<unknown>;
  readonly status: () => Promise<RpcStatus>;
  readonly query: (
    path: string,
    data: Uint8Array,
    options?: { readonly height?: number; readonly prove?: boolean },
  ) => Promise<RpcQueryResult>;
  /** Admission only; `code` 0 means it waits for a block. */
  readonly broadcastTx: (
    tx: Uint8Array,
  ) => Promise<{ readonly code: number; readonly log: string; readonly hash: Uint8Array }>;
  /** The result of an included transaction, or null while it is in no block. */
  readonly tx: (hash: Uint8Array) => Promise<RpcTxResult | null>;
  /** Calls back with each new block's height until the returned function is called; reconnects by itself. */
  readonly onNewBlock: (listener: (height: number) => void) => () => void;
  readonly close: () => void;
}

type Json = Readonly<Record<string, unknown>>;

const REQUEST_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 500;
/** Above the longest honest answer, a batch or a block in base64 and JSON. */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;

export function connectRpc(url: string): RpcClient {
  const base = url.replace(/\/+$/, '');
  const subscriptions = new Set<() => void>();
  const sendQuery = openBatches(base);
  let nextId = 1;

  const call = async (method: string, params: Json = {}): Promise<unknown> => {
    const request: RpcRequest = { jsonrpc: '2.0', id: nextId++, method, params };
    const sent = method === 'abci_query' ? sendQuery(request) : post(base, request).then(member);
    const answer = await sent.catch((cause: unknown) => {
      const why =
        cause instanceof NotReadyError
          ? `${method}: ${cause.message}`
          : `no answer to ${method} from ${base}; is the full node running?`;
      throw new RpcError('unreachable', why, { cause });
    });
    const error = answer['error'];
    if (error !== undefined && error !== null) {
      const { code, message, data } = error as Json;
      throw new RpcError(Number(code), `${method}: ${message}${data === undefined ? '' : ` (${data})`}`);
    }
    return answer['result'];
  };

  return {
    url: base,
    call,
    status: async () => parseStatus(await call('status')),
    query: async (path, data, options = {}) =>
      parseQuery(
        await call('abci_query', {
          path,
          data: toHex(data),
          height: `${options.height ?? 0}`,
          prove: options.prove ?? false,
        }),
      ),
    broadcastTx: async (tx) => {
      const result = member(await call('broadcast_tx_sync', { tx: base64(tx) }));
      return {
        code: Number(result['code']),
        log: String(result['log'] ?? ''),
        hash: fromHex(String(result['hash']).toLowerCase()),
      };
    },
    tx: async (hash) => {
      try {
        return parseTx(await call('tx', { hash: base64(hash), prove: false }));
      } catch (error) {
        if (error instanceof RpcError && error.code !== 'unreachable') return null;
        throw error;
      }
    },
    onNewBlock: (listener) => {
      const stop = subscribeNewBlocks(base, listener);
      subscriptions.add(stop);
      return () => {
        subscriptions.delete(stop);
        stop();
      };
    },
    close: () => {
      for (const stop of subscriptions) stop();
      subscriptions.clear();
    },
  };
}

interface RpcRequest {
  readonly jsonrpc: '2.0';
  readonly id: number;
  readonly method: string;
  readonly params: Json;
}

interface WaitingRequest {
  readonly request: RpcRequest;
  readonly settle: (answer: Json) => void;
  readonly fail: (error: unknown) => void;
}

/** CometBFT takes no more in one batch. */
const BATCH_MAX = 10;

/** Requests made in one turn of the event loop go out together: most of what each would cost is its own HTTP exchange. */
function openBatches(base: string): (request: RpcRequest) => Promise<Json> {
  const waiting: WaitingRequest[] = [];
  const flush = (): void => {
    while (waiting.length > 0) void sendBatch(base, waiting.splice(0, BATCH_MAX));
  };
  return (request) =>
    new Promise((settle, fail) => {
      if (waiting.push({ request, settle, fail }) === 1) queueMicrotask(flush);
    });
}

/** Never rejects: every request of the batch is settled or failed. */
async function sendBatch(base: string, batch: readonly WaitingRequest[]): Promise<void> {
  const [only, ...more] = batch;
  try {
    if (only !== undefined && more.length === 0) {
      only.settle(member(await post(base, only.request)));
      return;
    }
    const body = await post(
      base,
      batch.map(({ request }) => request),
    );
    const answers = new Map((Array.isArray(body) ? body.map(member) : []).map((one) => [one['id'], one]));
    // One answer to a whole batch is an error that refuses it.
    const refusal = member(body)['error'] === undefined ? undefined : member(body);
    for (const { request, settle, fail } of batch) {
      const answer = answers.get(request.id) ?? refusal;
      if (answer !== undefined) settle(answer);
      else fail(new MalformedError('rpc.batch', '', `an answer to request ${request.id}`, 'none'));
    }
  } catch (error) {
    for (const { fail } of batch) fail(error);
  }
}

/**
 * A server may close an idle connection in the moment it is used again; the request then never arrived or its answer was
 * lost. Every method here may be repeated, a transaction too: its nonce makes it one.
 */
async function post(base: string, content: RpcRequest | readonly RpcRequest[]): Promise<unknown> {
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const body = JSON.stringify(content);
  const send = async (): Promise<unknown> => {
    const response = await fetch(base, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      signal,
    });
    const text = await readText(response);
    if (response.status === 503) throw new NotReadyError(`${base} is not ready: ${text.slice(0, 500)}`);
    return JSON.parse(text);
  };
  try {
    return await send();
  } catch (error) {
    if (signal.aborted || error instanceof MalformedError) throw error;
    return send();
  }
}

/** The body as text; throws above the limit, whatever the server says of its length. */
async function readText(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (let sizeBytes = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    sizeBytes += value.length;
    if (sizeBytes > ANSWER_MAX_BYTES) {
      await reader.cancel();
      throw new MalformedError('rpc.size', '', `at most ${ANSWER_MAX_BYTES} bytes`, 'more');
    }
    text += decoder.decode(value, { stream: true });
  }
}

function subscribeNewBlocks(base: string, listener: (height: number) => void): () => void {
  let stopped = false;
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const connect = (): void => {
    if (stopped) return;
    const opened = new WebSocket(`${base.replace(/^http/, 'ws')}/websocket`);
    socket = opened;
    opened.addEventListener('open', () => {
      const params = { query: "tm.event='NewBlockHeader'" };
      opened.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscribe', params }));
    });
    opened.addEventListener('message', ({ data }) => {
      const height = headerHeight(String(data));
      if (height !== undefined && !stopped) listener(height);
    });
    // 'close' follows 'error', so one reconnect is enough; the listener for 'error' keeps it from being thrown.
    opened.addEventListener('error', () => undefined);
    opened.addEventListener('close', () => {
      if (!stopped) timer = setTimeout(connect, RECONNECT_MS);
    });
  };
  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket?.close();
  };
}

/** Undefined for whatever is no event of a new block: nobody awaits this, so nothing may be thrown. */
function headerHeight(text: string): number | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const result = member(member(parsed)['result']);
  const value = member(member(result['data'])['value']);
  const height = member(value['header'])['height'];
  return typeof height === 'string' ? Number(height) : undefined;
}

function parseStatus(result: unknown): RpcStatus {
  const sync = member(member(result)['sync_info']);
  return {
    chainId: String(member(member(result)['node_info'])['network']),
    height: Number(sync['latest_block_height']),
    blockHash: fromHex(String(sync['latest_block_hash']).toLowerCase()),
    blockTime: String(sync['latest_block_time']),
  };
}

function parseQuery(result: unknown): RpcQueryResult {
  const response = member(member(result)['response']);
  if (Number(response['code'] ?? 0) !== 0)
    throw new RpcError(Number(response['code']), `abci_query: ${response['log']}`);
  const ops = member(response['proofOps'] ?? response['proof_ops'])['ops'];
  const first: unknown = Array.isArray(ops) ? ops[0] : undefined;
  const proof = first === undefined ? null : fromBase64(String(member(first)['data']));
  return { value: fromBase64(String(response['value'] ?? '')), height: Number(response['height']), proof };
}

function parseTx(result: unknown): RpcTxResult {
  const outcome = member(member(result)['tx_result']);
  const events = outcome['events'];
  return {
    height: Number(member(result)['height']),
    code: Number(outcome['code'] ?? 0),
    log: String(outcome['log'] ?? ''),
    gasUsed: Number(outcome['gas_used'] ?? 0),
    events: listOf(events).map((event) => ({
      type: String(event['type']),
      attributes: Object.fromEntries(
        listOf(event['attributes']).map(({ key, value }) => [String(key), String(value)]),
      ),
    })),
  };
}

function listOf(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(member) : [];
}

function member(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}
