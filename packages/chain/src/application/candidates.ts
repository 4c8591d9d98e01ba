/** Blocks that were executed before they were decided: proposals of one height, at most one of which is going to be. */
import { compareTimestamps } from '@haca/light-client';
import { bytesEqual } from '@haca/primitives';
import type { BlockRequest } from '../abci.ts';

/** A height with more proposals than this has a faulty proposer in most rounds: older candidates go first. */
export const CANDIDATES_MAX = 4;

export interface Candidates<T> {
  readonly add: (executed: T) => void;
  readonly has: (request: BlockRequest) => boolean;
  /** The result of exactly this block, taken out; undefined where it is not here. */
  readonly take: (request: BlockRequest) => T | undefined;
  /** Forgets all of them without discarding: what they were based on is gone. */
  readonly forget: () => void;
}

/** `discard` frees what an executed block holds. */
export function createCandidates<T extends { readonly request: BlockRequest }>(
  discard: (executed: T) => void,
  candidatesMax = CANDIDATES_MAX,
): Candidates<T> {
  let kept: readonly T[] = [];
  return {
    add: (executed) => {
      kept = [...kept, executed];
      const surplus = Math.max(0, kept.length - candidatesMax);
      for (const oldest of kept.slice(0, surplus)) discard(oldest);
      kept = kept.slice(surplus);
    },
    has: (request) => kept.some((executed) => isSameBlock(executed.request, request)),
    take: (request) => {
      const found = kept.find((executed) => isSameBlock(executed.request, request));
      kept = kept.filter((executed) => executed !== found);
      return found;
    },
    forget: () => {
      kept = [];
    },
  };
}

/** Equal in everything that execution sees, not by the word of the hash alone. */
export function isSameBlock(a: BlockRequest, b: BlockRequest): boolean {
  return (
    bytesEqual(a.hash, b.hash) &&
    a.height === b.height &&
    compareTimestamps(a.time, b.time) === 0 &&
    bytesEqual(a.proposerAddress, b.proposerAddress) &&
    areEqual(a.txs, b.txs, (x, y) => x === y || Buffer.compare(x, y) === 0) &&
    areEqual(
      a.lastCommit,
      b.lastCommit,
      (x, y) => bytesEqual(x.address, y.address) && x.power === y.power && x.signed === y.signed,
    ) &&
    areEqual(
      a.misbehavior,
      b.misbehavior,
      (x, y) => bytesEqual(x.address, y.address) && x.height === y.height && x.kind === y.kind,
    )
  );
}

function areEqual<T>(a: readonly T[], b: readonly T[], equal: (x: T, y: T) => boolean): boolean {
  return a.length === b.length && a.every((x, i) => equal(x, b[i] as T));
}
