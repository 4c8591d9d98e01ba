/** Checks of proofs, in the same form as those of signatures: bytes with a verdict that is the same for ever and everywhere. */
import type { SignatureCheck } from '@haca/platform';
import { type CryptoProvider, MalformedError } from '@haca/primitives';
import { decodeZkStatement, encodeZkStatement } from '@haca/protocol';
import type { ZkProofSystem } from '../state-machine/index.ts';

export interface ProofCheck {
  /** `zk-proof`: a claim's inferences. `zk-registration`: the weights behind a verifying key. */
  readonly scheme: 'zk-proof' | 'zk-registration';
  /** The verifying key. */
  readonly publicKey: Uint8Array;
  /** The encoded statement; empty for a registration, whose statement is the key. */
  readonly message: Uint8Array;
  /** The proof. */
  readonly signature: Uint8Array;
}

export type Check = SignatureCheck | ProofCheck;

/** All that execution can ask to have verified. */
export interface Checker extends CryptoProvider {
  readonly verifyProof: (check: ProofCheck) => boolean;
  /**
   * How often it answered yes without knowing yet. What was found while this stood still is true; what was found while it rose may
   * not be, and must not be remembered.
   */
  readonly guesses: () => number;
}

export function isProofCheck(check: Check): check is ProofCheck {
  return check.scheme === 'zk-proof' || check.scheme === 'zk-registration';
}

/** `system`, with its two heavy questions asked of `checker`. */
export function checkedProofSystem(system: ZkProofSystem, checker: Checker): ZkProofSystem {
  return {
    ...system,
    verifyProof: ({ verifyingKey, statement, proof }) =>
      checker.verifyProof({
        scheme: 'zk-proof',
        publicKey: verifyingKey,
        message: encodeZkStatement(statement),
        signature: proof,
      }),
    verifyRegistration:
      system.verifyRegistration === null
        ? null
        : ({ verifyingKey, proof }) =>
            checker.verifyProof({
              scheme: 'zk-registration',
              publicKey: verifyingKey,
              message: NOTHING,
              signature: proof,
            }),
  };
}

const NOTHING = new Uint8Array(0);

/** The check as `system` itself answers it, on this thread. Total where `system` is. */
export function answerProofCheck(system: ZkProofSystem, check: ProofCheck): boolean {
  const { publicKey: verifyingKey, signature: proof } = check;
  if (check.scheme === 'zk-registration') {
    return system.verifyRegistration?.({ verifyingKey, proof }) ?? false;
  }
  try {
    return system.verifyProof({ verifyingKey, statement: decodeZkStatement(check.message), proof });
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return false;
  }
}
