/** Sealed requests are opened before anything looks at them, and their answers sealed after everything was decided. */
import { base64url } from '@haca/platform';
import {
  type AnswerSealer,
  type FrameSealer,
  type OpenedRequest,
  openRequest,
  type RequestPlace,
  SEALED_HEADER,
  SEALED_TYPE,
  sealedKeyId,
} from '@haca/platform/sealing';
import { bytesEqual, concatBytes, MalformedError, utf8Encode } from '@haca/primitives';
import type { AnswerSink } from './answer-sink.ts';
import { ApiError } from './api-error.ts';
import { alreadyAnswered, voucherOf } from './inference.ts';
import type { LiveKey } from './key-ring.ts';

/** Opens a request with the key it names. Throws `ApiError` where that is no key of this process, or the request is not for it. */
export async function openSealed(
  keys: readonly Pick<LiveKey, 'stream'>[],
  sealed: Uint8Array,
  place: RequestPlace,
): Promise<OpenedRequest> {
  try {
    const named = sealedKeyId(sealed);
    const stream = keys.find((key) => bytesEqual(key.stream.identity.keyId, named))?.stream;
    const sealing = stream?.identity.sealing ?? null;
    if (stream !== undefined && sealing !== null) {
      return await openRequest(sealing, stream.identity, place, sealed);
    }
    // What an earlier process charged for is not sent anew: the voucher says so, though nobody can open the request any more.
    const answered = place.voucher === null ? undefined : await stream?.answeredBy(voucherOf(place.voucher));
    if (answered !== undefined) throw alreadyAnswered(answered.id);
    if (stream !== undefined)
      throw new ApiError('E_UNAVAILABLE', 'Nothing was charged. Another key is in use.');
    throw new ApiError('E_SEALED', 'It is sealed to a key that is not in use here.');
  } catch (error) {
    if (error instanceof MalformedError) throw new ApiError('E_SEALED', error.message);
    throw error;
  }
}

export interface SealedSink extends AnswerSink {
  readonly hasBegun: () => boolean;
}

interface Begun {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly frames: FrameSealer;
  readonly isStream: boolean;
}

/** Seals what is written: a whole answer as one frame, a stream with one event for each write and one for its end. */
export function sealedSink(
  sink: AnswerSink,
  answer: AnswerSealer,
  report: (error: unknown) => void,
): SealedSink {
  let begun: Begun | undefined;
  const whole: Uint8Array[] = [];
  /** Frames leave in their order, each when it is sealed. */
  let queue: Promise<void> = Promise.resolve();
  let isBroken = false;
  const then = (step: () => Promise<void>): Promise<void> => {
    queue = queue
      .then(() => (isBroken ? undefined : step()))
      .catch((error: unknown) => {
        // The stream breaks off, without the frame that would end it.
        isBroken = true;
        report(error);
        sink.end();
      });
    return queue;
  };
  const nonce = base64url(answer.nonce);
  const endWhole = async ({ status, headers, frames }: Begun): Promise<void> => {
    const frame = await frames.seal(concatBytes(...whole), true);
    const types = { 'content-type': SEALED_TYPE, 'content-length': `${frame.length}` };
    sink.head(status, { ...headers, ...types, [SEALED_HEADER]: nonce });
    await sink.write(frame);
    sink.end();
  };
  return {
    signal: sink.signal,
    hasBegun: () => begun !== undefined,
    head: (status, headers) => {
      const isStream = headers['content-type']?.startsWith('text/event-stream') === true;
      begun = { status, headers, isStream, frames: answer.begin(status, isStream ? 'stream' : 'body') };
      if (isStream) sink.head(status, { ...headers, [SEALED_HEADER]: nonce });
    },
    write: (bytes) => {
      if (begun?.isStream !== true) {
        whole.push(bytes);
        return Promise.resolve();
      }
      const { frames } = begun;
      return then(async () => sink.write(eventOf(await frames.seal(bytes, false))));
    },
    end: () => {
      if (begun === undefined) return;
      const { isStream, frames } = begun;
      const last = begun;
      void then(async () => {
        if (!isStream) return endWhole(last);
        await sink.write(eventOf(await frames.seal(new Uint8Array(0), true)));
        sink.end();
      });
    },
  };
}

function eventOf(frame: Uint8Array): Uint8Array {
  return utf8Encode(`data: ${base64url(frame)}\n\n`);
}
