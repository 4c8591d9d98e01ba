import type { ErrorCode } from '@haca/protocol';

/** Why an operation was not applied. A failed check is data: operations return it, nothing is thrown. */
export interface Refusal {
  readonly code: ErrorCode;
  /** For people: what was expected and what came. */
  readonly info: string;
}

export function refuse(code: ErrorCode, expected: string, got: string | number | bigint): Refusal {
  return { code, info: `expected ${expected}, got ${got}` };
}
