import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Comet38Client } from '@cosmjs/tendermint-rpc';
import {
  DEFAULT_TRUST_LEVEL,
  decodeBlock,
  decodeSignedHeader,
  decodeTxProof,
  decodeValidatorsPage,
  headerHash,
  type LightBlock,
  syncTo,
  timestampFromMs,
  toBase64,
  toUpperHex,
  validatorSetHash,
  validatorSetOf,
  verifyStateProof,
  verifyTxProof,
} from '@haca/light-client';
import { connectRpc, nodeCrypto, RpcError } from '@haca/platform';
import { bytesEqual, decode, sha256, toHex } from '@haca/primitives';
import { accountRecordCodec, recordKey, recordListCodec, tablePrefix } from '@haca/protocol';
import fc from 'fast-check';
import WebSocket from 'ws';
import { FAUCET, genesisDocument, testNode, transfer } from './engine-fixture.ts';
import { actor, CHAIN, OPG } from './state-machine-world.ts';

const ALICE = actor('alice');
const SUBSCRIBER = new URL('rpc-subscriber.ts', import.meta.url).pathname;

type Json = Readonly<Record<string, unknown>>;

async function post(url: string, body: unknown): Promise<Json> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(url, {
    method: 'POST',
    body: text,
    headers: { 'content-type': 'application/json' },
  });
  return (await response.json()) as Json;
}

async function call(url: string, method: string, params: unknown = {}): Promise<Json> {
  return await post(url, { jsonrpc: '2.0', id: 7, method, params });
}

function errorOf(answer: Json): Json {
  return answer['error'] as Json;
}

async function included(url: string, tx: Uint8Array): Promise<number> {
  const rpc = connectRpc(url);
  const { code, log } = await rpc.broadcastTx(tx);
  assert.equal(code, 0, log);
  for (;;) {
    const result = await rpc.tx(sha256(tx));
    if (result !== null) return result.height;
    await delay(2);
  }
}

async function untilHeight(url: string, height: number): Promise<void> {
  const rpc = connectRpc(url);
  while ((await rpc.status()).height < height) await delay(2);
}

test('an independent client reads the chain: Comet38Client of @cosmjs/tendermint-rpc', async (t) => {
  const node = await testNode(t);
  const client = await Comet38Client.connect(node.rpcUrl);
  t.after(() => client.disconnect());
  const tx = transfer(FAUCET, 0, ALICE, 5n * OPG);
  const sent = await client.broadcastTxSync({ tx });
  assert.equal(sent.code, 0);
  assert.equal(toHex(sent.hash), toHex(sha256(tx)));
  const committed = await client.broadcastTxCommit({ tx: transfer(FAUCET, 1, ALICE, OPG) });
  assert.equal(committed.checkTx.code, 0);
  assert.equal(committed.txResult?.code, 0);
  await untilHeight(node.rpcUrl, committed.height + 1);

  const status = await client.status();
  assert.equal(status.nodeInfo.network, CHAIN);
  assert.equal(status.syncInfo.catchingUp, false);
  const found = await client.tx({ hash: sha256(tx), prove: true });
  const { height } = found;
  assert.deepEqual(found.tx, tx);
  assert.equal(found.result.code, 0);
  assert.ok(found.result.events.some(({ type }) => type === 'transfer'));
  const { block, blockId } = await client.block(height);
  assert.ok(block.txs.some((each) => bytesEqual(each, tx)));
  assert.deepEqual(found.proof?.rootHash, block.header.dataHash);
  const first = await client.block(1);
  assert.equal(first.block.lastCommit, null);
  assert.equal(first.block.header.lastBlockId, null);
  const { commit, canonical, header } = await client.commit(height);
  assert.equal(canonical, true);
  assert.deepEqual(commit.blockId.hash, blockId.hash);
  assert.deepEqual(header, block.header);
  const results = await client.blockResults(height);
  assert.equal(results.results.length, block.txs.length);
  const next = await client.block(height + 1);
  assert.deepEqual(next.block.header.lastBlockId, blockId);
  assert.deepEqual(next.block.lastCommit?.signatures, commit.signatures);
  const validators = await client.validatorsAll(height);
  assert.equal(validators.total, 1);
  const info = await client.abciInfo();
  assert.equal(info.lastBlockHeight, (await client.status()).syncInfo.latestBlockHeight);
  assert.equal((await client.genesis()).chainId, CHAIN);
  assert.equal(await client.health(), null);
  const chain = await client.blockchain(1, height);
  assert.equal(chain.blockMetas[0]?.header.height, height);
  const byHeight = await client.txSearch({ query: `tx.height=${height}` });
  assert.equal(byHeight.totalCount, block.txs.length);
  const byEvent = await client.txSearchAll({ query: `transfer.to='${toHex(ALICE.id)}' AND tx.height>=1` });
  assert.equal(byEvent.totalCount, 2);
  const byHash = await client.txSearch({ query: `tx.hash='${toUpperHex(sha256(tx))}'`, prove: true });
  assert.deepEqual(byHash.txs[0]?.tx, tx);
  assert.equal((await client.txSearch({ query: `transfer.to='nobody'` })).totalCount, 0);
  assert.equal((await client.numUnconfirmedTxs()).total, 0);

  const key = recordKey.account(ALICE.id);
  const stateHeight = committed.height;
  const answer = await client.abciQuery({ path: '/record', data: key, height: stateHeight, prove: true });
  assert.equal(answer.height, stateHeight);
  assert.equal(decode(accountRecordCodec, answer.value, 'account').nopg, 6n * OPG);
  assert.equal(answer.proof?.ops[0]?.type, 'haca:state');
});

