/** Transactions on their way: the same bytes until a block has them, a nonce once, and an end where none can come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed, type RpcClient, RpcError, type RpcTxResult } from '@haca/platform';
import { toHex } from '@haca/primitives';
import { decodeTransaction, nopg, recordKey } from '@haca/protocol';
import type { NodeChainView } from '../src/chain-view.ts';
import { openOperator, TransactionExpiredError, TransactionRefusedError } from '../src/operator.ts';
import { openFakeView } from './fake-view.ts';
import { digest } from './stream-fixture.ts';

const signer = ed25519SignerFromSeed(new Uint8Array(32).fill(5));
const OPS = [{ kind: 'retire', asset: 1, amount: 1n }] as never;
const never = new AbortController().signal;

function openWorld(onChainNonce = 0) {
  const fake = openFakeView();
  const sent: Uint8Array[] = [];
  const state = {
    answer: (_: Uint8Array): { code: number; log: string } => ({ code: 0, log: '' }),
    result: (): RpcTxResult | null => null,
  };
  const rpc = {
    tx: async () => state.result(),
    broadcastTx: async (tx: Uint8Array) => {
      sent.push(tx);
      return { ...state.answer(tx), hash: digest('tx') };
    },
  } as unknown as RpcClient;
  const account = { nopg: nopg(0n), credits: [], nonceHigh: onChainNonce, nonceBits: 0n };
  const view: NodeChainView = { ...fake.view, rpc, account: async () => account };
  const lines: string[] = [];
  return {
    fake,
    state,
    sent,
    lines,
    operator: openOperator(signer, view, 2_000n, (line) => lines.push(line)),
  };
}

const landed: RpcTxResult = { height: 12, code: 0, log: '', gasUsed: 1, events: [] };

test('HTTP-81 nonces are given away once, above those on chain and those of an earlier process', async () => {
  const { operator } = openWorld(40);
  const taken = await Promise.all(Array.from({ length: 20 }, () => operator.takeNonce()));
  assert.deepEqual(
    taken,
    Array.from({ length: 20 }, (_, i) => 40 + i),
  );
  operator.reserveNonce(99);
  operator.reserveNonce(70);
  assert.equal(await operator.takeNonce(), 100);
  assert.ok(recordKey.account(operator.accountId).length > 0);
});

test('HTTP-81 the same bytes are offered until a block has them, through refusals and silence', async () => {
  const { operator, state, sent, lines } = openWorld();
  const answers = [
    () => ({ code: 8, log: 'E_FEE: wait' }),
    () => {
      throw new RpcError('unreachable', 'gone');
    },
    () => ({ code: 0, log: '' }),
  ];
  state.answer = () => (answers.shift() ?? (() => ({ code: 0, log: '' })))();
  state.result = () => (sent.length >= 3 ? landed : null);
  const transaction = operator.sign(OPS, 3);
  assert.deepEqual(await operator.deliver(transaction, never), landed);
  assert.ok(sent.every((bytes) => toHex(bytes) === toHex(transaction.bytes)));
  assert.equal(decodeTransaction(transaction.bytes).body.nonce, 3);
  assert.deepEqual(lines, ['a transaction waits: E_FEE: wait']);
});

test('HTTP-81 a transaction is given up only when no block can take it, and not while nobody answers', async () => {
  const { operator, state, fake } = openWorld();
  const transaction = operator.sign(OPS, 0);
  fake.pass(transaction.body.validUntil);
  let silent = 5;
  state.result = () => {
    if (silent-- > 0) throw new RpcError('unreachable', 'gone');
    return null;
  };
  await assert.rejects(operator.deliver(transaction, never), TransactionExpiredError);
  assert.ok(silent < 0);
  // At the very end it is in a block after all.
  state.result = () => landed;
  assert.deepEqual(await operator.deliver(transaction, never), landed);
});

test('a fresh transaction that the mempool refuses fails at once; a stopping node waits for none', async () => {
  const { operator, state } = openWorld();
  state.answer = () => ({ code: 9, log: 'E_BALANCE: 5 nopg' });
  await assert.rejects(
    operator.submit(OPS, never),
    (error: unknown) => error instanceof TransactionRefusedError && error.code === 'E_BALANCE',
  );
  state.answer = () => ({ code: 0, log: '' });
  const stopping = new AbortController();
  const delivering = operator.deliver(operator.sign(OPS, 7), stopping.signal);
  stopping.abort();
  await assert.rejects(delivering, { name: 'AbortError' });
  state.result = () => ({ ...landed, code: 300 });
  await assert.rejects(
    operator.submit(OPS, never),
    (error: unknown) => error instanceof TransactionRefusedError && error.code === 'E_SEQ',
  );
});
