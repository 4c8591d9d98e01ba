/** An inference node in memory: keeps its own books, signs real receipts, settles when told, and can be made to lie. */

import { headerHash } from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { base64url, fromBase64url } from '@haca/platform/rpc';
import {
  appendToFrontier,
  concatBytes,
  EMPTY_MERKLE_FRONTIER,
  encode,
  type MerkleFrontier,
  merkleInclusionPath,
  merkleRoot,
  toHex,
  utf8Decode,
  utf8Encode,
} from '@haca/primitives';
import {
  accountIdOf,
  chainConfigRecordCodec,
  chargeFor,
  credit,
  DEFAULT_PARAMS,
  encodeReceiptProof,
  inputTokensBound,
  type KeyEvidenceRecord,
  keyEvidenceRecordCodec,
  keyIdOf,
  type Method,
  type ModelManifest,
  modelIdOf,
  modelManifestCodec,
  modelRecordCodec,
  type NodeKeyRecord,
  nodeIdOf,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  OFFER,
  type Offer,
  RECEIPT,
  type Receipt,
  type RecordedEvidence,
  type RegistrationBinding,
  receiptLeafHash,
  recordKey,
  registrationBindingCodec,
  requestHashOf,
  reserveFor,
  responseHashOf,
  type SignedObject,
  STATEMENT,
  STREAM_CHECKPOINT,
  type Statement,
  statementLeafHash,
  streamNext,
  streamStart,
  VOUCHER,
  ZERO_DIGEST,
} from '@haca/protocol';
import { type FakeChain, startFakeChain } from './fake-chain.ts';

export const CHAIN_ID = 'haca-test-1';
export const MODEL_NAME = 'tiny';
export const WORDS = ['Hello', ' there', ', friend', '.'];
const operator = ed25519SignerFromSeed(new Uint8Array(32).fill(1));
const nodeSigner = ed25519SignerFromSeed(new Uint8Array(32).fill(4));
export const operatorId = accountIdOf({ algorithm: 'ed25519', publicKey: operator.publicKey });

/** What a lying node changes. Each applies to the next answers until it is taken away. */
export interface Lies {
  receipt?: (receipt: Receipt) => Receipt;
  signer?: { sign: (message: Uint8Array) => Uint8Array };
  /** What it says, before that is hashed and signed. */
  content?: (events: readonly Uint8Array[]) => readonly Uint8Array[];
  /** Changes the bytes that are sent, after they were hashed. */
  body?: (body: Uint8Array) => Uint8Array;
  blocks?: (blocks: readonly Uint8Array[]) => readonly Uint8Array[];
  noReceipt?: boolean;
  /** Answers with an error instead. */
  refuse?: (request: number) => { status: number; code: string } | null;
  /** After the work was done and charged, the connection breaks: before the answer, or after so many blocks. */
  breakAfterBlocks?: number;
  info?: (info: Record<string, unknown>) => unknown;
  lane?: (state: Record<string, unknown>) => unknown;
  attestation?: (document: Record<string, unknown>) => unknown;
}

export interface FakeNode {
  readonly chain: FakeChain;
  readonly url: string;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly modelId: Uint8Array;
  readonly offer: SignedObject<Offer>;
  readonly fetch: typeof fetch;
  lies: Lies;
  /** Executions, that is requests that were worked on and charged. */
  readonly executions: () => number;
  readonly requests: () => number;
  readonly receipts: readonly SignedObject<Receipt>[];
  /** Puts all receipts that are not settled into a batch and a block. */
  readonly settle: () => void;
  readonly setKey: (change: Partial<NodeKeyRecord>) => void;
}

interface Lane {
  charged: bigint;
  voucher: Uint8Array | null;
}

interface Sent {
  readonly id: string;
  readonly headers: Record<string, string>;
  readonly blocks: readonly Uint8Array[];
}

export interface FakeNetworkOptions {
  readonly method?: Method;
  readonly evidence?: RecordedEvidence | null;
  readonly document?: Uint8Array;
  /** In place of `evidence` and `document`: made over the binding of the key. */
  readonly makeEvidence?: (binding: RegistrationBinding) => FakeEvidence;
  /** In the binding of the key; null by default. */
  readonly hpkePublicKey?: Uint8Array;
}

