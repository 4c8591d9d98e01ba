import { type IntelRescoring, rescoreIntel } from '../intel/rescore.ts';
import type { RootedTrust } from '../trust.ts';
import type { DstackPolicy } from './validate.ts';

/** What is measured above a quote doesn't age; what the quote hangs on does. */
export function rescoreDstack(
  facts: Uint8Array,
  context: RootedTrust & {
    readonly policy: Pick<DstackPolicy, 'tcbStatuses' | 'minTcbEvaluationDataNumber'>;
  },
): IntelRescoring {
  return rescoreIntel(facts, context);
}
