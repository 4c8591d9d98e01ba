/**
 * What method `zk` exchanges: the one encoding of a request and of a response, the name of a claim, and the statement that a
 * proof is about. Node, chain and client build all three from the same functions, so that a receipt's two hashes and the
 * proof's public tensors are the same bytes (spec/zk-chain.md).
 *
 * A row is what one inference has of a public tensor: row-major, unpadded, without the batch axis.
 */
import {
  arrayOf,
  bytesEqual,
  bytesOf,
  type Codec,
  concatBytes,
  decode,
  encode,
  MalformedError,
  merkleRoot,
  uint,
  utf8Encode,
} from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import { digest32 } from './common.ts';
import { RECEIPT, type Receipt, receiptCodec, requestHashOf, responseHashOf } from './receipt.ts';
import type { ClaimRecord, VerifyingKeyRecord } from './records.ts';
import { receiptLeafHash } from './statement.ts';
import type { OpOf } from './transaction.ts';
import { ZK_BATCH_MAX, ZK_SALT_BYTES, ZK_TENSORS_MAX, zkBatchIndex } from './zk-limits.ts';

/** Largest row of a tensor in a request or response. */
export const ZK_ROW_MAX_BYTES = 1_000_000;

const rows = arrayOf(bytesOf(1, ZK_ROW_MAX_BYTES), ZK_TENSORS_MAX, 1);
const one: Codec<1> = {
  cddl: '1',
  write: (writer) => writer.uint(1),
  read: (reader) => {
    const got = reader.uint();
    return got === 1 ? 1 : reader.fail('version.unknown', 'version 1', `${got}`);
  },
};
const salt32 = bytesOf(ZK_SALT_BYTES);

export interface ZkRequest {
  readonly modelId: Uint8Array;
  /** 32 random bytes of the client: they hide an input that could be guessed until it is proved. */
  readonly salt: Uint8Array;
  /** A row of each input tensor, in the key's order. */
  readonly tensors: readonly Uint8Array[];
}

/** `[1, modelId, salt, [row…]]` */
export const zkRequestCodec: Codec<ZkRequest> = {
  cddl: `[1, ${digest32.cddl}, ${salt32.cddl}, ${rows.cddl}]`,
  write: (writer, { modelId, salt, tensors }) => {
    writer.arrayHead(4);
    writer.uint(1);
    digest32.write(writer, modelId);
    salt32.write(writer, salt);
    rows.write(writer, tensors);
  },
  read: (reader) => {
    reader.openArray(4, 4);
    one.read(reader);
    const request = { modelId: digest32.read(reader), salt: salt32.read(reader), tensors: rows.read(reader) };
    reader.close();
    return request;
  },
};

export interface ZkResponse {
  /** A row of each output tensor, in the key's order. */
  readonly tensors: readonly Uint8Array[];
}

/** `[1, [row…]]` */
export const zkResponseCodec: Codec<ZkResponse> = {
  cddl: `[1, ${rows.cddl}]`,
  write: (writer, { tensors }) => {
    writer.arrayHead(2);
    writer.uint(1);
    rows.write(writer, tensors);
  },
  read: (reader) => {
    reader.openArray(2, 2);
    one.read(reader);
    const response = { tensors: rows.read(reader) };
    reader.close();
    return response;
  },
};

/** The bytes a client posts, and `requestHash` is over. */
export function encodeZkRequest(request: ZkRequest): Uint8Array {
  return encode(zkRequestCodec, request);
}

/** Throws `MalformedError` on anything but the one canonical form. Lengths and values of rows are the model's matter. */
export function decodeZkRequest(bytes: Uint8Array): ZkRequest {
  return decode(zkRequestCodec, bytes, 'zk-request');
}

export function encodeZkResponse(response: ZkResponse): Uint8Array {
  return encode(zkResponseCodec, response);
}

/** Throws `MalformedError` on anything but the one canonical form. */
export function decodeZkResponse(bytes: Uint8Array): ZkResponse {
  return decode(zkResponseCodec, bytes, 'zk-response');
}

/** The chain's name inside proofs: 32 bytes whatever the length of its id. */
export function zkChainDigest(chainId: string): Uint8Array {
  return deriveKey('haca zkml v1 chain', utf8Encode(chainId));
}

