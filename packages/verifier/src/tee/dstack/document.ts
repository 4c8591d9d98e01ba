/**
 * A dstack document as bytes: a TDX quote and the log of what the guest extended into its RTMRs. A log is nothing but a claim
 * until replaying it gives the registers of the quote; so that no byte of it goes unmeasured, it carries only what is.
 */
import {
  type CryptoProvider,
  concatBytes,
  decode,
  MalformedError,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import {
  DSTACK_RUNTIME_EVENT_TYPE,
  type DstackDocument,
  type DstackEvent,
  dstackDocumentCodec,
} from '@haca/protocol';

const DIGEST_BYTES = 48;
const RUNTIME_IMR = 3;
const COLON = Uint8Array.of(0x3a);

/** What an event of RTMR3 says: its digest is computed, never taken over. */
export interface DstackRuntimeEvent {
  readonly name: string;
  readonly payload: Uint8Array;
  /** How the digest is made: 1 `SHA-384(le32(type) ":" name ":" payload)`, 2 SHA-384 of canonical JSON. */
  readonly version: 1 | 2;
}

export interface DstackLog {
  readonly quote: Uint8Array;
  /** Digests of RTMR0 to RTMR2, each in the order of extension. */
  readonly boot: readonly [readonly Uint8Array[], readonly Uint8Array[], readonly Uint8Array[]];
  /** Events of RTMR3 in the order of extension. */
  readonly runtime: readonly DstackRuntimeEvent[];
}

/** Form only. Throws `MalformedError`. */
export function parseDstackDocument(bytes: Uint8Array): DstackLog {
  const { quote, events }: DstackDocument = decode(dstackDocumentCodec, bytes, 'document');
  const boot: [Uint8Array[], Uint8Array[], Uint8Array[]] = [[], [], []];
  const runtime: DstackRuntimeEvent[] = [];
  for (const [index, event] of events.entries()) {
    const path = `document.events.${index}`;
    const digests = boot[event.imr];
    if (digests === undefined) runtime.push(runtimeEvent(event, path));
    else digests.push(bootDigest(event, path));
  }
  return { quote, boot, runtime };
}

function bootDigest(
  { imr, eventType, digest, name, payload, version }: DstackEvent,
  path: string,
): Uint8Array {
  if (eventType !== 0 || name !== '' || payload.length > 0 || version !== undefined)
    throw new MalformedError('dstack.boot-event', path, `a digest and nothing else in RTMR${imr}`, 'more');
  if (digest === null) throw new MalformedError('dstack.boot-event', path, `a digest in RTMR${imr}`, 'none');
  return digest;
}

function runtimeEvent(event: DstackEvent, path: string): DstackRuntimeEvent {
  const { imr, eventType, digest, name, payload, version } = event;
  if (imr !== RUNTIME_IMR || eventType !== DSTACK_RUNTIME_EVENT_TYPE) {
    const expected = `type ${DSTACK_RUNTIME_EVENT_TYPE} in RTMR${RUNTIME_IMR}`;
    throw new MalformedError('dstack.runtime-event', path, expected, `type ${eventType}`);
  }
  if (digest !== null)
    throw new MalformedError('dstack.runtime-event', path, 'no digest: it is computed', toHex(digest));
  if (version !== undefined && version !== 2)
    throw new MalformedError('dstack.runtime-event', path, 'version 2, or none', `${version}`);
  if (version === undefined && name.includes(':'))
    throw new MalformedError('dstack.event-name', path, 'a name that ends at its first colon', name);
  return { name, payload, version: version ?? 1 };
}

/**
 * 48 bytes. Two events of one digest are equal: version 1 begins with the type and has names without colons, version 2 begins
 * with a brace and is RFC 8785 JSON.
 */
export function dstackEventDigest(event: DstackRuntimeEvent, { sha384 }: CryptoProvider): Uint8Array {
  const { name, payload, version } = event;
  if (version === 2) {
    // Members in the order of RFC 8785; its form of strings is that of ECMAScript.
    const json = { name, payload: toHex(payload), type: DSTACK_RUNTIME_EVENT_TYPE };
    return sha384(utf8Encode(JSON.stringify(json)));
  }
  const type = new Uint8Array(4);
  new DataView(type.buffer).setUint32(0, DSTACK_RUNTIME_EVENT_TYPE, true);
  return sha384(concatBytes(type, COLON, utf8Encode(name), COLON, payload));
}

/** RTMR0 to RTMR3 as the log makes them: each begins as zeros and takes SHA-384 of itself and every digest in turn. */
export function replayedRegisters(log: DstackLog, crypto: CryptoProvider): readonly Uint8Array[] {
  const runtime = log.runtime.map((event) => dstackEventDigest(event, crypto));
  return [...log.boot, runtime].map((digests) =>
    digests.reduce(
      (register, digest) => crypto.sha384(concatBytes(register, digest)),
      new Uint8Array(DIGEST_BYTES),
    ),
  );
}
