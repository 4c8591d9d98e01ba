import type { AnswerSink } from './answer-sink.ts';

/**
 * Answers by voucher: the same voucher with the same request gets the same bytes again, never a second execution or
 * charge. Bounded in entries, size and time.
 */
export interface ReplayCache {
  /** Waits for a running request of this key, then repeats its answer; false where there is none. */
  readonly replay: (key: string, sink: AnswerSink) => Promise<boolean>;
  /** A sink that passes everything on and remembers it. Call `finish` when the answer is over. */
  readonly record: (key: string, sink: AnswerSink) => RecordingSink;
}

export interface RecordingSink extends AnswerSink {
  /** `isKept` false: nothing was charged for what came out, and the request may simply be sent again. */
  readonly finish: (isKept: boolean) => void;
}

interface Entry {
  status: number;
  headers: Readonly<Record<string, string>>;
  readonly chunks: Uint8Array[];
  sizeBytes: number;
  readonly expiresAtMs: number;
  readonly done: Promise<void>;
}

const ENTRY_MAX_BYTES = 1 << 20;
const CACHE_MAX_BYTES = 64 << 20;
/** What an entry and each of its chunks take beside the bytes themselves. */
const OVERHEAD_BYTES = 1_024;
const CHUNK_OVERHEAD_BYTES = 128;
const KEEP_MS = 600_000;

export function openReplayCache(nowMs: () => number, cacheMaxBytes = CACHE_MAX_BYTES): ReplayCache {
  const entries = new Map<string, Entry>();
  let totalBytes = 0;
  const drop = (key: string): void => {
    totalBytes -= entries.get(key)?.sizeBytes ?? 0;
    entries.delete(key);
  };
  const grow = (key: string, entry: Entry, bytes: number): void => {
    if (entries.get(key) !== entry) return;
    entry.sizeBytes += bytes;
    totalBytes += bytes;
    if (entry.sizeBytes > ENTRY_MAX_BYTES) drop(key);
  };
  /** Entries are in order of their making, so the oldest are first. */
  const evict = (): void => {
    for (const [key, { expiresAtMs }] of entries) {
      if (expiresAtMs > nowMs() && totalBytes <= cacheMaxBytes) return;
      drop(key);
    }
  };
  return {
    replay: async (key, sink) => {
      const entry = entries.get(key);
      if (entry === undefined) return false;
      await entry.done;
      if (entries.get(key) !== entry) return false;
      sink.head(entry.status, { ...entry.headers, 'x-haca-replayed': 'true' });
      for (const chunk of entry.chunks) await sink.write(chunk);
      sink.end();
      return true;
    },
    record: (key, sink) => {
      evict();
      const { promise, resolve } = Promise.withResolvers<void>();
      const expiresAtMs = nowMs() + KEEP_MS;
      const entry: Entry = { status: 0, headers: {}, chunks: [], sizeBytes: 0, expiresAtMs, done: promise };
      drop(key);
      entries.set(key, entry);
      grow(key, entry, OVERHEAD_BYTES);
      return {
        signal: sink.signal,
        head: (status, headers) => {
          entry.status = status;
          entry.headers = headers;
          grow(key, entry, JSON.stringify(headers).length);
          sink.head(status, headers);
        },
        write: (bytes) => {
          if (entries.get(key) === entry) entry.chunks.push(bytes);
          grow(key, entry, bytes.length + CHUNK_OVERHEAD_BYTES);
          return sink.write(bytes);
        },
        end: sink.end,
        finish: (isKept) => {
          if ((!isKept || entry.status === 0) && entries.get(key) === entry) drop(key);
          resolve();
        },
      };
    },
  };
}
