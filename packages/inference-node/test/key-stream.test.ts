/** One key's receipts: gapless, chained, on disk before they exist for anybody, provable once settled, whole after a restart. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { appendToFrontier, EMPTY_MERKLE_FRONTIER, type MerkleFrontier, toHex } from '@haca/primitives';
import {
  credit,
  decodeReceiptProof,
  type NodeKeyRecord,
  nopg,
  type Op,
  RECEIPT,
  STATEMENT,
  signTransaction,
  statementLeafHash,
  type Transaction,
  transactionHash,
  verifyReceiptProof,
  ZERO_DIGEST,
} from '@haca/protocol';
import fc from 'fast-check';
import { decodeJournalEntry, encodeJournalEntry, sentSettlement } from '../src/journal.ts';
import { type KeyStream, openKeyStream } from '../src/key-stream.ts';
import { openWriteAheadLog, WalCorruptError } from '../src/write-ahead-log.ts';
import { CHAIN_ID, contentOf, digest, identityOf, NODE_ID, voucherOf } from './stream-fixture.ts';

const dir = mkdtempSync(join(tmpdir(), 'haca-stream-'));
after(() => rmSync(dir, { recursive: true, force: true }));
let files = 0;
const freshFile = (): string => join(dir, `receipts-${files++}.wal`);
const identity = identityOf();

/** A lane that is charged 10 more with each receipt. */
async function issueMany(stream: KeyStream, count: number, lanes = 3): Promise<void> {
  const from = stream.lastSeq();
  const all = Array.from({ length: count }, (_, i) => {
    const lane = (from + i) % lanes;
    const cumulative = 10n * BigInt(Math.floor((from + i) / lanes) + 1);
    const voucher = voucherOf({
      lane,
      cumulative: credit(cumulative),
      requestHash: digest(`request ${from + i}`),
    });
    return stream.issue(`rcpt_${from + i}`, contentOf(voucher, 10n, cumulative), voucher).durable;
  });
  await Promise.all(all);
}

const operator = ed25519SignerFromSeed(new Uint8Array(32).fill(3));

function settleTransaction(stream: KeyStream, maxCount: number, nonce = 0): Transaction {
  const statement = stream.signStatement(maxCount, []).bytes;
  const ops: Op[] = [{ kind: 'settle', statement, vouchers: [] }];
  const sender = { algorithm: 'ed25519', publicKey: operator.publicKey } as const;
  const terms = {
    chainId: CHAIN_ID,
    nonce,
    validUntil: 99,
    maxFee: nopg(1n),
    tipCap: nopg(0n),
    feePayer: null,
  };
  return signTransaction({ version: 1, sender, ...terms, ops }, operator.sign);
}

/** What the chain keeps of the key, after these statements. */
function recordAfter(transactions: readonly Transaction[]): NodeKeyRecord {
  let log: MerkleFrontier = EMPTY_MERKLE_FRONTIER;
  let settledSeq = 0;
  for (const { bytes } of transactions) {
    const { statement } = sentSettlement(bytes);
    const { batch } = statement.value;
    if (batch === null) continue;
    log = appendToFrontier(log, statementLeafHash(statement.hash));
    settledSeq = batch.firstSeq + batch.count - 1;
  }
  return {
    nodeId: NODE_ID,
    keyEpoch: 1,
    publicKey: identity.signer.publicKey,
    method: 'signed',
    modelId: null,
    modelIds: [],
    binding: identity.binding,
    evidence: null,
    openedAt: 1,
    notAfter: 1_000,
    settledSeq,
    headHash: ZERO_DIGEST,
    settled: [],
    verified: [],
    paid: [],
    logSize: log.size,
    logFrontier: log.roots,
    unpaidRanges: [],
    openClaims: [],
    c1Seq: 0,
    c1Due: 0,
    faults: 0,
    lastLane: null,
  };
}

test('HTTP-51 receipts are gapless, chained, and carry running totals per asset', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  const receipts = [1, 2, 1, 1, 3].map((asset, i) => {
    const voucher = voucherOf({ lane: i });
    const content = contentOf(voucher, BigInt(i), BigInt(i), { asset });
    return stream.issue(`rcpt_${i}`, content, voucher).receipt;
  });
  for (const [i, { value }] of receipts.entries()) {
    assert.equal(value.seq, i + 1);
    assert.deepEqual(value.prevReceiptHash, receipts[i - 1]?.hash ?? ZERO_DIGEST);
  }
  assert.deepEqual(receipts.at(-1)?.value.running, [
    [1, 5n],
    [2, 1n],
    [3, 4n],
  ]);
  assert.ok(receipts.every((receipt) => RECEIPT.verify(nodeCrypto, receipt, identity.signer.publicKey)));
  await stream.close();
});

