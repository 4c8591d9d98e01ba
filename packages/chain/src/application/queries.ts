/** ABCI Query: reads of committed state, with proofs where one exists. */
import {
  bytesEqual,
  type CryptoProvider,
  decode,
  encode,
  fromHex,
  MalformedError,
  UsageError,
  utf8Encode,
} from '@haca/primitives';
import { OPG_SUPPLY_NOPG, recordKey, recordListCodec, toJsonView, totalsRecordCodec } from '@haca/protocol';
import type { ProofOp, QueryRequest, QueryResponse } from '../abci.ts';
import { type ChainConfig, type EvidenceVerifier, feeState, keyStandingOf } from '../state-machine/index.ts';
import type { StateTree } from '../state-tree/index.ts';
import { moduleRoots } from './module-roots.ts';
import type { RecordIndex } from './record-index.ts';

export interface InvariantReport {
  readonly enabled: boolean;
  readonly ok: boolean;
  /** Height of the state that was checked last; 0: none yet. */
  readonly height: number;
  readonly broken: readonly string[];
}

interface QueryContext {
  readonly tree: StateTree;
  readonly index: RecordIndex;
  readonly config: ChainConfig;
  readonly crypto: CryptoProvider;
  readonly evidence: EvidenceVerifier;
  /** Of the newest block; 0 where it is not known. */
  readonly timeMs: number;
  readonly invariants: InvariantReport;
  /** App hash of a stored block's state. */
  readonly appHashAt: (height: number) => Uint8Array | undefined;
}

/** Type of the proof operation that carries a store proof of @haca/light-client. */
export const STATE_PROOF_TYPE = 'haca:state';
const RECORDS_AFTER = '/records/after/';
const NOTHING = new Uint8Array(0);

/** Total: what can't be answered has a code other than 0 and a log that says what to ask instead. */
export function answerQuery(context: QueryContext, request: QueryRequest): QueryResponse {
  try {
    return answer(context, request);
  } catch (error) {
    if (!(error instanceof MalformedError || error instanceof UsageError)) throw error;
    return {
      ...responseOf(request, context.tree.height, NOTHING),
      code: 1,
      log: error.message,
      codespace: 'query',
    };
  }
}

/** While a state is being restored there is nothing to answer from. */
export function noStateYet(request: QueryRequest): QueryResponse {
  const log = 'this node has no state yet';
  return { ...responseOf(request, 0, NOTHING), code: 1, log, codespace: 'query' };
}

function answer(context: QueryContext, request: QueryRequest): QueryResponse {
  const { tree, config } = context;
  const height = request.height === 0 ? tree.height : request.height;
  const version = keptVersion(context, height);
  if (request.path === '/record') return answerRecord(tree, request, height, version);
  if (request.prove) throw new MalformedError('query.prove', 'prove', 'false but for /record', 'true');
  if (height !== tree.height) {
    throw new MalformedError(
      'query.height',
      'height',
      `0 or ${tree.height} but for /record`,
      `${request.height}`,
    );
  }
  if (request.path === '/records' || request.path.startsWith(RECORDS_AFTER)) {
    const after =
      request.path === '/records' ? null : fromHex(request.path.slice(RECORDS_AFTER.length), 'path');
    const records = context.index.list(tree, request.data, after);
    return responseOf(request, height, encode(recordListCodec, records));
  }
  if (request.path === '/key-standing') return answerKeyStanding(context, request, height);
  if (request.path === '/fee') return json(request, height, feeState(tree, height + 1, config));
  if (request.path === '/supply') return json(request, height, supplyOf(tree, height));
  if (request.path === '/invariants') return json(request, height, context.invariants);
  if (request.path === '/module-roots') return json(request, height, modules(context));
  throw new MalformedError(
    'query.path',
    'path',
    '/record, /records, /key-standing, /fee, /supply, /invariants or /module-roots',
    JSON.stringify(request.path.slice(0, 64)),
  );
}

/** As settling would find it in a block like the newest. */
function answerKeyStanding(context: QueryContext, request: QueryRequest, height: number): QueryResponse {
  const { tree, config, crypto, evidence, timeMs } = context;
  const { data: keyId } = request;
  if (keyId.length !== 32)
    throw new MalformedError('query.key', 'data', 'a key id of 32 bytes', `${keyId.length}`);
  // A state that was restored knows the time with the next block.
  if (timeMs === 0) throw new UsageError('the time of the newest block is not known yet');
  const standing = keyStandingOf(tree, { config, crypto, evidence }, keyId, { height, timeMs });
  if (standing === undefined) throw new MalformedError('query.key', 'data', 'a node key', 'none');
  return json(request, height, { ...standing, height, timeMs });
}

function answerRecord(
  tree: StateTree,
  request: QueryRequest,
  height: number,
  version: number,
): QueryResponse {
  const { data: key, prove } = request;
  if (key.length < 1 || key.length > 1024) {
    throw new MalformedError('query.key', 'data', 'a record key of 1 to 1024 bytes', `${key.length} bytes`);
  }
  if (!prove) return responseOf(request, height, tree.getAt(key, version) ?? NOTHING);
  const { value, proof } = tree.prove(key, version);
  const proofOps: readonly ProofOp[] = [{ type: STATE_PROOF_TYPE, key, data: proof }];
  return { ...responseOf(request, height, value ?? NOTHING), proofOps };
}

/**
 * The version of the tree that is the state at `height`. A restart keeps the newest only, but that is the state of all
 * heights below it since the last change, as their app hashes show: among them the one that the newest header proves.
 */
function keptVersion({ tree, appHashAt }: QueryContext, height: number): number {
  const oldest = tree.heights()[0] ?? tree.height;
  if (height >= oldest && height <= tree.height) return height;
  const hash = height === oldest - 1 ? appHashAt(height) : undefined;
  if (hash !== undefined && bytesEqual(hash, tree.rootAt(oldest))) return oldest;
  throw new MalformedError('query.height', 'height', `a height of ${oldest} to ${tree.height}`, `${height}`);
}

/** A walk of the whole state for whoever asks: only where the operator has every block walk it anyway. */
function modules({ tree, invariants }: QueryContext): object {
  if (!invariants.enabled) {
    throw new MalformedError(
      'query.path',
      'path',
      'a node that checks invariants',
      'one that does not: it does not walk its state',
    );
  }
  return Object.fromEntries(moduleRoots(tree.entries()));
}

function supplyOf(tree: StateTree, height: number) {
  const bytes = tree.get(recordKey.totals());
  if (bytes === undefined) throw new UsageError('the state has no totals');
  const totals = decode(totalsRecordCodec, bytes, 'totals');
  const burned = totals.burnedFees + totals.burnedSlash + totals.burnedDeposit;
  return { height, supplyNopg: OPG_SUPPLY_NOPG - burned, burnedNopg: burned, totals };
}

function json(request: QueryRequest, height: number, value: object): QueryResponse {
  return responseOf(request, height, utf8Encode(JSON.stringify(toJsonView(value))));
}

function responseOf(request: QueryRequest, height: number, value: Uint8Array): QueryResponse {
  const key = request.path === '/record' ? request.data : NOTHING;
  return { code: 0, log: '', info: '', key, value, proofOps: null, height, codespace: '' };
}
