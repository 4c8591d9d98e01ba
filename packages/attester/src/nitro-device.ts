/**
 * Documents of AWS Nitro Enclaves. The Nitro Security Module answers CBOR requests over an ioctl of `/dev/nsm`, which Node can't
 * make; the bridge program (`nsm-bridge`) carries one request and its answer.
 */
import { CborWriter } from '@haca/primitives';
import { type AttestationRequest, type Attester, AttesterError, requireRequest } from './attester.ts';
import { runCommand } from './command.ts';

export interface NitroOptions {
  /** The bridge program and its arguments. */
  readonly bridge: readonly [string, ...string[]];
  /** 10 s without. */
  readonly timeoutMs?: number;
}

/** What the driver carries back at most. */
const RESPONSE_MAX_BYTES = 0x3000;
const PURPOSE =
  'build packages/attester/nsm-bridge into the image of the enclave and name its path in the configuration';

export function openNitroAttester({ bridge, timeoutMs = 10_000 }: NitroOptions): Attester {
  return {
    kind: 'nitro',
    isSimulated: false,
    attest: async (request) => {
      requireRequest(request);
      const stdin = encodeNsmRequest(request);
      const limits = { timeoutMs, outputMaxBytes: RESPONSE_MAX_BYTES, purpose: PURPOSE };
      return parseNsmResponse(await runCommand({ argv: bridge, stdin, ...limits }));
    },
  };
}

/** The module's request `Attestation`. */
export function encodeNsmRequest({
  bindingHash,
  signPublicKey,
  refBlockHash,
}: AttestationRequest): Uint8Array {
  const writer = new CborWriter();
  writer.mapHead(1);
  writer.text('Attestation');
  writer.mapHead(3);
  writer.text('user_data');
  writer.bytes(bindingHash);
  writer.text('nonce');
  writer.bytes(refBlockHash);
  writer.text('public_key');
  writer.bytes(signPublicKey);
  return writer.finish();
}

const MAJOR_BYTES = 2;
const MAJOR_TEXT = 3;
const MAJOR_MAP = 5;
const BREAK = 0xff;

/**
 * The document in `{"Attestation": {"document": bytes}}`; `{"Error": text}` is thrown. AWS has written maps with and without a
 * length, so both are read; everything else is exact. Throws `AttesterError`.
 */
export function parseNsmResponse(bytes: Uint8Array): Uint8Array {
  const reader = responseReader(bytes);
  const closeOuter = reader.openMap();
  const name = reader.text();
  if (name === 'Error') {
    const error = reader.text();
    throw new AttesterError('attester.refused', `the Nitro Security Module refused: ${error}`);
  }
  if (name !== 'Attestation') throw malformed(`it answered ${JSON.stringify(name)}`);
  const closeInner = reader.openMap();
  if (reader.text() !== 'document') throw malformed('it has no document');
  const document = reader.bytes();
  closeInner();
  closeOuter();
  reader.end();
  if (document.length === 0) throw malformed('its document is empty');
  return document;
}

/** As much CBOR as the answer has. */
function responseReader(bytes: Uint8Array) {
  let at = 0;
  const next = (): number => {
    const byte = bytes[at++];
    if (byte === undefined) throw malformed(`it ends after ${bytes.length} bytes`);
    return byte;
  };
  const length = (info: number): number => {
    if (info < 24) return info;
    if (info === 24) return next();
    if (info === 25) return next() * 256 + next();
    throw malformed('a length is not of the form it should have');
  };
  const take = (major: number): Uint8Array => {
    const lead = next();
    if (lead >> 5 !== major) throw malformed(`an item begins with ${lead}`);
    const start = at + (lead % 32 === 24 ? 1 : lead % 32 === 25 ? 2 : 0);
    const end = start + length(lead % 32);
    if (end > bytes.length) throw malformed(`it ends after ${bytes.length} bytes`);
    at = end;
    return new Uint8Array(bytes.subarray(start, end));
  };
  return {
    /** A map of one entry; the function it returns reads its end. */
    openMap: (): (() => void) => {
      const lead = next();
      if (lead === ((MAJOR_MAP << 5) | 1)) return () => undefined;
      if (lead !== ((MAJOR_MAP << 5) | 31)) throw malformed('it is no map of one entry');
      return () => {
        if (next() !== BREAK) throw malformed('a map has more than one entry');
      };
    },
    text: (): string => Buffer.from(take(MAJOR_TEXT)).toString('utf8').slice(0, 200),
    bytes: (): Uint8Array => take(MAJOR_BYTES),
    end: (): void => {
      if (at !== bytes.length) throw malformed(`${bytes.length - at} bytes follow it`);
    },
  };
}

function malformed(what: string): AttesterError {
  return new AttesterError(
    'attester.malformed',
    `the answer of the Nitro Security Module can't be used: ${what}`,
  );
}