test('HTTP-51 content that can not be a receipt takes no place in the stream', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  const voucher = voucherOf();
  const usage = { inputTokens: 2 ** 40, cachedInputTokens: 0, outputTokens: 0 };
  assert.throws(() => stream.issue('rcpt_x', contentOf(voucher, 1n, 1n, { usage }), voucher));
  assert.throws(() => stream.issue('', contentOf(voucher, 1n, 1n), voucher), 'an id that can not be logged');
  assert.equal(stream.lastSeq(), 0);
  await issueMany(stream, 1);
  assert.equal((await stream.find('rcpt_0'))?.receipt.value.seq, 1);
  await stream.close();
});

test('HTTP-52 a receipt is not there for anybody before it is on disk', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  const voucher = voucherOf();
  const { receipt, durable } = stream.issue('rcpt_early', contentOf(voucher, 1n, 1n), voucher);
  assert.equal(await stream.find('rcpt_early'), undefined);
  assert.equal(await stream.find(toHex(receipt.hash)), undefined);
  await durable;
  assert.deepEqual((await stream.find('rcpt_early'))?.receipt.bytes, receipt.bytes);
  assert.deepEqual((await stream.find(toHex(receipt.hash)))?.voucher.bytes, voucher.bytes);
  await stream.close();
});

test('HTTP-51 a key signs receipts only in the process that made it; statements always', async () => {
  const file = freshFile();
  const first = await openKeyStream(identity, file, true);
  await issueMany(first, 3);
  await first.close();
  const again = await openKeyStream(identity, file, false);
  const voucher = voucherOf();
  assert.throws(() => again.issue('rcpt_9', contentOf(voucher, 1n, 1n), voucher));
  assert.equal(again.signStatement(10, []).value.batch?.count, 3);
  await again.close();
});

test('HTTP-71 every settled receipt is proven against the key record, at any state of the log', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  await issueMany(stream, 23);
  const landed: Transaction[] = [];
  for (const count of [1, 5, 4, 8, 5]) {
    const transaction = settleTransaction(stream, count, landed.length);
    await stream.recordSent(transaction);
    assert.equal(await stream.proof(stream.settledSeq() + 1), null, 'not before a block has it');
    await stream.recordSettled(transactionHash(transaction.bytes), 50 + landed.length);
    landed.push(transaction);
    const record = recordAfter(landed);
    for (let seq = 1; seq <= stream.settledSeq(); seq++) {
      const view = await stream.find(`rcpt_${seq - 1}`);
      const proof = decodeReceiptProof((await stream.proof(seq)) as Uint8Array);
      const verdict = verifyReceiptProof(nodeCrypto, proof, record, view?.receipt.hash as Uint8Array);
      assert.ok(verdict.ok, `receipt ${seq} of ${stream.settledSeq()}: ${JSON.stringify(verdict.checks)}`);
    }
  }
  assert.equal(stream.settledSeq(), 23);
  assert.deepEqual((await stream.find('rcpt_9'))?.batch?.height, 52);
  await stream.close();
});

test('HTTP-81 one settlement is in flight at a time, and only that one can end', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  await issueMany(stream, 4);
  const transaction = settleTransaction(stream, 2);
  const hash = transactionHash(transaction.bytes);
  await stream.recordSent(transaction);
  await assert.rejects(stream.recordSent(settleTransaction(stream, 3, 1)), /one settlement/);
  await assert.rejects(stream.recordSettled(digest('another'), 9));
  assert.deepEqual(stream.inFlight()?.txHash, hash);
  await stream.recordDropped(hash);
  assert.equal(stream.inFlight(), undefined);
  assert.equal(stream.settledSeq(), 0);
  await assert.rejects(stream.recordSettled(hash, 9), 'what was dropped never settles');
  await stream.close();
});

test('a lane has one unpaid head, which goes when that very receipt is paid', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  await issueMany(stream, 7, 2);
  const heads = (): number[] => [...stream.unpaidHeads()].map(({ receipt }) => receipt.value.seq).sort();
  assert.deepEqual(heads(), [6, 7]);
  stream.forgetPaid(digest('channel'), 0, 5);
  assert.deepEqual(heads(), [6, 7], 'charged more since');
  stream.forgetPaid(digest('channel'), 0, 7);
  assert.deepEqual(heads(), [6]);
  const newest = voucherOf({ lane: 0, cumulative: credit(40n), requestHash: digest('request 6') });
  assert.equal((await stream.answeredBy(newest))?.id, 'rcpt_6', 'known although paid');
  assert.equal(await stream.answeredBy(voucherOf({ lane: 0 })), undefined);
  assert.equal(await stream.answeredBy(voucherOf({ lane: 9 })), undefined);
  await stream.close();
});

