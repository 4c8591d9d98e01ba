/**
 * The HACA application: state machine, state tree and durable store behind ABCI 2.0. One synced record per block makes it
 * durable before Commit answers; a start rebuilds state and tree from records and asserts the root.
 */
import { timestampToMs } from '@haca/light-client';
import { verifySignatureAsync } from '@haca/platform';
import {
  bytesEqual,
  type CryptoProvider,
  fromHex,
  MalformedError,
  toHex,
  UsageError,
  utf8Decode,
} from '@haca/primitives';
import { parseAppGenesis } from '@haca/protocol';
import type {
  Application,
  BlockAttachment,
  BlockRequest,
  FinalizeBlockResponse,
  InitChainRequest,
  InitChainResponse,
  PrepareProposalRequest,
} from './abci.ts';
import { createArrivals } from './application/arrivals.ts';
import { createBlockHashes } from './application/block-hashes.ts';
import { type BlockResults, decodeBlockResults, encodeBlockResults } from './application/block-results.ts';
import { createCandidates } from './application/candidates.ts';
import { createDecreeProofs } from './application/decree-proofs.ts';
import { createKnownTransactions } from './application/known-transactions.ts';
import { createPendingPool, type PendingLimits, refused } from './application/pending-pool.ts';
import { answerProofCheck, type Checker, checkedProofSystem } from './application/proof-checks.ts';
import { createProofPool } from './application/proof-pool.ts';
import { type ProposableTransaction, selectTransactions } from './application/proposal.ts';
import { answerQuery, type InvariantReport, noStateYet } from './application/queries.ts';
import { createRecordIndex, type RecordIndex } from './application/record-index.ts';
import { finalizeBlockResponse } from './application/responses.ts';
import { createRetention, type RetentionOptions } from './application/retention.ts';
import { createVerification, VERIFICATION_LIMITS, type VerifyAsync } from './application/verification.ts';
import { ZK_BACKEND, type ZkBackend } from './application/zk-backend.ts';
import { createStateSync, type SnapshotOptions } from './snapshots/index.ts';
import {
  applyGenesis,
  type BlockHead,
  type BlockInput,
  type BlockOutput,
  type ChainConfig,
  type Change,
  checkInvariants,
  type EvidenceVerifier,
  type ExecutionContext,
  executeBlock,
  executeProposal,
  openAdmission,
  readChainConfig,
  rehearseTransactions,
  signaturesOfDecrees,
} from './state-machine/index.ts';
import { lastPaidHeight } from './state-machine/queries.ts';
import { createStateTree, type StagedState, type StateTree } from './state-tree/index.ts';
import { restoreStateTree, type Store } from './storage/index.ts';

export const APP_VERSION = 1;
const VERSIONS_KEPT = 256;
const NOTHING = new Uint8Array(0);
const NO_HASH = new Uint8Array(32);

export interface ApplicationOptions {
  readonly store: Store;
  readonly crypto: CryptoProvider;
  /** As `crypto` answers, on other threads; the thread pool's if not said. */
  readonly verifyAsync?: VerifyAsync;
  readonly evidence: EvidenceVerifier;
  /** The proof system and where its worker threads find it; the one of `@haca/verifier` if not said. */
  readonly zk?: ZkBackend;
  /** Recompute every invariant from scratch after each block that changed state. Costs a walk of the whole state. */
  readonly checkInvariants?: boolean;
  /** State heights that answer queries with proof, the newest included. */
  readonly versionsKept?: number;
  readonly pendingLimits?: PendingLimits;
  /** Where and how often snapshots are taken; none are if not said. */
  readonly snapshots?: SnapshotOptions;
  /** Which blocks may be forgotten; none if not said. */
  readonly retention?: RetentionOptions;
  /** Told about snapshots and slow starts. */
  readonly log?: (line: string) => void;
}

