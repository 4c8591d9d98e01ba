import { base64url } from '@haca/platform/rpc';
import { SEALED_TYPE } from '@haca/platform/sealing';
import { BrokenBodyError, isConnectionCode, jsonOrNull, nodeErrorOf, readBounded } from '../node-api.ts';
import type { Attempt } from './attempt.ts';
import { openResponse, sealAttempt, sealingKeyOf } from './seal.ts';
import type { Session } from './session.ts';

/** Sends a request, sealed where the policy and the key's record say so; the response is the plain one either way. */
export async function post(session: Session, attempt: Attempt, signal: AbortSignal): Promise<Response> {
  const key = sealingKeyOf(attempt.route, session.policy);
  if (key === null) {
    const type = attempt.headers.get('content-type') ?? 'application/json';
    return send(session, attempt, attempt.body, type, signal);
  }
  const sealed = await sealAttempt(session, attempt, key);
  const response = await send(session, attempt, sealed.bytes, SEALED_TYPE, signal);
  return openResponse(session, attempt, sealed, response);
}

function send(
  session: Session,
  attempt: Attempt,
  body: Uint8Array,
  contentType: string,
  signal: AbortSignal,
): Promise<Response> {
  const headers = new Headers({
    'content-type': contentType,
    accept: attempt.headers.get('accept') ?? '*/*',
    'x-haca-voucher': base64url(attempt.voucher.bytes),
    'x-haca-idempotency-key': attempt.idempotencyKey,
  });
  return session.fetch(`${attempt.route.api.url}/v1${attempt.path}`, {
    method: 'POST',
    headers,
    body: body as Uint8Array<ArrayBuffer>,
    signal,
    // Prompt and voucher are for this node; it has no say in where else they go.
    redirect: 'error',
  });
}

export function isEventStream(response: Response): boolean {
  const type = response.headers.get('content-type') ?? '';
  return response.ok && response.body !== null && type.startsWith('text/event-stream');
}

/** The same response with a body that can be read again. */
export function rebuilt({ status, statusText, headers }: Response, body: Uint8Array | null): Response {
  const hasBody = body !== null && body.length > 0;
  return new Response(hasBody ? (body as Uint8Array<ArrayBuffer>) : null, {
    status: handedStatus(status),
    statusText,
    headers: handedHeaders(headers),
  });
}

const BAD_GATEWAY = 502;

/** Servers may send any three digits, of which no `Response` can be made again. */
function handedStatus(status: number): number {
  return status >= 200 && status <= 599 ? status : BAD_GATEWAY;
}

/** The body was decoded and checked here; length and coding of the wire no longer apply. */
export function handedHeaders(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete('content-encoding');
  kept.delete('content-length');
  return kept;
}

export function errorResponse(status: number, code: string, message: string): Response {
  const error = {
    message,
    type: status === 503 ? 'server_error' : 'invalid_request_error',
    param: null,
    code,
  };
  return new Response(JSON.stringify({ error }), {
    status: handedStatus(status),
    headers: { 'content-type': 'application/json', 'x-should-retry': 'false' },
  });
}

/** What a node refuses with, as it came but for a code that is no node's to use. */
export function refusalOf(response: Response, body: Uint8Array | null): Response {
  const said = body === null ? null : jsonOrNull(body);
  const { code, message } = nodeErrorOf(response.status, said, 'refused');
  return isConnectionCode(said) ? errorResponse(response.status, code, message) : rebuilt(response, body);
}

export async function errorCodeOf(response: Response): Promise<string> {
  try {
    return nodeErrorOf(response.status, jsonOrNull(await readBounded(response.clone(), 1 << 20)), '').code;
  } catch {
    return `HTTP_${response.status}`;
  }
}

/** Certain that no byte of the request reached the node. */
export function isConnectionRefused(error: unknown): boolean {
  if (error instanceof BrokenBodyError) return false;
  const cause = (error as { cause?: { code?: unknown; errors?: readonly { code?: unknown }[] } } | null)
    ?.cause;
  const codes = [cause?.code, ...(cause?.errors ?? []).map(({ code }) => code)];
  return codes.includes('ECONNREFUSED') || codes.includes('ENOTFOUND');
}
