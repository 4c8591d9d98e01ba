/**
 * As much of a full node as an inference node talks to, over real HTTP: records by height, transactions into blocks, events,
 * new-block messages. It applies what the node sends without checking much; what the chain refuses is tested with the chain.
 * Tests change records directly and see what the node makes of it.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import {
  parseVerifyingKey,
  plan,
  publicTensorShapes,
  tensorRowBytes,
  zkVerificationGas,
} from '@haca/circuit';
import { type Codec, encode, toHex } from '@haca/primitives';
import {
  type AllocationRecord,
  accountIdOf,
  accountRecordCodec,
  allocationRecordCodec,
  bindZkClaim,
  type ChainConfigRecord,
  type ClaimRecord,
  chainConfigRecordCodec,
  channelRecordCodec,
  claimRecordCodec,
  codeNumber,
  credit,
  DEFAULT_PARAMS,
  decodeTransaction,
  type ErrorCode,
  keyIdOf,
  laneRecordCodec,
  type ModelManifest,
  modelIdOf,
  modelRecordCodec,
  type NodeKeyRecord,
  type NodeRecord,
  nodeIdOf,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  type Op,
  type OpOf,
  type ReceiptBatch,
  recordKey,
  STATEMENT,
  type Statement,
  sessionRecordCodec,
  type Transaction,
  transactionHash,
  type VerifyingKeyRecord,
  verifyingKeyRecordCodec,
  ZERO_DIGEST,
  zkBatchIndex,
  zkClaimIdOf,
} from '@haca/protocol';

export const CHAIN_ID = 'haca-test-1';
export const ASSET = 1;

interface Event {
  readonly type: string;
  readonly attributes: readonly { readonly key: string; readonly value: string }[];
}

interface TxResult {
  readonly height: number;
  readonly code: number;
  readonly log: string;
  readonly events: readonly Event[];
}

export interface FakeChain {
  readonly url: string;
  readonly params: ChainConfigRecord['params'];
  readonly height: () => number;
  /** Statements that blocks took, in order. */
  readonly statements: readonly Statement[];
  readonly nodeKeys: ReadonlyMap<string, NodeKeyRecord>;
  readonly putChannel: (
    channelId: Uint8Array,
    nodeId: Uint8Array,
    sessionKey: Uint8Array,
    amount: bigint,
  ) => void;
  readonly changeAllocation: (
    channelId: Uint8Array,
    nodeId: Uint8Array,
    change: Partial<AllocationRecord>,
  ) => void;
  readonly revokeSession: (channelId: Uint8Array) => void;
  readonly lane: (keyId: Uint8Array, channelId: Uint8Array, lane: number) => bigint;
  /** Every settlement from now on is refused with this code, or taken again. */
  readonly refuseSettlements: (code: ErrorCode | null) => void;
  /** Charge lines are refused from now on although the statement is taken. */
  readonly refuseLines: (isRefused: boolean) => void;
  /** Claims that are open, by id in hex. */
  readonly claims: ReadonlyMap<string, ClaimRecord>;
  /** Proofs that blocks took, in order. */
  readonly proofs: readonly OpOf<'prove'>[];
  /** Every proof from now on is refused with this code, or taken again. */
  readonly refuseProofs: (code: ErrorCode | null) => void;
  /** All open claims end without a proof. */
  readonly expireClaims: () => void;
  /** Every key from now on is refused with this code, or taken again. */
  readonly refuseKeys: (code: ErrorCode | null) => void;
  /** Milliseconds since 1970 at which the evidence of keys ends that are opened from now on. */
  readonly setEvidenceEnd: (endMs: number) => void;
  /** What `/key-standing` says of a key by its id in hex; null: that it can't be said. A block tells of the change. */
  readonly setStanding: (standing: (keyId: string) => object | null) => void;
  /** OPG of every account from its next transaction on. */
  readonly setBalance: (amount: bigint) => void;
  /** No more blocks, or blocks again. */
  readonly halt: (isHalted: boolean) => void;
  readonly close: () => Promise<void>;
}

