import { bytesOf, concatBytes, domainPrefix, encode, field, struct, type TypeOf } from '@haca/primitives';
import { chainIdCodec, digest32 } from './common.ts';

/** CometBFT's address of a consensus key: the first 20 bytes of its SHA-256. */
export const CONSENSUS_ADDRESS_BYTES = 20;
export const VALIDATORS_MAX = 100;
export const consensusAddressCodec = bytesOf(CONSENSUS_ADDRESS_BYTES);

const validatorPossessionCodec = struct({
  chainId: field(0, chainIdCodec),
  /** Account that registers it. */
  operator: field(1, digest32),
  /** Ed25519, 32 bytes. */
  consensusKey: field(2, bytesOf(32)),
});
export type ValidatorPossession = TypeOf<typeof validatorPossessionCodec>;

/**
 * What a consensus key signs to show that it exists and consents to vote for this operator on this chain. Read as a vote or
 * proposal of CometBFT, its first two bytes are a length and a field that neither has: one is never taken for the other.
 */
export function validatorPossessionMessage(possession: ValidatorPossession): Uint8Array {
  return concatBytes(
    domainPrefix('haca/validator-possession/1'),
    encode(validatorPossessionCodec, possession),
  );
}
