/**
 * The HACA application: state machine, state tree and durable store behind ABCI 2.0. One synced record per block makes it
 * durable before Commit answers; a start rebuilds state and tree from records and asserts the root.
 */
import { timestampToMs } from '@haca/light-client';
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
  ExecTxResult,
  FinalizeBlockResponse,
  InitChainRequest,
  InitChainResponse,
  PrepareProposalRequest,
} from './abci.ts';
import { type BlockResults, decodeBlockResults, encodeBlockResults } from './application/block-results.ts';
import { CODESPACE, createPendingPool, type PendingLimits } from './application/pending-pool.ts';
import { type Candidate, selectTransactions } from './application/proposal.ts';
import { answerQuery, type InvariantReport } from './application/queries.ts';
import { createRecordIndex, type RecordIndex } from './application/record-index.ts';
import { rememberSignatures } from './application/remembered-crypto.ts';
import {
  type AdmissionWindow,
  type AppraiseEvidence,
  applyGenesis,
  type BlockOutput,
  type ChainConfig,
  type ChainEvent,
  type Change,
  checkInvariants,
  type ExecutionContext,
  executeBlock,
  openAdmission,
  readChainConfig,
  type TxResult,
} from './state-machine/index.ts';
import { createStateTree, type StagedState, type StateTree } from './state-tree/index.ts';
import { restoreStateTree, type Store } from './storage/index.ts';

export const APP_VERSION = 1;
const VERSIONS_KEPT = 256;
const NOTHING = new Uint8Array(0);

export interface ApplicationOptions {
  readonly store: Store;
  readonly crypto: CryptoProvider;
  readonly appraise: AppraiseEvidence;
  /** Recompute every invariant from scratch after each block that changed state. Costs a walk of the whole state. */
  readonly checkInvariants?: boolean;
  /** State heights that answer queries with proof, the newest included. */
  readonly versionsKept?: number;
  readonly pendingLimits?: PendingLimits;
}

export interface HacaApplication extends Application {
  readonly invariants: () => InvariantReport;
}

/** A finalized block that is not committed yet. */
interface Finalized {
  readonly height: number;
  readonly staged: StagedState;
  readonly changes: readonly Change[];
  readonly results: BlockResults;
  readonly txs: readonly Uint8Array[];
}

