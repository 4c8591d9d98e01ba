import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromHex, MalformedError, toHex, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { createFrameParser } from '../src/abci-socket/frames.ts';
import { type AbciRequest, decodeRequest } from '../src/abci-socket/requests.ts';
import * as responses from '../src/abci-socket/responses.ts';
import { takeOutput, type WireWriter, wireWriter } from '../src/abci-socket/wire-writer.ts';
import { decodeProto, encodeProto, type Fields, frame, varint } from './abci-proto.ts';

const VECTORS = JSON.parse(readFileSync(new URL('abci-vectors.json', import.meta.url), 'utf8')) as {
  readonly requests: Readonly<Record<string, string>>;
  readonly responses: Readonly<Record<string, string>>;
};

const TIME = { seconds: 1_767_225_600n, nanos: 123_456_789 };
const POWER = 2n ** 60n;
const NONE = new Uint8Array(0);
const TXS = [utf8Encode('a'), NONE, bytes(7, 200)];
const MISBEHAVIOR = [
  { kind: 'duplicate-vote', address: bytes(2, 20), height: 5 },
  { kind: 'light-client-attack', address: bytes(3, 20), height: 300 },
];
const VOTES = [
  { address: bytes(1, 20), power: 10n, signed: true },
  { address: bytes(2, 20), power: POWER, signed: false },
  { address: bytes(3, 20), power: 1n, signed: false },
];
const BLOCK = {
  txs: TXS,
  lastCommit: VOTES,
  misbehavior: MISBEHAVIOR,
  hash: bytes(5, 32),
  height: 12,
  time: TIME,
  proposerAddress: bytes(1, 20),
};

/** What the vectors' requests say. */
const REQUESTS: Readonly<Record<string, unknown>> = {
  echo: { method: 'echo', message: utf8Encode('hi ✓') },
  flush: { method: 'flush' },
  info: { method: 'info' },
  'init-chain': {
    method: 'init-chain',
    chain: {
      time: TIME,
      chainId: 'chain-1',
      validators: [
        { publicKey: bytes(5, 32), power: POWER },
        { publicKey: bytes(6, 32), power: 1n },
      ],
      appState: utf8Encode('{"a":1}'),
      initialHeight: 7,
    },
  },
  query: {
    method: 'query',
    query: { data: Uint8Array.of(0, 255), path: '/store', height: 2n ** 52n, prove: true },
  },
  'query-negative': {
    method: 'query',
    query: { data: NONE, path: '\ufffd', height: -1n, prove: false },
  },
  'check-tx': { method: 'check-tx', tx: bytes(4, 300), kind: 'new' },
  'recheck-tx': { method: 'check-tx', tx: bytes(1, 1), kind: 'recheck' },
  commit: { method: 'commit' },
  'list-snapshots': { method: 'list-snapshots' },
  'offer-snapshot': {
    method: 'offer-snapshot',
    snapshot: {
      height: 2n ** 64n - 1n,
      format: 2 ** 32 - 1,
      chunks: 3,
      hash: bytes(1, 32),
      metadata: bytes(2, 5),
    },
    appHash: bytes(3, 32),
  },
  'load-snapshot-chunk': {
    method: 'load-snapshot-chunk',
    chunk: { height: 2n ** 63n, format: 1, chunk: 2 },
  },
  'apply-snapshot-chunk': {
    method: 'apply-snapshot-chunk',
    chunk: { index: 9, chunk: bytes(8, 20), sender: 'peer' },
  },
  'prepare-proposal': {
    method: 'prepare-proposal',
    proposal: {
      txs: TXS,
      maxTxBytes: 4_000_000,
      lastCommit: [
        { address: bytes(1, 20), power: 10n, signed: true },
        { address: bytes(2, 20), power: 11n, signed: false },
      ],
      misbehavior: MISBEHAVIOR,
      height: 12,
      time: TIME,
      proposerAddress: bytes(1, 20),
    },
  },
  'process-proposal': { method: 'process-proposal', block: BLOCK },
  'extend-vote': { method: 'extend-vote', hash: bytes(5, 32), height: 12 },
  'verify-vote-extension': {
    method: 'verify-vote-extension',
    hash: bytes(5, 32),
    height: 12,
    extension: utf8Encode('ext'),
  },
  'finalize-block': { method: 'finalize-block', block: { ...BLOCK, height: Number.MAX_SAFE_INTEGER } },
  // What abci-cli sends: everything at its default, Go's zero time included.
  'finalize-block-zero': {
    method: 'finalize-block',
    block: {
      txs: [],
      lastCommit: [],
      misbehavior: [],
      hash: NONE,
      height: 0,
      time: { seconds: -62_135_596_800n, nanos: 0 },
      proposerAddress: NONE,
    },
  },
  'insert-tx': { method: 'insert-tx' },
  'reap-txs': { method: 'reap-txs' },
};

