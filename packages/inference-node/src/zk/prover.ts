/** Proofs of one model, one at a time, each in a thread of its own; and whether proofs can be had at all at present. */
import type { ZkStatement } from '@haca/circuit';
import type { WorkerSetup } from './worker.ts';
import { openWorkerClient } from './worker-client.ts';

export interface ProofProgress {
  readonly phase: string;
  /** Of the phase, 0 to 1. */
  readonly fraction: number;
}

export interface ModelProver {
  /** Waits for its turn. Throws the signal's reason, or why no proof could be made. */
  readonly prove: (
    statement: ZkStatement,
    signal: AbortSignal,
    onProgress?: (progress: ProofProgress) => void,
  ) => Promise<MadeProof>;
  readonly proveRegistration: (signal: AbortSignal) => Promise<Uint8Array>;
  readonly stats: () => ProverStats;
  readonly close: () => Promise<void>;
}

export interface MadeProof {
  readonly proof: Uint8Array;
  readonly proveMs: number;
}

export interface ProverStats {
  readonly proofs: number;
  readonly failures: number;
  /** Failures since the last proof. */
  readonly failuresInARow: number;
  /** Of the last failure, on the clock of `performance.now()`; null before the first. */
  readonly failedAtMs: number | null;
  /** Of the last proof; null before the first. */
  readonly lastMs: number | null;
}

export function openModelProver(setup: WorkerSetup): ModelProver {
  const worker = openWorkerClient(setup);
  let turn: Promise<unknown> = Promise.resolve();
  let stats: ProverStats = {
    proofs: 0,
    failures: 0,
    failuresInARow: 0,
    failedAtMs: null,
    lastMs: null,
  };

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  };
  const proveNow = async (
    statement: ZkStatement,
    signal: AbortSignal,
    onProgress: ((progress: ProofProgress) => void) | undefined,
  ): Promise<MadeProof> => {
    const startedAt = performance.now();
    try {
      const options = { signal, ...(onProgress === undefined ? {} : { onProgress }) };
      const [proof] = await worker.run({ kind: 'prove', statement }, options);
      const proveMs = Math.max(1, Math.round(performance.now() - startedAt));
      stats = { ...stats, proofs: stats.proofs + 1, failuresInARow: 0, lastMs: proveMs };
      return { proof: proof as Uint8Array, proveMs };
    } catch (error) {
      signal.throwIfAborted();
      const failures = stats.failures + 1;
      const failuresInARow = stats.failuresInARow + 1;
      stats = { ...stats, failures, failuresInARow, failedAtMs: performance.now() };
      throw error;
    }
  };
  return {
    prove: (statement, signal, onProgress) => inTurn(() => proveNow(statement, signal, onProgress)),
    proveRegistration: (signal) =>
      inTurn(async () => (await worker.run({ kind: 'register' }, { signal }))[0] as Uint8Array),
    stats: () => stats,
    close: worker.close,
  };
}
