import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { MalformedError, toHex } from '@haca/primitives';
import {
  exampleKeyRecord,
  exampleKeys,
  makeExamples,
  singleBitFlips,
  truncationsAndExtensions,
} from '@haca/testkit';
import {
  decodeReceiptProof,
  decodeTransaction,
  encodeReceiptProof,
  type NodeKeyRecord,
  RECEIPT,
  type SignedKind,
  type SignedObject,
  STATEMENT,
  STREAM_CHECKPOINT,
  transactionMessage,
  VOUCHER,
  verifyReceiptProof,
  ZERO_DIGEST,
} from '../src/index.ts';

const keys = exampleKeys(ed25519SignerFromSeed);
const examples = makeExamples(keys);

/** What happens to changed bytes: the code they are refused with, or `accepted`. */
function outcomeOf(check: () => boolean, failedCode: string): string {
  try {
    return check() ? 'accepted' : failedCode;
  } catch (error) {
    assert.ok(error instanceof MalformedError, `expected a MalformedError, got ${String(error)}`);
    return error.code;
  }
}

function assertEveryChangeRefused(bytes: Uint8Array, check: (changed: Uint8Array) => boolean): void {
  assert.equal(
    outcomeOf(() => check(bytes), 'E_SIG'),
    'accepted',
    'the unchanged bytes must pass',
  );
  for (const { bytes: changed, bit } of singleBitFlips(bytes)) {
    assert.notEqual(
      outcomeOf(() => check(changed), 'E_SIG'),
      'accepted',
      `bit ${bit} of ${toHex(bytes)}`,
    );
  }
  for (const changed of truncationsAndExtensions(bytes)) {
    assert.notEqual(
      outcomeOf(() => check(changed), 'E_SIG'),
      'accepted',
      `${changed.length} bytes`,
    );
  }
}

// biome-ignore lint/suspicious/noExplicitAny: kinds of different value types in one table.
const SIGNED: readonly (readonly [string, SignedKind<any>, SignedObject<any>, Uint8Array])[] = [
  ['receipt', RECEIPT, examples.receipts[0], keys.node.publicKey],
  ['batch statement', STATEMENT, examples.statement, keys.node.publicKey],
  ['redeem-only statement', STATEMENT, examples.redeemOnly, keys.node.publicKey],
  ['voucher', VOUCHER, examples.voucher, keys.session.publicKey],
  ['stream checkpoint', STREAM_CHECKPOINT, examples.checkpoint, keys.node.publicKey],
];

for (const [name, kind, object, publicKey] of SIGNED) {
  test(`OBJ-5 every single-bit change, truncation and extension of a ${name} is refused`, () => {
    assertEveryChangeRefused(object.bytes, (changed) =>
      kind.verify(nodeCrypto, kind.decode(changed), publicKey),
    );
  });
}

test('OBJ-5 every single-bit change, truncation and extension of a transaction is refused', () => {
  for (const kind of ['settle', 'transfer-opg'] as const) {
    const bytes = examples.transactions.get(kind)?.bytes as Uint8Array;
    assertEveryChangeRefused(bytes, (changed) => {
      const { body, bodyBytes, signature } = decodeTransaction(changed);
      return nodeCrypto.verifyEd25519(body.sender.publicKey, transactionMessage(bodyBytes), signature);
    });
  }
});

const keyRecord: NodeKeyRecord = exampleKeyRecord(examples);
const receiptHash = examples.receipts[0].hash;

test('OBJ-6 a receipt proof holds against the key record it was made for', () => {
  const verdict = verifyReceiptProof(nodeCrypto, examples.receiptProof, keyRecord, receiptHash);
  assert.ok(verdict.ok, JSON.stringify(verdict));
});

test('OBJ-6 every single-bit change, truncation and extension of an inclusion proof is refused', () => {
  assertEveryChangeRefused(
    encodeReceiptProof(examples.receiptProof),
    (changed) => verifyReceiptProof(nodeCrypto, decodeReceiptProof(changed), keyRecord, receiptHash).ok,
  );
});

test('OBJ-6 a receipt proof for another receipt, key, log, range or claim state is refused by the check that says so', () => {
  const cases: readonly (readonly [string, Partial<NodeKeyRecord>, Uint8Array?])[] = [
    ['receipt-proof.hash', {}, examples.receipts[1].hash],
    ['receipt-proof.receipt-signature', { publicKey: keys.payer.publicKey }],
    ['receipt-proof.range', { settledSeq: 1 }],
    ['receipt-proof.log', { logFrontier: [ZERO_DIGEST] }],
    ['receipt-proof.log', { logSize: 3 }],
    ['receipt-proof.verified', { openClaims: [{ first: 1, last: 1 }] }],
    ['receipt-proof.verified', { unpaidRanges: [{ first: 1, last: 2 }] }],
  ];
  for (const [id, change, hash] of cases) {
    const verdict = verifyReceiptProof(
      nodeCrypto,
      examples.receiptProof,
      { ...keyRecord, ...change },
      hash ?? receiptHash,
    );
    assert.equal(verdict.ok, false);
    assert.equal(verdict.checks.find((check) => check.id === id)?.status, 'failed', id);
  }
  const redeemOnly = { ...examples.receiptProof, statement: examples.redeemOnly.bytes };
  assert.equal(verifyReceiptProof(nodeCrypto, redeemOnly, keyRecord, receiptHash).ok, false);
});