const EVENTS = [
  {
    type: 'transfer',
    attributes: [
      { key: 'k', value: 'v é', index: true },
      { key: '', value: '', index: false },
      { key: 'long', value: 'x'.repeat(150), index: true },
    ],
  },
  { type: 'none', attributes: [] },
];
const EMPTY_RESULT = {
  code: 0,
  data: NONE,
  log: '',
  info: '',
  gasWanted: 0n,
  gasUsed: 0n,
  events: [],
  codespace: '',
};
const EMPTY_QUERY = {
  code: 0,
  log: '',
  info: '',
  key: NONE,
  value: NONE,
  proofOps: null,
  height: 0,
  codespace: '',
};

/** How each of the vectors' responses is written here. */
const RESPONSES: Readonly<Record<string, (out: WireWriter) => void>> = {
  exception: (out) => responses.writeException(out, 'no'),
  echo: (out) => responses.writeEcho(out, utf8Encode('hi ✓')),
  flush: responses.writeFlush,
  info: (out) =>
    responses.writeInfo(out, {
      data: 'haca',
      version: '0.1.0',
      appVersion: 1,
      lastBlockHeight: Number.MAX_SAFE_INTEGER,
      lastBlockAppHash: bytes(1, 32),
    }),
  'init-chain': (out) =>
    responses.writeInitChain(out, {
      validators: [
        { publicKey: bytes(5, 32), power: POWER },
        { publicKey: bytes(6, 32), power: 1n },
      ],
      appHash: bytes(2, 32),
    }),
  query: (out) =>
    responses.writeQuery(out, {
      code: 3,
      log: 'l',
      info: 'i',
      key: bytes(1, 1),
      value: bytes(2, 130),
      proofOps: [
        { type: 'haca:state', key: bytes(1, 1), data: bytes(3, 140) },
        { type: 't', key: NONE, data: NONE },
      ],
      height: 300,
      codespace: 'haca',
    }),
  'query-empty-proof': (out) => responses.writeQuery(out, { ...EMPTY_QUERY, proofOps: [] }),
  'check-tx': (out) =>
    responses.writeCheckTx(out, {
      code: 2 ** 32 - 1,
      log: 'l',
      gasWanted: 2n ** 62n + 1n,
      codespace: 'haca',
    }),
  'check-tx-ok': (out) => responses.writeCheckTx(out, { code: 0, log: '', gasWanted: -1n, codespace: '' }),
  commit: (out) => responses.writeCommit(out, 77),
  'list-snapshots': (out) =>
    responses.writeListSnapshots(out, [
      { height: 1000, format: 1, chunks: 3, hash: bytes(1, 32), metadata: bytes(2, 100) },
      { height: 2000, format: 0, chunks: 0, hash: NONE, metadata: NONE },
    ]),
  'offer-snapshot': (out) => responses.writeOfferSnapshot(out, 'reject-sender'),
  'load-snapshot-chunk': (out) => responses.writeLoadSnapshotChunk(out, bytes(6, 300)),
  'apply-snapshot-chunk': (out) =>
    responses.writeApplySnapshotChunk(out, {
      result: 'retry',
      refetchChunks: [0, 1, 300],
      rejectSenders: ['a', 'b'],
    }),
  'prepare-proposal': (out) => responses.writePrepareProposal(out, TXS),
  'process-proposal': (out) => responses.writeProcessProposal(out, 'reject'),
  'extend-vote': responses.writeExtendVote,
  'verify-vote-extension': (out) => responses.writeVerifyVoteExtension(out, 'accept'),
  'finalize-block': (out) =>
    responses.writeFinalizeBlock(out, {
      events: EVENTS,
      txResults: [
        {
          code: 5,
          data: Uint8Array.of(1, 2),
          log: 'log',
          info: 'info',
          gasWanted: 100n,
          gasUsed: 2n ** 40n,
          events: EVENTS,
          codespace: 'haca',
        },
        EMPTY_RESULT,
      ],
      validatorUpdates: [
        { publicKey: bytes(5, 32), power: 0n },
        { publicKey: bytes(6, 32), power: 12n },
      ],
      appHash: bytes(9, 32),
    }),
};

