/** The methods of CometBFT's RPC that this node answers, in CometBFT's shapes. */

import type { GenesisDocument } from '@haca/light-client';
import {
  encodeBlockIdJson,
  encodeBlockJson,
  encodeHeaderJson,
  encodeSignedHeaderJson,
  encodeTxProofJson,
  encodeValidatorJson,
  formatTimestamp,
  type Header,
  toBase64,
  toUpperHex,
  txProofOf,
  validatorAddress,
} from '@haca/light-client';
import { bytesEqual, sha256, toHex } from '@haca/primitives';
import type { Application } from '../abci.ts';
import type { BlockReader } from '../engine/block-reader.ts';
import { HeightError } from '../engine/block-reader.ts';
import type { CommittedBlock, Engine } from '../engine/engine.ts';
import { MempoolError } from '../engine/mempool.ts';
import { breather } from './breather.ts';
import { parseEventQuery } from './event-query.ts';
import { internalFault, type ParamSpec, type Params, RpcFault } from './json-rpc.ts';
import {
  encodeEventsJson,
  encodeQueryJson,
  encodeTxResultJson,
  encodeValidatorUpdateJson,
} from './json-shapes.ts';
import { searchTxs } from './tx-search.ts';

export interface RpcContext {
  readonly application: Application;
  readonly engine: Engine;
  readonly blocks: BlockReader;
  readonly genesis: GenesisDocument;
  readonly publicKey: Uint8Array;
  readonly listenAddress: () => string;
  readonly version: string;
}

type Json = Readonly<Record<string, unknown>>;

interface Method {
  readonly params: readonly ParamSpec[];
  readonly answer: (context: RpcContext, params: Params) => Json | Promise<Json>;
}

const COMMIT_TIMEOUT_MS = 10_000;
const COMMIT_WAITERS_MAX = 100;
const PER_PAGE_DEFAULT = 30;
const PER_PAGE_MAX = 100;
const BLOCK_METAS_MAX = 20;
const SEARCHES_MAX = 4;

const HEIGHT: ParamSpec = { name: 'height', kind: 'int' };
const HASH: ParamSpec = { name: 'hash', kind: 'base64' };
const PROVE: ParamSpec = { name: 'prove', kind: 'bool' };
const TX: ParamSpec = { name: 'tx', kind: 'base64' };
const PAGES: readonly ParamSpec[] = [
  { name: 'page', kind: 'int' },
  { name: 'per_page', kind: 'int' },
];

export const METHODS: Readonly<Record<string, Method>> = {
  health: { params: [], answer: () => ({}) },
  status: { params: [], answer: status },
  net_info: {
    params: [],
    answer: () => ({ listening: true, listeners: [], n_peers: '0', peers: [] }),
  },
  genesis: { params: [], answer: ({ genesis }) => ({ genesis: genesis.json }) },
  block: { params: [HEIGHT], answer: (context, params) => block(context, heightOf(context, params)) },
  block_by_hash: { params: [HASH], answer: blockByHash },
  header: {
    params: [HEIGHT],
    answer: ({ blocks }, params) => ({
      header: encodeHeaderJson(blocks.block(blocks.height(params.int('height'))).block.header),
    }),
  },
  block_results: { params: [HEIGHT], answer: blockResults },
  blockchain: {
    params: [
      { name: 'minHeight', kind: 'int' },
      { name: 'maxHeight', kind: 'int' },
    ],
    answer: blockchain,
  },
  commit: { params: [HEIGHT], answer: commit },
  validators: { params: [HEIGHT, ...PAGES], answer: validators },
  consensus_params: {
    params: [HEIGHT],
    answer: (context, params) => ({
      block_height: `${heightOf(context, params)}`,
      consensus_params: context.genesis.json['consensus_params'],
    }),
  },
  abci_info: { params: [], answer: abciInfo },
  abci_query: {
    params: [{ name: 'path', kind: 'text' }, { name: 'data', kind: 'hex' }, HEIGHT, PROVE],
    answer: abciQuery,
  },
  broadcast_tx_sync: { params: [TX], answer: broadcastTxSync },
  broadcast_tx_async: { params: [TX], answer: broadcastTxAsync },
  broadcast_tx_commit: { params: [TX], answer: broadcastTxCommit },
  unconfirmed_txs: { params: [{ name: 'limit', kind: 'int' }], answer: unconfirmedTxs },
  num_unconfirmed_txs: { params: [], answer: ({ engine }) => unconfirmedCounts(engine, 0) },
  tx: { params: [HASH, PROVE], answer: tx },
  tx_search: {
    params: [{ name: 'query', kind: 'text' }, PROVE, ...PAGES, { name: 'order_by', kind: 'text' }],
    answer: txSearch,
  },
};

