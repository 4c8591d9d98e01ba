/**
 * Judgements of facts that were made before. A judgement hangs on the facts, the genesis, the version of the state's rules, the pieces
 * of collateral it asks for, and the time. Time comes in by windows alone, so what holds at two times holds between them; pieces are
 * compared each time. The memo changes no answer; it only saves time.
 */
import { type CryptoProvider, concatBytes, encode, sha256, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRef,
  collateralCodec,
} from '@haca/protocol';
import type { EvidenceRescoring, RescoreEvidence, StateEvidenceRules } from '../state-machine/index.ts';
import type { Checker } from './proof-checks.ts';

/** A piece that was asked for, and the digest of what came. */
interface Asked {
  readonly ref: CollateralRef;
  readonly digest: string;
}

interface Judged {
  readonly rescoring: EvidenceRescoring;
  readonly asked: readonly Asked[];
  readonly fromMs: number;
  readonly toMs: number;
}

const JUDGEMENTS_MAX = 16_384;

export function createJudgementMemo(
  rescore: RescoreEvidence,
  judgementsMax = JUDGEMENTS_MAX,
): RescoreEvidence {
  let recent = new Map<string, Judged>();
  let older = new Map<string, Judged>();
  const digestOf = createDigests();
  const put = (name: string, judged: Judged): void => {
    if (!recent.has(name) && 2 * (recent.size + 1) > judgementsMax) {
      older = recent;
      recent = new Map();
    }
    recent.set(name, judged);
  };
  // Every piece is asked for again: whoever gave the rules may count on being asked.
  const holds = ({ asked, fromMs, toMs }: Judged, { nowMs, collateral }: StateEvidenceRules): boolean =>
    fromMs <= nowMs &&
    nowMs <= toMs &&
    asked.every(({ ref, digest }) => digestOf(collateral(ref)) === digest);
  return (kind, facts, rules, crypto) => {
    if (rules.version === null) return rescore(kind, facts, rules, crypto);
    const name = nameOf(kind, facts, rules, rules.version);
    const known = recent.get(name) ?? older.get(name);
    if (known !== undefined && holds(known, rules)) {
      put(name, known);
      return known.rescoring;
    }
    const guesses = guessesOf(crypto);
    const asked: Asked[] = [];
    const collateral = <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
      const item: CollateralOf<K> | null = rules.collateral(ref);
      asked.push({ ref, digest: digestOf(item) });
      return item;
    };
    const rescoring = rescore(kind, facts, { ...rules, collateral }, crypto);
    const endMs = lastMsOf(rescoring, rules);
    const isLasting =
      endMs > rules.nowMs && isSame(rescore(kind, facts, { ...rules, nowMs: endMs }, crypto), rescoring);
    // A signature that was only taken for good may turn out bad.
    if (guessesOf(crypto) === guesses) {
      put(name, { rescoring, asked, fromMs: rules.nowMs, toMs: isLasting ? endMs : rules.nowMs });
    }
    return rescoring;
  };
}

/**
 * How long a judgement may hold. Levels and revocations know no time, and where they are at fault that comes before all windows; but
 * collateral outside one window may be inside all of them later.
 */
function lastMsOf(
  { fault, collateralEndMs }: EvidenceRescoring,
  { nowMs, collateralGraceMs }: StateEvidenceRules,
): number {
  if (fault === 'stale-collateral') return nowMs;
  return collateralEndMs === null ? Number.MAX_SAFE_INTEGER : collateralEndMs + collateralGraceMs - 1;
}

/** Digests of pieces by their object: a state decodes a row once a block, and every key asks for the same few. */
function createDigests(): (item: Collateral | null) => string {
  const known = new WeakMap<Collateral, string>();
  return (item) => {
    if (item === null) return '';
    const before = known.get(item);
    if (before !== undefined) return before;
    const digest = latin1(sha256(encode(collateralCodec, item)));
    known.set(item, digest);
    return digest;
  };
}

function guessesOf(crypto: CryptoProvider & Partial<Pick<Checker, 'guesses'>>): number {
  return crypto.guesses?.() ?? 0;
}

function isSame(a: EvidenceRescoring, b: EvidenceRescoring): boolean {
  return a.fault === b.fault && a.tcbStatus === b.tcbStatus && a.collateralEndMs === b.collateralEndMs;
}

/** Each part has a length that is known, but the facts, which come last. */
function nameOf(
  kind: string,
  facts: Uint8Array,
  { simulated, testRoots, collateralGraceMs, evaluation }: StateEvidenceRules,
  version: Uint8Array,
): string {
  const head = utf8Encode(`${kind}/${simulated}/${evaluation}/${collateralGraceMs}/${testRoots.length}/`);
  return latin1(sha256(concatBytes(version, head, ...testRoots, facts)));
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
