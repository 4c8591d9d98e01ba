/**
 * What each lane was charged, so that a voucher promises exactly that plus the reserve of one request. A lane whose state is
 * not known for certain is asked for at the node, and believed only as far as a voucher with the payer's own signature goes.
 */
import { bytesEqual, type CryptoProvider, toHex } from '@haca/primitives';
import { LANES_PER_CHANNEL_AND_KEY, VOUCHER } from '@haca/protocol';
import type { Channel } from '../chain/wallet.ts';
import { PaymentError } from '../errors.ts';
import type { LaneState, NodeApi } from '../node-api.ts';
import { sleep } from '../platform.ts';

export interface Lane {
  readonly index: number;
  /** Charged so far, base units of the fee asset. */
  readonly charged: bigint;
  /** The request is over and this is what the lane is charged now. */
  readonly settle: (charged: bigint) => void;
  /** The request is over; nothing was charged. The same request is not sent on this lane again. */
  readonly release: (requestHash: Uint8Array) => void;
  /** The outcome is not known: ask the node before the next use. */
  readonly distrust: () => void;
  /** The node takes no request on this lane: leave it alone in this process. */
  readonly retire: () => void;
}

export interface LaneLedger {
  readonly acquire: (
    api: NodeApi,
    channel: Channel,
    keyId: Uint8Array,
    requestHash: Uint8Array,
  ) => Promise<Lane>;
}

interface Slot {
  charged: bigint | null;
  busy: boolean;
  retired: boolean;
  refused: Uint8Array | null;
  /** Before that time it is not asked about again: the node is still at a request that was called off. */
  restsUntilMs: number;
}

const REST_MS = 2_000;

const WAIT_MS = 10;
const WAIT_MAX_MS = 60_000;

export function openLaneLedger(crypto: CryptoProvider): LaneLedger {
  const tables = new Map<string, Slot[]>();
  const slotsOf = (channel: Channel, keyId: Uint8Array): Slot[] => {
    const name = `${toHex(channel.channelId)}${toHex(keyId)}`;
    const known = tables.get(name);
    if (known !== undefined) return known;
    const slots = Array.from({ length: LANES_PER_CHANNEL_AND_KEY }, () => ({
      charged: null,
      busy: false,
      retired: false,
      refused: null,
      restsUntilMs: 0,
    }));
    tables.set(name, slots);
    return slots;
  };

  const take = async (
    api: NodeApi,
    channel: Channel,
    keyId: Uint8Array,
    requestHash: Uint8Array,
  ): Promise<Lane | 'all-busy' | 'none-left'> => {
    const slots = slotsOf(channel, keyId);
    const isTaken = ({ busy, restsUntilMs }: Slot): boolean => busy || restsUntilMs > Date.now();
    const usable = (slot: Slot): boolean =>
      !isTaken(slot) && !slot.retired && !(slot.refused !== null && bytesEqual(slot.refused, requestHash));
    for (;;) {
      // A lane in use before costs the node no further row.
      const slot = slots.find((each) => usable(each) && each.charged !== null) ?? slots.find(usable);
      if (slot === undefined) return slots.some(isTaken) ? 'all-busy' : 'none-left';
      slot.busy = true;
      const index = slots.indexOf(slot);
      if (slot.charged === null) {
        const state = await api.lane(channel.channelId, index, keyId).catch((error: unknown) => {
          slot.busy = false;
          throw error;
        });
        if (state.reserved > 0n) {
          slot.restsUntilMs = Date.now() + REST_MS;
          slot.busy = false;
          continue;
        }
        const charged = believableCharge(crypto, channel, keyId, index, state);
        if (charged === null) {
          slot.busy = false;
          slot.retired = true;
          continue;
        }
        slot.charged = charged;
      }
      return laneOf(slot, index, slot.charged);
    }
  };

  return {
    acquire: async (api, channel, keyId, requestHash) => {
      for (let waitedMs = 0; ; waitedMs += WAIT_MS) {
        const lane = await take(api, channel, keyId, requestHash);
        if (lane === 'none-left' || (lane === 'all-busy' && waitedMs >= WAIT_MAX_MS)) {
          throw new PaymentError('E_LANE_BUSY', 'no lane of the channel is free at this node');
        }
        if (lane !== 'all-busy') return lane;
        await sleep(WAIT_MS);
      }
    },
  };
}

function laneOf(slot: Slot, index: number, charged: bigint): Lane {
  return {
    index,
    charged,
    settle: (total) => {
      slot.charged = total;
      slot.refused = null;
      slot.busy = false;
    },
    release: (requestHash) => {
      slot.refused = requestHash;
      slot.busy = false;
    },
    distrust: () => {
      slot.charged = null;
      slot.busy = false;
    },
    retire: () => {
      slot.retired = true;
      slot.busy = false;
    },
  };
}

/** What the node says the lane was charged, as far as the payer's own signature backs it; null where the lane is not to be used. */
function believableCharge(
  crypto: CryptoProvider,
  channel: Channel,
  keyId: Uint8Array,
  index: number,
  { charged, voucher }: LaneState,
): bigint | null {
  if (voucher === null) return charged === 0n ? 0n : null;
  const { value } = voucher;
  const isOurs =
    VOUCHER.verify(crypto, voucher, channel.sessionPublicKey) &&
    bytesEqual(value.channelId, channel.channelId) &&
    bytesEqual(value.keyId, keyId) &&
    value.lane === index &&
    charged <= value.cumulative;
  return isOurs ? charged : null;
}
