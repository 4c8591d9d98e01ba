/** How far back blocks are kept. What evidence, snapshots or execution still need is never let go. */
import type { Store } from '../storage/index.ts';
import { decodeBlockResults } from './block-results.ts';

export interface RetentionOptions {
  /** Newest blocks to keep; 0 keeps all. More are kept where something needs them. */
  readonly retainBlocks: number;
  /** As the consensus parameters say; evidence expires once it is older than both. 100,000 and 48 hours if not said. */
  readonly evidenceAgeMaxBlocks?: number;
  readonly evidenceAgeMaxMs?: number;
}

export interface Retention {
  /** After each commit: the lowest height that must be kept, 0 for all; older ones of our own are forgotten meanwhile. */
  readonly committed: (height: number, timeMs: number) => number;
  /** Resolves when nothing is being forgotten. */
  readonly idle: () => Promise<void>;
}

export interface RetentionContext {
  readonly store: Store;
  readonly settleWindow: () => number;
  readonly oldestSnapshot: () => number | undefined;
}

const EVIDENCE_AGE_MAX_BLOCKS = 100_000;
const EVIDENCE_AGE_MAX_MS = 48 * 3_600_000;
const PRUNE_STEP = 100;
/** Blocks looked at for their time, each commit: twice as many as come. */
const LOOKS_PER_COMMIT = 2;

export function createRetention(options: RetentionOptions, context: RetentionContext): Retention {
  const { store } = context;
  const ageMaxBlocks = options.evidenceAgeMaxBlocks ?? EVIDENCE_AGE_MAX_BLOCKS;
  const ageMaxMs = options.evidenceAgeMaxMs ?? EVIDENCE_AGE_MAX_MS;
  let pruning: Promise<void> | null = null;
  /** The oldest block that is not known to be older than `ageMaxMs`. */
  let youngFrom = 0;

  const advance = (height: number, timeMs: number): void => {
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
      advance(height, timeMs);
      const retainHeight = Math.min(
        height - options.retainBlocks + 1,
        height - ageMaxBlocks,
        height - context.settleWindow(),
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
