import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { STOP_WITH_PARENT } from '@haca/platform';

/** A part of the local network did not start or died; `name` says which, the log file says why. */
export class ChildFailedError extends Error {
  override readonly name = 'ChildFailedError';
}

export interface RunningChild {
  readonly name: string;
  readonly pid: number;
  /** The JSON object it printed when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Settles when the process is gone: with undefined if it was asked to stop, else with what happened. */
  readonly exited: Promise<string | undefined>;
  readonly stop: () => Promise<void>;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/**
 * Starts an app of this repository with its config file and waits for its `{"ready":true,...}` line. Everything it logs
 * goes to `logFile`.
 */
export async function startChild(
  name: string,
  entry: string,
  configFile: string,
  logFile: string,
): Promise<RunningChild> {
  // A group of its own: Ctrl-C in the terminal stops this process, which then stops the others in their order. If this process
  // is killed, their standard input ends, and they stop by themselves.
  const child = spawn(process.execPath, [entry, configFile], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, [STOP_WITH_PARENT]: '1' },
  });
  const log = createWriteStream(logFile, { flags: 'a' });
  child.stderr.pipe(log);
  let stopping = false;
  const exited = new Promise<string | undefined>((settle) => {
    child.once('exit', (code, signal) => {
      log.end();
      settle(
        stopping ? undefined : `${name} ended with ${signal ?? `exit code ${code}`}; its log is ${logFile}`,
      );
    });
  });
  const ready = await firstReadyLine(name, child, exited);
  child.stdout.resume();
  return {
    name,
    pid: child.pid ?? 0,
    ready,
    exited,
    stop: async () => {
      stopping = true;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function firstReadyLine(
  name: string,
  child: ChildProcess,
  exited: Promise<string | undefined>,
): Promise<Readonly<Record<string, unknown>>> {
  return new Promise((settle, fail) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(new ChildFailedError(`${name} was not ready after ${READY_TIMEOUT_MS / 1000} s`));
    }, READY_TIMEOUT_MS);
    void exited.then((reason) => {
      clearTimeout(timer);
      fail(new ChildFailedError(reason ?? `${name} was stopped`));
    });
    if (child.stdout === null) throw new ChildFailedError(`${name} has no output`);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const message = parseObject(line);
      if (message?.['ready'] !== true) return;
      clearTimeout(timer);
      lines.close();
      settle(message);
    });
  });
}

function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
