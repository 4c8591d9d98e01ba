/**
 * Random histories with faults: payers, nodes, keys and channels whose transactions are sometimes wrong, late, repeated or
 * corrupt. The redemption oracle knows nothing of the code under test.
 */
import assert from 'node:assert/strict';
import { ed25519SignerFromSeed } from '@haca/platform';
import { sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  type ChargeLine,
  channelIdOf,
  credit,
  type DecreeAction,
  decreeMessage,
  governanceRecordCodec,
  measurementIdOf,
  nopg,
  type Op,
  type OpOf,
  recordKey,
  validatorPossessionMessage,
} from '@haca/protocol';
import { consensusAddress, type TxResult } from '../src/state-machine/index.ts';
import {
  chip,
  collateral,
  decreeOp,
  EVIDENCE_PARAMS,
  GPU_MEASUREMENT,
  ISSUER,
  MADE_UP_VERIFIER,
  measurement,
  openWithDocuments,
  TD_MEASUREMENT,
} from './evidence-world.ts';
import {
  type Actor,
  actor,
  allocationOf,
  CHAIN,
  CREDIT,
  channelOf,
  createWorld,
  FAUCET,
  funded,
  keyOf,
  line,
  MODEL,
  OPG,
  openKeyOp,
  PROPOSER,
  registerModel,
  registerNode,
  releaseOp,
  sessionSigner,
  settleOp,
  statementOf,
  TEST_MEASUREMENT,
  type TestChannel,
  type TestKey,
  type TestNode,
  testGenesis,
  USDC,
  voucher,
  type World,
  type WorldOptions,
} from './state-machine-world.ts';
import {
  type Batch,
  batchOf,
  claimRow,
  type Exchange,
  laneLine,
  openZkKeyOp,
  proveOp,
  receiptProofOf,
  registerZkOp,
  serve,
  settled,
  voucherFor,
  type ZkClaim,
  type ZkKey,
  zkModel,
} from './zk-world.ts';

/** A deterministic stream of numbers (mulberry32), so that a seed is a history. */
export function dice(seed: number): {
  below: (n: number) => number;
  chance: (p: number) => boolean;
  pick: <T>(of: readonly T[]) => T;
} {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    below,
    chance: (p) => next() < p,
    pick: (of) => {
      const chosen = of[below(of.length)];
      assert.ok(chosen !== undefined);
      return chosen;
    },
  };
}

export interface Sent {
  readonly tx: Uint8Array;
  readonly batch?: { readonly key: ZkKey; readonly batch: Batch };
  readonly settled?: { readonly key: TestKey; readonly after: Pick<TestKey, 'seq' | 'head' | 'running'> };
  readonly opened?: { readonly key?: TestKey; readonly zkKey?: ZkKey; readonly channel?: TestChannel };
}

export interface History {
  readonly world: World;
  readonly random: ReturnType<typeof dice>;
  readonly payers: readonly Actor[];
  readonly nodes: readonly TestNode[];
  readonly keys: TestKey[];
  readonly channels: TestChannel[];
  readonly zkKeys: ZkKey[];
  readonly zkClaims: { readonly key: ZkKey; readonly claim: ZkClaim }[];
  readonly landed: Uint8Array[];
  readonly oracle: RedemptionOracle;
  readonly options: HistoryOptions;
}

export interface HistoryOptions {
  readonly world?: WorldOptions;
  /** The document behind a `tee` key; the binding hash itself if not said. */
  readonly evidenceOf?: (bindingHash: Uint8Array) => Uint8Array;
  /** Validators come, bond, unbond and leave as well. */
  readonly withStaking?: boolean;
  /** Batches that have to be proved, and proofs, good and bad. */
  readonly withProofs?: boolean;
  /** Made-up evidence with chips and GPUs, collateral that is posted, and decrees about all of it. */
  readonly withEvidence?: boolean;
}

