/** What a worker thread that verifies proofs has loaded: the proof system, and the platform's SHA-256. */
import '@haca/platform';
import { answerProofCheck, type ProofCheck } from './proof-checks.ts';
import { createZkProofSystem } from './zk-backend.ts';

const system = createZkProofSystem('end');

export function verifyProofCheck(check: ProofCheck): boolean {
  return answerProofCheck(system, check);
}
