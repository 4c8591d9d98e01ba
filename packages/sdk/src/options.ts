import type { TensorShape, TensorValues } from '@haca/circuit';
import type { RpcClient } from '@haca/platform/rpc';
import type { Answer } from './answer.ts';
import type { Trust } from './chain/trust.ts';
import type { ValidatorEntry } from './chain/validators.ts';
import type { ChainView } from './chain/view.ts';
import type { Wallet, WalletKey } from './chain/wallet.ts';
import type { Directory, ModelEntry, NodeEntry } from './directory.ts';
import type { Platform } from './platform.ts';
import type { Policy } from './policy.ts';
import type { TensorInput } from './zk/tensors.ts';

export interface ChannelOptions {
  readonly asset: number;
  /** Put into a channel that is opened or runs dry. */
  readonly deposit: bigint;
  /** Allocated to a node that has too little. */
  readonly allocation: bigint;
}

export interface HacaOptions {
  /** JSON-RPC of a full node. */
  readonly rpcUrl: string;
  readonly trust: Trust;
  readonly platform: Platform;
  /** Who pays; null to read and verify only. */
  readonly wallet: WalletKey | null;
  readonly policy?: Partial<Policy>;
  readonly channel?: Partial<ChannelOptions>;
  /** URLs of nodes to use; by default those in the chain's records. */
  readonly nodes?: readonly string[];
  readonly onAnswer?: (answer: Answer) => void;
  readonly clock?: () => number;
  readonly fetch?: typeof fetch;
  readonly rpc?: RpcClient;
  readonly trustingPeriodMs?: number;
}

export interface Haca {
  /** For `new OpenAI({ baseURL, apiKey: 'haca', fetch })`. The host does not exist: nothing leaves without this `fetch`. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  readonly answerOf: (response: Response) => Answer | undefined;
  /** The answer that was completed last. */
  readonly lastAnswer: Answer | null;
  readonly chat: (request: ChatOptions) => Promise<ChatResult>;
  /** Runs a model whose answers are proved: verified as signed and paid at once, as proved by `answer.until('verified')`. */
  readonly infer: (request: InferOptions) => Promise<InferResult>;
  readonly models: () => Promise<readonly ModelEntry[]>;
  readonly nodes: () => Promise<readonly NodeEntry[]>;
  /** Unproven, as the other lists. */
  readonly validators: () => Promise<readonly ValidatorEntry[]>;
  readonly directory: Directory;
  readonly chain: ChainView;
  readonly wallet: Wallet | null;
  readonly close: () => void;
}

export interface ChatOptions {
  readonly model?: string;
  readonly prompt?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  /** Given: the answer is streamed and each piece of text is passed on as it arrives. */
  readonly onText?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface ChatResult {
  readonly text: string;
  readonly finishReason: string | null;
  readonly answer: Answer;
}

export interface InferOptions {
  /** Name or id (hex) of a model of method `zk`. */
  readonly model: string;
  /** One for each input of the model, in its order. A `Uint8Array` of as many bytes as the tensor has is taken as it is. */
  readonly tensors: readonly TensorInput[];
  readonly signal?: AbortSignal;
}

export interface InferResult {
  /** Integers of each output, row-major. */
  readonly outputs: readonly TensorValues[];
  readonly shapes: ModelShapes;
  /** Signed and paid for; `answer.until('verified')` verifies the proof once it is there. */
  readonly answer: Answer;
}

export interface ModelShapes {
  readonly inputs: readonly TensorShape[];
  readonly outputs: readonly TensorShape[];
}