/** Any error of a method as the fault its caller gets; what is nobody's request's fault says no more than that. */
export function faultOf(error: unknown): RpcFault {
  if (error instanceof RpcFault) return error;
  if (error instanceof HeightError || error instanceof MempoolError) return internalFault(error.message);
  return internalFault('the node could not answer');
}

function heightOf({ blocks }: RpcContext, params: Params): number {
  return blocks.height(params.int('height'));
}

function status({ engine, blocks, genesis, publicKey, listenAddress, version }: RpcContext): Json {
  const tip = engine.tip();
  const address = validatorAddress(publicKey);
  const power =
    tip.nextValidators.validators.find((each) => toHex(each.address) === toHex(address))?.power ?? 0n;
  const latest = blocks.latest() === 0 ? null : blocks.block(blocks.latest()).block.header;
  const earliest = blocks.latest() === 0 ? null : blocks.block(blocks.base());
  const timeOf = (header: Header | null | undefined) => formatTimestamp(header?.time ?? genesis.time);
  return {
    node_info: {
      protocol_version: { p2p: '8', block: '11', app: '1' },
      id: toHex(address),
      listen_addr: listenAddress(),
      network: genesis.chainId,
      version,
      channels: '',
      moniker: 'haca-full-node',
      other: { tx_index: 'on', rpc_address: listenAddress() },
    },
    sync_info: {
      latest_block_hash: toUpperHex(tip.blockId.hash),
      latest_app_hash: toUpperHex(tip.appHash),
      latest_block_height: `${tip.height}`,
      latest_block_time: timeOf(latest),
      earliest_block_hash: toUpperHex(earliest?.blockId.hash ?? new Uint8Array(0)),
      earliest_app_hash: toUpperHex(earliest?.block.header.appHash ?? new Uint8Array(0)),
      earliest_block_height: `${blocks.base()}`,
      earliest_block_time: timeOf(earliest?.block.header),
      catching_up: false,
    },
    validator_info: {
      address: toUpperHex(address),
      pub_key: { type: 'tendermint/PubKeyEd25519', value: toBase64(publicKey) },
      voting_power: `${power}`,
    },
  };
}

function block({ blocks }: RpcContext, height: number): Json {
  const { block: found, blockId } = blocks.block(height);
  return { block_id: encodeBlockIdJson(blockId), block: encodeBlockJson(found) };
}

function blockByHash(context: RpcContext, params: Params): Json {
  const height = context.blocks.heightOfHash(params.bytes('hash') ?? new Uint8Array(0));
  if (height !== undefined) return block(context, height);
  return { block_id: { hash: '', parts: { total: 0, hash: '' } }, block: null };
}

function blockResults(context: RpcContext, params: Params): Json {
  const height = heightOf(context, params);
  const { txResults, events, validatorUpdates, appHash } = context.blocks.results(height);
  return {
    height: `${height}`,
    txs_results: txResults.length === 0 ? null : txResults.map(encodeTxResultJson),
    finalize_block_events: encodeEventsJson(events),
    validator_updates: validatorUpdates.length === 0 ? null : validatorUpdates.map(encodeValidatorUpdateJson),
    consensus_param_updates: null,
    app_hash: toBase64(appHash),
  };
}

