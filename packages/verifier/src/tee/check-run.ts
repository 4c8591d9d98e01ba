/**
 * The checks of one appraisal, in a fixed order. A check that proves authenticity and fails ends the verification; one that
 * judges what is authentic (time, revocation, TCB level) is noted and the rest goes on, so that one look shows all that is wrong.
 */
import { MalformedError, toHex, UsageError } from '@haca/primitives';
import { type Check, check, failed, passed, skipped, type Verdict, verdictOf } from '@haca/protocol';
import type { ChainFault } from '../der/chain.ts';
import { findTrustRoot, type TrustRoot } from './trust-root.ts';

export interface CheckRun<Id extends string> {
  /** What was noted, in the order of `ids`; every id that was not reached is skipped with code `not-reached`. */
  readonly checks: () => readonly Check[];
  /** Notes a check; true unless it failed. Each id at most once. */
  readonly note: (result: Check) => boolean;
  /** Notes success. */
  readonly pass: (id: Id, got?: string) => true;
  /** Notes failure. */
  readonly fail: (id: Id, code: string, expected: string, got: string) => false;
  /** Notes a check that could not be made, e.g. for want of collateral. */
  readonly skip: (id: Id, code: string, reason: string) => false;
  /** Runs a parser as a check: the `MalformedError` it throws about its input is the failure. Null if it failed. */
  readonly parse: <T>(id: Id, parse: () => T) => T | null;
  /** Notes whether a root is among the trusted ones; null if not. */
  readonly root: (id: Id, code: string, sha256: Uint8Array, roots: readonly TrustRoot[]) => TrustRoot | null;
  /** Notes a property of a certificate chain; true if `fault` is null. */
  readonly chain: (id: Id, fault: ChainFault | null, chainLength: number) => boolean;
}

export function openCheckRun<const Id extends string>(ids: readonly Id[]): CheckRun<Id> {
  const noted = new Map<string, Check>();
  const note = (result: Check): boolean => {
    if (noted.has(result.id)) throw new UsageError(`${result.id} was noted before`);
    noted.set(result.id, result);
    return result.status !== 'failed';
  };
  const fail = (id: Id, code: string, expected: string, got: string): false => {
    note(failed(id, code, expected, got));
    return false;
  };
  const pass = (id: Id, got?: string): true => {
    note(passed(id, got));
    return true;
  };
  return {
    checks: () => {
      const known = ids.filter((id) => noted.has(id));
      if (known.length !== noted.size) throw new UsageError('a check was noted that is none of this run');
      return ids.map((id) => noted.get(id) ?? skipped(id, 'not-reached', 'an earlier check failed'));
    },
    note,
    pass,
    fail,
    skip: (id, code, reason) => {
      note(skipped(id, code, reason));
      return false;
    },
    parse: (id, parse) => {
      try {
        const value = parse();
        pass(id);
        return value;
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        const { code, path, expected, got } = error;
        note({ ...failed(id, code, expected, got), reason: `at ${path}` });
        return null;
      }
    },
    root: (id, code, sha256, roots) => {
      const root = findTrustRoot(roots, sha256) ?? null;
      const pins = roots.map((each) => toHex(each.sha256)).join(' | ');
      const expected = pins === '' ? 'a trusted root; none is given' : pins;
      note(check(id, code, root !== null, expected, toHex(sha256)));
      return root;
    },
    chain: (id, fault, chainLength) => {
      if (fault === null) return pass(id);
      const { code, position, expected, got } = fault;
      return note({
        ...failed(id, code, expected, got),
        reason: `certificate ${position} of ${chainLength - 1}`,
      });
    },
  };
}

/** What verifying a document gives: null claims unless every check that proves authenticity passed. */
export interface Verification<Claims> {
  /** Every check of the step, in order. */
  readonly checks: readonly Check[];
  readonly claims: Claims | null;
}

/** What validating claims against a policy gives. */
export interface Validation {
  readonly checks: readonly Check[];
  /** Name of the approved measurement that matched, where one was asked for. */
  readonly measurement: string | null;
}

export interface Appraisal<Claims> {
  /** Lists every check of verification and validation. */
  readonly verdict: Verdict;
  /** What the evidence says, wherever it is authentic, also where it is refused. Act on it only if `verdict.ok`. */
  readonly claims: Claims | null;
  readonly measurement: string | null;
}

/** Joins the two steps; `validateIds` are skipped where there is nothing authentic to validate. */
export function appraisalOf<Claims>(
  { checks, claims }: Verification<Claims>,
  validateIds: readonly string[],
  validate: (claims: Claims) => Validation,
): Appraisal<Claims> {
  if (claims === null) {
    const rest = validateIds.map((id) => skipped(id, 'not-reached', 'an earlier check failed'));
    return { verdict: verdictOf([...checks, ...rest]), claims: null, measurement: null };
  }
  const validation = validate(claims);
  const verdict = verdictOf([...checks, ...validation.checks]);
  return { verdict, claims, measurement: validation.measurement };
}
