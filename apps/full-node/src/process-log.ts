/** Readable lines on standard error, dated; and the end of a process that can't go on. */
export function logLine(name: string): (line: string) => void {
  return (line) => {
    process.stderr.write(`${new Date().toISOString()} ${name} ${line}\n`);
  };
}

export function failWith(log: (line: string) => void): (error: unknown) => never {
  return (error) => {
    log(`stopped: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  };
}
