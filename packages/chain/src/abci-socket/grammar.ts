/**
 * Recognises the order of calls that ABCI 2.0 promises an application (CometBFT v0.38 to v0.40,
 * `spec/abci/abci++_comet_expected_behavior.md`). The grammar there describes the calls between two starts of a process, so
 * a log is read run by run: a start of the application or of CometBFT begins a run, and a run may end anywhere.
 *
 *     run              = ( info [init-chain] / state-sync ) consensus-exec
 *     state-sync       = *( offer-snapshot *apply-chunk ) offer-snapshot 1*apply-chunk info
 *     consensus-exec   = *( *round-call finalize-block commit )
 *     round-call       = prepare-proposal / process-proposal / extend-vote / verify-vote-extension
 *
 * The specification's rounds come to `*round-call`: each of their parts may be left out. Echo, Flush, CheckTx, Query,
 * ListSnapshots and LoadSnapshotChunk may come at any time, and Info as well. Beyond the grammar, heights are held against
 * each other where the log has them.
 */
import type { CallLogEntry } from './call-log.ts';
import type { AbciMethod } from './requests.ts';

export type GrammarVerdict =
  | {
      readonly ok: true;
      /** Starts that were followed by a call of the grammar. */
      readonly runs: number;
      /** Blocks that were committed, a replayed one each time. */
      readonly commits: number;
    }
  | {
      readonly ok: false;
      /** Index of the entry that is out of order. */
      readonly position: number;
      readonly got: string;
      /** What could have come in its place. */
      readonly expected: readonly string[];
    };

export interface GrammarOptions {
  /** Whether the first run is that of a new chain or node: InitChain or a state sync must come before any block. */
  readonly isFirstRunClean?: boolean;
}

type Terminal = Exclude<
  AbciMethod,
  | 'echo'
  | 'flush'
  | 'check-tx'
  | 'query'
  | 'list-snapshots'
  | 'load-snapshot-chunk'
  | 'insert-tx'
  | 'reap-txs'
>;
type State = 'start' | 'handshake' | 'offered' | 'applying' | 'synced' | 'consensus' | 'decided';
type Row = Partial<Record<Terminal, State>>;

const ROUND_CALLS: Row = {
  'prepare-proposal': 'consensus',
  'process-proposal': 'consensus',
  'extend-vote': 'consensus',
  'verify-vote-extension': 'consensus',
  'finalize-block': 'decided',
};

const NEXT: Readonly<Record<State, Row>> = {
  start: { info: 'handshake', 'offer-snapshot': 'offered' },
  // An Info may also have been a stranger's, by RPC, before a state sync.
  handshake: { info: 'handshake', 'init-chain': 'consensus', 'offer-snapshot': 'offered', ...ROUND_CALLS },
  offered: { info: 'offered', 'apply-snapshot-chunk': 'applying', 'offer-snapshot': 'offered' },
  applying: { info: 'synced', 'apply-snapshot-chunk': 'applying', 'offer-snapshot': 'offered' },
  synced: { info: 'synced', 'apply-snapshot-chunk': 'applying', 'offer-snapshot': 'offered', ...ROUND_CALLS },
  consensus: { info: 'consensus', ...ROUND_CALLS },
  decided: { info: 'decided', commit: 'consensus' },
};

const TERMINALS: ReadonlySet<string> = new Set([
  ...Object.values(NEXT).flatMap((row) => Object.keys(row)),
] as Terminal[]);

interface Run {
  state: State;
  /** Height that Info told; null before. */
  infoHeight: number | null;
  /** Height of the block in the making; null where the log does not tell. */
  height: number | null;
  /** How the application took the last offer; null before the answer. */
  offerResult: string | null;
  isClean: boolean;
}

type Complaint = { readonly got: string; readonly expected: readonly string[] };

/** Total: any sequence of entries gets a verdict. */
export function checkAbciGrammar(
  entries: Iterable<CallLogEntry>,
  options: GrammarOptions = {},
): GrammarVerdict {
  let runs = 0;
  let commits = 0;
  let run = newRun(options.isFirstRunClean ?? false);
  let position = -1;
  for (const entry of entries) {
    position++;
    if (entry.event === 'process' || entry.event === 'peer') {
      if (run.state !== 'start') run = newRun(false);
      continue;
    }
    if (entry.event === 'response') {
      heedResponse(run, entry);
      continue;
    }
    if (!isTerminal(entry.method)) continue;
    if (run.state === 'start') runs++;
    const complaint = step(run, entry.method, entry.height);
    if (complaint !== null) return { ok: false, position, ...complaint };
    if (entry.method === 'commit') commits++;
  }
  return { ok: true, runs, commits };
}

function newRun(isClean: boolean): Run {
  return { state: 'start', infoHeight: null, height: null, offerResult: null, isClean };
}

/** One call of the grammar: changes the run, or says what is wrong with it. */
function step(run: Run, method: Terminal, height: number | undefined): Complaint | null {
  const row = allowed(run);
  const next = row[method];
  if (next === undefined) return { got: method, expected: Object.keys(row) };
  const isBlockCall = method in ROUND_CALLS;
  if (isBlockCall && height !== undefined && run.height !== null && height !== run.height) {
    return { got: `${method} at height ${height}`, expected: [`${method} at height ${run.height}`] };
  }
  if (isBlockCall && height !== undefined) run.height = height;
  if (method === 'init-chain') run.height = height === undefined || height === 0 ? null : height;
  if (method === 'commit' && run.height !== null) run.height++;
  if (method === 'offer-snapshot') run.offerResult = null;
  run.state = next;
  return null;
}

/** The row of the run's state, less what its heights and answers rule out. */
function allowed(run: Run): Row {
  const row = { ...NEXT[run.state] };
  if (run.state === 'handshake') {
    if (run.infoHeight === 0 || run.isClean)
      for (const call of Object.keys(ROUND_CALLS)) delete row[call as Terminal];
    if (run.infoHeight !== null && run.infoHeight > 0) delete row['init-chain'];
  }
  if (run.state === 'offered' && run.offerResult !== null && run.offerResult !== 'accept') {
    delete row['apply-snapshot-chunk'];
  }
  return row;
}

function heedResponse(run: Run, entry: Extract<CallLogEntry, { readonly event: 'response' }>): void {
  if (entry.method === 'offer-snapshot') run.offerResult = entry.result ?? null;
  if (entry.method !== 'info' || entry.height === undefined) return;
  if (run.state !== 'handshake' && run.state !== 'synced') return;
  run.infoHeight = entry.height;
  run.height = entry.height === 0 ? null : entry.height + 1;
}

function isTerminal(method: AbciMethod): method is Terminal {
  return TERMINALS.has(method);
}
