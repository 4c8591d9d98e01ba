/** Whose turn it is to change the application's state: one method at a time, and one connection that drives consensus. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from './connection.ts';

export interface Turns {
  /** Runs `work` when all that was begun before is done; not at all where the connection is gone by then. */
  readonly run: (connection: Connection, work: () => Promise<void>) => Promise<void>;
  /**
   * Resolves once the connection is the one that drives consensus. Two CometBFT processes on one application would each
   * commit their own chain into it, so it rejects with `CallRefusedError` where another one goes on for `takeoverMs`.
   */
  readonly takeConsensus: (connection: Connection) => Promise<void>;
  /** Whether a method runs for a connection that is gone. */
  readonly isOrphanRunning: () => boolean;
}

/** The call was refused, and only its connection suffers. */
export class CallRefusedError extends Error {
  override readonly name = 'CallRefusedError';
}

export function createTurns(takeoverMs: number): Turns {
  /** Resolves when the last one that has or awaits its turn is done. */
  let last = Promise.resolve();
  let holder: Connection | null = null;
  let driver: Connection | null = null;

  const run = async (connection: Connection, work: () => Promise<void>): Promise<void> => {
    const before = last;
    const { promise, resolve: release } = Promise.withResolvers<void>();
    last = promise;
    try {
      await before;
      if (connection.isOver) return;
      holder = connection;
      await work();
    } finally {
      holder = null;
      release();
    }
  };

  const takeConsensus = async (connection: Connection): Promise<void> => {
    const before = driver;
    if (before === connection) return;
    if (before !== null && !before.isOver) {
      await Promise.race([before.ended, delay(takeoverMs, undefined, { ref: false })]);
    }
    if (driver !== before || before?.isOver === false) {
      throw new CallRefusedError('another connection drives the consensus of this application');
    }
    driver = connection;
  };

  return { run, takeConsensus, isOrphanRunning: () => holder?.isOver === true };
}