/** The claim that settling this batch opens. */
export function zkClaimIdOf(claim: {
  readonly chainId: string;
  readonly keyId: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  readonly receiptsRoot: Uint8Array;
}): Uint8Array {
  const numbers = new DataView(new ArrayBuffer(12));
  numbers.setBigUint64(0, BigInt(claim.firstSeq), true);
  numbers.setUint32(8, claim.count, true);
  return deriveKey(
    'haca zkml v1 claim',
    concatBytes(
      zkChainDigest(claim.chainId),
      claim.keyId,
      new Uint8Array(numbers.buffer),
      claim.receiptsRoot,
    ),
  );
}

/** What a proof is about. Every member comes from chain state or was checked against it; none from the proof. */
export interface ZkStatement {
  /** `zkChainDigest` */
  readonly chainId: Uint8Array;
  readonly claimId: Uint8Array;
  /** Hash of the block that settled the batch: inputs and outputs were fixed before it. */
  readonly nonce: Uint8Array;
  readonly verifyingKeyHash: Uint8Array;
  readonly batchSize: number;
  /** Per public tensor in the key's order `batchSize` rows, one after the other. */
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
}

const batchSize = uint(ZK_BATCH_MAX);
const tensors = arrayOf(bytesOf(1, 1 << 24), ZK_TENSORS_MAX, 1);

const statementCodec: Codec<ZkStatement> = {
  cddl: `[${[digest32, digest32, digest32, digest32, batchSize, tensors, tensors].map(({ cddl }) => cddl).join(', ')}]`,
  write: (writer, statement) => {
    writer.arrayHead(7);
    digest32.write(writer, statement.chainId);
    digest32.write(writer, statement.claimId);
    digest32.write(writer, statement.nonce);
    digest32.write(writer, statement.verifyingKeyHash);
    batchSize.write(writer, statement.batchSize);
    tensors.write(writer, statement.inputs);
    tensors.write(writer, statement.outputs);
  },
  read: (reader) => {
    reader.openArray(7, 7);
    const statement = {
      chainId: digest32.read(reader),
      claimId: digest32.read(reader),
      nonce: digest32.read(reader),
      verifyingKeyHash: digest32.read(reader),
      batchSize: batchSize.read(reader),
      inputs: tensors.read(reader),
      outputs: tensors.read(reader),
    };
    reader.close();
    return statement;
  },
};

/** One encoding of a statement: what verdicts are kept by, and what goes to another thread. Nothing signs it. */
export function encodeZkStatement(statement: ZkStatement): Uint8Array {
  return encode(statementCodec, statement);
}

export function decodeZkStatement(bytes: Uint8Array): ZkStatement {
  return decode(statementCodec, bytes, 'zk-statement');
}

/** Row `index` of a tensor of equal rows. */
export function zkRow(tensor: Uint8Array, rowBytes: number, index: number): Uint8Array {
  return tensor.subarray(index * rowBytes, (index + 1) * rowBytes);
}

export interface BoundReceipt {
  readonly value: Receipt;
  readonly hash: Uint8Array;
}

export type ZkBinding =
  | { readonly ok: true; readonly statement: ZkStatement; readonly receipts: readonly BoundReceipt[] }
  | { readonly ok: false; readonly at: string; readonly expected: string; readonly got: string };

export interface ZkBindingContext {
  readonly chainId: string;
  readonly claimId: Uint8Array;
  readonly claim: Pick<ClaimRecord, 'keyId' | 'firstSeq' | 'count' | 'receiptsRoot' | 'nonce'>;
  readonly modelId: Uint8Array;
  readonly verifyingKeyHash: Uint8Array;
  readonly shapes: Pick<VerifyingKeyRecord, 'inputRowBytes' | 'outputRowBytes'>;
}

export type ZkExchangeRows = Pick<OpOf<'prove'>, 'salts' | 'inputs' | 'outputs' | 'receipts'>;

/**
 * Whether salts, tensors and receipts are exactly those of the claim, and the statement that its proof must be about: all
 * receipts of the batch, each in its place, each over the request and response rebuilt from its row. Nothing here verifies
 * a proof or the values of tensors.
 */