async function blockchain({ blocks }: RpcContext, params: Params): Promise<Json> {
  const latest = blocks.height(undefined);
  const asked = params.int('maxHeight') ?? 0;
  const max = asked <= 0 ? latest : Math.min(asked, latest);
  const min = Math.max(params.int('minHeight') ?? 1, blocks.base(), max - BLOCK_METAS_MAX + 1);
  if (min > max) throw internalFault(`min height ${min} can't be greater than max height ${max}`);
  const metas: Json[] = [];
  const breathe = breather();
  for (let height = max; height >= min; height--) {
    await breathe();
    const { block: found, blockId, sizeBytes } = blocks.block(height);
    metas.push({
      block_id: encodeBlockIdJson(blockId),
      block_size: `${sizeBytes}`,
      header: encodeHeaderJson(found.header),
      num_txs: `${found.txs.length}`,
    });
  }
  return { last_height: `${latest}`, block_metas: metas };
}

function commit(context: RpcContext, params: Params): Json {
  const { blocks } = context;
  const height = heightOf(context, params);
  const { header } = blocks.block(height).block;
  return {
    signed_header: encodeSignedHeaderJson({ header, commit: blocks.commit(height) }),
    // The next block holds this commit; of the newest block it is only what was seen.
    canonical: height < blocks.latest(),
  };
}

function validators({ blocks }: RpcContext, params: Params): Json {
  const asked = params.int('height');
  const height = asked === blocks.latest() + 1 ? asked : blocks.height(asked);
  const set = blocks.validators(height);
  const { items, total } = paged(set.validators, params);
  return {
    block_height: `${height}`,
    validators: items.map((validator) => encodeValidatorJson(validator)),
    count: `${items.length}`,
    total: `${total}`,
  };
}

function paged<T>(
  all: readonly T[],
  params: Params,
): { readonly items: readonly T[]; readonly total: number } {
  const perPage = Math.min(PER_PAGE_MAX, Math.max(1, params.int('per_page') ?? PER_PAGE_DEFAULT));
  const page = params.int('page') ?? 1;
  const pages = Math.max(1, Math.ceil(all.length / perPage));
  if (page < 1 || page > pages)
    throw internalFault(`page should be within [1, ${pages}] range, given ${page}`);
  return { items: all.slice((page - 1) * perPage, page * perPage), total: all.length };
}

function abciInfo({ application }: RpcContext): Json {
  const info = application.info();
  return {
    response: {
      data: info.data,
      version: info.version,
      app_version: `${info.appVersion}`,
      last_block_height: `${info.lastBlockHeight}`,
      last_block_app_hash: toBase64(info.lastBlockAppHash),
    },
  };
}

function abciQuery({ application }: RpcContext, params: Params): Json {
  const height = params.int('height') ?? 0;
  if (height < 0) throw internalFault(`height must be greater than or equal to 0, but got ${height}`);
  const response = application.query({
    path: params.text('path') ?? '',
    data: params.bytes('data') ?? new Uint8Array(0),
    height,
    prove: params.bool('prove'),
  });
  return { response: encodeQueryJson(response) };
}

function requiredTx(params: Params): Uint8Array {
  const bytes = params.bytes('tx');
  if (bytes === undefined || bytes.length === 0) throw internalFault('tx is missing');
  return bytes;
}

async function broadcastTxSync({ engine }: RpcContext, params: Params): Promise<Json> {
  const bytes = requiredTx(params);
  const { code, log, codespace } = await engine.submit(bytes);
  return { code, data: '', log, codespace, hash: toUpperHex(sha256(bytes)) };
}

async function broadcastTxAsync({ engine }: RpcContext, params: Params): Promise<Json> {
  const bytes = requiredTx(params);
  await engine.submit(bytes);
  return { code: 0, data: '', log: '', codespace: '', hash: toUpperHex(sha256(bytes)) };
}

let commitWaiters = 0;

