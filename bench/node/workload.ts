/** What is asked and answered in every measurement of the node. */

export const MODEL = 'bench-model';
export const PATH = '/v1/chat/completions';

/** As the upstream server counts them: fixed, so that the charge of each request is known before it is sent. */
export const INPUT_TOKENS = 420;
export const OUTPUT_TOKENS = 64;

export const STREAM_DELTAS = 64;
export const STREAM_INTERVAL_MS = 5;

const prompt = 'Summarise what a verified inference costs and who is paid for it. '.repeat(25);

/** About 1.9 kB, as chat requests are. */
export function requestBody(stream: boolean): Buffer {
  return Buffer.from(
    JSON.stringify({
      model: MODEL,
      messages: [
        { role: 'system', content: 'You answer in one paragraph.' },
        { role: 'user', content: prompt },
      ],
      max_tokens: OUTPUT_TOKENS,
      temperature: 0,
      ...(stream ? { stream: true } : {}),
    }),
  );
}
