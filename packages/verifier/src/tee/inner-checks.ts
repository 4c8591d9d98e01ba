/** Checks of evidence inside other evidence, which keep their own ids. */
import { type Check, skipped } from '@haca/protocol';

export function notReached(ids: readonly string[]): readonly Check[] {
  return ids.map((id) => skipped(id, 'not-reached', 'an earlier check failed'));
}

/** The checks but for those that the outer evidence makes in its own way. */
export function checksWithout(checks: readonly Check[], ids: readonly string[]): readonly Check[] {
  return checks.filter(({ id }) => !ids.includes(id));
}
