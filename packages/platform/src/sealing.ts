/**
 * Requests sealed to the X25519 key of a chain record, and answers sealed back: HPKE (RFC 9180) base mode with
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM, the way back as in Oblivious HTTP (RFC 9458, section 4.4). Client and
 * node run the same code. Formats: spec/http-api.md, section 11.
 */

import {
  bytesEqual,
  concatBytes,
  domainPrefix,
  MalformedError,
  toHex,
  UsageError,
  utf8Encode,
  writeCbor,
} from '@haca/primitives';
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';

/** Content type of a sealed request, and of a sealed whole answer. */
export const SEALED_TYPE = 'application/vnd.haca.sealed';
/** Response header: base64url of the 32 fresh bytes that the keys of this answer are derived with. */
export const SEALED_HEADER = 'x-haca-sealed';
/** What sealing adds to a body: key id, encapsulated key and tag. */
export const SEALED_OVERHEAD_BYTES = 32 + 32 + 16;

const KEY_ID_BYTES = 32;
const ENC_BYTES = 32;
const TAG_BYTES = 16;
const RESPONSE_NONCE_BYTES = 32;
const AEAD_KEY_BYTES = 16;
const AEAD_NONCE_BYTES = 12;
const FRAMES_MAX = 0xffff_ffff;

/** A key of the platform's own cryptography. */
export type PlatformKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/** The key pair that requests are sealed to; it lives in memory only. */
export interface SealingKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: PlatformKey;
}

/** Whose key it is that a request is sealed to. */
export interface SealedFor {
  readonly chainId: string;
  readonly keyId: Uint8Array;
}

/** What travels beside a sealed body in the clear, and can't be changed without breaking it. */
export interface RequestPlace {
  /** As the node sees it, e.g. `/v1/chat/completions`. */
  readonly path: string;
  /** Header `x-haca-voucher`; null where there is none. */
  readonly voucher: string | null;
  /** Header `x-haca-idempotency-key`; null where there is none. */
  readonly idempotencyKey: string | null;
}

export type AnswerForm = 'body' | 'stream';

export interface SealedRequest {
  readonly bytes: Uint8Array;
  /**
   * What opens the answer with this value of `x-haca-sealed`, status and form. Throws `MalformedError` where the nonce has not 32
   * bytes.
   */
  readonly openAnswer: (nonce: Uint8Array, status: number, form: AnswerForm) => Promise<FrameOpener>;
}

export interface FrameOpener {
  /** The next frame. Throws `MalformedError` unless it is that: unchanged, in its place and not after the last. */
  readonly open: (frame: Uint8Array) => Promise<Frame>;
}

export interface Frame {
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

export interface OpenedRequest {
  readonly body: Uint8Array;
  readonly answer: AnswerSealer;
}

/** Seals one answer, once. */
export interface AnswerSealer {
  /** For `x-haca-sealed`. */
  readonly nonce: Uint8Array;
  /** Call once: frames of two answers would share keys and nonces. */
  readonly begin: (status: number, form: AnswerForm) => FrameSealer;
}

export interface FrameSealer {
  /** Frames take their number in the order of the calls. */
  readonly seal: (bytes: Uint8Array, isLast: boolean) => Promise<Uint8Array>;
}

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes128Gcm(),
});

export async function makeSealingKey(): Promise<SealingKey> {
  const { publicKey, privateKey } = await suite.kem.generateKeyPair();
  return { publicKey: new Uint8Array(await suite.kem.serializePublicKey(publicKey)), privateKey };
}

/**
 * Seals a request body. Throws `MalformedError` where the key is none that anything can be sealed to; it comes from a record
 * that a node wrote. Throws `UsageError` where the platform has no WebCrypto, as pages that came over plain HTTP.
 */
export async function sealRequest(
  publicKey: Uint8Array,
  subject: SealedFor,
  place: RequestPlace,
  body: Uint8Array,
): Promise<SealedRequest> {
  if (globalThis.crypto?.subtle === undefined) {
    throw new UsageError('nothing can be sealed here: WebCrypto is there in secure contexts only');
  }
  const sender = await suite.kem
    .importKey('raw', bufferOf(publicKey), true)
    .then((recipientPublicKey) =>
      suite.createSenderContext({ recipientPublicKey, info: bufferOf(infoOf(subject)) }),
    )
    .catch(() => {
      throw new MalformedError('sealed.key', 'hpkePublicKey', 'an X25519 key', toHex(publicKey));
    });
  const ciphertext = await sender.seal(bufferOf(body), bufferOf(placeBytes(place)));
  const enc = new Uint8Array(sender.enc);
  const secret = await sender.export(bufferOf(EXPORT_LABEL), 32);
  return {
    bytes: concatBytes(subject.keyId, enc, new Uint8Array(ciphertext)),
    openAnswer: async (nonce, status, form) => {
      if (nonce.length !== RESPONSE_NONCE_BYTES) {
        throw new MalformedError(
          'sealed.nonce',
          SEALED_HEADER,
          `${RESPONSE_NONCE_BYTES} bytes`,
          `${nonce.length}`,
        );
      }
      return frameOpener(await answerKeys(secret, enc, nonce), contextBytes(status, form));
    },
  };
}

/** The key that a sealed request says it is sealed to. Throws `MalformedError` where the bytes can't be a sealed request. */
export function sealedKeyId(sealed: Uint8Array): Uint8Array {
  if (sealed.length < SEALED_OVERHEAD_BYTES) {
    throw new MalformedError(
      'sealed.size',
      'body',
      `at least ${SEALED_OVERHEAD_BYTES} bytes`,
      `${sealed.length}`,
    );
  }
  return sealed.slice(0, KEY_ID_BYTES);
}

