import { field, struct, type TypeOf, uint } from '@haca/primitives';
import { chainIdCodec, digest32, heightCodec, version } from './common.ts';
import { signedKind } from './signed-object.ts';
import { creditCodec } from './units.ts';

export const LANES_PER_CHANNEL_AND_KEY = 64;
export const SESSIONS_PER_CHANNEL = 16;

/**
 * A payer's promise to one node key on one lane: `cumulative` is what was charged on the lane so far plus the maximum of
 * this request. Naming the request makes each voucher an authorisation for exactly one request.
 */
export const voucherCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  channelId: field(2, digest32),
  keyId: field(3, digest32),
  lane: field(4, uint(LANES_PER_CHANNEL_AND_KEY - 1)),
  cumulative: field(5, creditCodec),
  requestHash: field(6, digest32),
  /** Last height at which it may be redeemed; at most the session's own expiry. */
  expiry: field(7, heightCodec),
  /** Slot of the session key that signs. */
  session: field(8, uint(SESSIONS_PER_CHANNEL - 1)),
});
export type Voucher = TypeOf<typeof voucherCodec>;

export const VOUCHER = signedKind('voucher', voucherCodec, 256);

/** Largest COSE form of a voucher in a transaction. */
export const VOUCHER_MAX_BYTES = 384;
