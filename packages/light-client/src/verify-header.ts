/**
 * The light client's one step: from a header that is trusted to a later one. Next to it (height + 1) the trusted header
 * itself names the new validators; further away, enough of the trusted validators must have signed the new header too.
 * The rules are those of the CometBFT light client specification.
 */
import { bytesEqual, type CryptoProvider, toHex, UsageError } from '@haca/primitives';
import { type Check, check, notApplicable, type Verdict, verdictOf } from '@haca/protocol';
import { headerHash, validatorSetHash } from './cometbft/hashing.ts';
import {
  addNanos,
  compareTimestamps,
  formatTimestamp,
  isTimestamp,
  type Timestamp,
} from './cometbft/timestamp.ts';
import { BLOCK_PROTOCOL, type Header, type SignedHeader } from './cometbft/types.ts';
import type { IndexedValidator, ValidatorSet } from './cometbft/validator-set.ts';
import { type CommitVerification, verifyCommit } from './verify-commit.ts';

/** A header from a full node with the validator sets whose hashes it holds. Nothing of it is trusted before it is verified. */
export interface LightBlock {
  readonly signedHeader: SignedHeader;
  readonly validators: ValidatorSet;
  readonly nextValidators: ValidatorSet;
}

export interface TrustedState {
  readonly header: Header;
  readonly nextValidators: ValidatorSet;
}

export interface TrustOptions {
  readonly chainId: string;
  /** How long after its time a header may be built on; shorter than the unbonding time of validators. */
  readonly trustingPeriodNs: bigint;
  /** How far ahead of `now` a header's time may be. */
  readonly clockDriftNs: bigint;
  /** Part of the trusted power that must have signed a header further away: from 1/3 to 1, `DEFAULT_TRUST_LEVEL` if unsure. */
  readonly trustLevel: TrustLevel;
}

