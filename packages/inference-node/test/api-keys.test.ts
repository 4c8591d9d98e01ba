/** Keys of a node as clients meet them: fresh per process, rotated, refused in time; and what else makes a node say no. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createTestEnclave,
  createTestRoot,
  measureTestImage,
} from '@haca/attester';
import {
  ed25519SignerFromSeed,
  FolderBusyError,
  fromBase64url,
  lockFolder,
  nodeCrypto,
} from '@haca/platform';
import { decode, toHex, utf8Encode } from '@haca/primitives';
import {
  gpuEvidenceRootOf,
  gpuNonceOf,
  modelIdOf,
  modelManifestCodec,
  OFFER,
  registrationBindingCodec,
  registrationBindingHash,
} from '@haca/protocol';
import { hello, startTestNode, type TestNode, until } from './test-node.ts';
import { openPayer, readNodeInfo, receiptOf } from './test-payer.ts';

interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
  readonly haca?: { readonly receiptId?: string };
}

async function refusal(response: Response): Promise<{ status: number; code: string; body: ErrorBody }> {
  const body = (await response.json()) as ErrorBody;
  return { status: response.status, code: body.error.code, body };
}

async function send(
  node: TestNode,
  body: Uint8Array,
  voucher: string,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(`${node.url}/v1/chat/completions`, {
    method: 'POST',
    ...init,
    headers: { 'x-haca-voucher': voucher },
    body: new Uint8Array(body),
  });
}

const bytesOf = (chat: object): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(chat)));

test('HTTP-43 after a restart a voucher of the old key buys nothing twice: its receipt if it was charged, else certainty', async () => {
  let node = await startTestNode();
  try {
    const payer = await node.payer('before');
    const body = bytesOf(hello());
    const [used, unused] = [payer.voucher(body, 0), payer.voucher(body, 1)];
    const answered = await send(node, body, used);
    const receiptId = answered.headers.get('x-haca-receipt-id');
    const executions = node.upstream.count();
    node = await node.restart(true);
    const again = await refusal(await send(node, body, used));
    assert.deepEqual([again.status, again.code], [409, 'E_IDEMPOTENCY']);
    assert.equal(again.body.haca?.receiptId, receiptId);
    assert.equal((await fetch(`${node.url}/v1/receipts/${receiptId}`)).status, 200);
    const never = await refusal(await send(node, body, unused));
    assert.deepEqual([never.status, never.code], [503, 'E_UNAVAILABLE']);
    assert.match(never.body.error.message, new RegExp(`Nothing was charged.*${toHex(node.info.keyId)}`));
    assert.equal(node.upstream.count(), executions);
  } finally {
    await node.close();
  }
});

test('HTTP-85 without recent blocks, without settlements or with a stopped key a node takes no new work, and says why', async () => {
  const node = await startTestNode({ params: { settleWindow: 40 } });
  try {
    const payer = await node.payer('patient');
    const ready = async () => (await fetch(`${node.url}/health/ready`)).status;
    assert.equal(await ready(), 200);
    node.clock.skewMs = 61_000;
    const stale = await refusal(await payer.post(hello()));
    assert.deepEqual([stale.status, stale.code], [503, 'E_HEAD_STALE']);
    assert.equal(await ready(), 503);
    // Only a new block makes it fresh again.
    await node.payer('somebody who makes a block');
    await until(async () => (await ready()) === 200);

    node.chain.refuseSettlements('E_FEE');
    assert.equal((await payer.post(hello())).status, 200);
    for (let i = 0; i < 22; i++) await node.payer(`filler ${i}`);
    const late = await refusal(await payer.post(hello()));
    assert.deepEqual([late.status, late.code], [503, 'E_UNAVAILABLE']);
    assert.match(late.body.error.message, /can not be settled/);
    node.chain.refuseSettlements(null);
    await until(async () => (await ready()) === 200);
    assert.equal((await payer.post(hello())).status, 200);
  } finally {
    await node.close();
  }
});

test('HTTP-87 before a key ends there is another; the old one serves those who know it until it closes', async () => {
  const params = { keyTtl: 400, requestDuration: 20, settleWindow: 60 };
  const node = await startTestNode({ params, settlement: { batchMaxAgeMs: 1 } });
  try {
    const payer = await node.payer('loyal');
    assert.equal((await payer.post(hello())).status, 200);
    const blocksTo = async (height: number): Promise<void> => {
      for (let i = 0; node.chain.height() < height; i++)
        openPayer(node.url, node.chain, node.info, `x${height}${i}`, 1n);
      await node.synced();
    };
    await blocksTo(320);
    const fresh = await until(async () => {
      const info = await readNodeInfo(node.url);
      return toHex(info.keyId) !== toHex(node.info.keyId) && info;
    });
    const old = receiptOf(await payer.post(hello()));
    assert.equal(toHex(old?.value.keyId ?? new Uint8Array(0)), toHex(node.info.keyId), 'still served');
    const newcomer = openPayer(node.url, node.chain, fresh, 'newcomer', 1_000_000_000n);
    await node.synced();
    const first = receiptOf(await newcomer.post(hello()));
    assert.deepEqual([first?.value.seq, first?.value.keyEpoch], [1, 2]);
    await blocksTo(396);
    const { status, code } = await refusal(await payer.post(hello()));
    assert.deepEqual([status, code], [503, 'E_UNAVAILABLE']);
    assert.equal((await newcomer.post(hello())).status, 200);
  } finally {
    await node.close();
  }
});

test('HTTP-87 old keys are closed once everything is settled, and keep answering for their receipts', async () => {
  let node = await startTestNode();
  try {
    const payer = await node.payer('closing');
    const id = (await payer.post(hello())).headers.get('x-haca-receipt-id');
    const { keyId } = node.info;
    node = await node.restart(true);
    await until(() => node.chain.nodeKeys.get(toHex(keyId))?.closingAt !== undefined);
    assert.ok(existsSync(join(node.dataDir, 'keys', '1')), 'kept for as long as somebody may ask');
    await until(async () => {
      const found = (await (await fetch(`${node.url}/v1/receipts/${id}`)).json()) as { state: string };
      return found.state === 'final';
    });
    assert.equal(node.chain.lane(keyId, payer.channelId, 0), payer.charged.get(0));
  } finally {
    await node.close();
  }
});

test('HTTP-12 the attestation of a key is there with the binding it is over', async () => {
  const image = measureTestImage(utf8Encode('test image'));
  const attester = createTestEnclave({
    root: createTestRoot(new Uint8Array(32).fill(1)),
    measurement: image,
    nowMs: Date.now,
  });
  const gpuAttester = createNvidiaTestGpus({
    root: createNvidiaTestRoot(new Uint8Array(32).fill(2)),
    count: 2,
  });
  const node = await startTestNode({ parts: { attester, gpuAttester } });
  try {
    const path = `${node.url}/v1/attestation/${toHex(node.info.keyId)}`;
    const found = (await (await fetch(path)).json()) as {
      readonly kind: string;
      readonly document: string;
      readonly binding: string;
      readonly gpuEvidence: readonly string[];
    };
    assert.equal(found.kind, 'nitro');
    const binding = decode(registrationBindingCodec, fromBase64url(found.binding), 'binding');
    assert.deepEqual(binding.signPublicKey, node.info.publicKey);
    const document = Buffer.from(fromBase64url(found.document));
    assert.ok(
      document.includes(Buffer.from(registrationBindingHash(nodeCrypto, binding))),
      'the document is over the binding',
    );
    const gpus = found.gpuEvidence.map(fromBase64url);
    assert.equal(gpus.length, 2);
    assert.deepEqual(binding.gpuEvidenceRoot, gpuEvidenceRootOf(gpus));
    const nonce = Buffer.from(gpuNonceOf(binding));
    assert.ok(
      gpus.every((gpu) => Buffer.from(gpu).includes(nonce)),
      'GPUs were asked with the nonce of the key',
    );
    const record = node.chain.nodeKeys.get(toHex(node.info.keyId));
    assert.ok(record !== undefined);
    const info = (await (await fetch(`${node.url}/v1/haca`)).json()) as { keys: [{ evidenceKind: string }] };
    assert.equal(info.keys[0].evidenceKind, 'nitro');
  } finally {
    await node.close();
  }
});

test('HTTP-11 a node says who it is, which keys take work, and at what price', async () => {
  const node = await startTestNode();
  try {
    const info = (await (await fetch(`${node.url}/v1/haca`)).json()) as Record<string, unknown>;
    const { keys, models } = info as { keys: Record<string, unknown>[]; models: Record<string, unknown>[] };
    assert.deepEqual(Object.keys(info).sort(), ['chainId', 'height', 'keys', 'models', 'nodeId', 'operator']);
    assert.deepEqual(keys, [
      {
        keyId: toHex(node.info.keyId),
        keyEpoch: 1,
        publicKey: toHex(node.info.publicKey),
        method: 'signed',
        assurance: 'signed',
        evidenceKind: null,
      },
    ]);
    const [model] = models;
    const manifest = decode(modelManifestCodec, fromBase64url(String(model?.['manifest'])), 'manifest');
    assert.equal(toHex(modelIdOf(manifest)), model?.['modelId']);
    const offer = OFFER.decode(fromBase64url(String(model?.['offer'])));
    const operator = ed25519SignerFromSeed(new Uint8Array(32).fill(7));
    assert.ok(OFFER.verify(nodeCrypto, offer, operator.publicKey));
    assert.equal(toHex(offer.value.modelId), model?.['modelId']);
    assert.equal(model?.['keyId'], toHex(node.info.keyId));
  } finally {
    await node.close();
  }
});

test('HTTP-44 a whole answer is finished although its client left, and given to who asks again with the same voucher', async () => {
  const node = await startTestNode();
  try {
    const payer = await node.payer('flaky');
    const body = bytesOf(hello('words 4 wait 40'));
    const voucher = payer.voucher(body);
    const leaving = new AbortController();
    const lost = send(node, body, voucher, { signal: leaving.signal }).catch((error: Error) => error.name);
    await until(() => node.upstream.running() === 1);
    leaving.abort();
    assert.equal(await lost, 'AbortError');
    const found = await send(node, body, voucher);
    assert.equal(found.status, 200);
    assert.equal(receiptOf(found)?.value.outcome, 'completed');
    assert.match(await found.text(), /word3/);
    assert.equal(node.upstream.count(), 1);
  } finally {
    await node.close();
  }
});

test('HTTP-84 a data folder has one process', async () => {
  const node = await startTestNode();
  try {
    await assert.rejects(lockFolder(node.dataDir), FolderBusyError);
  } finally {
    await node.close();
  }
});
