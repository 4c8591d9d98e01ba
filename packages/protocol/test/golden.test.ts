import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { bytesOf, encode, fromHex, toHex, UsageError } from '@haca/primitives';
import { exampleKeys, type GoldenVector, goldenVectors } from '@haca/testkit';
import {
  decodeModelManifest,
  decodeReceiptProof,
  decodeTransaction,
  encodeReceiptProof,
  modelManifestCodec,
  OFFER,
  RECEIPT,
  type SignedKind,
  STATEMENT,
  STREAM_CHECKPOINT,
  signedKind,
  toJsonView,
  transactionMessage,
  VOUCHER,
} from '../src/index.ts';

const stored = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../vectors/protocol.json'), 'utf8'),
) as {
  vectors: readonly GoldenVector[];
};
const keys = exampleKeys(ed25519SignerFromSeed);

test('OBJ-1 the code makes exactly the golden vectors', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(goldenVectors(ed25519SignerFromSeed))), stored.vectors);
  assert.ok(stored.vectors.length >= 33, `${stored.vectors.length} vectors`);
});

// biome-ignore lint/suspicious/noExplicitAny: kinds of different value types in one table.
const SIGNED_KINDS: readonly (readonly [RegExp, SignedKind<any>, Uint8Array])[] = [
  [/^offer$/, OFFER, keys.operator.publicKey],
  [/^voucher$/, VOUCHER, keys.session.publicKey],
  [/^receipt(-2)?$/, RECEIPT, keys.node.publicKey],
  [/^stream-checkpoint$/, STREAM_CHECKPOINT, keys.node.publicKey],
  [/^statement/, STATEMENT, keys.node.publicKey],
];

test('OBJ-2 every golden signed object decodes to its value, names its hash and verifies under its key only', () => {
  for (const vector of stored.vectors) {
    const entry = SIGNED_KINDS.find(([name]) => name.test(vector.name));
    if (entry === undefined) continue;
    const [, kind, publicKey] = entry;
    const object = kind.decode(fromHex(vector.signed as string));
    assert.deepEqual(JSON.parse(JSON.stringify(toJsonView(object.value))), vector.value);
    assert.equal(toHex(object.hash), vector.hash);
    assert.equal(toHex(object.cose.payload), vector.encoding);
    assert.ok(kind.verify(nodeCrypto, object, publicKey));
    assert.ok(!kind.verify(nodeCrypto, object, keys.payer.publicKey));
    for (const [, other] of SIGNED_KINDS) {
      if (other !== kind)
        assert.ok(!other.verify(nodeCrypto, object, publicKey), `${vector.name} as ${other.domain}`);
    }
  }
});

test('OBJ-2 what signing returns is what decoding gives back', () => {
  for (const vector of stored.vectors) {
    const kind = SIGNED_KINDS.find(([name]) => name.test(vector.name))?.[1];
    if (kind === undefined) continue;
    const { value } = kind.decode(fromHex(vector.signed as string));
    const signed = kind.sign(value, ed25519SignerFromSeed(new Uint8Array(32).fill(3)).sign);
    assert.deepEqual(signed, kind.decode(signed.bytes));
    assert.deepEqual(signed.hash, kind.hash(value));
  }
});

test('OBJ-2 what decoding would refuse is not signed', () => {
  const vector = stored.vectors.find(({ name }) => name === 'voucher');
  const { value } = VOUCHER.decode(fromHex(vector?.signed as string));
  const { sign } = ed25519SignerFromSeed(new Uint8Array(32).fill(3));
  const receipt = stored.vectors.find(({ name }) => name === 'receipt');
  const { value: paid } = RECEIPT.decode(fromHex(receipt?.signed as string));
  const refused: readonly (() => unknown)[] = [
    () => VOUCHER.sign({ ...value, version: 2 as 1 }, sign),
    () => VOUCHER.sign({ ...value, lane: 64 }, sign),
    () => VOUCHER.sign({ ...value, channelId: new Uint8Array(31) }, sign),
    () => VOUCHER.sign({ ...value, chainId: '' }, sign),
    () => VOUCHER.sign({ ...value, chainId: 'ä'.repeat(26) }, sign),
    () => VOUCHER.sign({ ...value, expiry: -1 }, sign),
    () => VOUCHER.sign(value, () => new Uint8Array(63)),
    () => RECEIPT.sign({ ...paid, method: 'tea' as 'tee' }, sign),
    () => signedKind('tiny', bytesOf(0, 100), 10).sign(new Uint8Array(20), sign),
  ];
  for (const [i, attempt] of refused.entries()) assert.throws(attempt, UsageError, `attempt ${i}`);
});

test('OBJ-3 every golden transaction decodes, re-encodes and verifies', () => {
  const transactions = stored.vectors.filter(({ name }) => name.startsWith('transaction-'));
  assert.equal(transactions.length, 30);
  for (const vector of transactions) {
    const transaction = decodeTransaction(fromHex(vector.signed as string));
    assert.deepEqual(JSON.parse(JSON.stringify(toJsonView(transaction.body))), vector.value);
    assert.ok(
      nodeCrypto.verifyEd25519(
        keys.payer.publicKey,
        transactionMessage(transaction.bodyBytes),
        transaction.signature,
      ),
    );
  }
});

test('OBJ-4 objects that are not signed decode to what they were encoded from', () => {
  const bytesOf = (name: string): Uint8Array =>
    fromHex(stored.vectors.find((vector) => vector.name === name)?.encoding as string);
  const manifest = bytesOf('model-manifest');
  assert.deepEqual(encode(modelManifestCodec, decodeModelManifest(manifest)), manifest);
  const proof = bytesOf('receipt-proof');
  assert.deepEqual(encodeReceiptProof(decodeReceiptProof(proof)), proof);
});
