/** The inference node's HTTP API beside inference itself. Answers are material to check: every reader here is strict. */
import { fromBase64url } from '@haca/platform/rpc';
import { decode, MalformedError, toHex } from '@haca/primitives';
import {
  ASSURANCES,
  type Assurance,
  decodeModelManifest,
  decodeReceiptProof,
  EVIDENCE_KINDS,
  EVIDENCE_MAX_BYTES,
  type EvidenceEnvelope,
  GPUS_MAX,
  type ModelManifest,
  OFFER,
  type Offer,
  RECEIPT,
  type Receipt,
  type ReceiptProof,
  type RegistrationBinding,
  registrationBindingCodec,
  type SignedObject,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { CONNECTION_CODES, NodeError } from './errors.ts';
import {
  asAmount,
  asArray,
  asHex,
  asInteger,
  asObject,
  asText,
  asTextOrNull,
  bad,
  parseJson,
} from './json.ts';

export interface NodeInfo {
  readonly chainId: string;
  readonly nodeId: Uint8Array;
  readonly keys: readonly { readonly keyId: Uint8Array; readonly assurance: Assurance | null }[];
  readonly models: readonly {
    readonly name: string;
    readonly modelId: Uint8Array;
    readonly manifest: ModelManifest;
    readonly offer: SignedObject<Offer>;
    readonly keyId: Uint8Array;
  }[];
  readonly height: number;
}

export interface NodeAttestation {
  readonly envelope: EvidenceEnvelope;
  readonly binding: RegistrationBinding;
  /** Documents of its GPUs, in the order of the registration; left out where the node gives none. */
  readonly gpuEvidence?: readonly Uint8Array[];
}

export interface LaneState {
  readonly charged: bigint;
  readonly reserved: bigint;
  readonly voucher: SignedObject<Voucher> | null;
}

export const RECEIPT_STATES = ['executed', 'settled', 'proving', 'verified', 'final'] as const;
export type ReceiptState = (typeof RECEIPT_STATES)[number];

/** How far the proof of a `zk` receipt has come, by the node's word. */
export interface ClaimStatus {
  readonly claimId: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  /** Block in which it was verified, or ended unpaid; null while it is open. */
  readonly endedAt: number | null;
  readonly proveMs: number | null;
  readonly proofTxHash: Uint8Array | null;
}

export interface ReceiptStatus {
  /** `unpaid`: no proof came in time, and nobody is charged. */
  readonly state: ReceiptState | 'unpaid';
  /** Null for receipts that need no proof, and before one is settled. */
  readonly claim: ClaimStatus | null;
  readonly receipt: SignedObject<Receipt>;
  readonly height: number | null;
  readonly txHash: Uint8Array | null;
  readonly proof: { readonly value: ReceiptProof; readonly bytes: Uint8Array } | null;
}

export interface NodeApi {
  readonly url: string;
  readonly info: () => Promise<NodeInfo>;
  readonly attestation: (keyId: Uint8Array) => Promise<NodeAttestation>;
  readonly lane: (channelId: Uint8Array, lane: number, keyId: Uint8Array) => Promise<LaneState>;
  readonly receipt: (id: string) => Promise<ReceiptStatus>;
  /** The transaction that proved a receipt: bytes to be checked. */
  readonly proofTransaction: (id: string) => Promise<Uint8Array>;
}

const TIMEOUT_MS = 5_000;
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;

export function connectNode(url: string, fetchFn: typeof fetch): NodeApi {
  const base = url.replace(/\/+$/, '');
  const fetchBytes = async (
    path: string,
  ): Promise<{ readonly status: number; readonly bytes: Uint8Array }> => {
    try {
      const response = await fetchFn(`${base}${path}`, {
        signal: AbortSignal.timeout(TIMEOUT_MS),
        redirect: 'error',
      });
      return { status: response.status, bytes: await readBounded(response, ANSWER_MAX_BYTES) };
    } catch (cause) {
      if (cause instanceof MalformedError) throw cause;
      throw new NodeError('E_UNREACHABLE', `no answer from ${base}${path}`, null, { cause });
    }
  };
  const get = async (path: string): Promise<unknown> => {
    const { status, bytes } = await fetchBytes(path);
    if (status >= 400) throw nodeErrorOf(status, jsonOrNull(bytes), `${base}${path}`);
    return parseJson(new TextDecoder().decode(bytes), path);
  };
  return {
    url: base,
    info: async () => parseInfo(await get('/v1/haca')),
    attestation: async (keyId) => parseAttestation(await get(`/v1/attestation/${toHex(keyId)}`)),
    lane: async (channelId, lane, keyId) =>
      parseLane(await get(`/v1/lanes/${toHex(channelId)}/${lane}?key=${toHex(keyId)}`)),
    receipt: async (id) => parseReceiptStatus(await get(`/v1/receipts/${encodeURIComponent(id)}`)),
    proofTransaction: async (id) => {
      const path = `/v1/receipts/${encodeURIComponent(id)}/proof`;
      const { status, bytes } = await fetchBytes(path);
      if (status < 400) return bytes;
      throw nodeErrorOf(status, jsonOrNull(bytes), `${base}${path}`);
    },
  };
}

/** The error of a node's JSON body `{"error":{"message","code"}}`. What only this client can know is no node's to say. */
export function nodeErrorOf(status: number, body: unknown, where: string): NodeError {
  const error = errorIn(body);
  const code = typeof error?.code === 'string' && !isConnectionCode(body) ? error.code : `HTTP_${status}`;
  const message = typeof error?.message === 'string' ? error.message : `HTTP ${status}`;
  const said = message.startsWith(`${code}: `) ? message : `${code}: ${message}`;
  return new NodeError(code, `${where}: ${said.slice(0, 500)}`, status);
}

function errorIn(body: unknown): { readonly message?: unknown; readonly code?: unknown } | null | undefined {
  return (body as { error?: { message?: unknown; code?: unknown } | null } | null)?.error;
}

/** Whether a body claims a code by which this client alone says what became of a connection. */
export function isConnectionCode(body: unknown): boolean {
  const code = errorIn(body)?.code;
  return typeof code === 'string' && CONNECTION_CODES.has(code);
}

/** What refuses need not be the node: the error page of a proxy before it is no JSON. */
export function jsonOrNull(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** The connection broke before all of a body was there. */
export class BrokenBodyError extends Error {
  override readonly name = 'BrokenBodyError';
  readonly receivedBytes: number;
  readonly answerId: string | null;

  constructor(receivedBytes: number, answerId: string | null, cause: unknown) {
    super(`the connection broke after ${receivedBytes} bytes of a body`, { cause });
    this.receivedBytes = receivedBytes;
    this.answerId = answerId;
  }
}

/** Receipt id that a response is sent under, by the node's word. */
export function answerIdOf({ headers }: Response): string | null {
  return headers.get('x-haca-receipt-id');
}

/** All bytes of a response; `MalformedError` above the limit, `BrokenBodyError` where the connection breaks before its end. */
export async function readBounded(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (response.body === null) return new Uint8Array(0);
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw new BrokenBodyError(size, answerIdOf(response), cause);
    });
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw new MalformedError('response.size', '', `at most ${maxBytes} bytes`, 'more');
    }
    chunks.push(value);
  }
  const all = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    all.set(chunk, offset);
    offset += chunk.length;
  }
  return all;
}

