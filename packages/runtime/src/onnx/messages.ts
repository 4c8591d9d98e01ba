import type { ChatMessage, EngineErrorCode } from '../engine.ts';
import type { ModelDescription } from './model-files.ts';

/** What the two threads of the ONNX engine say to each other. */

/** A validated request, without anything the model does not read. */
export interface ChatJob {
  readonly messages: readonly ChatMessage[];
  readonly maxOutputTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: bigint;
  readonly stop: readonly string[];
}

export interface WorkerStart {
  readonly description: ModelDescription;
  readonly modelBytes: Uint8Array<ArrayBuffer>;
  readonly tokenizerJson: unknown;
  readonly threads: number;
  readonly maxConcurrent: number;
}

export type ToWorker =
  | { readonly type: 'chat'; readonly id: number; readonly job: ChatJob }
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'close' };

/** An `EngineError` as plain data. */
export interface ErrorData {
  readonly code: EngineErrorCode;
  readonly status: number;
  readonly message: string;
  readonly param: string | null;
  readonly detailCode: string | null;
}

export type FromWorker =
  | { readonly type: 'ready'; readonly runtimeVersion: string }
  | { readonly type: 'unusable'; readonly error: ErrorData }
  | { readonly type: 'delta'; readonly id: number; readonly text: string; readonly tokens: number }
  | {
      readonly type: 'end';
      readonly id: number;
      readonly finishReason: 'stop' | 'length' | 'abort';
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly droppedMessages: number;
    }
  | { readonly type: 'failed'; readonly id: number; readonly error: ErrorData };
