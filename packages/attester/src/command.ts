/** Runs a program that speaks over its standard input and output: bounded in time and in bytes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { concatBytes } from '@haca/primitives';
import { AttesterError, messageOf, systemCode } from './attester.ts';

export interface Command {
  /** Program and arguments. No shell looks at them. */
  readonly argv: readonly [string, ...string[]];
  readonly stdin: Uint8Array;
  readonly timeoutMs: number;
  readonly outputMaxBytes: number;
  /** What it is for and how to get it, for the error where it is not there. */
  readonly purpose: string;
}

/** As much of what it said on standard error as goes into the message of an error. */
const COMPLAINT_MAX_BYTES = 2_048;

/** Its standard output, once it ended with status 0. Throws `AttesterError`. */
export async function runCommand(command: Command): Promise<Uint8Array> {
  const { argv, stdin, timeoutMs, outputMaxBytes, purpose } = command;
  const [program, ...args] = argv;
  // A group of its own: what it starts ends with it.
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let failure: AttesterError | undefined;
  const stop = (code: 'attester.unavailable' | 'attester.malformed', why: string): void => {
    failure ??= new AttesterError(code, `${program} ${why}`);
    killGroup(child.pid);
    // Whoever left the group and holds the pipes is not waited for.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const timer = setTimeout(() => stop('attester.unavailable', `took longer than ${timeoutMs} ms`), timeoutMs);
  const output = collect(child.stdout, outputMaxBytes, () =>
    stop('attester.malformed', `wrote more than ${outputMaxBytes} bytes`),
  );
  const complaint = collect(child.stderr, COMPLAINT_MAX_BYTES, () => undefined);
  // A program that ends without reading its input is judged by its status.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  try {
    const [status, signal] = await closed;
    if (failure !== undefined) throw failure;
    if (status === 0) return output();
    const said = Buffer.from(complaint()).toString('utf8').trim();
    const how = status === null ? `was ended by ${signal}` : `ended with status ${status}`;
    throw new AttesterError('attester.refused', `${program} ${how}${said === '' ? '' : `: ${said}`}`);
  } catch (error) {
    if (error instanceof AttesterError) throw error;
    throw startError(program, purpose, error);
  } finally {
    clearTimeout(timer);
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

function startError(program: string, purpose: string, error: unknown): AttesterError {
  const code = systemCode(error);
  if (code === 'ENOENT')
    return new AttesterError('attester.missing', `there is no program ${program}: ${purpose}`, error);
  if (code === 'EACCES')
    return new AttesterError('attester.denied', `${program} may not be run: make it executable`, error);
  return new AttesterError('attester.refused', `${program} did not start: ${messageOf(error)}`, error);
}

/** Keeps at most so many bytes of a stream; `onExcess` once there are more. */
function collect(
  stream: NodeJS.ReadableStream,
  maxBytes: number,
  onExcess: () => void,
): () => Uint8Array<ArrayBufferLike> {
  const chunks: Uint8Array[] = [];
  let left = maxBytes;
  stream.on('data', (chunk: Uint8Array) => {
    if (chunk.length > left) onExcess();
    const kept = chunk.subarray(0, left);
    left -= kept.length;
    if (kept.length > 0) chunks.push(kept);
  });
  return () => concatBytes(...chunks);
}