function bytes(value: number, count: number): Uint8Array {
  return new Uint8Array(count).fill(value);
}

function request(method: string, fields: Fields = {}): Uint8Array {
  return encodeProto('Request', { [method]: fields });
}

function refusal(message: Uint8Array): MalformedError {
  try {
    decodeRequest(message);
  } catch (error) {
    assert.ok(error instanceof MalformedError, String(error));
    return error;
  }
  return assert.fail(`accepted ${toHex(message)}`);
}

/** The message of the one frame that was written. */
function written(write: (out: WireWriter) => void): Uint8Array {
  const out = wireWriter();
  write(out);
  const output = takeOutput(out);
  const messages: Uint8Array[] = [];
  createFrameParser(2 ** 31).push(output, (message) => messages.push(Uint8Array.from(message)) > 0);
  assert.equal(messages.length, 1);
  return messages[0] as Uint8Array;
}

test("ABCI-3: requests as CometBFT's Go types marshal them are read field by field", () => {
  const { 'init-chain-secp256k1': foreignKey, ...known } = VECTORS.requests;
  assert.deepEqual(Object.keys(REQUESTS).sort(), Object.keys(known).sort());
  for (const [name, hex] of Object.entries(known)) {
    assert.deepEqual(decodeRequest(fromHex(hex)), REQUESTS[name], name);
  }
  assert.equal(refusal(fromHex(foreignKey as string)).code, 'abci-request.key');
});

test("ABCI-6: responses are byte for byte what CometBFT's Go types give", () => {
  assert.deepEqual(Object.keys(RESPONSES).sort(), Object.keys(VECTORS.responses).sort());
  for (const [name, hex] of Object.entries(VECTORS.responses)) {
    assert.equal(toHex(written(RESPONSES[name] as (out: WireWriter) => void)), hex, name);
  }
});

test('ABCI-3: unknown fields are skipped, in every message', () => {
  const unknown = [
    // Field 31 as varint, as eight bytes, as four, as a byte string; field 2,000,000 as a varint.
    Uint8Array.of(0xf8, 0x01, 0x96, 0x01),
    Uint8Array.of(0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8),
    Uint8Array.of(0xfd, 0x01, 1, 2, 3, 4),
    Uint8Array.of(0xfa, 0x01, 2, 9, 9),
    Uint8Array.from([...varint(2_000_000n * 8n), ...varint(2n ** 64n - 1n)]),
  ];
  for (const [name, hex] of Object.entries(VECTORS.requests)) {
    if (name === 'init-chain-secp256k1') continue;
    const [[tag, content]] = [splitRequest(fromHex(hex))];
    for (const extra of unknown) {
      const grown = Buffer.concat([content, extra]);
      const message = Buffer.concat([
        Uint8Array.from(tag),
        Uint8Array.from(varint(BigInt(grown.length))),
        grown,
      ]);
      assert.deepEqual(decodeRequest(message), REQUESTS[name], `${name} and ${toHex(extra)}`);
    }
  }
});