function parseInfo(value: unknown): NodeInfo {
  const doc = asObject(value, 'haca');
  return {
    chainId: asText(doc['chainId'], 'haca.chainId', 50),
    nodeId: asHex(doc['nodeId'], 'haca.nodeId', 32),
    keys: asArray(doc['keys'], 'haca.keys', 256).map((entry, i) => {
      const key = asObject(entry, `haca.keys.${i}`);
      const assurance = ASSURANCES.find((each) => each === key['assurance']) ?? null;
      return { keyId: asHex(key['keyId'], `haca.keys.${i}.keyId`, 32), assurance };
    }),
    models: asArray(doc['models'], 'haca.models', 256).map((entry, i) => {
      const path = `haca.models.${i}`;
      const model = asObject(entry, path);
      return {
        name: asText(model['name'], `${path}.name`, 256),
        modelId: asHex(model['modelId'], `${path}.modelId`, 32),
        manifest: decodeModelManifest(base64urlAt(model['manifest'], `${path}.manifest`, 4096)),
        offer: OFFER.decode(base64urlAt(model['offer'], `${path}.offer`, 2048)),
        keyId: asHex(model['keyId'], `${path}.keyId`, 32),
      };
    }),
    height: asInteger(doc['height'], 'haca.height'),
  };
}

