/**
 * Signatures verified on other threads, ahead of need, without a second place that knows what has to be verified: a pure
 * function is run once with every unknown signature taken for good while the pool verifies it. If all of them were good, that
 * run was the real one. If one was not, the function runs again with what is known by then. docs/adr/0011.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { SignatureCheck } from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';
import { type Check, type Checker, isProofCheck, type ProofCheck } from './proof-checks.ts';
import { answeringCrypto, answerNow, createVerdictTable, verdictName } from './verdict-cache.ts';

/** True or false is a verdict. A rejection is none: it says that the check could not be made. */
export type VerifyAsync = (check: SignatureCheck) => Promise<boolean>;

/** How proofs are verified: ahead on other threads, and on this one where that gave no verdict. */
export interface ProofVerifiers {
  readonly verifyAsync: (check: ProofCheck) => Promise<boolean>;
  readonly verifyNow: (check: ProofCheck) => boolean;
}

const NO_PROOFS: ProofVerifiers = {
  verifyAsync: async () => Promise.reject(new Error('there is no proof system')),
  verifyNow: () => {
    throw new Error('there is no proof system');
  },
};

/** A check could not be made, again and again: the process must stop rather than guess. */
export class VerificationFailedError extends Error {
  override readonly name = 'VerificationFailedError';
}

/** Whose checks: verdicts of one never push out those of the other. */
export type VerdictSource = 'mempool' | 'block';

export interface Verification {
  /** Answers on this thread what is not known, and remembers it. */
  readonly crypto: Checker;
  /** For the mempool: as `crypto`, but what was verified is remembered only by `keep`. */
  readonly tentative: Checker;
  /** Ends one use of `tentative`: remembers what it verified, or forgets it. */
  readonly keep: (isKept: boolean) => void;
  /**
   * What the pure function `run` gives when all signature checks are answered truly. It may be run several times; only the
   * result counts. Rejects with `VerificationFailedError`, or with what `run` throws.
   */
  readonly ahead: <T>(source: VerdictSource, run: (crypto: Checker) => T) => Promise<T>;
}

export interface VerificationLimits {
  /**
   * Verdicts kept, for each source. A block has at most 4 T / 110 signatures (18,181 by default) and the mempool at most
   * 12,500 envelopes between two blocks, so with half of this neither loses what it is going to need.
   */
  readonly verdicts: number;
  /** Checks handed to the pool at a time; the others wait here, where they cost little. */
  readonly inFlight: number;
  /** Attempts at one check before the process stops. */
  readonly attempts: number;
}

export const VERIFICATION_LIMITS: VerificationLimits = { verdicts: 65_536, inFlight: 4_096, attempts: 5 };

/** Runs with guesses before what is still unknown is verified on this thread. */
const GUESSES_MAX = 2;
const RETRY_AFTER_MS = 20;

export function createVerification(
  crypto: CryptoProvider,
  verify: VerifyAsync,
  limits: VerificationLimits = VERIFICATION_LIMITS,
  proofs: ProofVerifiers = NO_PROOFS,
): Verification {
  const tables = {
    mempool: createVerdictTable(limits.verdicts),
    block: createVerdictTable(limits.verdicts),
  };
  const gate = createGate(limits.inFlight);
  let fresh: string[] = [];

  const find = (name: string): boolean | undefined => tables.block.find(name) ?? tables.mempool.find(name);
  const nameOf = (check: Check): string => verdictName(crypto.sha256, check);

  const remembering = answeringCrypto(crypto, (check) => {
    const name = nameOf(check);
    const known = find(name);
    if (known !== undefined) return known;
    const verdict = answerNow(crypto, proofs.verifyNow, check);
    tables.block.put(name, verdict);
    return verdict;
  });

  const tentative = answeringCrypto(crypto, (check) => {
    const name = nameOf(check);
    const known = find(name);
    if (known !== undefined) return known;
    const verdict = answerNow(crypto, proofs.verifyNow, check);
    // A refused signature costs its sender nothing, so it must not be able to fill anything.
    if (verdict) fresh.push(name);
    return verdict;
  });

  const verifyPatiently = async (check: Check): Promise<boolean> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await (isProofCheck(check) ? proofs.verifyAsync(check) : verify(check));
      } catch (cause) {
        if (attempt >= limits.attempts) return lastResort(check, attempt, cause);
        await delay(attempt * RETRY_AFTER_MS);
      }
    }
  };

  /** A proof that no worker survived is verified here, which may take long; a signature had its chance. */
  const lastResort = (check: Check, attempts: number, cause: unknown): boolean => {
    const what = isProofCheck(check) ? 'proof' : 'signature';
    try {
      if (isProofCheck(check)) return proofs.verifyNow(check);
    } catch (error) {
      throw new VerificationFailedError(`a ${what} could not be verified at all`, { cause: error });
    }
    throw new VerificationFailedError(`a ${what} could not be verified in ${attempts} attempts`, { cause });
  };

  /** A crypto that takes what is unknown for good, and a promise of whether it was. */
  const startGuess = (source: VerdictSource) => {
    const asked = new Map<string, Promise<boolean>>();
    let guesses = 0;
    const answer = (check: Check): boolean => {
      const name = nameOf(check);
      const known = find(name);
      if (known !== undefined) return known;
      guesses++;
      if (asked.has(name)) return true;
      const verdict = gate(() => verifyPatiently(check)).then((holds) => {
        tables[source].put(name, holds);
        return holds;
      });
      asked.set(name, verdict);
      return true;
    };
    const guessing = answeringCrypto(crypto, answer, () => guesses);
    const wasRight = async (): Promise<boolean> => (await Promise.all(asked.values())).every(Boolean);
    return { guessing, wasRight };
  };

  const ahead = async <T>(source: VerdictSource, run: (crypto: Checker) => T): Promise<T> => {
    for (let guess = 0; guess < GUESSES_MAX; guess++) {
      const { guessing, wasRight } = startGuess(source);
      const outcome = attempt(() => run(guessing));
      if (!(await wasRight())) continue;
      if (outcome.ok) return outcome.value;
      throw outcome.error;
    }
    return run(remembering);
  };

  return {
    crypto: remembering,
    tentative,
    keep: (isKept) => {
      if (isKept) for (const name of fresh) tables.mempool.put(name, true);
      fresh = [];
    },
    ahead,
  };
}

/** An exception of a run that guessed wrong means nothing, so it waits until that is known. */
function attempt<T>(
  run: () => T,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown } {
  try {
    return { ok: true, value: run() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** Lets at most `places` jobs run at a time. A job starts at once where there is a place, else in order of arrival. */
function createGate(places: number): <T>(job: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting = new Set<() => void>();
  const leave = (): void => {
    for (const start of waiting) {
      // Its place goes to the one that waited longest.
      waiting.delete(start);
      start();
      return;
    }
    running--;
  };
  return async (job) => {
    if (running < places) running++;
    else await new Promise<void>((resolve) => waiting.add(resolve));
    try {
      return await job();
    } finally {
      leave();
    }
  };
}
