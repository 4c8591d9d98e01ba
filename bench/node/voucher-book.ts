/** Vouchers signed before they are needed, so that a client's own work is not in the node's figures. */
import { base64url, ed25519SignerFromSeed, fromBase64url, nodeCrypto } from '@haca/platform';
import {
  type Credit,
  chargeFor,
  credit,
  inputTokensBound,
  type Offer,
  RECEIPT,
  requestHashOf,
  reserveFor,
  VOUCHER,
} from '@haca/protocol';
import { INPUT_TOKENS, OUTPUT_TOKENS } from './workload.ts';

/** What the payer must know to pay; travels between processes as it is. */
export interface PaymentSetup {
  readonly chainId: string;
  readonly keyId: Uint8Array;
  /** Of the node key, to check receipts. */
  readonly publicKey: Uint8Array;
  readonly offer: Offer;
  readonly channels: readonly { readonly channelId: Uint8Array; readonly sessionSeed: Uint8Array }[];
  readonly expiry: number;
}

/** One lane: requests on it run one after another, each with the next voucher. */
export interface Lane {
  readonly channel: number;
  readonly index: number;
  charged: bigint;
  vouchers: string[];
  lastReceipt: string | undefined;
}

export interface VoucherBook {
  readonly lanes: readonly Lane[];
  /** Signs `count` vouchers for this body, spread over the lanes; forgets those of an earlier body. */
  readonly prepare: (body: Uint8Array, count: number) => void;
  /** The header for the next request on the lane. What it will be charged is known, so the next one is signed already. */
  readonly take: (lane: Lane) => string;
  /** Throws unless the last receipt of every used lane is signed by the node's key and says what this side expects. */
  readonly checkReceipts: () => number;
}

const LANES_PER_CHANNEL = 16;
/** Lanes are taken as they become free, some more often than others. */
const SPARE_VOUCHERS = 4;

export function openVoucherBook(setup: PaymentSetup): VoucherBook {
  const signers = setup.channels.map(({ sessionSeed }) => ed25519SignerFromSeed(sessionSeed));
  const usage = { inputTokens: INPUT_TOKENS, cachedInputTokens: 0, outputTokens: OUTPUT_TOKENS };
  const charge: Credit = chargeFor(setup.offer, usage);
  const lanes: Lane[] = setup.channels.flatMap((_, channel) =>
    Array.from({ length: LANES_PER_CHANNEL }, (_, index) => ({
      channel,
      index,
      charged: 0n,
      vouchers: [],
      lastReceipt: undefined,
    })),
  );
  const sign = (lane: Lane, cumulative: bigint, requestHash: Uint8Array): string => {
    const { channelId } = setup.channels[lane.channel] as PaymentSetup['channels'][number];
    const { chainId, keyId, expiry } = setup;
    const voucher = {
      version: 1,
      chainId,
      channelId,
      keyId,
      lane: lane.index,
      cumulative: credit(cumulative),
      requestHash,
      expiry,
      session: 0,
    } as const;
    const signer = signers[lane.channel] as (typeof signers)[number];
    return base64url(VOUCHER.sign(voucher, signer.sign).bytes);
  };
  return {
    lanes,
    prepare: (body, count) => {
      const requestHash = requestHashOf(body);
      const reserve = reserveFor(setup.offer, inputTokensBound(body), OUTPUT_TOKENS);
      const each = Math.ceil(count / lanes.length) + SPARE_VOUCHERS;
      for (const lane of lanes) {
        lane.vouchers = Array.from({ length: each }, (_, i) =>
          sign(lane, lane.charged + charge * BigInt(i) + reserve, requestHash),
        ).reverse();
      }
    },
    take: (lane) => {
      const voucher = lane.vouchers.pop();
      if (voucher === undefined) throw new Error('more requests than vouchers were prepared for');
      lane.charged += charge;
      return voucher;
    },
    checkReceipts: () => {
      const used = lanes.filter(({ charged }) => charged > 0n);
      for (const { lastReceipt, charged, index } of used) {
        const receipt = RECEIPT.decode(fromBase64url(lastReceipt ?? ''));
        if (!RECEIPT.verify(nodeCrypto, receipt, setup.publicKey))
          throw new Error('a receipt has a bad signature');
        if (receipt.value.cumulative !== charged || receipt.value.lane !== index) {
          throw new Error(`a receipt says ${receipt.value.cumulative} where ${charged} was charged`);
        }
      }
      return used.length;
    },
  };
}
