/** The user's side against real processes: the `haca` command and the official OpenAI client on a local network. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { bytesEqual } from '@haca/primitives';
import {
  type Haca,
  openHaca,
  readGenesisFile,
  readNetworkFile,
  readWalletFile,
  VerificationError,
} from '@haca/sdk/node';
import OpenAI from 'openai';
import { type DevnetProcess, startDevnet } from './devnet-process.ts';

const ROOT = resolve(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'haca-e2e-'));
process.env['HACA_HOME'] = home;
const networkFile = join(home, 'devnet', 'network.json');
const wallet = join(home, 'alice.json');
const bundle = join(home, 'answer.haca');
let devnet: DevnetProcess | undefined;

before(async () => {
  devnet = await startDevnet();
});

after(async () => {
  await devnet?.stop();
  rmSync(home, { recursive: true, force: true });
});

function haca(...args: string[]): { code: number; json: Record<string, unknown>; out: string; err: string } {
  const entry = join(ROOT, 'packages/cli/src/main.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [entry, ...args], {
    encoding: 'utf8',
    env: { ...process.env, HACA_CWD: home },
  });
  const json = args.includes('--json') ? (JSON.parse(stdout) as Record<string, unknown>) : {};
  return { code: status ?? -1, json, out: stdout, err: stderr };
}

async function openClient(): Promise<Haca> {
  const network = readNetworkFile(networkFile);
  assert.ok(network);
  return openHaca({
    rpcUrl: network.rpcUrl,
    trust: { genesis: readGenesisFile(network.genesisFile) },
    wallet: readWalletFile(wallet),
    policy: { acceptSimulated: true },
  });
}

test('a fresh wallet is funded, asks, pays, and follows its answer to a proven final', () => {
  assert.equal(haca('wallet', 'new', '--wallet', wallet).code, 0);
  const poor = haca('chat', 'Hello', '--wallet', wallet);
  assert.equal(poor.code, 1);
  assert.match(poor.err, /haca wallet fund/);
  assert.equal(haca('wallet', 'fund', '--wallet', wallet).code, 0);
  const shown = haca('wallet', 'show', '--wallet', wallet, '--json');
  assert.deepEqual([shown.code, shown.json['credits']], [0, { 1: '10000000000' }]);

  const { code, json, err } = haca(
    ...['chat', 'What is HACA?', '--wallet', wallet, '--max-tokens', '24', '--bundle', bundle, '--json'],
  );
  assert.equal(code, 0, err);
  assert.equal(json['assurance'], 'tee-simulated');
  const states = (json['lifecycle'] as { state: string; by: string }[]).map(
    ({ state, by }) => `${state} ${by}`,
  );
  assert.deepEqual(states, ['executed receipt', 'settled node', 'verified node', 'final light-client']);
  const { checks } = json['finality'] as { checks: { id: string; status: string }[] };
  assert.ok(checks.every(({ status }) => status === 'passed'));
  const { checks: own } = json['verdict'] as { checks: { id: string }[] };
  // Of which shape depends on the node that was picked.
  const appraised = /^evidence\.(nitro\.chain\.signatures|tdx\.signature)$/;
  for (const id of [/^receipt\.signature$/, appraised, /^key\.proof$/, /^receipt\.price$/]) {
    assert.ok(
      own.some((each) => id.test(each.id)),
      `${id}`,
    );
  }
  assert.ok(!readFileSync(wallet, 'utf8').includes('session'));
});

test('without being told so, nobody takes a test enclave for a real one', () => {
  const genesis = join(home, 'devnet', 'genesis.json');
  const { code, json } = haca('verify', bundle, '--genesis', genesis, '--json');
  assert.equal(code, 1);
  assert.equal(json['assurance'], 'tee-simulated');
  const strict = haca('verify', bundle, '--genesis', genesis, '--accept-simulated', '--json');
  assert.equal(strict.code, 0, strict.out);
});

test('a bundle with one byte changed is refused', () => {
  const bytes = readFileSync(bundle);
  for (const at of [100, 400, 900, bytes.length >> 1]) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] as number) ^ 1;
    const path = join(home, 'changed.haca');
    writeFileSync(path, changed);
    assert.ok([1, 2].includes(haca('verify', path).code), `byte ${at}`);
  }
});

test('the official client works unchanged: models, chat, streaming, usage, errors', async () => {
  const client = await openClient();
  const ai = new OpenAI({ baseURL: client.baseUrl, apiKey: 'haca', fetch: client.fetch });
  const [model] = (await ai.models.list()).data;
  assert.ok(model);
  const request = {
    model: model.id,
    messages: [{ role: 'user' as const, content: 'Hello' }],
    max_tokens: 12,
  };
  const whole = await ai.chat.completions.create(request);
  assert.equal(client.lastAnswer?.receipt.value.usage.outputTokens, whole.usage?.completion_tokens);

  const stream = await ai.chat.completions.create({ ...request, stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  assert.ok(text.length > 0);
  assert.equal(client.lastAnswer?.receipt.value.responseForm, 'stream');
  assert.ok(client.lastAnswer.verdict.ok);

  await assert.rejects(
    ai.chat.completions.create({ ...request, model: 'no such model' }),
    OpenAI.NotFoundError,
  );
  await assert.rejects(
    ai.chat.completions.create({ ...request, temperature: 99 }),
    (error: Error) => error instanceof OpenAI.BadRequestError,
  );
  client.close();
});

test('many requests at once are each verified, charged once, and settle', async () => {
  const client = await openClient();
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, i) => client.chat({ prompt: `question ${i}`, maxOutputTokens: 4 })),
  );
  assert.ok(answers.every(({ answer }) => answer.verdict.ok));
  const lifecycles = await Promise.all(answers.map(({ answer }) => answer.until('final')));
  assert.ok(lifecycles.every(({ verdict }) => verdict.ok));
  client.close();
});

test('the chain answers with proof, transactions are found, and the doctor is content', () => {
  for (const query of [['supply'], ['block'], ['params'], ['asset', '1'], ['nodes'], ['models']]) {
    const { code, json, err } = haca('query', ...query, '--json');
    assert.equal(code, 0, err);
    assert.ok(json['verified']);
  }
  const nobody = haca('query', 'account', '00'.repeat(32), '--prove', '--json');
  assert.deepEqual([nobody.code, nobody.json['value']], [0, null]);
  const { json } = haca('wallet', 'fund', '--wallet', wallet, '--credits', '1', '--opg', '1', '--json');
  const tx = haca('tx', String(json['txHash']), '--json');
  assert.deepEqual([tx.code, tx.json['ok']], [0, true]);
  const doctor = haca('doctor', '--json');
  assert.equal(doctor.code, 0, doctor.out);
});

test('another genesis is another chain', async () => {
  const network = readNetworkFile(networkFile);
  assert.ok(network);
  const trust = { chainId: network.chainId, height: 1, hash: new Uint8Array(32) };
  await assert.rejects(
    openHaca({ rpcUrl: network.rpcUrl, trust, wallet: null }),
    (error: Error) => error instanceof VerificationError,
  );
});

test('a relay before the node carries a paid conversation and finds nothing of it', async (t) => {
  const network = readNetworkFile(networkFile);
  assert.ok(network);
  const direct = await openClient();
  t.after(() => direct.close());
  const { answer: first } = await direct.chat({ prompt: 'Hello', maxOutputTokens: 4 });
  const node = (await direct.nodes()).find(({ nodeId }) => bytesEqual(nodeId, first.receipt.value.nodeId));
  assert.ok(node);
  const relay = await startRelay(node.record.endpoint);
  t.after(relay.close);
  const client = await openHaca({
    rpcUrl: network.rpcUrl,
    trust: { genesis: readGenesisFile(network.genesisFile) },
    wallet: readWalletFile(wallet),
    nodes: [relay.url],
    policy: { acceptSimulated: true, seal: 'always' },
  });
  t.after(() => client.close());
  const served = (await (await fetch(`${relay.url}/v1/models`)).json()) as { data: { id: string }[] };
  const [model] = served.data;
  assert.ok(model);
  const secret = 'Our launch code is tango-blue, what is HACA?';
  for (const onText of [undefined, () => undefined]) {
    const { text, answer } = await client.chat({
      model: model.id,
      prompt: secret,
      maxOutputTokens: 24,
      ...(onText === undefined ? {} : { onText }),
    });
    assert.ok(answer.verdict.ok);
    assert.ok(text.length > 10, text);
    const seen = relay.seen();
    assert.ok(seen.includes('/v1/chat/completions') && seen.includes('x-haca-sealed'));
    const pieces = [text, ...text.split(/\s+/).filter((word) => word.length > 8)];
    const secrets = [secret, 'tango', '"messages"', '"choices"', ...pieces];
    for (const each of secrets.flatMap(forms)) assert.ok(!seen.includes(each), each);
  }
});

test('when the network is gone the bundle still verifies, and chat says what to do', async () => {
  const genesis = join(home, 'genesis.json');
  writeFileSync(genesis, readFileSync(join(home, 'devnet', 'genesis.json')));
  await devnet?.stop();
  assert.equal(existsSync(networkFile), false);
  assert.equal(haca('verify', bundle, '--genesis', genesis, '--accept-simulated').code, 0);
  const { code, err } = haca('chat', 'Hello', '--wallet', wallet);
  assert.equal(code, 2);
  assert.match(err, /npm start/);
});

/** A text as it is, and as base64 would show its middle, wherever it begins. */
function forms(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const shifted = bytes.length < 12 ? [] : [0, 1, 2].map((from) => bytes.subarray(from, from + 9));
  return [text, ...shifted.map((piece) => piece.toString('base64'))];
}

