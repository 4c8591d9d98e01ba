/** From a decoded request to the application's method and its answer as bytes. */
import type { Application, BlockRequest, QueryResponse, Snapshot } from '../abci.ts';
import type { CallFacts } from './call-log.ts';
import type { AbciMethod, AbciRequest, WireQuery, WireSnapshot } from './requests.ts';
import {
  writeApplySnapshotChunk,
  writeCheckTx,
  writeCommit,
  writeEcho,
  writeExtendVote,
  writeFinalizeBlock,
  writeFlush,
  writeInfo,
  writeInitChain,
  writeListSnapshots,
  writeLoadSnapshotChunk,
  writeOfferSnapshot,
  writePrepareProposal,
  writeProcessProposal,
  writeQuery,
  writeVerifyVoteExtension,
} from './responses.ts';
import { EMPTY_BYTES } from './wire-reader.ts';
import type { WireWriter } from './wire-writer.ts';

/** Methods of the consensus connection: one CometBFT calls them, one after another. */
export const CONSENSUS_METHODS: ReadonlySet<AbciMethod> = new Set([
  'init-chain',
  'prepare-proposal',
  'process-proposal',
  'extend-vote',
  'verify-vote-extension',
  'finalize-block',
  'commit',
] as const);

/** Methods that no other one of these may overlap with: besides those of consensus, what a state sync writes with. */
export const ORDERED_METHODS: ReadonlySet<AbciMethod> = new Set([
  ...CONSENSUS_METHODS,
  'offer-snapshot',
  'apply-snapshot-chunk',
] as const);

/** Methods of the application mempool, which the embedded and the flood mempool do not need. */
export const UNSUPPORTED_METHODS: ReadonlySet<AbciMethod> = new Set(['insert-tx', 'reap-txs'] as const);

const NO_FACTS: CallFacts = {};
const QUERY_CODESPACE = 'abci';
const QUERY_HEIGHT_CODE = 1;

/**
 * Calls the application and writes the answer. Throws, or rejects, with whatever the application threw, and where it
 * returned what ABCI cannot carry: then nothing was written.
 */
export function answerRequest(
  application: Application,
  request: AbciRequest,
  out: WireWriter,
): CallFacts | Promise<CallFacts> {
  switch (request.method) {
    case 'echo':
      writeEcho(out, request.message);
      return NO_FACTS;
    case 'flush':
      writeFlush(out);
      return NO_FACTS;
    case 'check-tx': {
      const response = application.checkTx(request.tx, request.kind);
      writeCheckTx(out, response);
      return response.code === 0 ? NO_FACTS : { result: `${response.code}` };
    }
    case 'info': {
      const info = application.info();
      writeInfo(out, info);
      return { height: info.lastBlockHeight, appHash: hex(info.lastBlockAppHash) };
    }
    case 'query':
      return answerQuery(application, request.query, out);
    case 'init-chain': {
      const response = application.initChain(request.chain);
      writeInitChain(out, response);
      return { height: request.chain.initialHeight, appHash: hex(response.appHash) };
    }
    case 'list-snapshots':
      writeListSnapshots(out, application.listSnapshots());
      return NO_FACTS;
    case 'extend-vote':
      writeExtendVote(out);
      return NO_FACTS;
    case 'verify-vote-extension': {
      const result = request.extension.length === 0 ? 'accept' : 'reject';
      writeVerifyVoteExtension(out, result);
      return { result };
    }
    default:
      return answerLater(application, request, out);
  }
}

async function answerLater(
  application: Application,
  request: AbciRequest,
  out: WireWriter,
): Promise<CallFacts> {
  switch (request.method) {
    case 'prepare-proposal': {
      const txs = await application.prepareProposal(request.proposal);
      writePrepareProposal(out, txs);
      return { height: request.proposal.height, txs: txs.length };
    }
    case 'process-proposal': {
      const result = await application.processProposal(request.block);
      writeProcessProposal(out, result);
      return { height: request.block.height, result };
    }
    case 'finalize-block':
      return answerFinalizeBlock(application, request.block, out);
    case 'commit': {
      const { retainHeight } = await application.commit();
      writeCommit(out, retainHeight);
      return NO_FACTS;
    }
    case 'offer-snapshot': {
      const { snapshot, appHash } = request;
      const known = snapshot === null ? null : snapshotOf(snapshot);
      const result =
        known === null ? 'reject' : await application.offerSnapshot({ snapshot: known, appHash });
      writeOfferSnapshot(out, result);
      return { result };
    }
    case 'load-snapshot-chunk': {
      const height = safeHeight(request.chunk.height);
      const known = height === null ? null : { ...request.chunk, height };
      writeLoadSnapshotChunk(out, known === null ? EMPTY_BYTES : await application.loadSnapshotChunk(known));
      return NO_FACTS;
    }
    case 'apply-snapshot-chunk': {
      const response = await application.applySnapshotChunk(request.chunk);
      writeApplySnapshotChunk(out, response);
      return { result: response.result };
    }
    default:
      throw new Error(`${request.method} has no answer`);
  }
}

async function answerFinalizeBlock(
  application: Application,
  block: BlockRequest,
  out: WireWriter,
): Promise<CallFacts> {
  const response = await application.finalizeBlock(block);
  if (response.txResults.length !== block.txs.length) {
    throw new Error(
      `${response.txResults.length} results for the ${block.txs.length} transactions of a block`,
    );
  }
  writeFinalizeBlock(out, response);
  return { height: block.height, appHash: hex(response.appHash) };
}

/** A height that no chain has is a stranger's mistake, not ours: it gets an answer with a code. */
function answerQuery(application: Application, query: WireQuery, out: WireWriter): CallFacts {
  const height = safeHeight(query.height);
  const response = height === null ? HEIGHT_REFUSAL : application.query({ ...query, height });
  writeQuery(out, response);
  return response.code === 0 ? NO_FACTS : { result: `${response.code}` };
}

const HEIGHT_REFUSAL: QueryResponse = {
  code: QUERY_HEIGHT_CODE,
  log: 'height is not from 0 to 2^53 - 1',
  info: '',
  key: EMPTY_BYTES,
  value: EMPTY_BYTES,
  proofOps: null,
  height: 0,
  codespace: QUERY_CODESPACE,
};

function snapshotOf(snapshot: WireSnapshot): Snapshot | null {
  const height = safeHeight(snapshot.height);
  return height === null ? null : { ...snapshot, height };
}

function safeHeight(height: bigint): number | null {
  return height >= 0n && height <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(height) : null;
}

/** What the call log keeps of a request. */
export function factsOf(request: AbciRequest): CallFacts {
  switch (request.method) {
    case 'init-chain':
      return { height: request.chain.initialHeight };
    case 'prepare-proposal':
      return { height: request.proposal.height, txs: request.proposal.txs.length };
    case 'process-proposal':
    case 'finalize-block': {
      const { height, hash, txs } = request.block;
      return { height, hash: hex(hash), txs: txs.length };
    }
    case 'extend-vote':
    case 'verify-vote-extension':
      return { height: request.height, hash: hex(request.hash) };
    case 'offer-snapshot': {
      const height = safeHeight(request.snapshot?.height ?? 0n);
      return height === null ? {} : { height };
    }
    default:
      return NO_FACTS;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
