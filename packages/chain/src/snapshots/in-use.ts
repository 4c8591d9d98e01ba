import type { Snapshot } from '../abci.ts';

/** A joining node that loses its snapshot half-way asks for it in vain; but asking must not fill the disk. */
const IN_USE_MS = 10 * 60_000;
const SPARED_MAX = 2;

export interface SnapshotUse {
  /** A chunk of the snapshot at this height was asked for. */
  readonly asked: (height: number) => void;
  /** Heights of those of the old snapshots that were asked for a short while ago: two at most, the last asked for. */
  readonly spared: (old: readonly Pick<Snapshot, 'height'>[]) => ReadonlySet<number>;
}

/** `clock`: monotonic milliseconds. */
export function createSnapshotUse(clock: () => number = () => performance.now()): SnapshotUse {
  const askedAtMs = new Map<number, number>();
  return {
    asked: (height) => {
      askedAtMs.delete(height);
      askedAtMs.set(height, clock());
    },
    spared: (old) => {
      for (const [height, atMs] of askedAtMs) if (clock() - atMs >= IN_USE_MS) askedAtMs.delete(height);
      const heights = new Set(old.map(({ height }) => height));
      return new Set([...askedAtMs.keys()].filter((height) => heights.has(height)).slice(-SPARED_MAX));
    },
  };
}