/** What was promised and what was paid, per lane, out of vouchers and events alone. */
interface RedemptionOracle {
  readonly promised: Map<string, bigint>;
  readonly paid: Map<string, { to: bigint; atSeq: bigint; total: bigint }>;
  readonly channelIn: Map<string, bigint>;
  readonly channelOut: Map<string, bigint>;
}

export const HISTORY_PARAMS = { gasTarget: 5_000_000, keyTtl: 60, bondPerLaneRow: 500n * OPG };

const ZK_MODEL = zkModel();

export function startHistory(seed: number, options: HistoryOptions = {}): History {
  const world = createWorld({ params: HISTORY_PARAMS, ...options.world });
  registerModel(world);
  if (options.withProofs === true) world.ok(FAUCET, [registerZkOp(ZK_MODEL)]);
  const payers = ['p0', 'p1', 'p2'].map((name) => funded(world, name, 5_000n * OPG, 500n * CREDIT));
  const nodes = ['n0', 'n1'].map((name) =>
    registerNode(world, funded(world, name, 50_000n * OPG, 10n * CREDIT), 9_000n * OPG),
  );
  return {
    world,
    random: dice(seed),
    payers,
    nodes,
    keys: [],
    channels: [],
    zkKeys: [],
    zkClaims: [],
    landed: [],
    options,
    oracle: { promised: new Map(), paid: new Map(), channelIn: new Map(), channelOut: new Map() },
  };
}

export function randomTx(history: History): Sent {
  const { random, landed } = history;
  const roll = random.below(100);
  if (roll < 4 && landed.length > 0) return { tx: random.pick(landed) };
  if (history.options.withEvidence === true && random.chance(0.4)) return attestSomething(history);
  const isAboutProofs = history.options.withProofs === true && random.chance(0.45);
  const sent = isAboutProofs
    ? proveSomething(history)
    : roll < 12
      ? openSomething(history)
      : roll < 45
        ? settleSomething(history)
        : roll < 60 && history.options.withStaking === true
          ? stakeSomething(history)
          : moveSomething(history);
  if (!random.chance(0.03)) return sent;
  const corrupt = sent.tx.slice();
  const bit = random.below(corrupt.length * 8);
  corrupt[bit >> 3] = (corrupt[bit >> 3] as number) ^ (1 << (bit & 7));
  return { tx: corrupt };
}

function openSomething({ world, random, payers, nodes, options }: History): Sent {
  if (random.chance(0.5)) {
    const node = random.pick(nodes);
    const { op, key } = openKeyOp(world, node, { method: random.chance(0.5) ? 'tee' : 'signed' });
    const { evidence } = op;
    const document =
      evidence === null ? null : (options.evidenceOf?.(evidence.document) ?? evidence.document);
    const shown = document === null ? null : { kind: 'nitro' as const, document };
    return { tx: world.tx(node.operator, [{ ...op, evidence: shown }]), opened: { key } };
  }
  const payer = random.pick(payers);
  const channelId = channelIdOf(CHAIN, payer.id, USDC, world.nonceOf(payer));
  const session = sessionSigner(payer, 0);
  const ops: Op[] = [
    { kind: 'open-channel', asset: USDC, amount: credit(BigInt(random.below(20)) * CREDIT) },
    {
      kind: 'register-session',
      channelId,
      session: 0,
      publicKey: session.publicKey,
      expiryHeight: world.height() + 1 + random.below(120),
    },
    ...nodes.map(
      ({ nodeId }): Op => ({
        kind: 'allocate',
        channelId,
        nodeId,
        amount: credit(BigInt(random.below(9)) * (CREDIT / 2n)),
      }),
    ),
  ];
  return { tx: world.tx(payer, ops), opened: { channel: { payer, channelId, sessions: [session] } } };
}

