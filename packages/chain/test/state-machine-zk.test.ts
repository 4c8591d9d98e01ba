/** Method `zk` through the state machine: models, claims, proofs, deadlines and what they cost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareBytes, concatBytes, encode, sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  CLAIM_FAULT_WINDOW,
  credit,
  decodeTransaction,
  decreeMessage,
  governanceRecordCodec,
  KEY_BYTES_PER_ROW,
  modelIdOf,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  type Op,
  type OpOf,
  permanentRows,
  type Receipt,
  receiptCodec,
  recordKey,
  STATEMENT,
  totalsRecordCodec,
  transactionClass,
  transactionGas,
  unbondingRecordCodec,
} from '@haca/protocol';
import {
  consensusAddress,
  keyPhase,
  type TxResult,
  type ZkKeyFacts,
  type ZkProofSystem,
} from '../src/state-machine/index.ts';
import {
  actor,
  attribute,
  blockHashOf,
  CHAIN,
  CREDIT,
  channelOf,
  consensusSigner,
  createWorld,
  creditBalance,
  FAUCET,
  funded,
  keyOf,
  lineCodes,
  MODEL,
  nodeOf,
  OPG,
  openChannel,
  openKey,
  PROPOSER,
  payoutOf,
  registerNode,
  registerOp,
  settle,
  settleOp,
  type TestNode,
  totalsOf,
  voucher,
  type World,
} from './state-machine-world.ts';
import { TEST_PROOF_SYSTEM } from './test-proof-system.ts';
import {
  batchOf,
  claimRow,
  laneLine,
  openedClaim,
  openZkKey,
  openZkKeyOp,
  PATIENT,
  proveOp,
  ranges,
  receiptProofOf,
  redeemOf,
  registerZkOp,
  serve,
  serveMany,
  settled,
  settleZk,
  verifyingKeyRow,
  voucherFor,
  type ZkClaim,
  type ZkKey,
  type ZkMarket,
  zkMarket,
  zkModel,
} from './zk-world.ts';

const TZ = 2;

function prove(world: World, key: ZkKey, op: OpOf<'prove'>): TxResult {
  return world.run(key.node.operator, [op]);
}

function disable(world: World, isDisabled: boolean): void {
  const key = recordKey.governance();
  if (!isDisabled) world.state.delete(toHex(key));
  else
    world.state.set(toHex(key), [key, encode(governanceRecordCodec, { serial: 1, disabledKinds: ['zk'] })]);
}

function changeNode(world: World, { nodeId }: TestNode, change: Partial<NodeRecord>): void {
  const key = recordKey.node(nodeId);
  world.state.set(toHex(key), [key, encode(nodeRecordCodec, { ...nodeOf(world, nodeId), ...change })]);
}

/** A base fee of `times` what it was, as congestion would have left it. */
function congest(world: World, times: bigint): void {
  const totals = totalsOf(world);
  const key = recordKey.totals();
  const changed = { ...totals, baseFee: totals.baseFee * times, baseFeeHeight: world.height() };
  world.state.set(toHex(key), [key, encode(totalsRecordCodec, changed)]);
}

test('ZKC-1: a model of method zk brings its verifying key once, and only under the hash that its manifest names', () => {
  const { world, model } = zkMarket();
  const row = verifyingKeyRow(world, model);
  assert.deepEqual(row?.verifyingKey, model.verifyingKey);
  assert.equal(row?.batchMax, 8);
  assert.deepEqual(row?.inputRowBytes, [4, 2]);
  const code = (op: Op): string => world.run(FAUCET, [op]).codeName;
  const other = zkModel({ name: 'two' });
  assert.equal(
    code({ kind: 'register-model', manifest: other.manifest }),
    'E_VERIFYING_KEY',
    'without its key',
  );
  assert.equal(
    code(registerZkOp(other, { verifyingKey: model.verifyingKey })),
    'E_VERIFYING_KEY',
    'another key',
  );
  const garbage = utf8Encode('no key at all');
  assert.equal(code(registerZkOp(other, { verifyingKey: garbage })), 'E_VERIFYING_KEY');
  assert.equal(verifyingKeyRow(world, other), undefined, 'nothing of it is kept');
  const again = { ...model.manifest, name: 'the same key, another name' };
  assert.equal(code({ kind: 'register-model', manifest: again }), 'OK', 'the chain has the key');
  const third = { ...model.manifest, name: 'a third name' };
  const wrong = registerZkOp({ ...other, manifest: third }, { registrationProof: null });
  assert.equal(code(wrong), 'E_VERIFYING_KEY', 'not the key that is known under this hash');
  assert.equal(code(registerZkOp(model)), 'E_MODEL', 'registered already');
});

test('ZKC-1 E_VERIFYING_KEY: a key that breaks a rule, or of which not every cost is known, is not kept', () => {
  const { world } = zkMarket();
  const meaningless = zkModel({ name: 'meaningless' });
  assert.equal(world.run(FAUCET, [registerZkOp(meaningless)]).codeName, 'E_VERIFYING_KEY');
  const broken: readonly Partial<ZkKeyFacts>[] = [
    { verificationGas: [1, 2, 3] },
    { proofBytes: [1] },
    { batchMax: 0, verificationGas: [1], proofBytes: [1] },
    { inputRowBytes: [4, 0] },
    { outputRowBytes: [0] },
  ];
  for (const facts of broken) {
    const zk: ZkProofSystem = {
      ...TEST_PROOF_SYSTEM,
      appraiseKey: (bytes) => {
        const appraisal = TEST_PROOF_SYSTEM.appraiseKey(bytes);
        return appraisal.ok ? { ...appraisal, facts: { ...appraisal.facts, ...facts } } : appraisal;
      },
    };
    const fresh = createWorld({ zk });
    assert.equal(fresh.run(FAUCET, [registerZkOp(zkModel())]).codeName, 'E_VERIFYING_KEY');
  }
});

test('ZKC-1 E_MODEL E_METHOD: method zk and a verifying key go together', () => {
  const { world, model } = zkMarket();
  const code = (op: Op): string => world.run(FAUCET, [op]).codeName;
  const hashed = { ...MODEL, name: 'hashed', methods: ['zk'] } as const;
  assert.equal(code({ kind: 'register-model', manifest: hashed }), 'E_MODEL', 'weights by their file');
  const unproved = { ...model.manifest, name: 'unproved', methods: ['signed'] } as const;
  assert.equal(
    code({ kind: 'register-model', manifest: unproved }),
    'E_MODEL',
    'a key that nobody proves under',
  );
  const plain = { ...MODEL, name: 'plain' };
  const op: Op = { ...registerZkOp(model), manifest: plain };
  assert.equal(code(op), 'E_METHOD', 'a key beside a model that has none');
});

test('ZKC-2: the bytes of a key are charged as memory for ever, and its check before it is done', () => {
  const { world, node, model } = zkMarket();
  const gasOf = (op: Op): number => transactionGas(decodeTransaction(world.tx(FAUCET, [op])));
  const bare = gasOf({ kind: 'register-model', manifest: model.manifest });
  const small = registerZkOp(model, { registrationProof: null });
  const { verificationGas } = small.zk as NonNullable<typeof small.zk>;
  assert.ok(gasOf(small) - bare >= verificationGas + 3_000 + model.verifyingKey.length);
  const big = registerZkOp(model, { verifyingKey: new Uint8Array(3 * KEY_BYTES_PER_ROW + 1) });
  const rows = permanentRows(decodeTransaction(world.tx(FAUCET, [big])));
  assert.equal(rows, 1 + 4);
  const classOf = (op: Op): string => transactionClass(decodeTransaction(world.tx(node.operator, [op])));
  assert.equal(classOf(small), 'G');
  assert.equal(
    classOf({ ...small, zk: { ...(small.zk as NonNullable<typeof small.zk>), nodeId: node.nodeId } }),
    'S',
  );
});

test('ZKC-2 E_PROOF_GAS: the check of a key is paid by its tensors, ops and batch sizes before it is made, its proof too', () => {
  let appraised = 0;
  const zk = {
    ...TEST_PROOF_SYSTEM,
    appraiseKey: (key: Uint8Array) => {
      appraised++;
      return TEST_PROOF_SYSTEM.appraiseKey(key);
    },
  };
  const { world } = zkMarket({ zk });
  const before = appraised;
  const other = zkModel({ name: 'two' });
  const reading = 5_000 + 40 * 5 + 40 * 3 * 4;
  const { registrationGas } = TEST_PROOF_SYSTEM.appraiseKey(other.verifyingKey) as {
    registrationGas: number;
  };
  const code = (verificationGas: number): string =>
    world.run(FAUCET, [registerZkOp(other, { verificationGas })]).codeName;
  assert.equal(code(reading - 1), 'E_PROOF_GAS');
  assert.equal(appraised, before);
  assert.equal(code(reading + registrationGas - 1), 'E_PROOF_GAS');
  assert.ok(appraised > before);
  assert.equal(code(reading + registrationGas), 'OK');
});

