/** What the API shows of keys, models, receipts and lanes, as JSON values. */
import { base64url } from '@haca/platform';
import { encode, fromHex, toHex } from '@haca/primitives';
import {
  type Assurance,
  modelManifestCodec,
  type NodeKeyRecord,
  registrationBindingCodec,
} from '@haca/protocol';
import { ApiError } from './api-error.ts';
import type { NodeChainView } from './chain-view.ts';
import type { PricedModel } from './inference.ts';
import type { KeyRing, LiveKey } from './key-ring.ts';
import type { ReceiptView } from './key-stream.ts';
import type { PaymentBook } from './payment-book.ts';

type Json = Readonly<Record<string, unknown>>;

export function modelJson({ name, manifest }: PricedModel): Json {
  return { id: name, object: 'model', created: 0, owned_by: 'haca', license: manifest.license };
}

export function nodeJson(
  chain: NodeChainView,
  nodeId: Uint8Array,
  operatorId: Uint8Array,
  rings: readonly KeyRing[],
): Json {
  const active = rings.map((ring) => ring.active()).filter((key) => key !== undefined);
  return {
    chainId: chain.chainId,
    nodeId: toHex(nodeId),
    operator: toHex(operatorId),
    keys: rings.flatMap((ring) =>
      ring
        .all()
        .filter((key) => ring.refusal(key) === undefined)
        .map(keyJson),
    ),
    models: active.flatMap((key) =>
      [...key.models.values()].map((model) => ({
        name: model.name,
        modelId: toHex(model.modelId),
        manifest: base64url(encode(modelManifestCodec, model.manifest)),
        offer: base64url(model.offer.bytes),
        keyId: toHex(key.stream.identity.keyId),
      })),
    ),
    height: chain.head().height,
  };
}

function keyJson({ stream, record, method }: LiveKey): Json {
  const { keyId, keyEpoch, signer, evidence } = stream.identity;
  return {
    keyId: toHex(keyId),
    keyEpoch,
    publicKey: toHex(signer.publicKey),
    method,
    assurance: record === null ? 'signed' : assuranceOf(record),
    evidenceKind: evidence?.kind ?? null,
  };
}

function assuranceOf({ method, evidence }: Pick<NodeKeyRecord, 'method' | 'evidence'>): Assurance {
  return method === 'tee' ? (evidence?.simulated === false ? 'tee' : 'tee-simulated') : method;
}

export async function receiptJson(
  keys: readonly LiveKey[],
  chain: Pick<NodeChainView, 'finalHeight'>,
  id: string,
): Promise<Json> {
  for (const key of keys) {
    const { stream } = key;
    const view = await stream.find(id);
    if (view === undefined) continue;
    const proof = await stream.proof(view.receipt.value.seq);
    return {
      id: view.id,
      receipt: base64url(view.receipt.bytes),
      hash: toHex(view.receipt.hash),
      state: stateOf(view, key, chain.finalHeight()),
      height: view.batch?.height ?? null,
      txHash: view.batch === null ? null : toHex(view.batch.txHash),
      proof: proof === null ? null : base64url(proof),
      ...claimJson(view, key),
    };
  }
  throw new ApiError('E_RECEIPT_UNKNOWN', '');
}

type ShownState = 'executed' | 'settled' | 'proving' | 'verified' | 'final' | 'unpaid';

/** For `tee` and `signed` the block that settles also verifies; the next header makes it final. */
function stateOf({ batch }: ReceiptView, { zk }: LiveKey, finalHeight: number): ShownState {
  if (batch === null) return 'executed';
  if (zk === null) return finalHeight >= batch.height ? 'final' : 'verified';
  if (batch.ending === null) return zk.proving.current()?.firstSeq === batch.firstSeq ? 'proving' : 'settled';
  if (batch.ending.state === 'unpaid') return 'unpaid';
  return finalHeight >= batch.ending.height ? 'final' : 'verified';
}

/** What a receipt of a `zk` key shows beside the rest: its claim, how far the proof is, and what proved it. */
function claimJson({ batch }: ReceiptView, { zk }: LiveKey): Json {
  if (zk === null) return {};
  if (batch === null) return { claim: null };
  const { firstSeq, count, ending } = batch;
  const current = zk.proving.current();
  return {
    claim: {
      claimId: toHex(zk.proving.claimIdOf(batch)),
      firstSeq,
      count,
      progress: current?.firstSeq === firstSeq ? current.progress : null,
      endedAt: ending?.height ?? null,
      proveMs: ending?.proveMs ?? null,
      proofTxHash: ending === null || ending.txHash === null ? null : toHex(ending.txHash),
    },
  };
}

/** The bytes of the transaction that proved a receipt: salts, tensors, receipts and proof of its whole claim. */
export async function proofTransactionOf(keys: readonly LiveKey[], id: string): Promise<Uint8Array> {
  for (const { stream } of keys) {
    const view = await stream.find(id);
    if (view === undefined) continue;
    const bytes = view.batch === null ? null : await stream.proofTransaction(view.batch);
    if (bytes === null) throw new ApiError('E_RECEIPT_UNKNOWN', 'This receipt is not proved.');
    return bytes;
  }
  throw new ApiError('E_RECEIPT_UNKNOWN', '');
}

export function attestationJson(keys: readonly LiveKey[], keyId: string): Json {
  const key = keys.find(({ stream }) => toHex(stream.identity.keyId) === keyId);
  const evidence = key?.stream.identity.evidence ?? null;
  if (key === undefined || evidence === null) {
    throw new ApiError('E_KEY', 'No evidence for this key is kept here.');
  }
  return {
    keyId,
    kind: evidence.kind,
    document: base64url(evidence.document),
    binding: base64url(encode(registrationBindingCodec, key.stream.identity.binding)),
    gpuEvidence: key.stream.identity.gpuEvidence.map(base64url),
  };
}

const ID = /^[0-9a-f]{64}$/;
const LANE = /^([0-9]|[1-5][0-9]|6[0-3])$/;

export async function laneJson(
  rings: readonly Pick<KeyRing, 'find'>[],
  book: PaymentBook,
  channelId: string,
  lane: string,
  keyId: string,
): Promise<Json> {
  if (!ID.test(channelId) || !ID.test(keyId) || !LANE.test(lane)) {
    const expected = '/v1/lanes/CHANNEL/LANE?key=KEY with 32-byte ids in hex and a lane of 0 to 63';
    throw new ApiError('E_REQUEST', `Expected ${expected}.`);
  }
  if (rings.every((ring) => ring.find(fromHex(keyId)) === undefined))
    throw new ApiError('E_KEY', 'The node has no such key.');
  const state = await book.laneState(fromHex(channelId), fromHex(keyId), Number(lane));
  return {
    charged: `${state.charged}`,
    reserved: `${state.reserved}`,
    voucher: state.voucher === null ? null : base64url(state.voucher.bytes),
  };
}
