/** Evidence of a dstack app: its guest agent gives a TDX quote and the log of what was measured, over a Unix socket. */
import { request } from 'node:http';
import { nodeCrypto } from '@haca/platform';
import {
  bytesEqual,
  concatBytes,
  encode,
  fromHex,
  MalformedError,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import {
  DSTACK_RUNTIME_EVENT_TYPE,
  type DstackEvent,
  dstackDocumentCodec,
  dstackEventOf,
} from '@haca/protocol';
import {
  type Attester,
  AttesterError,
  messageOf,
  requireDocumentSize,
  requireRequest,
  systemCode,
} from './attester.ts';
import { trimTdxQuote } from './tdx-quote.ts';

export const DSTACK_SOCKET = '/var/run/dstack.sock';

export interface DstackOptions {
  /** `DSTACK_SOCKET` without. The app's container has to have it mounted. */
  readonly socketPath?: string;
  /** 30 s without. */
  readonly timeoutMs?: number;
}

const ANSWER_MAX_BYTES = 1024 * 1024;
const COMPLAINT_CHARS = 300;
/** What a document of a dstack app can hold. */
const NAME_MAX_BYTES = 128;
const PAYLOAD_MAX_BYTES = 4_096;
const EVENTS_MAX = 256;
const DIGEST_BYTES = 48;

export function openDstackAttester({
  socketPath = DSTACK_SOCKET,
  timeoutMs = 30_000,
}: DstackOptions = {}): Attester {
  return {
    kind: 'dstack',
    isSimulated: false,
    attest: async (asked) => {
      requireRequest(asked);
      const body = JSON.stringify({ report_data: toHex(asked.bindingHash) });
      const answer = await post(socketPath, '/GetQuote', body, timeoutMs);
      return requireDocumentSize(dstackDocument(answer, asked.bindingHash));
    },
  };
}

/** The agent's answer as evidence travels. Throws `AttesterError`. */
function dstackDocument(answer: string, reportData: Uint8Array): Uint8Array {
  try {
    const members = object(json(answer, 'answer'), 'answer');
    const quote = trimTdxQuote(hex(members, 'quote'), reportData);
    const log = json(text(members, 'event_log'), 'event_log');
    if (!Array.isArray(log) || log.length > EVENTS_MAX)
      throw new MalformedError(
        'dstack.event-log',
        'event_log',
        `a list of at most ${EVENTS_MAX} events`,
        typeof log,
      );
    return encode(dstackDocumentCodec, { quote, events: log.map(parseEvent) });
  } catch (error) {
    if (error instanceof AttesterError) throw error;
    throw new AttesterError(
      'attester.malformed',
      `the agent's answer can't be used: ${messageOf(error)}`,
      error,
    );
  }
}

/** What the document carries of an entry; of a digest that is computed, the log's own has to be it. */
function parseEvent(value: unknown, index: number): DstackEvent {
  const path = `event_log.${index}`;
  const entry = object(value, path);
  const imr = integer(entry, 'imr', path, 3);
  const eventType = integer(entry, 'event_type', path, 0xffff_ffff);
  const nothing = { name: '', payload: new Uint8Array(0) };
  if (eventType !== DSTACK_RUNTIME_EVENT_TYPE)
    return dstackEventOf({ imr, eventType, digest: digestOf(entry, path), ...nothing });
  const name = text(entry, 'event', path);
  const payload = hex(entry, 'event_payload', path);
  const version = entry['version'] === undefined ? 1 : integer(entry, 'version', path, 2);
  if ((entry['digest'] ?? '') !== '') {
    const digest = digestOf(entry, path);
    if (!bytesEqual(digest, runtimeDigest(name, payload, version)))
      throw new MalformedError('dstack.event-digest', path, 'the digest of its fields', toHex(digest));
  }
  const event = { imr, eventType, digest: null, name, payload, ...(version === 2 ? { version } : {}) };
  const carried = dstackEventOf(event);
  requireAtMost(NAME_MAX_BYTES, utf8Encode(carried.name), `${path}.event`);
  requireAtMost(PAYLOAD_MAX_BYTES, carried.payload, `${path}.event_payload`);
  return carried;
}

/** What a dstack guest extends into RTMR3: version 1 joins the fields, version 2 writes them as canonical JSON (RFC 8785). */
function runtimeDigest(name: string, payload: Uint8Array, version: number): Uint8Array {
  const type = new Uint8Array(4);
  new DataView(type.buffer).setUint32(0, DSTACK_RUNTIME_EVENT_TYPE, true);
  const joined = concatBytes(type, utf8Encode(`:${name}:`), payload);
  const json = { name, payload: toHex(payload), type: DSTACK_RUNTIME_EVENT_TYPE };
  return nodeCrypto.sha384(version === 2 ? utf8Encode(JSON.stringify(json)) : joined);
}

function digestOf(entry: Json, path: string): Uint8Array {
  const digest = hex(entry, 'digest', path);
  if (digest.length === DIGEST_BYTES) return digest;
  throw new MalformedError('dstack.event-digest', path, `a digest of ${DIGEST_BYTES} bytes`, toHex(digest));
}

async function post(socketPath: string, path: string, body: string, timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const signal = AbortSignal.timeout(timeoutMs);
  const headers = { 'content-type': 'application/json', host: 'dstack' };
  const call = request({ socketPath, path, method: 'POST', headers, signal }, (response) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    response.on('data', (chunk: Uint8Array) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > ANSWER_MAX_BYTES) response.destroy(new Error(`more than ${ANSWER_MAX_BYTES} bytes`));
    });
    response.on('error', reject);
    response.on('end', () => {
      const said = Buffer.concat(chunks).toString('utf8');
      if (response.statusCode === 200) resolve(said);
      else reject(refusal(path, response.statusCode ?? 0, said));
    });
  });
  call.on('error', reject);
  call.end(body);
  try {
    return await promise;
  } catch (error) {
    throw error instanceof AttesterError ? error : socketError(socketPath, timeoutMs, error);
  }
}

