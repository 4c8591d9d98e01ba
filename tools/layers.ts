/**
 * The layer table: the one place that says which package may import which.
 *
 * `tools/sync-layers.ts` derives the TypeScript project references and the linter's import rules from it, and
 * `tools/tidy.test.ts` reads every import in the repository and holds it against this table.
 */

export type LayerName = 'contract' | 'platform' | 'execution' | 'verification' | 'edge' | 'test' | 'app';

export interface PackageRule {
  readonly layer: LayerName;
  /** Packages of this repository it may import, without the `@haca/` prefix. */
  readonly imports: readonly string[];
  /**
   * Pure packages do no I/O and read no clock, randomness or Node built-ins: time, trust roots, expected values and
   * randomness come in as arguments. For a package that is pure in part, the pure folders below `src/`.
   */
  readonly pure: boolean | readonly string[];
}

const CONTRACT = ['primitives', 'protocol', 'circuit'] as const;

export const PACKAGE_RULES: Readonly<Record<string, PackageRule>> = {
  primitives: { layer: 'contract', imports: [], pure: true },
  protocol: { layer: 'contract', imports: ['primitives'], pure: true },
  circuit: {
    layer: 'contract',
    imports: ['primitives', 'protocol'],
    pure: true,
  },
  platform: {
    layer: 'platform',
    imports: ['primitives', 'protocol'],
    pure: false,
  },
  runtime: {
    layer: 'execution',
    imports: [...CONTRACT, 'platform'],
    pure: false,
  },
  prover: {
    layer: 'execution',
    imports: [...CONTRACT, 'platform', 'runtime'],
    pure: false,
  },
  compiler: {
    layer: 'execution',
    imports: [...CONTRACT, 'platform', 'runtime', 'prover'],
    pure: false,
  },
  attester: {
    layer: 'execution',
    imports: [...CONTRACT, 'platform'],
    pure: false,
  },
  'inference-node': {
    layer: 'execution',
    imports: [...CONTRACT, 'platform', 'runtime', 'prover', 'attester'],
    pure: false,
  },
  verifier: { layer: 'verification', imports: [...CONTRACT], pure: true },
  'light-client': { layer: 'verification', imports: [...CONTRACT], pure: true },
  chain: {
    layer: 'verification',
    imports: [...CONTRACT, 'platform', 'verifier', 'light-client'],
    pure: ['state-machine', 'state-tree'],
  },
  sdk: {
    layer: 'edge',
    imports: [...CONTRACT, 'platform', 'verifier', 'light-client'],
    pure: false,
  },
  cli: {
    layer: 'edge',
    imports: [...CONTRACT, 'platform', 'verifier', 'light-client', 'sdk'],
    pure: false,
  },
  explorer: {
    layer: 'edge',
    imports: [...CONTRACT, 'platform', 'verifier', 'light-client', 'sdk'],
    pure: false,
  },
  testkit: { layer: 'test', imports: [...CONTRACT], pure: false },
};

/** Pure packages may import these outside packages and no others. */
export const PURE_DEPENDENCIES: readonly string[] = ['@noble/hashes', '@noble/curves'];

/** Names that pure code may not mention: each would make a result depend on when or where it was computed. */
export const IMPURE_GLOBALS: readonly string[] = [
  'Date',
  'Math.random',
  'performance',
  'process',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'fetch',
  'Buffer',
  'Intl',
  'localeCompare',
  'toLocaleString',
  'WeakRef',
  'FinalizationRegistry',
  'globalThis',
  'navigator',
  'queueMicrotask',
  'Atomics',
  'SharedArrayBuffer',
  'Worker',
  'crypto',
];

/** Folders whose results every full node must agree on, to the last bit. */
export const CONSENSUS_FOLDERS: readonly string[] = [
  'packages/chain/src/state-machine',
  'packages/chain/src/state-tree',
];
