/** Judging the evidence behind a key with records from a full node: which ones it takes is found out by judging. */
import { RpcError } from '@haca/platform/rpc';
import { type CryptoProvider, toHex } from '@haca/primitives';
import {
  BUNDLE_EVIDENCE_RECORDS_MAX,
  type ChainConfigRecord,
  type NodeKeyRecord,
  type ProvenRecord,
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
  readonly appraised: AppraisedDocuments;
}

const ROUNDS_MAX = 3;
const KNOWN_KEYS_MAX = 1_000;

/**
 * Remembers documents that were accepted and what they say, for they never change; what they are worth now is judged each
 * time. A failure may be of the moment (no header to be had, another document served), so nothing of it is remembered.
 */
export function openKeyJudge(
  crypto: CryptoProvider,
  chain: Pick<ChainView, 'record' | 'headerAt'>,
): (subject: KeyToJudge) => Promise<JudgedKey> {
  const knownKeys = new Map<string, KnownKey>();
  return async ({ api, keyId, key, config, stateHeight }) => {
    const known = knownKeys.get(toHex(keyId));
    const evidence = key.evidence === null ? null : (known?.evidence ?? (await api.attestation(keyId)));
    const header = await chain.headerAt(stateHeight + 1);
    const request = {
      key,
      evidence,
      config,
      registeredAtMs: evidence === null ? null : await openedAtMs(chain, key.openedAt),
      time: { height: header.height, timeMs: headerTimeMs(header) },
      appraised: known?.appraised ?? null,
    };
    const judged = await judgeWithRecords(crypto, chain, request, stateHeight);
    const { verdict, appraised } = judged.judgement;
    if (verdict.ok && evidence !== null && appraised !== null) {
      if (knownKeys.size >= KNOWN_KEYS_MAX) knownKeys.clear();
      knownKeys.set(toHex(keyId), { evidence, appraised });
    }
    return { ...judged, evidence };
  };
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
  if (request.key.evidence !== null) {
    const named = openEvidenceRecords([]);
    askNamedRecords(named, request.key.evidence);
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