function refusal(path: string, status: number, said: string): AttesterError {
  const why = said.slice(0, COMPLAINT_CHARS).trim();
  return new AttesterError(
    'attester.refused',
    `the guest agent refused ${path} with status ${status}: ${why}`,
  );
}

function socketError(socketPath: string, timeoutMs: number, error: unknown): AttesterError {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new AttesterError(
      'attester.missing',
      `no dstack guest agent at ${socketPath} (${code}): mount the socket into the container`,
      error,
    );
  if (code === 'EACCES')
    return new AttesterError('attester.denied', `${socketPath} may not be used by this user`, error);
  if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError'))
    return new AttesterError('attester.unavailable', `the guest agent was silent for ${timeoutMs} ms`, error);
  return new AttesterError('attester.refused', `the guest agent failed: ${messageOf(error)}`, error);
}

type Json = Readonly<Record<string, unknown>>;

function json(source: string, path: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    throw new MalformedError('json.syntax', path, 'JSON', `${source.length} characters that are none`);
  }
}

function object(value: unknown, path: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedError('json.type', path, 'an object', typeof value);
  return value as Json;
}

function text(members: Json, name: string, path = 'answer'): string {
  const value = members[name];
  if (typeof value !== 'string')
    throw new MalformedError('json.type', `${path}.${name}`, 'a text', typeof value);
  return value;
}

function integer(members: Json, name: string, path: string, max: number): number {
  const value = members[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max)
    throw new MalformedError('json.type', `${path}.${name}`, `a count of at most ${max}`, String(value));
  return value;
}

function requireAtMost(max: number, bytes: Uint8Array, path: string): void {
  if (bytes.length > max)
    throw new MalformedError('dstack.event-length', path, `at most ${max} bytes`, `${bytes.length}`);
}

function hex(members: Json, name: string, path = 'answer'): Uint8Array {
  return fromHex(text(members, name, path).toLowerCase(), `${path}.${name}`);
}
