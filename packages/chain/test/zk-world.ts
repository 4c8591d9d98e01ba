/** A node key of method `zk` in a test's world: exchanges, receipts, batches and proofs as a node would have them. */
import assert from 'node:assert/strict';
import {
  concatBytes,
  merkleInclusionPath,
  merkleLeafHash,
  merkleRoot,
  sha256,
  utf8Encode,
} from '@haca/primitives';
import {
  bindZkClaim,
  type ChargeLine,
  type ClaimRecord,
  claimRecordCodec,
  credit,
  encodeReceiptProof,
  encodeZkRequest,
  encodeZkResponse,
  type ModelManifest,
  modelIdOf,
  type OpOf,
  RECEIPT,
  type Receipt,
  receiptLeafHash,
  recordKey,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  STATEMENT,
  type Statement,
  statementLeafHash,
  verifyingKeyRecordCodec,
  ZERO_DIGEST,
  zkClaimIdOf,
} from '@haca/protocol';
import type { TxResult } from '../src/state-machine/index.ts';
import {
  type Actor,
  CHAIN,
  CREDIT,
  createWorld,
  FAUCET,
  funded,
  keyOf,
  line,
  MODEL,
  OPG,
  openChannel,
  openKeyOp,
  registerModel,
  registerNode,
  settleOp,
  type TestChannel,
  type TestKey,
  type TestNode,
  USDC,
  voucher,
  type World,
  type WorldOptions,
} from './state-machine-world.ts';
import {
  TEST_SHAPE,
  type TestKeyShape,
  testKeyHash,
  testProof,
  testRegistrationProof,
  testVerifyingKey,
} from './test-proof-system.ts';

/** Time enough for many blocks before a claim is due. */
export const PATIENT = { proveWindow: 30, withdrawDelay: 200, keyDrain: 160, keyTtl: 150 };

export interface ZkModel {
  readonly shape: TestKeyShape;
  readonly verifyingKey: Uint8Array;
  readonly verifyingKeyHash: Uint8Array;
  readonly manifest: ModelManifest;
  readonly modelId: Uint8Array;
}

export function zkModel(over: Partial<TestKeyShape> = {}): ZkModel {
  const shape = { ...TEST_SHAPE, ...over };
  const verifyingKey = testVerifyingKey(shape);
  const verifyingKeyHash = testKeyHash(verifyingKey);
  const manifest: ModelManifest = {
    ...MODEL,
    name: `zk ${shape.name}`.slice(0, 60),
    task: 'classification',
    weights: { kind: 'zk-verifying-key', digest: verifyingKeyHash },
    methods: ['zk'],
  };
  return { shape, verifyingKey, verifyingKeyHash, manifest, modelId: modelIdOf(manifest) };
}

/** For a test key of any batch size, with its proof. */
const KEY_GAS = 26_520;

export function registerZkOp(
  { manifest, verifyingKey }: ZkModel,
  over: Partial<NonNullable<OpOf<'register-model'>['zk']>> = {},
): OpOf<'register-model'> {
  const registrationProof = testRegistrationProof(verifyingKey);
  return {
    kind: 'register-model',
    manifest,
    zk: { verifyingKey, registrationProof, nodeId: null, verificationGas: KEY_GAS, ...over },
  };
}

/** One inference: canonical bytes and the receipt for them. */
export interface Exchange {
  readonly salt: Uint8Array;
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly request: Uint8Array;
  readonly receipt: SignedObject<Receipt>;
}

export interface ZkKey extends TestKey {
  readonly model: ZkModel;
  /** All receipts so far, settled or not; `seq` and `head` of the key are those of the newest settled one. */
  readonly exchanges: Exchange[];
  /** Statements settled, in order: the leaves of the key's log. */
  readonly log: SignedObject<Statement>[];
  readonly charged: Map<string, bigint>;
}