/** Passes everything on and keeps a copy of all of it, both ways. */
async function startRelay(target: string) {
  let seen = '';
  const server = createServer((request, response) => {
    void (async () => {
      const pieces: Buffer[] = [];
      for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
      const body = Buffer.concat(pieces);
      seen += `${request.method} ${request.url}\n${request.rawHeaders.join('\n')}\n${body.toString('latin1')}\n`;
      const { host: _, connection: __, 'content-length': ___, ...headers } = request.headers;
      const answer = await fetch(`${target}${request.url}`, {
        method: request.method ?? 'GET',
        headers: headers as Record<string, string>,
        ...(body.length === 0 ? {} : { body }),
      });
      seen += `${answer.status}\n${[...answer.headers].join('\n')}\n`;
      const kept = [...answer.headers].filter(([name]) => !/^(connection|keep-alive|transfer-)/.test(name));
      response.writeHead(answer.status, Object.fromEntries(kept));
      for await (const piece of answer.body ?? []) {
        seen += Buffer.from(piece).toString('latin1');
        response.write(piece);
      }
      response.end();
    })().catch(() => response.destroy());
  });
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: () => seen,
    close: () => {
      server.closeAllConnections();
      return new Promise<void>((settle) => server.close(() => settle()));
    },
  };
}
