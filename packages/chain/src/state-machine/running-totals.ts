/** Sums per fee asset, ascending by asset; an asset that is absent has zero. */
import type { Credit, RunningTotals } from '@haca/protocol';
import { credit } from '@haca/protocol';

export function totalOf(totals: RunningTotals, asset: number): bigint {
  return totals.find(([id]) => id === asset)?.[1] ?? 0n;
}

/** `totals` with the entries of `update` in their place, ascending by asset. */
export function withTotals(totals: RunningTotals, update: RunningTotals): RunningTotals {
  const kept = totals.filter(([asset]) => update.every(([other]) => other !== asset));
  const merged: (readonly [number, Credit])[] = [...kept, ...update];
  return merged.sort(([a], [b]) => a - b);
}

/** What `after` has more than `before`, asset by asset; `after` is nowhere below it. */
export function totalsBetween(before: RunningTotals, after: RunningTotals): RunningTotals {
  return after.flatMap(([asset, total]): RunningTotals => {
    const more = total - totalOf(before, asset);
    return more === 0n ? [] : [[asset, credit(more)]];
  });
}

export function totalsSum(a: RunningTotals, b: RunningTotals): RunningTotals {
  return withTotals(
    a,
    b.map(([asset, amount]) => [asset, credit(totalOf(a, asset) + amount)] as const),
  );
}
