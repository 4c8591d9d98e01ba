import { existsSync } from 'node:fs';
import { UsageError } from '@haca/primitives';
import { decodeStoredBlock, heightKey } from './records.ts';
import {
  copyOf,
  firstHeight,
  INDEX_HEIGHT_KEY,
  lastHeight,
  openTables,
  readFlatHeight,
  type Tables,
} from './tables.ts';

export interface RolledBack {
  readonly height: number;
  readonly appHash: Uint8Array;
}

/**
 * Takes the newest blocks out of the store of a stopped node, so that its state is again that of `toHeight`: for a node
 * whose consensus engine lost blocks and refuses to start under an application that is ahead of it. Possible down to the
 * state of the flat table: `historyHeights` heights below the newest, or fewer where their changes are large. Never on a
 * validator that goes on with the sign state it had: what it signed, it signed. Throws `UsageError` where it can't.
 */
export async function rollbackStore(directory: string, toHeight: number): Promise<RolledBack> {
  if (!existsSync(directory)) throw new UsageError(`there is no store in ${directory}`);
  const tables = openTables(directory);
  try {
    const latest = lastHeight(tables.blocks);
    const lowest = Math.max(readFlatHeight(tables), firstHeight(tables.blocks), 1);
    if (!Number.isSafeInteger(toHeight) || toHeight < lowest || toHeight > latest) {
      throw new UsageError(
        latest === 0
          ? 'the store is empty'
          : `height ${toHeight} can't be rolled back to: ${lowest} to ${latest} can`,
      );
    }
    const bytes = tables.blocks.get(heightKey(toHeight));
    if (bytes === undefined) throw new UsageError(`block ${toHeight} is not kept`);
    const { appHash } = decodeStoredBlock(copyOf(bytes));
    if (toHeight < latest) removeAbove(tables, toHeight, latest);
    return { height: toHeight, appHash };
  } finally {
    await tables.root.close();
  }
}

/** One synced write. A transaction may have been in an earlier block too, so the indexes are made anew by the next start. */
function removeAbove(tables: Tables, toHeight: number, latest: number): void {
  tables.root.transactionSync(() => {
    tables.meta.remove(INDEX_HEIGHT_KEY);
    tables.txs.clearSync();
    tables.events.clearSync();
    for (let height = toHeight + 1; height <= latest; height++) {
      tables.changes.remove(heightKey(height));
      tables.blocks.remove(heightKey(height));
    }
  });
}