/** A statement as a node would send it, or as a lying one might: ranges, marks, vouchers and totals all may be off. */
function settleSomething(history: History): Sent {
  const { world, random, keys, channels, oracle } = history;
  if (keys.length === 0 || channels.length === 0) return openSomething(history);
  const key = random.chance(0.85) ? random.pick(keys.slice(-4)) : random.pick(keys);
  const count = random.below(4);
  const earned = BigInt(random.below(3)) * (CREDIT / 2n);
  const charges: ChargeLine[] = [];
  const vouchers: Uint8Array[] = [];
  for (let i = random.below(4); i > 0; i--) {
    const channel = random.pick(random.chance(0.85) ? channels.slice(-4) : channels);
    const lane = random.below(3);
    const id = laneId(key, channel, lane);
    const known = oracle.paid.get(id);
    const from = (known?.to ?? 0n) + (random.chance(0.1) ? BigInt(random.below(3)) - 1n : 0n);
    const to = from + BigInt(random.below(5)) * (CREDIT / 8n);
    const fromSeq = Number(known?.atSeq ?? 0n) + (random.chance(0.1) ? 0 : 1);
    const atSeq = random.chance(0.1) ? key.seq + count + 1 : Math.max(fromSeq, key.seq + count);
    charges.push(line(channel, lane, [fromSeq, atSeq], [from < 0n ? 0n : from, to < 0n ? 0n : to]));
    const cumulative = to + (random.chance(0.1) ? -1n : BigInt(random.below(2)) * CREDIT);
    const promise = cumulative < 0n ? 0n : cumulative;
    const isForged = random.chance(0.05);
    const options = {
      expiry: world.height() + 2 + random.below(30) - random.below(3),
      ...(isForged ? { signer: sessionSigner(channel.payer, 9) } : {}),
    };
    vouchers.push(voucher(world, channel, key, lane, promise, options));
    if (!isForged && promise > (oracle.promised.get(id) ?? 0n)) oracle.promised.set(id, promise);
  }
  const forged = random.chance(0.05) ? { ...key, seq: key.seq + 1 } : key;
  const { bytes, after } = statementOf(forged, count, earned, charges);
  const op = settleOp(bytes, random.chance(0.03) ? vouchers.slice(1) : vouchers);
  const by = random.chance(0.05) ? random.pick(history.payers) : key.node.operator;
  return { tx: world.tx(by, [op]), settled: { key, after } };
}

/** A zk key opened, a batch of it settled, or a claim proved: mostly as a node would, sometimes not at all. */
function proveSomething(history: History): Sent {
  const { world, random, nodes, zkKeys, zkClaims, channels } = history;
  if (random.chance(0.04)) return decreeSomething(history);
  const roll = random.below(10);
  if (zkKeys.length === 0 || channels.length === 0 || roll === 0) {
    const node = random.pick(nodes);
    const { op, key } = openZkKeyOp(world, node, ZK_MODEL);
    return { tx: world.tx(node.operator, [op]), opened: { zkKey: key } };
  }
  if (zkClaims.length === 0 || roll < 4) return settleZkSomething(history);
  const open = zkClaims.filter(({ claim: each }) => claimRow(world, each) !== undefined);
  const { key, claim } = random.pick(open.length > 0 && random.chance(0.9) ? open : zkClaims.slice(-3));
  const good = proveOp(
    world,
    key,
    claim,
    {},
    random.chance(0.6) ? redeemingOf(history, key, claim) : undefined,
  );
  const other = random.pick(zkClaims);
  const bad: readonly Partial<OpOf<'prove'>>[] = [
    { proof: new Uint8Array(32) },
    { proof: proveOp(world, other.key, other.claim).proof },
    { salts: [...good.salts].reverse() },
    { receipts: [...good.receipts].reverse() },
    { inputs: good.outputs, outputs: good.inputs },
    { verificationGas: good.verificationGas - 1 },
    { claimId: sha256(good.claimId) },
  ];
  const op = random.chance(0.25) ? { ...good, ...random.pick(bad) } : good;
  const by = random.chance(0.04) ? random.pick(history.payers) : key.node.operator;
  const ops: Op[] = [op];
  if (random.chance(0.1)) ops.unshift({ kind: 'bond-node', nodeId: key.node.nodeId, amount: nopg(OPG) });
  return { tx: world.tx(by, ops) };
}