test('ABCI-3: a known field with another wire type is refused', () => {
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['check-tx', Uint8Array.of(0x08, 1)],
    ['check-tx', Uint8Array.of(0x12, 0)],
    ['finalize-block', Uint8Array.of(0x08, 1)],
    ['finalize-block', Uint8Array.of(0x2a, 0)],
    ['finalize-block', Uint8Array.of(0x2d, 1, 2, 3, 4)],
    ['init-chain', Uint8Array.of(0x0d, 1, 2, 3, 4)],
    ['query', Uint8Array.of(0x22, 0)],
  ];
  for (const [method, content] of cases) {
    const [tag] = splitRequest(request(method));
    const message = Uint8Array.from([...tag, content.length, ...content]);
    assert.equal(refusal(message).code, 'abci-wire.type', `${method} ${toHex(content)}`);
  }
});

test('ABCI-3: bytes that are no sequence of fields, and values there is no room for, are refused', () => {
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['abci-wire.truncated', Uint8Array.of(0x42, 5, 0x0a, 9, 1)],
    ['abci-wire.truncated', Uint8Array.of(0x42, 3, 0x0a, 0xff, 0xff)],
    ['abci-wire.truncated', Uint8Array.of(0x42)],
    ['abci-wire.tag', Uint8Array.of(0x42, 2, 0x02, 0)],
    ['abci-wire.tag', Uint8Array.from([...varint(2n ** 33n), 0])],
    ['abci-wire.type', Uint8Array.of(0x42, 1, 0x1b)],
    ['abci-wire.varint', Uint8Array.from([0x42, 12, 0x10, ...bytes(0x80, 10), 0])],
    ['abci-wire.range', Uint8Array.from([0x42, 11, 0x10, ...varint(-1n)])],
    ['abci-request.kind', NONE],
    ['abci-request.kind', Uint8Array.of(0x22, 0)],
    ['abci-request.kind', Uint8Array.of(0x12, 0, 0x12, 0)],
    ['abci-request.kind', Uint8Array.of(0xba, 0x01, 0)],
    ['abci-request.enum', request('check-tx', { type: 2n })],
    ['abci-request.enum', request('finalize-block', { misbehavior: [{ type: 3n }] })],
    ['abci-request.enum', request('finalize-block', { misbehavior: [{}] })],
    ['abci-request.time', request('finalize-block', { time: { nanos: 1_000_000_000n } })],
    ['abci-request.key', request('init-chain', { validators: [{ key: { ed25519: bytes(1, 33) } }] })],
    ['abci-request.key', request('init-chain', { validators: [{}] })],
  ];
  for (const [code, message] of cases) assert.equal(refusal(message).code, code, toHex(message));
});

test('ABCI-4: a height on the consensus connection is a safe integer that is not negative', () => {
  const withHeight = (height: bigint): readonly Uint8Array[] => [
    request('finalize-block', { height }),
    request('process-proposal', { height }),
    request('prepare-proposal', { height }),
    request('prepare-proposal', { maxTxBytes: height }),
    request('extend-vote', { height }),
    request('verify-vote-extension', { height }),
    request('init-chain', { initialHeight: height }),
    request('finalize-block', { misbehavior: [{ type: 1n, height }] }),
  ];
  for (const height of [-1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    for (const message of withHeight(height)) assert.equal(refusal(message).code, 'abci-request.range');
  }
  for (const message of withHeight(2n ** 53n - 1n)) decodeRequest(message);
});

test('ABCI-5: what was decoded stays when the buffer it came from changes', () => {
  for (const hex of Object.values(VECTORS.requests)) {
    const message = Buffer.from(hex, 'hex');
    let before: AbciRequest;
    try {
      before = decodeRequest(message);
    } catch {
      continue;
    }
    const kept = structuredClone(before);
    message.fill(0xee);
    assert.deepEqual(before, kept);
  }
});

const blob = fc.uint8Array({ maxLength: 300 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const height = fc.bigInt({ min: 0n, max: 2n ** 53n - 1n });
const uint32 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n });
const validator = fc.record({ address: blob, power: int64 });
const timestamp = fc.record({ seconds: int64, nanos: fc.bigInt({ min: 0n, max: 999_999_999n }) });
const misbehavior = fc.array(
  fc.record({ type: fc.constantFrom(1n, 2n), validator, height, time: timestamp, totalPower: int64 }),
  { maxLength: 3 },
);
const blockFields = fc.record({
  txs: fc.array(blob, { maxLength: 20 }),
  lastCommit: fc.record({
    round: fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n }),
    votes: fc.array(fc.record({ validator, flag: fc.bigInt({ min: 0n, max: 3n }) }), { maxLength: 4 }),
  }),
  misbehavior,
  hash: blob,
  height,
  time: timestamp,
  nextValidatorsHash: blob,
  proposerAddress: blob,
});

