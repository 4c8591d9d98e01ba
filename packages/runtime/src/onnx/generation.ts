import { EngineError } from '../engine.ts';
import type { KeyValueCache, LanguageModel } from './language-model.ts';
import type { ChatJob } from './messages.ts';
import { renderPrompt, specialId } from './prompt.ts';
import { createSampler } from './sampler.ts';
import { createTextStream } from './text-stream.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Prompt tokens fed in one step. Fixed, so that the arithmetic of an answer does not depend on what else is running; small,
 * so that a long prompt does not hold up the other answers.
 */
export const PROMPT_CHUNK_TOKENS = 64;

export interface Progress {
  readonly text: string;
  /** Tokens since the last progress with text. */
  readonly tokens: number;
  readonly finishReason: 'stop' | 'length' | null;
}

/** One answer in the making. */
export interface Generation {
  /** Feeds a part of the prompt, or makes one token. */
  readonly advance: () => Promise<Progress>;
  readonly usage: () => { readonly inputTokens: number; readonly outputTokens: number };
  readonly droppedMessages: number;
}

export interface GenerationModel {
  readonly network: LanguageModel;
  readonly tokenizer: Tokenizer;
  readonly contextTokens: number;
  readonly stopToken: string;
}

/** Throws `EngineError` for a conversation the model does not take. */
export function startGeneration(model: GenerationModel, job: ChatJob): Generation {
  const { network, tokenizer, contextTokens } = model;
  const { ids, droppedMessages } = renderPrompt(tokenizer, job.messages, contextTokens, job.maxOutputTokens);
  const stopId = specialId(tokenizer, model.stopToken);
  const specialIds = new Set(tokenizer.special.values());
  const sample = createSampler(job, (id) => id === stopId || !specialIds.has(id));
  const stream = createTextStream(job.stop);
  const outputMax = Math.min(job.maxOutputTokens, contextTokens - ids.length);

  let cache: KeyValueCache = network.emptyCache;
  let outputTokens = 0;
  let unreported = 0;
  let lastId = -1;

  const report = (text: string, finishReason: Progress['finishReason']): Progress => {
    const tokens = text === '' ? 0 : unreported;
    if (text !== '') unreported = 0;
    return { text, tokens, finishReason };
  };
  const accept = (id: number): Progress => {
    if (id === stopId) return report(stream.finish(), 'stop');
    lastId = id;
    outputTokens++;
    unreported++;
    const { text, stopped } = stream.push(tokenizer.bytesOf(id));
    if (stopped) return report(text, 'stop');
    if (outputTokens === outputMax) return report(text + stream.finish(), 'length');
    return report(text, null);
  };
  return {
    advance: async () => {
      const fed = cache.tokens;
      const chunk = fed < ids.length ? ids.slice(fed, fed + PROMPT_CHUNK_TOKENS) : [lastId];
      const result = await network.step(chunk, cache);
      ({ cache } = result);
      if (cache.tokens < ids.length) return report('', null);
      const id = sample(result.logits);
      if (id >= tokenizer.vocabSize)
        throw new EngineError('E_ENGINE', `the model produced unknown token ${id}`);
      return accept(id);
    },
    usage: () => ({ inputTokens: Math.min(cache.tokens, ids.length), outputTokens }),
    droppedMessages,
  };
}
