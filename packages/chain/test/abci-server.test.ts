import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import type { Application, BlockRequest } from '../src/abci.ts';
import type { CallLogEntry } from '../src/abci-socket/call-log.ts';
import { serveAbci } from '../src/abci-socket/server.ts';
import { type AbciClient, type Answer, connectAbci, testServer } from './abci-client.ts';
import { kvstoreApplication } from './abci-kvstore.ts';
import { type Fields, requestFrame, varint } from './abci-proto.ts';
import { temporaryFolder } from './engine-fixture.ts';

const NONE = new Uint8Array(0);

/** A key-value store whose slow methods wait until they are let go, with a list of what was called. */
function gatedApplication(
  t: TestContext,
  methods: readonly (keyof Application)[],
): {
  readonly application: Application;
  readonly calls: string[];
  /** Lets the oldest waiting call go on. */
  readonly release: () => void;
  readonly waiting: () => number;
} {
  const inner = kvstoreApplication();
  const calls: string[] = [];
  const gates: (() => void)[] = [];
  let isOpen = false;
  // So that a test that fails can close its server.
  t.after(() => {
    isOpen = true;
    for (const open of gates.splice(0)) open();
  });
  const gated = Object.fromEntries(
    methods.map((name) => [
      name,
      async (argument: never) => {
        calls.push(`${name} begins`);
        if (!isOpen) await new Promise<void>((resolve) => gates.push(resolve));
        const result = await (inner[name] as (argument: never) => unknown)(argument);
        calls.push(`${name} ends`);
        return result;
      },
    ]),
  );
  return {
    application: { ...inner, ...gated },
    calls,
    release: () => gates.shift()?.(),
    waiting: () => gates.length,
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** Has the server take everything that was sent on other connections before. */
async function settle(t: TestContext, address: string): Promise<void> {
  const client = await connectAbci(t, address);
  for (let i = 0; i < 3; i++) await client.call('flush');
  client.socket.destroy();
}

/** Until the number does not change any more however much the server is given to do. */
async function untilStill(t: TestContext, address: string, number: () => number): Promise<void> {
  for (let before = Number.NaN; before !== number(); ) {
    before = number();
    for (let i = 0; i < 5; i++) await settle(t, address);
  }
}

/** Each when the operating system has taken the one before; tells how many it took. */
function sendOneByOne(client: AbciClient, bytes: Uint8Array, count: number): () => number {
  let sent = 0;
  const next = (): void => {
    sent++;
    if (sent < count) client.socket.write(bytes, next);
  };
  client.socket.write(bytes, next);
  return () => sent;
}

const tx = (text: string): Fields => ({ tx: utf8Encode(text) });

test('ABCI-3: a life over the socket: genesis, transactions, blocks and queries', async (t) => {
  const seen: unknown[] = [];
  const inner = kvstoreApplication();
  const application: Application = {
    ...inner,
    initChain: (request) => {
      seen.push(request);
      return { ...inner.initChain(request), validators: request.validators };
    },
    finalizeBlock: (request) => {
      seen.push(request);
      return inner.finalizeBlock(request);
    },
  };
  const { address } = await testServer(t, { application });
  const client = await connectAbci(t, address);
  const key = new Uint8Array(32).fill(9);
  const time = { seconds: 1_767_225_600n, nanos: 1n };
  const validators = [{ key: { ed25519: key }, power: 10n }];
  assert.deepEqual(
    await client.call('init-chain', {
      time,
      chainId: 'c',
      validators,
      appState: utf8Encode('{}'),
      initialHeight: 1n,
    }),
    ['init-chain', { validators, appHash: new Uint8Array(8) }],
  );
  assert.deepEqual(await client.call('check-tx', tx('a=1')), ['check-tx', { gasWanted: 1n }]);
  assert.deepEqual(await client.call('check-tx', tx('a')), ['check-tx', { code: 2n }]);
  assert.deepEqual(
    await client.call('prepare-proposal', { txs: [utf8Encode('a:1'), utf8Encode('b')], height: 1n }),
    ['prepare-proposal', { txs: [utf8Encode('a=1')] }],
  );
  assert.deepEqual(await client.call('process-proposal', { txs: [utf8Encode('a=1')], height: 1n }), [
    'process-proposal',
    { result: 1n },
  ]);
  assert.deepEqual(await client.call('process-proposal', { txs: [utf8Encode('a')] }), [
    'process-proposal',
    { result: 2n },
  ]);
  const misbehavior = [{ type: 2n, validator: { address: NONE }, height: 3n }];
  const votes = [{ validator: { address: Uint8Array.of(1), power: 10n }, flag: 2n }];
  const [, { appHash }] = await client.call('finalize-block', {
    txs: [utf8Encode('a=1')],
    height: 1n,
    time,
    misbehavior,
    lastCommit: { votes },
  });
  assert.deepEqual(appHash, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0));
  assert.deepEqual(await client.call('commit'), ['commit', {}]);
  assert.deepEqual(await client.call('query', { data: utf8Encode('a') }), [
    'query',
    { log: 'exists', key: utf8Encode('a'), value: utf8Encode('1'), height: 1n },
  ]);
  const [, info] = await client.call('info', { version: '0.39.4' });
  assert.deepEqual(info['lastBlockHeight'], 1n);
  assert.deepEqual(await client.call('echo', { message: 'ő' }), ['echo', { message: 'ő' }]);
  assert.deepEqual(await client.call('list-snapshots'), ['list-snapshots', {}]);

  const [genesis, block] = seen as [unknown, BlockRequest];
  assert.deepEqual(genesis, {
    time: { seconds: 1_767_225_600n, nanos: 1 },
    chainId: 'c',
    validators: [{ publicKey: key, power: 10n }],
    appState: utf8Encode('{}'),
    initialHeight: 1,
  });
  assert.deepEqual(block.time, { seconds: 1_767_225_600n, nanos: 1 });
  assert.deepEqual(block.lastCommit, [{ address: Uint8Array.of(1), power: 10n, signed: true }]);
  assert.deepEqual(block.misbehavior, [{ kind: 'light-client-attack', address: NONE, height: 3 }]);
});

test('ABCI-4: what strangers ask for through CometBFT ends no connection', async (t) => {
  const asked: unknown[] = [];
  const application: Application = {
    ...kvstoreApplication(),
    loadSnapshotChunk: async (request) => {
      asked.push(request);
      return Uint8Array.of(7);
    },
    offerSnapshot: async (request) => {
      asked.push(request);
      return 'accept';
    },
  };
  const { address, fatal } = await testServer(t, { application });
  const client = await connectAbci(t, address);
  for (const height of [-1n, -(2n ** 63n), 2n ** 53n, 2n ** 63n - 1n]) {
    const [method, { code }] = await client.call('query', { height });
    assert.deepEqual([method, code], ['query', 1n]);
  }
  for (const height of [2n ** 53n, 2n ** 64n - 1n]) {
    assert.deepEqual(await client.call('load-snapshot-chunk', { height }), ['load-snapshot-chunk', {}]);
    assert.deepEqual(await client.call('offer-snapshot', { snapshot: { height } }), [
      'offer-snapshot',
      { result: 3n },
    ]);
  }
  assert.deepEqual(await client.call('offer-snapshot'), ['offer-snapshot', { result: 3n }]);
  assert.deepEqual(asked, []);
  // A path of bytes that are no text: `abci_query?path=0xff`.
  client.send(Uint8Array.of(5, 0x32, 3, 0x12, 1, 0xff));
  assert.equal((await client.next())[0], 'query');
  assert.deepEqual(await client.call('load-snapshot-chunk', { height: 5n, format: 1n, chunk: 2n }), [
    'load-snapshot-chunk',
    { chunk: Uint8Array.of(7) },
  ]);
  assert.deepEqual(asked, [{ height: 5, format: 1, chunk: 2 }]);
  assert.deepEqual(fatal, []);
});

test('ABCI-13: votes carry no extension, and none is accepted but the empty one', async (t) => {
  const { address } = await testServer(t);
  const client = await connectAbci(t, address);
  assert.deepEqual(await client.call('extend-vote', { height: 1n }), ['extend-vote', {}]);
  const verdict = async (extension: Uint8Array): Promise<unknown> =>
    (await client.call('verify-vote-extension', { extension }))[1]['result'];
  assert.equal(await verdict(NONE), 1n);
  assert.equal(await verdict(Uint8Array.of(0)), 2n);
});

test('ABCI-7: answers come in the order of the requests, slow ones between quick ones', async (t) => {
  const { application, release, waiting } = gatedApplication(t, [
    'finalizeBlock',
    'commit',
    'processProposal',
  ]);
  const { address } = await testServer(t, { application });
  const client = await connectAbci(t, address);
  const methods = [
    'check-tx',
    'finalize-block',
    'echo',
    'commit',
    'check-tx',
    'process-proposal',
    'flush',
    'info',
  ];
  client.send(Buffer.concat(methods.map((method) => requestFrame(method))));
  const answers: string[] = [];
  for (let i = 0; i < methods.length; i++) {
    if (['finalize-block', 'commit', 'process-proposal'].includes(methods[i] as string)) {
      await until(() => waiting() === 1);
      release();
    }
    answers.push((await client.next())[0]);
  }
  assert.deepEqual(answers, methods);
});

test('ABCI-7: the order holds for any mixture of requests, delays and ways to cut the stream', async (t) => {
  const slow = (millis: number) => async (): Promise<void> => {
    for (let i = 0; i < millis; i++) await nextTurn();
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('echo', 'check-tx', 'process-proposal', 'query', 'finalize-block', 'info'), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.array(fc.nat(5), { minLength: 1, maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 }),
      async (methods, delays, cuts) => {
        const inner = kvstoreApplication();
        let call = 0;
        const pause = (): Promise<void> => slow(delays[call++ % delays.length] as number)();
        const application: Application = {
          ...inner,
          processProposal: (request) => pause().then(() => inner.processProposal(request)),
          finalizeBlock: (request) => pause().then(() => inner.finalizeBlock(request)),
        };
        const { address, close } = await testServer(t, { application });
        const client = await connectAbci(t, address);
        const fields = (method: string, i: number): Fields => (method === 'echo' ? { message: `${i}` } : {});
        const stream = Buffer.concat(methods.map((method, i) => requestFrame(method, fields(method, i))));
        for (let offset = 0, i = 0; offset < stream.length; i++) {
          const cut = cuts[i % cuts.length] as number;
          client.send(stream.subarray(offset, offset + cut));
          offset += cut;
          if (i % 3 === 0) await nextTurn();
        }
        for (const [i, method] of methods.entries()) {
          const [got, content] = await client.next();
          assert.equal(got, method);
          if (method === 'echo') assert.deepEqual(content, { message: `${i}` });
        }
        client.socket.destroy();
        await close();
      },
    ),
    { numRuns: 40 },
  );
});

