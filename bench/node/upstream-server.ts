/**
 * The cheapest OpenAI-compatible server there can be: always the same answer, so that what is measured is what stands in
 * front of it. Streams send one delta each `STREAM_INTERVAL_MS`; its text is the time it was sent.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { INPUT_TOKENS, MODEL, OUTPUT_TOKENS, STREAM_DELTAS, STREAM_INTERVAL_MS } from './workload.ts';

const usage = {
  prompt_tokens: INPUT_TOKENS,
  completion_tokens: OUTPUT_TOKENS,
  total_tokens: INPUT_TOKENS + OUTPUT_TOKENS,
};
const common = { id: 'chatcmpl-bench', created: 1_800_000_000, model: MODEL };
const text = 'The quick brown fox jumps over the lazy dog and is paid for every single word it says. '.repeat(
  3,
);
const answer = Buffer.from(
  JSON.stringify({
    ...common,
    object: 'chat.completion',
    choices: [
      { index: 0, message: { role: 'assistant', content: text }, logprobs: null, finish_reason: 'stop' },
    ],
    usage,
  }),
);

function event(choices: readonly object[], more: object = {}): string {
  return `data: ${JSON.stringify({ ...common, object: 'chat.completion.chunk', choices, ...more })}\n\n`;
}

function streamAnswer(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < STREAM_DELTAS) {
      sent++;
      const delta = { role: 'assistant', content: `${process.hrtime.bigint()}` };
      response.write(event([{ index: 0, delta, finish_reason: null }]));
      return;
    }
    clearInterval(timer);
    response.end(
      `${event([{ index: 0, delta: {}, finish_reason: 'stop' }])}${event([], { usage })}data: [DONE]\n\n`,
    );
  }, STREAM_INTERVAL_MS);
  response.once('close', () => clearInterval(timer));
}

const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (piece: string) => {
    body += piece;
  });
  request.on('end', () => {
    if (request.method !== 'POST') {
      response.writeHead(404, { 'content-length': '0' }).end();
      return;
    }
    const { stream } = JSON.parse(body) as { stream?: boolean };
    if (stream === true) streamAnswer(response);
    else {
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': `${answer.length}` })
        .end(answer);
    }
  });
});
server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ ready: true, url: `http://127.0.0.1:${port}` })}\n`);
});
