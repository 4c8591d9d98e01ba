import { type Verdict, verdictOf } from '@haca/protocol';
import { type RevokedCertificate, revocationFault } from '../../der/chain.ts';
import { decodeChainFacts } from '../chain-facts.ts';
import { openCheckRun } from '../check-run.ts';

/** An NVIDIA device changes its worth by one thing: a certificate of its chain is taken back. */
export function rescoreNvidia(
  facts: Uint8Array,
  revoked: readonly RevokedCertificate[],
): { readonly verdict: Verdict; readonly collateralEndMs: null } {
  const run = openCheckRun(['nvidia.facts', 'nvidia.chain.revocation']);
  const chain = run.parse('nvidia.facts', () => decodeChainFacts(facts));
  if (chain !== null) run.chain('nvidia.chain.revocation', revocationFault(chain, revoked), chain.length);
  return { verdict: verdictOf(run.checks()), collateralEndMs: null };
}