test('ABCI-8: a slow block holds up no check, query or flush of other connections', async (t) => {
  const { application, release, waiting } = gatedApplication(t, ['finalizeBlock']);
  const { address } = await testServer(t, { application });
  const [consensus, mempool] = [await connectAbci(t, address), await connectAbci(t, address)];
  const block = consensus.call('finalize-block', { height: 1n });
  await until(() => waiting() === 1);
  for (const method of ['check-tx', 'flush', 'query', 'info', 'list-snapshots', 'echo']) {
    assert.equal((await mempool.call(method))[0], method);
  }
  release();
  assert.equal((await block)[0], 'finalize-block');
});

test('ABCI-8: what changes state is called one at a time, whichever connection asks', async (t) => {
  const { application, release, waiting, calls } = gatedApplication(t, [
    'finalizeBlock',
    'offerSnapshot',
    'commit',
  ]);
  const { address } = await testServer(t, { application });
  const [consensus, snapshots] = [await connectAbci(t, address), await connectAbci(t, address)];
  const first = consensus.call('finalize-block', { height: 1n });
  await until(() => waiting() === 1);
  const second = snapshots.call('offer-snapshot', { snapshot: { height: 1n } });
  await settle(t, address);
  assert.deepEqual(calls, ['finalizeBlock begins']);
  release();
  await first;
  await until(() => waiting() === 1);
  release();
  assert.equal((await second)[0], 'offer-snapshot');
  assert.deepEqual(calls, [
    'finalizeBlock begins',
    'finalizeBlock ends',
    'offerSnapshot begins',
    'offerSnapshot ends',
  ]);
});

