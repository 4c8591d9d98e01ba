/** For tests alone (`@haca/verifier/zk-testing`): programs of one's own, verifiers that lack a check, and their parts. */
export { CHECKS, type CheckName, createGate, Rejection } from './checks.ts';
export { type ExecuteOptions, executeVerifier } from './execute.ts';
