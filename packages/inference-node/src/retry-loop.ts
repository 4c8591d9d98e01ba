/** Turns of one task, never two at a time; after one that failed the next waits, twice as long each time. */
const RETRY_MIN_MS = 500;

export interface RetryLoopOptions {
  /** Resolves to false where there was nothing to do. */
  readonly turn: () => Promise<boolean>;
  /** Whether a turn that ended well forgets earlier failures; every such turn does if not said. */
  readonly isProgress?: (didWork: boolean) => boolean;
  readonly retryMaxMs: number;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  readonly log: (failure: string) => void;
}

export interface RetryLoop {
  /** Starts a turn, or joins the one that runs. True where something was done or failed, so that there may be more. */
  readonly start: () => Promise<boolean>;
  readonly isRunning: () => boolean;
  /** False while a failure is waited out. */
  readonly isDue: () => boolean;
  /** Failures in a row. */
  readonly failures: () => number;
  /** Resolves when the turn that runs has ended. */
  readonly idle: () => Promise<void>;
}

export function openRetryLoop(options: RetryLoopOptions): RetryLoop {
  const { turn, isProgress = () => true, retryMaxMs, signal, nowMs, log } = options;
  let running: Promise<boolean> | undefined;
  let failures = 0;
  let retryAtMs = 0;

  const attempt = async (): Promise<boolean> => {
    try {
      const didWork = await turn();
      if (isProgress(didWork)) failures = 0;
      return didWork;
    } catch (error) {
      if (signal.aborted) return false;
      const waitMs = Math.min(RETRY_MIN_MS * 2 ** failures, retryMaxMs);
      failures++;
      retryAtMs = nowMs() + waitMs;
      log(`${error instanceof Error ? error.message : String(error)}; trying again in ${waitMs} ms`);
      return true;
    }
  };
  return {
    start: () => {
      running ??= attempt().finally(() => {
        running = undefined;
      });
      return running;
    },
    isRunning: () => running !== undefined,
    isDue: () => nowMs() >= retryAtMs,
    failures: () => failures,
    idle: async () => {
      await running;
    },
  };
}