test('the same client hears of every block and transaction', async (t) => {
  const node = await testNode(t, { emptyBlockIntervalMs: 3_600_000 });
  const query = `transfer.to='${toHex(ALICE.id)}'`;
  const child = spawn(process.execPath, [SUBSCRIBER, node.rpcUrl.replace('http', 'ws'), query], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const heard: Json[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => heard.push(JSON.parse(line) as Json));
  const all = (kind: string) => heard.flatMap((each) => (kind in each ? [each[kind]] : []));
  while (all('ready').length === 0) await delay(5);
  const mine = transfer(FAUCET, 0, ALICE, OPG);
  await included(node.rpcUrl, transfer(FAUCET, 1, actor('bob'), OPG));
  const height = await included(node.rpcUrl, mine);
  await untilHeight(node.rpcUrl, height + 1);
  while (all('block').length < height - 1 || all('header').length < height - 1) await delay(5);
  const expected = Array.from({ length: height - 1 }, (_, i) => 3 + i);
  assert.deepEqual(all('block'), expected);
  assert.deepEqual(all('header'), expected);
  assert.deepEqual(all('tx'), [toHex(sha256(mine))]);
});

async function lightBlock(url: string, height: number): Promise<LightBlock> {
  const rpc = connectRpc(url);
  const result = async (method: string, at: number) => (await rpc.call(method, { height: `${at}` })) as Json;
  const set = async (at: number) =>
    validatorSetOf(decodeValidatorsPage(await result('validators', at)).validators);
  const [signed, validators, nextValidators] = await Promise.all([
    result('commit', height),
    set(height),
    set(height + 1),
  ]);
  return { signedHeader: decodeSignedHeader(signed['signed_header']), validators, nextValidators };
}

test('a light client follows the chain from genesis to its tip and proves what the state holds', async (t) => {
  const node = await testNode(t);
  for (let nonce = 0; nonce < 5; nonce++) await included(node.rpcUrl, transfer(FAUCET, nonce, ALICE, OPG));
  const tx = transfer(FAUCET, 5, ALICE, OPG);
  const height = await included(node.rpcUrl, tx);
  await untilHeight(node.rpcUrl, height + 1);
  const { genesis } = node;

  // The first header is trusted because genesis names its validators; everything else because of signatures.
  const first = await lightBlock(node.rpcUrl, 1);
  assert.deepEqual(first.signedHeader.header.validatorsHash, validatorSetHash(genesis.validators));
  const options = {
    chainId: genesis.chainId,
    trustingPeriodNs: 10n ** 15n,
    clockDriftNs: 10n ** 10n,
    trustLevel: DEFAULT_TRUST_LEVEL,
    maxFetches: 100,
  };
  const trusted = { header: first.signedHeader.header, nextValidators: genesis.validators };
  const source = { lightBlock: (at: number) => lightBlock(node.rpcUrl, at) };
  const now = () => timestampFromMs(Date.now());
  const synced = await syncTo(nodeCrypto, source, trusted, height + 1, options, now);
  assert.equal(synced.outcome, 'trusted', JSON.stringify(synced.verifications.at(-1)?.verdict));
  const { header } = synced.trusted;

  const rpc = connectRpc(node.rpcUrl);
  const key = recordKey.account(ALICE.id);
  const { value, proof } = await rpc.query('/record', key, { height, prove: true });
  const statement = { header, stateHeight: height, key, proof: proof as Uint8Array };
  assert.ok(verifyStateProof({ ...statement, value }).ok);
  assert.equal(decode(accountRecordCodec, value, 'account').nopg, 6n * OPG);
  const absentKey = recordKey.account(actor('nobody').id);
  const absent = await rpc.query('/record', absentKey, { height, prove: true });
  assert.ok(
    verifyStateProof({ ...statement, key: absentKey, value: null, proof: absent.proof as Uint8Array }).ok,
  );
  const forged = Uint8Array.from(value);
  forged[5] = (forged[5] as number) ^ 1;
  assert.ok(!verifyStateProof({ ...statement, value: forged }).ok);
  const before = await rpc.query('/record', key, { height: height - 1, prove: true });
  assert.ok(!verifyStateProof({ ...statement, value: before.value, proof: before.proof as Uint8Array }).ok);

  const answer = (await rpc.call('tx', { hash: toBase64(sha256(tx)), prove: true })) as Json;
  const { dataHash } = (await lightBlock(node.rpcUrl, height)).signedHeader.header;
  assert.ok(verifyTxProof({ dataHash, tx, proof: decodeTxProof(answer['proof']) }).ok);
  // Every step of every header, one by one as well.
  for (let at = 1; at <= height; at++) {
    const step = await lightBlock(node.rpcUrl, at);
    const state = { header: step.signedHeader.header, nextValidators: step.nextValidators };
    assert.equal((await syncTo(nodeCrypto, source, state, at + 1, options, now)).outcome, 'trusted');
  }
});

test("the project's own client gets what it asks for", async (t) => {
  const node = await testNode(t);
  const rpc = connectRpc(node.rpcUrl);
  const heights: number[] = [];
  rpc.onNewBlock((height) => heights.push(height));
  t.after(() => rpc.close());
  await delay(50);
  const tx = transfer(FAUCET, 0, ALICE, OPG);
  const height = await included(node.rpcUrl, tx);
  await untilHeight(node.rpcUrl, height + 1);
  while (!heights.includes(height)) await delay(2);
  assert.equal(await rpc.tx(sha256(ALICE.id)), null);
  await assert.rejects(
    rpc.broadcastTx(tx),
    (error) =>
      error instanceof RpcError && error.code === -32603 && /already exists in cache/.test(error.message),
  );
  const refused = await rpc.broadcastTx(transfer(FAUCET, 0, ALICE, 2n * OPG));
  assert.match(refused.log, /^E_NONCE: /);
  await assert.rejects(rpc.query('/record', recordKey.account(ALICE.id), { height: 10_000 }), RpcError);
  const listed = await rpc.query('/records', tablePrefix('validator'));
  assert.equal(decode(recordListCodec, listed.value, 'records').length, 1);
  const { blockHash, height: latest } = await rpc.status();
  const byHash = (await rpc.call('block_by_hash', { hash: toBase64(blockHash) })) as Json;
  const block = decodeBlock(byHash['block']);
  assert.equal(block.header.height, latest);
  assert.deepEqual(headerHash(block.header), blockHash);
  assert.equal(((await rpc.call('block_by_hash', { hash: toBase64(sha256(tx)) })) as Json)['block'], null);
});

test('GET answers like POST, with arguments as CometBFT spells them', async (t) => {
  const node = await testNode(t);
  const get = async (path: string) => {
    const response = await fetch(`${node.rpcUrl}/${path}`);
    return [response.status, (await response.json()) as Json] as const;
  };
  const [status, health] = await get('health');
  assert.deepEqual([status, health], [200, { jsonrpc: '2.0', id: -1, result: {} }]);
  const [, byNumber] = await get('block?height=1');
  assert.deepEqual(byNumber['result'], (await call(node.rpcUrl, 'block', { height: '1' }))['result']);
  assert.deepEqual(byNumber['result'], (await call(node.rpcUrl, 'block', ['1']))['result']);
  const data = toHex(recordKey.account(FAUCET.id));
  const [, record] = await get(`abci_query?path="/record"&data=0x${data}&prove=true`);
  const posted = await call(node.rpcUrl, 'abci_query', { path: '/record', data, prove: true });
  assert.deepEqual(record['result'], posted['result']);
  const tx = transfer(FAUCET, 0, ALICE, OPG);
  const [, sent] = await get(`broadcast_tx_commit?tx=0x${toHex(tx)}`);
  assert.equal((sent['result'] as Json)['hash'], toUpperHex(sha256(tx)));
  assert.equal(((sent['result'] as Json)['tx_result'] as Json)['code'], 0);
  const [found, result] = await get(`tx?hash=0x${toHex(sha256(tx))}&prove=false`);
  assert.equal(found, 200, JSON.stringify(result));
  const [bad, fault] = await get('block?height=1000000');
  assert.equal(bad, 500);
  assert.match(String(errorOf(fault)['data']), /must be less than or equal to the current blockchain height/);
  assert.equal((await get('no_such_method'))[0], 404);
  assert.equal((await get('block?height=one'))[0], 500);
  assert.equal((await get('__proto__'))[0], 404);
  assert.equal((await get('constructor'))[0], 404);
});

test('what is no request gets the error that CometBFT gives', async (t) => {
  const { rpcUrl } = await testNode(t);
  const code = (answer: Json) => errorOf(answer)['code'];
  assert.equal(code(await post(rpcUrl, '{')), -32700);
  assert.equal(code(await post(rpcUrl, '')), -32700);
  for (const body of [null, 7, 'text', {}, { jsonrpc: '1.0', id: 1, method: 'health' }, []]) {
    assert.equal(code(await post(rpcUrl, JSON.stringify(body))), -32600, JSON.stringify(body));
  }
  assert.equal(code(await post(rpcUrl, { jsonrpc: '2.0', id: {}, method: 'health' })), -32600);
  assert.equal(code(await post(rpcUrl, { jsonrpc: '2.0', id: 1, method: 7 })), -32600);
  assert.equal(code(await call(rpcUrl, 'toString')), -32601);
  assert.equal(code(await call(rpcUrl, 'subscribe', { query: "tm.event='NewBlock'" })), -32601);
  const badParams: readonly (readonly [string, unknown])[] = [
    ['block', { height: 'x' }],
    ['block', { height: 1.5 }],
    ['block', { height: '9'.repeat(40) }],
    ['block', { heigth: '1' }],
    ['block', ['1', '2']],
    ['block', 'text'],
    ['abci_query', { path: 7 }],
    ['abci_query', { data: 'xyz' }],
    ['abci_query', { prove: 'yes' }],
    ['broadcast_tx_sync', { tx: '!' }],
    ['tx_search', { query: 'a' }],
    ['tx_search', { query: "a='b' OR c='d'" }],
    ['tx_search', { query: `a='${'b'.repeat(600)}'` }],
    ['tx_search', { query: Array.from({ length: 17 }, () => "a='b'").join(' AND ') }],
  ];
  for (const [method, params] of badParams) {
    assert.equal(code(await call(rpcUrl, method, params)), -32602, JSON.stringify(params));
  }
  const internal: readonly (readonly [string, unknown, RegExp])[] = [
    ['block', { height: '-1' }, /greater than 0/],
    ['block', { height: '99999' }, /less than or equal/],
    ['tx', { hash: toBase64(new Uint8Array(32)) }, /tx \(0{64}\) not found/],
    ['tx', { hash: 'AAAA' }, /not found/],
    ['tx', {}, /not found/],
    ['validators', { page: '9' }, /page should be within \[1, 1\] range, given 9/],
    ['broadcast_tx_sync', {}, /missing/],
    ['tx_search', { query: 'tx.height>0', order_by: 'sideways' }, /order_by/],
    ['abci_query', { path: '/fee', height: '-4' }, /height/],
    ['blockchain', { minHeight: '2', maxHeight: '1' }, /can't be greater/],
  ];
  for (const [method, params, data] of internal) {
    const error = errorOf(await call(rpcUrl, method, params));
    assert.equal(error['code'], -32603, method);
    assert.match(String(error['data']), data);
  }
  const batch = (await post(rpcUrl, [
    { jsonrpc: '2.0', id: 'a', method: 'health' },
    { jsonrpc: '2.0', method: 'health' },
    { jsonrpc: '2.0', id: 3, method: 'nothing' },
    5,
  ])) as unknown as Json[];
  assert.deepEqual(
    batch.map(({ id }) => id),
    ['a', 3, null],
  );
  const many = Array.from({ length: 21 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'health' }));
  assert.equal(code(await post(rpcUrl, many)), -32600);
});

test('no request brings the server down, and each gets one JSON-RPC answer', async (t) => {
  const { rpcUrl } = await testNode(t);
  const methods = [
    'block',
    'tx',
    'tx_search',
    'abci_query',
    'validators',
    'blockchain',
    'broadcast_tx_sync',
    'commit',
  ];
  const names = [
    'height',
    'hash',
    'query',
    'path',
    'data',
    'prove',
    'page',
    'per_page',
    'minHeight',
    'tx',
    'order_by',
  ];
  const value = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.bigInt().map(String),
    fc.boolean(),
    fc.constant(null),
    fc.jsonValue(),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...methods),
      fc.dictionary(fc.constantFrom(...names), value),
      async (method, params) => {
        const answer = await call(rpcUrl, method, params);
        return answer['jsonrpc'] === '2.0' && 'result' in answer !== 'error' in answer;
      },
    ),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(fc.string(), async (body) => 'error' in (await post(rpcUrl, body))),
    { numRuns: 100 },
  );
  assert.equal((await call(rpcUrl, 'health'))['error'], undefined);
});