export interface TrustLevel {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export const DEFAULT_TRUST_LEVEL: TrustLevel = { numerator: 1n, denominator: 3n };

export interface HeaderVerification {
  /** `not-enough-trust`: the header may well be genuine, a header between the two is needed to tell. */
  readonly outcome: 'trusted' | 'not-enough-trust' | 'invalid';
  readonly verdict: Verdict;
  readonly height: number;
  readonly headerHash: Uint8Array;
  /** Of the new header's own validators. */
  readonly signedPower: bigint;
  readonly totalPower: bigint;
  readonly signerCount: number;
  readonly validatorCount: number;
  /** Power that trusted validators who signed the new header have in the trusted set; for a header further away. */
  readonly overlapPower?: bigint;
  /** All power of the trusted set; for a header further away. */
  readonly trustedPower?: bigint;
}

const TRUST_CHECK = 'trust.overlap';

export function verifyHeader(
  crypto: CryptoProvider,
  trusted: TrustedState,
  untrusted: LightBlock,
  options: TrustOptions,
  now: Timestamp,
): HeaderVerification {
  requireUsableOptions(options, now);
  const { header, commit } = untrusted.signedHeader;
  const hash = headerHash(header);
  const checks = [
    ...timeChecks(trusted.header, header, options, now),
    ...identityChecks(trusted, header, options),
    ...validatorSetChecks(trusted, untrusted),
  ];
  // The header does not say in which parts its block travels; the signatures do, over the commit's own claim.
  const blockId = { hash, parts: commit.blockId.parts };
  const expectation = {
    chainId: options.chainId,
    height: header.height,
    blockId,
    validators: untrusted.validators,
  };
  const signed = verifyCommit(crypto, expectation, commit);
  const isAdjacent = header.height === trusted.header.height + 1;
  const overlap = isAdjacent ? undefined : overlapOf(trusted.nextValidators, signed);
  const trust =
    overlap === undefined ? adjacentChecks(trusted, header) : overlapChecks(overlap, options.trustLevel);
  const verdict = verdictOf([...checks, ...signed.verdict.checks, ...trust]);
  return {
    outcome: outcomeOf(verdict),
    verdict,
    height: header.height,
    headerHash: hash,
    signedPower: signed.signedPower,
    totalPower: signed.totalPower,
    signerCount: signed.signers.length,
    validatorCount: signed.validatorCount,
    ...(overlap === undefined ? {} : { overlapPower: overlap.signedPower, trustedPower: overlap.totalPower }),
  };
}

/** What a header that was verified makes trusted. */
export function trustedStateOf({ signedHeader, nextValidators }: LightBlock): TrustedState {
  return { header: signedHeader.header, nextValidators };
}

function outcomeOf(verdict: Verdict): HeaderVerification['outcome'] {
  if (verdict.ok) return 'trusted';
  const isOnlyTrust = verdict.checks.every(
    ({ id, status }) => id === TRUST_CHECK || status === 'passed' || status === 'not-applicable',
  );
  return isOnlyTrust ? 'not-enough-trust' : 'invalid';
}

function requireUsableOptions(
  { trustLevel, trustingPeriodNs, clockDriftNs }: TrustOptions,
  now: Timestamp,
): void {
  const { numerator, denominator } = trustLevel;
  if (numerator < 1n || 3n * numerator < denominator || numerator > denominator) {
    throw new UsageError(`a trust level lies between 1/3 and 1, this is ${numerator}/${denominator}`);
  }
  if (trustingPeriodNs <= 0n || clockDriftNs < 0n) {
    throw new UsageError('the trusting period is positive and the clock drift not negative');
  }
  if (!isTimestamp(now)) throw new UsageError('now is not a time');
}

function timeChecks(trusted: Header, header: Header, options: TrustOptions, now: Timestamp): Check[] {
  const expiry = addNanos(trusted.time, options.trustingPeriodNs);
  const latest = addNanos(now, options.clockDriftNs);
  return [
    check(
      'trusted.period',
      'trusted.expired',
      compareTimestamps(expiry, now) > 0,
      `now before ${formatTimestamp(expiry)}`,
      formatTimestamp(now),
    ),
    check(
      'header.time',
      'header.time-not-after',
      compareTimestamps(header.time, trusted.time) > 0,
      `after ${formatTimestamp(trusted.time)}`,
      formatTimestamp(header.time),
    ),
    check(
      'header.clock',
      'header.from-future',
      compareTimestamps(header.time, latest) < 0,
      `before ${formatTimestamp(latest)}`,
      formatTimestamp(header.time),
    ),
  ];
}

function identityChecks(
  { header: trusted }: TrustedState,
  header: Header,
  { chainId }: TrustOptions,
): Check[] {
  const { block } = header.version;
  return [
    check(
      'trusted.chain-id',
      'trusted.chain-id-mismatch',
      trusted.chainId === chainId,
      chainId,
      trusted.chainId,
    ),
    check('header.chain-id', 'header.chain-id-mismatch', header.chainId === chainId, chainId, header.chainId),
    check(
      'header.version',
      'header.version-unknown',
      block === BLOCK_PROTOCOL,
      `${BLOCK_PROTOCOL}`,
      `${block}`,
    ),
    check(
      'header.height',
      'header.height-not-above',
      header.height > trusted.height,
      `above ${trusted.height}`,
      `${header.height}`,
    ),
  ];
}

function validatorSetChecks(
  trusted: TrustedState,
  { signedHeader, validators, nextValidators }: LightBlock,
): Check[] {
  const { header } = signedHeader;
  return [
    setCheck('trusted.next-validators', trusted.header.nextValidatorsHash, trusted.nextValidators),
    setCheck('header.validators', header.validatorsHash, validators),
    setCheck('header.next-validators', header.nextValidatorsHash, nextValidators),
  ];
}

function setCheck(id: string, expected: Uint8Array, set: ValidatorSet): Check {
  const got = validatorSetHash(set);
  return check(id, `${id}-mismatch`, bytesEqual(got, expected), toHex(expected), toHex(got));
}

function adjacentChecks({ header: trusted }: TrustedState, header: Header): Check[] {
  const { nextValidatorsHash } = trusted;
  const isNamed = bytesEqual(header.validatorsHash, nextValidatorsHash);
  return [
    check(
      'trust.adjacent',
      'trust.validators-not-named',
      isNamed,
      toHex(nextValidatorsHash),
      toHex(header.validatorsHash),
    ),
    notApplicable(TRUST_CHECK, 'the trusted header names the validators of the next one'),
  ];
}

interface Overlap {
  readonly signedPower: bigint;
  readonly totalPower: bigint;
}

/** An address is the hash of its key, so a signature verified under the new set's key is one of the trusted validator. */
function overlapOf(trusted: ValidatorSet, { signers }: CommitVerification): Overlap {
  const signed = new Set(signers.map(({ address }: IndexedValidator) => toHex(address)));
  const overlapping = trusted.validators.filter(({ address }) => signed.has(toHex(address)));
  return {
    signedPower: overlapping.reduce((sum, { power }) => sum + power, 0n),
    totalPower: trusted.totalPower,
  };
}

function overlapChecks(
  { signedPower, totalPower }: Overlap,
  { numerator, denominator }: TrustLevel,
): Check[] {
  const isEnough = signedPower * denominator > totalPower * numerator;
  const expected = `more than ${numerator}/${denominator} of ${totalPower}`;
  return [
    check(TRUST_CHECK, 'trust.not-enough', isEnough, expected, `${signedPower}`),
    notApplicable('trust.adjacent', 'the header is not the next one'),
  ];
}
