/** Entry of the thread that computes integer models: one pass at a time, so that none holds up the server's event loop. */
import { parentPort, workerData } from 'node:worker_threads';
import { UsageError } from '@haca/primitives';
import type { InferenceFailure, InferenceJob, InferenceResult, IntegerModelData } from './integer-engine.ts';
import { createIntegerModel } from './model.ts';
import { runModel } from './run-model.ts';

const port = parentPort;
if (port === null)
  throw new UsageError('integer-graph/worker.ts runs as a worker thread only: use openIntegerEngine');

const models = (workerData as readonly IntegerModelData[]).map((data) => createIntegerModel(data));

const send = (message: InferenceResult | InferenceFailure): void => port.postMessage(message);

port.on('message', ({ id, model, rows }: InferenceJob) => {
  const chosen = models[model];
  if (chosen === undefined) throw new UsageError(`no model ${model}`);
  try {
    send({ id, rows: runModel(chosen, rows, 1) });
  } catch (error) {
    send({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
