/** What proofs are computed with on this machine. */
import { UsageError } from '@haca/primitives';
import { type ProverBackend, referenceBackend, wasmBackend } from '@haca/prover';

/** Compiled kernels where they were built, and the reference without: slower, and the same proofs byte for byte. */
export async function openBackend(threads: number): Promise<ProverBackend> {
  try {
    const backend = wasmBackend({ threads });
    await backend.ready();
    return backend;
  } catch (error) {
    if (error instanceof UsageError) return referenceBackend();
    throw error;
  }
}
