/** The bytes of a proof and its transcript: what is sent is written and absorbed in one call. */
import { UsageError } from '@haca/primitives';
import {
  createTranscript,
  type Ext,
  encodeExts,
  type Transcript,
  type TranscriptOptions,
} from '@haca/primitives/zk';

export interface ProofWriter
  extends Pick<Transcript, 'absorb' | 'challengeExt' | 'challengeExts' | 'squeeze' | 'challengeIndices'> {
  /** One message: one frame. */
  readonly sendExts: (label: number, elements: readonly Ext[]) => void;
  readonly sendBytes: (label: number, bytes: Uint8Array) => void;
  /** Bytes that are not absorbed: the header of the proof, openings. */
  readonly write: (bytes: Uint8Array) => void;
  /** @throws UsageError unless exactly the planned number of bytes has been written */
  readonly finish: () => Uint8Array;
}

export function createProofWriter(proofBytes: number, options: TranscriptOptions = {}): ProofWriter {
  const proof = new Uint8Array(proofBytes);
  const transcript = createTranscript(options);
  let at = 0;
  const write = (bytes: Uint8Array): void => {
    if (at + bytes.length > proofBytes) throw new UsageError(`a proof of more than ${proofBytes} bytes`);
    proof.set(bytes, at);
    at += bytes.length;
  };
  const sendBytes = (label: number, bytes: Uint8Array): void => {
    write(bytes);
    transcript.absorb(label, bytes);
  };
  const { absorb, challengeExt, challengeExts, squeeze, challengeIndices } = transcript;
  return {
    absorb,
    challengeExt,
    challengeExts,
    squeeze,
    challengeIndices,
    sendExts: (label, elements) => sendBytes(label, encodeExts(elements)),
    sendBytes,
    write,
    finish: () => {
      if (at !== proofBytes) throw new UsageError(`a proof of ${at} bytes, planned are ${proofBytes}`);
      return proof;
    },
  };
}
