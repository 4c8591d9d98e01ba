/** Inference that is proved: tensors in, tensors out, one canonical encoding of both. */
import { parseVerifyingKey, publicTensorShapes, verifyingKeyHash } from '@haca/circuit';
import { bytesEqual, decode, toHex } from '@haca/primitives';
import {
  decodeZkRequest,
  encodeZkRequest,
  type ModelManifest,
  recordKey,
  verifyingKeyRecordCodec,
} from '@haca/protocol';
import { NodeError, PaymentError } from './errors.ts';
import { nodeErrorOf } from './node-api.ts';
import type { InferOptions, InferResult } from './options.ts';
import { randomBytes } from './platform.ts';
import { ZK_PATH } from './request/body.ts';
import { sendRequest } from './request/send.ts';
import type { Session } from './request/session.ts';
import type { ProvenVerifyingKey } from './zk/proof.ts';
import { decodeOutputs, encodeInputs } from './zk/tensors.ts';

const SALT_BYTES = 32;
const KEYS_REMEMBERED = 64;

export async function inferTensors(session: Session, options: InferOptions): Promise<InferResult> {
  const { modelId, manifest } = await session.directory.resolveModel(options.model);
  const verifyingKey = await proveVerifyingKey(session, manifest);
  const shapes = publicTensorShapes(parseVerifyingKey(verifyingKey.record.verifyingKey));
  const tensors = encodeInputs(shapes.inputs, options.tensors);
  const body =
    openRequest(session, modelId, tensors) ??
    encodeZkRequest({ modelId, salt: randomBytes(SALT_BYTES), tensors });
  const headers = new Headers({ 'content-type': 'application/cbor', accept: 'application/cbor' });
  const signal = options.signal ?? new AbortController().signal;
  const { response, pending } = await sendRequest(session, ZK_PATH, body, headers, signal, {
    verifyingKey,
    shapes,
  });
  if (pending === null) {
    const error = nodeErrorOf(response.status, await response.json().catch(() => null), 'infer');
    throw response.status === 402 ? new PaymentError(error.code, error.message) : error;
  }
  const answer = await pending.answer.completed;
  return { outputs: decodeOutputs(shapes.outputs, answer.response), shapes, answer };
}

/** The same question asked before, where nobody knows yet what became of it: with its salt it is the same request. */
function openRequest(
  { unresolved, sending }: Session,
  modelId: Uint8Array,
  tensors: readonly Uint8Array[],
): Uint8Array | null {
  for (const { attempt } of unresolved.values()) {
    if (attempt.path !== ZK_PATH || sending.has(attempt)) continue;
    const asked = decodeZkRequest(attempt.body);
    const isSame =
      bytesEqual(asked.modelId, modelId) &&
      asked.tensors.length === tensors.length &&
      asked.tensors.every((row, i) => bytesEqual(row, tensors[i] as Uint8Array));
    if (isSame) return attempt.body;
  }
  return null;
}

/** The key that the manifest names, with the chain's proof that it was registered. */
async function proveVerifyingKey(
  { chain, verifyingKeys }: Session,
  { name, methods, weights }: ModelManifest,
): Promise<ProvenVerifyingKey> {
  if (!methods.includes('zk')) throw new NodeError('E_METHOD', `${name} is not a model that is proved`);
  const known = verifyingKeys.get(toHex(weights.digest));
  if (known !== undefined) return known;
  const proof = await chain.record(recordKey.verifyingKey(weights.digest));
  const record = proof.value === null ? null : decode(verifyingKeyRecordCodec, proof.value, 'verifying-key');
  if (record === null || !bytesEqual(verifyingKeyHash(record.verifyingKey), weights.digest)) {
    throw new NodeError('E_VERIFYING_KEY', `the chain has no verifying key of ${name}`);
  }
  const proven = { hash: weights.digest, record, proof };
  if (verifyingKeys.size >= KEYS_REMEMBERED) verifyingKeys.clear();
  verifyingKeys.set(toHex(weights.digest), proven);
  return proven;
}