/** A world in which made-up evidence is judged; its graces and delays are a few blocks. */
export const EVIDENCE_HISTORY: HistoryOptions = {
  withEvidence: true,
  world: {
    genesis: {
      ...testGenesis({ ...EVIDENCE_PARAMS, ...HISTORY_PARAMS }),
      measurements: [TEST_MEASUREMENT, TD_MEASUREMENT, GPU_MEASUREMENT],
    },
    evidence: MADE_UP_VERIFIER,
  },
};

/** A key opened with documents that are mostly good, a piece of collateral that is mostly newer, or a decree about them. */
function attestSomething({ world, random, nodes, payers }: History): Sent {
  const roll = random.below(10);
  if (roll < 4) {
    const node = random.pick(nodes);
    const hardware = random.chance(0.6) ? [`cpu ${random.below(3)}`] : [];
    const gpus = Array.from({ length: random.below(3) }, () => ({
      hardware: [`gpu ${random.below(3)}`],
      serial: random.below(4),
    }));
    const doc = {
      hardware,
      level: random.below(8),
      serial: random.below(4),
      root: random.chance(0.2) ? 'test root' : 'vendor root',
      measurement: random.chance(0.2) ? `m${random.below(4)}` : 'td',
      endMs: world.timeMs() + random.below(90_000),
      cloud: random.chance(0.1) ? 'aws' : null,
    };
    const { op, key } = openWithDocuments(world, node, { doc, gpus });
    return { tx: world.tx(node.operator, [op]), opened: { key } };
  }
  const by = random.pick(payers);
  if (roll < 7) {
    const items = Array.from({ length: 1 + random.below(2) }, () =>
      collateral({
        root: random.pick(['vendor root', 'vendor root', 'test root', 'nobody']),
        number: 1 + Math.floor(world.height() / 20) + random.below(2),
        issuedMs: world.timeMs() - random.below(3_000),
        nextUpdateMs: world.timeMs() + random.below(60_000),
        goodFrom: random.below(7),
        revokedBelow: random.below(3),
      }),
    );
    return { tx: world.tx(by, [{ kind: 'post-collateral', items }]) };
  }
  return { tx: world.tx(by, [decreeOp(world, decreeAbout(world, random))]) };
}

function decreeAbout(world: World, random: History['random']): DecreeAction {
  const hardware = chip(
    random.pick(['intel', 'nvidia']),
    `${random.pick(['cpu', 'gpu'])} ${random.below(3)}`,
  );
  const approved = random.pick([TD_MEASUREMENT, ...[0, 1, 2, 3].map((i) => measurement('tdx', `m${i}`))]);
  const measurementId = measurementIdOf(approved);
  const floor = { bootloader: random.below(9), tee: 0, snp: 8, microcode: 1, fmc: null };
  const release = { sourceCommit: 'ab', recipe: 'make', rebuilds: [] };
  const actions: readonly DecreeAction[] = [
    { kind: 'propose-measurement', measurement: approved, release, isEmergency: random.chance(0.5) },
    { kind: 'propose-measurement', measurement: approved, release, isEmergency: false },
    { kind: 'deprecate-measurement', measurementId, height: world.height() + random.below(40) },
    { kind: 'set-tcb-floor', product: 'genoa', floor: random.chance(0.3) ? null : floor },
    {
      kind: 'set-tcb-statuses',
      evidenceKind: 'tdx',
      statuses: random.chance(0.3) ? ['UpToDate', 'OutOfDate'] : ['UpToDate'],
    },
    { kind: 'register-hardware', hardware, provider: random.pick(['here', 'there']) },
    { kind: 'unregister-hardware', hardware },
  ];
  const rare: readonly DecreeAction[] = [
    { kind: 'revoke-hardware', hardware },
    { kind: 'revoke-measurement', measurementId: measurementIdOf(measurement('tdx', `m${random.below(4)}`)) },
    { kind: 'revoke-certificate', certificate: { issuer: ISSUER, serial: Uint8Array.of(random.below(4)) } },
  ];
  return random.pick(random.chance(0.1) ? rare : actions);
}

