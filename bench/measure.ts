/** How figures are taken. A figure is worth something only beside an anchor measured in the same run. */

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What is measured beside it, and what this figure does not cover. */
  readonly note?: string;
}

export interface Report {
  readonly area: string;
  readonly figures: readonly Figure[];
  /** Target of the design and how far away this run was. */
  readonly targets: readonly {
    readonly what: string;
    readonly target: string;
    readonly got: string;
    readonly met: boolean;
  }[];
  readonly covers: string;
}

const WARM_UP_MS = 300;

/** Runs `operation` in rounds of about `roundMs`, best of `rounds`; operations per second of one thread. */
export function operationsPerSecond(operation: () => void, rounds = 5, roundMs = 400): number {
  runFor(operation, WARM_UP_MS);
  let best = 0;
  for (let i = 0; i < rounds; i++) best = Math.max(best, runFor(operation, roundMs));
  return best;
}

function runFor(operation: () => void, durationMs: number): number {
  let count = 0;
  const startedAt = performance.now();
  let now = startedAt;
  while (now - startedAt < durationMs) {
    for (let i = 0; i < 16; i++) operation();
    count += 16;
    now = performance.now();
  }
  return (count * 1000) / (now - startedAt);
}

/** The value below which a share of the sorted samples lies. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export function round(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}

export function formatReport(report: Report): string {
  const width = Math.max(...report.figures.map(({ name }) => name.length));
  const lines = report.figures.map(
    ({ name, value, unit, note }) =>
      `  ${name.padEnd(width)}  ${round(value, 4).toLocaleString('en').padStart(12)} ${unit}${note === undefined ? '' : `   (${note})`}`,
  );
  const targets = report.targets.map(
    ({ what, target, got, met }) => `  ${met ? 'reached ' : 'not yet '} ${what}: ${got} (target ${target})`,
  );
  return [`${report.area}`, ...lines, '', ...targets, '', `  ${report.covers}`, ''].join('\n');
}
