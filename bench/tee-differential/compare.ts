/** Holds our answers against those of others, and disagreements against their explanations. */
import { type DifferentialCase, differentialCases } from './cases.ts';
import { DISAGREEMENTS, type Disagreement } from './disagreements.ts';
import { type Answer, ourAnswer } from './ours.ts';
import { type OpenedPeer, openPeers } from './peers.ts';

export interface PeerComparison {
  readonly peer: string;
  readonly asked: number;
  /** Accepted by both with one TCB status, or refused by both. */
  readonly agreed: number;
  readonly acceptedByBoth: number;
  readonly rows: readonly DisagreementRow[];
}

/** Disagreements of one kind: many cases, one explanation. */
export interface DisagreementRow {
  readonly peer: string;
  readonly change: string;
  readonly ours: string;
  readonly theirs: string;
  /** As `Disagreement` has it. */
  readonly direction: Disagreement['direction'];
  readonly vectors: readonly string[];
  readonly cases: number;
  /** Null: nobody has explained it. */
  readonly explanation: Disagreement | null;
}

export interface DifferentialReport {
  readonly cases: number;
  readonly compared: readonly PeerComparison[];
  readonly missing: readonly { readonly name: string; readonly missing: string }[];
  /** Explanations that no disagreement needed, of peers that were asked. */
  readonly unused: readonly Disagreement[];
}

/** Flips at every `stride`-th byte of each quote, report and certificate. */
export async function compareVerifiers(stride: number): Promise<DifferentialReport> {
  const cases = differentialCases(stride);
  const peers = await openPeers();
  const compared = peers.flatMap((peer) => ('missing' in peer ? [] : [comparePeer(peer, cases)]));
  const used = new Set(compared.flatMap(({ rows }) => rows.map(({ explanation }) => explanation)));
  const asked = new Set(compared.map(({ peer }) => peer));
  return {
    cases: cases.length,
    compared,
    missing: peers.flatMap((peer) => ('missing' in peer ? [peer] : [])),
    unused: DISAGREEMENTS.filter((each) => asked.has(each.peer) && !used.has(each)),
  };
}

type Peer = Exclude<OpenedPeer, { readonly missing: string }>;

function comparePeer({ name, answers }: Peer, cases: readonly DifferentialCase[]): PeerComparison {
  const theirs = answers(cases);
  // The Go verifiers leave the debug bit to their caller.
  const allowDebug = name.startsWith('google/');
  const rows = new Map<string, DisagreementRow>();
  let [asked, agreed, acceptedByBoth] = [0, 0, 0];
  for (const [at, each] of cases.entries()) {
    const their = theirs[at] ?? null;
    if (their === null) continue;
    asked++;
    const our = ourAnswer(each, allowDebug);
    const direction = directionOf(our, their);
    if (direction === null) {
      agreed++;
      if (our.accepted) acceptedByBoth++;
    } else addRow(rows, rowOf(name, each, our, their, direction));
  }
  return { peer: name, asked, agreed, acceptedByBoth, rows: [...rows.values()] };
}

function directionOf(our: Answer, their: Answer): Disagreement['direction'] | null {
  if (our.accepted !== their.accepted) return our.accepted ? 'only they refuse' : 'only we refuse';
  const differ = our.accepted && their.status !== null && our.status !== their.status;
  return differ ? 'other status' : null;
}

function rowOf(
  peer: string,
  { change, vector }: DifferentialCase,
  our: Answer,
  their: Answer,
  direction: Disagreement['direction'],
): DisagreementRow {
  const explanation =
    DISAGREEMENTS.find(
      (each) =>
        each.peer === peer &&
        each.direction === direction &&
        each.changes.includes(change) &&
        (each.vectors === undefined || each.vectors.includes(vector)),
    ) ?? null;
  const ours = our.accepted
    ? (our.status ?? 'accepted')
    : `refused: ${our.reason.replace(/^(tdx|sgx|snp)\./, '')}`;
  const theirs = their.accepted ? (their.status ?? 'accepted') : `refused: ${their.reason.slice(0, 60)}`;
  return { peer, change, ours, theirs, direction, vectors: [vector], cases: 1, explanation };
}

/** Rows of one change and one explanation are one row, whatever status the vector has. */
function addRow(rows: Map<string, DisagreementRow>, row: DisagreementRow): void {
  const key = [row.change, row.direction, DISAGREEMENTS.indexOf(row.explanation as Disagreement)].join();
  const known = rows.get(key);
  if (known === undefined) {
    rows.set(key, row);
    return;
  }
  const join = (a: string, b: string): string => (a.split('; ').includes(b) ? a : `${a}; ${b}`);
  rows.set(key, {
    ...known,
    ours: join(known.ours, row.ours),
    theirs: join(known.theirs, row.theirs),
    vectors: [...new Set([...known.vectors, ...row.vectors])],
    cases: known.cases + 1,
  });
}
