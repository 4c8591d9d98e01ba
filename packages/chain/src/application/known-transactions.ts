/**
 * Transactions that were decoded before, by content. A node meets the same bytes again and again: when they arrive, at each
 * recheck, in a proposal. What they decode to is the same every time, so the memo changes no result; it only saves time.
 */
import { sha256, toHex } from '@haca/primitives';
import { type DecodedTransaction, decodeForAdmission, type Refusal } from '../state-machine/index.ts';

export interface KnownTransaction {
  /** SHA-256 of the bytes, hex. */
  readonly hash: string;
  /** Or why they are no transaction. */
  readonly decoded: DecodedTransaction | Refusal;
}

export interface KnownTransactions {
  readonly lookUp: (tx: Uint8Array) => KnownTransaction;
}

/** Each half of the memo is full with either; the older half is then dropped at once. */
export interface KnownLimits {
  readonly transactions: number;
  readonly bytes: number;
}

/** Twice this is a mempool of settlements, and the largest block. */
export const KNOWN_LIMITS: KnownLimits = { transactions: 2_500, bytes: 1_000_000 };

export function createKnownTransactions(limits: KnownLimits = KNOWN_LIMITS): KnownTransactions {
  let recent = new Map<string, KnownTransaction>();
  let recentBytes = 0;
  let older = new Map<string, KnownTransaction>();

  const remember = (known: KnownTransaction, sizeBytes: number): void => {
    if (recent.size >= limits.transactions || recentBytes + sizeBytes > limits.bytes) {
      older = recent;
      recent = new Map();
      recentBytes = 0;
    }
    recent.set(known.hash, known);
    recentBytes += sizeBytes;
  };

  return {
    lookUp: (tx) => {
      const hash = toHex(sha256(tx));
      const known = recent.get(hash);
      if (known !== undefined) return known;
      const old = older.get(hash);
      if (old !== undefined) {
        remember(old, tx.length);
        return old;
      }
      // A copy: what is remembered must not hold on to everything that arrived with it.
      const entry = { hash, decoded: decodeForAdmission(tx.slice()) };
      // What is no transaction is refused for free, so it must not be able to push out what is.
      if (!('code' in entry.decoded) && tx.length <= limits.bytes) remember(entry, tx.length);
      return entry;
    },
  };
}
