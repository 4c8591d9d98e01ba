/**
 * Getting from a trusted header to a target far away: try the target, and where too few trusted validators signed it, go
 * over a header half way. The choice of headers is pure; fetching is the caller's.
 */
import type { CryptoProvider } from '@haca/primitives';
import { failed, verdictOf } from '@haca/protocol';
import { headerHash } from './cometbft/hashing.ts';
import type { Timestamp } from './cometbft/timestamp.ts';
import {
  type HeaderVerification,
  type LightBlock,
  type TrustedState,
  type TrustOptions,
  trustedStateOf,
  verifyHeader,
} from './verify-header.ts';

export interface Bisection {
  readonly trusted: TrustedState;
  readonly targetHeight: number;
  /** Headers fetched and not yet verified, the highest first. */
  readonly waiting: readonly LightBlock[];
  /** Headers that were verified, in order of height: together they prove the last one from the first trust. */
  readonly trace: readonly LightBlock[];
  readonly status: 'running' | 'trusted' | 'invalid';
  /** The height to fetch next, while running. */
  readonly wantedHeight: number;
}

export type VerifyStep = (trusted: TrustedState, block: LightBlock) => HeaderVerification;

export function startBisection(trusted: TrustedState, targetHeight: number): Bisection {
  const isThere = targetHeight === trusted.header.height;
  const status = isThere ? 'trusted' : targetHeight > trusted.header.height ? 'running' : 'invalid';
  return { trusted, targetHeight, waiting: [], trace: [], status, wantedHeight: targetHeight };
}

export interface BisectionStep {
  readonly next: Bisection;
  readonly verifications: readonly HeaderVerification[];
}

/** Takes the wanted header, verifies what can be verified now, and says what is wanted next. */
export function continueBisection(
  bisection: Bisection,
  block: LightBlock,
  verify: VerifyStep,
): BisectionStep {
  if (block.signedHeader.header.height !== bisection.wantedHeight) {
    return { next: { ...bisection, status: 'invalid' }, verifications: [wrongHeight(bisection, block)] };
  }
  const waiting = [...bisection.waiting, block];
  const trace = [...bisection.trace];
  const verifications: HeaderVerification[] = [];
  let { trusted } = bisection;
  for (let lowest = waiting.at(-1); lowest !== undefined; lowest = waiting.at(-1)) {
    const verification = verify(trusted, lowest);
    verifications.push(verification);
    if (verification.outcome === 'invalid') {
      return { next: { ...bisection, trusted, waiting, trace, status: 'invalid' }, verifications };
    }
    if (verification.outcome === 'not-enough-trust') {
      const wantedHeight = Math.floor((trusted.header.height + lowest.signedHeader.header.height) / 2);
      return { next: { ...bisection, trusted, waiting, trace, wantedHeight }, verifications };
    }
    trusted = trustedStateOf(lowest);
    trace.push(lowest);
    waiting.pop();
  }
  return { next: { ...bisection, trusted, waiting, trace, status: 'trusted' }, verifications };
}

function wrongHeight({ wantedHeight }: Bisection, { signedHeader }: LightBlock): HeaderVerification {
  const { height } = signedHeader.header;
  const verdict = verdictOf([
    failed('source.height', 'source.height-mismatch', `${wantedHeight}`, `${height}`),
  ]);
  const none = { signedPower: 0n, totalPower: 0n, signerCount: 0, validatorCount: 0 };
  return { outcome: 'invalid', verdict, height, headerHash: headerHash(signedHeader.header), ...none };
}

/** Where light blocks come from, e.g. the RPC of a full node. May reject; its answers need not be true. */
export interface LightBlockSource {
  readonly lightBlock: (height: number) => Promise<LightBlock>;
}

export interface SyncResult {
  /** `gave-up`: more headers than `maxFetches` would have been needed. */
  readonly outcome: 'trusted' | 'invalid' | 'gave-up';
  /** The highest state that was verified, whatever the outcome. */
  readonly trusted: TrustedState;
  readonly trace: readonly LightBlock[];
  /** Every verification made, in order; the last one explains an `invalid`. */
  readonly verifications: readonly HeaderVerification[];
}

export interface SyncOptions extends TrustOptions {
  readonly maxFetches: number;
}

/** Follows the chain to `targetHeight`. A rejection of the source is passed on. */
export async function syncTo(
  crypto: CryptoProvider,
  source: LightBlockSource,
  trusted: TrustedState,
  targetHeight: number,
  options: SyncOptions,
  now: () => Timestamp,
): Promise<SyncResult> {
  const verifications: HeaderVerification[] = [];
  let bisection = startBisection(trusted, targetHeight);
  for (let fetches = 0; bisection.status === 'running' && fetches < options.maxFetches; fetches++) {
    const block = await source.lightBlock(bisection.wantedHeight);
    const time = now();
    const step = continueBisection(bisection, block, (from, to) =>
      verifyHeader(crypto, from, to, options, time),
    );
    verifications.push(...step.verifications);
    bisection = step.next;
  }
  const outcome = bisection.status === 'running' ? 'gave-up' : bisection.status;
  return { outcome, trusted: bisection.trusted, trace: bisection.trace, verifications };
}
