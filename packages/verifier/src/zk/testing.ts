/** For tests alone (`@haca/verifier/zk-testing`): programs of one's own, and verifiers that lack a check. */
export { CHECKS, type CheckName } from './checks.ts';
export { type ExecuteOptions, executeVerifier } from './execute.ts';
export { relationAt } from './relation.ts';
