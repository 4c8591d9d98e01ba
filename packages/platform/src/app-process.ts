/** Child processes: apps of this repository, ready when they say so, and other programs; all logged, all stopped in order. */
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { closeSync, createWriteStream, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { STOP_WITH_PARENT } from './process-stop.ts';

/** A process did not start, or died; the message names it, and the log file that says why. */
export class AppProcessError extends Error {
  override readonly name = 'AppProcessError';
}

export interface ProgramProcess {
  readonly name: string;
  readonly pid: number;
  /** Settles when the process is gone: with undefined if it was asked to go, else with what happened. */
  readonly exited: Promise<string | undefined>;
  /** Asks it to stop, insists after ten seconds; settles when it is gone. */
  readonly stop: () => Promise<void>;
  /** Ends it at once, like a power cut; settles when it is gone. */
  readonly kill: () => Promise<void>;
}

export interface AppProcess extends ProgramProcess {
  /** The JSON object it printed when it was ready; rejects with `AppProcessError` where it never was. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;
}

export interface ProgramOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Everything it prints is appended here. */
  readonly logFile: string;
  /** Told each line it prints, without its end and cut at 65,536 characters. Only a line feed ends a line. */
  readonly onLine?: (line: string) => void;
}

export interface AppProcessOptions {
  readonly name: string;
  /** The app's `main.ts`. */
  readonly entry: string;
  readonly configFile: string;
  /** After the configuration file. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of Node itself. */
  readonly nodeFlags?: readonly string[];
  /** Everything it logs is appended here. */
  readonly logFile: string;
}

type AppChild = ChildProcessByStdio<Writable, Readable, null>;

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/** Any program; it is on its own where this process is killed. */
export function spawnProgram({ name, command, args, logFile, onLine }: ProgramOptions): ProgramProcess {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const log = createWriteStream(logFile, { flags: 'a' });
  for (const output of [child.stdout, child.stderr]) {
    output.pipe(log, { end: false });
    if (onLine !== undefined) tellLines(output, onLine);
  }
  // Not at its exit: what it printed last may still be in the pipes.
  child.once('close', () => log.end());
  return processOf(name, child, logFile);
}

const LINE_CHARACTERS_MAX = 65_536;

/** Node's `readline` ends lines at U+2028 too, which strangers can have a program write within one. */
function tellLines(output: Readable, onLine: (line: string) => void): void {
  const text = new TextDecoder();
  let rest = '';
  output.on('data', (bytes: Uint8Array) => {
    const lines = (rest + text.decode(bytes, { stream: true })).split('\n');
    rest = (lines.pop() ?? '').slice(0, LINE_CHARACTERS_MAX);
    for (const line of lines) onLine(line.slice(0, LINE_CHARACTERS_MAX));
  });
}

export function spawnApp(options: AppProcessOptions): AppProcess {
  const { name, entry, configFile, args = [], nodeFlags = [], logFile } = options;
  // A group of its own: Ctrl-C in the terminal stops this process, which then stops the others in their order. If this process
  // is killed, their standard input ends, and they stop by themselves.
  // It writes the file itself: what it logged is there before anything that follows from it, and outlives this process.
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [...nodeFlags, entry, configFile, ...args], {
    stdio: ['pipe', 'pipe', log],
    detached: true,
    env: { ...process.env, ...options.env, [STOP_WITH_PARENT]: '1' },
  }) as AppChild;
  closeSync(log);
  const running = processOf(name, child, logFile);
  const ready = firstReadyLine(name, child, running.exited);
  // Whoever stops a process before it is ready does not wait for it to be.
  ready.catch(() => undefined);
  return { ...running, ready };
}

function processOf(name: string, child: ChildProcess, logFile: string): ProgramProcess {
  let isAsked = false;
  const exited = new Promise<string | undefined>((settle) => {
    const gone = (how: string): void =>
      settle(isAsked ? undefined : `${name} ended with ${how}; its log is ${logFile}`);
    child.once('error', ({ message }) => gone(message));
    child.once('exit', (code, signal) => gone(signal ?? `exit code ${code}`));
  });
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    isAsked = true;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };
  return { name, pid: child.pid ?? 0, exited, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}

function firstReadyLine(
  name: string,
  child: AppChild,
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
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const message = parseObject(line);
      if (message?.['ready'] !== true) return;
      clearTimeout(timer);
      lines.close();
      child.stdout.resume();
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
