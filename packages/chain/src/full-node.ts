/** A full node in one process: store, application, embedded engine and RPC, put together and taken apart in order. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { GenesisDocument } from '@haca/light-client';
import { compareTimestamps, decodeBlockBytes, validatorSetHash } from '@haca/light-client';
import { ed25519SignerFromSeed, type ListenOptions, nodeCrypto } from '@haca/platform';
import { bytesEqual, UsageError } from '@haca/primitives';
import { eventTags } from './application/event-tags.ts';
import { EVIDENCE_VERIFIER } from './application/evidence.ts';
import { type HacaApplication, openApplication } from './application.ts';
import { createBlockReader } from './engine/block-reader.ts';
import { type Engine, startEngine } from './engine/engine.ts';
import { openSignGuard } from './engine/sign-guard.ts';
import { genesisAppHash } from './genesis-document.ts';
import { type RpcLimits, type RpcServer, type StaticPage, startRpcServer } from './rpc/server.ts';
import type { EvidenceVerifier } from './state-machine/index.ts';
import { openStore, type Store } from './storage/index.ts';

export interface FullNodeOptions {
  /** Folder of this node alone; made if it is not there. */
  readonly home: string;
  readonly genesis: GenesisDocument;
  /** Seed of the consensus key, 32 bytes. */
  readonly validatorSeed: Uint8Array;
  /** Where its RPC is to listen; any free port of 127.0.0.1 if not said. */
  readonly rpc?: ListenOptions;
  /** Milliseconds since 1970; the system clock if not said. */
  readonly clock?: () => number;
  /** Least time between blocks with transactions; 50 if not said. */
  readonly blockIntervalMs?: number;
  /** Longest time without a block; 10,000 if not said. */
  readonly emptyBlockIntervalMs?: number;
  /** Recompute all invariants after each block that changed state; what genesis says of `simulated` if not said. */
  readonly checkInvariants?: boolean;
  readonly versionsKept?: number;
  readonly evidence?: EvidenceVerifier;
  readonly rpcLimits?: Partial<RpcLimits>;
  readonly pages?: ReadonlyMap<string, StaticPage>;
  readonly log?: (line: string) => void;
  /** The engine stopped because a block could not be made or kept: end the process. Thrown asynchronously if not given. */
  readonly onFailure?: (error: Error) => void;
}

export interface FullNode {
  readonly rpcUrl: string;
  readonly chainId: string;
  readonly engine: Engine;
  readonly application: HacaApplication;
  /** Finishes the block being made, then closes everything. */
  readonly close: () => Promise<void>;
}

export const NODE_VERSION = '0.1.0';
const BLOCK_INTERVAL_MS = 50;
const EMPTY_BLOCK_INTERVAL_MS = 10_000;

export async function startFullNode(options: FullNodeOptions): Promise<FullNode> {
  mkdirSync(options.home, { recursive: true });
  const signer = ed25519SignerFromSeed(options.validatorSeed);
  // Closed in the opposite order, also where the start fails half-way.
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer();
  };
  try {
    const store = openStore(join(options.home, 'data'), { eventTags });
    closers.push(store.close);
    requireSameGenesis(store, options.genesis);
    const guard = await openSignGuard(join(options.home, 'sign-state'), signer);
    closers.push(guard.close);
    const application = openApplication({
      store,
      crypto: nodeCrypto,
      evidence: options.evidence ?? EVIDENCE_VERIFIER,
      checkInvariants: options.checkInvariants ?? options.genesis.app.simulated,
      ...(options.log === undefined ? {} : { log: options.log }),
      ...(options.versionsKept === undefined ? {} : { versionsKept: options.versionsKept }),
    });
    closers.push(application.close);
    const engine = await startEngine({
      genesis: options.genesis,
      application,
      store,
      guard,
      publicKey: signer.publicKey,
      clock: options.clock ?? Date.now,
      blockIntervalMs: options.blockIntervalMs ?? BLOCK_INTERVAL_MS,
      emptyBlockIntervalMs: options.emptyBlockIntervalMs ?? EMPTY_BLOCK_INTERVAL_MS,
      onFailure: options.onFailure ?? rethrow,
    });
    closers.push(engine.stop);
    const rpc = await serveRpc(options, { application, engine, store, publicKey: signer.publicKey });
    closers.push(rpc.close);
    return { rpcUrl: rpc.url, chainId: options.genesis.chainId, engine, application, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A folder belongs to one chain for ever: its first block must be the one that this genesis leads to. */
function requireSameGenesis(store: Store, genesis: GenesisDocument): void {
  const bytes = store.blockAt(genesis.initialHeight);
  if (bytes === undefined) return;
  const { header } = decodeBlockBytes(bytes);
  const isSame =
    header.chainId === genesis.chainId &&
    compareTimestamps(header.time, genesis.time) === 0 &&
    bytesEqual(header.validatorsHash, validatorSetHash(genesis.validators)) &&
    bytesEqual(header.appHash, genesisAppHash(genesis));
  if (!isSame) throw new UsageError(`the data folder belongs to another genesis (chain ${header.chainId})`);
}

interface RunningNode {
  readonly application: HacaApplication;
  readonly engine: Engine;
  readonly store: Store;
  readonly publicKey: Uint8Array;
}

async function serveRpc(options: FullNodeOptions, running: RunningNode): Promise<RpcServer> {
  let url = '';
  const server = await startRpcServer({
    ...(options.rpc ?? { host: '127.0.0.1', port: 0 }),
    context: {
      ...running,
      blocks: createBlockReader(running.store),
      genesis: options.genesis,
      listenAddress: () => url.replace('http:', 'tcp:'),
      version: NODE_VERSION,
    },
    ...(options.rpcLimits === undefined ? {} : { limits: options.rpcLimits }),
    ...(options.pages === undefined ? {} : { pages: options.pages }),
    log: options.log ?? (() => undefined),
  });
  url = server.url;
  return server;
}

/** An engine that can't go on must not look alive. */
function rethrow(error: Error): void {
  queueMicrotask(() => {
    throw error;
  });
}
