/** Judging the evidence behind a key with records from a full node: which ones it takes is found out by judging. */
import { RpcError } from '@haca/platform/rpc';
import { type CryptoProvider, decode, toHex } from '@haca/primitives';
import {
  BUNDLE_EVIDENCE_RECORDS_MAX,
  type ChainConfigRecord,
  type KeyEvidenceRecord,
  keyEvidenceRecordCodec,
  type NodeKeyRecord,
  type ProvenRecord,
  recordKey,
} from '@haca/protocol';
import { type ChainView, headerTimeMs } from './chain/view.ts';
import {
  type AppraisedDocuments,
  askNamedRecords,
  type EvidenceJudgement,
  judgeKeyEvidence,
  type KeyEvidence,
} from './evidence.ts';
import { openEvidenceRecords } from './evidence-records.ts';
import type { NodeApi } from './node-api.ts';

export interface JudgedKey {
  readonly evidence: KeyEvidence | null;
  /** What the chain keeps of it; null where it keeps nothing. */
  readonly record: KeyEvidenceRecord | null;
  readonly judgement: EvidenceJudgement;
  /** All that the judgement rests on, proven in one state. */
  readonly records: readonly ProvenRecord[];
}

export interface KeyToJudge {
  readonly api: Pick<NodeApi, 'attestation'>;
  readonly keyId: Uint8Array;
  readonly key: NodeKeyRecord;
  readonly config: ChainConfigRecord;
  /** State that all records are proven in; the header above it must be verified or be there to verify. */
  readonly stateHeight: number;
}

interface KnownKey {
  readonly evidence: KeyEvidence;
  readonly record: KeyEvidenceRecord;
  readonly appraised: AppraisedDocuments;
}

const ROUNDS_MAX = 3;
const KNOWN_KEYS_MAX = 1_000;

/**
 * Remembers documents that were accepted, what they say and what the chain keeps of them, for none of it ever changes; what they are worth now is judged each
 * time. A failure may be of the moment (no header to be had, another document served), so nothing of it is remembered.
 */
export function openKeyJudge(
  crypto: CryptoProvider,
  chain: Pick<ChainView, 'record' | 'headerAt'>,
): (subject: KeyToJudge) => Promise<JudgedKey> {
  const knownKeys = new Map<string, KnownKey>();
  return async ({ api, keyId, key, config, stateHeight }) => {
    const known = knownKeys.get(toHex(keyId));
    const [evidence, record] =
      key.evidence === null
        ? [null, null]
        : known !== undefined
          ? [known.evidence, known.record]
          : await Promise.all([api.attestation(keyId), keyEvidenceAt(chain, keyId, stateHeight)]);
    const header = await chain.headerAt(stateHeight + 1);
    const request = {
      key,
      record,
      evidence,
      config,
      registeredAtMs: evidence === null ? null : await openedAtMs(chain, key.openedAt),
      time: { height: header.height, timeMs: headerTimeMs(header) },
      appraised: known?.appraised ?? null,
    };
    const judged = await judgeWithRecords(crypto, chain, request, stateHeight);
    const { verdict, appraised } = judged.judgement;
    if (verdict.ok && evidence !== null && record !== null && appraised !== null) {
      if (knownKeys.size >= KNOWN_KEYS_MAX) knownKeys.clear();
      knownKeys.set(toHex(keyId), { evidence, record, appraised });
    }
    return { ...judged, evidence, record };
  };
}

/** Null where it is proven that there is none. */
async function keyEvidenceAt(
  chain: Pick<ChainView, 'record'>,
  keyId: Uint8Array,
  stateHeight: number,
): Promise<KeyEvidenceRecord | null> {
  const { value } = await chain.record(recordKey.keyEvidence(keyId), stateHeight);
  return value === null ? null : decode(keyEvidenceRecordCodec, value, 'key-evidence');
}

/** Judges, fetches what was asked for, and judges again; what is missing after that stays skipped. */
async function judgeWithRecords(
  crypto: CryptoProvider,
  chain: Pick<ChainView, 'record'>,
  request: Omit<Parameters<typeof judgeKeyEvidence>[1], 'records'>,
  stateHeight: number,
): Promise<Pick<JudgedKey, 'judgement' | 'records'>> {
  const proven: ProvenRecord[] = [];
  const prove = async (keys: readonly Uint8Array[]): Promise<void> => {
    const wanted = keys.slice(0, BUNDLE_EVIDENCE_RECORDS_MAX - proven.length);
    proven.push(...(await Promise.all(wanted.map((key) => chain.record(key, stateHeight)))));
  };
  if (request.record !== null) {
    const named = openEvidenceRecords([]);
    askNamedRecords(named, request.record);
    await prove(named.missing());
  }
  let { appraised = null } = request;
  for (let round = 1; ; round++) {
    const records = openEvidenceRecords(proven);
    const judgement = judgeKeyEvidence(crypto, { ...request, appraised, records });
    const missing = records.missing();
    if (missing.length === 0 || round === ROUNDS_MAX) return { judgement, records: proven };
    ({ appraised } = judgement);
    await prove(missing);
  }
}

async function openedAtMs(chain: Pick<ChainView, 'headerAt'>, height: number): Promise<number | null> {
  return chain.headerAt(height).then(headerTimeMs, (error: unknown) => {
    // A full node that is away says nothing about the key.
    if (error instanceof RpcError && error.code === 'unreachable') throw error;
    return null;
  });
}
