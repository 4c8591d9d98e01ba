/**
 * Nodes in test enclaves of other shapes than Nitro's, from evidence to payment: what a vendor publishes and validators decide
 * reaches them while they serve, and nothing that was promised is lost by it.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createNvidiaTestGpus, createNvidiaTestRoot } from '@haca/attester';
import { connectRpc, fromBase64url, type RpcClient } from '@haca/platform';
import { bytesEqual, decode, fromHex, sha256, toHex } from '@haca/primitives';
import {
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  type Op,
  recordKey,
} from '@haca/protocol';
import {
  type Answer,
  type Haca,
  readWalletFile,
  submitOps,
  TransactionError,
  type Wallet,
} from '@haca/sdk/node';
import { type Service, startTestNetwork, type TestNetwork } from './network.ts';
import {
  anyBatch,
  decreeOf,
  IMAGES,
  measurementOf,
  openGpuKey,
  pckSerialOf,
  postTdxCollateral,
  standingOf,
  tdxHardware,
} from './tee-world.ts';

/** Time that platforms get to take up a TCB recovery. */
const TCB_GRACE_MS = 16_000;
const PROMPT = 'hello';
/** Seeds of platforms: the last node stands on the platform of the first, under another operator. */
const PLATFORMS = [11, 12, 13, 11].map((byte) => new Uint8Array(32).fill(byte));
const MODELS = 1;

let network: TestNetwork;
let rpc: RpcClient;
/** Pays, and posts what vendors publish, as anybody may. */
let payer: Haca;

before(async () => {
  network = await startTestNetwork({
    nodes: PLATFORMS.length,
    params: { tcbGraceMs: TCB_GRACE_MS },
    hardware: tdxHardware,
    startNodes: false,
    configOf: (index, rootSeedFile) => ({
      attester: {
        kind: 'test-enclave',
        shape: 'tdx',
        rootSeedFile,
        image: index === 2 ? IMAGES.other : IMAGES.served,
        platformFile: `platform-${index}.json`,
        ...(index === 0 ? { gpu: { testGpus: 2 } } : {}),
      },
    }),
  });
  for (const index of PLATFORMS.keys()) writePlatform(index, 0);
  rpc = connectRpc(network.rpcUrl);
  payer = await network.openClient();
});

after(async () => {
  rpc.close();
  await network.close();
});

function writePlatform(index: number, patches: number): void {
  const seed = toHex(PLATFORMS[index] as Uint8Array);
  writeFileSync(join(network.home, `platform-${index}.json`), JSON.stringify({ seed, patches }));
}

const nodeAt = (index: number): Service => network.nodes[index] as Service;
const urlOf = (index: number): string => String(nodeAt(index).ready()['url']);
const firstKeyOf = (index: number): Uint8Array => fromHex(String(nodeAt(index).ready()['keyId']));
const post = (op: Op) => (payer.wallet as Wallet).submit([op]);
const logOf = (index: number): string => readFileSync(nodeAt(index).logFile, 'utf8');

async function recordOf(keyId: Uint8Array): Promise<NodeKeyRecord> {
  const { value } = await rpc.query('/record', recordKey.nodeKey(keyId));
  return decode(nodeKeyRecordCodec, value, 'node key');
}

async function getJson(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(path)).json()) as Record<string, unknown>;
}

/** Code of the refusal, and what it says. */
async function refusalOf(wallet: string, ops: readonly Op[]): Promise<string> {
  const { signer } = readWalletFile(join(network.home, wallet));
  try {
    await submitOps({ rpc, chainId: network.chainId, signer, ops });
    return 'OK';
  } catch (error) {
    assert.ok(error instanceof TransactionError, String(error));
    return `${error.code} ${error.message}`;
  }
}

async function untilTrue(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await delay(50);
}

test('without collateral a TDX guest opens no key, and its log says what is missing and who can bring it', async () => {
  await assert.rejects(nodeAt(0).start());
  assert.match(
    logOf(0),
    /E_EVIDENCE.* tdx\..*no revocation list to judge by.*Intel's .*haca collateral post/,
  );
  await post(postTdxCollateral(network.rootSeed, { ageMs: 60_000 }));
});

