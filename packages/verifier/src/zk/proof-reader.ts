/**
 * The one way to the bytes of a proof: parse canonically, absorb, then return. Nothing that verifies a step holds the
 * bytes; what is not absorbed (the openings) can be read only after the last challenge, and `queries.ts` authenticates
 * it against caps that were absorbed.
 */
import {
  createTranscript,
  DIGEST_BYTES,
  decodeExts,
  EXT_BYTES,
  type Ext,
  LABELS,
  P,
  type TranscriptOptions,
  type ZkKernels,
} from '@haca/primitives/zk';
import { type Gate, Rejection } from './checks.ts';

/** What steps are given: messages and the challenges that answer them. */
export interface StepReader {
  /** `count` elements, one frame under `label`. */
  readonly readExts: (label: number, count: number) => readonly Ext[];
  readonly challengeExt: (label: number) => Ext;
  /** `count` elements in one squeeze. */
  readonly challengeExts: (label: number, count: number) => readonly Ext[];
}

export interface ProofReader extends StepReader {
  /** A frame that is no part of the proof: the statement's header, the cap of the weights. */
  readonly absorb: (label: number, bytes: Uint8Array) => void;
  /** A cap of `count` digests. */
  readonly readDigests: (label: number, count: number) => Uint8Array;
  /** Reads the nonce and checks that it carries `bits` bits of work. */
  readonly readNonce: (bits: number) => void;
  readonly challengeIndices: (label: number, count: number, bits: number) => readonly number[];
  /** `count` bytes that are not absorbed. From the first call on, nothing that is absorbed can be read. */
  readonly readOpening: (count: number) => Uint8Array;
  /** `count` canonical words of the base field, not absorbed. */
  readonly readOpenedWords: (into: Uint32Array, at: number, count: number) => Uint8Array;
  /** `count` canonical elements, not absorbed. */
  readonly readOpenedExts: (count: number) => readonly Ext[];
  readonly requireEnd: () => void;
}

const NONCE_BYTES = 8;

export interface ReaderOptions {
  readonly kernels: ZkKernels;
  readonly record?: TranscriptOptions['record'];
}

/** Reads from `offset` on. The caller has checked the length against the program. */
export function createProofReader(
  proof: Uint8Array,
  offset: number,
  gate: Gate,
  { kernels, record }: ReaderOptions,
): ProofReader {
  const transcript = createTranscript(
    record === undefined ? { hasher: kernels } : { hasher: kernels, record },
  );
  let at = offset;
  let opening = false;

  const parse = (bytes: Uint8Array): readonly Ext[] => {
    const elements = decodeExts(bytes, bytes.length / EXT_BYTES);
    if (elements === undefined)
      throw new Rejection('encoding', `an element before byte ${at} is not canonical`);
    return elements;
  };
  const take = (count: number): Uint8Array => {
    gate.require('length', at + count <= proof.length, `${proof.length} bytes, read at ${at + count}`);
    at += count;
    return proof.subarray(at - count, at);
  };
  const takeAbsorbed = (count: number): Uint8Array => {
    gate.require('plan', !opening, 'a message after the openings');
    return take(count);
  };
  return {
    absorb: transcript.absorb,
    readExts: (label, count) => {
      const bytes = takeAbsorbed(EXT_BYTES * count);
      const elements = parse(bytes);
      transcript.absorb(label, bytes);
      return elements;
    },
    readDigests: (label, count) => {
      const bytes = takeAbsorbed(DIGEST_BYTES * count);
      transcript.absorb(label, bytes);
      return bytes;
    },
    readNonce: (bits) => {
      const seed = transcript.squeeze(LABELS.POW, 32);
      const nonce = takeAbsorbed(NONCE_BYTES);
      gate.require(
        'pow',
        hasWork(kernels.keyedHash(seed, nonce), bits),
        `a nonce without ${bits} bits of work`,
      );
      transcript.absorb(LABELS.POW, nonce);
    },
    challengeExt: transcript.challengeExt,
    challengeExts: transcript.challengeExts,
    challengeIndices: transcript.challengeIndices,
    readOpening: (count) => {
      opening = true;
      return take(count);
    },
    readOpenedWords: (into, start, count) => {
      opening = true;
      const bytes = take(4 * count);
      gate.require('encoding', decodeWords(bytes, into, start), `a word before byte ${at} is not canonical`);
      return bytes;
    },
    readOpenedExts: (count) => {
      opening = true;
      return parse(take(EXT_BYTES * count));
    },
    requireEnd: () => {
      gate.require('trailing', at === proof.length, `${proof.length - at} bytes after the last query`);
    },
  };
}

/** Little-endian words; false when one is not below p. */
function decodeWords(bytes: Uint8Array, into: Uint32Array, start: number): boolean {
  let canonical = true;
  for (let i = 0, from = 0; from < bytes.length; i++, from += 4) {
    const word =
      ((bytes[from] as number) |
        ((bytes[from + 1] as number) << 8) |
        ((bytes[from + 2] as number) << 16) |
        ((bytes[from + 3] as number) << 24)) >>>
      0;
    if (word >= P) canonical = false;
    into[start + i] = word;
  }
  return canonical;
}

/** The first `bits` bits are zero, bytes in order, most significant bit first. */
function hasWork(digest: Uint8Array, bits: number): boolean {
  const whole = Math.floor(bits / 8);
  for (let i = 0; i < whole; i++) if (digest[i] !== 0) return false;
  return (digest[whole] as number) >>> (8 - (bits % 8)) === 0;
}
