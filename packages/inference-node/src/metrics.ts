/** Counters in Prometheus text format. */
export interface Metrics {
  readonly receipt: (outcome: string, outputTokens: number) => void;
  readonly refusal: (code: string) => void;
  readonly format: (gauges: Readonly<Record<string, number>>) => string;
}

export function openMetrics(): Metrics {
  const receipts = new Map<string, number>();
  const refusals = new Map<string, number>();
  let tokens = 0;
  const count = (map: Map<string, number>, key: string): void => {
    map.set(key, (map.get(key) ?? 0) + 1);
  };
  return {
    receipt: (outcome, outputTokens) => {
      count(receipts, outcome);
      tokens += outputTokens;
    },
    refusal: (code) => count(refusals, code),
    format: (gauges) =>
      [
        '# TYPE haca_receipts_total counter',
        ...[...receipts].map(([outcome, value]) => `haca_receipts_total{outcome="${outcome}"} ${value}`),
        '# TYPE haca_refusals_total counter',
        ...[...refusals].map(([code, value]) => `haca_refusals_total{code="${code}"} ${value}`),
        '# TYPE haca_output_tokens_total counter',
        `haca_output_tokens_total ${tokens}`,
        ...Object.entries(gauges).flatMap(([name, value]) => [
          `# TYPE haca_${name} gauge`,
          `haca_${name} ${value}`,
        ]),
        '',
      ].join('\n'),
  };
}
