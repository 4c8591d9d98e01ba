/** How far back blocks are kept. What evidence, snapshots or execution still need is never let go. */
import type { ProtocolParams } from '@haca/protocol';
import type { Store } from '../storage/index.ts';
import { decodeBlockResults } from './block-results.ts';

export interface RetentionOptions {
  /** Newest blocks to keep; 0 keeps all. More are kept where something needs them. */
  readonly retainBlocks: number;
}

export interface Retention {
  /** After each commit: the lowest height that must be kept, 0 for all; older ones of our own are forgotten meanwhile. */
  readonly committed: (height: number, timeMs: number) => number;
  /** Resolves when nothing is being forgotten. */
  readonly idle: () => Promise<void>;
}

export interface RetentionContext {
  readonly store: Store;
  /** A double sign counts for as long as bonds unbond: the genesis document sets the age of evidence to that. */
  readonly params: () => Pick<ProtocolParams, 'settleWindow' | 'unbondingTime' | 'unbondingTimeMs'>;
  readonly oldestSnapshot: () => number | undefined;
}

const PRUNE_STEP = 100;
/** Blocks looked at for their time, each commit: twice as many as come. */
const LOOKS_PER_COMMIT = 2;

export function createRetention(options: RetentionOptions, context: RetentionContext): Retention {
  const { store } = context;
  let pruning: Promise<void> | null = null;
  /** The oldest block whose evidence may still count by its time. */
  let youngFrom = 0;

  const advance = (height: number, timeMs: number, ageMaxMs: number): void => {
    youngFrom = Math.max(youngFrom, store.baseHeight());
    for (let look = 0; look < LOOKS_PER_COMMIT && youngFrom < height; look++, youngFrom++) {
      const bytes = store.resultsAt(youngFrom);
      // Of the block of a restored state nothing is known: evidence about it is of no use here.
      const isYoung =
        bytes !== undefined && bytes.length > 0 && timeMs - decodeBlockResults(bytes).timeMs <= ageMaxMs;
      if (isYoung) return;
    }
  };

  const prune = (retainHeight: number): void => {
    if (pruning !== null || retainHeight - store.baseHeight() < PRUNE_STEP) return;
    pruning = store
      .prune(retainHeight)
      // A failed write ends the store: the next commit says so.
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => {
        pruning = null;
      });
  };

  return {
    committed: (height, timeMs) => {
      if (options.retainBlocks === 0) return 0;
      const { settleWindow, unbondingTime, unbondingTimeMs } = context.params();
      advance(height, timeMs, unbondingTimeMs);
      const retainHeight = Math.min(
        height - options.retainBlocks + 1,
        height - unbondingTime,
        height - settleWindow,
        youngFrom,
        context.oldestSnapshot() ?? height,
      );
      if (retainHeight <= 0) return 0;
      prune(retainHeight);
      return retainHeight;
    },
    idle: async () => {
      await pruning;
    },
  };
}
