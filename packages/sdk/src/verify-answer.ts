/**
 * Every check between a receipt and the belief that this model gave this answer to this request at this price. Pure: what
 * is expected comes in from what the caller sent and from proven chain records; the receipt only says what it says.
 */
import { bytesEqual, type CryptoProvider, toHex } from '@haca/primitives';
import {
  type Assurance,
  type AssuranceTier,
  type Check,
  chargeFor,
  check,
  keyIdOf,
  type NodeKeyRecord,
  type NodeRecord,
  notApplicable,
  OFFER,
  type Offer,
  RECEIPT,
  type Receipt,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  skipped,
  streamNext,
  streamStart,
  type Verdict,
  type Voucher,
  verdictOf,
} from '@haca/protocol';
import { type Policy, policyChecks } from './policy.ts';
import { outputLimitOf, reserveOf } from './request/body.ts';
import { splitSse } from './request/sse.ts';

/** The proven records an answer is held against. */
export interface AnswerRecords {
  readonly chainId: string;
  readonly nodeId: Uint8Array;
  readonly node: NodeRecord;
  readonly keyId: Uint8Array;
  readonly key: NodeKeyRecord;
  readonly modelId: Uint8Array;
  /** Block time up to which the key's evidence backs batches is compared with this: time of the newest verified header. */
  readonly nowMs: number;
}

export interface AnswerExpectations {
  readonly request: Uint8Array | null;
  /** Raw body, or for a stream all its bytes. */
  readonly response: Uint8Array | null;
  readonly form: Receipt['responseForm'] | null;
  readonly offer: SignedObject<Offer>;
  readonly voucher: Voucher | null;
  /** What the lane was charged before this request; null where it is not known. */
  readonly chargedBefore: bigint | null;
  /** Undefined: not known. */
  readonly idempotencyKey: Uint8Array | null | undefined;
  /** Verified header hash at the receipt's reference height; null where there is none. */
  readonly refBlockHash: Uint8Array | null;
  /** Lowest reference height that is fresh enough; null where it is not known when the request was sent. */
  readonly minRefHeight: number | null;
}

export function verifyAnswer(
  crypto: CryptoProvider,
  receipt: SignedObject<Receipt>,
  records: AnswerRecords,
  expected: AnswerExpectations,
): readonly Check[] {
  return [
    ...identityChecks(crypto, receipt, records),
    ...keyChecks(receipt.value, records),
    ...contentChecks(receipt.value, expected),
    ...priceChecks(crypto, receipt.value, records, expected),
    ...freshnessChecks(receipt.value, expected),
  ];
}

/** What a person may be told, from the method of the key, its evidence and what the engine says of itself. */
export function assuranceOf(receipt: Receipt, key: NodeKeyRecord, evidenceSimulated: boolean): Assurance {
  if (receipt.engine.proxied) return 'proxied';
  switch (key.method) {
    case 'tee':
      return evidenceSimulated ? 'tee-simulated' : 'tee';
    case 'zk':
      // Until a proof was verified, a zk answer is a signed one: see `verifyZkReceipt`.
      return 'signed';
    case 'signed':
      return 'signed';
  }
}

/** The checks of an answer with the policy's own, as one verdict. */
export function judge(
  checks: readonly Check[],
  assurance: Assurance,
  tier: AssuranceTier | null,
  policy: Policy,
): Verdict {
  return verdictOf([...checks, ...policyChecks(assurance, tier, policy)]);
}

function identityChecks(
  crypto: CryptoProvider,
  receipt: SignedObject<Receipt>,
  records: AnswerRecords,
): Check[] {
  const { value } = receipt;
  const { key, node } = records;
  const derived = keyIdOf(records.chainId, records.nodeId, key.keyEpoch, key.publicKey);
  return [
    check(
      'receipt.signature',
      'E_SIG',
      RECEIPT.verify(crypto, receipt, key.publicKey),
      `a signature by ${toHex(key.publicKey)}`,
      'see status',
    ),
    check('receipt.chain-id', 'E_CHAIN', value.chainId === records.chainId, records.chainId, value.chainId),
    equal('receipt.node', 'E_NODE', records.nodeId, value.nodeId),
    equal('receipt.key', 'E_KEY', records.keyId, value.keyId),
    equal('key.id', 'E_KEY', records.keyId, derived),
    equal('key.node', 'E_KEY', records.nodeId, key.nodeId),
    check(
      'node.lists-key',
      'E_KEY',
      node.keys.some((each) => bytesEqual(each, records.keyId)),
      toHex(records.keyId),
      `${node.keys.length} keys`,
    ),
    check(
      'receipt.key-epoch',
      'E_EPOCH',
      value.keyEpoch === key.keyEpoch,
      `${key.keyEpoch}`,
      `${value.keyEpoch}`,
    ),
    check('receipt.method', 'E_METHOD', value.method === key.method, key.method, value.method),
    equal('receipt.model', 'E_MODEL', records.modelId, value.modelId),
    check(
      'key.model',
      'E_MODEL',
      key.modelIds.some((each) => bytesEqual(each, records.modelId)) &&
        (key.modelId === null || bytesEqual(key.modelId, records.modelId)),
      toHex(records.modelId),
      `${key.modelIds.length} models`,
    ),
  ];
}

