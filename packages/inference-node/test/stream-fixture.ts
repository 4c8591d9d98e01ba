/** Keys, receipts and vouchers made from nothing, for tests below the HTTP API. */
import { ed25519SignerFromSeed } from '@haca/platform';
import { domainHash, sha256, utf8Encode } from '@haca/primitives';
import {
  credit,
  keyIdOf,
  nodeIdOf,
  type RegistrationBinding,
  type SignedObject,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import type { KeyIdentity, ReceiptContent } from '../src/key-stream.ts';

export const CHAIN_ID = 'haca-unit-1';
export const digest = (label: string): Uint8Array => domainHash('haca/test/1', utf8Encode(label));
export const NODE_ID = nodeIdOf(CHAIN_ID, digest('operator'), 0);
export const sessionSigner = ed25519SignerFromSeed(sha256(utf8Encode('session')));

export function identityOf(keyEpoch = 1): KeyIdentity {
  const signer = ed25519SignerFromSeed(sha256(utf8Encode(`node key ${keyEpoch}`)));
  const keyId = keyIdOf(CHAIN_ID, NODE_ID, keyEpoch, signer.publicKey);
  const binding: RegistrationBinding = {
    chainId: CHAIN_ID,
    operator: digest('operator'),
    nodeId: NODE_ID,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: digest('models'),
    configHash: digest('config'),
    gpuEvidenceRoot: null,
    refHeight: 1,
    refBlockHash: digest('block'),
  };
  const modelIds = [digest('model')];
  const zkModelId = null;
  return {
    chainId: CHAIN_ID,
    nodeId: NODE_ID,
    keyId,
    keyEpoch,
    signer,
    evidence: null,
    binding,
    sealing: null,
    modelIds,
    gpuEvidence: [],
    zkModelId,
  };
}

export function voucherOf(change: Partial<Voucher> = {}): SignedObject<Voucher> {
  const value: Voucher = {
    version: 1,
    chainId: CHAIN_ID,
    channelId: digest('channel'),
    keyId: identityOf().keyId,
    lane: 0,
    cumulative: credit(100n),
    requestHash: digest('request'),
    expiry: 500_000,
    session: 0,
    ...change,
  };
  return VOUCHER.sign(value, sessionSigner.sign);
}

/** A completed answer that cost `amount` on the lane of the voucher. */
export function contentOf(
  voucher: SignedObject<Voucher>,
  amount: bigint,
  cumulative: bigint,
  change: Partial<ReceiptContent> = {},
): ReceiptContent {
  const { channelId, lane, requestHash } = voucher.value;
  return {
    refHeight: 10,
    refBlockHash: digest('block 10'),
    modelId: digest('model'),
    engine: { name: 'unit', version: '1', proxied: false },
    sampling: { maxOutputTokens: 16 },
    method: 'signed',
    requestHash,
    responseHash: digest('response'),
    responseForm: 'body',
    outcome: 'completed',
    usage: { inputTokens: 3, cachedInputTokens: 0, outputTokens: 4 },
    offerHash: digest('offer'),
    asset: 1,
    amount: credit(amount),
    channelId,
    lane,
    cumulative: credit(cumulative),
    idempotencyKey: null,
    receivedAtMs: 1_000,
    completedAtMs: 1_001,
    ...change,
  };
}
