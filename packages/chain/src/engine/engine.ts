/**
 * The embedded engine: one validator that drives the application in-process and makes the blocks, votes and commits that
 * CometBFT would make, so that every client and verifier of CometBFT can follow it. Blocks come on demand.
 */

import type { GenesisDocument } from '@haca/light-client';
import {
  ABSENT_COMMIT_SIG,
  addNanos,
  BLOCK_PROTOCOL,
  type Block,
  type BlockId,
  type Commit,
  commitHash,
  compareTimestamps,
  consensusParamsHash,
  dataHash,
  decodeBlockBytes,
  encodeBlock,
  evidenceHash,
  type Header,
  headerHash,
  partSetHeaderOf,
  precommitSignBytes,
  resultsHash,
  type Timestamp,
  timestampFromMs,
  timestampToMs,
  type ValidatorSet,
  validatorAddress,
  validatorSetHash,
} from '@haca/light-client';
import { bytesEqual, toHex, utf8Encode } from '@haca/primitives';
import type { Application, BlockRequest, FinalizeBlockResponse, VoteInfo } from '../abci.ts';
import { hashedResults } from '../application/block-results.ts';
import { APP_VERSION } from '../application.ts';
import type { Store } from '../storage/index.ts';
import { type ChainTip, encodeCommitRecord, genesisTip, storedTip, updatedValidators } from './chain-tip.ts';
import { createMempool, type Mempool } from './mempool.ts';
import type { SignGuard } from './sign-guard.ts';

export interface EngineOptions {
  readonly genesis: GenesisDocument;
  readonly application: Application;
  readonly store: Store;
  readonly guard: SignGuard;
  /** Consensus key of this node, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Least time between two blocks with transactions. */
  readonly blockIntervalMs: number;
  /** A block without transactions comes after this long. */
  readonly emptyBlockIntervalMs: number;
  /** Called once, when a block could not be made: the engine has stopped, and the process should. */
  readonly onFailure: (error: Error) => void;
}

export interface CommittedBlock {
  readonly block: Block;
  readonly blockId: BlockId;
  readonly sizeBytes: number;
  readonly results: FinalizeBlockResponse;
}

export interface Engine {
  readonly tip: () => ChainTip;
  readonly mempool: Mempool;
  /** Checks a transaction in and wakes the block maker. Rejects with `MempoolError`. */
  readonly submit: (tx: Uint8Array) => ReturnType<Mempool['add']>;
  /** Calls back with every block from now on, in order, once it is durable. */
  readonly onBlock: (listener: (block: CommittedBlock) => void) => () => void;
  /** Makes no further block; resolves when the one being made is done. */
  readonly stop: () => Promise<void>;
}

/** A header's time lags behind by the idle time before it; beyond this an empty block is put in between. */
const TIME_LAG_MAX_MS = 2_000;
const MILLISECOND_NANOS = 1_000_000n;
/** What a block needs beside its transactions: CometBFT's limits for block, header and a commit, 109 bytes a validator. */
const BLOCK_OVERHEAD_BYTES = 11 + 626 + 94;
const COMMIT_SIG_BYTES = 111;

