import assert from 'node:assert/strict';
import {
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
} from 'node:crypto';
import { test } from 'node:test';
import {
  domainPrefix,
  fromHex,
  MalformedError,
  toHex,
  UsageError,
  utf8Encode,
  writeCbor,
} from '@haca/primitives';
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import {
  makeSealingKey,
  openRequest,
  type RequestPlace,
  type SealedFor,
  type SealingKey,
  sealRequest,
} from '../src/sealing.ts';

const subject: SealedFor = { chainId: 'haca-test-1', keyId: new Uint8Array(32).fill(9) };
const place: RequestPlace = { path: '/v1/chat/completions', voucher: 'dm91Y2hlcg', idempotencyKey: 'once' };
const body = utf8Encode('{"model":"tiny"}');
const key: SealingKey = await makeSealingKey();
const isMalformed = (code: string) => (error: unknown) =>
  error instanceof MalformedError && error.code === code;
const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

test('a request opens to what was sealed, and its answer too', async () => {
  const sealed = await sealRequest(key.publicKey, subject, place, body);
  const opened = await openRequest(key, subject, place, sealed.bytes);
  assert.deepEqual(opened.body, body);
  const sealer = opened.answer.begin(200, 'stream');
  const frames = await Promise.all([sealer.seal(utf8Encode('one'), false), sealer.seal(body, true)]);
  const opener = await sealed.openAnswer(opened.answer.nonce, 200, 'stream');
  assert.deepEqual(await opener.open(frames[0]), { bytes: utf8Encode('one'), isLast: false });
  assert.deepEqual(await opener.open(frames[1]), { bytes: body, isLast: true });
  assert.throws(() => opened.answer.begin(200, 'stream'), /sealed once/);
});

test('HTTP-103 no byte of a sealed request can be changed, cut off or added', async () => {
  const { bytes } = await sealRequest(key.publicKey, subject, place, body);
  const changed = [
    ...Array.from(bytes, (_, at) => flipped(bytes, at)),
    ...[0, 31, 64, 79, bytes.length - 1].map((length) => bytes.slice(0, length)),
    new Uint8Array([...bytes, 0]),
  ];
  for (const each of changed) await assert.rejects(openRequest(key, subject, place, each), MalformedError);
});

test('HTTP-101 a sealed request opens with its own key, chain, path, voucher and idempotency key only', async () => {
  const { bytes } = await sealRequest(key.publicKey, subject, place, body);
  const other = await makeSealingKey();
  const refused = isMalformed('sealed.open');
  await assert.rejects(openRequest(other, subject, place, bytes), refused);
  await assert.rejects(openRequest(key, { ...subject, chainId: 'haca-test-2' }, place, bytes), refused);
  const renamed = new Uint8Array(bytes).fill(8, 0, 32);
  await assert.rejects(
    openRequest(key, { ...subject, keyId: renamed.slice(0, 32) }, place, renamed),
    refused,
  );
  const places: Partial<RequestPlace>[] = [
    { path: '/v1/zk/inferences' },
    { voucher: 'dm91Y2hlcgo' },
    { voucher: null },
    { idempotencyKey: 'twice' },
    { idempotencyKey: null },
  ];
  for (const moved of places)
    await assert.rejects(openRequest(key, subject, { ...place, ...moved }, bytes), refused);
});

