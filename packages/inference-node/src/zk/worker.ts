/** A thread that runs and proves one model. One job at a time; a job that is cancelled ends at its next checkpoint. */
import { parentPort, workerData } from 'node:worker_threads';
import { parseVerifyingKey, planRegistration, type TensorValues, type ZkStatement } from '@haca/circuit';
import { type CommittedWeights, commitWeights, prove, proveRegistration } from '@haca/prover';
import { assign, createIntegerModel, runModel } from '@haca/runtime';
import { openBackend } from './backend.ts';

export interface WorkerSetup {
  readonly verifyingKey: Uint8Array;
  readonly weights: readonly TensorValues[];
  readonly threads: number;
}

export type WorkerJob =
  | { readonly kind: 'run'; readonly inputs: readonly Uint8Array[] }
  | { readonly kind: 'prove'; readonly statement: ZkStatement }
  | { readonly kind: 'register' };

export type ToWorker = { readonly id: number } & (WorkerJob | { readonly kind: 'cancel' });

export type FromWorker =
  | { readonly id: number; readonly kind: 'done'; readonly result: readonly Uint8Array[] }
  | { readonly id: number; readonly kind: 'failed'; readonly name: string; readonly message: string }
  | { readonly id: number; readonly kind: 'progress'; readonly phase: string; readonly fraction: number };

const port = parentPort;
if (port === null) throw new Error('this module is a worker');
const { verifyingKey, weights, threads } = workerData as WorkerSetup;
const key = parseVerifyingKey(verifyingKey);
const model = createIntegerModel({ key, weights });
const running = new Map<number, AbortController>();
const post = (message: FromWorker): void => port.postMessage(message);

let proving: Promise<CommittedWeights> | undefined;
function committedWeights(): Promise<CommittedWeights> {
  proving ??= openBackend(threads)
    .then((backend) => commitWeights({ key, weights, backend }))
    .catch((error: unknown) => {
      proving = undefined;
      throw error;
    });
  return proving;
}

port.on('message', (message: ToWorker) => {
  if (message.kind === 'cancel') running.get(message.id)?.abort();
  else void work(message.id, message);
});

async function work(id: number, job: WorkerJob): Promise<void> {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    post({ id, kind: 'done', result: await resultOf(id, job, stop.signal) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
    post({ id, kind: 'failed', name, message });
  } finally {
    running.delete(id);
  }
}

async function resultOf(id: number, job: WorkerJob, signal: AbortSignal): Promise<readonly Uint8Array[]> {
  if (job.kind === 'run') return runModel(model, job.inputs, 1);
  const onProgress = ({ phase, fraction }: { readonly phase: string; readonly fraction: number }): void =>
    post({ id, kind: 'progress', phase, fraction });
  const committed = await committedWeights();
  const { backend } = committed;
  const options = { committed, backend, signal, onProgress };
  if (job.kind === 'prove') {
    return [await prove({ keyBytes: verifyingKey, model, statement: job.statement, ...options })];
  }
  const program = planRegistration(key);
  return [await proveRegistration({ program, key, assignment: assign(program, model, []), ...options })];
}
