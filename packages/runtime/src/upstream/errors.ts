import { EngineError } from '../engine.ts';

const MESSAGE_MAX = 1000;
const NETWORK_FAULTS: Readonly<
  Record<string, readonly [code: 'E_UNAVAILABLE' | 'E_ENGINE', status: number]>
> = {
  ECONNREFUSED: ['E_UNAVAILABLE', 503],
  ENOTFOUND: ['E_UNAVAILABLE', 503],
  EAI_AGAIN: ['E_UNAVAILABLE', 503],
  EHOSTUNREACH: ['E_UNAVAILABLE', 503],
  UND_ERR_CONNECT_TIMEOUT: ['E_UNAVAILABLE', 503],
  UND_ERR_CLOSED: ['E_UNAVAILABLE', 503],
  UND_ERR_DESTROYED: ['E_UNAVAILABLE', 503],
  UND_ERR_HEADERS_TIMEOUT: ['E_ENGINE', 504],
  UND_ERR_BODY_TIMEOUT: ['E_ENGINE', 504],
};

/** Statuses by which a server says that the request itself is at fault, so that the client can mend it. */
const CLIENT_FAULTS: readonly number[] = [400, 413, 415, 422];

/**
 * An answer with an error status, or an error object within a stream. What the client can mend goes to the client with
 * message and code. What only the operator can mend (key, credit, address of the server) does not: the text of such errors
 * may quote the operator's key.
 */
export function failureOf(status: number, body: unknown, retryAfter?: string): EngineError {
  const { message, code, param } = errorFields(body);
  const details = { detailCode: code, param, retryAfterMs: retryAfterMs(retryAfter) };
  const said = message === '' ? '' : `: ${message}`;
  if (CLIENT_FAULTS.includes(status)) {
    const text = message === '' ? `the upstream server refused the request (HTTP ${status})` : message;
    return new EngineError('E_REQUEST', text, { status, ...details });
  }
  if (status === 401 || status === 402 || status === 403) {
    return new EngineError(
      'E_ENGINE',
      `the upstream server does not accept the operator's credentials (HTTP ${status})`,
    );
  }
  if (status === 429 || status === 503 || status === 529) {
    return new EngineError('E_UNAVAILABLE', `the upstream server is busy (HTTP ${status})${said}`, {
      status: status === 429 ? 429 : 503,
      ...details,
    });
  }
  const gateway = status === 504 ? 504 : 502;
  return new EngineError('E_ENGINE', `the upstream server failed (HTTP ${status})${said}`, {
    status: gateway,
    ...details,
  });
}

/** An error object in place of an answer, although the status was good. */
export function failureMidway(body: unknown): EngineError {
  const { message, code } = errorFields(body);
  const said = message === '' ? '' : `: ${message}`;
  return new EngineError('E_ENGINE', `the upstream server failed midway${said}`, { detailCode: code });
}

/** An error of the connection: refused, cut, or silent for too long. */
export function connectionFailure(error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const code = codeOf(error);
  const [engineCode, status] = NETWORK_FAULTS[code] ?? (['E_ENGINE', 502] as const);
  const message = error instanceof Error ? error.message : String(error);
  return new EngineError(engineCode, `no answer from the upstream server: ${message || code}`, {
    status,
    cause: error,
  });
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return code;
  // Several addresses were tried: the reasons are inside.
  const inner = error instanceof AggregateError ? error.errors[0] : undefined;
  return inner === undefined ? '' : codeOf(inner);
}

interface ErrorFields {
  readonly message: string;
  readonly code: string | null;
  readonly param: string | null;
}

/** `{error: {message, code, type, param}}`, `{error: "text"}`, `{message}` and `{detail: "text"}` are all in use. */
function errorFields(body: unknown): ErrorFields {
  const outer = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const inner = outer['error'];
  const fields = (typeof inner === 'object' && inner !== null ? inner : outer) as Record<string, unknown>;
  const message = fields['message'] ?? (typeof inner === 'string' ? inner : fields['detail']);
  return {
    message: typeof message === 'string' ? message.slice(0, MESSAGE_MAX) : '',
    code: shortText(fields['code']) ?? shortText(fields['type']),
    param: shortText(fields['param']),
  };
}

function shortText(value: unknown): string | null {
  if (typeof value === 'number') return `${value}`;
  return typeof value === 'string' && value.length > 0 && value.length <= 100 ? value : null;
}

function retryAfterMs(header: string | undefined): number | null {
  if (header === undefined || !/^\d{1,6}$/.test(header)) return null;
  return Number(header) * 1000;
}

/** For bodies of errors, which may be anything. */
export function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