test('HTTP-104 frames can not be changed, swapped, left out, repeated, or moved to another answer', async () => {
  const sealed = await sealRequest(key.publicKey, subject, place, body);
  const { answer } = await openRequest(key, subject, place, sealed.bytes);
  const sealer = answer.begin(200, 'stream');
  const one = await sealer.seal(utf8Encode('one'), false);
  const two = await sealer.seal(utf8Encode('two'), true);
  const open = () => sealed.openAnswer(answer.nonce, 200, 'stream');
  const refused = isMalformed('sealed.frame');
  for (let at = 0; at < one.length; at++) {
    await assert.rejects((await open()).open(flipped(one, at)), refused);
  }
  for (const short of [new Uint8Array(0), one.slice(0, 16), one.slice(0, -1)]) {
    await assert.rejects((await open()).open(short), refused);
  }
  await assert.rejects((await open()).open(two), refused);
  const twice = await open();
  await twice.open(one);
  await assert.rejects(twice.open(one), refused);
  const over = await open();
  await over.open(one);
  await over.open(two);
  await assert.rejects(over.open(two), refused);
  await assert.rejects((await sealed.openAnswer(answer.nonce, 402, 'stream')).open(one), refused);
  await assert.rejects((await sealed.openAnswer(answer.nonce, 200, 'body')).open(one), refused);
  const again = await openRequest(key, subject, place, sealed.bytes);
  assert.notDeepEqual(again.answer.nonce, answer.nonce, 'HTTP-106: the same request, another nonce');
  await assert.rejects((await sealed.openAnswer(again.answer.nonce, 200, 'stream')).open(one), refused);
  await assert.rejects(sealed.openAnswer(answer.nonce.slice(1), 200, 'stream'), isMalformed('sealed.nonce'));
  const empty = (await openRequest(key, subject, place, sealed.bytes)).answer;
  const nothing = await empty.begin(200, 'stream').seal(new Uint8Array(0), false);
  await assert.rejects((await sealed.openAnswer(empty.nonce, 200, 'stream')).open(nothing), refused);
});

test('a record with something that is no key is an error, not a request that anybody can read', async () => {
  // Points of small order give everybody the same secret.
  const bad = [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), new Uint8Array(31)];
  for (const publicKey of bad) {
    await assert.rejects(sealRequest(publicKey, subject, place, body), isMalformed('sealed.key'));
  }
});

test('the suite opens the published example of RFC 9180, appendix A.1.1', async () => {
  const suite = new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes128Gcm(),
  });
  const buffer = (hex: string): ArrayBuffer => new Uint8Array(fromHex(hex)).buffer;
  const secret = buffer('4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8');
  const recipient = await suite.createRecipientContext({
    recipientKey: await suite.kem.importKey('raw', secret, false),
    enc: buffer('37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431'),
    info: buffer('4f6465206f6e2061204772656369616e2055726e'),
  });
  const ciphertext =
    'f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a';
  const plaintext = await recipient.open(buffer(ciphertext), buffer('436f756e742d30'));
  assert.equal(Buffer.from(plaintext).toString(), 'Beauty is truth, truth beauty');
  assert.equal(
    toHex(new Uint8Array(await recipient.export(new ArrayBuffer(0), 32))),
    '3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee',
  );
});

test('HTTP-101 HTTP-104 what is sealed opens by the text of the specification, with other code', async () => {
  const pair = await crypto.subtle.generateKey('X25519', true, ['deriveBits']);
  assert.ok('privateKey' in pair);
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', pair.privateKey));
  const sealed = await sealRequest(publicKey, subject, place, body);
  const theirs = openByTheText(pkcs8, publicKey, sealed.bytes);
  assert.deepEqual(new Uint8Array(theirs.body), body);
  const { answer } = await openRequest(
    { publicKey, privateKey: pair.privateKey },
    subject,
    place,
    sealed.bytes,
  );
  const sealer = answer.begin(200, 'body');
  await sealer.seal(body, false);
  const frame = await sealer.seal(body, true);
  assert.deepEqual(new Uint8Array(theirs.frame(answer.nonce, 1, frame)), Uint8Array.of(1, ...body));
});