export function openZkKeyOp(
  world: World,
  node: TestNode,
  model: ZkModel,
  over: Parameters<typeof openKeyOp>[2] = {},
): { readonly op: OpOf<'open-key'>; readonly key: ZkKey } {
  const { modelId } = model;
  const { op, key } = openKeyOp(world, node, {
    method: 'zk',
    ...over,
    binding: { modelSetRoot: merkleRoot([merkleLeafHash(modelId)]), ...over.binding },
    op: { modelId, modelIds: [modelId], ...over.op },
  });
  return { op, key: { ...key, model, exchanges: [], log: [], charged: new Map() } };
}

export function openZkKey(world: World, node: TestNode, model: ZkModel): ZkKey {
  const { op, key } = openZkKeyOp(world, node, model);
  world.ok(node.operator, [op]);
  return key;
}

export interface Serving {
  readonly channel: TestChannel;
  readonly lane?: number;
  readonly amount?: bigint;
  /** What the input is made of; two of one text are equal. */
  readonly text?: string;
  readonly salt?: Uint8Array;
  readonly over?: Partial<Receipt>;
}

/** Serves one request: the receipt continues the stream of the key. */
export function serve(world: World, key: ZkKey, serving: Serving): Exchange {
  const { channel, lane = 0, amount = CREDIT / 100n } = serving;
  const seq = key.exchanges.length + 1;
  const text = serving.text ?? `input ${seq}`;
  const { inputs: inputSizes, outputs: outputSizes } = key.model.shape;
  const row = (label: string, size: number): Uint8Array =>
    sha256(utf8Encode(`${label} ${text}`))
      .slice(0, size)
      .map((byte) => byte & 0x7f);
  const inputs = inputSizes.map((size, i) => row(`in ${i}`, size));
  const outputs = outputSizes.map((size, i) => row(`out ${i}`, size));
  const salt = serving.salt ?? sha256(utf8Encode(`salt ${text} ${seq}`));
  const request = encodeZkRequest({ modelId: key.model.modelId, salt, tensors: inputs });
  const previous = key.exchanges.at(-1)?.receipt;
  const name = `${Buffer.from(channel.channelId).toString('hex')}/${lane}`;
  const cumulative = (key.charged.get(name) ?? 0n) + amount;
  key.charged.set(name, cumulative);
  const running = (previous?.value.running[0]?.[1] ?? 0n) + amount;
  const receipt = RECEIPT.sign(
    {
      version: 1,
      chainId: CHAIN,
      nodeId: key.node.nodeId,
      keyId: key.keyId,
      keyEpoch: 1,
      seq,
      prevReceiptHash: previous?.hash ?? ZERO_DIGEST,
      refHeight: world.height(),
      refBlockHash: world.blockHash(world.height()),
      modelId: key.model.modelId,
      engine: { name: 'zk', version: '1', proxied: false },
      sampling: { maxOutputTokens: 0 },
      method: 'zk',
      requestHash: requestHashOf(request),
      responseHash: responseHashOf(encodeZkResponse({ tensors: outputs })),
      responseForm: 'body',
      outcome: 'completed',
      usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1 },
      offerHash: ZERO_DIGEST,
      asset: USDC,
      amount: credit(amount),
      channelId: channel.channelId,
      lane,
      cumulative: credit(cumulative),
      running: running === 0n ? [] : [[USDC, credit(running)]],
      idempotencyKey: null,
      receivedAtMs: 1,
      completedAtMs: 2,
      ...serving.over,
    },
    key.signer.sign,
  );
  const exchange = { salt, inputs, outputs, request, receipt };
  key.exchanges.push(exchange);
  return exchange;
}

export function serveMany(world: World, key: ZkKey, channel: TestChannel, count: number, lane = 0): void {
  for (let i = 0; i < count; i++) serve(world, key, { channel, lane });
}

export interface ZkClaim {
  readonly claimId: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  readonly exchanges: readonly Exchange[];
}

export interface Batch {
  readonly statement: SignedObject<Statement>;
  readonly claim: ZkClaim;
}

