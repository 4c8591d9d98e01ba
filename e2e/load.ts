/** Clients that ask without pause, several requests at a time, every second one as a stream. */
import {
  type Answer,
  type Haca,
  NodeError,
  PaymentError,
  TransactionError,
  VerificationError,
} from '@haca/sdk/node';

export interface LoadResult {
  readonly answers: readonly Answer[];
  /** Requests that got no answer, by what the client was told. */
  readonly unanswered: Readonly<Record<string, number>>;
  /** What no crash may ever cause. */
  readonly violations: readonly string[];
}

export interface Load {
  readonly answered: () => number;
  readonly stop: () => Promise<LoadResult>;
}

export interface LoadOptions {
  /** Requests of one client at the same time. */
  readonly parallel: number;
  /** Rest after a request that got no answer. */
  readonly restMs: number;
  /** A model that is proved, and an input of it: asked as often as the chat model. */
  readonly proved?: { readonly model: string; readonly input: Uint8Array };
}

export function startLoad(clients: readonly Haca[], { parallel, restMs, proved }: LoadOptions): Load {
  const answers: Answer[] = [];
  const unanswered = new Map<string, number>();
  const violations: string[] = [];
  let isStopped = false;
  const ask = async (haca: Haca, worker: string): Promise<void> => {
    for (let i = 0; !isStopped; i++) {
      const prompt = `What is ${(i * 7) % 50} + ${i % 50}? (${worker}/${i})`;
      try {
        if (proved !== undefined && i % 2 === 1) {
          const { answer } = await haca.infer({ model: proved.model, tensors: [proved.input] });
          answers.push(answer);
          continue;
        }
        const stream = i % 2 === 0 ? {} : { onText: () => undefined };
        const { answer } = await haca.chat({ prompt, maxOutputTokens: 4 + (i % 16), ...stream });
        answers.push(answer);
      } catch (error) {
        const kind = kindOf(error);
        unanswered.set(kind, (unanswered.get(kind) ?? 0) + 1);
        if (error instanceof VerificationError) violations.push(`client ${worker}: ${error.message}`);
        await new Promise((settle) => setTimeout(settle, restMs));
      }
    }
  };
  const running = clients.flatMap((haca, client) =>
    Array.from({ length: parallel }, (_, lane) => ask(haca, `${client}/${lane}`)),
  );
  return {
    answered: () => answers.length,
    stop: async () => {
      isStopped = true;
      await Promise.all(running);
      return { answers, unanswered: Object.fromEntries([...unanswered].sort()), violations };
    },
  };
}

function kindOf(error: unknown): string {
  const isCoded =
    error instanceof NodeError || error instanceof PaymentError || error instanceof TransactionError;
  if (isCoded) return error.code;
  return error instanceof Error ? error.name : String(error);
}
