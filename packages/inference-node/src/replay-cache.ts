import type { AnswerSink } from './inference.ts';

/**
 * Answers by idempotency key: the same voucher with the same request gets the same bytes again, never a second execution
 * or charge. Bounded in entries, size and time.
 */
export interface ReplayCache {
  /** Waits for a running request of this key, then repeats its answer; false where there is none. */
  readonly replay: (key: string, sink: AnswerSink) => Promise<boolean>;
  /** A sink that passes everything on and remembers it. Call `finish` when the answer is over. */
  readonly record: (key: string, sink: AnswerSink) => AnswerSink & { readonly finish: () => void };
}

interface Entry {
  status: number;
  headers: Readonly<Record<string, string>>;
  chunks: Uint8Array[];
  sizeBytes: number;
  expiresAtMs: number;
  readonly done: Promise<void>;
}

const ENTRY_MAX_BYTES = 1 << 20;
const CACHE_MAX_BYTES = 64 << 20;
const KEEP_MS = 600_000;

export function openReplayCache(nowMs: () => number): ReplayCache {
  const entries = new Map<string, Entry>();
  let totalBytes = 0;
  const drop = (key: string): void => {
    totalBytes -= entries.get(key)?.sizeBytes ?? 0;
    entries.delete(key);
  };
  /** Entries are in order of their making, so the oldest are first. */
  const evict = (): void => {
    for (const [key, { expiresAtMs }] of entries) {
      if (expiresAtMs > nowMs() && totalBytes <= CACHE_MAX_BYTES) return;
      drop(key);
    }
  };
  return {
    replay: async (key, sink) => {
      const entry = entries.get(key);
      if (entry === undefined) return false;
      await entry.done;
      if (!entries.has(key)) return false;
      sink.head(entry.status, { ...entry.headers, 'x-haca-replayed': 'true' });
      for (const chunk of entry.chunks) await sink.write(chunk);
      sink.end();
      return true;
    },
    record: (key, sink) => {
      evict();
      const { promise, resolve } = Promise.withResolvers<void>();
      const entry: Entry = {
        status: 0,
        headers: {},
        chunks: [],
        sizeBytes: 0,
        expiresAtMs: nowMs() + KEEP_MS,
        done: promise,
      };
      entries.set(key, entry);
      return {
        signal: sink.signal,
        head: (status, headers) => {
          entry.status = status;
          entry.headers = headers;
          sink.head(status, headers);
        },
        write: (bytes) => {
          if (entries.get(key) === entry) {
            entry.chunks.push(bytes);
            entry.sizeBytes += bytes.length;
            totalBytes += bytes.length;
            if (entry.sizeBytes > ENTRY_MAX_BYTES) drop(key);
          }
          return sink.write(bytes);
        },
        end: sink.end,
        finish: () => {
          // Without a head nothing was answered and nothing charged: the request may simply be sent again.
          if (entry.status === 0 && entries.get(key) === entry) drop(key);
          resolve();
        },
      };
    },
  };
}
