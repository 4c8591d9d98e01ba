/** A thread that verifies proofs, one message after the other. What it can't answer ends it: its pool takes that for no verdict. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ProofCheck } from './proof-checks.ts';

interface Verifying {
  readonly verifyProofCheck: (check: ProofCheck) => boolean;
}

const { module } = workerData as { readonly module: string };
const { verifyProofCheck } = (await import(module)) as Verifying;
parentPort?.on('message', (check: ProofCheck) => parentPort?.postMessage(verifyProofCheck(check)));
