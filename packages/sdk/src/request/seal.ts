/**
 * Requests sealed to the key of the proven record, and sealed answers opened: what stands between client and enclave sees
 * ciphertext. All above this file sees the plain request and the plain answer.
 */
import { base64url, fromBase64url } from '@haca/platform/rpc';
import {
  type Frame,
  type FrameOpener,
  SEALED_HEADER,
  SEALED_TYPE,
  type SealedRequest,
  sealRequest,
} from '@haca/platform/sealing';
import { concatBytes, domainHash, MalformedError } from '@haca/primitives';
import { type Check, failed, notApplicable, passed, verdictOf } from '@haca/protocol';
import type { Route } from '../directory.ts';
import { VerificationError } from '../errors.ts';
import { readBounded } from '../node-api.ts';
import type { Policy } from '../policy.ts';
import type { Attempt } from './attempt.ts';
import { ZK_PATH } from './body.ts';
import type { Session } from './session.ts';
import { type SseBlock, splitSse } from './sse.ts';

/** What requests to this route are sealed to; null: they go as they are. */
export function sealingKeyOf({ key }: Pick<Route, 'key'>, { seal }: Pick<Policy, 'seal'>): Uint8Array | null {
  return seal === 'never' ? null : key.binding.hpkePublicKey;
}

/** Whether what the policy asks of the way to the node can be had. */
export function sealCheck({ key }: Pick<Route, 'key'>, { seal }: Pick<Policy, 'seal'>): Check {
  if (seal === 'never') return notApplicable('request.sealed', 'the policy wants requests in the clear');
  if (key.binding.hpkePublicKey !== null) return passed('request.sealed', 'to the key in the proven record');
  if (seal === 'always')
    return failed('request.sealed', 'policy.seal', 'a key in the record to seal to', 'none');
  return notApplicable('request.sealed', 'the record of the key holds none to seal to');
}

const SALT_CHARACTERS = [' ', '\t', '\n', '\r'].map((text) => text.charCodeAt(0));
const SALT_BYTES = 16;

/**
 * The body with 128 bits that nobody can guess, as white space after the JSON: the voucher beside a sealed request shows the
 * hash of the body, and would give a guessable prompt away. The same body gets the same salt in one session, so that what is
 * sent again is the same request.
 */
export function saltedBody(secret: Uint8Array, body: Uint8Array, path: string): Uint8Array {
  // Canonical CBOR has no room for it; and a request that is proved is published with its proof.
  if (path === ZK_PATH) return body;
  const salt = domainHash('haca/request-salt/1', concatBytes(secret, body)).subarray(0, SALT_BYTES);
  const text = [...salt].flatMap((byte) =>
    [6, 4, 2, 0].map((shift) => SALT_CHARACTERS[(byte >> shift) & 3] as number),
  );
  return concatBytes(body, Uint8Array.from(text));
}

/** Throws `VerificationError` where the record holds something that is no key. */
export async function sealAttempt(
  { chain, directory }: Session,
  { route, path, voucher, idempotencyKey, body }: Attempt,
  key: Uint8Array,
): Promise<SealedRequest> {
  const subject = { chainId: chain.chainId, keyId: route.keyId };
  const place = { path: `/v1${path}`, voucher: base64url(voucher.bytes), idempotencyKey };
  try {
    return await sealRequest(key, subject, place, body);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    directory.forget(route.nodeId);
    throw refused('request.sealed', error, 'the request was not sent');
  }
}

/**
 * The plain response in a sealed one. Refusals may come unsealed: not every one is of somebody who can open the request.
 * Answers may not: `VerificationError`.
 */
export async function openResponse(
  session: Session,
  attempt: Attempt,
  sealed: SealedRequest,
  response: Response,
): Promise<Response> {
  const { status, statusText, ok } = response;
  const nonce = response.headers.get(SEALED_HEADER);
  if (nonce === null) {
    if (!ok) return response;
    await response.body?.cancel().catch(() => undefined);
    throw refused(
      'response.sealed',
      new MalformedError('sealed.missing', '', 'a sealed answer', 'one in the clear'),
    );
  }
  const headers = new Headers(response.headers);
  headers.delete(SEALED_HEADER);
  headers.delete('content-length');
  headers.delete('content-encoding');
  try {
    const isStream = ok && response.body !== null && !isSealedBody(headers);
    const frames = await sealed.openAnswer(fromBase64url(nonce), status, isStream ? 'stream' : 'body');
    if (isStream) {
      const body = openedStream(response.body as ReadableStream<Uint8Array>, frames);
      return new Response(body, { status, statusText, headers });
    }
    const { bytes, isLast } = await frames.open(
      await readBounded(response, session.policy.responseMaxBytes + FRAME_OVERHEAD_BYTES),
    );
    if (!isLast) throw new MalformedError('sealed.frame', '', 'the whole answer', 'a part of it');
    headers.set('content-type', ok && attempt.path === ZK_PATH ? 'application/cbor' : 'application/json');
    return new Response(bytes as Uint8Array<ArrayBuffer>, { status, statusText, headers });
  } catch (error) {
    await response.body?.cancel().catch(() => undefined);
    throw error instanceof MalformedError ? refused('response.sealed', error) : error;
  }
}

function isSealedBody(headers: Headers): boolean {
  return headers.get('content-type')?.startsWith(SEALED_TYPE) === true;
}

function refused(id: string, error: MalformedError, what = 'the answer was withheld'): VerificationError {
  return new VerificationError(what, verdictOf([failed(id, error.code, error.expected, error.got)]));
}

const FRAME_OVERHEAD_BYTES = 64;
/** The largest block that a plain stream may have, in base64. */
const SEALED_BLOCK_MAX_BYTES = 6 * 1024 * 1024;

/** The bytes of a stream, from one sealed event to the next. A stream that ends before its last frame is a broken connection. */
function openedStream(body: ReadableStream<Uint8Array>, frames: FrameOpener): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const splitter = splitSse(SEALED_BLOCK_MAX_BYTES);
  const waiting: SseBlock[] = [];
  const next = async (): Promise<Frame> => {
    for (;;) {
      const block = waiting.shift();
      if (block !== undefined) return frames.open(frameOf(block));
      const { done, value } = await reader.read();
      if (done) throw new TypeError('the connection broke before the sealed stream was over');
      waiting.push(...splitter.push(value));
    }
  };
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const { bytes, isLast } = await next();
        if (bytes.length > 0) controller.enqueue(bytes);
        if (!isLast) return;
        controller.close();
        await reader.cancel().catch(() => undefined);
      } catch (error) {
        await reader.cancel().catch(() => undefined);
        throw error;
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

const SEALED_EVENT = /^data: ([A-Za-z0-9_-]+)\n\n$/;

function frameOf({ bytes }: SseBlock): Uint8Array {
  const [, text] = SEALED_EVENT.exec(new TextDecoder().decode(bytes)) ?? [];
  if (text === undefined) {
    throw new MalformedError('sealed.event', 'stream', 'one line of data in base64url', 'another event');
  }
  return fromBase64url(text);
}
