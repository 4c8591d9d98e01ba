/** Where the messages of a proof stand in its bytes, found by running the verifier and listening to its transcript. */
import assert from 'node:assert/strict';
import { keyedHash, LABELS, type TranscriptRecord } from '@haca/primitives/zk';
import type { Subject } from './verify-harness.ts';
import { assertAccepted, verdictOn } from './verify-harness.ts';

export interface AbsorbedFrame {
  readonly label: number;
  readonly offset: number;
  readonly length: number;
  /** Field elements; else digests or the nonce. */
  readonly isElements: boolean;
}

const CAPS: readonly number[] = [LABELS.ZCAP, LABELS.FOLD_CAP, LABELS.POW];
const HEADER_BYTES = 9;

export function transcriptOf(subject: Subject, proof: Uint8Array): TranscriptRecord[] {
  const log: TranscriptRecord[] = [];
  const record = (entry: TranscriptRecord): void => {
    log.push(entry);
  };
  assertAccepted(verdictOn(subject, proof, { record }));
  return log;
}

/** In the order of the proof; each frame is found by its digest where the one before ends. */
export function absorbedFrames(subject: Subject, proof: Uint8Array): AbsorbedFrame[] {
  let at = HEADER_BYTES;
  return transcriptOf(subject, proof).flatMap(({ kind, label, length, digest }) => {
    if (kind !== 'absorb' || label === LABELS.HDR || label === LABELS.WCAP) return [];
    assert.deepEqual(keyedHash(new Uint8Array(32), proof.subarray(at, at + length)), digest);
    at += length;
    return [{ label, offset: at - length, length, isElements: !CAPS.includes(label) }];
  });
}