const REFUSED: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ['an empty frame', Uint8Array.of(0), /known kind/],
  ['an unknown kind', Uint8Array.of(3, 0xba, 0x01, 0), /known kind/],
  ['a kind that was given up (SetOption)', Uint8Array.of(2, 0x22, 0), /known kind/],
  ['InsertTx', requestFrame('insert-tx', tx('a=1')), /application mempool, which is not supported/],
  ['ReapTxs', requestFrame('reap-txs', { maxBytes: 1n }), /application mempool, which is not supported/],
  ['bytes that are no message', Uint8Array.of(2, 0xff, 0xff), /abci-wire/],
  ['a height out of range', requestFrame('finalize-block', { height: -1n }), /2\^53/],
  ['a message above the limit', Uint8Array.from(varint(2n ** 31n)), /at most/],
  ['an endless length', new Uint8Array(20).fill(0xff), /at most/],
];

for (const [name, bytes, reason] of REFUSED) {
  test(`ABCI-9, ABCI-2: ${name} ends its connection after earlier answers, and no other`, async (t) => {
    const { address, lines, fatal } = await testServer(t);
    const [client, other] = [await connectAbci(t, address), await connectAbci(t, address)];
    client.send(Buffer.concat([requestFrame('process-proposal'), bytes, requestFrame('echo')]));
    assert.equal((await client.next())[0], 'process-proposal');
    const [method, { error }] = await client.next();
    assert.equal(method, 'exception');
    assert.match(String(error), reason);
    assert.deepEqual(await client.closed(), []);
    assert.equal((await other.call('echo'))[0], 'echo');
    assert.equal(lines.length, 1);
    assert.match(lines[0] as string, reason);
    assert.deepEqual(fatal, []);
  });
}

