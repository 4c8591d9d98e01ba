/** What a worker thread that verifies proofs has loaded: the proof system, and the platform's SHA-256. */
import '@haca/platform';
import { answerProofCheck, type ProofCheck } from './proof-checks.ts';
import { ZK_BACKEND } from './zk-backend.ts';

export function verifyProofCheck(check: ProofCheck): boolean {
  return answerProofCheck(ZK_BACKEND.system, check);
}
