import { MalformedError } from '@haca/primitives';
import type { Answer } from './answer.ts';
import type { Directory } from './directory.ts';
import { NodeError, PaymentError } from './errors.ts';
import { asObject, parseJson } from './json.ts';
import { nodeErrorOf } from './node-api.ts';
import type { ChatOptions, ChatResult, Haca } from './options.ts';

export async function chat(haca: Haca, directory: Directory, options: ChatOptions): Promise<ChatResult> {
  const model = options.model ?? (await firstChatModel(directory));
  const messages = options.messages ?? [{ role: 'user', content: options.prompt ?? '' }];
  const isStream = options.onText !== undefined;
  const body = JSON.stringify({
    model,
    messages,
    stream: isStream,
    ...(options.maxOutputTokens === undefined ? {} : { max_tokens: options.maxOutputTokens }),
    ...(options.temperature === undefined ? {} : { temperature: options.temperature }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  });
  const response = await haca.fetch(`${haca.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (!response.ok) {
    const error = nodeErrorOf(response.status, await response.json().catch(() => null), 'chat');
    throw response.status === 402 ? new PaymentError(error.code, error.message) : error;
  }
  const answer = haca.answerOf(response) as Answer;
  const said = isStream
    ? await readTextStream(response, answer, options.onText)
    : textOf(parseBody(await response.text(), answer));
  return { ...said, answer: await answer.completed };
}

async function firstChatModel(directory: Directory): Promise<string> {
  const first = (await directory.models()).find(({ manifest }) => manifest.task === 'chat');
  if (first === undefined)
    throw new NodeError('E_MODEL_UNKNOWN', 'no chat model is registered on this chain');
  return first.manifest.name;
}

interface Choice {
  readonly delta?: { readonly content?: unknown };
  readonly message?: { readonly content?: unknown };
  readonly finish_reason?: unknown;
}

interface ChatBody {
  readonly choices?: readonly Choice[];
}

/** What passed every check may still be no chat completion: the node is at fault, and its signature says so. */
function parseBody(text: string, { id, node }: Answer): ChatBody {
  try {
    return asObject(parseJson(text, 'chat completion'), 'chat completion');
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    const message = `node ${node.name} sent an answer that is no chat completion: ${cause.message}`;
    throw new NodeError('E_MALFORMED', message, null, { cause, answerId: id });
  }
}

function textOf(body: ChatBody): { readonly text: string; readonly finishReason: string | null } {
  const choice = body.choices?.[0];
  const { content } = choice?.message ?? {};
  const reason = choice?.finish_reason;
  return {
    text: typeof content === 'string' ? content : '',
    finishReason: typeof reason === 'string' ? reason : null,
  };
}

async function readTextStream(
  response: Response,
  answer: Answer,
  onText: ChatOptions['onText'],
): Promise<{ readonly text: string; readonly finishReason: string | null }> {
  const decoder = new TextDecoder();
  let pending = '';
  let text = '';
  let finishReason: string | null = null;
  let fault: unknown = null;
  const choiceIn = (event: string): Choice | undefined => {
    try {
      return parseBody(event, answer).choices?.[0];
    } catch (error) {
      // Whose fault it is shows at the end, when all of the stream was verified.
      fault = error;
      return undefined;
    }
  };
  const take = (line: string): void => {
    if (!line.startsWith('data: ') || line === 'data: [DONE]' || fault !== null) return;
    const choice = choiceIn(line.slice(6));
    const piece = choice?.delta?.content;
    if (typeof choice?.finish_reason === 'string') finishReason = choice.finish_reason;
    if (typeof piece !== 'string' || piece === '') return;
    text += piece;
    onText?.(piece);
  };
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    pending += decoder.decode(chunk, { stream: true });
    const lines = pending.split('\n');
    pending = lines.pop() ?? '';
    lines.forEach(take);
  }
  if (fault !== null) throw fault;
  return { text, finishReason };
}