const BROKEN: readonly (readonly [string, string, Partial<Application>])[] = [
  [
    'a check that throws',
    'check-tx',
    {
      checkTx: () => {
        throw new Error('broken');
      },
    },
  ],
  ['a block that rejects', 'finalize-block', { finalizeBlock: () => Promise.reject(new Error('broken')) }],
  ['a commit that rejects', 'commit', { commit: () => Promise.reject(new Error('broken')) }],
  [
    'an Info that throws something that is no error',
    'info',
    {
      info: () => {
        throw 'broken';
      },
    },
  ],
  [
    'a block with a result too few',
    'finalize-block',
    {
      finalizeBlock: async () => ({ events: [], txResults: [], validatorUpdates: [], appHash: NONE }),
    },
  ],
  ['a height that ABCI cannot carry', 'commit', { commit: async () => ({ retainHeight: -1 }) }],
];

for (const [name, method, broken] of BROKEN) {
  test(`ABCI-10: ${name} stops the application for good`, async (t) => {
    let calls = 0;
    const application: Application = {
      ...kvstoreApplication(),
      query: () => {
        calls++;
        throw new Error('called after the end');
      },
      ...broken,
    };
    const { address, fatal, lines } = await testServer(t, { application });
    const [client, other] = [await connectAbci(t, address), await connectAbci(t, address)];
    const stream = [requestFrame('echo'), requestFrame(method, { txs: [NONE] }), requestFrame('query')];
    client.send(Buffer.concat(stream));
    assert.equal((await client.next())[0], 'echo');
    const [kind, { error }] = await client.next();
    assert.equal(kind, 'exception');
    assert.match(String(error), new RegExp(`^${method} failed, the application stops: `));
    assert.equal(fatal.length, 1);
    assert.equal(lines.length, 1);
    other.send(requestFrame('query'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(calls, 0);
    assert.equal(fatal.length, 1);
  });
}

test('ABCI-10: two failures stop the application once', async (t) => {
  const { application, release, waiting } = gatedApplication(t, ['finalizeBlock']);
  const broken: Application = {
    ...application,
    finalizeBlock: async (block) => {
      await application.finalizeBlock(block);
      throw new Error('second');
    },
    checkTx: () => {
      throw new Error('first');
    },
  };
  const { address, fatal, close } = await testServer(t, { application: broken });
  const [consensus, mempool] = [await connectAbci(t, address), await connectAbci(t, address)];
  consensus.send(requestFrame('finalize-block'));
  await until(() => waiting() === 1);
  assert.equal((await mempool.call('check-tx'))[0], 'exception');
  release();
  await close();
  assert.deepEqual(
    fatal.map(({ message }) => message),
    ['first'],
  );
});

test('ABCI-11: a peer that does not read is not read from, and gets everything once it reads', async (t) => {
  const value = new Uint8Array(256 * 1024).fill(1);
  let answered = 0;
  const application: Application = {
    ...kvstoreApplication(),
    query: () => {
      answered++;
      return { code: 0, log: '', info: '', key: NONE, value, proofOps: null, height: 0, codespace: '' };
    },
  };
  const { address } = await testServer(t, { application, limits: { queuedRequests: 1e6, queuedBytes: 1e9 } });
  const client = await connectAbci(t, address);
  client.socket.pause();
  const count = 150;
  const sent = sendOneByOne(client, requestFrame('query', { data: new Uint8Array(100_000) }), count);
  await untilStill(t, address, () => answered + sent());
  // 40 MB of answers were asked for with 15 MB of requests; a few of either are on their way.
  assert.ok(answered > 0 && answered < 50, `${answered} answers for a peer that does not read`);
  assert.ok(sent() < 50, `${sent()} requests of a peer that does not read`);
  client.socket.resume();
  for (let i = 0; i < count; i++)
    assert.equal(((await client.next())[1]['value'] as Uint8Array).length, value.length);
});

test('ABCI-11: a peer that asks faster than it is answered is not read from', async (t) => {
  const { application, release, waiting } = gatedApplication(t, ['finalizeBlock']);
  const { address } = await testServer(t, { application, limits: { queuedRequests: 10, queuedBytes: 1e9 } });
  const client = await connectAbci(t, address);
  const block = client.call('finalize-block', { height: 1n });
  await until(() => waiting() === 1);
  const count = 400;
  const sent = sendOneByOne(client, requestFrame('echo', { message: 'x'.repeat(100_000) }), count);
  await untilStill(t, address, sent);
  assert.ok(sent() < 50, `${sent()} requests were read of a peer that waits for an answer`);
  release();
  await block;
  for (let i = 0; i < count; i++) assert.equal((await client.next())[0], 'echo');
});

test('ABCI-12: while one live connection drives consensus, calls from another are refused', async (t) => {
  const { address, lines, fatal } = await testServer(t, { limits: { takeoverMs: 50 } });
  const [first, second] = [await connectAbci(t, address), await connectAbci(t, address)];
  await first.call('finalize-block', { height: 1n });
  const [method, { error }] = await second.call('commit');
  assert.equal(method, 'exception');
  assert.match(String(error), /another connection drives the consensus/);
  assert.equal((await first.call('commit'))[0], 'commit');
  assert.equal(lines.length, 1);
  first.socket.destroy();
  const third = await connectAbci(t, address);
  assert.equal((await third.call('finalize-block', { height: 2n }))[0], 'finalize-block');
  assert.deepEqual(fatal, []);
});

test('ABCI-12: calls of a connection that is gone are not begun, and Info waits for the one that was', async (t) => {
  const { application, release, waiting, calls } = gatedApplication(t, ['finalizeBlock', 'commit']);
  const { address } = await testServer(t, { application });
  const dying = await connectAbci(t, address);
  dying.send(
    Buffer.concat(['finalize-block', 'commit'].map((method) => requestFrame(method, { height: 1n }))),
  );
  await until(() => waiting() === 1);
  dying.socket.destroy();
  await settle(t, address);
  const next = await connectAbci(t, address);
  const info = next.call('info');
  assert.equal(await Promise.race([info, settle(t, address)]), undefined);
  const block = next.call('finalize-block', { height: 1n });
  await settle(t, address);
  assert.deepEqual(calls, ['finalizeBlock begins']);
  release();
  assert.equal((await info)[0], 'info');
  await until(() => waiting() === 1);
  release();
  assert.equal((await block)[0], 'finalize-block');
  assert.deepEqual(calls, [
    'finalizeBlock begins',
    'finalizeBlock ends',
    'finalizeBlock begins',
    'finalizeBlock ends',
  ]);
});

test('ABCI-12: a call that waits for its turn when its connection ends is not begun', async (t) => {
  const { application, release, waiting, calls } = gatedApplication(t, [
    'finalizeBlock',
    'applySnapshotChunk',
  ]);
  const { address } = await testServer(t, { application });
  const [consensus, dying] = [await connectAbci(t, address), await connectAbci(t, address)];
  const block = consensus.call('finalize-block', { height: 1n });
  await until(() => waiting() === 1);
  dying.send(requestFrame('apply-snapshot-chunk'));
  await settle(t, address);
  dying.socket.destroy();
  await settle(t, address);
  release();
  await block;
  await settle(t, address);
  assert.deepEqual(calls, ['finalizeBlock begins', 'finalizeBlock ends']);
});

test('ABCI-14: a path too long is refused by name', async (t) => {
  const path = `/tmp/${'x'.repeat(103)}`;
  assert.equal(Buffer.byteLength(path), 108);
  await assert.rejects(testServer(t, { address: { path } }), {
    name: 'UsageError',
    message: /107 bytes.*108/,
  });
});

test('ABCI-14: a stale socket file is replaced, one in use and other files are left alone', async (t) => {
  const path = `${temporaryFolder(t)}/abci.sock`;
  const options = { application: kvstoreApplication(), address: { path }, onFatal: () => undefined };

  // A process that is killed leaves its socket file behind.
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await assert.rejects(serveAbci(options), { code: 'EADDRINUSE' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(statSync(path).isSocket());
  const server = await serveAbci(options);
  assert.equal(server.address, `unix://${path}`);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await assert.rejects(serveAbci(options), { code: 'EADDRINUSE' });
  assert.equal((await (await connectAbci(t, server.address)).call('flush'))[0], 'flush');
  await server.close();
  assert.equal(existsSync(path), false);

  writeFileSync(path, 'mine');
  await assert.rejects(serveAbci(options), { code: 'EADDRINUSE' });
  assert.equal(statSync(path).size, 4);
});

test('ABCI-14: over TCP the address names the port', async (t) => {
  const server = await testServer(t, { address: { host: '127.0.0.1', port: 0 } });
  assert.match(server.address, /^tcp:\/\/127\.0\.0\.1:\d+$/);
  const client = await connectAbci(t, server.address);
  assert.equal((await client.call('info'))[0], 'info');
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  await assert.rejects(testServer(t, { address: { host: '127.0.0.1', port } }), { code: 'EADDRINUSE' });
});

test('ABCI-15: a peer that dies with requests and answers on their way ends nothing but its connection', async (t) => {
  const { application, release, waiting } = gatedApplication(t, ['processProposal']);
  const { address, fatal } = await testServer(t, { application });
  for (const kill of ['destroy', 'resetAndDestroy', 'end'] as const) {
    const client = await connectAbci(t, address);
    client.send(
      Buffer.concat([requestFrame('process-proposal'), requestFrame('echo', { message: 'x'.repeat(1e6) })]),
    );
    await until(() => waiting() === 1);
    if (kill === 'resetAndDestroy') client.socket.destroy();
    else client.socket[kill]();
    release();
    await client.closed();
    const half = await connectAbci(t, address);
    half.send(requestFrame('echo', { message: 'half of this' }).subarray(0, 5));
    half.socket.destroy();
  }
  const client = await connectAbci(t, address);
  assert.equal((await client.call('echo'))[0], 'echo');
  assert.deepEqual(fatal, []);
});

test('ABCI-15: a TCP peer that resets the connection is no crash', async (t) => {
  const { address, fatal } = await testServer(t, { address: { host: '127.0.0.1', port: 0 } });
  for (let i = 0; i < 5; i++) {
    const client = await connectAbci(t, address);
    client.socket.pause();
    for (let j = 0; j < 50; j++) client.send(requestFrame('echo', { message: 'x'.repeat(50_000) }));
    await settle(t, address);
    client.socket.resetAndDestroy();
  }
  assert.equal((await (await connectAbci(t, address)).call('echo'))[0], 'echo');
  assert.deepEqual(fatal, []);
});

test('ABCI-15, ABCI-3: garbage on many connections leaves the server well', async (t) => {
  const { address, fatal } = await testServer(t, { limits: { frameBytes: 100_000 } });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), async (pieces) => {
      const client = await connectAbci(t, address);
      for (const piece of pieces) {
        if (client.socket.writable) client.send(piece);
        await nextTurn();
      }
      client.socket.destroy();
    }),
    { numRuns: 200 },
  );
  assert.equal((await (await connectAbci(t, address)).call('echo'))[0], 'echo');
  // The key-value store is asked to do nothing that it throws at: garbage rarely is a block.
  assert.deepEqual(fatal, []);
});

test('ABCI-16: requests are recorded when they are begun, with the first call of a new CometBFT marked', async (t) => {
  const entries: CallLogEntry[] = [];
  const recorder = { record: (entry: CallLogEntry) => entries.push(entry), flush: () => undefined };
  const { application, release, waiting } = gatedApplication(t, ['finalizeBlock']);
  const { address } = await testServer(t, { application, recorder });
  const session = async (height: bigint): Promise<void> => {
    const [query, consensus] = [await connectAbci(t, address), await connectAbci(t, address)];
    await query.call('info');
    const block = consensus.call('finalize-block', { height, hash: Uint8Array.of(0xab) });
    await until(() => waiting() === 1);
    assert.deepEqual(entries.at(-1)?.event, 'request');
    release();
    await block;
    await consensus.call('commit');
    for (const { socket } of [query, consensus]) socket.destroy();
    await settle(t, address);
  };
  await session(1n);
  await session(2n);
  const summary = entries
    .filter((entry) => entry.event === 'peer' || !('method' in entry) || entry.method !== 'flush')
    .map((entry) =>
      'method' in entry
        ? [entry.event, entry.method, entry.height, entry.appHash, entry.hash]
        : [entry.event],
    );
  const zeros = '0000000000000000';
  const run = (before: number, height: number) => [
    ['request', 'info', undefined, undefined, undefined],
    ['response', 'info', before, zeros, undefined],
    ['request', 'finalize-block', height, undefined, 'ab'],
    ['response', 'finalize-block', height, zeros, undefined],
    ['request', 'commit', undefined, undefined, undefined],
    ['response', 'commit', undefined, undefined, undefined],
  ];
  const peers = summary.filter(([event]) => event === 'peer').length;
  assert.deepEqual(
    summary.filter(([event]) => event !== 'peer'),
    [...run(0, 1), ...run(1, 2)],
  );
  assert.ok(peers >= 2, `${peers} peers`);
});

test('ABCI-16: what was answered is on file', async (t) => {
  const pending: CallLogEntry[] = [];
  const file: CallLogEntry[] = [];
  const recorder = {
    record: (entry: CallLogEntry) => pending.push(entry),
    flush: () => file.push(...pending.splice(0)),
  };
  const { address } = await testServer(t, { recorder });
  const client = await connectAbci(t, address);
  for (const method of ['check-tx', 'finalize-block', 'query', 'load-snapshot-chunk'] as const) {
    await client.call(method);
    const last = file.at(-1);
    assert.deepEqual(
      [last?.event, last !== undefined && 'method' in last && last.method],
      ['response', method],
    );
  }
});

test('ABCI-10: closing waits for the method that runs', async (t) => {
  const { application, release, waiting, calls } = gatedApplication(t, ['commit']);
  const server = await testServer(t, { application });
  const client: AbciClient = await connectAbci(t, server.address);
  const answer: Promise<Answer | 'ended'> = client.call('commit').catch(() => 'ended' as const);
  await until(() => waiting() === 1);
  let isClosed = false;
  const closed = server.close().then(() => {
    isClosed = true;
  });
  assert.equal(await answer, 'ended');
  assert.equal(isClosed, false);
  release();
  await closed;
  assert.deepEqual(calls, ['commit begins', 'commit ends']);
});