test('ZKC-2 E_SENDER: a key is registered out of the bucket of a node by its operator only', () => {
  const { world, node } = zkMarket();
  const large = zkModel({ name: 'x'.repeat(200_000) });
  const op = (nodeId: Uint8Array | null): Op => registerZkOp(large, { nodeId });
  assert.equal(world.run(node.operator, [op(null)]).codeName, 'E_CLASS', 'more than class G has in a block');
  assert.equal(world.run(FAUCET, [op(node.nodeId)]).codeName, 'E_SENDER');
  assert.equal(world.run(node.operator, [op(sha256(utf8Encode('no node')))]).codeName, 'E_NODE');
  const mixed: readonly Op[] = [
    registerZkOp(zkModel({ name: 'mixed' }), { nodeId: node.nodeId }),
    { kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) },
  ];
  assert.equal(world.run(FAUCET, mixed).codeName, 'E_SENDER', 'in class G too');
  assert.equal(world.run(node.operator, [op(node.nodeId)]).codeName, 'OK');
});

test('ZKC-3: where registration can be proved it must be, once', () => {
  const { world, node, model } = zkMarket();
  const code = (op: Op): string => world.run(FAUCET, [op]).codeName;
  const other = zkModel({ name: 'two' });
  assert.equal(code(registerZkOp(other, { registrationProof: null })), 'E_REGISTRATION_PROOF');
  assert.equal(code(registerZkOp(other, { registrationProof: new Uint8Array(32) })), 'E_REGISTRATION_PROOF');
  assert.equal(verifyingKeyRow(world, other), undefined);
  const again = { ...model.manifest, name: 'again' };
  const known = { ...registerZkOp(model, { registrationProof: null }), manifest: again };
  assert.equal(code(known), 'OK', 'the key that is known needs no second proof');
  assert.ok(verifyingKeyRow(world, model)?.registrationProofHash !== undefined);
  assert.equal(world.run(node.operator, [openZkKeyOp(world, node, model).op]).codeName, 'OK');
});

test('ZKC-3: a proof system without registration proofs asks for none, and one that has them opens no unproved key', () => {
  const zk = { ...TEST_PROOF_SYSTEM };
  const { world, node } = zkMarket({ zk });
  Object.assign(zk, { verifyRegistration: null });
  const unproved = zkModel({ name: 'unproved' });
  assert.equal(world.run(FAUCET, [registerZkOp(unproved)]).codeName, 'E_UNSUPPORTED');
  world.ok(FAUCET, [registerZkOp(unproved, { registrationProof: null })]);
  assert.equal(world.run(node.operator, [openZkKeyOp(world, node, unproved).op]).codeName, 'OK');
  Object.assign(zk, { verifyRegistration: TEST_PROOF_SYSTEM.verifyRegistration });
  const { op } = openZkKeyOp(world, node, unproved);
  assert.equal(world.run(node.operator, [op]).codeName, 'E_REGISTRATION_PROOF');
  const late = { ...registerZkOp(unproved), manifest: { ...unproved.manifest, name: 'late' } };
  const cheap = { ...late, zk: { ...(late.zk as NonNullable<typeof late.zk>), verificationGas: 19_999 } };
  assert.equal(world.run(FAUCET, [cheap]).codeName, 'E_PROOF_GAS', 'its verification is paid then');
  assert.equal(world.run(FAUCET, [late]).codeName, 'OK', 'the proof may come later, under another name');
  assert.equal(world.run(node.operator, [openZkKeyOp(world, node, unproved).op]).codeName, 'OK');
});

test('ZKC-4: a zk key is for one model that can be proved, and carries no evidence', () => {
  const { world, node, model } = zkMarket();
  const code = (over: Parameters<typeof openZkKeyOp>[3], of = model): string =>
    world.run(node.operator, [openZkKeyOp(world, node, of, over).op]).codeName;
  assert.equal(code({}), 'OK');
  assert.equal(code({ op: { modelId: null } }), 'E_MODEL');
  assert.equal(code({ op: { modelIds: [sha256(model.modelId)] } }), 'E_MODEL');
  const two = [model.modelId, modelIdOf(MODEL)];
  assert.equal(code({ op: { modelIds: two } }), 'E_MODEL', 'alone');
  assert.equal(code({ op: { evidence: { kind: 'nitro', document: new Uint8Array(64) } } }), 'E_METHOD');
  assert.equal(code({}, { ...model, modelId: modelIdOf(MODEL) }), 'E_METHOD', 'a model without a key');
  const heavy = zkModel({ name: 'heavy', gas: 500_000 });
  world.ok(FAUCET, [registerZkOp(heavy)]);
  assert.equal(code({}, heavy), 'E_VERIFYING_KEY', 'not even a batch of one could ever land');
  const huge = zkModel({ name: 'huge', inputs: [1_000_000] });
  world.ok(FAUCET, [registerZkOp(huge)]);
  assert.equal(code({}, huge), 'E_VERIFYING_KEY', 'nor in a transaction');
  disable(world, true);
  assert.equal(code({}), 'E_DISABLED');
});

test('ZKC-7: settling opens a claim; nothing of it is verified, and its nonce is the block that settled it', () => {
  const { world, key, channel } = zkMarket();
  serveMany(world, key, channel, 3);
  const charge = laneLine(key, channel, 1, 3);
  const { result, claim } = settleZk(world, key, 3, [charge], [voucherFor(world, key, channel, 3)]);
  assert.equal(result.codeName, 'OK', result.info);
  assert.deepEqual(lineCodes(result), ['E_NOT_VERIFIED']);
  const row = claimRow(world, claim);
  const height = world.height();
  assert.deepEqual(row?.nonce, blockHashOf(height));
  assert.deepEqual(
    [row?.firstSeq, row?.count, row?.due, row?.openedAt, row?.extensions],
    [1, 3, height + TZ, height, 0],
  );
  assert.deepEqual(row?.delta, [[1, (3n * CREDIT) / 100n]]);
  assert.equal(row?.verificationGas, 5_200, 'of the next power of two');
  const { settled: total, verified, settledSeq, logSize } = keyOf(world, key.keyId);
  assert.deepEqual([total, verified, settledSeq, logSize], [[[1, (3n * CREDIT) / 100n]], [], 3, 1]);
  assert.deepEqual(ranges(world, key), { open: ['1..3'], unpaid: [] });
  assert.equal(attribute(result, 'settle', 'state'), 'settled');
  assert.equal(attribute(result, 'settle', 'claimId'), toHex(claim.claimId));
  assert.equal(attribute(result, 'settle', 'due'), `${height + TZ}`);
});

test('ZKC-7 E_COUNT: lines of a zk key come with receipts, lines of other keys without', () => {
  const { world, node, key, channel } = zkMarket();
  serveMany(world, key, channel, 2);
  const batch = batchOf(key, 1);
  const op = settleOp(batch.statement.bytes);
  assert.equal(world.run(node.operator, [op]).codeName, 'E_COUNT', 'without the list');
  assert.equal(
    world.run(node.operator, [{ ...op, receipts: [[]] }]).codeName,
    'E_COUNT',
    'with one too many',
  );
  assert.equal(world.run(node.operator, [{ ...op, receipts: [] }]).codeName, 'OK');
  const signed = openKey(world, node);
  const statement = STATEMENT.sign(
    {
      version: 1,
      chainId: world.ctx.config.chainId,
      keyId: signed.keyId,
      batch: null,
      charges: [laneLine(key, channel, 1, 1)],
    },
    signed.signer.sign,
  );
  const vouchers = [voucher(world, channel, signed, 0, CREDIT)];
  const foreign = { ...settleOp(statement.bytes, vouchers), receipts: [[]] };
  assert.equal(world.run(node.operator, [foreign]).codeName, 'E_COUNT');
});

test('ZKC-8 E_CLAIMS: as many claims as a key may have open, as large as its verifying key allows', () => {
  const { world, key, channel } = zkMarket({ params: { proveWindow: 2, gasTarget: 5_000_000 } });
  serveMany(world, key, channel, 80);
  assert.equal(settleZk(world, key, 9).result.codeName, 'E_CLAIMS', 'batchMax is 8');
  const txs: Uint8Array[] = [];
  for (let i = 0; i < 65; i++) {
    const batch = batchOf(key, 1);
    txs.push(world.tx(key.node.operator, [{ ...settleOp(batch.statement.bytes), receipts: [] }]));
    settled(key, batch);
  }
  const codes = world.block(txs).results.map(({ codeName }) => codeName);
  assert.deepEqual(codes, [...Array(64).fill('OK'), 'E_CLAIMS']);
});