interface BlockFields {
  readonly txs: readonly Uint8Array[];
  readonly lastCommit: {
    readonly votes: readonly { readonly validator: Fields; readonly flag: bigint }[];
  };
  readonly misbehavior: readonly {
    readonly type: bigint;
    readonly validator: Fields;
    readonly height: bigint;
  }[];
  readonly hash: Uint8Array;
  readonly height: bigint;
  readonly time: { readonly seconds: bigint; readonly nanos: bigint };
  readonly proposerAddress: Uint8Array;
}

function expectedBlock(fields: BlockFields): unknown {
  return {
    txs: fields.txs,
    lastCommit: fields.lastCommit.votes.map(({ validator: { address, power }, flag }) => ({
      address,
      power,
      signed: flag === 2n,
    })),
    misbehavior: fields.misbehavior.map(({ type, validator: { address }, height: at }) => ({
      kind: type === 1n ? 'duplicate-vote' : 'light-client-attack',
      address,
      height: Number(at),
    })),
    hash: fields.hash,
    height: Number(fields.height),
    time: { seconds: fields.time.seconds, nanos: Number(fields.time.nanos) },
    proposerAddress: fields.proposerAddress,
  };
}

test('ABCI-3: any block that another encoder writes is read back', () => {
  fc.assert(
    fc.property(blockFields, fc.constantFrom('finalize-block', 'process-proposal'), (fields, method) => {
      assert.deepEqual(decodeRequest(request(method, fields)), { method, block: expectedBlock(fields) });
    }),
    { numRuns: 300 },
  );
});

test('ABCI-3, ABCI-5: a block of thousands of transactions of any size is read back, each with bytes of its own', () => {
  const sizes = fc.array(fc.constantFrom(0, 1, 64, 250, 4095, 4096, 4097, 20_000), {
    minLength: 1,
    maxLength: 400,
  });
  fc.assert(
    fc.property(sizes, (list) => {
      const txs = list.map((size, i) => bytes(i, size));
      const message = Buffer.from(request('finalize-block', { txs, hash: bytes(5, 32) }));
      const decoded = decodeRequest(message);
      message.fill(0xee);
      assert.ok(decoded.method === 'finalize-block');
      assert.deepEqual(decoded.block.txs, txs);
      assert.deepEqual(decoded.block.hash, bytes(5, 32));
      // Whoever keeps one transaction does not keep the whole block.
      for (const tx of decoded.block.txs) assert.ok(tx.buffer.byteLength <= Math.max(tx.length, 64 * 1024));
    }),
    { numRuns: 50 },
  );
});

