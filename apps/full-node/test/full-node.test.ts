import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createContext, runInContext } from 'node:vm';
import { createValidatorKeyFile, makeGenesisDocument } from '@haca/chain';
import { connectRpc, ed25519SignerFromSeed } from '@haca/platform';
import {
  type AccountKey,
  accountIdOf,
  DEFAULT_PARAMS,
  nopg,
  OPG_SUPPLY_NOPG,
  signTransaction,
} from '@haca/protocol';

const MAIN = new URL('../src/main.ts', import.meta.url).pathname;
const CHAIN = 'haca-app-test';
const ALICE = ed25519SignerFromSeed(new Uint8Array(32).fill(1));
const ALICE_KEY: AccountKey = { algorithm: 'ed25519', publicKey: ALICE.publicKey };

type Json = Readonly<Record<string, unknown>>;

function makeFolder(t: TestContext, over: Json = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-full-node-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { publicKey: consensusKey } = createValidatorKeyFile(join(folder, 'validator.json'));
  const operator = accountIdOf(ALICE_KEY);
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  const nopgOfAlice = 10n ** 15n;
  const app = {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - selfBond - nopgOfAlice,
    accounts: [{ accountId: operator, nopg: nopgOfAlice }],
    validators: [{ consensusKey, operator, selfBond }],
    assets: [],
    measurements: [],
    testRoots: [],
  };
  const genesis = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: Date.now(), app });
  writeFileSync(join(folder, 'genesis.json'), JSON.stringify(genesis));
  const config = {
    home: 'home',
    genesisFile: 'genesis.json',
    validatorKeyFile: 'validator.json',
    rpcPort: 0,
    ...over,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

interface Running {
  readonly child: ChildProcess;
  readonly ready: Json;
  readonly exited: Promise<number | NodeJS.Signals | null>;
}

async function start(t: TestContext, folder: string): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, join(folder, 'config.json')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  child.stderr.resume();
  const exited = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  const ready = await new Promise<Json>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as Json));
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)));
  });
  return { child, ready, exited };
}

async function sendTransfer(rpcUrl: string, nonce: number): Promise<void> {
  const rpc = connectRpc(rpcUrl);
  const ops = [{ kind: 'transfer-opg' as const, to: new Uint8Array(32).fill(9), amount: nopg(10n ** 9n) }];
  const body = { version: 1 as const, chainId: CHAIN, sender: ALICE_KEY, nonce, validUntil: 1_000, ops };
  const fees = { maxFee: nopg(10_000n), tipCap: nopg(0n), feePayer: null };
  const { hash, code, log } = await rpc.broadcastTx(signTransaction({ ...body, ...fees }, ALICE.sign).bytes);
  assert.equal(code, 0, log);
  while ((await rpc.tx(hash)) === null) await delay(5);
}

test('it says when it is ready, stops on SIGTERM with 0, and goes on from its home', async (t) => {
  const folder = makeFolder(t);
  const first = await start(t, folder);
  assert.equal(first.ready['ready'], true);
  assert.equal(first.ready['chainId'], CHAIN);
  await sendTransfer(String(first.ready['rpcUrl']), 0);
  const { height } = await connectRpc(String(first.ready['rpcUrl'])).status();
  first.child.kill('SIGTERM');
  assert.equal(await first.exited, 0);
  const second = await start(t, folder);
  assert.ok(Number(second.ready['height']) >= height);
  second.child.kill('SIGINT');
  assert.equal(await second.exited, 0);
});

test('a folder has one node: a second one says that it is taken, and leaves the first alone', async (t) => {
  const folder = makeFolder(t);
  const first = await start(t, folder);
  await assert.rejects(start(t, folder), /ended with 1/);
  assert.equal((await fetch(`${String(first.ready['rpcUrl'])}/health`)).status, 200);
  first.child.kill('SIGTERM');
  assert.equal(await first.exited, 0);
});