/** Opens a sealed request. Throws `MalformedError` unless it was sealed to this key, for this subject and this place. */
export async function openRequest(
  { privateKey }: SealingKey,
  subject: SealedFor,
  place: RequestPlace,
  sealed: Uint8Array,
): Promise<OpenedRequest> {
  const notOurs = (): never => {
    throw new MalformedError(
      'sealed.open',
      'body',
      'a body sealed to this key, for this path and voucher',
      'another',
    );
  };
  if (!bytesEqual(sealedKeyId(sealed), subject.keyId)) notOurs();
  const enc = sealed.slice(KEY_ID_BYTES, KEY_ID_BYTES + ENC_BYTES);
  const ciphertext = sealed.slice(KEY_ID_BYTES + ENC_BYTES);
  const info = bufferOf(infoOf(subject));
  try {
    const recipient = await suite.createRecipientContext({
      recipientKey: privateKey,
      enc: bufferOf(enc),
      info,
    });
    const body = new Uint8Array(await recipient.open(bufferOf(ciphertext), bufferOf(placeBytes(place))));
    const secret = await recipient.export(bufferOf(EXPORT_LABEL), 32);
    return { body, answer: await answerSealer(secret, enc) };
  } catch {
    return notOurs();
  }
}

/** A request that is sent again has the same secret: what keeps the keys of its answers apart is a fresh nonce for each. */
async function answerSealer(secret: ArrayBuffer, enc: Uint8Array): Promise<AnswerSealer> {
  const nonce = crypto.getRandomValues(new Uint8Array(RESPONSE_NONCE_BYTES));
  const keys = await answerKeys(secret, enc, nonce);
  let hasBegun = false;
  return {
    nonce,
    begin: (status, form) => {
      if (hasBegun) throw new UsageError('an answer is sealed once');
      hasBegun = true;
      return frameSealer(keys, contextBytes(status, form));
    },
  };
}

interface AnswerKeys {
  readonly key: PlatformKey;
  readonly nonceBase: Uint8Array;
}

/** RFC 9458, section 4.4. */
async function answerKeys(secret: ArrayBuffer, enc: Uint8Array, nonce: Uint8Array): Promise<AnswerKeys> {
  const ikm = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const salt = bufferOf(concatBytes(enc, nonce));
  const derive = (label: string, sizeBytes: number): Promise<ArrayBuffer> =>
    crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt, info: bufferOf(utf8Encode(label)) },
      ikm,
      8 * sizeBytes,
    );
  const raw = await derive('key', AEAD_KEY_BYTES);
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return { key, nonceBase: new Uint8Array(await derive('nonce', AEAD_NONCE_BYTES)) };
}

const MORE = 0;
const LAST = 1;

function frameSealer(keys: AnswerKeys, context: Uint8Array): FrameSealer {
  let frames = 0;
  return {
    seal: async (bytes, isLast) => {
      const parameters = aeadOf(keys, context, frames++);
      const plaintext = concatBytes(Uint8Array.of(isLast ? LAST : MORE), bytes);
      return new Uint8Array(await crypto.subtle.encrypt(parameters, keys.key, bufferOf(plaintext)));
    },
  };
}

function frameOpener(keys: AnswerKeys, context: Uint8Array): FrameOpener {
  let frames = 0;
  let isOver = false;
  const refuse = (): never => {
    throw new MalformedError('sealed.frame', `frame ${frames}`, 'the next frame of this answer', 'another');
  };
  return {
    open: async (frame) => {
      if (isOver || frame.length < 1 + TAG_BYTES) refuse();
      const parameters = aeadOf(keys, context, frames++);
      const plaintext = new Uint8Array(
        await crypto.subtle.decrypt(parameters, keys.key, bufferOf(frame)).catch(refuse),
      );
      const [flag] = plaintext;
      if (flag !== MORE && flag !== LAST) refuse();
      isOver = flag === LAST;
      const bytes = plaintext.subarray(1);
      // An answer of endless nothing would never be over.
      if (!isOver && bytes.length === 0) refuse();
      return { bytes, isLast: isOver };
    },
  };
}

/** The nonce of a frame is the base with the number of the frame added by XOR, as in RFC 9180, section 5.2. */
function aeadOf({ nonceBase }: AnswerKeys, context: Uint8Array, frame: number) {
  if (frame > FRAMES_MAX) throw new RangeError('an answer has at most 2^32 frames');
  const iv = new Uint8Array(nonceBase);
  const view = new DataView(iv.buffer);
  view.setUint32(AEAD_NONCE_BYTES - 4, (view.getUint32(AEAD_NONCE_BYTES - 4) ^ frame) >>> 0);
  return { name: 'AES-GCM', iv, additionalData: bufferOf(context), tagLength: 8 * TAG_BYTES };
}

const EXPORT_LABEL = utf8Encode('haca/sealed-answer/1');

function infoOf({ chainId, keyId }: SealedFor): Uint8Array {
  const subject = writeCbor((writer) => {
    writer.arrayHead(2);
    writer.text(chainId);
    writer.bytes(keyId);
  });
  return concatBytes(domainPrefix('haca/sealed-request/1'), subject);
}

function placeBytes({ path, voucher, idempotencyKey }: RequestPlace): Uint8Array {
  return writeCbor((writer) => {
    writer.arrayHead(4);
    writer.text('POST');
    for (const text of [path, voucher, idempotencyKey]) {
      if (text === null) writer.null();
      else writer.text(text);
    }
  });
}

function contextBytes(status: number, form: AnswerForm): Uint8Array {
  return writeCbor((writer) => {
    writer.arrayHead(2);
    writer.uint(status);
    writer.text(form);
  });
}

/** The platform's cryptography takes no memory that is shared. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