test('ABCI-3, ABCI-4: any query, transaction and snapshot that another encoder writes is read back', () => {
  const text = fc.string({ unit: 'binary', maxLength: 60 });
  const query = fc.record({ data: blob, path: text, height: int64, prove: fc.boolean() });
  const snapshot = fc.record({
    height: uint64,
    format: uint32,
    chunks: uint32,
    hash: blob,
    metadata: blob,
  });
  fc.assert(
    fc.property(query, snapshot, blob, fc.boolean(), (asked, offered, tx, again) => {
      assert.deepEqual(decodeRequest(request('query', asked)), { method: 'query', query: { ...asked } });
      assert.deepEqual(decodeRequest(request('check-tx', { tx, type: again ? 1n : 0n })), {
        method: 'check-tx',
        tx,
        kind: again ? 'recheck' : 'new',
      });
      const decoded = decodeRequest(request('offer-snapshot', { snapshot: offered, appHash: tx }));
      const { format, chunks } = offered;
      assert.deepEqual(decoded, {
        method: 'offer-snapshot',
        snapshot: { ...offered, format: Number(format), chunks: Number(chunks) },
        appHash: tx,
      });
    }),
    { numRuns: 300 },
  );
});

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
);
const anyEvent = fc.record({
  type: anyText,
  attributes: fc.array(fc.record({ key: anyText, value: anyText, index: fc.boolean() }), { maxLength: 4 }),
});
const anyResult = fc.record({
  code: fc.nat(2 ** 31),
  data: blob,
  log: anyText,
  info: anyText,
  gasWanted: int64,
  gasUsed: int64,
  events: fc.array(anyEvent, { maxLength: 3 }),
  codespace: anyText,
});

test('ABCI-6: any result of a block is read back by another decoder', () => {
  const update = fc.record({ publicKey: blob, power: int64 });
  const response = fc.record({
    events: fc.array(anyEvent, { maxLength: 3 }),
    txResults: fc.array(anyResult, { maxLength: 5 }),
    validatorUpdates: fc.array(update, { maxLength: 3 }),
    appHash: blob,
  });
  fc.assert(
    fc.property(response, (given) => {
      const message = written((out) => responses.writeFinalizeBlock(out, given));
      const expected = encodeProto('Response', {
        'finalize-block': withoutDefaults({
          ...given,
          txResults: given.txResults.map((result) => ({ ...result, code: BigInt(result.code) })),
          validatorUpdates: given.validatorUpdates.map(({ publicKey, power }) => ({
            key: { ed25519: publicKey },
            power,
          })),
        }),
      });
      assert.equal(toHex(message), toHex(expected));
      decodeProto('Response', message);
    }),
    { numRuns: 300 },
  );
});

test('ABCI-10: a value that ABCI cannot carry is refused, and leaves nothing half-written', () => {
  const out = wireWriter();
  responses.writeEcho(out, bytes(1, 3));
  const refused: readonly (() => void)[] = [
    () => responses.writeCheckTx(out, { code: -1, log: 'x', gasWanted: 0n, codespace: '' }),
    () => responses.writeCheckTx(out, { code: 2 ** 32, log: '', gasWanted: 0n, codespace: '' }),
    () => responses.writeCheckTx(out, { code: 0.5, log: '', gasWanted: 0n, codespace: '' }),
    () => responses.writeCheckTx(out, { code: 0, log: 'x', gasWanted: 2n ** 63n, codespace: '' }),
    () => responses.writeCheckTx(out, { code: 0, log: 'x', gasWanted: -(2n ** 63n) - 1n, codespace: '' }),
    () => responses.writeCommit(out, -1),
    () => responses.writeCommit(out, 2 ** 53),
    () => responses.writeProcessProposal(out, 'maybe' as 'accept'),
    () => responses.writeQuery(out, { ...EMPTY_QUERY, log: 'x'.repeat(500), height: Number.NaN }),
  ];
  for (const write of refused) assert.throws(write, { name: 'UsageError' });
  assert.equal(
    toHex(takeOutput(out)),
    toHex(frame(encodeProto('Response', { echo: { message: '\x01\x01\x01' } }))),
  );
});

test('ABCI-6: text with a lone surrogate is written as U+FFFD', () => {
  const message = written((out) => responses.writeException(out, 'a\ud800b'));
  assert.deepEqual(decodeProto('Response', message), { exception: { error: 'a\ufffdb' } });
});

