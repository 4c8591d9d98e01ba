/** One line on a terminal that says what is done now and for how much longer; elsewhere a line for each phase. */

const BAR = 20;
/** Sooner than this an estimate is a guess, and nobody waits for it. */
const ESTIMATE_AFTER_MS = 2_000;
const LEAST_FRACTION = 0.03;

export interface ProgressLine {
  /** `fraction` is of this phase, 0 to 1. */
  readonly show: (phase: string, fraction: number) => void;
  readonly end: () => void;
}

export function createProgressLine(line: (text: string) => void): ProgressLine {
  const terminal = process.stderr.isTTY === true ? process.stderr : undefined;
  let [current, startedAt] = ['', 0];
  return {
    show: (phase, fraction) => {
      const now = performance.now();
      if (phase !== current) {
        [current, startedAt] = [phase, now];
        if (terminal === undefined) line(`${phase} ...`);
      }
      terminal?.write(`\r${progressText(phase, fraction, now - startedAt)}\x1b[K`);
    },
    end: () => {
      if (current !== '') terminal?.write('\r\x1b[K');
    },
  };
}

export function progressText(phase: string, fraction: number, elapsedMs: number): string {
  const full = Math.round(BAR * Math.min(1, Math.max(0, fraction)));
  const bar = `${'='.repeat(full)}${' '.repeat(BAR - full)}`;
  const isKnown = elapsedMs >= ESTIMATE_AFTER_MS && fraction >= LEAST_FRACTION && fraction < 1;
  const left = isKnown ? `  ${duration((elapsedMs * (1 - fraction)) / fraction)} left` : '';
  return `${phase.padEnd(20)} [${bar}] ${`${Math.floor(100 * fraction)}`.padStart(3)}%${left}`;
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
