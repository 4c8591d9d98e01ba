/** Which waiting transactions go into a block, and in which order. */
import { toHex } from '@haca/primitives';
import type { TransactionClass } from '@haca/protocol';
import type { AdmissionWindow, AdmittedTransaction } from '../state-machine/index.ts';

export interface ProposableTransaction {
  readonly tx: Uint8Array;
  readonly admitted: AdmittedTransaction;
  readonly arrival: number;
  /** Its evidence, if it carries any, has its verdicts: including it makes nobody wait. */
  readonly isReady: boolean;
}

const CLASS_RANK: Readonly<Record<TransactionClass, number>> = { E: 0, S: 1, G: 2 };

/**
 * Classes E, S, G: what a class has to itself is worth nothing if what comes before it may fill the block. In a class by tip, then
 * arrival; of one sender by nonce whatever the class, but for decrees, which count on nothing that their sender did, so that
 * nobody who brings one can make it wait. `window` is phase 1 of the block, the function that every validator checks the
 * proposal with: it holds the budgets of classes, gas, rows and bytes.
 */
export function selectTransactions(
  proposable: readonly ProposableTransaction[],
  window: AdmissionWindow,
  maxTxBytes: number,
): readonly Uint8Array[] {
  const chosen: Uint8Array[] = [];
  let sizeBytes = 0;
  /** `later`: not in this block, but it may be in one after it. */
  const take = ({ tx, isReady }: ProposableTransaction): 'chosen' | 'later' | 'refused' => {
    const encodedBytes = encodedTxBytes(tx.length);
    if (!isReady || sizeBytes + encodedBytes > maxTxBytes) return 'later';
    const admission = window.admit(tx);
    if (!admission.ok) {
      return admission.code === 'E_CLASS' || admission.code === 'E_BUCKET' ? 'later' : 'refused';
    }
    sizeBytes += encodedBytes;
    chosen.push(tx);
    return 'chosen';
  };
  const sorted = [...proposable].sort(byRank);
  for (const decree of sorted.filter(isDecree)) take(decree);
  const left = new Set<string>();
  for (const each of inNonceOrder(sorted.filter((other) => !isDecree(other)))) {
    const sender = toHex(each.admitted.sender);
    // What follows a transaction that was left for later may count on its effects.
    if (!left.has(sender) && take(each) === 'later') left.add(sender);
  }
  return chosen;
}

function isDecree({ admitted }: ProposableTransaction): boolean {
  return admitted.class === 'E';
}

function byRank(a: ProposableTransaction, b: ProposableTransaction): number {
  const rank = CLASS_RANK[a.admitted.class] - CLASS_RANK[b.admitted.class];
  if (rank !== 0) return rank;
  if (a.admitted.tip !== b.admitted.tip) return a.admitted.tip > b.admitted.tip ? -1 : 1;
  return a.arrival - b.arrival;
}

/** Before a transaction come those of its sender with a lower nonce. */
function* inNonceOrder(sorted: readonly ProposableTransaction[]): Generator<ProposableTransaction> {
  const ofSender = Map.groupBy(sorted, ({ admitted }) => toHex(admitted.sender));
  for (const queue of ofSender.values()) queue.sort((a, b) => a.admitted.nonce - b.admitted.nonce);
  const done = new Map<string, number>();
  for (const { admitted } of sorted) {
    const sender = toHex(admitted.sender);
    const queue = ofSender.get(sender) ?? [];
    let at = done.get(sender) ?? 0;
    for (; at < queue.length; at++) {
      const next = queue[at] as ProposableTransaction;
      if (next.admitted.nonce > admitted.nonce) break;
      yield next;
    }
    done.set(sender, at);
  }
}

/** Size of a transaction within the block: field tag, length and bytes. */
export function encodedTxBytes(length: number): number {
  let lengthBytes = 1;
  for (let rest = length >>> 7; rest > 0; rest >>>= 7) lengthBytes++;
  return 1 + lengthBytes + length;
}