test('browsers of any origin may ask', async (t) => {
  const { rpcUrl } = await testNode(t);
  const preflight = await fetch(rpcUrl, { method: 'OPTIONS' });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /content-type/);
  const answer = await fetch(`${rpcUrl}/status`);
  assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  assert.equal((await fetch(rpcUrl, { method: 'DELETE' })).status, 405);
});

test('bodies over the limit are refused, declared or not', async (t) => {
  const { rpcUrl } = await testNode(t, { rpcLimits: { bodyBytes: 1_000 } });
  const large = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'health', params: { x: 'y'.repeat(2_000) } });
  const declared = await fetch(rpcUrl, { method: 'POST', body: large });
  assert.equal(declared.status, 413);
  const streamed = await new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(
      rpcUrl,
      { method: 'POST', headers: { 'transfer-encoding': 'chunked' } },
      (response) => {
        resolve(response.statusCode);
        response.resume();
      },
    );
    request.on('error', reject);
    for (let i = 0; i < 20; i++) request.write('x'.repeat(100));
    request.end();
  });
  assert.equal(streamed, 413);
  assert.equal((await call(rpcUrl, 'health'))['error'], undefined);
});

interface Socket {
  readonly socket: WebSocket;
  readonly messages: Json[];
  readonly ask: (id: number, method: string, params?: unknown) => Promise<Json>;
}

