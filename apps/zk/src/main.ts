/**
 * `node apps/zk/src/main.ts JSON`: imports a model or makes a proof, as a process of its own, for `haca zk`. Prints events,
 * one JSON object a line; the exit code is 0, 1 or 2 as the last event says, 130 where it was asked to stop.
 */
import { KeyError } from '@haca/circuit';
import { unsupportedOperators } from '@haca/compiler';
import { untilAskedToStop } from '@haca/platform';
import { MalformedError } from '@haca/primitives';
import { readFile } from './files.ts';
import { importModel } from './import-model.ts';
import { proveModel } from './prove-model.ts';
import type { ImportRequest, ProveRequest, ZkEvent } from './request.ts';

const PROGRESS_MS = 100;
/** Of models that were understood, and can't be proved. */
const REFUSALS: ReadonlySet<string> = new Set([
  'calibration.not-finite',
  'onnx.attribute',
  'onnx.batch',
  'onnx.data-dependent',
  'onnx.dynamic-axis',
  'onnx.element-type',
  'onnx.function',
  'onnx.input',
  'onnx.opset',
  'onnx.sparse',
]);

const [text] = process.argv.slice(2);
if (text === undefined) {
  process.stderr.write('Usage: node apps/zk/src/main.ts JSON (haca zk import and haca zk prove start it)\n');
  process.exit(2);
}
const request = JSON.parse(text) as ImportRequest | ProveRequest;
const stop = new AbortController();
void untilAskedToStop().then((reason) => stop.abort(new Error(reason)));

const end = await run();
process.stdout.write(`${JSON.stringify(end.event)}\n`, () => process.exit(end.exitCode));

async function run(): Promise<{ readonly event: ZkEvent; readonly exitCode: number }> {
  try {
    const result =
      request.kind === 'import'
        ? await importModel(request, createReport(), stop.signal)
        : await proveModel(request, createReport(), stop.signal);
    return { event: { event: 'result', result }, exitCode: 0 };
  } catch (error) {
    const event = errorEvent(error as Error);
    return { event, exitCode: stop.signal.aborted ? 130 : event.exitCode };
  }
}

/** The first and last of each phase, and not more than ten a second between. */
function createReport(): (phase: string, done: number, of: number) => void {
  let [current, toldAt] = ['', 0];
  return (phase, done, of) => {
    const now = performance.now();
    if (phase === current && done < of && now - toldAt < PROGRESS_MS) return;
    [current, toldAt] = [phase, now];
    process.stdout.write(`${JSON.stringify({ event: 'progress', phase, done, of } satisfies ZkEvent)}\n`);
  };
}

function errorEvent(error: Error): Extract<ZkEvent, { readonly event: 'error' }> {
  if (stop.signal.aborted) {
    const stopped = { name: 'Stopped', code: 'stopped', message: 'stopped; nothing was written' };
    return { event: 'error', exitCode: 1, error: stopped };
  }
  const { code } = error as { code?: unknown };
  const isSystem = typeof code === 'string' && /^E[A-Z]+$/.test(code);
  const isRead = error instanceof MalformedError || error instanceof KeyError || isSystem;
  return {
    event: 'error',
    exitCode: isRead && !isRefusal(String(code)) ? 2 : 1,
    error: {
      name: error.name,
      code: typeof code === 'string' ? code : 'internal',
      message: isRead ? error.message : (error.stack ?? error.message),
      ...(error instanceof MalformedError ? { place: error.path } : {}),
      ...(code === 'onnx.unsupported-op' ? { unsupported: operatorsOf(request.model) } : {}),
    },
  };
}

/** The file is a model, and was understood: it can't be proved. Everything else is unreadable input. */
function isRefusal(code: string): boolean {
  return code.startsWith('model.') || code.startsWith('onnx.unsupported') || REFUSALS.has(code);
}

function operatorsOf(path: string): ReturnType<typeof unsupportedOperators> {
  try {
    return unsupportedOperators(readFile(path, Number.MAX_SAFE_INTEGER, 'model.too-large'));
  } catch {
    return [];
  }
}