test('a TDX guest with GPUs serves paid requests, and shows the evidence of both', async () => {
  await Promise.all([0, 1, 2].map((index) => nodeAt(index).start()));
  const client = await network.openClient({ nodes: [urlOf(0)] });
  const { answer } = await client.chat({ prompt: PROMPT });
  assert.ok(answer.verdict.ok);
  assert.equal(answer.assurance, 'tee-simulated');
  assert.ok((await answer.until('final')).verdict.ok);
  const keyId = firstKeyOf(0);
  const { evidence } = await recordOf(keyId);
  assert.deepEqual([evidence?.kind, evidence?.tier], ['tdx', 'simulated']);
  const { value } = await rpc.query('/record', recordKey.keyEvidence(keyId));
  const record = decode(keyEvidenceRecordCodec, value, 'key evidence');
  assert.deepEqual(keyEvidenceHash(record), evidence?.recordHash);
  assert.deepEqual([record.gpus.length, record.hardware.length], [2, 3], 'a chip and two GPUs');
  const shown = await getJson(`${urlOf(0)}/v1/attestation/${toHex(keyId)}`);
  const gpus = (shown['gpuEvidence'] as readonly string[]).map(fromBase64url);
  assert.deepEqual(
    gpus.map((gpu) => toHex(sha256(gpu))),
    record.gpus.map(({ documentHash }) => toHex(documentHash)),
  );
  assert.equal(toHex(sha256(fromBase64url(String(shown['document'])))), toHex(record.documentHash));
});

test('one chip serves one operator: another is refused, and its log says why', async () => {
  await assert.rejects(nodeAt(3).start());
  assert.match(logOf(3), /E_HARDWARE .*serves one operator/s);
});

test('the documents of the GPUs are those that the guest vouched for, in its order', async () => {
  const { signer } = readWalletFile(join(network.home, 'operator-3.json'));
  const { nodeId } = JSON.parse(readFileSync(join(network.dataDir(3), 'node.json'), 'utf8')) as {
    readonly nodeId: string;
  };
  const { modelIds } = await recordOf(firstKeyOf(0));
  assert.equal(modelIds.length, MODELS);
  const { chainId, rootSeed } = network;
  const owner = { chainId, signer, nodeId: fromHex(nodeId), modelIds, rootSeed };
  const root = createNvidiaTestRoot(rootSeed);
  const gpus = createNvidiaTestGpus({ root, count: 2 });
  const [stranger] = await createNvidiaTestGpus({ root }).attest(new Uint8Array(32));
  const open = async (change: Parameters<typeof openGpuKey>[4]): Promise<string> =>
    refusalOf('operator-3.json', [await openGpuKey(rpc, owner, gpus, 20, change)]);
  assert.match(await open((documents) => documents.toReversed()), /E_EVIDENCE/, 'swapped');
  assert.match(await open((documents) => documents.slice(1)), /E_EVIDENCE/, 'one left out');
  assert.match(
    await open(([one]) => [one as Uint8Array, stranger as Uint8Array]),
    /E_EVIDENCE/,
    'another GPU',
  );
  assert.equal(await open((documents) => documents), 'OK');
});

/** A node that lost its standing: it promises nothing, the chain takes no batch, and what was settled before stays. */
async function checkLost(index: number, served: Answer, word: string, move: RegExp): Promise<void> {
  const keyId = firstKeyOf(index);
  const { settledSeq, settled, headHash } = await recordOf(keyId);
  await untilTrue(async () => (await fetch(`${urlOf(index)}/health/ready`)).status === 503);
  const standing = await standingOf(rpc, keyId);
  assert.deepEqual([standing.standing, standing.isBacking], [word, false]);
  const { checks } = await getJson(`${urlOf(index)}/health/ready`);
  const { work } = checks as { readonly work: string };
  assert.match(work, new RegExp(word));
  assert.match(work, move);
  assert.match(logOf(index), new RegExp(`${word}.*No new work is taken`));
  const body = JSON.stringify({ model: 'haca-tiny-chat', messages: [{ role: 'user', content: PROMPT }] });
  const refused = await fetch(`${urlOf(index)}/v1/chat/completions`, { method: 'POST', body });
  assert.equal(refused.status, 503, 'not even a price is named');
  const batch = anyBatch(network.chainId, keyId, { settledSeq, headHash });
  assert.match(await refusalOf(`operator-${index}.json`, [batch]), new RegExp(`E_KEY.*${word}`, 's'));
  const after = await recordOf(keyId);
  assert.deepEqual([after.settledSeq, after.settled], [settledSeq, settled]);
  assert.ok(settledSeq >= 1);
  const receipt = await getJson(`${urlOf(index)}/v1/receipts/${served.id}`);
  assert.equal(receipt['state'], 'final');
}