/** Resolves when the chain is ready to make blocks: recovered after a crash, or started from genesis. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const { application, guard, genesis } = options;
  let tip = openTip(options);
  requireOwnMajority(tip.nextValidators, options.publicKey);
  const mempool = createMempool(application.checkTx);
  const listeners = new Set<(block: CommittedBlock) => void>();

  const completeBlock = async (block: Block, blockBytes: Uint8Array, voteTime: Timestamp): Promise<void> => {
    const made = await decideBlock(options, tip, block, blockBytes, voteTime);
    tip = made.tip;
    const { results } = made.committed;
    const rechecked = mempool.update(
      block.txs.map((tx, i) => ({ tx, isApplied: results.txResults[i]?.code === 0 })),
    );
    for (const listener of listeners) listener(made.committed);
    await rechecked;
  };

  const vote = guard.latest();
  if (vote !== null && vote.height > tip.height + 1) {
    throw new Error(
      `the sign state is at height ${vote.height}, the block store at ${tip.height}: blocks were lost; restore the data folder`,
    );
  }
  // The vote may be known to others: this block and no other is the one of its height.
  if (vote !== null && vote.height === tip.height + 1) {
    const block = decodeBlockBytes(vote.block);
    if (
      !bytesEqual(block.header.appHash, tip.appHash) ||
      !bytesEqual(block.header.lastBlockId.hash, tip.blockId.hash)
    ) {
      throw new Error(`the block voted for at height ${vote.height} does not continue the stored chain`);
    }
    await completeBlock(block, vote.block, vote.timestamp);
  }

  const makeBlock = async (withTxs: boolean): Promise<void> => {
    const block = await proposeBlock(options, tip, withTxs ? mempool.txs() : []);
    const now = timestampFromMs(Math.floor(options.clock()));
    const earliest = addNanos(block.header.time, MILLISECOND_NANOS);
    const voteTime = compareTimestamps(now, earliest) > 0 ? now : earliest;
    await completeBlock(block, encodeBlock(block), voteTime);
  };

  // From its first moment a chain has a block, and a header that proves the state after it.
  while (tip.height <= genesis.initialHeight) await makeBlock(false);

  const maker = startBlockMaker({
    ...options,
    waiting: () => mempool.size(),
    needsProofBlock: () => !bytesEqual(tip.appHash, tip.provenAppHash),
    timeLagMs: () => options.clock() - timestampToMs(nextTime(genesis, tip)),
    makeBlock,
  });

  return {
    tip: () => tip,
    mempool,
    submit: async (tx) => {
      const response = await mempool.add(tx);
      if (response.code === 0) maker.wake();
      return response;
    },
    onBlock: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop: maker.stop,
  };
}

/** Where the chain stands: after its newest stored block, or at genesis. */
function openTip({ application, store, genesis }: EngineOptions): ChainTip {
  if (store.latestHeight() > 0) return storedTip(store);
  const appState = utf8Encode(JSON.stringify(genesis.json['app_state']));
  const { time, chainId, initialHeight } = genesis;
  const { validators } = genesis.validators;
  const started = application.initChain({ time, chainId, initialHeight, validators, appState });
  const first = genesisTip(genesis, started.validators, started.appHash);
  // A light client starts from the document's set: the application must not have another one.
  if (!bytesEqual(validatorSetHash(first.nextValidators), validatorSetHash(genesis.validators))) {
    throw new Error('the validators of the genesis document are not those of its app_state');
  }
  return first;
}

/** Header time of the next block: of genesis at first, then the time of the votes for the block before. */
function nextTime(genesis: GenesisDocument, tip: ChainTip): Timestamp {
  const vote = tip.commit.signatures.find(({ flag }) => flag === 'commit');
  return vote?.timestamp ?? genesis.time;
}

async function proposeBlock(
  options: EngineOptions,
  tip: ChainTip,
  waiting: readonly Uint8Array[],
): Promise<Block> {
  const { application, genesis, publicKey } = options;
  const height = tip.height + 1;
  const time = nextTime(genesis, tip);
  const proposerAddress = validatorAddress(publicKey);
  const overhead = BLOCK_OVERHEAD_BYTES + COMMIT_SIG_BYTES * tip.validators.validators.length;
  const maxTxBytes = Number(genesis.consensusParams.blockMaxBytes) - overhead;
  const txs = await application.prepareProposal({ txs: waiting, height, time, proposerAddress, maxTxBytes });
  const header: Header = {
    version: { block: BLOCK_PROTOCOL, app: APP_VERSION },
    chainId: genesis.chainId,
    height,
    time,
    lastBlockId: tip.blockId,
    lastCommitHash: commitHash(tip.commit),
    dataHash: dataHash(txs),
    validatorsHash: validatorSetHash(tip.nextValidators),
    nextValidatorsHash: validatorSetHash(tip.afterNextValidators),
    consensusHash: consensusParamsHash(genesis.consensusParams),
    appHash: tip.appHash,
    lastResultsHash: tip.lastResultsHash,
    evidenceHash: evidenceHash([]),
    proposerAddress,
  };
  if ((await application.processProposal(blockRequest(header, txs, tip))) !== 'accept') {
    throw new Error(`the application refuses its own proposal for height ${height}`);
  }
  return { header, txs, evidence: [], lastCommit: tip.commit };
}

function blockRequest(header: Header, txs: readonly Uint8Array[], tip: ChainTip): BlockRequest {
  const { height, time, proposerAddress } = header;
  const hash = headerHash(header);
  return { txs, height, time, proposerAddress, hash, lastCommit: lastVotes(tip), misbehavior: [] };
}

/**
 * Executes the block, votes for it and makes it durable; only then is it, or its signature, shown to anybody. Executing first
 * means that a block which can't be executed is never voted for, so that another may take its place after a restart.
 */