/** Disables proofs, or enables them again: by the first validator, whose power is mostly enough. */
function decreeSomething({ world, random, payers }: History): Sent {
  const known = world.read(governanceRecordCodec, recordKey.governance());
  const isDisabled = (known?.disabledKinds.length ?? 0) > 0;
  const kind = isDisabled ? 'enable-proof-kind' : 'disable-proof-kind';
  const action = { kind, proofKind: 'zk' } as const;
  const serial = (known?.serial ?? 0) + (random.chance(0.1) ? 0 : 1);
  const signature = actor('validator').signer.sign(decreeMessage({ chainId: CHAIN, serial, action }));
  const op: Op = { kind: 'decree', serial, action, signatures: [{ validator: PROPOSER, signature }] };
  return { tx: world.tx(random.pick(payers), [op]) };
}

function settleZkSomething(history: History): Sent {
  const { world, random, zkKeys, channels } = history;
  const key = random.pick(zkKeys.slice(-3));
  const unsettled = (): number => key.exchanges.length - key.seq;
  for (let i = random.below(3) + (unsettled() === 0 ? 1 : 0); i > 0; i--) {
    const amount = (BigInt(random.below(4)) * CREDIT) / 16n;
    serve(world, key, { channel: random.pick(channels.slice(-3)), lane: random.below(2), amount });
  }
  const count = Math.min(unsettled(), 1 + random.below(4));
  const lines = random.chance(0.3) && key.seq > 0 ? redeemingOf(history, key, null) : undefined;
  const { charges, vouchers, receipts } = lines ?? { charges: [], vouchers: [], receipts: [] };
  const batch = batchOf(key, count, charges);
  const op: Op = { kind: 'settle', statement: batch.statement.bytes, vouchers, receipts };
  return { tx: world.tx(key.node.operator, [op]), batch: { key, batch } };
}

/** Lines over receipts of the claim, or of anything that was settled: with receipts as they should be, or as they should not. */
function redeemingOf({ world, random, oracle, channels }: History, key: ZkKey, claim: ZkClaim | null) {
  const from = claim === null ? 1 : claim.firstSeq;
  const to = claim === null ? key.seq : claim.firstSeq + claim.count - 1;
  const at = from + random.below(to - from + 1);
  const last = random.chance(0.1) ? to : at + random.below(to - at + 1);
  const { channelId, lane } = (key.exchanges[last - 1] as Exchange).receipt.value;
  const channel = channels.find((each) => toHex(each.channelId) === toHex(channelId));
  assert.ok(channel !== undefined);
  const id = laneId(key, channel, lane);
  const promised = (key.exchanges[last - 1] as Exchange).receipt.value.cumulative;
  if (promised > (oracle.promised.get(id) ?? 0n)) oracle.promised.set(id, promised);
  const charge = { ...laneLine(key, channel, at, last), lane };
  const isShown = claim === null && random.chance(0.9);
  return {
    charges: [charge],
    vouchers: [voucherFor(world, key, channel, last)],
    receipts: [isShown ? [receiptProofOf(key, at), receiptProofOf(key, last)] : []],
  };
}

