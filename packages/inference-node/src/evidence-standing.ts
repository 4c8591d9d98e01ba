/**
 * Whether the evidence behind a key still backs what it promises, by the word of the node's own full node: what it means for new
 * work, for a successor, and for the people who can do something about it.
 */
import type { NodeKeyRecord, ProtocolParams } from '@haca/protocol';
import { ApiError } from './api-error.ts';

/** As settling would find it in a block like the newest (spec/tee-chain.md, TC-6 to TC-9). */
export interface EvidenceStanding {
  /** A word of TC-6. */
  readonly standing: string;
  /** It backs new batches. */
  readonly isBacking: boolean;
  /** Block time from which it backs none as things are. */
  readonly effectiveEndMs: number | null;
  readonly tcbStatus: string | null;
}

/** The answer to `/key-standing`; throws where it is another one. */
export function parseStanding(text: string): EvidenceStanding {
  const { standing, isBacking, effectiveEndMs, tcbStatus } = JSON.parse(text) as Record<string, unknown>;
  const isEnd = effectiveEndMs === null || Number.isSafeInteger(effectiveEndMs);
  const isStatus = tcbStatus === null || typeof tcbStatus === 'string';
  if (typeof standing !== 'string' || typeof isBacking !== 'boolean' || !isEnd || !isStatus)
    throw new Error(`the full node's answer about a key can't be read: ${text.slice(0, 200)}`);
  return { standing, isBacking, effectiveEndMs: effectiveEndMs as number | null, tcbStatus };
}

/** A new key is opened this long before evidence expires, and no work taken in the last of it. */
const ROTATE_BEFORE_MS = 30 * 60_000;
const REFUSE_BEFORE_MS = 10 * 60_000;

/** What happens, and whose move it is. */
const ADVICE: Readonly<Record<string, string>> = {
  expired: 'The node asks its platform for fresh evidence.',
  'measurement-revoked': 'Its operator has to run a release that is approved.',
  'hardware-revoked': 'Its operator has to move to another machine.',
  'certificate-revoked': 'Its operator has to have the machine certified anew, or move to another.',
  'tcb-out-of-date': 'Its operator has to update the firmware of the platform.',
  'stale-collateral': 'Anybody can post what the vendor says today: haca collateral post.',
};

/** Fresh evidence can mend these; for the others it would only be refused, and cost a fee. */
const MENDABLE: ReadonlySet<string> = new Set(['expired', 'certificate-revoked', 'tcb-out-of-date']);

/** What a key's evidence is judged by here. `standing` is null where the full node can't say. */
export interface EvidenceView {
  readonly evidence: NodeKeyRecord['evidence'];
  readonly standing: EvidenceStanding | null;
  readonly params: Pick<ProtocolParams, 'tcbGraceMs' | 'collateralGraceMs'>;
  /** Block time now. */
  readonly nowMs: number;
}

/** Milliseconds of block time until it backs nothing more as things are; infinite for a key that is not attested. */
export function evidenceLeftMs({ evidence, standing, nowMs }: EvidenceView): number {
  if (evidence === null) return Number.POSITIVE_INFINITY;
  if (standing !== null && !standing.isBacking) return 0;
  return Math.min(evidence.endMs, standing?.effectiveEndMs ?? evidence.endMs) - nowMs;
}

/** Why nothing more may be promised under the key; undefined while it may. */
export function evidenceRefusal(view: EvidenceView): ApiError | undefined {
  const { evidence, standing, params } = view;
  if (evidence === null) return undefined;
  if (standing !== null && !standing.isBacking) {
    const advice = ADVICE[standing.standing] ?? '';
    const detail = `The evidence behind the key is not accepted any more: ${standing.standing}. ${advice}`;
    return new ApiError('E_UNAVAILABLE', detail.trimEnd());
  }
  if (evidenceLeftMs(view) > marginMs(view, params, REFUSE_BEFORE_MS)) return undefined;
  return new ApiError('E_UNAVAILABLE', 'The evidence behind the key ends and has no successor yet.');
}

/** Whether it is time for a key with fresh evidence. */
export function isEvidenceDue(view: EvidenceView): boolean {
  const { evidence, standing, params } = view;
  if (evidence === null) return false;
  if (standing !== null && !standing.isBacking) return MENDABLE.has(standing.standing);
  return evidenceLeftMs(view) <= marginMs(view, params, ROTATE_BEFORE_MS);
}

/** No successor of this process can help: its platform, or its software, is out. */
export function isBeyondMending(standing: EvidenceStanding | null): boolean {
  return standing !== null && !standing.isBacking && !MENDABLE.has(standing.standing);
}

/** An end that comes with a grace is near when a part of the grace is left, however short the chain has it. */
function marginMs(
  { evidence, standing }: EvidenceView,
  params: EvidenceView['params'],
  longest: number,
): number {
  const endMs = standing?.effectiveEndMs ?? null;
  if (endMs === null || evidence === null || endMs >= evidence.endMs) return longest;
  const graces = [params.tcbGraceMs, params.collateralGraceMs].filter((ms) => ms > 0);
  const part = longest / ROTATE_BEFORE_MS / 4;
  return Math.min(longest, ...graces.map((ms) => Math.floor(ms * part)));
}

/** One line for the log: as a person needs it. */
export function standingLine({ standing, isBacking, effectiveEndMs, tcbStatus }: EvidenceStanding): string {
  const tcb = tcbStatus === null ? '' : `, TCB ${tcbStatus}`;
  const until =
    effectiveEndMs === null || !isBacking ? '' : `, until ${new Date(effectiveEndMs).toISOString()}`;
  const advice = isBacking ? '' : ` No new work is taken. ${ADVICE[standing] ?? ''}`.trimEnd();
  return `evidence ${standing}${tcb}${until}${advice === '' ? '' : `.${advice}`}`;
}
