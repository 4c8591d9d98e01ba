/** What is said to an operator whose key the chain did not open. */
import type { EvidenceKind } from '@haca/protocol';
import { TransactionRefusedError } from './operator.ts';

const INTEL_COLLATERAL =
  "Intel's revocation lists of the root and of the PCK CA, TCB information of the FMSPC, identity of the TD quoting enclave";
/** What the chain must have of a vendor for each kind of evidence, all of it. */
const COLLATERAL: Partial<Record<EvidenceKind, string>> = {
  tdx: INTEL_COLLATERAL,
  dstack: INTEL_COLLATERAL,
  snp: "AMD's revocation list of the product line",
};

/** What an operator can do where a key was not opened; undefined where nothing more can be said than was. */
export function registrationAdvice(error: unknown, kind: EvidenceKind | null): string | undefined {
  if (!(error instanceof TransactionRefusedError)) return undefined;
  const { code, message } = error;
  const needed = kind === null ? undefined : COLLATERAL[kind];
  if (
    code === 'E_EVIDENCE' &&
    needed !== undefined &&
    /to judge by|revocation list|\.window:/.test(message)
  ) {
    return (
      `the chain lacks what is named there, or has it too old. It takes ${needed}. ` +
      'Anybody can post it: haca collateral post FILE-OR-FOLDER'
    );
  }
  if (code === 'E_MEASUREMENT')
    return 'what this machine measures is not approved on this chain, or not any more: run a release that is';
  if (code === 'E_HARDWARE')
    return 'a chip serves one operator, a GPU one node, and none that was revoked: its keys elsewhere have to drain first';
  return undefined;
}