test('a configuration that is wrong is refused by name', async (t) => {
  const run = async (folder: string): Promise<string> => {
    const child = spawn(process.execPath, [MAIN, join(folder, 'config.json')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    child.stderr.on('data', (data: Buffer) => {
      log += data.toString();
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 2, log);
    return log;
  };
  assert.match(await run(makeFolder(t, { rpcPort: 70_000 })), /rpcPort must be an integer of 0 to 65535/);
  assert.match(await run(makeFolder(t, { rpcport: 1 })), /unknown member rpcport/);
  assert.match(await run(makeFolder(t, { genesisFile: 'none.json' })), /none\.json/);
});

/** As much of a document as the page's script needs: nodes with text and children, found by id. */
function fakeDocument() {
  interface FakeNode {
    textContent: string;
    hidden: boolean;
    readonly children: unknown[];
  }
  const makeNode = (): FakeNode => {
    const children: unknown[] = [];
    const methods = {
      append: (...more: unknown[]) => children.push(...more),
      replaceChildren: (...all: unknown[]) => children.splice(0, children.length, ...all),
      addEventListener: () => undefined,
      scrollIntoView: () => undefined,
    };
    return { textContent: '', hidden: false, children, ...methods };
  };
  const byId = new Map<string, FakeNode>();
  const getElementById = (id: string): FakeNode => {
    const known = byId.get(id) ?? makeNode();
    byId.set(id, known);
    return known;
  };
  return { getElementById, createElement: makeNode };
}

function textOf(node: unknown): string {
  if (typeof node !== 'object' || node === null) return String(node);
  const { textContent, children } = node as { textContent: string; children: unknown[] };
  return [textContent, ...children.map(textOf)].filter((text) => text !== '').join(' ');
}

test('the explorer page needs nothing from elsewhere and shows what happens on the chain', async (t) => {
  const { ready } = await start(t, makeFolder(t));
  const rpcUrl = String(ready['rpcUrl']);
  const response = await fetch(String(ready['explorerUrl']));
  assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
  const page = await response.text();
  assert.doesNotMatch(page, /https?:\/\//, 'no address of any other server');
  assert.doesNotMatch(page, /innerHTML|document\.write|eval\(/, 'what the chain says is text, never markup');
  const script = /<script type="module">([\s\S]*)<\/script>/.exec(page)?.[1];
  assert.ok(script !== undefined);
  const document = fakeDocument();
  const timers = new Set<NodeJS.Timeout>();
  const sockets: WebSocket[] = [];
  const context = createContext({
    document,
    location: { protocol: 'http:', host: rpcUrl.replace('http://', '') },
    performance,
    atob,
    btoa,
    Uint8Array,
    TextDecoder,
    setInterval: (tick: () => void, ms: number) => timers.add(setInterval(tick, ms)),
    // Connecting again is of no use to a test that ends.
    setTimeout: () => 0,
    fetch: (path: string, init: RequestInit) => fetch(new URL(path, rpcUrl), init),
    WebSocket: class extends WebSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    },
  });
  t.after(() => {
    for (const timer of timers) clearTimeout(timer);
    for (const socket of sockets) socket.close();
  });
  runInContext(script, context);
  const text = (id: string) => textOf(document.getElementById(id));
  while (text('supply') === '') await delay(5);
  assert.equal(text('connection'), 'live');
  assert.equal(text('chain'), CHAIN);
  assert.equal(text('supply'), '1 000 000 000 OPG');
  assert.equal(document.getElementById('simulated').hidden, false);
  await sendTransfer(rpcUrl, 0);
  while (text('burned') === '0 OPG') await delay(5);
  assert.match(text('burned'), /^0\.00\d+ OPG$/);
  while (!text('blocks').includes('4 20')) await delay(5);
  assert.equal(text('height'), '4');
  await (runInContext('lookUp', context) as (term: string) => Promise<readonly [string, Json]>)('3').then(
    ([title, value]) => {
      assert.equal(title, 'Block 3');
      assert.equal((value['results'] as unknown[]).length, 1);
    },
  );
});
