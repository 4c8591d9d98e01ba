/**
 * Taking in a snapshot from peers that may lie. Only the app hash, which the light client verified, is trusted. Each chunk is
 * held against the metadata, then against the app hash: a state that grows past what the app hash commits to is noticed at
 * the first wrong chunk. Nothing of it is the store's until everything was right.
 */
import { decodeStoreProof, verifyStoreProof } from '@haca/light-client';
import { bytesEqual, MalformedError, sha256, toHex, UsageError } from '@haca/primitives';
import type {
  ApplySnapshotChunkRequest,
  ApplySnapshotChunkResponse,
  OfferSnapshotRequest,
  OfferSnapshotResult,
} from '../abci.ts';
import { createStateTree, type StateTree, type StateTreeOptions } from '../state-tree/index.ts';
import type { Store, StoreRestore } from '../storage/index.ts';
import {
  type Chunk,
  decodeChunk,
  decodeMetadata,
  type Entry,
  SNAPSHOT_FORMAT,
  snapshotHash,
} from './format.ts';

export interface RestoreContext {
  readonly store: Store;
  readonly treeOptions: StateTreeOptions;
  /** Whether a state of this height holds all that execution after it needs; a reason if not. */
  readonly refusal: (tree: StateTree, height: number) => string | null;
  /** The state is the store's now, durably; this is its tree. */
  readonly adopt: (tree: StateTree) => void;
  readonly log: (line: string) => void;
}

export interface SnapshotRestore {
  readonly offer: (request: OfferSnapshotRequest) => Promise<OfferSnapshotResult>;
  readonly apply: (request: ApplySnapshotChunkRequest) => Promise<ApplySnapshotChunkResponse>;
}

interface Session {
  readonly height: number;
  readonly appHash: Uint8Array;
  readonly chunkHashes: readonly Uint8Array[];
  readonly restore: StoreRestore;
  readonly tree: StateTree;
  /** Chunks applied. */
  next: number;
}

export function createSnapshotRestore(context: RestoreContext): SnapshotRestore {
  const { store, log } = context;
  let session: Session | null = null;
  let turn: Promise<unknown> = Promise.resolve();

  const end = async (): Promise<void> => {
    const ended = session;
    session = null;
    await ended?.restore.discard();
  };

  const offer = async ({ snapshot, appHash }: OfferSnapshotRequest): Promise<OfferSnapshotResult> => {
    await end();
    if (snapshot.format !== SNAPSHOT_FORMAT) return 'reject-format';
    if (!store.canRestore()) {
      log(`snapshot ${snapshot.height}: this node has a state of its own at height ${store.latestHeight()}`);
      return 'abort';
    }
    if (!Number.isSafeInteger(snapshot.height) || snapshot.height < 1) return 'reject-sender';
    let chunkHashes: readonly Uint8Array[];
    try {
      const metadata = decodeMetadata(snapshot.metadata, snapshot.chunks);
      if (!bytesEqual(snapshotHash(snapshot.height, snapshot.metadata), snapshot.hash))
        return 'reject-sender';
      if (!bytesEqual(metadata.appHash, appHash)) return 'reject';
      chunkHashes = metadata.chunkHashes;
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return 'reject-sender';
    }
    const tree = createStateTree(context.treeOptions);
    tree.load(snapshot.height, []);
    const restore = await store.beginRestore();
    session = { height: snapshot.height, appHash, chunkHashes, restore, tree, next: 0 };
    return 'accept';
  };

  const rejectSnapshot = async (height: number, why: string): Promise<ApplySnapshotChunkResponse> => {
    log(`snapshot ${height} was rejected: ${why}`);
    await end();
    return answer('reject-snapshot');
  };

  const apply = async (request: ApplySnapshotChunkRequest): Promise<ApplySnapshotChunkResponse> => {
    const { index, chunk: bytes, sender } = request;
    if (session === null) return answer('abort');
    const { height, chunkHashes, restore, tree, appHash } = session;
    const wanted = chunkHashes[index];
    // Chunks come in order; where one is left out everything is asked for again.
    if (wanted === undefined || index > session.next) return answer('retry-snapshot');
    if (index < session.next) return answer('accept');
    if (!bytesEqual(sha256(bytes), wanted)) {
      log(`snapshot ${height}: chunk ${index} from ${sender} is not the one that was announced`);
      return { result: 'retry', refetchChunks: [index], rejectSenders: sender === '' ? [] : [sender] };
    }
    const problem = addChunk(session, bytes);
    if (typeof problem === 'string') return rejectSnapshot(height, `chunk ${index}: ${problem}`);
    await restore.put(problem);
    session.next++;
    if (session.next < chunkHashes.length) return answer('accept');
    if (!bytesEqual(tree.root, appHash))
      return rejectSnapshot(height, `the state has root ${toHex(tree.root)}, not ${toHex(appHash)}`);
    const refusal = context.refusal(tree, height);
    if (refusal !== null) return rejectSnapshot(height, refusal);
    await restore.finish(height, appHash);
    session = null;
    context.adopt(tree);
    log(`the state of height ${height} was restored from a snapshot: ${tree.size} records`);
    return answer('accept');
  };

  return {
    // One at a time, whatever the caller does.
    offer: inTurn(offer),
    apply: inTurn(apply),
  };

  function inTurn<Request, Response>(act: (request: Request) => Promise<Response>) {
    return (request: Request): Promise<Response> => {
      const result = turn.then(() => act(request));
      turn = result.catch(() => undefined);
      return result;
    };
  }
}

function answer(result: ApplySnapshotChunkResponse['result']): ApplySnapshotChunkResponse {
  return { result, refetchChunks: [], rejectSenders: [] };
}

const EMPTY = new Uint8Array(32);

/** Entries now in the tree, or what is wrong with the chunk. */
function addChunk(
  { tree, appHash, next, chunkHashes }: Session,
  bytes: Uint8Array,
): readonly Entry[] | string {
  let chunk: Chunk;
  try {
    chunk = decodeChunk(bytes);
    tree.extend(chunk.entries);
  } catch (error) {
    if (error instanceof MalformedError || error instanceof UsageError) return error.message;
    throw error;
  }
  const isLast = next === chunkHashes.length - 1;
  return isPrefixOf(tree, chunk, appHash, isLast) ? chunk.entries : 'not the entries of the state';
}

/**
 * SNAP-6: whether what the tree holds is, up to the last entry of the chunk, all that the state of `appHash` holds, and nothing
 * beyond. The proof ties the last entry and its siblings to the app hash; siblings to the left must be those of the tree.
 */
function isPrefixOf(
  tree: StateTree,
  { proof, entries }: Chunk,
  appHash: Uint8Array,
  isLast: boolean,
): boolean {
  const [key, value] = entries.at(-1) as Entry;
  if (!verifyStoreProof({ appHash, key, value, proof }).ok) return false;
  const path = sha256(key);
  const whole = decodeStoreProof(proof).siblings;
  const own = decodeStoreProof(tree.prove(key).proof).siblings;
  if (own.length > whole.length) return false;
  return whole.every((sibling, depth) => {
    const isRight = (((path[depth >> 3] as number) >> (7 - (depth & 7))) & 1) === 1;
    const ownSibling = own[depth] ?? EMPTY;
    if (isRight) return bytesEqual(sibling, ownSibling);
    return bytesEqual(ownSibling, EMPTY) && (!isLast || bytesEqual(sibling, EMPTY));
  });
}
