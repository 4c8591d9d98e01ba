/** What may be shown now, and whether a stop string ended the text (itself never shown). */
export interface TextPiece {
  readonly text: string;
  readonly stopped: boolean;
}

export interface TextStream {
  /** Bytes of one more token. */
  readonly push: (bytes: Uint8Array) => TextPiece;
  /** What was held back, at the end of the answer. An unfinished code point is dropped. */
  readonly finish: () => string;
}

/**
 * Turns the bytes of tokens into text as they come. Holds back an unfinished code point, and text that may turn out to
 * begin a stop string. Stop strings are well-formed UTF-16 (so none begins within a code point). Bytes that are
 * no UTF-8 become U+FFFD.
 */
export function createTextStream(stops: readonly string[]): TextStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const stream = { stream: true };
  let held = '';
  return {
    push: (bytes) => {
      held += decoder.decode(bytes, stream);
      const stopAt = firstStop(held, stops);
      if (stopAt >= 0) {
        const text = held.slice(0, stopAt);
        held = '';
        return { text, stopped: true };
      }
      const free = held.length - heldBack(held, stops);
      const text = held.slice(0, free);
      held = held.slice(free);
      return { text, stopped: false };
    },
    finish: () => {
      const text = held;
      held = '';
      return text;
    },
  };
}

function firstStop(text: string, stops: readonly string[]): number {
  let first = -1;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (first < 0 || at < first)) first = at;
  }
  return first;
}

/** Length of the longest end of the text that begins a stop string. */
function heldBack(text: string, stops: readonly string[]): number {
  let most = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > most; length--) {
      if (text.endsWith(stop.slice(0, length))) {
        most = length;
        break;
      }
    }
  }
  return most;
}
