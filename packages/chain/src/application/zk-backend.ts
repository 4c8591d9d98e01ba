/** The proof system of this software, as the application takes it. */
import { refuseAllProofs, type ZkProofSystem } from '../state-machine/index.ts';

export interface ZkBackend {
  /** Answers on this thread. */
  readonly system: ZkProofSystem;
  /** Module for worker threads: exports `verifyProofCheck`, which answers as `system` does. */
  readonly module: URL;
}

export const ZK_BACKEND: ZkBackend = {
  system: refuseAllProofs,
  module: new URL('./zk-worker-module.ts', import.meta.url),
};
