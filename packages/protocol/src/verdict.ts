/**
 * The outcome of verifying anything. The same algebra in full node, SDK, command line, browser and explorer: each check
 * says what it expected and what it got, and a check that was not run is `skipped`, never passed.
 */
export type CheckStatus = 'passed' | 'failed' | 'skipped' | 'not-applicable';

export interface Check {
  /** Stable dotted name, e.g. `nitro.chain.signature`. */
  readonly id: string;
  readonly status: CheckStatus;
  /** Why it failed or was skipped, stable and machine-readable. */
  readonly code?: string;
  readonly expected?: string;
  readonly got?: string;
  /** For people, where code and values don't say it all. */
  readonly reason?: string;
}

export interface Verdict {
  /** True iff at least one check passed and every check passed or is not applicable. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

export function passed(id: string, got?: string): Check {
  return got === undefined ? { id, status: 'passed' } : { id, status: 'passed', got };
}

export function failed(id: string, code: string, expected: string, got: string): Check {
  return { id, status: 'failed', code, expected, got };
}

export function skipped(id: string, code: string, reason: string): Check {
  return { id, status: 'skipped', code, reason };
}

export function notApplicable(id: string, reason: string): Check {
  return { id, status: 'not-applicable', reason };
}

/** Passed iff `holds`; the same expected and got are reported either way. */
export function check(id: string, code: string, holds: boolean, expected: string, got: string): Check {
  return holds ? { id, status: 'passed', expected, got } : failed(id, code, expected, got);
}

export function verdictOf(checks: readonly Check[]): Verdict {
  const ok =
    checks.some(({ status }) => status === 'passed') &&
    checks.every(({ status }) => status === 'passed' || status === 'not-applicable');
  return { ok, checks };
}

/** Joins verdicts of parts; `prefix` keeps their check ids apart. */
export function joinVerdicts(parts: readonly (readonly [prefix: string, Verdict])[]): Verdict {
  return verdictOf(
    parts.flatMap(([prefix, verdict]) =>
      verdict.checks.map((each) => (prefix === '' ? each : { ...each, id: `${prefix}.${each.id}` })),
    ),
  );
}

/** Exit code of every command that verifies: 0 all passed, 1 a check failed, 3 nothing failed but something was skipped. */
export function verdictExitCode(verdict: Verdict): 0 | 1 | 3 {
  if (verdict.ok) return 0;
  return verdict.checks.some(({ status }) => status === 'failed') || verdict.checks.length === 0 ? 1 : 3;
}