test('ZKC-8 E_CLAIMS: a batch whose smallest proof could never land is not settled', () => {
  const { world, key, channel } = zkMarket({ shape: { batchMax: 8, inputs: [100_000], outputs: [1] } });
  const sizes = key.model.shape.inputs;
  assert.deepEqual(sizes, [100_000]);
  serveMany(world, key, channel, 8);
  assert.equal(settleZk(world, key, 8).result.codeName, 'E_CLAIMS', '800 kB, the bucket has 400,000 gas');
  assert.equal(settleZk(world, key, 3).result.codeName, 'OK');
});

test('ZKC-8 E_CLAIMS: the largest batch need be no power of two, and a transaction has its own limit of bytes', () => {
  const odd = zkMarket({ shape: { batchMax: 6 } });
  serveMany(odd.world, odd.key, odd.channel, 7);
  assert.equal(settleZk(odd.world, odd.key, 7).result.codeName, 'E_CLAIMS');
  assert.equal(settleZk(odd.world, odd.key, 6).result.codeName, 'OK');
  const roomy = zkMarket({ params: { gasTarget: 5_000_000 }, shape: { inputs: [300_000], outputs: [1] } });
  serveMany(roomy.world, roomy.key, roomy.channel, 4);
  const { result } = settleZk(roomy.world, roomy.key, 4);
  assert.equal(result.codeName, 'E_CLAIMS', 'gas enough, bytes too many');
  assert.match(result.info, /1000000 bytes/);
  assert.equal(settleZk(roomy.world, roomy.key, 3).result.codeName, 'OK');
});

test('ZKC-9 ZKC-12: a proof verifies the claim, and pays the lines that come with it', () => {
  const { world, node, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 3);
  const redeeming = {
    charges: [laneLine(key, channel, 1, 3)],
    vouchers: [voucherFor(world, key, channel, 3)],
  };
  const before = creditBalance(world, payoutOf(node.operator));
  const result = prove(world, key, proveOp(world, key, claim, {}, redeeming));
  assert.equal(result.codeName, 'OK', result.info);
  assert.deepEqual(lineCodes(result), ['OK']);
  assert.equal(creditBalance(world, payoutOf(node.operator)) - before, (3n * CREDIT) / 100n);
  assert.equal(claimRow(world, claim), undefined);
  const { verified, settled: total, openClaims, unpaidRanges } = keyOf(world, key.keyId);
  assert.deepEqual([verified, openClaims, unpaidRanges], [total, [], []]);
  assert.equal(attribute(result, 'prove', 'claimId'), toHex(claim.claimId));
  assert.equal(attribute(result, 'prove', 'state'), 'verified');
  world.skip(2 * TZ);
  assert.deepEqual(ranges(world, key).unpaid, [], 'its deadline means nothing any more');
  assert.equal(prove(world, key, proveOp(world, key, claim)).codeName, 'E_CLAIM', 'it is verified once');
});

