/**
 * Judgements of facts that were made before. A judgement hangs on the facts, the genesis, what validators decided, the pieces of
 * collateral it asks for, and the time. Time comes in by windows alone, so what holds at two times holds between them; pieces are
 * compared each time, so that a new one concerns nobody but those it is about. The memo changes no answer; it only saves time.
 */
import { type CryptoProvider, concatBytes, encode, sha256, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRef,
  collateralCodec,
  evidencePolicyRecordCodec,
  revokedCertificatesRecordCodec,
  ZERO_DIGEST,
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

const JUDGEMENTS_MAX = 8_192;

export function createJudgementMemo(
  rescore: RescoreEvidence,
  judgementsMax = JUDGEMENTS_MAX,
): RescoreEvidence {
  const certain = createJudgements(judgementsMax);
  const guessed = new WeakMap<CryptoProvider, Map<string, Judged>>();
  const digestOf = createDigests((item: Collateral) => encode(collateralCodec, item));
  const digestOfPiece = (item: Collateral | null): string => (item === null ? '' : digestOf(item));
  const decidedOf = createDecisionDigests();
  // Every piece is asked for again: whoever gave the rules may count on being asked.
  const holds = ({ asked, fromMs, toMs }: Judged, { nowMs, collateral }: StateEvidenceRules): boolean =>
    fromMs <= nowMs &&
    nowMs <= toMs &&
    asked.every(({ ref, digest }) => digestOfPiece(collateral(ref)) === digest);
  return (kind, facts, rules, crypto) => {
    const name = nameOf(kind, facts, rules, decidedOf(rules));
    for (const known of [certain.find(name), guessed.get(crypto)?.get(name)]) {
      if (known !== undefined && holds(known, rules)) return known.rescoring;
    }
    const guesses = guessesOf(crypto);
    const { rules: noted, asked } = notingRules(rules, digestOfPiece);
    const rescoring = rescore(kind, facts, noted, crypto);
    const { nowMs } = rules;
    const judged: Judged = { rescoring, asked, fromMs: nowMs, toMs: nowMs };
    // A signature that was only taken for good may turn out bad: that is good for the run that takes it so, and for no other.
    if (guessesOf(crypto) !== guesses) {
      const ofRun = guessed.get(crypto) ?? new Map<string, Judged>();
      guessed.set(crypto, ofRun.set(name, judged));
      return rescoring;
    }
    const endMs = lastMsOf(rescoring, rules);
    const isLasting =
      endMs > nowMs && isSame(rescore(kind, facts, { ...rules, nowMs: endMs }, crypto), rescoring);
    if (guessesOf(crypto) === guesses) certain.put(name, isLasting ? { ...judged, toMs: endMs } : judged);
    return rescoring;
  };
}

/** When full, the older half is dropped at once. */
function createJudgements(judgementsMax: number) {
  let recent = new Map<string, Judged>();
  let older = new Map<string, Judged>();
  const put = (name: string, judged: Judged): void => {
    if (!recent.has(name) && 2 * (recent.size + 1) > judgementsMax) {
      older = recent;
      recent = new Map();
    }
    recent.set(name, judged);
  };
  const find = (name: string): Judged | undefined => {
    const known = recent.get(name);
    if (known !== undefined) return known;
    const old = older.get(name);
    if (old !== undefined) put(name, old);
    return old;
  };
  return { find, put };
}

/** The same rules, and what is asked of their collateral from now on. */
function notingRules(
  rules: StateEvidenceRules,
  digestOf: (item: Collateral | null) => string,
): { readonly rules: StateEvidenceRules; readonly asked: readonly Asked[] } {
  const asked: Asked[] = [];
  const collateral = <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
    const item: CollateralOf<K> | null = rules.collateral(ref);
    asked.push({ ref, digest: digestOf(item) });
    return item;
  };
  return { rules: { ...rules, collateral }, asked };
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

/** By object: a state decodes a row once a block, and every key asks for the same few. */
function createDigests<T extends object>(bytesOf: (value: T) => Uint8Array): (value: T) => string {
  const known = new WeakMap<T, string>();
  return (value) => {
    const before = known.get(value);
    if (before !== undefined) return before;
    const digest = latin1(sha256(bytesOf(value)));
    known.set(value, digest);
    return digest;
  };
}

/** What decrees say: certificates, statuses and floors, 32 characters each. */
function createDecisionDigests(): (rules: StateEvidenceRules) => string {
  type Policy = Pick<StateEvidenceRules, 'tcbStatuses' | 'tcbFloors'>;
  const policyBytes = (policy: Policy): Uint8Array =>
    encode(evidencePolicyRecordCodec, { version: ZERO_DIGEST, ...policy });
  const ofRevoked = createDigests((revoked: StateEvidenceRules['revoked']) =>
    encode(revokedCertificatesRecordCodec, revoked),
  );
  const ofStatuses = createDigests((tcbStatuses: Policy['tcbStatuses']) =>
    policyBytes({ tcbStatuses, tcbFloors: [] }),
  );
  const ofFloors = createDigests((tcbFloors: Policy['tcbFloors']) =>
    policyBytes({ tcbStatuses: [], tcbFloors }),
  );
  return ({ revoked, tcbStatuses, tcbFloors }) =>
    ofRevoked(revoked) + ofStatuses(tcbStatuses) + ofFloors(tcbFloors);
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
  decided: string,
): string {
  const head = utf8Encode(`${kind}/${simulated}/${evaluation}/${collateralGraceMs}/${testRoots.length}/`);
  return decided + latin1(sha256(concatBytes(head, ...testRoots, facts)));
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
