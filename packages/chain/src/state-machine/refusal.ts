import type { ErrorCode } from '@haca/protocol';

/** Why an operation was not applied. A failed check is data: operations return it, nothing is thrown. */
export interface Refusal {
  readonly code: ErrorCode;
  /** For people: what was expected and what came. */
  readonly info: string;
  /** What the attempt costs all the same. Applied after everything else of the transaction was taken back. */
  readonly penalty?: Penalty;
}

/** N6: the node whose proof was verified and does not hold. */
export interface Penalty {
  readonly fault: 'invalid-proof';
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly claimId: Uint8Array;
}

export function refuse(code: ErrorCode, expected: string, got: string | number | bigint): Refusal {
  return { code, info: `expected ${expected}, got ${got}` };
}
