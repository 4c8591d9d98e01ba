/** The configuration file: defaults, and every member that can be wrong, by its name. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ConfigError, parseNodeConfig } from '@haca/inference-node';

const FILE = '/etc/haca/node.json';
const good = {
  dataDir: 'data',
  rpcUrl: 'http://127.0.0.1:26657',
  operatorFile: 'operator.json',
  name: 'n',
  attester: { kind: 'none' },
  engines: [{ kind: 'onnx', dir: 'models/tiny-chat' }],
  prices: { inputPrice: '20000', cachedInputPrice: '10000', outputPrice: '60000' },
};

test('paths are relative to the file, and what is left out has a default', () => {
  const config = parseNodeConfig(good, FILE);
  assert.equal(config.dataDir, '/etc/haca/data');
  assert.equal(config.operatorFile, '/etc/haca/operator.json');
  assert.deepEqual(config.engines, [{ kind: 'onnx', dir: '/etc/haca/models/tiny-chat' }]);
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 0, anyPortIfTaken: false });
  assert.equal(config.publicUrl, null);
  assert.throws(() => parseNodeConfig({ ...good, anyPortIfTaken: 1 }, FILE), /anyPortIfTaken/);
  assert.equal(config.prices.asset, 1);
  assert.equal(config.tls, null);
  const tls = { certificateFile: 'tls/node.pem', keyFile: '/etc/tls/key.pem' };
  assert.deepEqual(parseNodeConfig({ ...good, tls }, FILE).tls, {
    ...tls,
    certificateFile: '/etc/haca/tls/node.pem',
  });
  assert.ok(config.settlement.batchMaxCount <= 4_096 && config.settlement.linesMax <= 256);
});

test('upstream engines are proxied unless they say otherwise', () => {
  const upstream = { kind: 'upstream', baseUrl: 'http://127.0.0.1:8000/v1', models: [{ name: 'm' }] };
  const engineOf = (engine: object) => parseNodeConfig({ ...good, engines: [engine] }, FILE).engines[0];
  const [one, two] = [engineOf(upstream), engineOf({ ...upstream, proxied: false })];
  assert.ok(one?.kind === 'upstream' && one.proxied);
  assert.deepEqual(one.models[0], { name: 'm', upstreamName: 'm', contextTokens: 8_192, license: 'unknown' });
  assert.ok(two?.kind === 'upstream' && !two.proxied);
});

const enclave = { kind: 'test-enclave', rootSeedFile: 'root.hex', image: 'image' };

test('every kind of attester has its members and defaults', () => {
  const parse = (attester: object) => parseNodeConfig({ ...good, attester }, FILE).attester;
  assert.deepEqual(parse({ kind: 'none' }), { kind: 'none' });
  const tested = { ...enclave, rootSeedFile: '/etc/haca/root.hex' };
  assert.deepEqual(parse(enclave), { ...tested, shape: 'nitro', platformFile: null, gpu: null });
  const onFile = { ...enclave, shape: 'tdx', platformFile: 'platform.json' };
  assert.deepEqual(parse(onFile), {
    ...tested,
    shape: 'tdx',
    platformFile: '/etc/haca/platform.json',
    gpu: null,
  });
  assert.deepEqual(parse({ ...enclave, shape: 'snp', gpu: { testGpus: 2 } }), {
    ...tested,
    shape: 'snp',
    platformFile: null,
    gpu: { kind: 'test', count: 2 },
  });
  const tsm = { kind: 'tsm', privlevel: null, certificatesDir: null, gpu: null };
  assert.deepEqual(parse({ kind: 'tsm', guest: 'tdx' }), { ...tsm, guest: 'tdx' });
  assert.deepEqual(parse({ kind: 'tsm', guest: 'snp', privlevel: 1, certificatesDir: 'amd' }), {
    ...tsm,
    guest: 'snp',
    privlevel: 1,
    certificatesDir: '/etc/haca/amd',
  });
  assert.deepEqual(parse({ kind: 'dstack', gpu: { command: ['gpus', '{nonce}'] } }), {
    kind: 'dstack',
    socketPath: '/var/run/dstack.sock',
    gpu: { kind: 'command', command: ['gpus', '{nonce}'], timeoutMs: 60_000 },
  });
  const bridge = ['/usr/bin/nsm-bridge'];
  assert.deepEqual(parse({ kind: 'nitro', bridge }), { kind: 'nitro', bridge, gpu: null });
});

test('a member that is missing, unknown or of another kind is named', () => {
  const cases: readonly (readonly [object | null, RegExp])[] = [
    [null, /the file must be an object/],
    [{ ...good, dataDir: undefined }, /dataDir/],
    [{ ...good, dataDirectory: 'x' }, /dataDirectory/],
    [{ ...good, rpcUrl: 7 }, /rpcUrl/],
    [{ ...good, port: 65_536 }, /port/],
    [{ ...good, port: 1.5 }, /port/],
    [{ ...good, bondNopg: 5 }, /bondNopg/],
    [{ ...good, bondNopg: '05' }, /bondNopg/],
    [{ ...good, attester: { kind: 'tdx' } }, /attester\.kind/],
    [{ ...good, attester: { kind: 'none', gpu: { command: ['gpus'] } } }, /gpu/],
    [{ ...good, attester: { ...enclave, shape: 'sgx' } }, /attester\.shape must be nitro or tdx or snp/],
    [{ ...good, attester: { ...enclave, guest: 'tdx' } }, /guest/],
    [{ ...good, attester: { kind: 'tsm' } }, /attester\.guest/],
    [{ ...good, attester: { kind: 'tsm', guest: 'sev' } }, /attester\.guest/],
    [{ ...good, attester: { kind: 'tsm', guest: 'snp', privlevel: 4 } }, /privlevel/],
    [
      { ...good, attester: { kind: 'tsm', guest: 'tdx', privlevel: 0 } },
      /attester\.privlevel must be left out/,
    ],
    [{ ...good, attester: { kind: 'tsm', guest: 'tdx', certificatesDir: 'x' } }, /attester\.certificatesDir/],
    [{ ...good, attester: { kind: 'dstack', socketPath: 7 } }, /socketPath/],
    [{ ...good, attester: { kind: 'nitro' } }, /attester\.bridge/],
    [{ ...good, attester: { kind: 'nitro', bridge: [] } }, /attester\.bridge/],
    [{ ...good, attester: { kind: 'nitro', bridge: 'nsm-bridge' } }, /attester\.bridge/],
    [{ ...good, attester: { kind: 'nitro', bridge: ['b'], gpu: {} } }, /attester\.gpu\.command/],
    [{ ...good, attester: { kind: 'nitro', bridge: ['b'], gpu: { command: ['', 'x'] } } }, /gpu\.command/],
    [{ ...good, attester: { kind: 'nitro', bridge: ['b'], gpu: { testGpus: 1 } } }, /gpu\.testGpus/],
    [{ ...good, attester: { ...enclave, gpu: { testGpus: 0 } } }, /gpu\.testGpus/],
    [{ ...good, attester: { ...enclave, gpu: { testGpus: 17 } } }, /testGpus/],
    [{ ...good, attester: { ...enclave, platformFile: 'x' } }, /attester\.platformFile/],
    [{ ...good, tls: { certificateFile: 'c.pem' } }, /keyFile/],
    [{ ...good, tls: { certificateFile: 'c.pem', keyFile: 'k.pem', ca: 'x' } }, /ca/],
    [{ ...good, attester: { ...enclave, gpu: { testGpus: 1, command: ['x'] } } }, /command/],
    [{ ...good, attester: { kind: 'test-enclave' } }, /rootSeedFile/],
    [{ ...good, engines: [] }, /engines/],
    [{ ...good, engines: [{ kind: 'gpu' }] }, /engines\.0\.kind/],
    [{ ...good, engines: [{ kind: 'onnx', dir: 'x', extra: 1 }] }, /extra/],
    [{ ...good, engines: [{ kind: 'upstream', baseUrl: 'x', models: [] }] }, /engines\.0\.models/],
    [{ ...good, prices: { ...good.prices, outputPrice: '-1' } }, /outputPrice/],
    [{ ...good, prices: { ...good.prices, outputPrice: 60_000 } }, /outputPrice/],
    [{ ...good, prices: { ...good.prices, cachedInputPrice: '20001' } }, /cachedInputPrice/],
    [{ ...good, settlement: { batchMaxCount: 4_097 } }, /batchMaxCount/],
    [{ ...good, settlement: { batchMaxAge: 1 } }, /batchMaxAge/],
  ];
  for (const [value, message] of cases) {
    assert.throws(
      () => parseNodeConfig(value, FILE),
      (error: unknown) => error instanceof ConfigError && message.test(error.message),
      `${message}`,
    );
  }
});

test('the example in the README is a configuration', () => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
  const [, example] = /```json\n([\s\S]*?)```/.exec(readme) ?? [];
  assert.ok(example !== undefined);
  parseNodeConfig(JSON.parse(example), FILE);
});
