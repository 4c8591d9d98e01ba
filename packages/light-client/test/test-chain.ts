/** A chain of signed headers to verify, made with real keys. */
import {
  ABSENT_COMMIT_SIG,
  addNanos,
  type Commit,
  EMPTY_HASH,
  type Header,
  headerHash,
  type IndexedValidator,
  type LightBlock,
  precommitSignBytes,
  type Timestamp,
  type ValidatorSet,
  validatorSetHash,
  validatorSetOf,
  ZERO_BLOCK_ID,
} from '@haca/light-client';
import { type Ed25519Signer, ed25519SignerFromSeed } from '@haca/platform';
import { bytesEqual } from '@haca/primitives';

export const CHAIN_ID = 'haca-test-1';
export const GENESIS_TIME: Timestamp = { seconds: 1_700_000_000n, nanos: 5 };
export const SECOND_NS = 1_000_000_000n;

const SIGNERS: readonly Ed25519Signer[] = Array.from({ length: 40 }, (_, i) =>
  ed25519SignerFromSeed(new Uint8Array(32).fill(i + 1)),
);

/** Validators by index of their key, with their powers. */
export function setOf(powers: Readonly<Record<number, bigint>>): ValidatorSet {
  return validatorSetOf(
    Object.entries(powers).map(([i, power]) => ({
      publicKey: (SIGNERS[Number(i)] as Ed25519Signer).publicKey,
      power,
    })),
  );
}

export function signerOf({ publicKey }: IndexedValidator): Ed25519Signer {
  return SIGNERS.find((signer) => bytesEqual(signer.publicKey, publicKey)) as Ed25519Signer;
}

export function timeOf(height: number): Timestamp {
  return addNanos(GENESIS_TIME, BigInt(height) * SECOND_NS);
}

export function headerOf(height: number, validators: ValidatorSet, nextValidators: ValidatorSet): Header {
  return {
    version: { block: 11, app: 1 },
    chainId: CHAIN_ID,
    height,
    time: timeOf(height),
    lastBlockId: ZERO_BLOCK_ID,
    lastCommitHash: EMPTY_HASH,
    dataHash: EMPTY_HASH,
    validatorsHash: validatorSetHash(validators),
    nextValidatorsHash: validatorSetHash(nextValidators),
    consensusHash: EMPTY_HASH,
    appHash: new Uint8Array(32).fill(height % 256),
    lastResultsHash: EMPTY_HASH,
    evidenceHash: EMPTY_HASH,
    proposerAddress: (validators.validators[0] as IndexedValidator).address,
  };
}

export type Voter = (validator: IndexedValidator, index: number) => 'commit' | 'nil' | 'absent';

export function commitOf(header: Header, validators: ValidatorSet, vote: Voter = () => 'commit'): Commit {
  const blockId = { hash: headerHash(header), parts: { total: 1, hash: new Uint8Array(32).fill(7) } };
  const subject = { height: header.height, round: 2, blockId };
  const signatures = validators.validators.map((validator, i) => {
    const flag = vote(validator, i);
    if (flag === 'absent') return ABSENT_COMMIT_SIG;
    const timestamp = addNanos(header.time, BigInt(i) * 1000n);
    const votedFor = flag === 'nil' ? { ...subject, blockId: ZERO_BLOCK_ID } : subject;
    const signature = signerOf(validator).sign(precommitSignBytes(CHAIN_ID, votedFor, timestamp));
    return { flag, validatorAddress: validator.address, timestamp, signature };
  });
  return { ...subject, signatures };
}

/** The light block at a height of the chain whose validator set at each height `setAt` gives. */
export function lightBlockAt(
  height: number,
  setAt: (height: number) => ValidatorSet,
  vote?: Voter,
): LightBlock {
  const validators = setAt(height);
  const nextValidators = setAt(height + 1);
  const header = headerOf(height, validators, nextValidators);
  return { signedHeader: { header, commit: commitOf(header, validators, vote) }, validators, nextValidators };
}