async function openSocket(t: TestContext, rpcUrl: string): Promise<Socket> {
  const socket = new WebSocket(`${rpcUrl.replace('http', 'ws')}/websocket`);
  t.after(() => socket.terminate());
  const messages: Json[] = [];
  socket.on('message', (data) => messages.push(JSON.parse(data.toString()) as Json));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const ask = async (id: number, method: string, params: unknown = {}) => {
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    for (;;) {
      const found = messages.find((message) => message['id'] === id);
      if (found !== undefined) return found;
      await delay(1);
    }
  };
  return { socket, messages, ask };
}

test('subscriptions: answered, named, limited, ended', async (t) => {
  const node = await testNode(t, { emptyBlockIntervalMs: 3_600_000 });
  const { messages, ask, socket } = await openSocket(t, node.rpcUrl);
  const query = "tm.event='NewBlock'";
  assert.deepEqual((await ask(1, 'subscribe', { query }))['result'], {});
  assert.match(String(errorOf(await ask(2, 'subscribe', { query }))['data']), /already subscribed/);
  assert.equal(errorOf(await ask(3, 'subscribe', { query: 'nonsense' }))['code'], -32602);
  for (let i = 0; i < 4; i++)
    assert.ok('result' in (await ask(10 + i, 'subscribe', { query: `a.b='${i}'` })));
  assert.match(
    String(errorOf(await ask(20, 'subscribe', { query: "a.b='4'" }))['data']),
    /max_subscriptions/,
  );
  assert.equal((await ask(21, 'health'))['id'], 21);
  const height = await included(node.rpcUrl, transfer(FAUCET, 0, ALICE, OPG));
  await untilHeight(node.rpcUrl, height + 1);
  const events = () =>
    messages.filter((message) => (message['result'] as Json | undefined)?.['query'] === query);
  while (events().length < 2) await delay(2);
  const [first] = events();
  assert.equal(first?.['id'], 1);
  const data = (first?.['result'] as Json)['data'] as Json;
  assert.equal(data['type'], 'tendermint/event/NewBlock');
  assert.deepEqual(((first?.['result'] as Json)['events'] as Json)['tm.event'], ['NewBlock']);
  assert.ok('result' in (await ask(30, 'unsubscribe', { query })));
  assert.match(String(errorOf(await ask(31, 'unsubscribe', { query }))['data']), /not found/);
  assert.ok('result' in (await ask(32, 'unsubscribe_all')));
  const count = messages.length;
  await untilHeight(node.rpcUrl, (await included(node.rpcUrl, transfer(FAUCET, 1, ALICE, OPG))) + 1);
  await delay(20);
  assert.equal(messages.length, count, 'silence after the end');
  socket.send('{');
  socket.send(Buffer.from([1, 2, 3]));
  while (messages.length < count + 2) await delay(2);
  for (const message of messages.slice(count)) assert.equal(errorOf(message)['code'], -32700);
});

