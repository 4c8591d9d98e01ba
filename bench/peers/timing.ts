/** Times one step by the clock and in CPU time of the process, threads included. */
export interface Timed<T> {
  readonly value: T;
  readonly ms: number;
  readonly cpuMs: number;
}

export async function timed<T>(step: () => T | Promise<T>): Promise<Timed<T>> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const value = await step();
  const ms = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { value, ms, cpuMs: (user + system) / 1_000 };
}

/** Runs `step` `count` times, one after the other. */
export async function repeated<T>(count: number, step: () => T | Promise<T>): Promise<readonly Timed<T>[]> {
  const runs: Timed<T>[] = [];
  for (let i = 0; i < count; i++) runs.push(await timed(step));
  return runs;
}

export function peakRssBytes(): number {
  return process.resourceUsage().maxRSS * 1_024;
}

export function progress(text: string): void {
  process.stderr.write(`  ${text}\n`);
}