/** The statement over the next `count` receipts that were served and not settled. */
export function batchOf(key: ZkKey, count: number, charges: readonly ChargeLine[] = []): Batch {
  const firstSeq = key.seq + 1;
  const exchanges = key.exchanges.slice(key.seq, key.seq + count);
  const last = exchanges.at(-1)?.receipt;
  assert.ok(last !== undefined && exchanges.length === count, 'as many receipts were served');
  const receiptsRoot = merkleRoot(exchanges.map(({ receipt }) => receiptLeafHash(receipt.hash)));
  const statement = STATEMENT.sign(
    {
      version: 1,
      chainId: CHAIN,
      keyId: key.keyId,
      batch: {
        firstSeq,
        count,
        prevReceiptHash: key.head,
        lastReceiptHash: last.hash,
        receiptsRoot,
        running: last.value.running,
      },
      charges,
    },
    key.signer.sign,
  );
  const claimId = zkClaimIdOf({ chainId: CHAIN, keyId: key.keyId, firstSeq, count, receiptsRoot });
  return { statement, claim: { claimId, firstSeq, count, exchanges } };
}

/** What the key knows once the chain accepted the batch. */
export function settled(key: ZkKey, { statement, claim }: Batch): void {
  key.seq = claim.firstSeq + claim.count - 1;
  key.head = statement.value.batch?.lastReceiptHash ?? key.head;
  key.log.push(statement);
}

export function settleZk(
  world: World,
  key: ZkKey,
  count: number,
  charges: readonly ChargeLine[] = [],
  vouchers: readonly Uint8Array[] = [],
  receipts: readonly (readonly Uint8Array[])[] = charges.map(() => []),
): { readonly result: TxResult; readonly claim: ZkClaim } {
  const batch = batchOf(key, count, charges);
  const result = world.run(key.node.operator, [{ ...settleOp(batch.statement.bytes, vouchers), receipts }]);
  if (result.codeName === 'OK') settled(key, batch);
  return { result, claim: batch.claim };
}

/** Serves and settles, and the claim is open. */
export function openedClaim(world: World, key: ZkKey, channel: TestChannel, count: number): ZkClaim {
  serveMany(world, key, channel, count);
  const { result, claim } = settleZk(world, key, count);
  assert.equal(result.codeName, 'OK', result.info);
  return claim;
}

export function claimRow(world: World, claim: ZkClaim): ClaimRecord | undefined {
  return world.read(claimRecordCodec, recordKey.claim(claim.claimId));
}

export interface Redeeming {
  readonly charges: readonly ChargeLine[];
  readonly vouchers: readonly Uint8Array[];
  readonly receipts?: readonly (readonly Uint8Array[])[];
}

/** The proof of an open claim, good unless `over` says otherwise: its proof is then of what it would have been about. */
export function proveOp(
  world: World,
  key: ZkKey,
  claim: ZkClaim,
  over: Partial<OpOf<'prove'>> = {},
  redeeming?: Redeeming,
): OpOf<'prove'> {
  const { exchanges } = claim;
  const joined = (rows: (exchange: Exchange) => readonly Uint8Array[], count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, i) =>
      concatBytes(...exchanges.map((each) => rows(each)[i] as Uint8Array)),
    );
  const { shape } = key.model;
  const rows = {
    salts: exchanges.map(({ salt }) => salt),
    inputs: joined(({ inputs }) => inputs, shape.inputs.length),
    outputs: joined(({ outputs }) => outputs, shape.outputs.length),
    receipts: exchanges.map(({ receipt }) => receipt.cose.payload),
  };
  const row = claimRow(world, claim);
  return {
    kind: 'prove',
    claimId: claim.claimId,
    ...rows,
    proof: row === undefined ? new Uint8Array(32) : proofOf(key, claim, row, rows),
    verificationGas: row?.verificationGas ?? shape.gas + 1_000,
    redeem: redeeming === undefined ? null : redeemOf(key, redeeming),
    ...over,
  };
}

function proofOf(
  key: ZkKey,
  { claimId }: ZkClaim,
  claim: ClaimRecord,
  rows: Pick<OpOf<'prove'>, 'salts' | 'inputs' | 'outputs' | 'receipts'>,
): Uint8Array {
  const { modelId, verifyingKey, verifyingKeyHash, shape } = key.model;
  const shapes = { inputRowBytes: shape.inputs, outputRowBytes: shape.outputs };
  const bound = bindZkClaim({ chainId: CHAIN, claimId, claim, modelId, verifyingKeyHash, shapes }, rows);
  assert.ok(bound.ok, 'a claim that a test opened is bound to its exchanges');
  return testProof(verifyingKey, bound.statement);
}

