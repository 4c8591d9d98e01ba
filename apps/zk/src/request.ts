/** What the command line asks of this program: one JSON object; paths are absolute, values were checked there. */

export interface ImportRequest {
  readonly kind: 'import';
  readonly model: string;
  readonly calibration: string;
  readonly out: string;
  readonly name: string;
  readonly activationBits: number | 'auto';
  readonly weightBits?: number;
  readonly agreement?: number;
  readonly maxBatch?: number;
  readonly profile?: 1 | 2;
  readonly classes?: readonly string[];
  readonly outputs?: readonly string[];
  readonly threads: number;
}

export interface ProveRequest {
  readonly kind: 'prove';
  readonly model: string;
  readonly input: string;
  readonly out: string;
  readonly context: string;
  /** Whether the proof that the weights are small integers goes into the file. */
  readonly withRegistration: boolean;
  readonly threads: number;
}

/** One line of JSON each on standard output; the last one is `result` or `error`. */
export type ZkEvent =
  | { readonly event: 'progress'; readonly phase: string; readonly done: number; readonly of: number }
  | { readonly event: 'result'; readonly result: unknown }
  | {
      readonly event: 'error';
      /** 1: the model can't be imported or proved; 2: what was given can't be read. */
      readonly exitCode: 1 | 2;
      readonly error: {
        readonly name: string;
        readonly code: string;
        readonly message: string;
        readonly place?: string;
        readonly unsupported?: readonly { readonly operator: string; readonly places: readonly string[] }[];
      };
    };

export type Report = (phase: string, done: number, of: number) => void;