/** Everything a stream answers, for comparing one before and after a restart. */
async function everythingOf(stream: KeyStream): Promise<unknown> {
  const receipts: unknown[] = [];
  for (let seq = 1; seq <= stream.lastSeq(); seq++) {
    const view = await stream.find(`rcpt_${seq - 1}`);
    receipts.push([view?.receipt.bytes, view?.voucher.bytes, view?.batch, await stream.proof(seq)]);
  }
  const heads = [...stream.unpaidHeads()].map(({ id }) => id);
  const head = stream.settledHead();
  return [stream.lastSeq(), stream.settledSeq(), head, stream.inFlight()?.txHash, heads, receipts];
}

test('HTTP-84 a stream comes back from its log exactly as it was, whatever happened to it', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('issue' as const), count: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant('send' as const), count: fc.integer({ min: 0, max: 8 }) }),
    fc.constant({ kind: 'settle' as const, count: 0 }),
    fc.constant({ kind: 'drop' as const, count: 0 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const file = freshFile();
      const stream = await openKeyStream(identity, file, true);
      for (const [i, { kind, count }] of steps.entries()) {
        const flight = stream.inFlight();
        if (kind === 'issue') await issueMany(stream, count);
        else if (kind === 'send' && flight === undefined) {
          await stream.recordSent(settleTransaction(stream, count, i));
        } else if (kind === 'settle' && flight !== undefined)
          await stream.recordSettled(flight.txHash, 100 + i);
        else if (kind === 'drop' && flight !== undefined) await stream.recordDropped(flight.txHash);
      }
      const before = await everythingOf(stream);
      await stream.close();
      const again = await openKeyStream(identity, file, false);
      assert.deepEqual(await everythingOf(again), before);
      await again.close();
    }),
    { numRuns: 30 },
  );
});

test('HTTP-80 killed at any byte of its log, a stream comes back with a prefix of what it was', async () => {
  const file = freshFile();
  const stream = await openKeyStream(identity, file, true);
  await issueMany(stream, 1);
  await issueMany(stream, 1);
  const transaction = settleTransaction(stream, 2);
  await stream.recordSent(transaction);
  await stream.recordSettled(transactionHash(transaction.bytes), 7);
  await issueMany(stream, 1);
  await stream.close();
  const whole = readFileSync(file);
  const cut = freshFile();
  let last = 0;
  for (let length = 8; length <= whole.length; length += 3) {
    writeFileSync(cut, whole.subarray(0, length));
    const part = await openKeyStream(identity, cut, false);
    assert.ok(part.lastSeq() >= last, `fewer receipts in a longer log, ${length}`);
    last = part.lastSeq();
    assert.ok(part.settledSeq() <= part.lastSeq());
    await part.close();
  }
  assert.ok(last >= 2);
});

test('HTTP-80 a log whose records contradict each other is not built upon', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  await issueMany(stream, 2);
  const transaction = settleTransaction(stream, 2);
  await stream.close();
  const file = freshFile();
  const log = await openWriteAheadLog(file, () => undefined);
  await log.append(
    encodeJournalEntry({ kind: 'settled', txHash: transactionHash(transaction.bytes), height: 1 }),
  );
  await log.close();
  await assert.rejects(openKeyStream(identity, file, false), WalCorruptError);

  const junk = freshFile();
  const other = await openWriteAheadLog(junk, () => undefined);
  await other.append(new Uint8Array(40));
  await other.close();
  await assert.rejects(openKeyStream(identity, junk, false), { name: 'MalformedError' });
});

test('a receipt that is no longer what it was on disk is never given out', async () => {
  const file = freshFile();
  const stream = await openKeyStream(identity, file, true);
  await issueMany(stream, 2);
  // Somebody writes over the log while the node runs.
  const bytes = readFileSync(file);
  const at = bytes.indexOf('rcpt_1') + 40;
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(file, bytes);
  assert.ok((await stream.find('rcpt_0')) !== undefined);
  await assert.rejects(stream.find('rcpt_1'));
  await stream.close();
});

test('journal entries are canonical and settlements are alone in their transaction', async () => {
  const stream = await openKeyStream(identity, freshFile(), true);
  await issueMany(stream, 1);
  const transaction = settleTransaction(stream, 1);
  const entry = encodeJournalEntry({ kind: 'sent', transaction: transaction.bytes });
  assert.deepEqual(decodeJournalEntry(entry), { kind: 'sent', transaction: transaction.bytes });
  for (let i = 0; i < entry.length; i += 7) {
    assert.throws(() => decodeJournalEntry(entry.subarray(0, i)), { name: 'MalformedError' });
  }
  assert.throws(() => decodeJournalEntry(Uint8Array.of(...entry, 0)), { name: 'MalformedError' });
  const { statement } = sentSettlement(transaction.bytes);
  assert.ok(STATEMENT.verify(nodeCrypto, statement, identity.signer.publicKey));
  const two = signTransaction(
    { ...transaction.body, ops: [...transaction.body.ops, ...transaction.body.ops] },
    operator.sign,
  );
  assert.throws(() => sentSettlement(two.bytes), { name: 'MalformedError' });
  await stream.close();
});