/** HPKE by RFC 9180 and the answer by RFC 9458, from OpenSSL's parts. */
function openByTheText(pkcs8: Buffer, publicKey: Uint8Array, sealed: Uint8Array) {
  const enc = sealed.subarray(32, 64);
  const kem = Buffer.concat([Buffer.from('KEM'), Buffer.from('0020', 'hex')]);
  const hpke = Buffer.concat([Buffer.from('HPKE'), Buffer.from('002000010001', 'hex')]);
  const extract = (salt: Uint8Array, ikm: Uint8Array): Buffer =>
    createHmac('sha256', salt).update(ikm).digest();
  const labeledExtract = (suite: Buffer, salt: Uint8Array, label: string, ikm: Uint8Array): Buffer =>
    extract(salt, Buffer.concat([Buffer.from('HPKE-v1'), suite, Buffer.from(label), ikm]));
  const expand = (prk: Uint8Array, info: Uint8Array, length: number): Buffer =>
    createHmac('sha256', prk)
      .update(Buffer.concat([info, Buffer.of(1)]))
      .digest()
      .subarray(0, length);
  const labeledExpand = (
    suite: Buffer,
    prk: Uint8Array,
    label: string,
    info: Uint8Array,
    n: number,
  ): Buffer =>
    expand(prk, Buffer.concat([Buffer.of(0, n), Buffer.from('HPKE-v1'), suite, Buffer.from(label), info]), n);
  const spki = Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), enc]);
  const dh = diffieHellman({
    privateKey: createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }),
    publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' }),
  });
  const none = new Uint8Array(0);
  const eae = labeledExtract(kem, none, 'eae_prk', dh);
  const shared = labeledExpand(kem, eae, 'shared_secret', Buffer.concat([enc, publicKey]), 32);
  const info = Buffer.concat([
    domainPrefix('haca/sealed-request/1'),
    writeCbor((writer) => {
      writer.arrayHead(2);
      writer.text(subject.chainId);
      writer.bytes(subject.keyId);
    }),
  ]);
  const context = Buffer.concat([
    Buffer.of(0),
    labeledExtract(hpke, none, 'psk_id_hash', none),
    labeledExtract(hpke, none, 'info_hash', info),
  ]);
  const secret = labeledExtract(hpke, shared, 'secret', none);
  const open = (aead: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Buffer => {
    const decipher = createDecipheriv('aes-128-gcm', aead, nonce);
    decipher.setAAD(aad);
    decipher.setAuthTag(ciphertext.subarray(-16));
    return Buffer.concat([decipher.update(ciphertext.subarray(0, -16)), decipher.final()]);
  };
  const aad = writeCbor((writer) => {
    writer.arrayHead(4);
    for (const text of ['POST', place.path, 'dm91Y2hlcg', 'once']) writer.text(text);
  });
  const exporter = labeledExpand(hpke, secret, 'exp', context, 32);
  const exported = labeledExpand(hpke, exporter, 'sec', Buffer.from('haca/sealed-answer/1'), 32);
  return {
    body: open(
      labeledExpand(hpke, secret, 'key', context, 16),
      labeledExpand(hpke, secret, 'base_nonce', context, 12),
      aad,
      sealed.subarray(64),
    ),
    frame: (responseNonce: Uint8Array, number: number, frame: Uint8Array): Buffer => {
      const salt = Buffer.concat([enc, responseNonce]);
      const derived = (label: string, n: number) =>
        new Uint8Array(hkdfSync('sha256', exported, salt, Buffer.from(label), n));
      const nonce = derived('nonce', 12);
      nonce[11] = (nonce[11] as number) ^ number;
      const answerContext = writeCbor((writer) => {
        writer.arrayHead(2);
        writer.uint(200);
        writer.text('body');
      });
      return open(derived('key', 16), nonce, answerContext, frame);
    },
  };
}

test('where the platform has no WebCrypto it says so, and names no key', async (t) => {
  const { crypto: own } = globalThis;
  t.after(() => Object.defineProperty(globalThis, 'crypto', { value: own, configurable: true }));
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true });
  await assert.rejects(sealRequest(key.publicKey, subject, place, body), UsageError);
});
