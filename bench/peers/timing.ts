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

/** Both times of each run, under the names `proveMs` and `proveCpuMs` for `prove`. */
export function timesOf(
  name: string,
  runs: readonly Timed<unknown>[],
): Readonly<Record<string, readonly number[]>> {
  return { [`${name}Ms`]: runs.map(({ ms }) => ms), [`${name}CpuMs`]: runs.map(({ cpuMs }) => cpuMs) };
}

export function peakRssBytes(): number {
  return process.resourceUsage().maxRSS * 1_024;
}

export function progress(text: string): void {
  process.stderr.write(`  ${text}\n`);
}