test('a client that does not read what it asked for is dropped, and the others go on', async (t) => {
  let dropped = 0;
  const log = (line: string): void => {
    if (line.includes('does not keep up')) dropped++;
  };
  const node = await testNode(t, {
    rpcLimits: { socketBacklogBytes: 200_000 },
    emptyBlockIntervalMs: 1,
    log,
  });
  const slow = await openSocket(t, node.rpcUrl);
  const quick = await openSocket(t, node.rpcUrl);
  const query = "tm.event='NewBlockHeader'";
  await quick.ask(1, 'subscribe', { query });
  let isClosed = false;
  slow.socket.once('close', () => {
    isClosed = true;
  });
  slow.socket.pause();
  // Asks for a lot and reads nothing of it: what the network takes in is bounded, then the backlog grows.
  const block = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'genesis' });
  const flood = setInterval(() => {
    for (let i = 0; i < 200; i++) if (slow.socket.readyState === WebSocket.OPEN) slow.socket.send(block);
  }, 5);
  t.after(() => clearInterval(flood));
  while (dropped === 0) await delay(10);
  clearInterval(flood);
  slow.socket.resume();
  while (!isClosed) await delay(5);
  const count = quick.messages.length;
  while (quick.messages.length < count + 3) await delay(5);
});

test('a client that answers no ping is gone', async (t) => {
  const { rpcUrl } = await testNode(t, { rpcLimits: { pingIntervalMs: 50 } });
  const live = await openSocket(t, rpcUrl);
  const dead = new WebSocket(`${rpcUrl.replace('http', 'ws')}/websocket`, { autoPong: false });
  t.after(() => dead.terminate());
  await new Promise((resolve) => dead.once('close', resolve));
  assert.equal((await live.ask(1, 'health'))['id'], 1);
});

