/** Importing and proving happen in a program of their own, which this one starts, listens to and stops. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { STOP_WITH_PARENT } from '@haca/platform';
import { type Call, CommandLineError } from './command.ts';
import { createProgressLine } from './progress-line.ts';
import { printable } from './report.ts';

const ENTRY = 'apps/zk/src/main.ts';
const ROOT = resolve(import.meta.dirname, '../../..');
const EXIT_STOPPED = 130;

interface ZkFailure {
  readonly message: string;
  readonly unsupported?: readonly { readonly operator: string; readonly places: readonly string[] }[];
}

/** Runs one request to its end; prints what went wrong, or has `print` show the result. Returns the exit code. */
export async function runZkProgram(
  call: Call,
  request: object,
  print: (result: Readonly<Record<string, unknown>>) => void,
): Promise<number> {
  const path = resolve(ROOT, ENTRY);
  if (!existsSync(path)) throw new CommandLineError(`${ENTRY} is not part of this checkout`);
  const progress = createProgressLine(call.err);
  const child = spawn(process.execPath, [path, JSON.stringify(request)], {
    // In a group of its own: a Ctrl-C comes from here, once. It ends when its standard input does.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, [STOP_WITH_PARENT]: '1' },
  });
  let isAsked = false;
  const stop = (): void => {
    child.kill(isAsked ? 'SIGKILL' : 'SIGTERM');
    isAsked = true;
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  let last: ZkLine = {};
  onLines(child.stdout, (line) => {
    last = JSON.parse(line) as ZkLine;
    if (last.event === 'progress') progress.show(last.phase ?? '', (last.done ?? 0) / (last.of ?? 1));
  });
  const code = await new Promise<number>((settle, fail) => {
    child.once('error', fail);
    child.once('close', (status, signal) => settle(status ?? (signal === null ? 1 : EXIT_STOPPED)));
  });
  process.off('SIGINT', stop).off('SIGTERM', stop);
  progress.end();
  if (last.event === 'result' && code === 0) {
    if (call.json) call.out(JSON.stringify(last.result, null, 2));
    else print(last.result ?? {});
  } else {
    const stopped = 'stopped; nothing was written';
    printFailure(call, last.error ?? { message: isAsked ? stopped : `the program ended with ${code}` });
  }
  return code;
}

interface ZkLine {
  readonly event?: string;
  readonly phase?: string;
  readonly done?: number;
  readonly of?: number;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: ZkFailure;
}

function onLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  const decoder = new TextDecoder();
  let rest = '';
  stream.on('data', (bytes: Uint8Array) => {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

const PLACES_SHOWN = 3;

function printFailure(call: Call, error: ZkFailure): void {
  if (call.json) {
    call.out(JSON.stringify({ ok: false, error }, null, 2));
    return;
  }
  call.err(`haca: ${error.message.split('\n').map(printable).join('\n')}`);
  for (const { operator, places } of error.unsupported ?? []) {
    const more = places.length > PLACES_SHOWN ? `, and ${places.length - PLACES_SHOWN} more` : '';
    call.err(printable(`  not supported: ${operator} at ${places.slice(0, PLACES_SHOWN).join(', ')}${more}`));
  }
}
