/** Apps of this repository as child processes: started with a config file, ready when they say so, stopped in order. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { STOP_WITH_PARENT } from './process-stop.ts';

/** A process did not start, or died; the message names it, and the log file that says why. */
export class AppProcessError extends Error {
  override readonly name = 'AppProcessError';
}

export interface AppProcess {
  readonly name: string;
  readonly pid: number;
  /** The JSON object it printed when it was ready; rejects with `AppProcessError` where it never was. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;
  /** Settles when the process is gone: with undefined if it was asked to go, else with what happened. */
  readonly exited: Promise<string | undefined>;
  /** Asks it to stop, insists after ten seconds; settles when it is gone. */
  readonly stop: () => Promise<void>;
  /** Ends it at once, like a power cut; settles when it is gone. */
  readonly kill: () => Promise<void>;
}

export interface AppProcessOptions {
  readonly name: string;
  /** The app's `main.ts`. */
  readonly entry: string;
  readonly configFile: string;
  /** Everything it logs is appended here. */
  readonly logFile: string;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

export function spawnApp({ name, entry, configFile, logFile }: AppProcessOptions): AppProcess {
  // A group of its own: Ctrl-C in the terminal stops this process, which then stops the others in their order. If this process
  // is killed, their standard input ends, and they stop by themselves.
  const child = spawn(process.execPath, [entry, configFile], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, [STOP_WITH_PARENT]: '1' },
  });
  const log = createWriteStream(logFile, { flags: 'a' });
  child.stderr.pipe(log);
  let isAsked = false;
  const exited = new Promise<string | undefined>((settle) => {
    child.once('exit', (code, signal) => {
      log.end();
      settle(
        isAsked ? undefined : `${name} ended with ${signal ?? `exit code ${code}`}; its log is ${logFile}`,
      );
    });
  });
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    isAsked = true;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };
  const ready = firstReadyLine(name, child, exited);
  // Whoever stops a process before it is ready does not wait for it to be.
  ready.catch(() => undefined);
  return {
    name,
    pid: child.pid ?? 0,
    ready,
    exited,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
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
      fail(new AppProcessError(`${name} was not ready after ${READY_TIMEOUT_MS / 1000} s`));
    }, READY_TIMEOUT_MS);
    void exited.then((reason) => {
      clearTimeout(timer);
      fail(new AppProcessError(reason ?? `${name} was stopped`));
    });
    if (child.stdout === null) throw new AppProcessError(`${name} has no output`);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const message = parseObject(line);
      if (message?.['ready'] !== true) return;
      clearTimeout(timer);
      lines.close();
      child.stdout?.resume();
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