export interface FakeEvidence {
  readonly evidence: RecordedEvidence;
  readonly document: Uint8Array;
  readonly gpuEvidence?: readonly Uint8Array[];
  readonly testRoots: readonly Uint8Array[];
  /** Rows of the chain beside the key's own. */
  readonly records: readonly (readonly [Uint8Array, Uint8Array])[];
  /** Changes the binding that key and node show, e.g. for GPUs. */
  readonly binding?: RegistrationBinding;
}

/** The row that a key's own row names by its hash. */
export function keyEvidenceRow(
  keyId: Uint8Array,
  evidence: KeyEvidenceRecord,
): readonly [Uint8Array, Uint8Array] {
  return [recordKey.keyEvidence(keyId), encode(keyEvidenceRecordCodec, evidence)];
}

export function startFakeNetwork(options: FakeNetworkOptions = {}): FakeNode {
  const url = 'https://node.test';
  const nodeId = nodeIdOf(CHAIN_ID, operatorId, 1);
  const keyId = keyIdOf(CHAIN_ID, nodeId, 1, nodeSigner.publicKey);
  const manifest: ModelManifest = {
    version: 1,
    name: MODEL_NAME,
    task: 'chat',
    weights: { kind: 'sha256', digest: new Uint8Array(32).fill(7) },
    tokenizerHash: null,
    methods: ['tee', 'signed'],
    contextTokens: 2048,
    license: 'Apache-2.0',
  };
  const modelId = modelIdOf(manifest);
  const plain: RegistrationBinding = {
    chainId: CHAIN_ID,
    operator: operatorId,
    nodeId,
    keyEpoch: 1,
    signPublicKey: nodeSigner.publicKey,
    hpkePublicKey: options.hpkePublicKey ?? null,
    tlsSpkiHash: null,
    modelSetRoot: new Uint8Array(32),
    configHash: new Uint8Array(32),
    gpuEvidenceRoot: null,
    refHeight: 1,
    refBlockHash: new Uint8Array(32).fill(5),
  };
  const made = options.makeEvidence?.(plain);
  const binding = made?.binding ?? plain;
  const evidence = made?.evidence ?? options.evidence ?? null;
  let key: NodeKeyRecord = {
    nodeId,
    keyEpoch: 1,
    publicKey: nodeSigner.publicKey,
    method: options.method ?? 'signed',
    modelId: null,
    modelIds: [modelId],
    binding,
    evidence,
    openedAt: 1,
    notAfter: 86_400,
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
  };
  const config = {
    chainId: CHAIN_ID,
    genesisTimeMs: 0,
    simulated: true,
    params: DEFAULT_PARAMS,
    testRoots: made?.testRoots ?? [],
  };
  const node = {
    operator: operatorId,
    operatorKey: { algorithm: 'ed25519' as const, publicKey: operator.publicKey },
    name: 'test node',
    endpoint: url,
    payout: operatorId,
    bond: nopg(5_000_000_000_000n),
    unbonding: nopg(0n),
    keyEpoch: 1,
    keys: [keyId],
    laneRows: 0,
    bucketGas: 0,
    bucketHeight: 0,
    unbondingDue: [],
  };
  const chain = startFakeChain(
    CHAIN_ID,
    {
      simulated: true,
      params: {},
      reserveNopg: '0',
      accounts: [],
      validators: [],
      assets: [],
      measurements: [],
      testRoots: [],
    },
    [
      [recordKey.params(), encode(chainConfigRecordCodec, config)],
      [recordKey.node(nodeId), encode(nodeRecordCodec, node)],
      [recordKey.nodeKey(keyId), encode(nodeKeyRecordCodec, key)],
      [recordKey.model(modelId), encode(modelRecordCodec, { manifest, registrant: operatorId, height: 1 })],
      ...(evidence === null ? [] : [keyEvidenceRow(keyId, evidence)]),
      ...(made?.records ?? []),
    ],
  );
  const offer = OFFER.sign(
    {
      version: 1,
      chainId: CHAIN_ID,
      nodeId,
      modelId,
      asset: 1,
      inputPrice: credit(20_000_000n),
      cachedInputPrice: credit(10_000_000n),
      outputPrice: credit(60_000_000n),
      requestPrice: credit(1_000n),
      minCharge: credit(1_500n),
      validFrom: 1,
      validUntil: 1_000_000,
      tokenizerHash: null,
    },
    operator.sign,
  );

  const lanes = new Map<string, Lane>();
  const answered = new Map<string, Sent>();
  const receipts: SignedObject<Receipt>[] = [];
  const proofs = new Map<string, { height: number; proof: Uint8Array }>();
  const log: Uint8Array[] = [];
  let frontier: MerkleFrontier = EMPTY_MERKLE_FRONTIER;
  let settled = 0;
  let running = 0n;
  let executions = 0;
  let requests = 0;

  const writeKey = (): number => chain.change([[recordKey.nodeKey(keyId), encode(nodeKeyRecordCodec, key)]]);

  const settle = (): void => {
    const batch = receipts.slice(settled);
    const leaves = batch.map(({ hash }) => receiptLeafHash(hash));
    const last = batch.at(-1) as SignedObject<Receipt>;
    const statement: SignedObject<Statement> = STATEMENT.sign(
      {
        version: 1,
        chainId: CHAIN_ID,
        keyId,
        batch: {
          firstSeq: settled + 1,
          count: batch.length,
          prevReceiptHash: key.headHash,
          lastReceiptHash: last.hash,
          receiptsRoot: merkleRoot(leaves),
          running: last.value.running,
        },
        charges: [],
      },
      nodeSigner.sign,
    );
    log.push(statementLeafHash(statement.hash));
    frontier = appendToFrontier(frontier, statementLeafHash(statement.hash));
    settled = receipts.length;
    key = {
      ...key,
      settledSeq: settled,
      headHash: last.hash,
      settled: last.value.running,
      verified: last.value.running,
      logSize: frontier.size,
      logFrontier: frontier.roots,
    };
    const height = writeKey();
    batch.forEach((receipt, i) => {
      const proof = encodeReceiptProof({
        version: 1,
        receipt: receipt.bytes,
        receiptPath: merkleInclusionPath(leaves, i),
        statement: statement.bytes,
        logIndex: log.length - 1,
        logSize: log.length,
        logPath: merkleInclusionPath(log, log.length - 1),
      });
      proofs.set(toHex(receipt.hash), { height, proof });
    });
  };

  const fake: FakeNode = {
    chain,
    url,
    nodeId,
    keyId,
    modelId,
    offer,
    lies: {},
    fetch: async (input, init) => serve(String(input), init),
    executions: () => executions,
    requests: () => requests,
    receipts,
    settle,
    setKey: (change) => {
      key = { ...key, ...change };
      writeKey();
    },
  };

  const serve = async (where: string, init: RequestInit | undefined): Promise<Response> => {
    const { pathname, searchParams } = new URL(where);
    if (pathname === '/v1/haca') return json(200, (fake.lies.info ?? same)(infoOf()));
    if (pathname.startsWith('/v1/attestation/')) {
      const document = {
        keyId: toHex(keyId),
        kind: key.evidence?.kind ?? 'nitro',
        document: base64url(made?.document ?? options.document ?? utf8Encode('none')),
        binding: base64url(encode(registrationBindingCodec, binding)),
        ...(made?.gpuEvidence === undefined ? {} : { gpuEvidence: made.gpuEvidence.map(base64url) }),
      };
      return json(200, (fake.lies.attestation ?? same)(document));
    }
    if (pathname.startsWith('/v1/lanes/')) {
      const [channel, index] = pathname.split('/').slice(3);
      const lane = lanes.get(`${channel}/${index}/${searchParams.get('key')}`);
      const state = {
        charged: `${lane?.charged ?? 0n}`,
        reserved: '0',
        voucher: lane?.voucher === null || lane === undefined ? null : base64url(lane.voucher),
      };
      return json(200, (fake.lies.lane ?? same)(state));
    }
    if (pathname.startsWith('/v1/receipts/')) return receiptStatus(pathname.split('/')[3] as string);
    if (pathname === '/v1/chat/completions') return complete(init);
    return json(404, { error: { message: 'no such path', code: 'E_REQUEST' } });
  };

  const infoOf = (): Record<string, unknown> => ({
    chainId: CHAIN_ID,
    nodeId: toHex(nodeId),
    operator: toHex(operatorId),
    keys: [{ keyId: toHex(keyId), keyEpoch: 1, assurance: key.method }],
    models: [
      {
        name: MODEL_NAME,
        modelId: toHex(modelId),
        manifest: base64url(encode(modelManifestCodec, manifest)),
        offer: base64url(offer.bytes),
        keyId: toHex(keyId),
      },
    ],
    height: chain.height(),
  });

  const receiptStatus = (id: string): Response => {
    const sent = [...answered.values()].find((each) => each.id === id);
    const receipt = receipts.find(({ hash }) => toHex(hash) === (sent?.headers['hash'] ?? id));
    if (receipt === undefined) return json(404, { error: { message: 'unknown', code: 'E_RECEIPT_UNKNOWN' } });
    const proven = proofs.get(toHex(receipt.hash));
    return json(200, {
      id,
      receipt: base64url(receipt.bytes),
      hash: toHex(receipt.hash),
      state: proven === undefined ? 'executed' : 'verified',
      height: proven?.height ?? null,
      txHash: null,
      proof: proven === undefined ? null : base64url(proven.proof),
    });
  };

  const complete = async (init: RequestInit | undefined): Promise<Response> => {
    requests++;
    const refusal = fake.lies.refuse?.(requests) ?? null;
    if (refusal !== null) return json(refusal.status, { error: { message: 'refused', code: refusal.code } });
    const body = init?.body as Uint8Array;
    const headers = new Headers(init?.headers);
    const voucherBytes = fromBase64url(headers.get('x-haca-voucher') ?? '');
    const voucher = VOUCHER.decode(voucherBytes);
    const name = `${toHex(voucher.hash)} ${toHex(requestHashOf(body))}`;
    const replay = answered.get(name);
    if (replay !== undefined) return respond(replay);
    const { value } = voucher;
    const laneName = `${toHex(value.channelId)}/${value.lane}/${toHex(keyId)}`;
    const lane = lanes.get(laneName) ?? { charged: 0n, voucher: null };
    lanes.set(laneName, lane);
    const doc = JSON.parse(utf8Decode(body)) as { stream?: boolean; max_tokens?: number };
    const maxOutputTokens = doc.max_tokens ?? 256;
    const reserve = reserveFor(offer.value, inputTokensBound(body), maxOutputTokens);
    if (value.cumulative !== lane.charged + reserve) {
      return json(402, { error: { message: `lane is at ${lane.charged}`, code: 'E_RESERVE' } });
    }
    executions++;
    const usage = { inputTokens: 12, cachedInputTokens: 0, outputTokens: WORDS.length };
    const amount = chargeFor(offer.value, usage);
    lane.charged += amount;
    lane.voucher = voucherBytes;
    running += amount;
    const requestHash = requestHashOf(body);
    const isStream = doc.stream === true;
    const events = (fake.lies.content ?? same)(isStream ? streamEvents() : [bodyOf()]);
    const head = events.reduce(streamNext, streamStart(requestHash));
    const idempotencyKey = headers.get('x-haca-idempotency-key');
    const reference = chain.header(chain.height());
    const honest: Receipt = {
      version: 1,
      chainId: CHAIN_ID,
      nodeId,
      keyId,
      keyEpoch: 1,
      seq: receipts.length + 1,
      prevReceiptHash: receipts.at(-1)?.hash ?? ZERO_DIGEST,
      refHeight: reference.height,
      refBlockHash: headerHash(reference),
      modelId,
      engine: { name: 'fake', version: '1', proxied: false },
      sampling: { maxOutputTokens },
      method: key.method,
      requestHash,
      responseHash: isStream ? head : responseHashOf(events[0] as Uint8Array),
      responseForm: isStream ? 'stream' : 'body',
      outcome: 'completed',
      usage,
      offerHash: offer.hash,
      asset: 1,
      amount,
      channelId: value.channelId,
      lane: value.lane,
      cumulative: credit(lane.charged),
      running: [[1, credit(running)]],
      idempotencyKey: idempotencyKey === null ? null : utf8Encode(idempotencyKey),
      receivedAtMs: chain.timeMs(),
      completedAtMs: chain.timeMs() + 5,
    };
    const sign = (fake.lies.signer ?? nodeSigner).sign;
    const receipt = RECEIPT.sign((fake.lies.receipt ?? same)(honest), sign);
    receipts.push(receipt);
    const id = `rcpt_${toHex(receipt.hash.subarray(0, 16))}`;
    const common = { 'x-haca-receipt-id': id, hash: toHex(receipt.hash) };
    const encoded = base64url(receipt.bytes);
    const sent: Sent = isStream
      ? {
          id,
          headers: { ...common, 'content-type': 'text/event-stream' },
          blocks: [
            ...events.slice(0, 2),
            comment('haca-checkpoint', checkpointAfter(events.slice(0, 2), requestHash)),
            utf8Encode(': keep-alive\n\n'),
            ...events.slice(2),
            ...(fake.lies.noReceipt === true ? [] : [comment('haca-receipt', encoded)]),
          ],
        }
      : {
          id,
          headers: {
            ...common,
            'content-type': 'application/json',
            ...(fake.lies.noReceipt === true ? {} : { 'x-haca-receipt': encoded }),
          },
          blocks: events,
        };
    answered.set(name, sent);
    return respond(sent);
  };

  const checkpointAfter = (events: readonly Uint8Array[], requestHash: Uint8Array): string => {
    const sign = (fake.lies.signer ?? nodeSigner).sign;
    const checkpoint = STREAM_CHECKPOINT.sign(
      {
        version: 1,
        keyId,
        requestHash,
        events: events.length,
        head: events.reduce(streamNext, streamStart(requestHash)),
        outputTokens: 1,
        charged: credit(1_500n),
      },
      sign,
    );
    return base64url(checkpoint.bytes);
  };

  const respond = ({ headers, blocks }: Sent): Response => {
    const { breakAfterBlocks } = fake.lies;
    if (breakAfterBlocks === 0) throw new TypeError('connection reset');
    const lying = (fake.lies.blocks ?? same)(blocks);
    if (headers['content-type'] === 'application/json') {
      return new Response((fake.lies.body ?? same)(concatBytes(...lying)) as Uint8Array<ArrayBuffer>, {
        headers,
      });
    }
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (breakAfterBlocks !== undefined && at >= breakAfterBlocks) {
          delete fake.lies.breakAfterBlocks;
          controller.error(new TypeError('connection reset'));
          return;
        }
        const block = lying[at++];
        if (block === undefined) return controller.close();
        controller.enqueue(block);
      },
    });
    return new Response(body, { headers });
  };
  return fake;
}

function bodyOf(): Uint8Array {
  return utf8Encode(
    JSON.stringify({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1,
      model: MODEL_NAME,
      choices: [{ index: 0, message: { role: 'assistant', content: WORDS.join('') }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 },
    }),
  );
}

function streamEvents(): Uint8Array[] {
  const chunk = (delta: unknown, finish_reason: string | null): Uint8Array =>
    utf8Encode(
      `data: ${JSON.stringify({
        id: 'chatcmpl-1',
        object: 'chat.completion.chunk',
        created: 1,
        model: MODEL_NAME,
        choices: [{ index: 0, delta, finish_reason }],
      })}\n\n`,
    );
  return [
    ...WORDS.map((content) => chunk({ content }, null)),
    chunk({}, 'stop'),
    utf8Encode('data: [DONE]\n\n'),
  ];
}

function comment(name: string, text: string): Uint8Array {
  return utf8Encode(`: ${name} ${text}\n\n`);
}

function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json' } });
}

function same<T>(value: T): T {
  return value;
}

export const testCrypto = nodeCrypto;