test('a batch is cut off where its answers grow too long', async (t) => {
  const { rpcUrl } = await testNode(t, { rpcLimits: { batchAnswerBytes: 5_000 } });
  const batch = Array.from({ length: 20 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'genesis' }));
  const answers = (await post(rpcUrl, batch)) as unknown as Json[];
  assert.equal(answers.length, 20);
  assert.ok('result' in (answers[0] as Json));
  assert.equal(errorOf(answers[19] as Json)['code'], -32600);
});

test('connections to anything but /websocket, and too many of them, are turned away', async (t) => {
  const { rpcUrl } = await testNode(t, { rpcLimits: { sockets: 1 } });
  const fails = (path: string) =>
    new Promise<boolean>((resolve) => {
      const socket = new WebSocket(`${rpcUrl.replace('http', 'ws')}${path}`);
      socket.once('open', () => resolve(false));
      socket.once('error', () => resolve(true));
    });
  assert.ok(await fails('/other'));
  await openSocket(t, rpcUrl);
  assert.ok(await fails('/websocket'));
});

test('a connection that was turned away is gone, whether the caller hangs up or not', async (t) => {
  const { rpcUrl, close } = await testNode(t);
  const socket = connect({ port: Number(new URL(rpcUrl).port), host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.write('GET /other HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
  await new Promise<void>((resolve) => socket.on('end', resolve).resume());
  // Resolves only when no connection is left.
  await close();
});

test('the genesis that is served is the one that was given', async (t) => {
  const genesis = genesisDocument(Date.now());
  const { rpcUrl } = await testNode(t, { genesis });
  const answer = (await call(rpcUrl, 'genesis'))['result'] as Json;
  assert.deepEqual(answer['genesis'], genesis.json);
});
