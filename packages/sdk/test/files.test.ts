import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { concatBytes, toHex, utf8Encode } from '@haca/primitives';
import {
  createWalletFile,
  type NetworkFile,
  parseTrustedHeader,
  parseWalletState,
  readConsensusKeyFile,
  readNetworkFile,
  readWalletFile,
  splitSse,
  writeNetworkFile,
} from '@haca/sdk/node';
import fc from 'fast-check';

const folder = mkdtempSync(join(tmpdir(), 'haca-sdk-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a wallet file is private, comes back the same, and is never overwritten', () => {
  const path = join(folder, 'a', 'wallet.json');
  const made = createWalletFile(path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readWalletFile(path).accountId, made.accountId);
  assert.throws(() => createWalletFile(path), { name: 'UsageError' });
  chmodSync(path, 0o644);
  assert.throws(() => readWalletFile(path), { name: 'UsageError', message: /chmod 600/ });
});

test('consensus keys are read out of both kinds of file, private and whole, or not at all', () => {
  const seed = new Uint8Array(32).fill(5);
  const { publicKey } = ed25519SignerFromSeed(seed);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const path = join(folder, 'consensus.json');
  const write = (document: unknown, mode = 0o600): string => {
    rmSync(path, { force: true });
    writeFileSync(path, JSON.stringify(document), { mode });
    return path;
  };
  const type = 'tendermint/PrivKeyEd25519';
  const cometbft = { priv_key: { type, value: base64(concatBytes(seed, publicKey)) } };
  const own = { version: 1, kind: 'haca-validator', seed: toHex(seed) };
  for (const document of [cometbft, own]) {
    assert.deepEqual(readConsensusKeyFile(write(document)).publicKey, publicKey);
    assert.throws(() => readConsensusKeyFile(write(document, 0o644)), { message: /chmod 600/ });
  }
  const wrong = [
    {},
    [],
    { priv_key: { type: 'tendermint/PrivKeySecp256k1', value: cometbft.priv_key.value } },
    { priv_key: { type, value: base64(seed) } },
    { priv_key: { type, value: base64(concatBytes(seed, seed)) } },
    { priv_key: { type, value: '!' } },
    { ...own, seed: 'ab' },
    { ...own, version: 2 },
    { ...own, kind: 'haca-wallet' },
  ];
  for (const document of wrong) {
    assert.throws(
      () => readConsensusKeyFile(write(document)),
      { name: 'MalformedError' },
      JSON.stringify(document),
    );
  }
});

test('a wallet file whose seed and public key do not fit is refused', () => {
  const path = join(folder, 'altered.json');
  createWalletFile(path);
  const doc = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...doc, seed: '11'.repeat(32) }));
  assert.throws(() => readWalletFile(path), { name: 'MalformedError', code: 'wallet.key' });
  writeFileSync(path, '{');
  assert.throws(() => readWalletFile(path), { name: 'MalformedError' });
});

test('what a wallet remembers survives, privately', async () => {
  const path = join(folder, 'remember.json');
  const { store } = createWalletFile(path);
  assert.deepEqual(await store.load(), { channels: [] });
  const channel = {
    chainId: 'haca-test-1',
    channelId: new Uint8Array(32).fill(1),
    asset: 1,
    session: 3,
    sessionSeed: new Uint8Array(32).fill(2),
  };
  await store.save({ channels: [channel] });
  assert.deepEqual(await readWalletFile(path).store.load(), { channels: [channel] });
  assert.equal(statSync(join(folder, 'remember.state.json')).mode & 0o777, 0o600);
  assert.throws(() => parseWalletState({ version: 2, channels: [] }));
});

test('a network file comes back with absolute paths; none is null', () => {
  const path = join(folder, 'devnet', 'network.json');
  assert.equal(readNetworkFile(path), null);
  const network: NetworkFile = {
    chainId: 'haca-devnet-1',
    simulated: true,
    pid: 1,
    startedAtMs: 2,
    rpcUrl: 'http://127.0.0.1:1',
    explorerUrl: null,
    genesisFile: 'genesis.json',
    walletFile: 'wallet.json',
    asset: 1,
    nodes: [{ url: 'http://127.0.0.1:2', nodeId: new Uint8Array(32) }],
    faucet: { walletFile: 'faucet.json' },
  };
  writeNetworkFile(network, path);
  const back = readNetworkFile(path);
  assert.equal(back?.genesisFile, join(folder, 'devnet', 'genesis.json'));
  assert.equal(back?.faucet?.walletFile, join(folder, 'devnet', 'faucet.json'));
  assert.deepEqual(back?.nodes, network.nodes);
});

test('a trusted header is a height and a hash, nothing else', () => {
  assert.equal(parseTrustedHeader(`12:${'ab'.repeat(32)}`).height, 12);
  for (const bad of [
    '12',
    `0:${'ab'.repeat(32)}`,
    `12:${'ab'.repeat(31)}`,
    `-1:${'ab'.repeat(32)}`,
    '12:xyz',
  ]) {
    assert.throws(() => parseTrustedHeader(bad), { name: 'MalformedError' });
  }
});

test('events are cut the same however the bytes arrive, and no byte is lost', () => {
  const block = fc.constantFrom(
    'data: a\n\n',
    ': comment\n\n',
    'event: x\ndata: {"b":1}\n\n',
    ': x\ndata: y\n\n',
    '\n',
    'data: é',
  );
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 12 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
      (texts, sizes) => {
        const bytes = utf8Encode(texts.join(''));
        const whole = splitSse(1 << 20);
        const expected = whole.push(bytes);
        const pieces = splitSse(1 << 20);
        const got: (typeof expected)[number][] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = sizes.next().value as number;
          got.push(...pieces.push(bytes.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(got, expected);
        assert.equal(toHex(concatBytes(...got.map(({ bytes: each }) => each), pieces.rest())), toHex(bytes));
        // Only a single line that starts with a colon is no event: anything else could carry data.
        for (const { bytes: each, isComment } of got) {
          const text = new TextDecoder().decode(each);
          assert.equal(isComment, text.startsWith(':') && !text.slice(0, -2).includes('\n'));
        }
      },
    ),
  );
});

test('a block that never ends is refused before it fills the memory', () => {
  const splitter = splitSse(1000);
  assert.throws(
    () => {
      for (let i = 0; i < 100; i++) splitter.push(new Uint8Array(64).fill(97));
    },
    { name: 'MalformedError', code: 'sse.block-size' },
  );
});
