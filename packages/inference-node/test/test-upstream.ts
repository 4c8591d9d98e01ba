/** A model server whose answers are a function of the prompt, and which can be told to misbehave. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export const MODEL = 'test-model';

export interface TestUpstream {
  readonly baseUrl: string;
  /** Requests that arrived. */
  readonly count: () => number;
  /** Requests that are being answered. */
  readonly running: () => number;
  readonly close: () => Promise<void>;
}

/**
 * The last message says what happens, in words separated by spaces: `words N` (N words, the default 3), `wait MS` before each
 * word, `fail STATUS` at once, `break N` (the connection after N words), `usage IN OUT` (whatever the truth).
 */
interface Script {
  readonly words: number;
  readonly waitMs: number;
  readonly failStatus: number | null;
  readonly breakAfter: number | null;
  readonly usage: readonly [number, number];
}

export async function startTestUpstream(): Promise<TestUpstream> {
  let count = 0;
  let running = 0;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      if (request.method !== 'POST') {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ object: 'list', data: [{ id: MODEL, object: 'model' }] }));
        return;
      }
      const body = JSON.parse(Buffer.concat(pieces).toString()) as {
        stream?: boolean;
        messages: { content: unknown }[];
      };
      count++;
      running++;
      response.once('close', () => running--);
      const script = scriptOf(String(body.messages.at(-1)?.content));
      void reply(response, script, body.stream === true);
    });
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    count: () => count,
    running: () => running,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

function scriptOf(prompt: string): Script {
  const numbers = (name: string): readonly number[] | null => {
    const found = new RegExp(`${name}((?: \\d+)+)`).exec(prompt)?.[1];
    return found === undefined ? null : found.trim().split(' ').map(Number);
  };
  const words = numbers('words')?.[0] ?? 3;
  const [input = 7, output = words] = numbers('usage') ?? [];
  return {
    words,
    waitMs: numbers('wait')?.[0] ?? 0,
    failStatus: numbers('fail')?.[0] ?? null,
    breakAfter: numbers('break')?.[0] ?? null,
    usage: [input, output],
  };
}

async function reply(response: ServerResponse, script: Script, isStream: boolean): Promise<void> {
  if (script.failStatus !== null) {
    const error = { message: 'as the test wants', type: 'test', param: null, code: null };
    response.writeHead(script.failStatus, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error }));
    return;
  }
  const [prompt_tokens, completion_tokens] = script.usage;
  const usage = { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
  const common = { id: 'chatcmpl-up', created: 1, model: MODEL };
  const words = Array.from({ length: script.words }, (_, i) => `word${i} `);
  if (!isStream) {
    await pause(script.waitMs * script.words);
    const message = { role: 'assistant', content: words.join('') };
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...common, object: 'chat.completion', choices, usage }));
    return;
  }
  const event = (choices: readonly object[], more: object = {}): void => {
    const chunk = { ...common, object: 'chat.completion.chunk', choices, ...more };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const [i, content] of words.entries()) {
    if (script.waitMs > 0) await pause(script.waitMs);
    if (response.destroyed) return;
    if (i === script.breakAfter) {
      response.destroy();
      return;
    }
    event([{ index: 0, delta: { content }, finish_reason: null }]);
  }
  event([{ index: 0, delta: {}, finish_reason: 'stop' }]);
  event([], { usage });
  response.end('data: [DONE]\n\n');
}
