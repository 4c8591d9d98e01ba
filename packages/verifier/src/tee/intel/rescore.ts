import { MalformedError } from '@haca/primitives';
import { type Verdict, verdictOf } from '@haca/protocol';
import { openCheckRun } from '../check-run.ts';
import { assertTrust, type RootedTrust } from '../trust.ts';
import { JUDGE_CHECKS, JUDGE_TDX_CHECKS, judgePlatform } from './judge.ts';
import { decodePlatformFacts, type PlatformFacts } from './platform-facts.ts';
import { type IntelTcbPolicy, tcbPolicyChecks } from './policy.ts';
import type { TeeKind } from './quote.ts';
import type { TcbClaims } from './tcb-level.ts';

export interface IntelRescoring {
  readonly verdict: Verdict;
  readonly collateralEndMs: number | null;
  readonly tcb: TcbClaims | null;
}

/**
 * Judges a platform again by the facts kept of its quote (`TeeClaims.facts`): root, revocation, QE identity, TCB level and TCB
 * policy, by the same code as the appraisal. Total: facts that are none, or not of `tee` where one is given, are a failed check.
 * At most 6 signatures.
 */
export function rescoreIntel(
  facts: Uint8Array,
  context: RootedTrust & { readonly policy: IntelTcbPolicy },
  tee: TeeKind | null = null,
): IntelRescoring {
  assertTrust(context);
  const opening = openCheckRun(['intel.facts']);
  const platform = opening.parse('intel.facts', () => factsFor(facts, tee));
  if (platform === null) return { verdict: verdictOf(opening.checks()), collateralEndMs: null, tcb: null };
  const run = openCheckRun<string>(rescoreIds(platform));
  const sha256 = context.crypto.sha256(platform.root.der);
  if (run.root(`${platform.tee}.chain.root`, 'intel.root-untrusted', sha256, context.roots) === null)
    return { verdict: verdictOf([...opening.checks(), ...run.checks()]), collateralEndMs: null, tcb: null };
  const { tcb, collateralEndMs } = judgePlatform(platform, context, run);
  const policyChecks = tcbPolicyChecks(platform.tee, tcb, context.policy);
  return {
    verdict: verdictOf([...opening.checks(), ...run.checks(), ...policyChecks]),
    collateralEndMs,
    tcb,
  };
}

function factsFor(facts: Uint8Array, tee: TeeKind | null): PlatformFacts {
  const platform = decodePlatformFacts(facts);
  if (tee !== null && platform.tee !== tee)
    throw new MalformedError('facts.tee', 'facts.tee', tee, platform.tee);
  return platform;
}

function rescoreIds({ tee }: PlatformFacts): readonly string[] {
  const names = ['chain.root', ...(tee === 'tdx' ? JUDGE_TDX_CHECKS : JUDGE_CHECKS)];
  return names.map((name) => `${tee}.${name}`);
}
