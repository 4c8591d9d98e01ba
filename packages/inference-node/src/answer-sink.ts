/** Where an answer goes. `write` resolves when more may be written; it never rejects: a gone client aborts `signal`. */
export interface AnswerSink {
  readonly head: (status: number, headers: Readonly<Record<string, string>>) => void;
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly end: () => void;
  readonly signal: AbortSignal;
}
