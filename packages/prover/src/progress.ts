/** Progress, cancellation and turns of the event loop between the coarse steps of a proof. */

export const PHASES = ['witness', 'commit', 'lookups', 'operations', 'opening'] as const;
export type ProverPhase = (typeof PHASES)[number];

export interface ProverProgress {
  readonly phase: ProverPhase;
  /** Of the phase, 0 to 1. */
  readonly fraction: number;
}

export interface ProgressOptions {
  readonly onProgress?: (progress: ProverProgress) => void;
  readonly signal?: AbortSignal;
}

/** Called between coarse steps: reports, lets others run, and throws the signal's reason once it is aborted. */
export type Checkpoint = (phase: ProverPhase, fraction: number) => Promise<void>;

/** Milliseconds that the prover keeps the event loop at least before it gives way. */
const TURN_MS = 8;

export function createCheckpoint({ onProgress, signal }: ProgressOptions): Checkpoint {
  let turnStart = performance.now();
  return async (phase, fraction) => {
    signal?.throwIfAborted();
    onProgress?.({ phase, fraction });
    if (performance.now() - turnStart < TURN_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    turnStart = performance.now();
    signal?.throwIfAborted();
  };
}
