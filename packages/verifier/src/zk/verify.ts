/** From bytes to a verdict: the key is hashed, parsed and planned, then its program is executed. */
import {
  KeyError,
  LIMITS,
  type Program,
  parseVerifyingKey,
  plan,
  planRegistration,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { bytesEqual, MalformedError, toHex } from '@haca/primitives';
import type { ZkKernels } from '@haca/primitives/zk';
import type { Verdict } from '@haca/protocol';
import { createGate, Rejection } from './checks.ts';
import { executeVerifier, rejectionOf } from './execute.ts';

export interface ZkVerification {
  /** The bytes that were registered. */
  readonly verifyingKey: Uint8Array;
  /** What the caller expects to be proved; nothing of it comes from the proof. */
  readonly statement: ZkStatement;
  readonly proof: Uint8Array;
  /** Faster hashing and dot products; plain TypeScript when left out. */
  readonly kernels?: ZkKernels;
}

export interface ZkVerifier {
  /** Total: hostile keys, statements and proofs give a failed check, never an exception. */
  readonly verify: (verification: ZkVerification) => Verdict;
}

interface Planned {
  readonly key: VerifyingKey;
  readonly program: Program;
}

/** Remembers the programs of the last `plans` pairs of key and batch size; 8 when left out. */
export function createZkVerifier({ plans = 8 }: { readonly plans?: number } = {}): ZkVerifier {
  const remembered = new Map<string, Planned>();
  const planned = (verifyingKey: Uint8Array, hash: Uint8Array, batchSize: number): Planned => {
    const name = `${toHex(hash)}:${batchSize}`;
    const found = remembered.get(name) ?? planOf(verifyingKey, batchSize);
    // Entered again, so that the oldest entry is the one not used for longest.
    remembered.delete(name);
    remembered.set(name, found);
    for (const oldest of remembered.keys()) {
      if (remembered.size <= plans) break;
      remembered.delete(oldest);
    }
    return found;
  };
  return {
    verify: ({ verifyingKey, statement, proof, kernels }) => {
      const gate = createGate();
      try {
        checkSize(verifyingKey);
        const hash = verifyingKeyHash(verifyingKey);
        gate.require('key-hash', bytesEqual(hash, statement.verifyingKeyHash), toHex(hash));
        const { key, program } = planned(verifyingKey, hash, statement.batchSize);
        return executeVerifier(program, key, statement, proof, kernels === undefined ? {} : { kernels });
      } catch (error) {
        return gate.verdict(rejectionOf(error));
      }
    },
  };
}

/** Verifies one proof. Callers that verify many under one key keep a `createZkVerifier`. */
export function verifyZkProof(verification: ZkVerification): Verdict {
  return createZkVerifier().verify(verification);
}

export interface ZkRegistration {
  readonly verifyingKey: Uint8Array;
  readonly proof: Uint8Array;
  readonly kernels?: ZkKernels;
}

/**
 * Verifies that the weights behind the cap of a key are integers of their declared intervals. Total, as
 * `verifyZkProof`. Whether the key means anything is for `validateVerifyingKey` to say.
 */
export function verifyZkRegistration({ verifyingKey, proof, kernels }: ZkRegistration): Verdict {
  try {
    checkSize(verifyingKey);
    const { key, program } = refusing(() => {
      const parsed = parseVerifyingKey(verifyingKey);
      return { key: parsed, program: planRegistration(parsed) };
    });
    return executeVerifier(program, key, null, proof, kernels === undefined ? {} : { kernels });
  } catch (error) {
    return createGate().verdict(rejectionOf(error));
  }
}

function checkSize(verifyingKey: Uint8Array): void {
  if (verifyingKey.length > LIMITS.keyBytes)
    throw new Rejection('key', `${verifyingKey.length} bytes, at most ${LIMITS.keyBytes}`, 'E_LIMIT');
}

function planOf(verifyingKey: Uint8Array, batchSize: number): Planned {
  if (!Number.isSafeInteger(batchSize)) throw new Rejection('key', `a batch of ${batchSize}`);
  return refusing(() => {
    const key = parseVerifyingKey(verifyingKey);
    return { key, program: plan(key, batchSize) };
  });
}

/** Turns the reasons why a key is refused into a failed check. */
function refusing(derive: () => Planned): Planned {
  try {
    return derive();
  } catch (error) {
    if (error instanceof KeyError) throw new Rejection('key', error.message, error.code);
    if (error instanceof MalformedError) throw new Rejection('key', error.message);
    throw error;
  }
}
