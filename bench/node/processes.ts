/** The processes of a measurement: started with a channel for questions about their own CPU time, stopped for sure. */
import { type ChildProcess, fork } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ProcessUsage } from './report-usage.ts';

export interface MeasuredProcess {
  readonly name: string;
  /** What it printed on stdout when it was ready, parsed. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly usage: () => Promise<ProcessUsage>;
  /** Sends a message and waits for the next answer. One at a time. */
  readonly ask: (message: unknown) => Promise<unknown>;
  readonly stop: () => Promise<void>;
}

export interface ProcessOptions {
  readonly name: string;
  readonly entry: string;
  readonly args?: readonly string[];
  /** Where stderr goes, and stdout after the ready line. */
  readonly logFile: string;
  /** Further modules to preload. */
  readonly preload?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Which line of stdout says that it is ready; by default a JSON object with `ready: true`. */
  readonly isReady?: (line: string) => Readonly<Record<string, unknown>> | undefined;
}

const READY_TIMEOUT_MS = 30_000;
const LOG_LINES = 8;
const STOP_TIMEOUT_MS = 3_000;

export async function startProcess(options: ProcessOptions): Promise<MeasuredProcess> {
  const preload = [join(import.meta.dirname, 'report-usage.ts'), ...(options.preload ?? [])];
  const child = fork(options.entry, options.args ?? [], {
    execArgv: preload.flatMap((file) => ['--import', `file://${file}`]),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced',
    env: { ...process.env, NODE_ENV: 'production', ...options.env },
  });
  const log = createWriteStream(options.logFile);
  child.stderr?.pipe(log, { end: false });
  const exited = new Promise<string>((settle) => {
    child.once('close', (code, signal) => {
      const said = readFileSync(options.logFile, 'utf8').trim().split('\n').slice(-LOG_LINES).join('\n');
      settle(`${options.name} ended with ${signal ?? `code ${code}`}:\n${said}`);
    });
  });
  const ready = await readyLine(child, exited, options);
  child.stdout?.pipe(log, { end: false });
  const ask = (message: unknown): Promise<unknown> =>
    new Promise((settle, fail) => {
      child.once('message', settle);
      void exited.then((reason) => fail(new Error(reason)));
      child.send(message as string);
    });
  return {
    name: options.name,
    ready,
    ask,
    usage: async () => (await ask('usage')) as ProcessUsage,
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function readyLine(
  child: ChildProcess,
  exited: Promise<string>,
  { name, isReady = readyObject }: ProcessOptions,
): Promise<Readonly<Record<string, unknown>>> {
  return new Promise((settle, fail) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(new Error(`${name} was not ready after ${READY_TIMEOUT_MS / 1000} s`));
    }, READY_TIMEOUT_MS);
    void exited.then((reason) => {
      clearTimeout(timer);
      fail(new Error(reason));
    });
    if (child.stdout === null) throw new Error(`${name} has no output`);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const ready = isReady(line);
      if (ready === undefined) return;
      clearTimeout(timer);
      lines.close();
      settle(ready);
    });
  });
}

function readyObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = JSON.parse(line) as Readonly<Record<string, unknown>> | null;
    return value?.['ready'] === true ? value : undefined;
  } catch {
    return undefined;
  }
}