function moveSomething(history: History): Sent {
  const { world, random, payers, nodes, keys, channels } = history;
  const payer = random.pick(payers);
  const node = random.pick(nodes);
  const nodeId = node.nodeId;
  const amount = BigInt(random.below(4)) * (CREDIT / 2n) + BigInt(random.below(2));
  const opg = BigInt(random.below(4)) * 700n * OPG;
  const channel = channels.length > 0 ? random.pick(channels) : undefined;
  const channelId = channel?.channelId ?? new Uint8Array(32);
  const keyId = keys.length > 0 ? random.pick(keys).keyId : new Uint8Array(32);
  const version = allocationOf(world, channelId, nodeId)?.version ?? 0;
  const byPayer: readonly Op[] = [
    { kind: 'transfer-credit', to: random.pick(payers).id, asset: USDC, amount: credit(amount) },
    { kind: 'transfer-opg', to: random.pick(payers).id, amount: nopg(opg / 100n) },
    { kind: 'retire', asset: USDC, amount: credit(amount) },
    { kind: 'deposit', channelId, amount: credit(amount) },
    { kind: 'allocate', channelId, nodeId, amount: credit(amount) },
    { kind: 'allocate', channelId, nodeId, amount: credit(2n * CREDIT) },
    releaseOp(channelId, node, amount, version - random.below(2) * Math.min(version, 1), world.height() + 5),
    { kind: 'request-withdraw', channelId, nodeId, amount: credit(amount) },
    { kind: 'finalize-withdraw', channelId, nodeId },
    { kind: 'withdraw-free', channelId, amount: credit(amount) },
    { kind: 'withdraw-free', channelId, amount: credit(channelOf(world, channelId)?.free ?? 0n) },
    { kind: 'close-channel', channelId },
    { kind: 'revoke-session', channelId, session: 0 },
    {
      kind: 'register-session',
      channelId,
      session: random.below(2),
      publicKey: sessionSigner(payer, 0).publicKey,
      expiryHeight: world.height() + random.below(100),
    },
  ];
  const byOperator: readonly Op[] = [
    { kind: 'bond-node', nodeId, amount: nopg(opg) },
    { kind: 'unbond-node', nodeId, amount: nopg(opg) },
    { kind: 'close-key', keyId },
    { kind: 'abandon-key', keyId },
    { kind: 'update-node', nodeId, name: 'again', endpoint: 'http://again', payout: random.pick(payers).id },
    { kind: 'register-model', manifest: { ...MODEL, name: `model ${random.below(1000)}` } },
  ];
  const byFaucet: readonly Op[] = [
    { kind: 'issue', to: payer.id, asset: USDC, amount: credit(amount) },
    { kind: 'issue', to: payer.id, asset: USDC, amount: credit((1n << 63n) - 1n) },
  ];
  const roll = random.below(10);
  const ops = [roll < 7 ? byPayer : roll < 9 ? byOperator : byFaucet].map((of) => random.pick(of));
  if (random.chance(0.2)) ops.push(random.pick(roll < 7 ? byPayer : byOperator));
  const by = roll < 7 ? (channel?.payer ?? payer) : roll < 9 ? node.operator : FAUCET;
  return {
    tx: world.tx(by, ops, {
      tipCap: BigInt(random.below(2_000)),
      ...(random.chance(0.1) ? { feePayer: random.pick(payers) } : {}),
      ...(random.chance(0.05) ? { validUntil: world.height() - random.below(2) } : {}),
      ...(random.chance(0.05) ? { maxFee: 1_000n } : {}),
    }),
  };
}

/** Validators named after the actors that run them: they register again and again, leave, and claim what is not theirs. */
function stakeSomething({ world, random, payers, nodes }: History): Sent {
  const by = random.pick([...payers, ...nodes.map(({ operator }) => operator)]);
  const signer = ed25519SignerFromSeed(sha256(utf8Encode(`consensus key ${by.name} ${random.below(2)}`)));
  const consensusKey = signer.publicKey;
  const validator = consensusAddress(consensusKey);
  const amount = nopg(BigInt(random.below(4)) * 50_000n * OPG);
  const message = validatorPossessionMessage({ chainId: CHAIN, operator: by.id, consensusKey });
  const bond = nopg(BigInt(1 + random.below(3)) * 100_000n * OPG);
  const ops: readonly Op[] = [
    { kind: 'register-validator', consensusKey, bond, possession: signer.sign(message) },
    { kind: 'bond-validator', validator, amount },
    { kind: 'unbond-validator', validator, amount },
    { kind: 'claim-rewards', validator },
    { kind: 'transfer-opg', to: by.id, amount: nopg(2_000_000n * OPG) },
  ];
  const op = random.pick(ops);
  return { tx: world.tx(op.kind === 'transfer-opg' ? FAUCET : by, [op]) };
}

