/**
 * What keeps a validator from signing two different blocks at one height, whatever happens to the process: the vote and the
 * block it is for are on disk, synced, before the signature is given to anybody.
 */
import { mkdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Timestamp } from '@haca/light-client';
import type { Ed25519Signer } from '@haca/platform';
import { bytesEqual, bytesOf, decode, encode, field, sha256, struct, u64, uint } from '@haca/primitives';

const BLOCK_BYTES_MAX = 128 * 1024 * 1024;
const MAGIC = new TextEncoder().encode('hacasgn1');
const HEAD_BYTES = MAGIC.length + 4 + 32;

const voteCodec = struct({
  height: field(0, uint()),
  seconds: field(1, u64),
  nanos: field(2, uint(999_999_999)),
  signBytes: field(3, bytesOf(1, 1024)),
  signature: field(4, bytesOf(64)),
  block: field(5, bytesOf(1, BLOCK_BYTES_MAX)),
});

export interface SignedVote {
  readonly height: number;
  readonly timestamp: Timestamp;
  readonly signBytes: Uint8Array;
  readonly signature: Uint8Array;
  /** The block that was voted for, encoded. */
  readonly block: Uint8Array;
}

export type VoteToSign = Omit<SignedVote, 'signature'>;

/** The guard refused: the validator voted for another block at this height, or is past it. */
export class DoubleSignError extends Error {
  override readonly name = 'DoubleSignError';
}

export interface SignGuard {
  /** The last vote that may have left this process or one before it. */
  readonly latest: () => SignedVote | null;
  /** Resolves to the signature once it may leave. The same vote again gives the same signature. */
  readonly sign: (vote: VoteToSign) => Promise<Uint8Array>;
  readonly close: () => Promise<void>;
}

/** Two slots in two files, written in turn: a torn write can only hit a vote whose signature never left. */
export async function openSignGuard(directory: string, signer: Ed25519Signer): Promise<SignGuard> {
  mkdirSync(directory, { recursive: true });
  const slots = [
    await openSlot(join(directory, 'vote-0')),
    await openSlot(join(directory, 'vote-1')),
  ] as const;
  const directoryHandle = await open(directory, 'r');
  await directoryHandle.sync();
  await directoryHandle.close();
  const votes = await Promise.all(slots.map(readVote));
  const [first, second] = votes as [SignedVote | null, SignedVote | null];
  let latest = (first?.height ?? 0) >= (second?.height ?? 0) ? first : second;
  let next: 0 | 1 = latest === first ? 1 : 0;

  return {
    latest: () => latest,
    sign: async (vote) => {
      if (latest !== null && vote.height === latest.height && bytesEqual(vote.signBytes, latest.signBytes)) {
        return latest.signature;
      }
      if (latest !== null && vote.height <= latest.height) {
        throw new DoubleSignError(
          `voted at height ${latest.height} already, asked to vote at ${vote.height}`,
        );
      }
      const signed = { ...vote, signature: signer.sign(vote.signBytes) };
      const slot = next;
      // Set before writing: if the write fails half-way, no other vote of this height may follow from this process.
      latest = signed;
      next = slot === 0 ? 1 : 0;
      await writeVote(slots[slot], signed);
      return signed.signature;
    },
    close: async () => {
      for (const slot of slots) await slot.close();
    },
  };
}

async function openSlot(path: string): Promise<FileHandle> {
  // Made if it is not there, never truncated.
  return await open(path, 'r+', 0o600).catch(() => open(path, 'wx+', 0o600));
}

async function writeVote(file: FileHandle, vote: SignedVote): Promise<void> {
  const { seconds, nanos } = vote.timestamp;
  const payload = encode(voteCodec, { ...vote, seconds, nanos });
  const bytes = new Uint8Array(HEAD_BYTES + payload.length);
  bytes.set(MAGIC);
  new DataView(bytes.buffer).setUint32(MAGIC.length, payload.length);
  bytes.set(sha256(payload), MAGIC.length + 4);
  bytes.set(payload, HEAD_BYTES);
  const { bytesWritten } = await file.write(bytes, 0, bytes.length, 0);
  if (bytesWritten !== bytes.length)
    throw new Error(`wrote ${bytesWritten} of ${bytes.length} bytes of a vote`);
  await file.datasync();
}

/** The vote in a slot, or null where none was ever written completely. */
async function readVote(file: FileHandle): Promise<SignedVote | null> {
  const head = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
  if (bytesRead < HEAD_BYTES || !bytesEqual(head.subarray(0, MAGIC.length), MAGIC)) return null;
  const length = head.readUInt32BE(MAGIC.length);
  if (length > BLOCK_BYTES_MAX + 4096) return null;
  const payload = Buffer.alloc(length);
  const body = await file.read(payload, 0, length, HEAD_BYTES);
  if (body.bytesRead < length || !bytesEqual(sha256(payload), head.subarray(MAGIC.length + 4))) return null;
  const { seconds, nanos, ...vote } = decode(voteCodec, new Uint8Array(payload), 'vote');
  return { ...vote, timestamp: { seconds, nanos } };
}