/** The key was good for new work at the block the receipt names. */
function keyChecks(receipt: Receipt, { key, node, nowMs }: AnswerRecords): Check[] {
  const closesAt = Math.min(key.closingAt ?? key.notAfter, key.notAfter);
  return [
    check('key.stop', 'E_KEY', key.stop === undefined, 'not stopped', key.stop ?? 'not stopped'),
    check(
      'key.live',
      'E_KEY',
      receipt.refHeight < closesAt && receipt.refHeight + 1 >= key.openedAt,
      `from ${key.openedAt} to before ${closesAt}`,
      `${receipt.refHeight}`,
    ),
    key.evidence === null
      ? notApplicable('key.evidence-end', 'no evidence')
      : check(
          'key.evidence-end',
          'E_EVIDENCE',
          receipt.completedAtMs < key.evidence.endMs && nowMs < key.evidence.endMs,
          `before ${key.evidence.endMs}`,
          `${Math.max(receipt.completedAtMs, nowMs)}`,
        ),
    check(
      'node.standing',
      'E_NODE',
      node.tombstoned !== true && (node.jailedUntil ?? 0) <= receipt.refHeight,
      'neither jailed nor tombstoned',
      node.tombstoned === true ? 'tombstoned' : `jailed until ${node.jailedUntil ?? 0}`,
    ),
  ];
}

function contentChecks(receipt: Receipt, expected: AnswerExpectations): Check[] {
  const { request, response, form } = expected;
  return [
    request === null
      ? skipped('receipt.request-hash', 'request.unavailable', 'the request was not given')
      : equal('receipt.request-hash', 'E_REQUEST_HASH', requestHashOf(request), receipt.requestHash),
    form === null
      ? notApplicable('receipt.response-form', 'the form is taken from the receipt')
      : check(
          'receipt.response-form',
          'response.form',
          form === receipt.responseForm,
          form,
          receipt.responseForm,
        ),
    response === null
      ? skipped('receipt.response-hash', 'response.unavailable', 'the response was not given')
      : responseCheck(receipt, response),
    check(
      'receipt.outcome',
      'response.outcome',
      receipt.outcome === 'completed',
      'completed',
      receipt.outcome,
    ),
    expected.idempotencyKey === undefined
      ? notApplicable('receipt.idempotency-key', 'the key of the request is not known here')
      : optionalEqual(
          'receipt.idempotency-key',
          'E_IDEMPOTENCY',
          expected.idempotencyKey,
          receipt.idempotencyKey,
        ),
  ];
}

function responseCheck(receipt: Receipt, response: Uint8Array): Check {
  const id = 'receipt.response-hash';
  if (receipt.responseForm === 'body')
    return equal(id, 'response.hash', receipt.responseHash, responseHashOf(response));
  return equal(id, 'response.chunk-chain', receipt.responseHash, streamHeadOf(receipt.requestHash, response));
}

const STREAM_BLOCK_MAX_BYTES = 4 * 1024 * 1024;

/** The chunk-chain head of a recorded stream; comment blocks are not part of it, unfinished bytes are. */
export function streamHeadOf(requestHash: Uint8Array, stream: Uint8Array): Uint8Array {
  const splitter = splitSse(Math.max(STREAM_BLOCK_MAX_BYTES, stream.length));
  let head = streamStart(requestHash);
  for (const block of splitter.push(stream)) if (!block.isComment) head = streamNext(head, block.bytes);
  const rest = splitter.rest();
  return rest.length === 0 ? head : streamNext(head, rest);
}

/** The price list is the operator's, for this node and model. */
export function offerChecks(
  crypto: CryptoProvider,
  offer: SignedObject<Offer>,
  node: NodeRecord,
  { nodeId, modelId, chainId }: Pick<AnswerRecords, 'nodeId' | 'modelId' | 'chainId'>,
): Check[] {
  const { value } = offer;
  return [
    check(
      'offer.signature',
      'E_SIG',
      OFFER.verify(crypto, offer, node.operatorKey.publicKey),
      `a signature by the operator ${toHex(node.operatorKey.publicKey)}`,
      'see status',
    ),
    check(
      'offer.subject',
      'offer.subject',
      bytesEqual(value.nodeId, nodeId) && bytesEqual(value.modelId, modelId) && value.chainId === chainId,
      `node ${toHex(nodeId)}, model ${toHex(modelId)}`,
      `node ${toHex(value.nodeId)}, model ${toHex(value.modelId)}`,
    ),
  ];
}

