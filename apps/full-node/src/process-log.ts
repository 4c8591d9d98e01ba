/** Readable lines on standard error, dated; and the end of a process that can't go on. */
import { MalformedError, UsageError } from '@haca/primitives';

export function logLine(name: string): (line: string) => void {
  return (line) => {
    process.stderr.write(`${new Date().toISOString()} ${name} ${line}\n`);
  };
}

/** 2 where the input is at fault, which a restart does not mend; 1 for everything else. */
export function exitCodeOf(error: unknown): number {
  const { code = '' } = error as { readonly code?: unknown };
  const isInput =
    error instanceof UsageError ||
    error instanceof MalformedError ||
    (typeof code === 'string' && (code === 'ENOENT' || code.startsWith('ERR_PARSE_ARGS')));
  return isInput ? 2 : 1;
}

export function failWith(log: (line: string) => void): (error: unknown) => never {
  return (error) => {
    log(`stopped: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(exitCodeOf(error));
  };
}