/** Everything the chain remembers. */
interface World {
  readonly config: ChainConfigRecord;
  /** By record key: values by height, ascending. */
  readonly records: Map<string, { readonly height: number; readonly value: Uint8Array }[]>;
  readonly transactions: Map<string, TxResult>;
  readonly events: Map<number, readonly Event[]>;
  readonly statements: Statement[];
  readonly nodeKeys: Map<string, NodeKeyRecord>;
  readonly nodes: Map<string, NodeRecord>;
  readonly lanes: Map<string, bigint>;
  readonly claims: Map<string, ClaimRecord>;
  readonly proofs: OpOf<'prove'>[];
  readonly verifyingKeys: Map<string, VerifyingKeyRecord>;
  readonly models: Map<string, ModelManifest>;
  readonly mempool: Transaction[];
  readonly sockets: Set<Socket>;
  height: number;
  settlementRefusal: ErrorCode | null;
  areLinesRefused: boolean;
  proofRefusal: ErrorCode | null;
  keyRefusal: ErrorCode | null;
  evidenceEndMs: number;
  standing: (keyId: string) => object | null;
  balance: bigint;
  isHalted: boolean;
}

const BLOCK_MS = 10;

export async function startFakeChain(params: Partial<ChainConfigRecord['params']> = {}): Promise<FakeChain> {
  const config: ChainConfigRecord = {
    chainId: CHAIN_ID,
    genesisTimeMs: 1_800_000_000_000,
    simulated: true,
    params: { ...DEFAULT_PARAMS, ...params },
    testRoots: [],
  };
  const world: World = {
    config,
    records: new Map(),
    transactions: new Map(),
    events: new Map(),
    statements: [],
    nodeKeys: new Map(),
    nodes: new Map(),
    lanes: new Map(),
    mempool: [],
    sockets: new Set(),
    height: 1,
    settlementRefusal: null,
    areLinesRefused: false,
    proofRefusal: null,
    keyRefusal: null,
    evidenceEndMs: Date.now() + 3 * 3_600_000,
    standing: () => null,
    balance: 1_000_000_000_000n,
    claims: new Map(),
    proofs: [],
    verifyingKeys: new Map(),
    models: new Map(),
    isHalted: false,
  };
  put(world, recordKey.params(), chainConfigRecordCodec, config);
  world.height = 2;
  const server = createServer((request, response) => void answer(world, request, response));
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => subscribe(world, request, socket));
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const timer = setInterval(() => makeBlocks(world), BLOCK_MS);

  const asBlock = (channelId: Uint8Array, change: () => void): void => {
    change();
    finishBlock(world, [eventOf('channel', { channelId: toHex(channelId) })]);
    finishBlock(world, []);
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    params: config.params,
    height: () => world.height,
    statements: world.statements,
    nodeKeys: world.nodeKeys,
    putChannel: (channelId, nodeId, publicKey, amount) =>
      asBlock(channelId, () => {
        const channel = {
          payer: ZERO_DIGEST,
          asset: ASSET,
          free: credit(0n),
          allocations: 1,
          sessions: 1,
          version: 1,
        };
        put(world, recordKey.channel(channelId), channelRecordCodec, channel);
        const session = { publicKey, expiryHeight: 1_000_000 };
        put(world, recordKey.session(channelId, 0), sessionRecordCodec, session);
        putAllocation(world, channelId, nodeId, { amount: credit(amount) });
      }),
    changeAllocation: (channelId, nodeId, change) =>
      asBlock(channelId, () => putAllocation(world, channelId, nodeId, change)),
    revokeSession: (channelId) =>
      asBlock(channelId, () => {
        const bytes = read(world, recordKey.session(channelId, 0), world.height);
        const publicKey = new Uint8Array(bytes.subarray(4, 36));
        const session = { publicKey, expiryHeight: 1_000_000, revokedAt: world.height };
        put(world, recordKey.session(channelId, 0), sessionRecordCodec, session);
      }),
    lane: (keyId, channelId, lane) => world.lanes.get(laneName(keyId, channelId, lane)) ?? 0n,
    refuseSettlements: (code) => {
      world.settlementRefusal = code;
    },
    refuseLines: (isRefused) => {
      world.areLinesRefused = isRefused;
    },
    claims: world.claims,
    proofs: world.proofs,
    refuseProofs: (code) => {
      world.proofRefusal = code;
    },
    expireClaims: () => {
      for (const [id, claim] of [...world.claims]) endClaim(world, id, claim, false);
      finishBlock(world, []);
      finishBlock(world, []);
    },
    refuseKeys: (code) => {
      world.keyRefusal = code;
    },
    setEvidenceEnd: (endMs) => {
      world.evidenceEndMs = endMs;
    },
    setStanding: (standing) => {
      world.standing = standing;
      finishBlock(world, [eventOf('collateral', {})]);
      finishBlock(world, []);
    },
    setBalance: (amount) => {
      world.balance = amount;
    },
    halt: (isHalted) => {
      world.isHalted = isHalted;
    },
    close: () =>
      new Promise((settle) => {
        clearInterval(timer);
        for (const socket of world.sockets) socket.destroy();
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

function put<T>(world: World, key: Uint8Array, codec: Codec<T>, value: T): void {
  const versions = world.records.get(toHex(key)) ?? [];
  versions.push({ height: world.height, value: encode(codec, value) });
  world.records.set(toHex(key), versions);
}

function read(world: World, key: Uint8Array, height: number): Uint8Array {
  const versions = world.records.get(toHex(key)) ?? [];
  return versions.findLast((version) => version.height <= height)?.value ?? new Uint8Array(0);
}

const allocations = new WeakMap<World, Map<string, AllocationRecord>>();

function putAllocation(
  world: World,
  channelId: Uint8Array,
  nodeId: Uint8Array,
  change: Partial<AllocationRecord>,
): void {
  const known = allocations.get(world) ?? new Map<string, AllocationRecord>();
  allocations.set(world, known);
  const name = toHex(channelId) + toHex(nodeId);
  const before = known.get(name) ?? {
    amount: credit(0n),
    paid: credit(0n),
    withdrawing: credit(0n),
    readyAt: 0,
    version: 1,
  };
  const after = { ...before, ...change };
  known.set(name, after);
  put(world, recordKey.allocation(channelId, nodeId), allocationRecordCodec, after);
}

function allocationOf(world: World, channelId: Uint8Array, nodeId: Uint8Array): AllocationRecord | undefined {
  return allocations.get(world)?.get(toHex(channelId) + toHex(nodeId));
}

/** A block as soon as transactions wait, and one more that makes its state final. */
function makeBlocks(world: World): void {
  if (world.isHalted || world.mempool.length === 0) return;
  const transactions = world.mempool.splice(0);
  const events = transactions.flatMap((transaction) => include(world, transaction));
  finishBlock(world, events);
  finishBlock(world, []);
}

/** The block at `height` is done; the next one begins. */
function finishBlock(world: World, events: readonly Event[]): void {
  world.events.set(world.height, events);
  const height = world.height;
  world.height++;
  const header = { header: { height: `${height}` } };
  const message = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { data: { value: header } } });
  for (const socket of world.sockets) socket.write(textFrame(message));
}

function include(world: World, transaction: Transaction): readonly Event[] {
  const { body } = transaction;
  const sender = accountIdOf(body.sender);
  const account = { nopg: nopg(world.balance), credits: [], nonceHigh: body.nonce + 1, nonceBits: 1n };
  put(world, recordKey.account(sender), accountRecordCodec, account);
  let code = 0;
  const events: Event[] = [];
  for (const op of body.ops) {
    const outcome = apply(world, op, sender, body.nonce);
    if (typeof outcome === 'string') code = codeNumber(outcome);
    else events.push(...outcome);
  }
  const hash = toHex(transactionHash(transaction.bytes));
  world.transactions.set(hash, { height: world.height, code, log: '', events });
  return events;
}

function apply(world: World, op: Op, sender: Uint8Array, nonce: number): readonly Event[] | ErrorCode {
  switch (op.kind) {
    case 'register-model': {
      const record = { manifest: op.manifest, registrant: sender, height: world.height };
      put(world, recordKey.model(modelIdOf(op.manifest)), modelRecordCodec, record);
      world.models.set(toHex(modelIdOf(op.manifest)), op.manifest);
      if (op.zk !== undefined) putVerifyingKey(world, op.manifest.weights.digest, op.zk.verifyingKey);
      return [];
    }
    case 'register-node':
      registerNode(world, op, sender, nonce);
      return [];
    case 'update-node': {
      const node = world.nodes.get(toHex(op.nodeId)) as NodeRecord;
      putNode(world, op.nodeId, { ...node, name: op.name, endpoint: op.endpoint, payout: op.payout });
      return [];
    }
    case 'open-key':
      return openKey(world, op);
    case 'close-key': {
      const key = world.nodeKeys.get(toHex(op.keyId)) as NodeKeyRecord;
      putKey(world, op.keyId, { ...key, closingAt: world.height });
      return [eventOf('close-key', { keyId: toHex(op.keyId) })];
    }
    case 'settle':
      return world.settlementRefusal ?? settle(world, op);
    case 'prove':
      return world.proofRefusal ?? prove(world, op);
    default:
      return 'E_UNSUPPORTED';
  }
}

function registerNode(world: World, op: OpOf<'register-node'>, sender: Uint8Array, nonce: number): void {
  const nodeId = nodeIdOf(CHAIN_ID, sender, nonce);
  putNode(world, nodeId, {
    operator: sender,
    operatorKey: { algorithm: 'ed25519', publicKey: new Uint8Array(32) },
    name: op.name,
    endpoint: op.endpoint,
    payout: op.payout,
    bond: op.bond,
    unbonding: nopg(0n),
    keyEpoch: 0,
    keys: [],
    laneRows: 0,
    bucketGas: 0,
    bucketHeight: 0,
    unbondingDue: [],
  });
}

function putNode(world: World, nodeId: Uint8Array, node: NodeRecord): void {
  world.nodes.set(toHex(nodeId), node);
  put(world, recordKey.node(nodeId), nodeRecordCodec, node);
}

function putKey(world: World, keyId: Uint8Array, key: NodeKeyRecord): void {
  world.nodeKeys.set(toHex(keyId), key);
  put(world, recordKey.nodeKey(keyId), nodeKeyRecordCodec, key);
}

function openKey(world: World, op: OpOf<'open-key'>): readonly Event[] | ErrorCode {
  const { nodeId, keyEpoch, signPublicKey } = op.binding;
  if (world.keyRefusal !== null) return world.keyRefusal;
  const node = world.nodes.get(toHex(nodeId));
  if (node === undefined) return 'E_NODE';
  if (keyEpoch <= node.keyEpoch) return 'E_EPOCH';
  const keyId = keyIdOf(CHAIN_ID, nodeId, keyEpoch, signPublicKey);
  putNode(world, nodeId, { ...node, keyEpoch });
  putKey(world, keyId, {
    nodeId,
    keyEpoch,
    publicKey: signPublicKey,
    method: op.method,
    modelId: op.modelId,
    modelIds: op.modelIds,
    binding: op.binding,
    evidence: evidenceOf(world, op),
    openedAt: world.height,
    notAfter: world.height + world.config.params.keyTtl,
    settledSeq: 0,
    headHash: ZERO_DIGEST,
    settled: [],
    verified: [],
    paid: [],
    logSize: 0,
    logFrontier: [],
    unpaidRanges: [],
    openClaims: [],
    c1Seq: 0,
    c1Due: 0,
    faults: 0,
    lastLane: null,
  });
  return [eventOf('open-key', { keyId: toHex(keyId), nodeId: toHex(nodeId) })];
}

/** As the state machine would keep it, of a document that nobody judges here. */
function evidenceOf({ evidenceEndMs }: World, { evidence }: OpOf<'open-key'>): NodeKeyRecord['evidence'] {
  if (evidence === null) return null;
  return {
    kind: evidence.kind,
    endMs: evidenceEndMs,
    simulated: true,
    tier: 'simulated',
    recordHash: ZERO_DIGEST,
  };
}

function settle(world: World, op: OpOf<'settle'>): readonly Event[] | ErrorCode {
  const { value } = STATEMENT.decode(op.statement);
  const { keyId, batch, charges } = value;
  const key = world.nodeKeys.get(toHex(keyId));
  if (key === undefined) return 'E_KEY';
  if (batch !== null) {
    if (batch.firstSeq !== key.settledSeq + 1) return 'E_SEQ';
    putKey(world, keyId, {
      ...key,
      settledSeq: batch.firstSeq + batch.count - 1,
      headHash: batch.lastReceiptHash,
      settled: batch.running,
      verified: batch.running,
      logSize: key.logSize + 1,
    });
    if (key.method === 'zk') openClaim(world, keyId, batch);
  }
  world.statements.push(value);
  return [eventOf('settle', { keyId: toHex(keyId) }), ...payLines(world, keyId, charges)];
}

function payLines(world: World, keyId: Uint8Array, charges: Statement['charges']): readonly Event[] {
  const key = world.nodeKeys.get(toHex(keyId)) as NodeKeyRecord;
  const events: Event[] = [];
  charges.forEach(({ channelId, lane, from, to, atSeq }, index) => {
    const name = laneName(keyId, channelId, lane);
    const mark = world.lanes.get(name) ?? 0n;
    const continues = key.method === 'zk' ? from >= mark : from === mark;
    if (world.areLinesRefused && key.method === 'zk') {
      const refused = {
        keyId: toHex(keyId),
        index: `${index}`,
        channelId: toHex(channelId),
        lane: `${lane}`,
      };
      events.push(eventOf('line-refused', { ...refused, code: 'E_UNDERFUNDED' }));
    }
    if (world.areLinesRefused || !continues) return;
    world.lanes.set(name, to);
    const row = { mark: to, seq: atSeq, previous: null };
    put(world, recordKey.lane(keyId, channelId, lane), laneRecordCodec, row);
    const paid = (allocationOf(world, channelId, key.nodeId)?.paid ?? 0n) + to - from;
    putAllocation(world, channelId, key.nodeId, { paid: credit(paid) });
    events.push(eventOf('pay', { channelId: toHex(channelId), lane: `${lane}`, keyId: toHex(keyId) }));
  });
  return events;
}

/** What the chain derives from a key, by the same functions of the contract. */
function putVerifyingKey(world: World, hash: Uint8Array, verifyingKey: Uint8Array): void {
  const key = parseVerifyingKey(verifyingKey);
  const { inputs, outputs } = publicTensorShapes(key);
  const sizes = Array.from({ length: zkBatchIndex(key.maxBatch) + 1 }, (_, i) =>
    Math.min(2 ** i, key.maxBatch),
  );
  const record = {
    verifyingKey,
    batchMax: key.maxBatch,
    verificationGas: sizes.map((size) => zkVerificationGas(key, size)),
    proofBytes: sizes.map((size) => plan(key, size).proofBytes),
    inputRowBytes: inputs.map(tensorRowBytes),
    outputRowBytes: outputs.map(tensorRowBytes),
    height: world.height,
  };
  world.verifyingKeys.set(toHex(hash), record);
  put(world, recordKey.verifyingKey(hash), verifyingKeyRecordCodec, record);
}

function openClaim(world: World, keyId: Uint8Array, { firstSeq, count, receiptsRoot }: ReceiptBatch): void {
  const claim: ClaimRecord = {
    keyId,
    firstSeq,
    count,
    receiptsRoot,
    delta: [],
    openedAt: world.height,
    nonce: new Uint8Array(32).fill(world.height % 251),
    due: world.height + world.config.params.proveWindow,
    baseFee: 2_000n,
    extensions: 0,
    verificationGas: 1_000,
  };
  const claimId = zkClaimIdOf({ chainId: CHAIN_ID, keyId, firstSeq, count, receiptsRoot });
  world.claims.set(toHex(claimId), claim);
  put(world, recordKey.claim(claimId), claimRecordCodec, claim);
  const key = world.nodeKeys.get(toHex(keyId)) as NodeKeyRecord;
  const range = { first: firstSeq, last: firstSeq + count - 1 };
  putKey(world, keyId, { ...key, openClaims: [...key.openClaims, range] });
}

function endClaim(
  world: World,
  id: string,
  { keyId, firstSeq, count }: ClaimRecord,
  isProved: boolean,
): void {
  world.claims.delete(id);
  const versions = world.records.get(toHex(recordKey.claim(Buffer.from(id, 'hex')))) ?? [];
  versions.push({ height: world.height, value: new Uint8Array(0) });
  const key = world.nodeKeys.get(toHex(keyId)) as NodeKeyRecord;
  const range = { first: firstSeq, last: firstSeq + count - 1 };
  putKey(world, keyId, {
    ...key,
    openClaims: key.openClaims.filter(({ first }) => first !== firstSeq),
    unpaidRanges: isProved ? key.unpaidRanges : [...key.unpaidRanges, range],
  });
}

/** Binding is checked as on a chain; proofs are verified where both halves meet. */
function prove(world: World, op: OpOf<'prove'>): readonly Event[] | ErrorCode {
  const id = toHex(op.claimId);
  const claim = world.claims.get(id);
  const key = claim === undefined ? undefined : world.nodeKeys.get(toHex(claim.keyId));
  if (claim === undefined || key === undefined || key.modelId === null) return 'E_CLAIM';
  const hash = world.models.get(toHex(key.modelId))?.weights.digest as Uint8Array;
  const shapes = world.verifyingKeys.get(toHex(hash)) as VerifyingKeyRecord;
  const context = {
    chainId: CHAIN_ID,
    claimId: op.claimId,
    claim,
    modelId: key.modelId,
    verifyingKeyHash: hash,
    shapes,
  };
  if (!bindZkClaim(context, op).ok) return 'E_BINDING';
  world.proofs.push(op);
  endClaim(world, id, claim, true);
  const events = [eventOf('prove', { claimId: id })];
  if (op.redeem === null) return events;
  const { value } = STATEMENT.decode(op.redeem.statement);
  world.statements.push(value);
  return [...events, ...payLines(world, claim.keyId, value.charges)];
}

function laneName(keyId: Uint8Array, channelId: Uint8Array, lane: number): string {
  return `${toHex(keyId)}/${toHex(channelId)}/${lane}`;
}

function eventOf(type: string, attributes: Readonly<Record<string, string>>): Event {
  return { type, attributes: Object.entries(attributes).map(([key, value]) => ({ key, value })) };
}

type Json = Readonly<Record<string, unknown>>;

async function answer(world: World, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = '';
  for await (const piece of request) text += String(piece);
  const asked = JSON.parse(text) as Call | readonly Call[];
  const body = Array.isArray(asked)
    ? asked.map((each: Call) => reply(world, each))
    : reply(world, asked as Call);
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

interface Call {
  readonly id: number;
  readonly method: string;
  readonly params: Json;
}

function reply(world: World, { id, method, params }: Call): Json {
  const result = call(world, method, params);
  return result === undefined
    ? { jsonrpc: '2.0', id, error: { code: -32603, message: 'not found' } }
    : { jsonrpc: '2.0', id, result };
}

function call(world: World, method: string, params: Json): unknown {
  const latest = world.height - 1;
  switch (method) {
    case 'status':
      return {
        node_info: { network: CHAIN_ID },
        sync_info: {
          latest_block_height: `${latest}`,
          latest_block_hash: toHex(new Uint8Array(32).fill(latest % 251)).toUpperCase(),
          latest_block_time: new Date().toISOString(),
        },
      };
    case 'abci_query': {
      const height = Number(params['height']) || latest;
      if (params['path'] === '/key-standing') return answerStanding(world, String(params['data']), latest);
      const value = read(world, Buffer.from(String(params['data']), 'hex'), height);
      return { response: { code: 0, value: Buffer.from(value).toString('base64'), height: `${height}` } };
    }
    case 'block_results': {
      const height = Number(params['height']);
      if (height > latest) return undefined;
      return { height: `${height}`, txs_results: [{ code: 0, events: world.events.get(height) ?? [] }] };
    }
    case 'broadcast_tx_sync': {
      const transaction = decodeTransaction(new Uint8Array(Buffer.from(String(params['tx']), 'base64')));
      const hash = toHex(transactionHash(transaction.bytes));
      const isKnown =
        world.transactions.has(hash) ||
        world.mempool.some(({ bytes }) => toHex(transactionHash(bytes)) === hash);
      if (!isKnown) world.mempool.push(transaction);
      return { code: 0, log: '', hash: hash.toUpperCase() };
    }
    case 'tx': {
      const result = world.transactions.get(Buffer.from(String(params['hash']), 'base64').toString('hex'));
      if (result === undefined) return undefined;
      const { height, code, log, events } = result;
      return { height: `${height}`, tx_result: { code, log, gas_used: '0', events } };
    }
    default:
      return undefined;
  }
}

function answerStanding({ standing }: World, keyId: string, height: number): object {
  const found = standing(keyId);
  if (found === null) return { response: { code: 1, log: 'not known' } };
  const value = Buffer.from(JSON.stringify(found)).toString('base64');
  return { response: { code: 0, value, height: `${height}` } };
}

/** RFC 6455, as far as a server that only talks needs it. */
function subscribe({ sockets }: World, { headers }: IncomingMessage, socket: Socket): void {
  const accept = createHash('sha1')
    .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  sockets.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => sockets.delete(socket));
  socket.resume();
}

function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const head = Buffer.alloc(4);
  head[0] = 0x81;
  if (payload.length < 126) {
    head[1] = payload.length;
    return Buffer.concat([head.subarray(0, 2), payload]);
  }
  head[1] = 126;
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}
