import type { Verdict } from '@haca/protocol';

/** An answer, a record or a header did not pass its checks. What failed is in the verdict; the content was withheld. */
export class VerificationError extends Error {
  override readonly name = 'VerificationError';
  readonly verdict: Verdict;
  /** Receipt id of the answer, where there is one. */
  readonly answerId: string | null;

  constructor(what: string, verdict: Verdict, answerId: string | null = null) {
    super(`${what}: ${firstProblem(verdict)}`);
    this.verdict = verdict;
    this.answerId = answerId;
  }
}

function firstProblem({ checks }: Verdict): string {
  const problem =
    checks.find(({ status }) => status === 'failed') ?? checks.find(({ status }) => status === 'skipped');
  if (problem === undefined) return 'nothing was checked';
  const { id, status, code, expected, got, reason } = problem;
  const why = reason ?? `expected ${expected}, got ${got}`;
  return `${id} ${status} (${code}): ${why}`;
}

/** Paying is not possible: no wallet, not enough money, or the price is above what the policy allows. */
export class PaymentError extends Error {
  override readonly name = 'PaymentError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A transaction was refused or applied without success. `code` is a protocol error code. */
export class TransactionError extends Error {
  override readonly name = 'TransactionError';
  readonly code: string;

  constructor(code: string, message: string) {
    // The chain's log begins with the code already.
    super(message.startsWith(`${code}: `) ? message : `${code}: ${message}`);
    this.code = code;
  }
}

/** Codes by which this client says what became of a connection; in the answer of a node they mean nothing. */
export const CONNECTION_CODES: ReadonlySet<string> = new Set(['E_UNREACHABLE', 'E_INTERRUPTED', 'E_ABORTED']);

/**
 * A node did not answer, or answered something that is not its API. `code` is the node's own, or one of this client's:
 * `E_UNREACHABLE` (no answer came) and `E_INTERRUPTED` (the connection broke in the middle of one). With these two the outcome
 * is open: the same request, sent again by the same client within ten minutes, is still one request, charged at most once. After
 * `E_ABORTED` it is not: the connection broke, and the node stopped there and signed what it had done.
 */
export class NodeError extends Error {
  override readonly name = 'NodeError';
  readonly code: string;
  readonly status: number | null;
  /** Receipt id of the answer that broke off, by the node's word; null where there is none. */
  readonly answerId: string | null;

  constructor(
    code: string,
    message: string,
    status: number | null = null,
    options: ErrorOptions & { readonly answerId?: string | null } = {},
  ) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.answerId = options.answerId ?? null;
  }
}

/**
 * An inference that was to be proved was not, in the time the chain gives for it. The node is never paid for it and loses part
 * of its bond; what the request would have cost stays in the payer's channel.
 */
export class UnprovedError extends Error {
  override readonly name = 'UnprovedError';
  /** Base units of the fee asset that are not charged. */
  readonly refund: bigint;
  readonly asset: number;
  readonly answerId: string;

  constructor(message: string, refund: bigint, asset: number, answerId: string) {
    super(message);
    this.refund = refund;
    this.asset = asset;
    this.answerId = answerId;
  }
}

/** The time the caller gave ran out; what was waited for may still happen. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}