export function bindZkClaim(context: ZkBindingContext, given: ZkExchangeRows): ZkBinding {
  const { claim, shapes } = context;
  const misfit =
    countMisfit('salts', given.salts, claim.count) ??
    countMisfit('receipts', given.receipts, claim.count) ??
    shapeMisfit('inputs', given.inputs, shapes.inputRowBytes, claim.count) ??
    shapeMisfit('outputs', given.outputs, shapes.outputRowBytes, claim.count);
  if (misfit !== undefined) return misfit;

  const receipts: BoundReceipt[] = [];
  for (let b = 0; b < claim.count; b++) {
    const bound = bindReceipt(context, given, b);
    if ('ok' in bound) return bound;
    receipts.push(bound);
  }
  const root = merkleRoot(receipts.map(({ hash }) => receiptLeafHash(hash)));
  if (!bytesEqual(root, claim.receiptsRoot)) {
    return unbound('receipts', 'the receipts of the settled batch', 'another root');
  }
  const statement: ZkStatement = {
    chainId: zkChainDigest(context.chainId),
    claimId: context.claimId,
    nonce: claim.nonce,
    verifyingKeyHash: context.verifyingKeyHash,
    batchSize: claim.count,
    inputs: given.inputs,
    outputs: given.outputs,
  };
  return { ok: true, statement, receipts };
}

type Unbound = Extract<ZkBinding, { readonly ok: false }>;

function unbound(at: string, expected: string | number, got: string | number): Unbound {
  return { ok: false, at, expected: `${expected}`, got: `${got}` };
}

function countMisfit(at: string, list: readonly unknown[], count: number): Unbound | undefined {
  return list.length === count ? undefined : unbound(at, count, list.length);
}

function shapeMisfit(
  at: string,
  given: readonly Uint8Array[],
  rowBytes: readonly number[],
  count: number,
): Unbound | undefined {
  if (given.length !== rowBytes.length) return unbound(at, `${rowBytes.length} tensors`, given.length);
  for (const [i, tensor] of given.entries()) {
    const size = (rowBytes[i] as number) * count;
    if (tensor.length !== size) return unbound(`${at}.${i}`, `${size} bytes`, tensor.length);
  }
  return undefined;
}

function bindReceipt(context: ZkBindingContext, given: ZkExchangeRows, b: number): BoundReceipt | Unbound {
  const { claim, modelId, chainId, shapes } = context;
  const payload = given.receipts[b] as Uint8Array;
  const at = `receipts.${b}`;
  let value: Receipt;
  try {
    value = decode(receiptCodec, payload, 'receipt');
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return unbound(at, 'a receipt', error.message);
  }
  if (value.chainId !== chainId) return unbound(at, chainId, value.chainId);
  if (!bytesEqual(value.keyId, claim.keyId)) return unbound(at, 'a receipt of the key', 'of another');
  if (value.seq !== claim.firstSeq + b) return unbound(at, `seq ${claim.firstSeq + b}`, value.seq);
  if (value.method !== 'zk') return unbound(at, 'method zk', value.method);
  if (value.responseForm !== 'body') return unbound(at, 'a response body', value.responseForm);
  if (!bytesEqual(value.modelId, modelId)) return unbound(at, 'the model of the key', 'another');

  const row = (list: readonly Uint8Array[], sizes: readonly number[]): readonly Uint8Array[] =>
    list.map((tensor, i) => zkRow(tensor, sizes[i] as number, b));
  const request = encodeZkRequest({
    modelId,
    salt: given.salts[b] as Uint8Array,
    tensors: row(given.inputs, shapes.inputRowBytes),
  });
  if (!bytesEqual(value.requestHash, requestHashOf(request))) {
    return unbound(at, 'the hash of the request rebuilt from salt and row', 'another request hash');
  }
  const response = encodeZkResponse({ tensors: row(given.outputs, shapes.outputRowBytes) });
  if (!bytesEqual(value.responseHash, responseHashOf(response))) {
    return unbound(at, 'the hash of the response rebuilt from the row', 'another response hash');
  }
  return { value, hash: RECEIPT.hashOfPayload(payload) };
}

/**
 * Bytes that a Prove transaction of `count` receipts has at least, without lines: its proof, its tensors, its salts and receipts of
 * the least size. A node reckons with what its own receipts have.
 */
export function zkProveBytesLeast(key: VerifyingKeyRecord, count: number): number {
  const rowBytes = [...key.inputRowBytes, ...key.outputRowBytes].reduce((sum, size) => sum + size, 0);
  const proofBytes = key.proofBytes[zkBatchIndex(count)] ?? Number.MAX_SAFE_INTEGER;
  return proofBytes + count * (rowBytes + ZK_SALT_BYTES + RECEIPT_LEAST_BYTES);
}

/** Ten digests and hashes, the shortest names and numbers. */
const RECEIPT_LEAST_BYTES = 400;