test('ABCI-1: frames are found however they are cut, joined or empty', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 20 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(60), { maxLength: 200 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(frame));
      const parser = createFrameParser(1000);
      const got: Uint8Array[] = [];
      let offset = 0;
      for (const cut of [...cuts, stream.length]) {
        const piece = Buffer.from(stream.subarray(offset, offset + cut));
        parser.push(piece, (message) => got.push(Uint8Array.from(message)) > 0);
        // A parser that kept a view of what it was given would now hold other bytes.
        piece.fill(0xee);
        offset += cut;
      }
      assert.deepEqual(got, sent);
    }),
    { numRuns: 500 },
  );
});

test('ABCI-1: every way to cut two frames in two gives the same frames', () => {
  const stream = Buffer.concat([frame(bytes(1, 300)), frame(bytes(2, 3))]);
  for (let cut = 0; cut <= stream.length; cut++) {
    const parser = createFrameParser(1000);
    const got: number[] = [];
    for (const piece of [stream.subarray(0, cut), stream.subarray(cut)]) {
      parser.push(piece, (message) => got.push(message.length) > 0);
    }
    assert.deepEqual(got, [300, 3]);
  }
});

test('ABCI-2: a message above the limit is refused as soon as its length shows it', () => {
  const lengths: readonly Uint8Array[] = [
    Uint8Array.from(varint(1001n)),
    Uint8Array.from(varint(2n ** 31n)),
    Uint8Array.from(varint(2n ** 63n)),
    bytes(0xff, 5),
    bytes(0x80, 5),
  ];
  for (const length of lengths) {
    const parser = createFrameParser(1000);
    assert.throws(() => parser.push(length, () => true), { name: 'MalformedError', code: 'abci-frame.size' });
  }
  const parser = createFrameParser(1000);
  const sizes: number[] = [];
  parser.push(frame(bytes(1, 1000)), (message) => sizes.push(message.length) > 0);
  assert.deepEqual(sizes, [1000]);
});

test('ABCI-2: a message that is announced and does not come costs no memory', () => {
  const before = process.memoryUsage().arrayBuffers;
  const parsers = Array.from({ length: 64 }, () => {
    const parser = createFrameParser(2 ** 31);
    parser.push(Uint8Array.from([...varint(2n ** 31n - 1n), 1, 2, 3]), () => true);
    return parser;
  });
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 64 * 1024 * 1024, `${parsers.length} parsers hold ${grown} bytes`);
});

test('ABCI-3: changed and random bytes are refused or read, never more', () => {
  const seeds = Object.values(VECTORS.requests).map((hex) => Buffer.from(hex, 'hex'));
  const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) });
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat())
    .map(([seed, changes, cut]) => {
      const copy = Uint8Array.from(seed);
      for (const { at, to } of changes) copy[at % copy.length] = to;
      return cut % 3 === 0 ? copy.slice(0, cut % copy.length) : copy;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (message) => {
      try {
        decodeRequest(message);
      } catch (error) {
        assert.ok(error instanceof MalformedError, String(error));
      }
    }),
    { numRuns: 20_000 },
  );
});

/** The tag and the content of a request's one field. */
function splitRequest(message: Uint8Array): readonly [readonly number[], Uint8Array] {
  const tagBytes = (message[0] as number) >= 0x80 ? 2 : 1;
  let offset = tagBytes;
  while ((message[offset++] as number) >= 0x80);
  return [[...message.subarray(0, tagBytes)], message.subarray(offset)];
}

/** Without what proto3 leaves out: zeros, empty strings and bytes. Entries of repeated fields stay. */
function withoutDefaults(fields: Fields): Fields {
  const kept = Object.entries(fields).flatMap(([name, value]): [string, unknown][] => {
    if (value === 0n || value === '' || value === false) return [];
    if (value instanceof Uint8Array) return value.length === 0 && name !== 'ed25519' ? [] : [[name, value]];
    if (Array.isArray(value)) return [[name, value.map((each) => withoutDefaults(each as Fields))]];
    return [[name, typeof value === 'object' ? withoutDefaults(value as Fields) : value]];
  });
  return Object.fromEntries(kept);
}
