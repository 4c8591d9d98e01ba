/** What processes used, from the kernel's own accounting, and what CometBFT says of itself in its metrics. */
import { readFileSync } from 'node:fs';
import type { Validator } from './network.ts';

const TICKS_PER_SECOND = 100;

/** User and system time of a process since it began, ms; all its threads. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the program is in parentheses and may hold anything; what follows does not.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

export interface Memory {
  /** Memory of its own: heap, stacks, buffers. */
  readonly anonMb: number;
  /** Pages of files it has mapped, its program among them; the kernel takes them back where it needs them. */
  readonly fileMb: number;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) / 1024;
  return { anonMb: mb('RssAnon'), fileMb: mb('RssFile') };
}

export interface NetworkUsage {
  readonly cometBftMs: number;
  readonly applicationMs: number;
  readonly supervisorMs: number;
  /** Time CometBFT waited for each ABCI method on the consensus path, all validators together. */
  readonly methods: ReadonlyMap<string, { readonly seconds: number; readonly calls: number }>;
}

const METHOD =
  /^cometbft_abci_connection_method_timing_seconds_(sum|count)\{.*?method="([a-z_]+)".*\} (\S+)$/gm;

export async function usageOf(validators: readonly Validator[]): Promise<NetworkUsage> {
  const methods = new Map<string, { seconds: number; calls: number }>();
  for (const { metricsUrl } of validators) {
    if (metricsUrl === null) continue;
    const text = await (await fetch(metricsUrl)).text();
    for (const [, what, method = '', value] of text.matchAll(METHOD)) {
      const entry = methods.get(method) ?? { seconds: 0, calls: 0 };
      methods.set(method, entry);
      if (what === 'sum') entry.seconds += Number(value);
      else entry.calls += Number(value);
    }
  }
  const total = (of: (validator: Validator) => number | null): number =>
    validators.reduce((sum, validator) => {
      const pid = of(validator);
      return pid === null ? sum : sum + cpuMs(pid);
    }, 0);
  return {
    cometBftMs: total(({ pids }) => pids.cometBft),
    applicationMs: total(({ pids }) => pids.application),
    supervisorMs: total(({ pids }) => pids.supervisor),
    methods,
  };
}

export function usageBetween(before: NetworkUsage, after: NetworkUsage): NetworkUsage {
  return {
    cometBftMs: after.cometBftMs - before.cometBftMs,
    applicationMs: after.applicationMs - before.applicationMs,
    supervisorMs: after.supervisorMs - before.supervisorMs,
    methods: new Map(
      [...after.methods].map(([method, { seconds, calls }]) => {
        const earlier = before.methods.get(method) ?? { seconds: 0, calls: 0 };
        return [method, { seconds: seconds - earlier.seconds, calls: calls - earlier.calls }] as const;
      }),
    ),
  };
}
