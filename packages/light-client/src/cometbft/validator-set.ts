import { compareBytes, MalformedError, sha256, toHex } from '@haca/primitives';
import { LIMITS } from './types.ts';

export interface Validator {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Voting power, at least 1. */
  readonly power: bigint;
}

export interface IndexedValidator extends Validator {
  /** The first 20 bytes of SHA-256(publicKey). */
  readonly address: Uint8Array;
}

/** Validators in CometBFT's order (power descending, then address ascending), each at most once. */
export interface ValidatorSet {
  readonly validators: readonly IndexedValidator[];
  readonly totalPower: bigint;
}

/** CometBFT's MaxTotalVotingPower: the largest int64, divided by eight. */
export const TOTAL_POWER_MAX = (2n ** 63n - 1n) / 8n;

export function validatorAddress(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).slice(0, 20);
}

/**
 * Sorts, and refuses duplicates and powers out of range with `MalformedError`. An empty list gives an empty set: it exists
 * on the wire, and no commit can satisfy it.
 */
export function validatorSetOf(validators: readonly Validator[], path = 'validators'): ValidatorSet {
  if (validators.length > LIMITS.validators) {
    throw new MalformedError(
      'validators.count',
      path,
      `at most ${LIMITS.validators}`,
      `${validators.length}`,
    );
  }
  const seen = new Set<string>();
  let totalPower = 0n;
  const indexed = validators.map(({ publicKey, power }, i): IndexedValidator => {
    if (publicKey.length !== 32) {
      throw new MalformedError('validators.key', `${path}[${i}]`, '32 bytes', `${publicKey.length}`);
    }
    if (power < 1n) throw new MalformedError('validators.power', `${path}[${i}]`, 'at least 1', `${power}`);
    const address = validatorAddress(publicKey);
    const name = toHex(address);
    if (seen.has(name)) throw new MalformedError('validators.duplicate', `${path}[${i}]`, 'each once', name);
    seen.add(name);
    totalPower += power;
    return { publicKey, power, address };
  });
  if (totalPower > TOTAL_POWER_MAX) {
    throw new MalformedError('validators.total-power', path, `at most ${TOTAL_POWER_MAX}`, `${totalPower}`);
  }
  indexed.sort((a, b) =>
    a.power === b.power ? compareBytes(a.address, b.address) : a.power > b.power ? -1 : 1,
  );
  return { validators: indexed, totalPower };
}