function parseAttestation(value: unknown): NodeAttestation {
  const doc = asObject(value, 'attestation');
  const kind = EVIDENCE_KINDS.find((each) => each === doc['kind']);
  if (kind === undefined) throw bad('attestation.kind', EVIDENCE_KINDS.join(' | '), doc['kind']);
  const binding = base64urlAt(doc['binding'], 'attestation.binding', 4096);
  const gpus = doc['gpuEvidence'] ?? null;
  return {
    envelope: { kind, document: base64urlAt(doc['document'], 'attestation.document', EVIDENCE_MAX_BYTES) },
    binding: decode(registrationBindingCodec, binding, 'binding'),
    ...(gpus === null ? {} : { gpuEvidence: parseGpuEvidence(gpus) }),
  };
}

function parseGpuEvidence(value: unknown): readonly Uint8Array[] {
  return asArray(value, 'attestation.gpuEvidence', GPUS_MAX).map((document, i) =>
    base64urlAt(document, `attestation.gpuEvidence.${i}`, EVIDENCE_MAX_BYTES),
  );
}

function parseLane(value: unknown): LaneState {
  const doc = asObject(value, 'lane');
  const voucher = asTextOrNull(doc['voucher'], 'lane.voucher', 1024);
  return {
    charged: asAmount(doc['charged'], 'lane.charged'),
    reserved: asAmount(doc['reserved'], 'lane.reserved'),
    voucher: voucher === null ? null : VOUCHER.decode(fromBase64url(voucher)),
  };
}

function parseReceiptStatus(value: unknown): ReceiptStatus {
  const doc = asObject(value, 'receipt-status');
  const states = [...RECEIPT_STATES, 'unpaid'] as const;
  const state = states.find((each) => each === doc['state']);
  if (state === undefined) throw bad('receipt-status.state', states.join(' | '), doc['state']);
  const proof = doc['proof'] ?? null;
  const bytes = proof === null ? null : base64urlAt(proof, 'receipt-status.proof', 128 * 1024);
  const height = doc['height'] ?? null;
  const txHash = doc['txHash'] ?? null;
  return {
    state,
    claim: parseClaim(doc['claim'] ?? null),
    receipt: RECEIPT.decode(base64urlAt(doc['receipt'], 'receipt-status.receipt', 8192)),
    height: height === null ? null : asInteger(height, 'receipt-status.height'),
    txHash: txHash === null ? null : asHex(txHash, 'receipt-status.txHash', 32),
    proof: bytes === null ? null : { value: decodeReceiptProof(bytes), bytes },
  };
}

function parseClaim(value: unknown): ClaimStatus | null {
  if (value === null) return null;
  const doc = asObject(value, 'claim');
  const number = (name: string): number | null =>
    (doc[name] ?? null) === null ? null : asInteger(doc[name], `claim.${name}`);
  const proofTxHash = doc['proofTxHash'] ?? null;
  return {
    claimId: asHex(doc['claimId'], 'claim.claimId', 32),
    firstSeq: asInteger(doc['firstSeq'], 'claim.firstSeq'),
    count: asInteger(doc['count'], 'claim.count'),
    endedAt: number('endedAt'),
    proveMs: number('proveMs'),
    proofTxHash: proofTxHash === null ? null : asHex(proofTxHash, 'claim.proofTxHash', 32),
  };
}

function base64urlAt(value: unknown, path: string, maxChars: number): Uint8Array {
  return fromBase64url(asText(value, path, 2 * maxChars));
}