export interface HacaApplication extends Application {
  readonly invariants: () => InvariantReport;
  /** Ends what goes on in the background: snapshots and pruning. Before the store is closed. */
  readonly close: () => Promise<void>;
}

/** A block that was executed and is not committed. */
interface ExecutedBlock {
  readonly request: BlockRequest;
  readonly staged: StagedState;
  readonly changes: readonly Change[];
  readonly results: BlockResults;
}

export function openApplication(options: ApplicationOptions): HacaApplication {
  const { store } = options;
  const known = createKnownTransactions();
  const zk = options.zk ?? ZK_BACKEND;
  const proofPool = createProofPool({ module: zk.module });
  const verification = createVerification(
    options.crypto,
    options.verifyAsync ?? verifySignatureAsync,
    VERIFICATION_LIMITS,
    { verifyAsync: proofPool.verify, verifyNow: (check) => answerProofCheck(zk.system, check) },
  );
  const treeOptions = { versionsKept: options.versionsKept ?? VERSIONS_KEPT };
  const isFresh = store.latestHeight() === 0;
  const log = options.log ?? (() => undefined);
  let tree: StateTree = isFresh
    ? createStateTree(treeOptions)
    : restoreStateTree(store, { ...treeOptions, log });
  let index: RecordIndex = createRecordIndex(tree.entries());
  let config: ChainConfig | null = isFresh ? null : readChainConfig(tree);
  /** Changes of genesis, until the first block makes them durable with its own. */
  let genesisChanges: readonly Change[] = [];
  let lastTimeMs = isFresh ? 0 : lastBlockTimeMs(store);
  let finalized: ExecutedBlock | null = null;
  const candidates = createCandidates<ExecutedBlock>(({ staged }) => tree.discard(staged));
  let invariants: InvariantReport = {
    enabled: options.checkInvariants ?? false,
    ok: true,
    height: 0,
    broken: [],
  };
  const blockHashes = createBlockHashes(store);

  const chainConfig = (): ChainConfig => {
    if (config === null) throw new UsageError('InitChain comes first');
    return config;
  };
  const context = (checker: Checker): ExecutionContext => ({
    crypto: checker,
    config: chainConfig(),
    evidence: options.evidence,
    zk: checkedProofSystem(zk.system, checker),
    decode: (tx) => known.lookUp(tx).decoded,
  });
  const nextHead = (): BlockHead => ({ height: tree.height + 1, timeMs: lastTimeMs });
  const decreeProofs = createDecreeProofs(
    (decrees) => signaturesOfDecrees(tree, nextHead(), context(verification.tentative), decrees),
    verification.tentative,
  );
  const pending = createPendingPool(
    {
      openWindow: () => openAdmission(tree, nextHead(), context(verification.tentative), 'mempool'),
      known,
      decreeRefusal: decreeProofs.refusalOf,
    },
    options.pendingLimits,
  );
  const arrivals = createArrivals((tx) => {
    const input: BlockInput = {
      height: tree.height + 1,
      timeMs: lastTimeMs,
      hash: NO_HASH,
      txs: [tx],
      proposer: NOTHING,
      lastCommit: [],
      recentBlockHash: blockHashes.at,
    };
    return verification.ahead('mempool', (crypto) => rehearseTransactions(tree, input, context(crypto)));
  });

  const stateSync = createStateSync({
    store,
    treeOptions,
    snapshots: options.snapshots,
    lastPaidHeight,
    log,
    adopt: (restored) => {
      tree = restored;
      index = createRecordIndex(tree.entries());
      config = readChainConfig(tree);
      genesisChanges = [];
      lastTimeMs = lastBlockTimeMs(store);
      finalized = null;
      candidates.forget();
      blockHashes.clear();
      pending.reset();
    },
  });
  const retention = createRetention(options.retention ?? { retainBlocks: 0 }, {
    store,
    params: () => chainConfig().params,
    oldestSnapshot: stateSync.oldestHeight,
  });
  if (config !== null) stateSync.committed(tree);

  const initChain = (request: InitChainRequest): InitChainResponse => {
    if (store.latestHeight() !== 0) throw new UsageError('InitChain on a chain that has blocks');
    const genesis = parseAppGenesis(JSON.parse(utf8Decode(request.appState, 'app_state')));
    const timeMs = timestampToMs(request.time);
    const applied = applyGenesis(genesis, request.chainId, timeMs);
    tree = createStateTree(treeOptions);
    tree.update(request.initialHeight - 1, applied.changes);
    index = createRecordIndex(tree.entries());
    config = readChainConfig(tree);
    genesisChanges = applied.changes;
    lastTimeMs = timeMs;
    finalized = null;
    candidates.forget();
    pending.reset();
    stateSync.committed(tree);
    return {
      validators: applied.validators.map(({ consensusKey, power }) => ({
        publicKey: consensusKey,
        power: BigInt(power),
      })),
      appHash: tree.root,
    };
  };

  const checkTx: Application['checkTx'] = (tx, kind) => {
    // Peers send what they have as soon as they are connected, to a node that is still looking for a snapshot as well.
    if (config === null) return refused('E_UNAVAILABLE', 'this node is joining and has no state yet');
    const response = pending.check(tx, kind);
    verification.keep(response.code === 0);
    if (response.code === 0) {
      const accepted = pending.find(tx);
      if (accepted?.hasEvidence) arrivals.add(accepted.hash, tx);
    }
    return response;
  };

  const prepareProposal = async (request: PrepareProposalRequest): Promise<readonly Uint8Array[]> => {
    const head = { height: request.height, timeMs: timestampToMs(request.time) };
    const proposable = request.txs.flatMap((tx, arrival): readonly ProposableTransaction[] => {
      const found = pending.inspect(tx);
      if (found === undefined) return [];
      const { hash, admitted, hasEvidence } = found;
      if (hasEvidence) arrivals.add(hash, tx);
      return [{ tx, admitted, arrival, isReady: !hasEvidence || arrivals.isReady(hash) }];
    });
    verification.keep(true);
    const window = openAdmission(tree, head, context(verification.crypto), 'block');
    return selectTransactions(proposable, window, request.maxTxBytes);
  };

  const inputOf = (request: BlockRequest): BlockInput => ({
    height: request.height,
    timeMs: timestampToMs(request.time),
    hash: request.hash,
    txs: request.txs,
    proposer: request.proposerAddress,
    lastCommit: request.lastCommit,
    misbehavior: request.misbehavior,
    recentBlockHash: blockHashes.at,
  });
  const stage = (request: BlockRequest, output: BlockOutput): ExecutedBlock => {
    const staged = tree.stage(output.changes);
    const response = finalizeBlockResponse(output, staged.root);
    const results = { ...response, blockHash: request.hash, timeMs: timestampToMs(request.time) };
    return { request, staged, changes: output.changes, results };
  };

  const processProposal = async (request: BlockRequest): Promise<'accept' | 'reject'> => {
    if (request.height !== tree.height + 1) return 'reject';
    if (candidates.has(request)) return 'accept';
    const input = inputOf(request);
    const output = await verification.ahead('block', (crypto) =>
      executeProposal(tree, input, context(crypto)),
    );
    // A block that breaks an invariant must not be decided: once it is, no node could go on.
    if (output === null || output.violations.length > 0) return 'reject';
    candidates.add(stage(request, output));
    return 'accept';
  };

  const finalizeBlock = async (request: BlockRequest): Promise<FinalizeBlockResponse> => {
    if (request.height !== tree.height + 1) {
      throw new UsageError(`block ${request.height} finalized on state of height ${tree.height}`);
    }
    // Another block of this height may still be decided in its place.
    if (finalized !== null) candidates.add(finalized);
    finalized = null;
    finalized = candidates.take(request) ?? (await execute(request));
    const { events, txResults, validatorUpdates, appHash } = finalized.results;
    return { events, txResults, validatorUpdates, appHash };
  };

  const execute = async (request: BlockRequest): Promise<ExecutedBlock> => {
    const input = inputOf(request);
    const output = await verification.ahead('block', (crypto) => executeBlock(tree, input, context(crypto)));
    if (output.violations.length > 0) {
      throw new Error(`block ${request.height} breaks an invariant: ${output.violations.join('; ')}`);
    }
    return stage(request, output);
  };

  const commit = async (attachment?: BlockAttachment): Promise<{ retainHeight: number }> => {
    if (finalized === null) throw new UsageError('Commit without FinalizeBlock');
    const block = finalized;
    const { height, txs } = block.request;
    const changes = genesisChanges.length === 0 ? block.changes : mergeChanges(genesisChanges, block.changes);
    await store.commit({
      height,
      appHash: block.staged.root,
      changes,
      block: attachment?.block ?? NOTHING,
      results: encodeBlockResults(block.results),
      commit: attachment?.commit ?? NOTHING,
      // The block's own hash comes last, so that it can be found by hash as well.
      txHashes: [...txs.map(options.crypto.sha256), block.results.blockHash],
    });
    const stateChanged = !bytesEqual(tree.root, block.staged.root);
    tree.commit(block.staged, height);
    // The tree discarded every other staged version with that.
    candidates.forget();
    index.apply(block.changes);
    genesisChanges = [];
    finalized = null;
    lastTimeMs = block.results.timeMs;
    blockHashes.add(height, block.results.blockHash, chainConfig().params.settleWindow);
    pending.reset();
    decreeProofs.reset();
    if (invariants.enabled && (stateChanged || invariants.height === 0)) {
      const broken = checkInvariants(tree, chainConfig(), height);
      invariants = { enabled: true, ok: broken.length === 0, height, broken };
    }
    stateSync.committed(tree);
    return { retainHeight: retention.committed(height, lastTimeMs) };
  };

  return {
    info: () => ({
      data: 'haca',
      version: '0.1.0',
      appVersion: APP_VERSION,
      lastBlockHeight: store.latestHeight(),
      lastBlockAppHash: store.latestHeight() === 0 ? NOTHING : tree.root,
    }),
    initChain,
    checkTx,
    prepareProposal,
    processProposal,
    finalizeBlock,
    commit,
    query: (request) =>
      config === null
        ? noStateYet(request)
        : answerQuery(
            {
              tree,
              index,
              config,
              crypto: verification.crypto,
              evidence: options.evidence,
              timeMs: lastTimeMs,
              invariants,
              appHashAt: store.appHashAt,
            },
            request,
          ),
    invariants: () => invariants,
    listSnapshots: stateSync.listSnapshots,
    loadSnapshotChunk: stateSync.loadSnapshotChunk,
    offerSnapshot: stateSync.offerSnapshot,
    applySnapshotChunk: stateSync.applySnapshotChunk,
    close: async () => {
      await stateSync.close();
      await retention.idle();
      await proofPool.close();
    },
  };
}

/** Of a restored state the time is not known: 0. It is asked for to judge what waits for a block, never to execute one. */
function lastBlockTimeMs(store: Store): number {
  const height = store.latestHeight();
  const bytes = store.resultsAt(height);
  if (bytes === undefined)
    throw new MalformedError('store.results', '', `results of block ${height}`, 'none');
  return bytes.length === 0 ? 0 : decodeBlockResults(bytes).timeMs;
}

/** One batch out of two in a row; the later value of a key counts. */
function mergeChanges(first: readonly Change[], second: readonly Change[]): readonly Change[] {
  const merged = new Map<string, Uint8Array | null>();
  for (const [key, value] of [...first, ...second]) merged.set(toHex(key), value);
  return [...merged].map(([key, value]) => [fromHex(key), value] as const);
}