async function serveOnce(index: number): Promise<Answer> {
  const client = await network.openClient({ nodes: [urlOf(index)] });
  const { answer } = await client.chat({ prompt: PROMPT });
  assert.ok((await answer.until('final')).verdict.ok);
  return answer;
}

test('a PCK certificate on a newer revocation list ends what its node promises, and nothing else', async () => {
  const served = await serveOnce(1);
  const revokedPckSerials = [pckSerialOf(network.rootSeed, PLATFORMS[1] as Uint8Array)];
  await post(postTdxCollateral(network.rootSeed, { ageMs: 40_000, crlNumber: 2, revokedPckSerials }));
  await checkLost(1, served, 'certificate-revoked', /certified anew/);
  assert.equal((await standingOf(rpc, firstKeyOf(0))).standing, 'good');
});

test('a measurement that validators revoke ends what its nodes promise, and nothing else', async () => {
  const served = await serveOnce(2);
  const action = { kind: 'revoke-measurement', measurementId: measurementOf('other') } as const;
  await post(decreeOf(network.home, network.chainId, 1, action));
  await checkLost(2, served, 'measurement-revoked', /a release that is approved/);
  assert.equal((await standingOf(rpc, firstKeyOf(0))).standing, 'good');
});

test('a TCB recovery gives time: the platform is patched, keys change hands, and no request is dropped', async () => {
  const client = await network.openClient({ nodes: [urlOf(0)] });
  const first = firstKeyOf(0);
  const answers: Answer[] = [(await client.chat({ prompt: PROMPT })).answer];
  await post(
    postTdxCollateral(network.rootSeed, {
      ageMs: 20_000,
      crlNumber: 3,
      tcbEvaluationDataNumber: 18,
      platformStatus: 'OutOfDate',
    }),
  );
  const graced = await standingOf(rpc, first);
  assert.deepEqual(
    [graced.standing, graced.isBacking, graced.tcbStatus],
    ['good', true, 'OutOfDate'],
    'with its grace',
  );
  assert.ok(graced.effectiveEndMs - graced.timeMs <= TCB_GRACE_MS);
  writePlatform(0, 1);
  const isOver = async (): Promise<boolean> => !(await standingOf(rpc, first)).isBacking;
  while (!(await isOver())) {
    answers.push((await client.chat({ prompt: PROMPT })).answer);
    await delay(200);
  }
  const late = await client.chat({ prompt: PROMPT });
  answers.push(late.answer);
  const finals = await Promise.all(answers.map((answer) => answer.until('final')));
  assert.ok(answers.length > 5 && finals.every(({ verdict }) => verdict.ok), 'all settled');
  const second = late.answer.node.keyId;
  assert.ok(!bytesEqual(second, first));
  assert.ok(answers.some(({ node }) => bytesEqual(node.keyId, first)));
  const [before, after] = await Promise.all([first, second].map((keyId) => standingOf(rpc, keyId)));
  assert.deepEqual([before?.standing, after?.standing], ['tcb-out-of-date', 'good']);
  assert.equal(after?.tcbStatus, 'UpToDate');
  const { settledSeq } = await recordOf(first);
  const under = answers.filter(({ node }) => bytesEqual(node.keyId, first)).length;
  assert.ok(settledSeq >= under, 'every receipt of the old key is in a block');
  assert.match(logOf(0), /evidence good, TCB OutOfDate, until/);
  const { keys } = await getJson(`${urlOf(0)}/v1/haca`);
  assert.deepEqual(
    (keys as readonly { readonly keyId: string }[]).map(({ keyId }) => keyId),
    [toHex(second)],
    'the old key is not offered any more',
  );
});
