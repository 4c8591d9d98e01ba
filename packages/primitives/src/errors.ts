/**
 * Bytes or text from outside that are not what the format says. Whoever made the input is at fault; retrying the same
 * input cannot help.
 */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
  /** Stable machine-readable code, e.g. `cbor.trailing-bytes`. */
  readonly code: string;
  /** Where in the input, e.g. `receipt.usage.inputTokens`; empty at the top. */
  readonly path: string;
  readonly expected: string;
  readonly got: string;

  constructor(code: string, path: string, expected: string, got: string) {
    super(`${code}${path === '' ? '' : ` at ${path}`}: expected ${expected}, got ${got}`);
    this.code = code;
    this.path = path;
    this.expected = expected;
    this.got = got;
  }
}

/** A caller of this code broke its contract (a programmer mistake): fix the caller. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
