/**
 * The Fiat-Shamir transcript: BLAKE3 in keyed mode as a ratchet. What is absorbed gathers in frames until a squeeze, whose
 * output is hashed from them under the state and replaces it. Every challenge so depends on every byte absorbed before it.
 */
import { UsageError } from '../errors.ts';
import { P } from './babybear.ts';
import { deriveKey, keyedHash } from './blake3.ts';
import { type Ext, encodeExts } from './ext.ts';
import type { ZkKernels } from './kernels.ts';

/** What a frame carries; one message of the protocol is one frame. 64 to 127 are kept for masks. */
export const LABELS = {
  HDR: 1,
  WCAP: 2,
  ZCAP: 3,
  LOGUP: 4,
  GKR_VALUES: 5,
  GKR_LAMBDA: 6,
  GKR_ROUND: 7,
  SEGMENTS: 8,
  OBLIGATION: 9,
  OP_ROUND: 10,
  OP_VALUES: 11,
  AGGREGATE: 12,
  BETA: 13,
  ROW_ROUND: 14,
  COLUMN_VALUES: 15,
  ETA: 16,
  FOLD_CAP: 17,
  FOLD_ROUND: 18,
  FINAL: 19,
  POW: 20,
  QUERY: 21,
  REGISTRATION: 22,
} as const;

export interface TranscriptRecord {
  readonly kind: 'absorb' | 'squeeze';
  readonly label: number;
  /** Bytes absorbed or squeezed. */
  readonly length: number;
  /** The keyed hash, under a key of zeros, of the bytes absorbed or squeezed. */
  readonly digest: Uint8Array;
}

export interface TranscriptOptions {
  /** Key derivation context of the first state: proofs of different kinds share no challenge. Default `haca zkml v1 transcript`. */
  readonly context?: string;
  readonly hasher?: Pick<ZkKernels, 'keyedHash'>;
  /** Called for each absorb and squeeze, for tests of the order. */
  readonly record?: (entry: TranscriptRecord) => void;
}

export interface Transcript {
  /** Adds one frame. `label` has 16 bits. */
  readonly absorb: (label: number, bytes: Uint8Array) => void;
  /** Adds one frame of 20-byte elements. */
  readonly absorbExts: (label: number, elements: readonly Ext[]) => void;
  /** `byteCount` bytes that depend on everything before. */
  readonly squeeze: (label: number, byteCount: number) => Uint8Array;
  readonly challengeExt: (label: number) => Ext;
  /** `count` elements in one squeeze. */
  readonly challengeExts: (label: number, count: number) => Ext[];
  /** `count` integers of `bits` bits, at most 32, in one squeeze. */
  readonly challengeIndices: (label: number, count: number, bits: number) => number[];
}

const STATE_BYTES = 32;
const ABSORB = 1;
const SQUEEZE = 2;
const FRAME_HEADER_BYTES = 7;
/** Six bytes for each coefficient: a residue is at most 1 + 6.2e-6 times as likely as in a uniform choice. */
const COEFFICIENT_BYTES = 6;
const CHALLENGE_BYTES = 30;
const NO_KEY = new Uint8Array(32);
const EMPTY = new Uint8Array(0);
const CONTEXT = 'haca zkml v1 transcript';

export function createTranscript(options: TranscriptOptions = {}): Transcript {
  const { context = CONTEXT, hasher = { keyedHash }, record } = options;
  const state = deriveKey(context, EMPTY);
  let pending = new Uint8Array(256);
  let used = 0;

  const addFrame = (kind: number, label: number, length: number, payload: Uint8Array): void => {
    if (!Number.isInteger(label) || label < 0 || label > 0xffff) throw new UsageError(`label ${label}`);
    if (!Number.isInteger(length) || length < 0 || length > 0xffffffff)
      throw new UsageError(`length ${length}`);
    const needed = used + FRAME_HEADER_BYTES + payload.length;
    if (needed > pending.length) {
      const longer = new Uint8Array(Math.max(needed, 2 * pending.length));
      longer.set(pending.subarray(0, used));
      pending = longer;
    }
    pending[used] = kind;
    pending[used + 1] = label;
    pending[used + 2] = label >>> 8;
    for (let i = 0; i < 4; i++) pending[used + 3 + i] = length >>> (8 * i);
    if (payload.length > 0) pending.set(payload, used + FRAME_HEADER_BYTES);
    used = needed;
  };
  const log = (kind: TranscriptRecord['kind'], label: number, bytes: Uint8Array): void => {
    record?.({ kind, label, length: bytes.length, digest: keyedHash(NO_KEY, bytes) });
  };

  const absorb = (label: number, bytes: Uint8Array): void => {
    addFrame(ABSORB, label, bytes.length, bytes);
    log('absorb', label, bytes);
  };
  const squeeze = (label: number, byteCount: number): Uint8Array => {
    addFrame(SQUEEZE, label, byteCount, EMPTY);
    const out = hasher.keyedHash(state, pending.subarray(0, used), STATE_BYTES + byteCount);
    for (let i = 0; i < STATE_BYTES; i++) state[i] = out[i] as number;
    used = 0;
    const bytes = out.subarray(STATE_BYTES);
    log('squeeze', label, bytes);
    return bytes;
  };
  const challengeExts = (label: number, count: number): Ext[] => {
    checkCount(count);
    const bytes = squeeze(label, CHALLENGE_BYTES * count);
    return Array.from({ length: count }, (_, i) => challengeAt(bytes, CHALLENGE_BYTES * i));
  };
  return {
    absorb,
    absorbExts: (label, elements) => absorb(label, encodeExts(elements)),
    squeeze,
    challengeExt: (label) => challengeAt(squeeze(label, CHALLENGE_BYTES), 0),
    challengeExts,
    challengeIndices: (label, count, bits) => {
      checkCount(count);
      if (!Number.isInteger(bits) || bits < 0 || bits > 32) throw new UsageError(`indices of ${bits} bits`);
      return indicesOf(squeeze(label, 4 * count), count, bits);
    },
  };
}

function checkCount(count: number): void {
  if (!Number.isSafeInteger(count) || count < 0) throw new UsageError(`${count} challenges`);
}

function challengeAt(bytes: Uint8Array, offset: number): Ext {
  return [
    coefficientAt(bytes, offset),
    coefficientAt(bytes, offset + COEFFICIENT_BYTES),
    coefficientAt(bytes, offset + 2 * COEFFICIENT_BYTES),
    coefficientAt(bytes, offset + 3 * COEFFICIENT_BYTES),
    coefficientAt(bytes, offset + 4 * COEFFICIENT_BYTES),
  ];
}

/** 48 bits, exact in a double. */
function coefficientAt(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  const high =
    (bytes[at + 3] as number) | ((bytes[at + 4] as number) << 8) | ((bytes[at + 5] as number) << 16);
  const value = high * 2 ** 24 + low;
  // The quotient may be one off where its rounding crosses an integer.
  const rest = value - Math.floor(value / P) * P;
  return (rest < 0 ? rest + P : rest >= P ? rest - P : rest) | 0;
}

function indicesOf(bytes: Uint8Array, count: number, bits: number): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true) % 2 ** bits);
}