function priceChecks(
  crypto: CryptoProvider,
  receipt: Receipt,
  { node, nodeId, modelId, chainId }: AnswerRecords,
  { offer, voucher, chargedBefore, request }: AnswerExpectations,
): Check[] {
  const { value } = offer;
  const price = chargeFor(value, receipt.usage);
  const outputLimit = request === null || receipt.method === 'zk' ? null : outputLimitOf(request);
  const reserve = request === null ? null : reserveOf(value, receipt.method, request);
  return [
    ...offerChecks(crypto, offer, node, { nodeId, modelId, chainId }),
    check(
      'offer.valid',
      'offer.expired',
      value.validFrom <= receipt.refHeight && receipt.refHeight <= value.validUntil,
      `height ${value.validFrom} to ${value.validUntil}`,
      `${receipt.refHeight}`,
    ),
    equal('receipt.offer', 'offer.other', offer.hash, receipt.offerHash),
    check('receipt.asset', 'E_ASSET', receipt.asset === value.asset, `${value.asset}`, `${receipt.asset}`),
    check(
      'receipt.price',
      'price.amount',
      receipt.amount === price || (receipt.outcome === 'failed' && receipt.amount === 0n),
      `${price}`,
      `${receipt.amount}`,
    ),
    reserve === null
      ? notApplicable('receipt.reserve', 'needs the request')
      : check(
          'receipt.reserve',
          'price.reserve',
          receipt.amount <= reserve,
          `at most ${reserve}`,
          `${receipt.amount}`,
        ),
    check(
      'receipt.output-limit',
      'price.output',
      receipt.usage.outputTokens <= receipt.sampling.maxOutputTokens &&
        receipt.sampling.maxOutputTokens <= (outputLimit ?? Number.POSITIVE_INFINITY) &&
        receipt.usage.cachedInputTokens <= receipt.usage.inputTokens &&
        (receipt.method !== 'zk' || receipt.usage.inputTokens + receipt.sampling.maxOutputTokens === 0),
      `at most ${outputLimit ?? receipt.sampling.maxOutputTokens} output tokens, cached input within input`,
      `${receipt.usage.outputTokens} output, ${receipt.usage.cachedInputTokens} of ${receipt.usage.inputTokens} cached`,
    ),
    ...voucherChecks(receipt, voucher, chargedBefore),
  ];
}

function voucherChecks(receipt: Receipt, voucher: Voucher | null, chargedBefore: bigint | null): Check[] {
  if (voucher === null) {
    return [notApplicable('receipt.voucher', 'no voucher at hand'), cumulativeCheck(receipt, chargedBefore)];
  }
  const matches =
    bytesEqual(voucher.channelId, receipt.channelId) &&
    bytesEqual(voucher.keyId, receipt.keyId) &&
    voucher.lane === receipt.lane &&
    voucher.chainId === receipt.chainId &&
    bytesEqual(voucher.requestHash, receipt.requestHash);
  const show = (channelId: Uint8Array, lane: number): string => `channel ${toHex(channelId)} lane ${lane}`;
  return [
    check(
      'receipt.voucher',
      'E_VOUCHER',
      matches,
      show(voucher.channelId, voucher.lane),
      show(receipt.channelId, receipt.lane),
    ),
    check(
      'receipt.authorised',
      'E_VOUCHER',
      receipt.cumulative <= voucher.cumulative,
      `at most ${voucher.cumulative}`,
      `${receipt.cumulative}`,
    ),
    cumulativeCheck(receipt, chargedBefore),
  ];
}

function cumulativeCheck(receipt: Receipt, chargedBefore: bigint | null): Check {
  const id = 'receipt.cumulative';
  if (chargedBefore === null) return notApplicable(id, 'what the lane was charged before is not known here');
  const wanted = chargedBefore + receipt.amount;
  return check(id, 'price.cumulative', receipt.cumulative === wanted, `${wanted}`, `${receipt.cumulative}`);
}

function freshnessChecks(receipt: Receipt, { refBlockHash, minRefHeight }: AnswerExpectations): Check[] {
  const block =
    refBlockHash === null
      ? skipped('receipt.ref-block', 'chain.no-header', `no verified header of height ${receipt.refHeight}`)
      : equal('receipt.ref-block', 'E_FRESHNESS', refBlockHash, receipt.refBlockHash);
  return [
    block,
    minRefHeight === null
      ? notApplicable('receipt.fresh', 'when it was sent is not known here')
      : check(
          'receipt.fresh',
          'E_FRESHNESS',
          receipt.refHeight >= minRefHeight,
          `height ${minRefHeight} or above`,
          `${receipt.refHeight}`,
        ),
    check(
      'receipt.times',
      'receipt.times',
      receipt.completedAtMs >= receipt.receivedAtMs && receipt.seq >= 1,
      'completed after received, seq from 1',
      `${receipt.receivedAtMs} to ${receipt.completedAtMs}, seq ${receipt.seq}`,
    ),
  ];
}

function equal(id: string, code: string, expected: Uint8Array, got: Uint8Array): Check {
  return check(id, code, bytesEqual(expected, got), toHex(expected), toHex(got));
}

function optionalEqual(id: string, code: string, expected: Uint8Array | null, got: Uint8Array | null): Check {
  const show = (bytes: Uint8Array | null): string => (bytes === null ? 'none' : toHex(bytes));
  const same = expected === null || got === null ? expected === got : bytesEqual(expected, got);
  return check(id, code, same, show(expected), show(got));
}
