/** Answers given again: the same bytes to whoever has the same voucher, within bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnswerSink } from '../src/answer-sink.ts';
import { openReplayCache } from '../src/replay-cache.ts';

function collect(): AnswerSink & {
  readonly seen: { status: number; headers: object; text: string; ended: boolean };
} {
  const seen = { status: 0, headers: {}, text: '', ended: false };
  return {
    seen,
    signal: new AbortController().signal,
    head: (status, headers) => Object.assign(seen, { status, headers }),
    write: async (bytes) => {
      seen.text += Buffer.from(bytes).toString();
    },
    end: () => {
      seen.ended = true;
    },
  };
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

test('HTTP-40 an answer is repeated byte by byte, marked as repeated, and waited for while it is written', async () => {
  const cache = openReplayCache(() => 0);
  const first = collect();
  const recording = cache.record('a', first);
  recording.head(200, { 'x-haca-receipt': 'r' });
  await recording.write(bytes('one '));
  const second = collect();
  const waiting = cache.replay('a', second);
  await recording.write(bytes('two'));
  recording.end();
  recording.finish(true);
  assert.equal(await waiting, true);
  assert.deepEqual(first.seen, {
    status: 200,
    headers: { 'x-haca-receipt': 'r' },
    text: 'one two',
    ended: true,
  });
  const headers = { 'x-haca-receipt': 'r', 'x-haca-replayed': 'true' };
  assert.deepEqual(second.seen, { status: 200, headers, text: 'one two', ended: true });
  assert.equal(await cache.replay('b', collect()), false);
});

test('HTTP-40 what came to nothing, or cost nothing, is not repeated: it may be sent again', async () => {
  const cache = openReplayCache(() => 0);
  const silent = cache.record('a', collect());
  const waiting = cache.replay('a', collect());
  silent.finish(true);
  assert.equal(await waiting, false, 'no head, no answer');
  const refused = cache.record('a', collect());
  refused.head(502, {});
  refused.finish(false);
  assert.equal(await cache.replay('a', collect()), false);
});

test('HTTP-40 the cache is bounded in time, in the size of an answer and in all', async () => {
  let nowMs = 0;
  const cache = openReplayCache(() => nowMs, 100_000);
  const put = async (key: string, sizeBytes: number): Promise<void> => {
    const recording = cache.record(key, collect());
    recording.head(200, {});
    await recording.write(new Uint8Array(sizeBytes));
    recording.finish(true);
  };
  const has = (key: string): Promise<boolean> => cache.replay(key, collect());
  await put('huge', (1 << 20) + 1);
  assert.equal(await has('huge'), false);
  for (let i = 0; i < 5; i++) await put(`k${i}`, 40_000);
  await put('last', 1);
  assert.equal(await has('k0'), false, 'the oldest give way');
  assert.equal(await has('k4'), true);
  nowMs = 600_001;
  await put('later', 1);
  assert.equal(await has('k4'), false, 'ten minutes are over');
  assert.equal(await has('later'), true);
});
