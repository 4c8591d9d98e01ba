import { bytesEqual, type CryptoProvider, toHex } from '@haca/primitives';
import { type Check, check, skipped, type Verdict, verdictOf } from '@haca/protocol';
import { precommitSignBytes } from './cometbft/encoding.ts';
import { compareTimestamps, isTimestamp, type Timestamp, ZERO_TIMESTAMP } from './cometbft/timestamp.ts';
import { type BlockId, type Commit, type CommitSig, ZERO_BLOCK_ID } from './cometbft/types.ts';
import type { IndexedValidator, ValidatorSet } from './cometbft/validator-set.ts';

const EPOCH: Timestamp = { seconds: 0n, nanos: 0 };

/** What a commit must be for: every value comes from the caller, never from the commit. */
export interface CommitExpectation {
  readonly chainId: string;
  readonly height: number;
  readonly blockId: BlockId;
  readonly validators: ValidatorSet;
}

export interface CommitVerification {
  readonly verdict: Verdict;
  /** Power of the validators whose signature for the expected block is good. */
  readonly signedPower: bigint;
  readonly totalPower: bigint;
  readonly validatorCount: number;
  readonly signers: readonly IndexedValidator[];
}

/**
 * Verifies that more than two thirds of the voting power signed exactly this block at this height of this chain. Every
 * signature in the commit is verified, votes for nil too: one bad signature means that somebody altered the commit.
 */
export function verifyCommit(
  crypto: CryptoProvider,
  expected: CommitExpectation,
  commit: Commit,
): CommitVerification {
  const { validators, totalPower } = expected.validators;
  const form = [...subjectChecks(expected, commit), entriesCheck(expected.validators, commit)];
  const result = { totalPower, validatorCount: validators.length };
  if (form.some(({ status }) => status !== 'passed')) {
    const reason = 'the commit has not the form that signatures can be verified for';
    const rest = [
      skipped('commit.signatures', 'commit.form', reason),
      skipped('commit.power', 'commit.form', reason),
    ];
    return { ...result, verdict: verdictOf([...form, ...rest]), signedPower: 0n, signers: [] };
  }
  const signers: IndexedValidator[] = [];
  const bad: string[] = [];
  commit.signatures.forEach((sig, i) => {
    const validator = validators[i] as IndexedValidator;
    if (sig.flag === 'absent') return;
    if (!isGoodSignature(crypto, expected, commit, sig, validator)) bad.push(toHex(validator.address));
    else if (sig.flag === 'commit') signers.push(validator);
  });
  const signedPower = signers.reduce((sum, { power }) => sum + power, 0n);
  const signatures = check(
    'commit.signatures',
    'commit.signature-invalid',
    bad.length === 0,
    'every signature verifies',
    bad.length === 0 ? `${signers.length} for the block` : `${bad.length} do not, the first of ${bad[0]}`,
  );
  const power = check(
    'commit.power',
    'commit.power-insufficient',
    3n * signedPower > 2n * totalPower,
    `more than 2/3 of ${totalPower}`,
    `${signedPower}`,
  );
  return { ...result, verdict: verdictOf([...form, signatures, power]), signedPower, signers };
}

function subjectChecks({ height, blockId, validators }: CommitExpectation, commit: Commit): Check[] {
  const got = commit.blockId;
  const isSameBlock =
    blockId.hash.length === 32 &&
    bytesEqual(got.hash, blockId.hash) &&
    got.parts.total === blockId.parts.total &&
    bytesEqual(got.parts.hash, blockId.parts.hash);
  const count = validators.validators.length;
  return [
    check(
      'commit.height',
      'commit.height-mismatch',
      commit.height === height,
      `${height}`,
      `${commit.height}`,
    ),
    check('commit.block-id', 'commit.block-id-mismatch', isSameBlock, showBlockId(blockId), showBlockId(got)),
    check(
      'commit.count',
      'commit.count-mismatch',
      commit.signatures.length === count,
      `${count} entries, one for each validator`,
      `${commit.signatures.length}`,
    ),
  ];
}

/** Each entry names the validator of its place or is wholly empty, so no validator can be counted twice. */
function entriesCheck({ validators }: ValidatorSet, commit: Commit): Check {
  const wrong = commit.signatures.findIndex((sig, i) => !isWellFormedEntry(sig, validators[i]));
  const expected = 'each entry empty, or of the validator of its place';
  const got = wrong < 0 ? `${commit.signatures.length} such entries` : `entry ${wrong} is neither`;
  return check('commit.entries', 'commit.entry-mismatch', wrong < 0, expected, got);
}

function isWellFormedEntry(sig: CommitSig, validator: IndexedValidator | undefined): boolean {
  if (sig.flag === 'absent') {
    // Go's zero time, or protobuf's: both are written for a vote that is not there, and neither is signed.
    const isZeroTime =
      compareTimestamps(sig.timestamp, ZERO_TIMESTAMP) === 0 || compareTimestamps(sig.timestamp, EPOCH) === 0;
    return sig.validatorAddress.length === 0 && sig.signature.length === 0 && isZeroTime;
  }
  return (
    validator !== undefined &&
    bytesEqual(sig.validatorAddress, validator.address) &&
    sig.signature.length === 64 &&
    isTimestamp(sig.timestamp)
  );
}

function isGoodSignature(
  crypto: CryptoProvider,
  { chainId, height, blockId }: CommitExpectation,
  { round }: Commit,
  sig: CommitSig,
  { publicKey }: IndexedValidator,
): boolean {
  const subject = { height, round, blockId: sig.flag === 'nil' ? ZERO_BLOCK_ID : blockId };
  return crypto.verifyEd25519(publicKey, precommitSignBytes(chainId, subject, sig.timestamp), sig.signature);
}

function showBlockId({ hash, parts }: BlockId): string {
  return `${toHex(hash)} in ${parts.total} parts ${toHex(parts.hash)}`;
}