export function openApplication(options: ApplicationOptions): HacaApplication {
  const { store } = options;
  const crypto = rememberSignatures(options.crypto);
  const treeOptions = { versionsKept: options.versionsKept ?? VERSIONS_KEPT };
  const isFresh = store.latestHeight() === 0;
  let tree: StateTree = isFresh ? createStateTree(treeOptions) : restoreStateTree(store, treeOptions);
  let index: RecordIndex = createRecordIndex(tree.entries());
  let config: ChainConfig | null = isFresh ? null : readChainConfig(tree);
  /** Changes of genesis, until the first block makes them durable with its own. */
  let genesisChanges: readonly Change[] = [];
  let lastTimeMs = isFresh ? 0 : resultsAt(store, store.latestHeight()).timeMs;
  let finalized: Finalized | null = null;
  let invariants: InvariantReport = {
    enabled: options.checkInvariants ?? false,
    ok: true,
    height: 0,
    broken: [],
  };
  const blockHashes = new Map<number, Uint8Array>();

  const context = (): ExecutionContext => {
    if (config === null) throw new UsageError('InitChain comes first');
    return { crypto, config, appraise: options.appraise };
  };
  const openWindow = (mode: 'block' | 'mempool', height: number, timeMs: number): AdmissionWindow =>
    openAdmission(tree, { height, timeMs }, context(), mode);
  const pending = createPendingPool(
    () => openWindow('mempool', tree.height + 1, lastTimeMs),
    options.pendingLimits,
  );

  const blockHashAt = (height: number): Uint8Array | undefined => {
    const known = blockHashes.get(height);
    if (known !== undefined || height < 1 || height > store.latestHeight()) return known;
    const bytes = store.resultsAt(height);
    if (bytes === undefined) return undefined;
    const { blockHash } = decodeBlockResults(bytes);
    blockHashes.set(height, blockHash);
    return blockHash;
  };

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
    pending.reset();
    return {
      validators: applied.validators.map(({ consensusKey, power }) => ({
        publicKey: consensusKey,
        power: BigInt(power),
      })),
      appHash: tree.root,
    };
  };

  const prepareProposal = async (request: PrepareProposalRequest): Promise<readonly Uint8Array[]> => {
    const timeMs = timestampToMs(request.time);
    const alone = (): AdmissionWindow => openWindow('mempool', request.height, timeMs);
    const candidates = request.txs.flatMap((tx, arrival): readonly Candidate[] => {
      if (pending.isReplaced(tx)) return [];
      const known = pending.find(tx);
      if (known !== undefined) return [{ tx, admitted: known.admitted, arrival }];
      const admission = alone().admit(tx);
      return admission.ok ? [{ tx, admitted: admission.admitted, arrival }] : [];
    });
    return selectTransactions(candidates, openWindow('block', request.height, timeMs), request.maxTxBytes);
  };

  const processProposal = async (request: BlockRequest): Promise<'accept' | 'reject'> => {
    if (request.height !== tree.height + 1) return 'reject';
    const window = openWindow('block', request.height, timestampToMs(request.time));
    return request.txs.every((tx) => window.admit(tx).ok) ? 'accept' : 'reject';
  };

  const finalizeBlock = async (request: BlockRequest): Promise<FinalizeBlockResponse> => {
    if (request.height !== tree.height + 1) {
      throw new UsageError(`block ${request.height} finalized on state of height ${tree.height}`);
    }
    if (finalized !== null) tree.discard(finalized.staged);
    finalized = null;
    const timeMs = timestampToMs(request.time);
    const output = executeBlock(
      tree,
      {
        height: request.height,
        timeMs,
        hash: request.hash,
        txs: request.txs,
        proposer: request.proposerAddress,
        lastCommit: request.lastCommit,
        misbehavior: request.misbehavior,
        recentBlockHash: blockHashAt,
      },
      context(),
    );
    if (output.violations.length > 0) {
      throw new Error(`block ${request.height} breaks an invariant: ${output.violations.join('; ')}`);
    }
    const staged = tree.stage(output.changes);
    const response = responseOf(output, staged.root);
    finalized = {
      height: request.height,
      staged,
      changes: output.changes,
      results: { ...response, blockHash: request.hash, timeMs },
      txs: request.txs,
    };
    return response;
  };

  const commit = async (attachment?: BlockAttachment): Promise<{ retainHeight: number }> => {
    if (finalized === null) throw new UsageError('Commit without FinalizeBlock');
    const block = finalized;
    const changes = genesisChanges.length === 0 ? block.changes : mergeChanges(genesisChanges, block.changes);
    await store.commit({
      height: block.height,
      appHash: block.staged.root,
      changes,
      block: attachment?.block ?? NOTHING,
      results: encodeBlockResults(block.results),
      commit: attachment?.commit ?? NOTHING,
      // The block's own hash comes last, so that it can be found by hash as well.
      txHashes: [...block.txs.map((tx) => crypto.sha256(tx)), block.results.blockHash],
    });
    const stateChanged = !bytesEqual(tree.root, block.staged.root);
    tree.commit(block.staged, block.height);
    index.apply(block.changes);
    genesisChanges = [];
    finalized = null;
    lastTimeMs = block.results.timeMs;
    rememberBlockHash(
      blockHashes,
      block.height,
      block.results.blockHash,
      context().config.params.settleWindow,
    );
    pending.reset();
    if (invariants.enabled && (stateChanged || invariants.height === 0)) {
      const broken = checkInvariants(tree, context().config, block.height);
      invariants = { enabled: true, ok: broken.length === 0, height: block.height, broken };
    }
    return { retainHeight: 0 };
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
    checkTx: pending.check,
    prepareProposal,
    processProposal,
    finalizeBlock,
    commit,
    query: (request) =>
      answerQuery({ tree, index, config: context().config, invariants, appHashAt: store.appHashAt }, request),
    invariants: () => invariants,
    listSnapshots: () => [],
    loadSnapshotChunk: async () => NOTHING,
    offerSnapshot: async () => 'abort',
    applySnapshotChunk: async () => ({ result: 'abort', refetchChunks: [], rejectSenders: [] }),
  };
}

function resultsAt(store: Store, height: number): BlockResults {
  const bytes = store.resultsAt(height);
  if (bytes === undefined)
    throw new MalformedError('store.results', '', `results of block ${height}`, 'none');
  return decodeBlockResults(bytes);
}

function responseOf(output: BlockOutput, appHash: Uint8Array): FinalizeBlockResponse {
  return {
    events: output.events.map(abciEvent),
    txResults: output.results.map(execTxResult),
    validatorUpdates: output.validatorUpdates.map(({ consensusKey, power }) => ({
      publicKey: consensusKey,
      power: BigInt(power),
    })),
    appHash,
  };
}

function execTxResult(result: TxResult): ExecTxResult {
  const isApplied = result.code === 0;
  return {
    code: result.code,
    data: NOTHING,
    log: isApplied ? '' : `${result.codeName}: ${result.info}`,
    info: result.info,
    gasWanted: BigInt(result.gasWanted),
    gasUsed: BigInt(result.gasUsed),
    events: result.events.map(abciEvent),
    codespace: isApplied ? '' : CODESPACE,
  };
}

function abciEvent({ type, attributes }: ChainEvent) {
  return { type, attributes: attributes.map(([key, value]) => ({ key, value, index: true })) };
}

/** One batch out of two in a row; the later value of a key counts. */
function mergeChanges(first: readonly Change[], second: readonly Change[]): readonly Change[] {
  const merged = new Map<string, Uint8Array | null>();
  for (const [key, value] of [...first, ...second]) merged.set(toHex(key), value);
  return [...merged].map(([key, value]) => [fromHex(key), value] as const);
}

function rememberBlockHash(
  hashes: Map<number, Uint8Array>,
  height: number,
  hash: Uint8Array,
  window: number,
): void {
  hashes.set(height, hash);
  hashes.delete(height - window - 1);
  if (hashes.size > 2 * window + 2)
    for (const old of hashes.keys()) if (old < height - window) hashes.delete(old);
}
