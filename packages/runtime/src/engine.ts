import type { ErrorCode, ModelManifest, Usage } from '@haca/protocol';

/** One part of a message whose content is a list. Engines that read text take parts of type `text` only. */
export interface ChatContentPart {
  readonly type: string;
  readonly text?: string | undefined;
}

export interface ChatMessage {
  /** `system`, `developer`, `user`, `assistant`; pass-through engines take any. */
  readonly role: string;
  readonly content?: string | readonly ChatContentPart[] | null | undefined;
}

export interface ChatRequest {
  /** A name out of `Engine.models`. */
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  /** At least 1. No engine produces more tokens than this. */
  readonly maxOutputTokens: number;
  /** 0 (greedy) where absent. */
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  /** Taken modulo 2^64. Where absent and needed, the engine draws one and reports it in its `end` event. */
  readonly seed?: bigint | number | undefined;
  readonly stop?: readonly string[] | undefined;
  /** The request body as the client sent it, parsed: what pass-through engines forward. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export interface DeltaEvent {
  readonly type: 'delta';
  /** Text of the answer; never ends within a code point. Empty where the delta carries something else. */
  readonly text: string;
  /**
   * Output tokens since the delta before. Their sum never exceeds the usage of the `end` event by the embedded engine;
   * tokens without text of their own (a stop string, the rest of a code point) are in the usage alone.
   */
  readonly tokens: number;
  /** The delta object of an OpenAI-compatible server, untouched: tool calls, reasoning and all. */
  readonly delta?: Readonly<Record<string, unknown>>;
  readonly logprobs?: unknown;
}

export interface EndEvent {
  readonly type: 'end';
  /** As OpenAI names them (`stop`, `length`, `tool_calls`, ...), or `abort` if the signal stopped the answer. */
  readonly finishReason: string;
  /** All tokens that were computed, also of an aborted answer. */
  readonly usage: Usage;
  /** The engine was told no counts, and estimated them. */
  readonly usageEstimated?: boolean;
  readonly systemFingerprint?: string;
  /** The seed that was used, where tokens were drawn at random. */
  readonly seed?: bigint;
  /** Oldest messages that were left out, because the conversation is longer than the model's context. */
  readonly droppedMessages?: number;
}

export type EngineEvent = DeltaEvent | EndEvent;

export interface EngineModel {
  readonly name: string;
  readonly manifest: ModelManifest;
}

/** What all engines have. */
export interface EngineBase {
  /** 1 to 64 characters, for receipts. */
  readonly name: string;
  readonly version: string;
  /** The answers are somebody else's claim: they come from a service outside this host or TEE. */
  readonly proxied: boolean;
  readonly models: readonly EngineModel[];
  /** Resolves if a request would be served now, else throws the `EngineError` that says why not. */
  readonly ready: () => Promise<void>;
  /** Ends running answers with an error and frees everything. */
  readonly close: () => Promise<void>;
}

/** Something that answers chat requests. */
export interface Engine extends EngineBase {
  /**
   * Deltas, then exactly one `end`. Nothing runs before the first `next()`. Throws `EngineError`, after the deltas that came
   * before it. If `signal` aborts, the answer ends early with finish reason `abort`; leaving the loop stops the work as well.
   */
  readonly chat: (request: ChatRequest, signal: AbortSignal) => AsyncIterable<EngineEvent>;
}

export interface TensorRequest {
  /** A name out of `TensorEngine.models`. */
  readonly model: string;
  /** A row of each input tensor, in the order of the model's key: row-major, unpadded, little-endian. */
  readonly tensors: readonly Uint8Array[];
}

/** Something that answers requests of tensors, always with the same tensors for the same request. */
export interface TensorEngine extends EngineBase {
  /**
   * A row of each output tensor. Throws `EngineError`, and the reason of `signal` once that aborts: a request that waits is
   * dropped, one that runs is computed to its end for nobody.
   */
  readonly infer: (request: TensorRequest, signal: AbortSignal) => Promise<readonly Uint8Array[]>;
}

export type EngineErrorCode = Extract<
  ErrorCode,
  'E_REQUEST' | 'E_MODEL_UNKNOWN' | 'E_UNAVAILABLE' | 'E_ENGINE'
>;

export interface EngineErrorDetails {
  /** HTTP status that fits; by code 400, 404, 503, 502 unless given. */
  readonly status?: number | undefined;
  /** The field of the request that is at fault. */
  readonly param?: string | null | undefined;
  /** What the upstream server called the error, for example `context_length_exceeded`. */
  readonly detailCode?: string | null | undefined;
  readonly retryAfterMs?: number | null | undefined;
  readonly cause?: unknown;
}

const STATUS_OF: Readonly<Record<EngineErrorCode, number>> = {
  E_REQUEST: 400,
  E_MODEL_UNKNOWN: 404,
  E_UNAVAILABLE: 503,
  E_ENGINE: 502,
};

/**
 * An answer that failed. `E_REQUEST` and `E_MODEL_UNKNOWN`: the client's request is at fault and the same request fails again.
 * `E_UNAVAILABLE`: nothing was computed, try later. `E_ENGINE`: the engine or the server behind it failed; the operator has to look.
 */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: EngineErrorCode;
  readonly status: number;
  readonly param: string | null;
  readonly detailCode: string | null;
  readonly retryAfterMs: number | null;

  constructor(code: EngineErrorCode, message: string, details: EngineErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status ?? STATUS_OF[code];
    this.param = details.param ?? null;
    this.detailCode = details.detailCode ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
  }
}

const U32_MAX = 0xffffffff;

/** What every engine asks of a request. Throws `EngineError`. */
export function validateChatRequest(request: ChatRequest, models: readonly EngineModel[]): void {
  if (!models.some(({ name }) => name === request.model)) {
    const names = models.map(({ name }) => name).join(', ');
    throw new EngineError(
      'E_MODEL_UNKNOWN',
      `model '${request.model}' is not served here; served: ${names}`,
      {
        param: 'model',
      },
    );
  }
  if (request.messages.length === 0) {
    throw new EngineError('E_REQUEST', 'messages must hold at least one message', { param: 'messages' });
  }
  const { maxOutputTokens } = request;
  if (!Number.isSafeInteger(maxOutputTokens) || maxOutputTokens < 1 || maxOutputTokens > U32_MAX) {
    throw new EngineError('E_REQUEST', `the maximum of output tokens must be an integer from 1 on`, {
      param: 'max_completion_tokens',
    });
  }
  const choices = request.raw['n'];
  if (choices !== undefined && choices !== null && choices !== 1) {
    throw new EngineError('E_REQUEST', 'n must be 1: one request is one answer and one receipt', {
      param: 'n',
    });
  }
}
