/**
 * Judgements of facts that were made before. All that a judgement hangs on besides the time is named by the version of the state's
 * rules, the genesis and the facts; and time comes in by windows alone, so what holds at two times holds between them. The
 * memo changes no answer; it only saves time.
 */
import { type CryptoProvider, concatBytes, sha256, utf8Encode } from '@haca/primitives';
import type { EvidenceRescoring, RescoreEvidence, StateEvidenceRules } from '../state-machine/index.ts';
import type { Checker } from './proof-checks.ts';

interface Judged {
  readonly rescoring: EvidenceRescoring;
  readonly fromMs: number;
  readonly toMs: number;
}

const JUDGEMENTS_MAX = 4_096;

export function createJudgementMemo(
  rescore: RescoreEvidence,
  judgementsMax = JUDGEMENTS_MAX,
): RescoreEvidence {
  let recent = new Map<string, Judged>();
  let older = new Map<string, Judged>();
  const put = (name: string, judged: Judged): void => {
    if (!recent.has(name) && 2 * (recent.size + 1) > judgementsMax) {
      older = recent;
      recent = new Map();
    }
    recent.set(name, judged);
  };
  return (kind, facts, rules, crypto) => {
    if (rules.version === null) return rescore(kind, facts, rules, crypto);
    const name = nameOf(kind, facts, rules, rules.version);
    const known = recent.get(name) ?? older.get(name);
    if (known !== undefined && known.fromMs <= rules.nowMs && rules.nowMs <= known.toMs) {
      put(name, known);
      return known.rescoring;
    }
    const guesses = guessesOf(crypto);
    const rescoring = rescore(kind, facts, rules, crypto);
    const { fault, collateralEndMs } = rescoring;
    // Without collateral there is little to save, and what is wrong may be right at any other time.
    if (fault !== null || collateralEndMs === null) return rescoring;
    const toMs = collateralEndMs + rules.collateralGraceMs - 1;
    const atEnd = toMs <= rules.nowMs ? null : rescore(kind, facts, { ...rules, nowMs: toMs }, crypto);
    // A signature that was only taken for good may turn out bad.
    const isCertain = guessesOf(crypto) === guesses;
    if (isCertain && atEnd !== null && isSame(atEnd, rescoring)) {
      put(name, { rescoring, fromMs: rules.nowMs, toMs });
    }
    return rescoring;
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
  { simulated, testRoots, collateralGraceMs }: StateEvidenceRules,
  version: Uint8Array,
): string {
  const head = utf8Encode(`${kind}/${simulated}/${collateralGraceMs}/${testRoots.length}/`);
  const digest = sha256(concatBytes(version, head, ...testRoots, facts));
  return String.fromCharCode(...digest);
}
