import { type IntelRescoring, rescoreIntel } from '../intel/rescore.ts';
import type { DstackPolicy } from './validate.ts';
import type { DstackTrust } from './verify.ts';

/** What is measured above a quote doesn't age; what the quote hangs on does. */
export function rescoreDstack(
  facts: Uint8Array,
  context: DstackTrust & {
    readonly policy: Pick<DstackPolicy, 'tcbStatuses' | 'minTcbEvaluationDataNumber'>;
  },
): IntelRescoring {
  return rescoreIntel(facts, context);
}
