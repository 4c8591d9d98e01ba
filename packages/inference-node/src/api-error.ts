/** Refusals as clients see them, and every failure of the node as one of them. */
import { RpcError } from '@haca/platform';
import { codeText, type ErrorCode } from '@haca/protocol';
import { EngineError } from '@haca/runtime';
import { WalFailedError } from './write-ahead-log.ts';

const STATUS: Partial<Record<ErrorCode, number>> = {
  E_VOUCHER_REQUIRED: 402,
  E_VOUCHER: 402,
  E_CHAIN: 402,
  E_SESSION: 402,
  E_CHANNEL: 402,
  E_ALLOCATION: 402,
  E_INSUFFICIENT: 402,
  E_LANES: 402,
  E_RESERVE: 402,
  E_REQUEST_HASH: 402,
  E_IDEMPOTENCY: 409,
  E_LANE_BUSY: 409,
  E_REQUEST: 400,
  E_SEALED: 400,
  E_TOO_LARGE: 413,
  E_MODEL_UNKNOWN: 404,
  E_RECEIPT_UNKNOWN: 404,
  E_KEY: 404,
  E_ENGINE: 502,
  E_HEAD_STALE: 503,
  E_UNAVAILABLE: 503,
  E_BUSY: 503,
};

export interface ApiErrorOptions {
  readonly param?: string | null;
  readonly status?: number;
  /** Further members of the JSON body, e.g. what a voucher must contain. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly retryAfterMs?: number | null;
}

/** A refusal the client sees: status, code and what to do. Nothing was charged and nothing was applied. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly param: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | null;

  constructor(code: ErrorCode, detail: string, options: ApiErrorOptions = {}) {
    super(`${codeText(code)} ${detail}`.trimEnd());
    this.code = code;
    this.status = options.status ?? STATUS[code] ?? 500;
    this.param = options.param ?? null;
    this.details = options.details ?? {};
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** Any failure as what the client gets. What nobody foresaw is reported, and the client told no more than that. */
export function apiErrorOf(error: unknown, report: (error: unknown) => void): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof EngineError) {
    const { code, message, param, retryAfterMs } = error;
    const status = error.status >= 400 && error.status < 600 ? error.status : 502;
    return new ApiError(code, message, { status, param, retryAfterMs });
  }
  if (error instanceof WalFailedError) return new ApiError('E_UNAVAILABLE', 'The disk failed.');
  // That nobody answers is in the log already, of the connection itself.
  if (!(error instanceof RpcError && error.code === 'unreachable')) report(error);
  if (error instanceof RpcError) return new ApiError('E_UNAVAILABLE', 'The full node does not answer.');
  return new ApiError('E_UNAVAILABLE', 'An error that was not foreseen; the operator has it in the log.', {
    status: 500,
  });
}

/** OpenAI's error shape, which the official clients parse. */
export function errorBody(error: ApiError): Buffer {
  const { message, param, code, details } = error;
  const type =
    error.status === 402 ? 'payment_required' : error.status < 500 ? 'invalid_request_error' : 'server_error';
  return Buffer.from(JSON.stringify({ error: { message, type, param, code }, ...details }));
}

/** What the official clients obey: retrying the same helps only where the node, not the request, was in the way. */
export function errorHeaders({ status, code, retryAfterMs }: ApiError): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/json',
    'x-should-retry': status === 503 || status === 429 || code === 'E_LANE_BUSY' ? 'true' : 'false',
    ...(retryAfterMs === null ? {} : { 'retry-after-ms': `${Math.round(retryAfterMs)}` }),
  };
}
