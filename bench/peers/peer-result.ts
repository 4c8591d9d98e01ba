/** What measuring a peer yields, in this process and on the pipe between the processes. */

export const PEER_NAMES = ['ezkl', 'noir', 'snarkjs'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

/** Multilayer perceptrons that EZKL and Noir are measured on: inputs-hidden-outputs. */
export const MLP_SIZES = ['784-64-10', '784-16-10', '16-8-4'] as const;
export type MlpSize = (typeof MLP_SIZES)[number];

/** Milliseconds by the clock, or of CPU time where the name says so; one entry per repetition. */
export type Samples = Readonly<Record<string, readonly number[]>>;

export interface MeasuredPeer {
  readonly name: PeerName;
  /** Package and version that ran, as installed. */
  readonly package: string;
  readonly version: string;
  /** What was proved. */
  readonly what: string;
  readonly samples: Samples;
  /** The median of each entry of `samples`. */
  readonly median: Readonly<Record<string, number>>;
  /** Sizes in bytes: the proof, the proving key, what must be sent to a verifier. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly peakRssBytes: number;
  /** What the figures cover and what they do not. */
  readonly notes: readonly string[];
}

/** A peer that could not be measured, and why. */
export interface MissingPeer {
  readonly name: PeerName;
  readonly missing: string;
}

export type PeerResult = MeasuredPeer | MissingPeer;

/** Rounds samples to 0.01 ms and adds their medians. */
export function withMedians(samples: Samples): Pick<MeasuredPeer, 'samples' | 'median'> {
  const rounded = Object.entries(samples).map(([name, values]) => [name, values.map(round)] as const);
  return {
    samples: Object.fromEntries(rounded),
    median: Object.fromEntries(rounded.map(([name, values]) => [name, medianOf(values)])),
  };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : round(((sorted[middle - 1] ?? Number.NaN) + upper) / 2);
}
