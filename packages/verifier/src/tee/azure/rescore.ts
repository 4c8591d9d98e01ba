import { decode, type TypeOf } from '@haca/primitives';
import { failed, type Verdict, verdictOf } from '@haca/protocol';
import { openCheckRun } from '../check-run.ts';
import { rescoreIntel } from '../intel/rescore.ts';
import { rescoreSnp } from '../snp/rescore.ts';
import type { RootedTrust } from '../trust.ts';
import { azureFactsCodec } from './claims.ts';
import type { AzurePolicy } from './validate.ts';

/** Judges the hardware below an Azure VM again; nothing above it ages. Total for every byte string. */
export function rescoreAzure(
  facts: Uint8Array,
  context: RootedTrust & { readonly policy: Pick<AzurePolicy, 'tdx' | 'snp'> },
): { readonly verdict: Verdict; readonly collateralEndMs: number | null } {
  const { policy, ...trust } = context;
  const opening = openCheckRun(['azure.facts']);
  const known = opening.parse('azure.facts', () => decode(azureFactsCodec, facts, 'facts'));
  if (known === null) return { verdict: verdictOf(opening.checks()), collateralEndMs: null };
  const rescoring = rescoreInner(known, policy, trust);
  if (rescoring === null) {
    const refusal = failed('azure.hardware', 'azure.hardware', 'hardware with a policy', known.hardwareKind);
    return { verdict: verdictOf([...opening.checks(), refusal]), collateralEndMs: null };
  }
  const { verdict, collateralEndMs } = rescoring;
  return { verdict: verdictOf([...opening.checks(), ...verdict.checks]), collateralEndMs };
}

/** Null where the policy is silent about the hardware. */
function rescoreInner(
  { hardwareKind, facts }: TypeOf<typeof azureFactsCodec>,
  { tdx, snp }: Pick<AzurePolicy, 'tdx' | 'snp'>,
  trust: RootedTrust,
): ReturnType<typeof rescoreSnp> | null {
  if (hardwareKind === 'tdx')
    return tdx === undefined ? null : rescoreIntel(facts, { ...trust, policy: tdx });
  return snp === undefined ? null : rescoreSnp(facts, { ...trust, policy: snp });
}