async function decideBlock(
  options: EngineOptions,
  tip: ChainTip,
  block: Block,
  blockBytes: Uint8Array,
  voteTime: Timestamp,
): Promise<{ readonly tip: ChainTip; readonly committed: CommittedBlock }> {
  const { application, guard, genesis } = options;
  const { height, time } = block.header;
  const request = blockRequest(block.header, block.txs, tip);
  const blockId = { hash: request.hash, parts: partSetHeaderOf(blockBytes) };
  const results = await application.finalizeBlock(request);
  const afterNextValidators = updatedValidators(tip.afterNextValidators, results.validatorUpdates);
  requireOwnMajority(
    afterNextValidators,
    options.publicKey,
    `block ${height} was not made and is forgotten with its transactions, the chain goes on without it after a restart: `,
  );
  const signBytes = precommitSignBytes(genesis.chainId, { height, round: 0, blockId }, voteTime);
  const signature = await guard.sign({ height, timestamp: voteTime, signBytes, block: blockBytes });
  const commit = commitOf(tip.nextValidators, options.publicKey, height, blockId, voteTime, signature);
  const next: ChainTip = {
    height,
    blockId,
    time,
    commit,
    provenAppHash: block.header.appHash,
    appHash: results.appHash,
    lastResultsHash: resultsHash(hashedResults(results.txResults)),
    validators: tip.nextValidators,
    nextValidators: tip.afterNextValidators,
    afterNextValidators,
  };
  await application.commit({ block: blockBytes, commit: encodeCommitRecord(next) });
  return { tip: next, committed: { block, blockId, sizeBytes: blockBytes.length, results } };
}

function commitOf(
  validators: ValidatorSet,
  publicKey: Uint8Array,
  height: number,
  blockId: BlockId,
  timestamp: Timestamp,
  signature: Uint8Array,
): Commit {
  const signatures = validators.validators.map((validator) =>
    bytesEqual(validator.publicKey, publicKey)
      ? { flag: 'commit' as const, validatorAddress: validator.address, timestamp, signature }
      : ABSENT_COMMIT_SIG,
  );
  return { height, round: 0, blockId, signatures };
}

function lastVotes(tip: ChainTip): readonly VoteInfo[] {
  return tip.validators.validators.map(({ address, power }, i) => ({
    address,
    power,
    signed: tip.commit.signatures[i]?.flag === 'commit',
  }));
}

/** One process votes: without more than two thirds of the power it can't make a block anybody would accept. */
function requireOwnMajority(set: ValidatorSet, publicKey: Uint8Array, what = ''): void {
  const own = set.validators.find((validator) => bytesEqual(validator.publicKey, publicKey));
  if (own !== undefined && own.power * 3n > set.totalPower * 2n) return;
  throw new Error(
    `${what}the embedded engine's key ${toHex(publicKey)} would have ${own?.power ?? 0} of ${set.totalPower}, not more than 2/3 of the voting power; use CometBFT for several validators`,
  );
}

interface BlockMakerOptions {
  readonly clock: () => number;
  readonly blockIntervalMs: number;
  readonly emptyBlockIntervalMs: number;
  readonly onFailure: (error: Error) => void;
  readonly waiting: () => number;
  readonly needsProofBlock: () => boolean;
  readonly timeLagMs: () => number;
  readonly makeBlock: (withTxs: boolean) => Promise<void>;
}

/**
 * Decides when a block is made. A monotonic clock paces it; the given clock only dates blocks, and may stand still in tests.
 */
function startBlockMaker(options: BlockMakerOptions) {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let isStopped = false;
  let lastBlockAt = performance.now();
  let lastTxBlockAt = Number.NEGATIVE_INFINITY;
  let timeIsFresh = false;

  const txsDueIn = (now: number): number =>
    options.waiting() === 0 ? Number.POSITIVE_INFINITY : lastTxBlockAt + options.blockIntervalMs - now;
  const emptyDueIn = (now: number): number =>
    options.needsProofBlock() ? 0 : lastBlockAt + options.emptyBlockIntervalMs - now;

  const schedule = (): void => {
    if (isStopped || running !== null) return;
    clearTimeout(timer);
    const now = performance.now();
    const delayMs = Math.max(0, Math.min(txsDueIn(now), emptyDueIn(now)));
    timer = setTimeout(tick, delayMs);
  };

  const tick = (): void => {
    if (isStopped || running !== null) return;
    const now = performance.now();
    const txsAreDue = txsDueIn(now) <= 0;
    if (!txsAreDue && emptyDueIn(now) > 0) {
      schedule();
      return;
    }
    const withTxs = txsAreDue && (timeIsFresh || options.timeLagMs() <= TIME_LAG_MAX_MS);
    // One block to bring the time up is enough, whatever the clock does meanwhile.
    timeIsFresh = txsAreDue && !withTxs;
    running = options.makeBlock(withTxs).then(
      () => {
        lastBlockAt = performance.now();
        if (withTxs) lastTxBlockAt = now;
        running = null;
        schedule();
      },
      (error: unknown) => {
        isStopped = true;
        running = null;
        options.onFailure(error instanceof Error ? error : new Error(String(error)));
      },
    );
  };

  schedule();
  return {
    wake: schedule,
    stop: async (): Promise<void> => {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