test('ZKC-9 E_CLAIM: a proof is accepted in the block of the deadline, and in none after it', () => {
  const { world, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const due = claimRow(world, claim)?.due as number;
  while (world.height() < due - 1) world.block();
  const op = proveOp(world, key, claim);
  assert.equal(prove(world, key, op).codeName, 'OK');
  assert.equal(world.height(), due);
  const late = openedClaim(world, key, channel, 1);
  const proof = proveOp(world, key, late);
  const tx = world.tx(key.node.operator, [proof]);
  world.skip(TZ);
  assert.equal(world.block([tx]).results[0]?.codeName, 'E_CLAIM');
  assert.deepEqual(ranges(world, key).unpaid, ['2..2']);
});

test('ZKC-9 E_CLAIM: what overflow leaves open past its deadline is neither proved nor redeemed', () => {
  const { world, key, channel, node } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const row = claimRow(world, claim);
  const op = proveOp(world, key, claim);
  // The queue of its height was full, so that it waits one block longer.
  const [at, later] = [recordKey.queue(row?.due as number), recordKey.queue((row?.due as number) + 1)];
  const entry = world.state.get(toHex(at));
  assert.ok(entry !== undefined);
  world.state.delete(toHex(at));
  world.state.set(toHex(later), [later, entry[1]]);
  world.skip(TZ);
  assert.deepEqual(ranges(world, key).open, ['1..1']);
  const result = world.run(node.operator, [op]);
  assert.equal(result.codeName, 'E_CLAIM', result.info);
  assert.deepEqual(ranges(world, key), { open: [], unpaid: ['1..1'] }, 'and then it expired');
});

test('ZKC-15: the deadline of a claim that was proved finds nothing left to do, wherever it waited', () => {
  const { world, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const due = claimRow(world, claim)?.due as number;
  const [at, later] = [recordKey.queue(due), recordKey.queue(due + 1)];
  const entry = world.state.get(toHex(at));
  assert.ok(entry !== undefined);
  world.state.delete(toHex(at));
  world.state.set(toHex(later), [later, entry[1]]);
  assert.equal(prove(world, key, proveOp(world, key, claim)).codeName, 'OK');
  world.skip(TZ + 1);
  assert.equal(world.state.get(toHex(later)), undefined);
  assert.deepEqual(ranges(world, key), { open: [], unpaid: [] });
  const second = openedClaim(world, key, channel, 1);
  const queue = recordKey.queue(claimRow(world, second)?.due as number);
  assert.ok(world.state.has(toHex(queue)));
  assert.equal(prove(world, key, proveOp(world, key, second)).codeName, 'OK');
  assert.ok(!world.state.has(toHex(queue)), 'its place in the queue is free again');
});

test('ZKC-9 E_KEY_PRUNED: nothing is proved on a drained key, whatever its claims say', () => {
  const { world, node, model, channel } = zkMarket({ params: PATIENT });
  world.skip(PATIENT.keyDrain);
  const key = openZkKey(world, node, model);
  const claim = openedClaim(world, key, channel, 1);
  const op = proveOp(world, key, claim);
  const rowKey = recordKey.nodeKey(key.keyId);
  const closingAt = world.height() + 1 - PATIENT.keyDrain;
  const row = { ...keyOf(world, key.keyId), closingAt };
  world.state.set(toHex(rowKey), [rowKey, encode(nodeKeyRecordCodec, row)]);
  assert.equal(prove(world, key, op).codeName, 'E_KEY_PRUNED');
});

test('ZKC-9: two proofs of one claim in a block: the second pays for nothing', () => {
  const { world, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const op = proveOp(world, key, claim);
  const txs = [world.tx(key.node.operator, [op]), world.tx(key.node.operator, [op])];
  const { results } = world.block(txs);
  assert.deepEqual(
    results.map(({ codeName, gasUsed }) => [codeName, gasUsed > 0]),
    [
      ['OK', true],
      ['E_CLAIM', true],
    ],
  );
});

test('ZKC-9: a claim can not be proved in the block that opens it', () => {
  const { world, key, channel, node } = zkMarket();
  serveMany(world, key, channel, 1);
  const batch = batchOf(key, 1);
  const settling = world.tx(node.operator, [{ ...settleOp(batch.statement.bytes), receipts: [] }]);
  const proving = world.tx(node.operator, [proveOp(world, key, batch.claim)]);
  const { results } = world.block([settling, proving]);
  assert.deepEqual(
    results.map(({ codeName, gasUsed }) => [codeName, gasUsed > 0]),
    [
      ['OK', true],
      ['E_CLAIM', false],
    ],
  );
});

test('ZKC-9 E_SENDER E_PROOF_GAS E_DISABLED: who may prove, for how much, and when', () => {
  const { world, key, channel, payer } = zkMarket({
    params: PATIENT,
  });
  const claim = openedClaim(world, key, channel, 2);
  const op = proveOp(world, key, claim);
  assert.equal(world.run(payer, [op]).codeName, 'E_SENDER');
  const stranger = registerNode(world, funded(world, 'stranger', 50_000n * OPG));
  assert.equal(world.run(stranger.operator, [op]).codeName, 'E_SENDER');
  const mixed: readonly Op[] = [op, { kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) }];
  assert.equal(world.run(payer, mixed).codeName, 'E_SENDER', 'in class G too');
  assert.equal(prove(world, key, { ...op, verificationGas: op.verificationGas - 1 }).codeName, 'E_PROOF_GAS');
  disable(world, true);
  assert.equal(prove(world, key, op).codeName, 'E_DISABLED');
  serveMany(world, key, channel, 1);
  assert.equal(settleZk(world, key, 1).result.codeName, 'E_DISABLED');
  disable(world, false);
  assert.equal(prove(world, key, { ...op, verificationGas: op.verificationGas + 500 }).codeName, 'OK');
});

test('ZKC-9: what may come with a proof is a statement of its key that only redeems', () => {
  const { world, node, key, channel } = zkMarket({
    params: PATIENT,
  });
  const claim = openedClaim(world, key, channel, 2);
  const other = openZkKey(world, node, key.model);
  const charges = [laneLine(key, channel, 1, 2)];
  const vouchers = [voucherFor(world, key, channel, 2)];
  const good = redeemOf(key, { charges, vouchers });
  assert.ok(good !== null);
  serveMany(world, key, channel, 1);
  const code = (redeem: OpOf<'prove'>['redeem']): string =>
    prove(world, key, { ...proveOp(world, key, claim), redeem }).codeName;
  const settling = batchOf(key, 1, charges).statement.bytes;
  assert.equal(code({ ...good, statement: settling }), 'E_COUNT', 'one that settles');
  assert.equal(code(redeemOf(key, { charges: [], vouchers: [] })), 'E_COUNT', 'no line');
  assert.equal(code({ ...good, vouchers: [] }), 'E_COUNT');
  assert.equal(code({ ...good, receipts: [] }), 'E_COUNT');
  assert.equal(code(redeemOf(other, { charges, vouchers })), 'E_KEY', 'of another key');
  assert.equal(code(redeemOf(key, { charges, vouchers }, 'haca-other-1')), 'E_CHAIN');
  const forged = redeemOf({ ...key, signer: other.signer }, { charges, vouchers });
  assert.equal(code(forged), 'E_SIG');
  assert.equal(code({ ...good, statement: utf8Encode('no statement') }), 'E_MALFORMED');
  assert.equal(code(good), 'OK');
});

/** Attack 48 of the proof system's list: one thing is answered, another is proved. */
test('ZKC-10 E_BINDING: salts, tensors and receipts are those of the claim, all of them, in their places', () => {
  const { world, node, key, channel } = zkMarket({ params: PATIENT });
  const claim = openedClaim(world, key, channel, 4);
  const twin = openZkKey(world, node, key.model);
  // The same answers under another key: tensors, salts and proof are equal where it matters, the claim is not.
  for (let i = 1; i <= 4; i++)
    serve(world, twin, { channel, text: `input ${i}`, salt: claim.exchanges[i - 1]?.salt as Uint8Array });
  const { claim: other, result } = settleZk(world, twin, 4);
  assert.equal(result.codeName, 'OK', result.info);
  const good = proveOp(world, key, claim);
  const ofTwin = proveOp(world, twin, other);
  assert.deepEqual(good.inputs, ofTwin.inputs);
  const swapped = <T>(list: readonly T[]): T[] => [list[1] as T, list[0] as T, ...list.slice(2)];
  const repeated = <T>(list: readonly T[]): T[] => [list[0] as T, list[0] as T, ...list.slice(2)];
  const swapRows = (tensors: readonly Uint8Array[], sizes: readonly number[]): Uint8Array[] =>
    tensors.map((tensor, i) => {
      const size = sizes[i] as number;
      return concatBytes(tensor.slice(size, 2 * size), tensor.slice(0, size), tensor.slice(2 * size));
    });
  const { inputs: inSizes, outputs: outSizes } = key.model.shape;
  const flipped = (bytes: Uint8Array): Uint8Array => bytes.with(0, (bytes[0] as number) ^ 1);
  const attempts: Readonly<Record<string, Partial<OpOf<'prove'>>>> = {
    'inputs of two receipts swapped': { inputs: swapRows(good.inputs, inSizes) },
    'outputs of two receipts swapped': { outputs: swapRows(good.outputs, outSizes) },
    'tensors of two receipts swapped': {
      inputs: swapRows(good.inputs, inSizes),
      outputs: swapRows(good.outputs, outSizes),
    },
    'pairs swapped, receipts too': {
      salts: swapped(good.salts),
      inputs: swapRows(good.inputs, inSizes),
      outputs: swapRows(good.outputs, outSizes),
      receipts: swapped(good.receipts),
    },
    'receipts reordered': { receipts: swapped(good.receipts) },
    'a receipt repeated': { receipts: repeated(good.receipts) },
    'a subset': {
      salts: good.salts.slice(0, 3),
      receipts: good.receipts.slice(0, 3),
      inputs: good.inputs.map((tensor, i) => tensor.slice(0, 3 * (inSizes[i] as number))),
      outputs: good.outputs.map((tensor, i) => tensor.slice(0, 3 * (outSizes[i] as number))),
    },
    'one more': {
      salts: [...good.salts, good.salts[0] as Uint8Array],
      receipts: [...good.receipts, good.receipts[0] as Uint8Array],
    },
    'one salt less': { salts: good.salts.slice(1) },
    'one receipt less': { receipts: good.receipts.slice(1) },
    'another salt': { salts: [flipped(good.salts[0] as Uint8Array), ...good.salts.slice(1)] },
    'salts swapped': { salts: swapped(good.salts) },
    'an input off by one bit': { inputs: [flipped(good.inputs[0] as Uint8Array), ...good.inputs.slice(1)] },
    'an output off by one bit': { outputs: good.outputs.map(flipped) },
    'a tensor missing': { inputs: good.inputs.slice(1) },
    'a tensor too many': { outputs: [...good.outputs, good.outputs[0] as Uint8Array] },
    'tensors in another order': { inputs: swapped(good.inputs) },
    'a row more than there are receipts': {
      outputs: good.outputs.map((tensor, i) => concatBytes(tensor, tensor.slice(0, outSizes[i] as number))),
    },
    'a receipt for the same answer at another price': {
      receipts: [repriced(claim.exchanges[0]?.receipt.value as Receipt), ...good.receipts.slice(1)],
    },
    'a tensor cut': { inputs: good.inputs.map((tensor) => tensor.slice(1)) },
    'a receipt that is none': { receipts: [utf8Encode('nothing'), ...good.receipts.slice(1)] },
    'a receipt with a byte more': {
      receipts: [concatBytes(good.receipts[0] as Uint8Array, Uint8Array.of(0)), ...good.receipts.slice(1)],
    },
    'receipts of another key with equal tensors': { receipts: ofTwin.receipts },
    'all of another key with equal tensors': { ...ofTwin, claimId: good.claimId },
  };
  const bond = nodeOf(world, node.nodeId).bond;
  for (const [name, over] of Object.entries(attempts)) {
    assert.equal(prove(world, key, { ...good, ...over }).codeName, 'E_BINDING', name);
  }
  assert.equal(nodeOf(world, node.nodeId).bond, bond, 'none of it costs bond');
  assert.deepEqual(ranges(world, key).open, ['1..4'], 'and the claim stays open');
  const replayed = prove(world, key, { ...good, proof: ofTwin.proof });
  assert.equal(replayed.codeName, 'E_PROOF', 'a proof of another claim with equal tensors');
  assert.equal(prove(world, key, good).codeName, 'OK');
});

function repriced(receipt: Receipt): Uint8Array {
  return encode(receiptCodec, { ...receipt, amount: credit(receipt.amount + 1n) });
}

test('ZKC-10 E_BINDING: receipts of a batch that can not be proved expire, whatever is shown for them', () => {
  const cases: Readonly<Record<string, Parameters<typeof serve>[2]['over']>> = {
    'method of another kind': { method: 'signed' },
    'a stream': { responseForm: 'stream' },
    'another model': { modelId: sha256(utf8Encode('another')) },
    'another chain': { chainId: 'haca-other-1' },
    'another key': { keyId: sha256(utf8Encode('another')) },
    'a seq of its own': { seq: 7 },
    'another request': { requestHash: sha256(utf8Encode('another')) },
    'another response': { responseHash: sha256(utf8Encode('another')) },
  };
  for (const [name, over] of Object.entries(cases)) {
    const { world, key, channel } = zkMarket();
    serve(world, key, { channel, ...(over === undefined ? {} : { over }) });
    const { result, claim } = settleZk(world, key, 1);
    assert.equal(result.codeName, 'OK', 'nobody looks into a batch that is only settled');
    const { proof: _none, ...rest } = { ...proveLike(world, key, claim) };
    assert.equal(prove(world, key, { ...rest, proof: new Uint8Array(32) }).codeName, 'E_BINDING', name);
    world.skip(TZ);
    assert.deepEqual(ranges(world, key).unpaid, ['1..1'], name);
  }
});

/** As `proveOp`, for a claim that is not bound to its exchanges. */
function proveLike(world: World, key: ZkKey, claim: ZkClaim): OpOf<'prove'> {
  const { exchanges } = claim;
  return {
    kind: 'prove',
    claimId: claim.claimId,
    salts: exchanges.map(({ salt }) => salt),
    inputs: key.model.shape.inputs.map((_, i) =>
      concatBytes(...exchanges.map(({ inputs }) => inputs[i] as Uint8Array)),
    ),
    outputs: key.model.shape.outputs.map((_, i) =>
      concatBytes(...exchanges.map(({ outputs }) => outputs[i] as Uint8Array)),
    ),
    receipts: exchanges.map(({ receipt }) => receipt.cose.payload),
    proof: new Uint8Array(32),
    verificationGas: claimRow(world, claim)?.verificationGas ?? 0,
    redeem: null,
  };
}

test('ZKC-10 E_BINDING: tensors hold values of the model only', () => {
  const refuseSevens = {
    ...TEST_PROOF_SYSTEM,
    checkTensors: () => 'a value outside its interval',
  };
  const { world, key, channel } = zkMarket({ zk: refuseSevens });
  const claim = openedClaim(world, key, channel, 1);
  const result = prove(world, key, proveOp(world, key, claim));
  assert.equal(result.codeName, 'E_BINDING');
  assert.match(result.info, /interval/);
});

test('ZKC-11: the statement that is verified comes from the chain, and nothing of it from the proof', () => {
  const seen: Parameters<typeof TEST_PROOF_SYSTEM.verifyProof>[0][] = [];
  const zk = {
    ...TEST_PROOF_SYSTEM,
    verifyProof: (check: Parameters<typeof TEST_PROOF_SYSTEM.verifyProof>[0]) => {
      seen.push(check);
      return TEST_PROOF_SYSTEM.verifyProof(check);
    },
  };
  const { world, key, channel, model } = zkMarket({ zk });
  const claim = openedClaim(world, key, channel, 2);
  const settledAt = world.height();
  prove(world, key, proveOp(world, key, claim));
  assert.equal(seen.length, 1);
  const { verifyingKey, statement } = seen[0] as (typeof seen)[number];
  assert.deepEqual(verifyingKey, model.verifyingKey);
  assert.deepEqual(statement.nonce, blockHashOf(settledAt));
  assert.deepEqual(statement.claimId, claim.claimId);
  assert.deepEqual(statement.verifyingKeyHash, model.verifyingKeyHash);
  assert.equal(statement.batchSize, 2);
});

test('ZKC-12: lines of verified receipts are redeemed later with receipt proofs', () => {
  const { world, key, channel } = zkMarket({ params: PATIENT });
  const first = openedClaim(world, key, channel, 3);
  assert.equal(prove(world, key, proveOp(world, key, first)).codeName, 'OK');
  const charges = [laneLine(key, channel, 1, 3)];
  const vouchers = [voucherFor(world, key, channel, 3)];
  const attempt = (receipts: readonly Uint8Array[]): readonly string[] => {
    const redeem = redeemOf(key, { charges, vouchers });
    assert.ok(redeem !== null);
    const op: Op = { kind: 'settle', statement: redeem.statement, vouchers, receipts: [receipts] };
    return lineCodes(world.ok(key.node.operator, [op]));
  };
  const [one, three] = [receiptProofOf(key, 1), receiptProofOf(key, 3)];
  assert.deepEqual(attempt([]), ['E_LEAF']);
  assert.deepEqual(attempt([one]), ['E_LEAF'], 'without its end');
  assert.deepEqual(attempt([three]), ['E_LEAF'], 'without its beginning');
  assert.deepEqual(attempt([one, utf8Encode('no proof')]), ['E_LEAF']);
  assert.deepEqual(attempt([receiptProofOf(key, 2), three]), ['E_LEAF'], 'another receipt');
  assert.deepEqual(
    attempt([one.with(200, (one[200] as number) ^ 1), three]),
    ['E_LEAF'],
    'a receipt changed',
  );
  const second = openedClaim(world, key, channel, 1);
  assert.deepEqual(attempt([one, three]), ['E_LEAF'], 'the log went on: the path is of an older size');
  assert.deepEqual(attempt([receiptProofOf(key, 1), receiptProofOf(key, 3)]), ['OK'], 'beside an open claim');
  const last = [laneLine(key, channel, 4, 4)];
  const redeeming = { charges: last, vouchers: [voucherFor(world, key, channel, 4)] };
  assert.deepEqual(lineCodes(prove(world, key, proveOp(world, key, second, {}, redeeming))), ['OK']);
});

test('ZKC-12 E_LEAF: a line says what the receipts at its ends say, and its voucher names the last of them', () => {
  const { world, key, channel, payer, node } = zkMarket();
  const other = openChannel(world, payer, [node]);
  serveMany(world, key, channel, 2);
  serve(world, key, { channel, lane: 1 });
  serve(world, key, { channel: other });
  serveMany(world, key, channel, 1);
  const { claim } = settleZk(world, key, 5);
  const good = laneLine(key, channel, 1, 5);
  const promise = voucherFor(world, key, channel, 5);
  const charges = [
    { ...good, to: credit(good.to - 1n) },
    { ...good, from: credit(1n) },
    { ...good, atSeq: 2 },
    { ...good, fromSeq: 2 },
    { ...good, atSeq: 3 },
    { ...good, atSeq: 4 },
    { ...good, fromSeq: 3, from: credit(0n) },
    { ...good, lane: 1 },
    { ...good, channelId: other.channelId },
    good,
    good,
  ];
  const unnamed = voucher(world, channel, key, 0, good.to);
  const vouchers = charges.map((_, i) => (i === 9 ? unnamed : promise));
  const result = prove(world, key, proveOp(world, key, claim, {}, { charges, vouchers }));
  assert.deepEqual(lineCodes(result), [...Array(10).fill('E_LEAF'), 'OK']);
});

test('ZKC-13: what was not proved is skipped, stays with the payer, and can not be placed inside a proved batch', () => {
  const { world, node, key, channel, payer } = zkMarket();
  const other = openChannel(world, payer, [node]);
  const dear = CREDIT;
  serve(world, key, { channel, amount: dear });
  const { claim: lost } = settleZk(world, key, 1);
  world.skip(TZ);
  assert.equal(claimRow(world, lost), undefined);
  // A cheap batch of the node's own, with a total as large as what it lost.
  serve(world, key, { channel: other, amount: dear });
  serve(world, key, { channel, amount: CREDIT / 100n });
  const { claim } = settleZk(world, key, 2);
  const honest = laneLine(key, channel, 3, 3);
  assert.equal(honest.from, dear, 'the running charge of the lane counts on over what is forfeited');
  const charges = [
    { ...honest, fromSeq: 1, from: credit(0n) },
    { ...honest, fromSeq: 2, from: credit(0n) },
    { ...honest, from: credit(0n) },
    { ...honest, fromSeq: 2, atSeq: 2, from: credit(0n), to: credit(dear) },
    honest,
  ];
  const vouchers = charges.map((_, i) => voucherFor(world, key, channel, i === 3 ? 1 : 3));
  const result = prove(world, key, proveOp(world, key, claim, {}, { charges, vouchers }));
  assert.deepEqual(lineCodes(result), ['E_NOT_VERIFIED', 'E_LEAF', 'E_LEAF', 'E_LEAF', 'OK']);
  assert.equal(creditBalance(world, payoutOf(node.operator)), CREDIT / 100n);
});

test('ZKC-13 E_ALREADY_PAID: a lane never goes back', () => {
  const { world, key, channel } = zkMarket({ params: PATIENT });
  const first = openedClaim(world, key, channel, 2);
  const redeeming = {
    charges: [laneLine(key, channel, 1, 2)],
    vouchers: [voucherFor(world, key, channel, 2)],
  };
  assert.deepEqual(lineCodes(prove(world, key, proveOp(world, key, first, {}, redeeming))), ['OK']);
  const second = openedClaim(world, key, channel, 1);
  const charges = [laneLine(key, channel, 1, 2), laneLine(key, channel, 2, 3), laneLine(key, channel, 3, 3)];
  const vouchers = [2, 3, 3].map((seq) => voucherFor(world, key, channel, seq));
  const receipts = [[receiptProofOf(key, 1), receiptProofOf(key, 2)], [receiptProofOf(key, 2)], []];
  const result = prove(world, key, proveOp(world, key, second, {}, { charges, vouchers, receipts }));
  assert.deepEqual(lineCodes(result), ['E_ALREADY_PAID', 'E_ALREADY_PAID', 'OK']);
});

test('ZKC-13 E_ALREADY_PAID: receipts that begin to count anew are not paid again', () => {
  const { world, key, channel } = zkMarket({ params: PATIENT });
  const first = openedClaim(world, key, channel, 2);
  const redeeming = {
    charges: [laneLine(key, channel, 1, 2)],
    vouchers: [voucherFor(world, key, channel, 2)],
  };
  assert.deepEqual(lineCodes(prove(world, key, proveOp(world, key, first, {}, redeeming))), ['OK']);
  const amount = CREDIT / 100n;
  serve(world, key, { channel, amount, over: { cumulative: credit(amount) } });
  const { claim } = settleZk(world, key, 1);
  const again = { charges: [laneLine(key, channel, 3, 3)], vouchers: [voucherFor(world, key, channel, 3)] };
  assert.equal(again.charges[0]?.from, 0n);
  assert.deepEqual(lineCodes(prove(world, key, proveOp(world, key, claim, {}, again))), ['E_ALREADY_PAID']);
});

test('ZKC-13: what was never proved goes back to the payer in full, by withdrawal or by release', () => {
  const { world, node, key, channel, payer } = zkMarket();
  serve(world, key, { channel, amount: 4n * CREDIT });
  assert.equal(settleZk(world, key, 1).result.codeName, 'OK');
  world.skip(TZ);
  assert.deepEqual(ranges(world, key).unpaid, ['1..1']);
  const { channelId } = channel;
  const { nodeId } = node;
  const free = channelOf(world, channelId)?.free ?? 0n;
  world.ok(payer, [{ kind: 'request-withdraw', channelId, nodeId, amount: credit(10n * CREDIT) }]);
  const charges = [laneLine(key, channel, 1, 1)];
  const redeem = redeemOf(key, { charges, vouchers: [voucherFor(world, key, channel, 1)] });
  assert.ok(redeem !== null);
  const late: Op = {
    kind: 'settle',
    statement: redeem.statement,
    vouchers: redeem.vouchers,
    receipts: [[receiptProofOf(key, 1)]],
  };
  assert.deepEqual(
    lineCodes(world.ok(node.operator, [late])),
    ['E_NOT_VERIFIED'],
    'not while it waits either',
  );
  world.skip(world.ctx.config.params.withdrawDelay);
  world.ok(payer, [{ kind: 'finalize-withdraw', channelId, nodeId }]);
  assert.equal(channelOf(world, channelId)?.free, free + 10n * CREDIT);
});

test('ZKC-14 E_PROOF: a proof that does not hold is paid for, costs a thousandth of the bond, and leaves nothing behind', () => {
  const { world, node, key, channel } = zkMarket({
    params: { proveWindow: 9, withdrawDelay: 60, keyDrain: 50 },
  });
  const claim = openedClaim(world, key, channel, 1);
  const before = totalsOf(world);
  const { bond } = nodeOf(world, node.nodeId);
  const bad = proveOp(world, key, claim, { proof: new Uint8Array(32) });
  const result = prove(world, key, bad);
  assert.equal(result.codeName, 'E_PROOF');
  assert.ok(result.gasUsed > bad.verificationGas);
  assert.equal(bond - nodeOf(world, node.nodeId).bond, (6_000n * OPG) / 1_000n);
  assert.equal(totalsOf(world).burnedSlash - before.burnedSlash, 6n * OPG);
  assert.equal(attribute(result, 'slash', 'fault'), 'invalid-proof');
  assert.deepEqual(ranges(world, key).open, ['1..1']);
  const moved: readonly Op[] = [{ kind: 'bond-node', nodeId: node.nodeId, amount: nopg(OPG) }, bad];
  const after = nodeOf(world, node.nodeId).bond;
  assert.equal(world.run(node.operator, moved).codeName, 'E_PROOF');
  assert.equal(
    after - nodeOf(world, node.nodeId).bond,
    after / 1_000n,
    'of the bond without what came with it',
  );
  const two: readonly Op[] = [bad, bad];
  assert.equal(world.run(node.operator, two).codeName, 'E_PROOF', 'the first one ends the transaction');
  assert.equal(prove(world, key, proveOp(world, key, claim)).codeName, 'OK');
});

test('ZKC-14: a proof is not verified, and costs no bond, while anything cheaper is wrong', () => {
  let verified = 0;
  const zk = {
    ...TEST_PROOF_SYSTEM,
    verifyProof: () => {
      verified++;
      return false;
    },
  };
  const { world, node, key, channel, payer } = zkMarket({
    zk,
    params: PATIENT,
  });
  const claim = openedClaim(world, key, channel, 2);
  const good = proveOp(world, key, claim);
  const bond = nodeOf(world, node.nodeId).bond;
  prove(world, key, { ...good, verificationGas: 0 });
  prove(world, key, { ...good, salts: [...good.salts].reverse() });
  prove(world, key, { ...good, claimId: sha256(good.claimId) });
  world.run(payer, [good]);
  disable(world, true);
  prove(world, key, good);
  disable(world, false);
  assert.equal(verified, 0);
  assert.equal(nodeOf(world, node.nodeId).bond, bond);
  assert.equal(prove(world, key, good).codeName, 'E_PROOF');
  assert.equal(verified, 1);
});

test('ZKC-15: a claim without proof expires: nothing is paid, a hundredth of the bond is burned, the range is unpaid for ever', () => {
  const { world, node, key, channel } = zkMarket();
  openedClaim(world, key, channel, 2);
  const total = keyOf(world, key.keyId).settled;
  const before = totalsOf(world).burnedSlash;
  world.skip(TZ);
  assert.deepEqual(ranges(world, key), { open: [], unpaid: ['1..2'] });
  const { verified, settled: kept } = keyOf(world, key.keyId);
  assert.deepEqual([verified, kept], [[], total]);
  assert.equal(totalsOf(world).burnedSlash - before, 60n * OPG);
  assert.equal(nodeOf(world, node.nodeId).bond, 5_940n * OPG);
  const [event] = world.outputs.at(-1)?.events.filter(({ type }) => type === 'claim') ?? [];
  assert.equal(event?.attributes.find(([name]) => name === 'state')?.[1], 'expired');
  // Neighbours become one range, so that what a key forfeits needs little room.
  openedClaim(world, key, channel, 1);
  openedClaim(world, key, channel, 1);
  world.skip(TZ + 1);
  assert.deepEqual(ranges(world, key).unpaid, ['1..4']);
});

test('ZKC-15: expired claims of one height are worked off in order, together', () => {
  const { world, key, channel } = zkMarket({ params: { gasTarget: 5_000_000 } });
  serveMany(world, key, channel, 6);
  const txs = Array.from({ length: 6 }, () => {
    const batch = batchOf(key, 1);
    settled(key, batch);
    return world.tx(key.node.operator, [{ ...settleOp(batch.statement.bytes), receipts: [] }]);
  });
  assert.ok(world.block(txs).results.every(({ codeName }) => codeName === 'OK'));
  world.skip(TZ);
  assert.deepEqual(ranges(world, key), { open: [], unpaid: ['1..6'] });
});

test('ZKC-16: while fees are eight times what they were, a deadline moves, three times at most', () => {
  const { world, node, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const opened = claimRow(world, claim);
  const dues: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++) {
    congest(world, i === 0 ? 10n : 1n);
    world.skip(TZ);
    dues.push(claimRow(world, claim)?.due);
  }
  const due = opened?.due as number;
  assert.deepEqual(dues, [due + TZ, due + 2 * TZ, due + 3 * TZ, undefined]);
  assert.deepEqual(ranges(world, key).unpaid, ['1..1']);
  assert.ok(nodeOf(world, node.nodeId).bond < 6_000n * OPG);
  congest(world, 1n);
  const calm = openedClaim(world, key, channel, 1);
  world.skip(TZ);
  assert.equal(claimRow(world, calm), undefined, 'dear, but not dearer than when it was opened');
});

test('ZKC-16: a proof that comes in the extension is good', () => {
  const { world, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  congest(world, 10n);
  world.skip(TZ);
  const result = world.run(key.node.operator, [proveOp(world, key, claim)], { maxFee: 1_000_000n });
  assert.equal(result.codeName, 'OK', result.info);
});

test('ZKC-16: eight times is not more than eight times', () => {
  const { world, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 1);
  const row = claimRow(world, claim);
  assert.ok(row !== undefined);
  while (world.height() < row.due - 1) world.block();
  const totals = totalsOf(world);
  const key1 = recordKey.totals();
  const changed = {
    ...totals,
    baseFee: 8n * row.baseFee,
    baseFeeHeight: world.height(),
    baseFeeGasUsed: 500_000,
  };
  world.state.set(toHex(key1), [key1, encode(totalsRecordCodec, changed)]);
  world.block();
  assert.equal(world.outputs.at(-1)?.baseFee, 8n * row.baseFee);
  assert.deepEqual(ranges(world, key).unpaid, ['1..1']);
});

test('ZKC-17: claims of a disabled kind end void: unpaid, and nobody is punished', () => {
  const { world, node, key, channel } = zkMarket();
  const claim = openedClaim(world, key, channel, 2);
  disable(world, true);
  world.skip(TZ);
  assert.equal(claimRow(world, claim), undefined);
  assert.deepEqual(ranges(world, key), { open: [], unpaid: ['1..2'] });
  assert.equal(nodeOf(world, node.nodeId).bond, 6_000n * OPG);
  disable(world, false);
  const next = openedClaim(world, key, channel, 1);
  const charges = [laneLine(key, channel, 1, 3), laneLine(key, channel, 3, 3)];
  const vouchers = charges.map(() => voucherFor(world, key, channel, 3));
  const receipts = [[receiptProofOf(key, 1)], []];
  const result = prove(world, key, proveOp(world, key, next, {}, { charges, vouchers, receipts }));
  assert.deepEqual(lineCodes(result), ['E_NOT_VERIFIED', 'OK'], 'a void range is not a verified one');
});

/** Opens `count` claims of one receipt in one block and lets every second one expire. */
function expireEverySecond(market: ZkMarket, count: number): void {
  const { world, key, channel } = market;
  serveMany(world, key, channel, count);
  const claims: ZkClaim[] = [];
  const txs = Array.from({ length: count }, () => {
    const batch = batchOf(key, 1);
    settled(key, batch);
    claims.push(batch.claim);
    return world.tx(key.node.operator, [{ ...settleOp(batch.statement.bytes), receipts: [] }]);
  });
  assert.ok(world.block(txs).results.every(({ codeName }) => codeName === 'OK'));
  const proofs = claims
    .filter((_, i) => i % 2 === 1)
    .map((claim) => world.tx(key.node.operator, [proveOp(world, key, claim)]));
  const proved = world.block(proofs).results.map(({ codeName }) => codeName);
  assert.deepEqual([...new Set(proved)], ['OK']);
  world.skip(TZ);
}

test('ZKC-18: the eighth expired claim in a window freezes the zk keys of a node and jails it; more cost nothing', () => {
  const market = zkMarket({ params: { gasTarget: 5_000_000 } });
  const { world, node, key, model } = market;
  const other = openZkKey(world, node, model);
  const signed = openKey(world, node);
  expireEverySecond(market, 14);
  assert.equal(nodeOf(world, node.nodeId).expiries?.count, 7);
  assert.equal(keyOf(world, key.keyId).stop, undefined);
  expireEverySecond(market, 12);
  const after = nodeOf(world, node.nodeId);
  assert.equal(after.expiries?.count, 8);
  assert.equal(after.jailedUntil, world.height() - 1 + CLAIM_FAULT_WINDOW);
  let bond = 6_000n * OPG;
  for (let i = 0; i < 8; i++) bond -= bond / 100n;
  assert.equal(after.bond, bond, 'eight times a hundredth of what was there');
  for (const { keyId } of [key, other]) assert.equal(keyOf(world, keyId).stop, 'frozen');
  assert.equal(keyOf(world, signed.keyId).stop, undefined, 'keys of other methods go on');
  assert.equal(settle(world, signed, 1, CREDIT).codeName, 'OK');
  assert.equal(world.run(node.operator, [openZkKeyOp(world, node, model).op]).codeName, 'E_NODE');
  assert.equal(keyPhase(keyOf(world, key.keyId), world.height(), world.ctx.config.params), 'stopped');
  serveMany(world, key, market.channel, 1);
  assert.equal(settleZk(world, key, 1).result.codeName, 'E_KEY');
});

test('ZKC-18: a new window counts from one again', () => {
  const market = zkMarket();
  const { world, node, key, channel } = market;
  changeNode(world, node, { expiries: { window: 5, count: 8 } });
  openedClaim(world, key, channel, 1);
  world.skip(TZ);
  assert.deepEqual(nodeOf(world, node.nodeId).expiries, { window: 0, count: 1 });
});

test('ZKC-18: an abandoned key never freezes, and costs no more than eight either', () => {
  const { world, node, key, channel } = zkMarket({ params: { gasTarget: 5_000_000, ...PATIENT } });
  changeNode(world, node, { expiries: { window: 0, count: 6 } });
  const claims = [1, 2, 3].map(() => openedClaim(world, key, channel, 1));
  world.ok(node.operator, [{ kind: 'abandon-key', keyId: key.keyId }]);
  const { bond } = nodeOf(world, node.nodeId);
  while (claims.some((claim) => claimRow(world, claim) !== undefined)) world.block();
  assert.equal(keyOf(world, key.keyId).stop, 'abandoned');
  const once = bond - bond / 100n;
  assert.equal(nodeOf(world, node.nodeId).bond, once - once / 100n, 'twice, not three times');
});

test('ZKC-18: a frozen key is proved and paid on, and punished no more', () => {
  const params = { gasTarget: 5_000_000, proveWindow: 4, withdrawDelay: 40, keyDrain: 40 };
  const { world, node, key, channel } = zkMarket({ params });
  changeNode(world, node, { expiries: { window: 0, count: 7 } });
  const lost = openedClaim(world, key, channel, 1);
  world.skip(2);
  const kept = openedClaim(world, key, channel, 1);
  const late = openedClaim(world, key, channel, 1);
  while (claimRow(world, lost) !== undefined) world.block();
  assert.equal(keyOf(world, key.keyId).stop, 'frozen');
  const { bond } = nodeOf(world, node.nodeId);
  const redeeming = {
    charges: [laneLine(key, channel, 2, 2)],
    vouchers: [voucherFor(world, key, channel, 2)],
  };
  assert.deepEqual(lineCodes(prove(world, key, proveOp(world, key, kept, {}, redeeming))), ['OK']);
  world.skip(4);
  assert.equal(claimRow(world, late), undefined);
  assert.deepEqual(ranges(world, key).unpaid, ['1..1', '3..3']);
  assert.equal(nodeOf(world, node.nodeId).bond, bond);
});

test('ZKC-18: more than sixteen unpaid ranges freeze a key, void ones too', () => {
  const market = zkMarket({ params: { gasTarget: 5_000_000 } });
  const { world, key, channel } = market;
  serveMany(world, key, channel, 34);
  const claims: ZkClaim[] = [];
  const txs = Array.from({ length: 34 }, () => {
    const batch = batchOf(key, 1);
    settled(key, batch);
    claims.push(batch.claim);
    return world.tx(key.node.operator, [{ ...settleOp(batch.statement.bytes), receipts: [] }]);
  });
  world.block(txs);
  const proofs = claims
    .filter((_, i) => i % 2 === 1)
    .map((claim) => world.tx(key.node.operator, [proveOp(world, key, claim)]));
  assert.ok(world.block(proofs).results.every(({ codeName }) => codeName === 'OK'));
  disable(world, true);
  world.skip(TZ);
  assert.equal(ranges(world, key).unpaid.length, 17);
  assert.equal(keyOf(world, key.keyId).stop, 'frozen');
});

test('ZKC-19: a slash takes the bond, then what unbonds, the newest first, and never more than there is', () => {
  const { world, node, key, channel } = zkMarket();
  const { operator, nodeId } = node;
  const unbond = (amount: bigint): void => {
    world.ok(operator, [{ kind: 'unbond-node', nodeId, amount: nopg(amount * OPG) }]);
  };
  unbond(1_000n);
  unbond(1_500n);
  assert.equal(nodeOf(world, nodeId).bond, 3_500n * OPG);
  openedClaim(world, key, channel, 1);
  world.skip(TZ);
  assert.equal(nodeOf(world, nodeId).bond, 3_440n * OPG, 'a hundredth of bond and entries together');
  changeNode(world, node, { expiries: { window: 0, count: 0 } });
  // What is left of the bond does not cover it.
  const left = 3_440n * OPG - 1n;
  serveMany(world, key, channel, 1);
  const { claim } = settleZk(world, key, 1);
  unbond(left / OPG);
  const { bond, unbonding, unbondingDue } = nodeOf(world, nodeId);
  const entry = (due: number): bigint =>
    world.read(unbondingRecordCodec, recordKey.unbonding(nodeId, due))?.amount ?? -1n;
  const newest = unbondingDue.at(-1) as number;
  const amounts = unbondingDue.map(entry);
  assert.equal(claimRow(world, claim) !== undefined, true);
  world.skip(TZ - 1);
  const slash = (bond + unbonding) / 100n;
  assert.equal(nodeOf(world, nodeId).bond, 0n);
  assert.equal(entry(newest), (amounts.at(-1) as bigint) - (slash - bond));
  assert.deepEqual(unbondingDue.slice(0, -1).map(entry), amounts.slice(0, -1));
  assert.equal(nodeOf(world, nodeId).unbonding, unbonding - (slash - bond));
  world.skip(60);
  assert.equal(nodeOf(world, nodeId).unbonding, 0n, 'and the rest unbonds');
});

test('ZKC-19: the least that a fault costs is taken where a share is less, and all where there is less than that', () => {
  const { world, node, key, channel } = zkMarket({
    params: { proveWindow: 4, withdrawDelay: 60, keyDrain: 40 },
  });
  const { operator, nodeId } = node;
  const claim = openedClaim(world, key, channel, 1);
  world.ok(operator, [{ kind: 'unbond-node', nodeId, amount: nopg(6_000n * OPG - 3n * OPG) }]);
  // Nothing else of it is left than what is slashed next.
  const due = nodeOf(world, nodeId).unbondingDue[0] as number;
  const rowKey = recordKey.unbonding(nodeId, due);
  const row = world.read(unbondingRecordCodec, rowKey);
  assert.ok(row !== undefined);
  const rest = row.amount;
  world.state.set(toHex(rowKey), [rowKey, encode(unbondingRecordCodec, { ...row, amount: nopg(0n) })]);
  changeNode(world, node, { unbonding: nopg(0n) });
  const totals = totalsOf(world);
  const totalsKey = recordKey.totals();
  const moved = {
    ...totals,
    nodeUnbonding: nopg(totals.nodeUnbonding - rest),
    burnedSlash: nopg(totals.burnedSlash + rest),
  };
  world.state.set(toHex(totalsKey), [totalsKey, encode(totalsRecordCodec, moved)]);
  const bad = proveOp(world, key, claim, { proof: new Uint8Array(32) });
  assert.equal(prove(world, key, bad).codeName, 'E_PROOF');
  assert.equal(nodeOf(world, nodeId).bond, 2n * OPG, 'one OPG at least');
  world.skip(4);
  assert.equal(nodeOf(world, nodeId).bond, 0n, 'ten OPG at least, but there were two');
  assert.deepEqual(ranges(world, key).unpaid, ['1..1']);
});

test('ZKC-19 CHAIN-54: a slash that leaves less than half the minimum bond closes the keys of the node', () => {
  const { world, node, key, channel } = zkMarket();
  world.ok(node.operator, [{ kind: 'unbond-node', nodeId: node.nodeId, amount: nopg(3_490n * OPG) }]);
  openedClaim(world, key, channel, 1);
  assert.equal(keyOf(world, key.keyId).closingAt, undefined);
  world.skip(TZ);
  assert.ok(nodeOf(world, node.nodeId).bond < 2_500n * OPG);
  assert.equal(keyOf(world, key.keyId).closingAt, world.height());
  assert.equal(keyOf(world, key.keyId).stop, undefined);
});

test('ZKC-20: what a node closes or abandons can still be proved and paid until it is drained', () => {
  for (const kind of ['close-key', 'abandon-key'] as const) {
    const { world, node, key, channel } = zkMarket();
    const claim = openedClaim(world, key, channel, 1);
    world.ok(node.operator, [{ kind, keyId: key.keyId }]);
    const redeeming = {
      charges: [laneLine(key, channel, 1, 1)],
      vouchers: [voucherFor(world, key, channel, 1)],
    };
    const result = prove(world, key, proveOp(world, key, claim, {}, redeeming));
    assert.deepEqual(lineCodes(result), ['OK'], kind);
    serveMany(world, key, channel, 1);
    world.skip(4);
    assert.equal(settleZk(world, key, 1).result.codeName, 'E_KEY', kind);
    world.skip(120);
    assert.equal(keyOf(world, key.keyId), undefined, 'in the end nothing of it is left');
  }
});

test('ZKC-20: keys of other methods have no claims, and their records are as they were', () => {
  const { world, node } = zkMarket();
  const signed = openKey(world, node);
  settle(world, signed, 2, CREDIT);
  const { openClaims, verified, settled: total } = keyOf(world, signed.keyId);
  assert.deepEqual([openClaims, verified], [[], total]);
});

test('CHAIN-97: more than two thirds of the power disable a kind of proof, and enable it again', () => {
  const { world, payer } = zkMarket();
  const action = { kind: 'disable-proof-kind', proofKind: 'zk' } as const;
  const signer = actor('validator').signer;
  const decree = (serial: number, over: Partial<OpOf<'decree'>> = {}, by = signer): OpOf<'decree'> => {
    const signed = over.action ?? action;
    const signature = by.sign(decreeMessage({ chainId: CHAIN, serial, action: signed }));
    return { kind: 'decree', serial, action, signatures: [{ validator: PROPOSER, signature }], ...over };
  };
  const code = (op: Op): string => world.run(payer, [op]).codeName;
  const enable = { kind: 'enable-proof-kind', proofKind: 'zk' } as const;
  assert.equal(code(decree(2)), 'E_DECREE');
  assert.equal(code(decree(0)), 'E_DECREE');
  assert.equal(code(decree(1, { action: enable })), 'E_DECREE', 'nothing is disabled');
  assert.equal(code(decree(1, {}, actor('somebody').signer)), 'E_SIG');
  assert.equal(code({ ...decree(1), action: enable }), 'E_DECREE');
  const [good] = decree(1).signatures;
  assert.ok(good !== undefined);
  const stranger = { ...good, validator: new Uint8Array(20) };
  assert.equal(code(decree(1, { signatures: [stranger] })), 'E_VALIDATOR');
  assert.equal(code(decree(1, { signatures: [good, good] })), 'E_DECREE', 'one signature twice');
  assert.equal(code(decree(1)), 'OK');
  assert.equal(code(decree(1)), 'E_DECREE', 'once');
  assert.equal(code(decree(2)), 'E_DECREE', 'it is disabled already');
  assert.equal(code(decree(2, { action: enable })), 'OK');
  const mixed = transactionClass(decodeTransaction(world.tx(payer, [decree(3), decree(4)])));
  assert.equal(mixed, 'E');
});

test('CHAIN-97: power is counted as consensus was told it, and two thirds are not enough', () => {
  const { world } = zkMarket();
  const rest = ['second', 'third'].map((name) => {
    const operator = funded(world, name, 3_000_000n * OPG, 0n);
    const consensus = consensusSigner(name);
    world.ok(operator, [registerOp(operator, consensus, 1_000_000n * OPG)]);
    return consensus;
  });
  const action = { kind: 'disable-proof-kind', proofKind: 'zk' } as const;
  const message = decreeMessage({ chainId: CHAIN, serial: 1, action });
  const signers = [actor('validator').signer, ...rest].map((signer) => ({
    validator: consensusAddress(signer.publicKey),
    signature: signer.sign(message),
  }));
  const decree = (of: typeof signers): Op => {
    const signatures = [...of].sort((a, b) => compareBytes(a.validator, b.validator));
    return { kind: 'decree', serial: 1, action, signatures };
  };
  const code = (op: Op): string => world.run(FAUCET, [op]).codeName;
  assert.equal(code(decree(signers.slice(0, 2))), 'E_DECREE', 'exactly two thirds');
  const backwards = decree(signers) as OpOf<'decree'>;
  assert.equal(code({ ...backwards, signatures: [...backwards.signatures].reverse() }), 'E_DECREE');
  assert.equal(code(decree(signers)), 'OK');
});

test('ZKC-9 E_CLAIM: in class G too a claim is not proved in the block that opened it', () => {
  const { world, node, key, channel } = zkMarket();
  serveMany(world, key, channel, 1);
  const { statement, claim } = batchOf(key, 1);
  const settling: Op = { kind: 'settle', statement: statement.bytes, vouchers: [], receipts: [] };
  const transfer: Op = { kind: 'transfer-opg', to: FAUCET.id, amount: nopg(OPG) };
  const result = world.run(node.operator, [
    settling,
    { ...proveLike(world, key, claim), verificationGas: 9_000 },
    transfer,
  ]);
  assert.equal(result.codeName, 'E_CLAIM', result.info);
});