function laneId(key: TestKey, channel: TestChannel, lane: number): string {
  return `${toHex(key.keyId)}/${toHex(channel.channelId)}/${lane}`;
}

/** Feeds the results back: what was opened and settled is known from now on, what was paid goes through the oracle. */
export function learn(history: History, sent: readonly Sent[], results: readonly TxResult[]): void {
  results.forEach((result, i) => {
    const { settled: moved, opened, batch, tx } = sent[i] as Sent;
    if (result.gasUsed > 0) history.landed.push(tx);
    if (result.code !== 0) return;
    if (moved !== undefined) {
      const { seq, head, running } = moved.after;
      if (keyOf(history.world, moved.key.keyId)?.settledSeq === seq)
        Object.assign(moved.key, { seq, head, running });
    }
    if (batch !== undefined) {
      settled(batch.key, batch.batch);
      history.zkClaims.push({ key: batch.key, claim: batch.batch.claim });
    }
    if (opened?.zkKey !== undefined) history.zkKeys.push(opened.zkKey);
    if (opened?.key !== undefined) history.keys.push(opened.key);
    if (opened?.channel !== undefined) history.channels.push(opened.channel);
    for (const event of result.events) watch(history, event.type, Object.fromEntries(event.attributes));
  });
  for (const channel of history.channels) assertChannel(history, channel);
}

/** CHAIN-76: intervals on a lane are disjoint and in order, and their sum never passes what its payer promised. */
function watch({ oracle, zkKeys }: History, type: string, shown: Readonly<Record<string, string>>): void {
  const channel = shown['channelId'] ?? '';
  const amount = BigInt(shown['amount'] ?? '0');
  const add = (to: Map<string, bigint>): unknown => to.set(channel, (to.get(channel) ?? 0n) + amount);
  if (type === 'channel' && (shown['action'] === 'open' || shown['action'] === 'deposit'))
    add(oracle.channelIn);
  if (type === 'channel' && shown['action'] === 'withdraw-free') add(oracle.channelOut);
  if (type !== 'pay') return;
  add(oracle.channelOut);
  const id = `${shown['keyId']}/${channel}/${shown['lane']}`;
  const before = oracle.paid.get(id) ?? { to: 0n, atSeq: 0n, total: 0n };
  const from = BigInt(shown['from'] ?? '');
  const maySkip = zkKeys.some(({ keyId }) => toHex(keyId) === shown['keyId']);
  assert.ok(maySkip ? from >= before.to : from === before.to);
  assert.ok(BigInt(shown['atSeq'] ?? '') > before.atSeq);
  const total = before.total + amount;
  assert.ok(total <= (oracle.promised.get(id) ?? 0n), 'no lane pays more than its highest voucher');
  oracle.paid.set(id, { to: BigInt(shown['to'] ?? ''), atSeq: BigInt(shown['atSeq'] ?? ''), total });
}

/** I8: what went in and did not come out is free or allocated. */
function assertChannel({ world, oracle, nodes }: History, { channelId }: TestChannel): void {
  const id = toHex(channelId);
  const inside = (oracle.channelIn.get(id) ?? 0n) - (oracle.channelOut.get(id) ?? 0n);
  const allocated = nodes.reduce((sum, { nodeId }) => {
    const allocation = allocationOf(world, channelId, nodeId);
    return sum + (allocation === undefined ? 0n : allocation.amount - allocation.paid);
  }, 0n);
  assert.equal((channelOf(world, channelId)?.free ?? 0n) + allocated, inside, `channel ${id}`);
}
