/** What produces the events of a channel. */
export interface EventSource {
  /** Called once, at the first `next()`. What it throws, the consumer gets. */
  readonly start: () => void;
  /** More than `HIGH_WATER` events wait: produce no more until `resume`. */
  readonly pause?: () => void;
  readonly resume?: () => void;
  /** The consumer left early. Called at most once, and not after `end` or `fail`. */
  readonly cancel: () => void;
}

export interface EventChannel<T> {
  readonly push: (event: T) => void;
  readonly end: () => void;
  /** Thrown to the consumer after the events that wait. */
  readonly fail: (error: Error) => void;
  readonly closed: () => boolean;
  readonly events: AsyncIterableIterator<T>;
}

const HIGH_WATER = 64;
const LOW_WATER = 16;

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T>) => void;
  readonly reject: (error: Error) => void;
}

/** A queue from callbacks to one async iteration, with back pressure. Events pushed after the end are dropped. */
export function openEventChannel<T>(source: EventSource): EventChannel<T> {
  let waiting: T[] = [];
  let head = 0;
  const waiters: Waiter<T>[] = [];
  let started = false;
  let closed = false;
  let paused = false;
  let failure: Error | undefined;

  const close = (): void => {
    closed = true;
    // Whoever waits does so because no event does.
    for (const waiter of waiters.splice(0)) settle(waiter);
  };
  const settle = (waiter: Waiter<T>): void => {
    if (failure === undefined) {
      waiter.resolve({ done: true, value: undefined });
      return;
    }
    const error = failure;
    failure = undefined;
    waiter.reject(error);
  };
  const take = (): T => {
    const event = waiting[head++] as T;
    if (head === waiting.length || head > HIGH_WATER) {
      waiting = waiting.slice(head);
      head = 0;
    }
    if (paused && waiting.length - head <= LOW_WATER) {
      paused = false;
      if (!closed) source.resume?.();
    }
    return event;
  };
  const fail = (error: Error): void => {
    if (closed) return;
    failure = error;
    close();
  };
  const start = (): void => {
    started = true;
    try {
      source.start();
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  };

  const events: AsyncIterableIterator<T> = {
    next: () => {
      if (!started && !closed) start();
      if (waiting.length > head) return Promise.resolve({ done: false, value: take() });
      return new Promise((resolve, reject) => {
        const waiter = { resolve, reject };
        if (closed) settle(waiter);
        else waiters.push(waiter);
      });
    },
    return: () => {
      waiting = [];
      head = 0;
      failure = undefined;
      if (!closed) {
        close();
        if (started) source.cancel();
      }
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]: () => events,
  };

  return {
    push: (event) => {
      if (closed) return;
      const waiter = waiters.shift();
      if (waiter !== undefined) {
        waiter.resolve({ done: false, value: event });
        return;
      }
      waiting.push(event);
      if (!paused && waiting.length - head > HIGH_WATER) {
        paused = true;
        source.pause?.();
      }
    },
    end: () => {
      if (!closed) close();
    },
    fail,
    closed: () => closed,
    events,
  };
}
