import { codeText, type ErrorCode } from '@haca/protocol';

const STATUS: Partial<Record<ErrorCode, number>> = {
  E_VOUCHER_REQUIRED: 402,
  E_VOUCHER: 402,
  E_SIG: 402,
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
  E_TOO_LARGE: 413,
  E_MODEL_UNKNOWN: 404,
  E_RECEIPT_UNKNOWN: 404,
  E_ENGINE: 502,
  E_HEAD_STALE: 503,
  E_UNAVAILABLE: 503,
};

/** A refusal the client sees: status, code and what to do. Nothing was charged and nothing was applied. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly param: string | null;
  /** Further members of the JSON body, e.g. what a voucher must contain. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: {
      readonly param?: string | null;
      readonly status?: number;
      readonly details?: Readonly<Record<string, unknown>>;
    } = {},
  ) {
    super(`${codeText(code)} ${detail}`);
    this.code = code;
    this.status = options.status ?? STATUS[code] ?? 500;
    this.param = options.param ?? null;
    this.details = options.details ?? {};
  }
}

/** OpenAI's error shape, which the official clients parse. */
export function errorBody(error: ApiError): Readonly<Record<string, unknown>> {
  const type =
    error.status === 402 ? 'payment_required' : error.status < 500 ? 'invalid_request_error' : 'server_error';
  return { error: { message: error.message, type, param: error.param, code: error.code }, ...error.details };
}
