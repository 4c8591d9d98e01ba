/**
 * Lanes of a `zk` key that were not paid with the proof of their claim (a line was refused, or there was no room): lines of their
 * own, each over one run of verified receipts, with receipt proofs of both ends. Rare, so the log is read for it.
 */
import { toHex } from '@haca/primitives';
import type { ChargeLine, NodeKeyRecord } from '@haca/protocol';
import type { NodeChainView } from '../chain-view.ts';
import type { IssuedReceipt, KeyStream, SettledBatch } from '../key-stream.ts';
import type { ZkLine } from '../settlement.ts';
import { linesOf } from './claim-parts.ts';

export interface ZkRedemption {
  /** Lines for a transaction that settles nothing. Lanes that were paid in full are forgotten. */
  readonly dueLines: (record: NodeKeyRecord) => Promise<readonly ZkLine[]>;
  readonly hold: (line: ChargeLine, height: number) => void;
  /** Newest receipt of a lane is verified, and not known to be paid. */
  readonly hasUnpaid: () => boolean;
}

/** Each line brings up to two receipt proofs, which may be large. */
const LINES_MAX = 8;
const HOLD_MIN_BLOCKS = 60;
const HOLD_MAX_BLOCKS = 7_200;

export function openZkRedemption(stream: KeyStream, chain: NodeChainView): ZkRedemption {
  const held = new Map<string, { until: number; refusals: number }>();
  const { keyId } = stream.identity;
  /** Up to here every claim has ended, and the newest final state shows what was paid with it. */
  const lastEnded = (): number => {
    const batches = stream.batches();
    const isOver = (batch: SettledBatch | undefined): boolean =>
      batch === undefined || (batch.ending !== null && batch.ending.height <= chain.finalHeight());
    let at = batches.length - 1;
    while (!isOver(batches[at])) at--;
    const batch = batches[at];
    return batch === undefined ? 0 : batch.firstSeq + batch.count - 1;
  };
  const heads = (): IssuedReceipt[] => {
    const last = lastEnded();
    return [...stream.unpaidHeads()].filter(({ receipt }) => receipt.value.seq <= last);
  };

  const lineOf = async (head: IssuedReceipt, record: NodeKeyRecord): Promise<ZkLine | undefined> => {
    const { channelId, lane, seq, cumulative } = head.receipt.value;
    const row = await chain.lane(keyId, channelId, lane, chain.finalHeight());
    if (row !== undefined && row.mark >= cumulative) {
      stream.forgetPaid(channelId, lane, seq);
      held.delete(laneName(channelId, lane));
      return undefined;
    }
    if ((held.get(laneName(channelId, lane))?.until ?? 0) > chain.finalHeight()) return undefined;
    const run = await firstVerifiedRun(stream, record, head, row?.seq ?? 0);
    const [found] = linesOf(run);
    if (found === undefined) {
      stream.forgetPaid(channelId, lane, seq);
      return undefined;
    }
    const ends = [...new Set([found.line.fromSeq, found.line.atSeq])];
    const receipts = await Promise.all(ends.map((end) => stream.proof(end)));
    return { ...found, receipts: receipts.filter((proof) => proof !== null) };
  };
  return {
    hasUnpaid: () => heads().length > 0,
    dueLines: async (record) => {
      const lines: ZkLine[] = [];
      for (const head of heads()) {
        if (lines.length >= LINES_MAX) break;
        const line = await lineOf(head, record);
        if (line !== undefined) lines.push(line);
      }
      return lines;
    },
    hold: ({ channelId, lane }, height) => {
      const refusals = held.get(laneName(channelId, lane))?.refusals ?? 0;
      const until = height + Math.min(HOLD_MIN_BLOCKS * 2 ** refusals, HOLD_MAX_BLOCKS);
      held.set(laneName(channelId, lane), { until, refusals: refusals + 1 });
    },
  };
}

/** Charged receipts of the lane behind `paidSeq` with nothing open or unpaid among the numbers from first to last. */
async function firstVerifiedRun(
  stream: KeyStream,
  { openClaims, unpaidRanges }: NodeKeyRecord,
  head: IssuedReceipt,
  paidSeq: number,
): Promise<IssuedReceipt[]> {
  const { channelId, lane, seq: lastSeq } = head.receipt.value;
  const name = laneName(channelId, lane);
  const run: IssuedReceipt[] = [];
  for (let seq = paidSeq + 1; seq <= lastSeq; seq++) {
    const isCovered = [...openClaims, ...unpaidRanges].some(({ first, last }) => first <= seq && seq <= last);
    if (isCovered && run.length > 0) break;
    if (isCovered) continue;
    const issued = await stream.read(seq);
    const value = issued?.receipt.value;
    if (issued === undefined || value === undefined || value.amount === 0n) continue;
    if (laneName(value.channelId, value.lane) === name) run.push(issued);
  }
  return run;
}

function laneName(channelId: Uint8Array, lane: number): string {
  return `${toHex(channelId)}/${lane}`;
}
