/** Entry of the thread that computes: the network runs here, so that a token never holds up the server's event loop. */
import { parentPort, workerData } from 'node:worker_threads';
import { UsageError } from '@haca/primitives';
import { EngineError } from '../engine.ts';
import { type LanguageModel, loadLanguageModel } from './language-model.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { createScheduler, errorData, type Scheduler } from './scheduler.ts';
import { parseTokenizer } from './tokenizer.ts';

const port = parentPort;
if (port === null)
  throw new UsageError('onnx/worker.ts runs as a worker thread only: use openOnnxChatEngine');

const send = (message: FromWorker): void => port.postMessage(message);

interface Started {
  readonly network: LanguageModel;
  readonly scheduler: Scheduler;
}

async function start(data: WorkerStart): Promise<Started> {
  const { description } = data;
  const tokenizer = parseTokenizer(data.tokenizerJson);
  if (tokenizer.vocabSize !== description.vocabSize) {
    throw new EngineError(
      'E_UNAVAILABLE',
      `tokenizer.json has ${tokenizer.vocabSize} tokens, manifest.json says ${description.vocabSize}`,
    );
  }
  const network = await loadLanguageModel(data.modelBytes, description, data.threads);
  const { contextTokens, stopToken } = description;
  const model = { network, tokenizer, contextTokens, stopToken };
  return { network, scheduler: createScheduler(model, data.maxConcurrent, send) };
}

try {
  const { network, scheduler } = await start(workerData as WorkerStart);
  port.on('message', (message: ToWorker) => {
    if (message.type === 'chat') scheduler.add(message.id, message.job);
    else if (message.type === 'cancel') scheduler.cancel(message.id);
    else {
      port.close();
      void network.release();
    }
  });
  send({ type: 'ready', runtimeVersion: network.runtimeVersion });
} catch (error) {
  // Whatever it is, the directory or the installation is at fault, and no request can be served.
  send({ type: 'unusable', error: { ...errorData(error), code: 'E_UNAVAILABLE', status: 503 } });
  port.close();
}