async function broadcastTxCommit({ engine }: RpcContext, params: Params): Promise<Json> {
  const bytes = requiredTx(params);
  const hash = toUpperHex(sha256(bytes));
  if (commitWaiters >= COMMIT_WAITERS_MAX) throw internalFault('too many callers wait for a block already');
  commitWaiters++;
  let stop = (): void => undefined;
  let timer: NodeJS.Timeout | undefined;
  const included = new Promise<readonly [CommittedBlock, number]>((resolve, reject) => {
    stop = engine.onBlock((committed) => {
      const index = committed.block.txs.findIndex((each) => bytesEqual(each, bytes));
      if (index >= 0) resolve([committed, index]);
    });
    const late = internalFault('timed out waiting for tx to be included in a block');
    timer = setTimeout(() => reject(late), COMMIT_TIMEOUT_MS);
  });
  try {
    const { code, log, codespace, gasWanted } = await engine.submit(bytes);
    const check = {
      code,
      data: null,
      log,
      info: '',
      gas_wanted: `${gasWanted}`,
      gas_used: '0',
      events: [],
      codespace,
    };
    if (code !== 0) {
      included.catch(() => undefined);
      return { check_tx: check, tx_result: emptyTxResult(), hash, height: '0' };
    }
    const [committed, index] = await included;
    const result = committed.results.txResults[index];
    if (result === undefined) throw internalFault('the block has no result for the transaction');
    const height = `${committed.block.header.height}`;
    return { check_tx: check, tx_result: encodeTxResultJson(result), hash, height };
  } finally {
    commitWaiters--;
    stop();
    clearTimeout(timer);
  }
}

function emptyTxResult(): Json {
  return {
    code: 0,
    data: null,
    log: '',
    info: '',
    gas_wanted: '0',
    gas_used: '0',
    events: [],
    codespace: '',
  };
}

function unconfirmedCounts(engine: Engine, listed: number): Json {
  const total = engine.mempool.size();
  return {
    n_txs: `${listed === 0 ? total : listed}`,
    total: `${total}`,
    total_bytes: `${engine.mempool.sizeBytes()}`,
  };
}

function unconfirmedTxs({ engine }: RpcContext, params: Params): Json {
  const limit = Math.min(PER_PAGE_MAX, Math.max(1, params.int('limit') ?? PER_PAGE_DEFAULT));
  const txs = engine.mempool.txs().slice(0, limit);
  return { ...unconfirmedCounts(engine, 0), n_txs: `${txs.length}`, txs: txs.map(toBase64) };
}

function tx({ blocks }: RpcContext, params: Params): Json {
  const hash = params.bytes('hash') ?? new Uint8Array(0);
  const place = blocks.txPlace(hash);
  if (place === undefined) throw internalFault(`tx (${toUpperHex(hash)}) not found`);
  return txJson(blocks, place.height, place.index, params.bool('prove'));
}

function txJson(blocks: BlockReader, height: number, index: number, prove: boolean): Json {
  const { txs } = blocks.block(height).block;
  const result = blocks.results(height).txResults[index];
  const bytes = txs[index];
  if (bytes === undefined || result === undefined) throw internalFault(`block ${height} has no tx ${index}`);
  return {
    hash: toUpperHex(sha256(bytes)),
    height: `${height}`,
    index,
    tx_result: encodeTxResultJson(result),
    tx: toBase64(bytes),
    ...(prove ? { proof: encodeTxProofJson(txProofOf(txs, index)) } : {}),
  };
}

let searches = 0;

async function txSearch({ blocks }: RpcContext, params: Params): Promise<Json> {
  const conditions = parseEventQuery(params.text('query') ?? '');
  const order = params.text('order_by') || 'asc';
  if (order !== 'asc' && order !== 'desc')
    throw internalFault('expected order_by to be either `asc` or `desc` or empty');
  if (searches >= SEARCHES_MAX) throw internalFault('too many searches are running; try again');
  searches++;
  try {
    const hits = await searchTxs(blocks, conditions);
    if (order === 'asc') hits.reverse();
    const { items, total } = paged(hits, params);
    const breathe = breather();
    const txs: Json[] = [];
    for (const { height, index } of items) {
      await breathe();
      txs.push(txJson(blocks, height, index, params.bool('prove')));
    }
    return { txs, total_count: `${total}` };
  } finally {
    searches--;
  }
}
