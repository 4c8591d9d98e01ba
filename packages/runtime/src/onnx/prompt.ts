import { type ChatMessage, EngineError } from '../engine.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A conversation as the model's template has it: at most one system text, then turns. */
interface Turn {
  readonly role: 'user' | 'assistant';
  readonly text: string;
  /** How many of the client's messages it is made of. */
  readonly messages: number;
}

export interface Prompt {
  readonly ids: readonly number[];
  readonly droppedMessages: number;
}

/**
 * The ids the model is given. All system and developer messages become one system text at the front, and neighbours of one
 * role become one turn, joined by line ends, because the template knows nothing else. Where the conversation is too long,
 * the oldest turns are left out until a quarter of the context (or `maxOutputTokens`, if that is less) is free for
 * the answer; the system text and the last user turn always stay. Throws `EngineError` if these alone do not fit.
 */
export function renderPrompt(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  contextTokens: number,
  maxOutputTokens: number,
): Prompt {
  const { system, turns } = arrange(messages);
  const last = turns.at(-1) as Turn;
  const encodeTurn = (role: string, text: string): number[] | undefined =>
    encodeFramed(tokenizer, role, text, contextTokens);
  const opening = system === undefined ? [] : encodeTurn('system', system);
  const closing = encodeTurn(last.role, last.text);
  const fixed = (opening?.length ?? Infinity) + (closing?.length ?? Infinity) + 2;
  if (opening === undefined || closing === undefined || fixed >= contextTokens) {
    const got = Number.isFinite(fixed) ? `${fixed} tokens` : 'far more';
    throw new EngineError(
      'E_REQUEST',
      `system message and last user message need to fit into the model's context of ${contextTokens} tokens with room for an answer, got ${got}`,
      { param: 'messages', detailCode: 'context_length_exceeded' },
    );
  }
  let free = contextTokens - fixed - Math.min(maxOutputTokens, Math.floor(contextTokens / 4));
  const kept: number[][] = [];
  let oldest = turns.length - 1;
  while (oldest > 0) {
    const turn = turns[oldest - 1] as Turn;
    const ids = encodeTurn(turn.role, turn.text);
    if (ids === undefined || ids.length > free) break;
    free -= ids.length;
    kept.push(ids);
    oldest--;
  }
  // An answer without its question would open the conversation: leave it out too, unless the client opened with it.
  if (oldest > 0 && turns[oldest]?.role === 'assistant') {
    kept.pop();
    oldest++;
  }
  const ids = [specialId(tokenizer, '<|bos|>')].concat(
    opening,
    ...kept.reverse(),
    closing,
    specialId(tokenizer, '<|assistant|>'),
  );
  const droppedMessages = turns.slice(0, oldest).reduce((sum, turn) => sum + turn.messages, 0);
  return { ids, droppedMessages };
}

export function specialId(tokenizer: Tokenizer, name: string): number {
  const id = tokenizer.special.get(name);
  if (id === undefined) throw new EngineError('E_UNAVAILABLE', `the tokenizer has no special token ${name}`);
  return id;
}

/** `<|role|> text <|end|>`, or undefined where the text is too long for any context, found without encoding it. */
function encodeFramed(
  tokenizer: Tokenizer,
  role: string,
  text: string,
  contextTokens: number,
): number[] | undefined {
  // A UTF-16 unit is at least one byte of UTF-8.
  if (text.length > contextTokens * tokenizer.maxTokenBytes) return undefined;
  const opening = [specialId(tokenizer, `<|${role}|>`)];
  return opening.concat(tokenizer.encode(text), specialId(tokenizer, '<|end|>'));
}

function arrange(messages: readonly ChatMessage[]): { system: string | undefined; turns: Turn[] } {
  const system: string[] = [];
  const gathered: { role: Turn['role']; texts: string[] }[] = [];
  for (const [index, message] of messages.entries()) {
    const text = textOf(message, index);
    switch (message.role) {
      case 'system':
      case 'developer':
        system.push(text);
        break;
      case 'user':
      case 'assistant': {
        const before = gathered.at(-1);
        if (before?.role === message.role) before.texts.push(text);
        else gathered.push({ role: message.role, texts: [text] });
        break;
      }
      default:
        throw unsupported(index, `role '${message.role}'`, 'system, developer, user or assistant');
    }
  }
  if (gathered.at(-1)?.role !== 'user') {
    throw new EngineError('E_REQUEST', 'the last message must be from the user', { param: 'messages' });
  }
  const turns = gathered.map(({ role, texts }) => ({
    role,
    text: texts.join('\n').trim(),
    messages: texts.length,
  }));
  return { system: system.length === 0 ? undefined : system.join('\n').trim(), turns };
}

function textOf(message: ChatMessage, index: number): string {
  const { content } = message;
  if (typeof content === 'string') return content.trim();
  if (content === null || content === undefined) throw unsupported(index, 'no content', 'text');
  const texts: string[] = [];
  for (const part of content) {
    if (part.type !== 'text' || typeof part.text !== 'string') {
      throw unsupported(index, `a content part of type '${part.type}'`, 'text');
    }
    texts.push(part.text);
  }
  return texts.join('').trim();
}

function unsupported(index: number, got: string, expected: string): EngineError {
  const message = `messages[${index}]: this model takes ${expected}, got ${got}`;
  return new EngineError('E_REQUEST', message, { param: 'messages' });
}