export function redeemOf(
  key: ZkKey,
  { charges, vouchers, receipts }: Redeeming,
  chainId = CHAIN,
): OpOf<'prove'>['redeem'] {
  const statement = STATEMENT.sign(
    { version: 1, chainId, keyId: key.keyId, batch: null, charges },
    key.signer.sign,
  );
  return { statement: statement.bytes, vouchers, receipts: receipts ?? charges.map(() => []) };
}

/** That the receipt at `seq` is in the key's log as it stands. */
export function receiptProofOf(key: ZkKey, seq: number): Uint8Array {
  const logIndex = key.log.findIndex(({ value: { batch } }) => {
    return batch !== null && seq >= batch.firstSeq && seq < batch.firstSeq + batch.count;
  });
  const statement = key.log[logIndex] as SignedObject<Statement>;
  const { firstSeq, count } = statement.value.batch as NonNullable<Statement['batch']>;
  const leaves = key.exchanges
    .slice(firstSeq - 1, firstSeq - 1 + count)
    .map(({ receipt }) => receiptLeafHash(receipt.hash));
  return encodeReceiptProof({
    version: 1,
    receipt: (key.exchanges[seq - 1] as Exchange).receipt.bytes,
    receiptPath: merkleInclusionPath(leaves, seq - firstSeq),
    statement: statement.bytes,
    logIndex,
    logSize: key.log.length,
    logPath: merkleInclusionPath(
      key.log.map(({ hash }) => statementLeafHash(hash)),
      logIndex,
    ),
  });
}

/** A line over receipts `from` to `to` of the key's lane, as the receipts say. */
export function laneLine(key: ZkKey, channel: TestChannel, from: number, to: number): ChargeLine {
  const first = (key.exchanges[from - 1] as Exchange).receipt.value;
  const last = (key.exchanges[to - 1] as Exchange).receipt.value;
  return line(channel, first.lane, [from, to], [first.cumulative - first.amount, last.cumulative]);
}

/** A voucher that names the request of receipt `seq`. */
export function voucherFor(world: World, key: ZkKey, channel: TestChannel, seq: number): Uint8Array {
  const { lane, cumulative, requestHash } = (key.exchanges[seq - 1] as Exchange).receipt.value;
  return voucher(world, channel, key, lane, cumulative, { requestHash });
}

export function verifyingKeyRow(world: World, { verifyingKeyHash }: ZkModel) {
  return world.read(verifyingKeyRecordCodec, recordKey.verifyingKey(verifyingKeyHash));
}

export interface ZkMarket {
  readonly world: World;
  readonly node: TestNode;
  readonly model: ZkModel;
  readonly key: ZkKey;
  readonly payer: Actor;
  readonly channel: TestChannel;
}

/** A node with a zk key, and a payer with a channel there. */
export function zkMarket(
  options: WorldOptions & { readonly shape?: Partial<TestKeyShape>; readonly bond?: bigint } = {},
): ZkMarket {
  const world = createWorld(options);
  registerModel(world);
  const model = zkModel(options.shape);
  world.ok(FAUCET, [registerZkOp(model)]);
  const node = registerNode(world, funded(world, 'operator', 100_000n * OPG, 0n), options.bond);
  const payer = funded(world, 'payer', 100n * OPG);
  const key = openZkKey(world, node, model);
  const channel = openChannel(world, payer, [node]);
  return { world, node, model, key, payer, channel };
}

export function ranges(
  world: World,
  key: ZkKey,
): { readonly open: readonly string[]; readonly unpaid: readonly string[] } {
  const { openClaims, unpaidRanges } = keyOf(world, key.keyId);
  const text = (list: typeof openClaims): string[] => list.map(({ first, last }) => `${first}..${last}`);
  return { open: text(openClaims), unpaid: text(unpaidRanges) };
}
