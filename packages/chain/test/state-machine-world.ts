/**
 * A chain in memory for tests: named actors with fixed keys, blocks that are checked against every invariant as they are
 * made, and a node whose receipts and charge lines can be made up at will.
 */
import assert from 'node:assert/strict';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import {
  bytesEqual,
  type Codec,
  decode,
  merkleLeafHash,
  merkleRoot,
  sha256,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import {
  type AccountKey,
  type AccountRecord,
  type AllocationRecord,
  type AppGenesis,
  accountIdOf,
  accountRecordCodec,
  allocationRecordCodec,
  type ChannelRecord,
  type ChargeLine,
  channelIdOf,
  channelRecordCodec,
  credit,
  DEFAULT_PARAMS,
  failed,
  governanceRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceRecordCodec,
  keyIdOf,
  type LaneRecord,
  laneRecordCodec,
  type Measurement,
  type ModelManifest,
  modelIdOf,
  type NodeKeyRecord,
  type NodeRecord,
  nodeIdOf,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  type OpOf,
  type ProtocolParams,
  passed,
  possessionMessage,
  type RegistrationBinding,
  type RunningTotals,
  recordKey,
  registrationBindingHash,
  releaseMessage,
  STATEMENT,
  type Statement,
  signTransaction,
  type TotalsRecord,
  totalsRecordCodec,
  VOUCHER,
  validatorPossessionMessage,
  verdictOf,
  ZERO_DIGEST,
} from '@haca/protocol';
import {
  type AppraiseEvidence,
  applyGenesis,
  type BlockInput,
  type BlockOutput,
  type Change,
  checkInvariants,
  consensusAddress,
  type EnumerableView,
  type EvidenceClaims,
  type EvidenceVerifier,
  type ExecutionContext,
  executeBlock,
  readChainConfig,
  refuseAllEvidence,
  type TxResult,
  transitionViolations,
  type ZkProofSystem,
} from '../src/state-machine/index.ts';
import { TEST_PROOF_SYSTEM } from './test-proof-system.ts';

export const CHAIN = 'haca-test-1';
export const USDC = 1;
export const OPG = 1_000_000_000n;
export const CREDIT = 1_000_000_000n;

/** Windows of a few blocks, so that a test sees the whole life of everything. They satisfy every inequality. */
export const SHORT_PARAMS: ProtocolParams = {
  ...DEFAULT_PARAMS,
  settleWindow: 3,
  proveWindow: 2,
  challengeWindow: 2,
  redeemWindow: 2,
  headLag: 1,
  requestDuration: 2,
  withdrawDelay: 16,
  keyTtl: 40,
  keyDrain: 22,
  evidenceWindow: 30,
  unbondingTime: 42,
  unbondingTimeMs: 42_000,
  sessionTtlMax: 200,
  validUntilAhead: 50,
  epochLength: 10,
};

export interface Actor {
  readonly name: string;
  readonly signer: Ed25519Signer;
  readonly key: AccountKey;
  readonly id: Uint8Array;
}

export function actor(name: string): Actor {
  const signer = ed25519SignerFromSeed(sha256(utf8Encode(`test actor ${name}`)));
  const key: AccountKey = { algorithm: 'ed25519', publicKey: signer.publicKey };
  return { name, signer, key, id: accountIdOf(key) };
}

const VALIDATOR = actor('validator');
export const VALIDATOR_KEY = VALIDATOR.signer.publicKey;
export const PROPOSER = consensusAddress(VALIDATOR_KEY);
export const FAUCET = actor('faucet');
export const VALIDATOR_OPERATOR = actor('validator operator');

export function testGenesis(params: ProtocolParams = SHORT_PARAMS, simulated = true): AppGenesis {
  const reserveNopg = 100_000_000n * OPG;
  const selfBond = 1_000_000n * OPG;
  return {
    simulated,
    params,
    reserveNopg,
    accounts: [{ accountId: FAUCET.id, nopg: OPG_SUPPLY_NOPG - reserveNopg - selfBond }],
    validators: [{ consensusKey: VALIDATOR_KEY, operator: VALIDATOR_OPERATOR.id, selfBond }],
    assets: [{ asset: USDC, symbol: 'CRED', issuer: FAUCET.id }],
    measurements: [TEST_MEASUREMENT],
    testRoots: [],
  };
}

/** Accepts a document that is exactly the binding hash; everything else fails the check named in its text, if any. */
export const appraiseTest: AppraiseEvidence = ({ document }, expected) => {
  const { bindingHash, nowMs, simulated, measurements } = expected;
  const measurement = measurements[0];
  if (bytesEqual(document, bindingHash) && measurement !== undefined) {
    return {
      verdict: verdictOf([passed('test.binding')]),
      claims: {
        ...testClaims(document, nowMs + 30_000, measurement),
        simulated: simulated || document[0] === 0,
      },
      tcbStatus: null,
    };
  }
  const id = document.length < 40 ? `test.${new TextDecoder().decode(document)}` : 'test.binding';
  const verdict = verdictOf([failed(id, id, 'the binding', 'another')]);
  return { verdict, claims: null, tcbStatus: null };
};

/** Claims of a document that says nothing but how long it is good. */
export function testClaims(document: Uint8Array, endMs: number, measurement: Measurement): EvidenceClaims {
  return {
    claimsDigest: sha256(document),
    endMs,
    collateralEndMs: null,
    simulated: true,
    measurement,
    facts: new Uint8Array(0),
    cloud: null,
    hardware: [],
  };
}

/** A verifier around one way to appraise: what was accepted stays good, and no collateral is. */
export function verifierOf(appraise: AppraiseEvidence): EvidenceVerifier {
  return {
    ...refuseAllEvidence,
    appraise,
    rescore: () => ({ fault: null, tcbStatus: null, collateralEndMs: null }),
  };
}

export const TEST_VERIFIER: EvidenceVerifier = verifierOf(appraiseTest);

/** Approved by the genesis of every test. */
export const TEST_MEASUREMENT: Measurement = {
  kind: 'nitro',
  name: 'test',
  registers: [{ register: 'pcr0', value: new Uint8Array(48).fill(7) }],
};

export interface World extends EnumerableView {
  readonly ctx: ExecutionContext;
  readonly state: Map<string, readonly [Uint8Array, Uint8Array]>;
  readonly height: () => number;
  readonly timeMs: () => number;
  /** Executes, checks and applies a block. Throws where any invariant breaks. */
  readonly block: (txs?: readonly Uint8Array[], over?: Partial<BlockInput>) => BlockOutput;
  readonly skip: (blocks: number) => void;
  /** A signed transaction with the actor's next nonce. */
  readonly tx: (by: Actor, ops: readonly Op[], over?: TxOptions) => Uint8Array;
  readonly nonceOf: (by: Actor) => number;
  /** One transaction in a block of its own. */
  readonly run: (by: Actor, ops: readonly Op[], over?: TxOptions) => TxResult;
  /** As `run`, and the code must be OK. */
  readonly ok: (by: Actor, ops: readonly Op[], over?: TxOptions) => TxResult;
  readonly read: <T>(codec: Codec<T>, key: Uint8Array) => T | undefined;
  readonly blockHash: (height: number) => Uint8Array;
  /** Of every block so far. */
  readonly outputs: BlockOutput[];
  readonly inputs: BlockInput[];
  readonly genesisChanges: readonly Change[];
}

export interface TxOptions {
  readonly nonce?: number;
  readonly validUntil?: number;
  readonly maxFee?: bigint;
  readonly tipCap?: bigint;
  readonly feePayer?: Actor;
  readonly chainId?: string;
}

export interface WorldOptions {
  readonly params?: Partial<ProtocolParams>;
  readonly genesis?: AppGenesis;
  readonly appraise?: AppraiseEvidence;
  /** Instead of one made of `appraise`. */
  readonly evidence?: EvidenceVerifier;
  readonly zk?: ZkProofSystem;
  readonly blockMs?: number;
  /** For tests of E_INTERNAL itself. */
  readonly allowInternal?: boolean;
  /** Recompute all invariants after every block. */
  readonly audit?: boolean;
}

export function blockHashOf(height: number): Uint8Array {
  return sha256(utf8Encode(`block ${height}`));
}

export function createWorld(options: WorldOptions = {}): World {
  const genesis = options.genesis ?? testGenesis({ ...SHORT_PARAMS, ...options.params });
  const state = new Map<string, readonly [Uint8Array, Uint8Array]>();
  const blockMs = options.blockMs ?? 1_000;
  let height = 0;
  let timeMs = 1_700_000_000_000;
  const nonces = new Map<string, number>();
  const outputs: BlockOutput[] = [];
  const inputs: BlockInput[] = [];
  const apply = (changes: readonly Change[]): void => {
    for (const [key, value] of changes) {
      if (value === null) state.delete(toHex(key));
      else state.set(toHex(key), [key, value]);
    }
  };
  const view: EnumerableView = {
    get: (key) => state.get(toHex(key))?.[1],
    entries: () => state.values(),
  };
  const genesisChanges = applyGenesis(genesis, CHAIN, timeMs).changes;
  apply(genesisChanges);
  const ctx: ExecutionContext = {
    crypto: nodeCrypto,
    config: readChainConfig(view),
    evidence: options.evidence ?? verifierOf(options.appraise ?? appraiseTest),
    zk: options.zk ?? TEST_PROOF_SYSTEM,
    collectPostings: true,
  };
  const read = <T>(codec: Codec<T>, key: Uint8Array): T | undefined => {
    const bytes = view.get(key);
    return bytes === undefined ? undefined : decode(codec, bytes, 'record');
  };
  const totals = (): TotalsRecord => read(totalsRecordCodec, recordKey.totals()) as TotalsRecord;

  const world: World = {
    ...view,
    ctx,
    state,
    outputs,
    inputs,
    genesisChanges,
    read,
    height: () => height,
    timeMs: () => timeMs,
    blockHash: blockHashOf,
    nonceOf: (by) => nonces.get(by.name) ?? 0,
    block: (txs = [], over = {}) => {
      const input: BlockInput = {
        height: height + 1,
        timeMs: timeMs + blockMs,
        hash: blockHashOf(height + 1),
        txs,
        proposer: PROPOSER,
        lastCommit: [{ address: PROPOSER, signed: true }],
        recentBlockHash: (asked) => {
          assert.ok(
            asked > totals().baseFeeHeight && asked <= height,
            `block ${asked}: the state has its hash`,
          );
          return asked >= 1 ? blockHashOf(asked) : undefined;
        },
        ...over,
      };
      const before = totals();
      const output = executeBlock(view, input, ctx);
      assertOutput(view, output, options.allowInternal ?? false);
      height = input.height;
      timeMs = input.timeMs;
      apply(output.changes);
      assert.deepEqual(transitionViolations(before, totals(), output), []);
      assert.equal(output.burnedNopg, burnedOf(totals()) - burnedOf(before));
      if (options.audit !== false) assert.deepEqual(checkInvariants(view, ctx.config, height), []);
      outputs.push(output);
      inputs.push(input);
      return output;
    },
    skip: (blocks) => {
      for (let i = 0; i < blocks; i++) world.block();
    },
    tx: (by, ops, over = {}) => {
      const nonce = over.nonce ?? nonces.get(by.name) ?? 0;
      nonces.set(by.name, Math.max(nonces.get(by.name) ?? 0, nonce + 1));
      return signTransaction(
        {
          version: 1,
          chainId: over.chainId ?? CHAIN,
          sender: by.key,
          nonce,
          validUntil: over.validUntil ?? height + 10,
          maxFee: nopg(over.maxFee ?? 10_000_000n),
          tipCap: nopg(over.tipCap ?? 0n),
          feePayer: over.feePayer?.key ?? null,
          ops,
        },
        by.signer.sign,
        over.feePayer?.signer.sign ?? null,
      ).bytes;
    },
    run: (by, ops, over) => world.block([world.tx(by, ops, over)]).results[0] as TxResult,
    ok: (by, ops, over) => {
      const result = world.run(by, ops, over);
      assert.equal(result.codeName, 'OK', result.info);
      return result;
    },
  };
  return world;
}

function burnedOf({ burnedFees, burnedSlash, burnedDeposit }: TotalsRecord): bigint {
  return burnedFees + burnedSlash + burnedDeposit;
}

/** What every block must satisfy, whatever is in it (CHAIN-6, CHAIN-30, CHAIN-31). */
function assertOutput(view: EnumerableView, output: BlockOutput, allowInternal: boolean): void {
  assert.deepEqual(output.violations, []);
  for (const [i, [key, value]] of output.changes.entries()) {
    const previous = output.changes[i - 1]?.[0];
    if (previous !== undefined) assert.ok(toHex(previous) < toHex(key), 'changes ascend by key');
    const before = view.get(key);
    const isReal = value === null ? before !== undefined : before === undefined || !bytesEqual(before, value);
    assert.ok(isReal, 'a change changes something');
  }
  for (const { step, postings } of output.postings ?? []) {
    const sums = new Map<string, bigint>();
    for (const { ledger, slot, amount } of postings) {
      assert.match(ledger, LEDGER_OF[step] ?? /^$/, `${step} posts in ${ledger}/${slot}`);
      sums.set(ledger, (sums.get(ledger) ?? 0n) + amount);
    }
    for (const [ledger, sum] of sums) {
      if (step === 'issue') assert.ok(sum > 0n);
      else if (step === 'retire') assert.ok(sum < 0n);
      else assert.equal(sum, 0n, `${step} on ${ledger}`);
    }
  }
  if (!allowInternal)
    assert.ok(
      output.results.every(({ codeName }) => codeName !== 'E_INTERNAL'),
      JSON.stringify(output.results),
    );
}

/** The ledger each kind of step may post in. A step that is not listed may post nothing. */
export const LEDGER_OF: Readonly<Record<string, RegExp>> = {
  fee: /^opg$/,
  epoch: /^opg$/,
  misbehavior: /^opg$/,
  'mature-unbonding': /^opg$/,
  'transfer-opg': /^opg$/,
  'register-node': /^opg$/,
  'bond-node': /^opg$/,
  'unbond-node': /^opg$/,
  'register-validator': /^opg$/,
  'bond-validator': /^opg$/,
  'unbond-validator': /^opg$/,
  'claim-rewards': /^opg$/,
  'mature-validator-unbonding': /^opg$/,
  'transfer-credit': /^credit\//,
  issue: /^credit\//,
  retire: /^credit\//,
  'open-channel': /^credit\//,
  deposit: /^credit\//,
  allocate: /^credit\//,
  release: /^credit\//,
  'finalize-withdraw': /^credit\//,
  'withdraw-free': /^credit\//,
  settle: /^credit\//,
  prove: /^credit\//,
  slash: /^opg$/,
  'expire-claim': /^opg$/,
};

export function accountOf(world: World, { id }: { readonly id: Uint8Array }): AccountRecord | undefined {
  return world.read(accountRecordCodec, recordKey.account(id));
}

export function creditBalance(world: World, who: { readonly id: Uint8Array }, asset = USDC): bigint {
  return accountOf(world, who)?.credits.find(([id]) => id === asset)?.[1] ?? 0n;
}

export function totalsOf(world: World): TotalsRecord {
  return world.read(totalsRecordCodec, recordKey.totals()) as TotalsRecord;
}

export function governanceSerial(world: World): number {
  return world.read(governanceRecordCodec, recordKey.governance())?.serial ?? 0;
}

export function channelOf(world: World, channelId: Uint8Array): ChannelRecord | undefined {
  return world.read(channelRecordCodec, recordKey.channel(channelId));
}

export function allocationOf(
  world: World,
  channelId: Uint8Array,
  nodeId: Uint8Array,
): AllocationRecord | undefined {
  return world.read(allocationRecordCodec, recordKey.allocation(channelId, nodeId));
}

export function laneOf(
  world: World,
  keyId: Uint8Array,
  channelId: Uint8Array,
  lane: number,
): LaneRecord | undefined {
  return world.read(laneRecordCodec, recordKey.lane(keyId, channelId, lane));
}

export function nodeOf(world: World, nodeId: Uint8Array): NodeRecord {
  return world.read(nodeRecordCodec, recordKey.node(nodeId)) as NodeRecord;
}

export function keyOf(world: World, keyId: Uint8Array): NodeKeyRecord {
  return world.read(nodeKeyRecordCodec, recordKey.nodeKey(keyId)) as NodeKeyRecord;
}

export function keyEvidenceOf(world: World, keyId: Uint8Array): KeyEvidenceRecord | undefined {
  return world.read(keyEvidenceRecordCodec, recordKey.keyEvidence(keyId));
}

/** The actor with OPG and fee asset in its account. */
export function funded(world: World, name: string, opg = 100_000n * OPG, credits = 1_000n * CREDIT): Actor {
  const who = actor(name);
  const ops: Op[] = [{ kind: 'transfer-opg', to: who.id, amount: nopg(opg) }];
  if (credits > 0n) ops.push({ kind: 'issue', to: who.id, asset: USDC, amount: credit(credits) });
  world.ok(FAUCET, ops);
  return who;
}

export const MODEL: ModelManifest = {
  version: 1,
  name: 'tiny',
  task: 'chat',
  weights: { kind: 'sha256', digest: sha256(utf8Encode('weights')) },
  tokenizerHash: null,
  methods: ['tee', 'signed'],
  contextTokens: 1024,
  license: 'Apache-2.0',
};
export const MODEL_ID = modelIdOf(MODEL);

export interface TestNode {
  readonly operator: Actor;
  readonly nodeId: Uint8Array;
}

export function registerNode(world: World, operator: Actor, bond = 6_000n * OPG): TestNode {
  const nodeId = nodeIdOf(CHAIN, operator.id, world.nonceOf(operator));
  world.ok(operator, [
    {
      kind: 'register-node',
      name: operator.name,
      endpoint: 'http://127.0.0.1:1',
      payout: payoutOf(operator).id,
      bond: nopg(bond),
    },
  ]);
  return { operator, nodeId };
}

export function registerModel(world: World, by: Actor = FAUCET): void {
  world.ok(by, [{ kind: 'register-model', manifest: MODEL }]);
}

export function payoutOf(operator: Actor): Actor {
  return actor(`payout of ${operator.name}`);
}

export function consensusSigner(name: string): Ed25519Signer {
  return ed25519SignerFromSeed(sha256(utf8Encode(`consensus key ${name}`)));
}

/** Registering a validator, with possession signed for this operator and chain unless said otherwise. */
export function registerOp(
  operator: Actor,
  signer: Ed25519Signer,
  bond: bigint,
  over: { readonly chainId?: string; readonly operator?: Uint8Array; readonly by?: Ed25519Signer } = {},
): OpOf<'register-validator'> {
  const message = validatorPossessionMessage({
    chainId: over.chainId ?? CHAIN,
    operator: over.operator ?? operator.id,
    consensusKey: signer.publicKey,
  });
  const possession = (over.by ?? signer).sign(message);
  return { kind: 'register-validator', consensusKey: signer.publicKey, bond: nopg(bond), possession };
}

/** A node key and where its stream stands, as the node itself would know it. */
export interface TestKey {
  readonly node: TestNode;
  readonly keyId: Uint8Array;
  readonly signer: Ed25519Signer;
  seq: number;
  head: Uint8Array;
  running: bigint;
}

export interface OpenKeyOptions {
  readonly method?: 'tee' | 'signed' | 'zk';
  readonly epoch?: number;
  readonly binding?: Partial<RegistrationBinding>;
  readonly op?: Partial<OpOf<'open-key'>>;
  readonly signer?: Ed25519Signer;
}

export function openKeyOp(
  world: World,
  node: TestNode,
  options: OpenKeyOptions = {},
): { readonly op: OpOf<'open-key'>; readonly key: TestKey } {
  const epoch = options.epoch ?? nodeOf(world, node.nodeId).keyEpoch + 1;
  const method = options.method ?? 'signed';
  const signer =
    options.signer ?? ed25519SignerFromSeed(sha256(utf8Encode(`key ${toHex(node.nodeId)} ${epoch}`)));
  const binding: RegistrationBinding = {
    chainId: CHAIN,
    operator: node.operator.id,
    nodeId: node.nodeId,
    keyEpoch: epoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot([merkleLeafHash(MODEL_ID)]),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: world.height(),
    refBlockHash: blockHashOf(world.height()),
    ...options.binding,
  };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  const op: OpOf<'open-key'> = {
    kind: 'open-key',
    binding,
    method,
    modelId: null,
    modelIds: [MODEL_ID],
    evidence: method === 'tee' ? { kind: 'nitro', document: bindingHash } : null,
    possession: signer.sign(possessionMessage(bindingHash)),
    ...options.op,
  };
  const keyId = keyIdOf(CHAIN, node.nodeId, epoch, binding.signPublicKey);
  return { op, key: { node, keyId, signer, seq: 0, head: ZERO_DIGEST, running: 0n } };
}

export function openKey(world: World, node: TestNode, options: OpenKeyOptions = {}): TestKey {
  const { op, key } = openKeyOp(world, node, options);
  world.ok(node.operator, [op]);
  return key;
}

export interface TestChannel {
  readonly payer: Actor;
  readonly channelId: Uint8Array;
  readonly sessions: readonly Ed25519Signer[];
}

export function sessionSigner(payer: Actor, index: number): Ed25519Signer {
  return ed25519SignerFromSeed(sha256(utf8Encode(`session ${payer.name} ${index}`)));
}

/** A channel with one session and an allocation at each node, opened in one transaction as onboarding is. */
export function openChannel(
  world: World,
  payer: Actor,
  nodes: readonly TestNode[],
  amounts: { readonly deposit?: bigint; readonly allocate?: bigint; readonly sessionExpiry?: number } = {},
): TestChannel {
  const channelId = channelIdOf(CHAIN, payer.id, USDC, world.nonceOf(payer));
  const session = sessionSigner(payer, 0);
  world.ok(payer, [
    { kind: 'open-channel', asset: USDC, amount: credit(amounts.deposit ?? 100n * CREDIT) },
    {
      kind: 'register-session',
      channelId,
      session: 0,
      publicKey: session.publicKey,
      expiryHeight: amounts.sessionExpiry ?? world.height() + 150,
    },
    ...nodes.map(
      ({ nodeId }): Op => ({
        kind: 'allocate',
        channelId,
        nodeId,
        amount: credit(amounts.allocate ?? 10n * CREDIT),
      }),
    ),
  ]);
  return { payer, channelId, sessions: [session] };
}

export interface VoucherOptions {
  readonly chainId?: string;
  readonly channelId?: Uint8Array;
  readonly keyId?: Uint8Array;
  readonly lane?: number;
  readonly cumulative?: bigint;
  readonly expiry?: number;
  readonly session?: number;
  readonly requestHash?: Uint8Array;
  readonly signer?: Ed25519Signer;
}

export function voucher(
  world: World,
  channel: TestChannel,
  key: TestKey,
  lane: number,
  cumulative: bigint,
  over: VoucherOptions = {},
): Uint8Array {
  const signer = over.signer ?? channel.sessions[0];
  assert.ok(signer !== undefined);
  return VOUCHER.sign(
    {
      version: 1,
      chainId: over.chainId ?? CHAIN,
      channelId: over.channelId ?? channel.channelId,
      keyId: over.keyId ?? key.keyId,
      lane: over.lane ?? lane,
      cumulative: credit(over.cumulative ?? cumulative),
      requestHash: over.requestHash ?? sha256(utf8Encode('request')),
      expiry: over.expiry ?? world.height() + 60,
      session: over.session ?? 0,
    },
    signer.sign,
  ).bytes;
}

/** A statement over the next `count` receipts of the key (0: redeem only), and the key as it stands after it. */
export function statementOf(
  key: TestKey,
  count: number,
  earned: bigint,
  charges: readonly ChargeLine[] = [],
  over: Partial<Statement> & { readonly batch?: Statement['batch']; readonly running?: RunningTotals } = {},
): { readonly bytes: Uint8Array; readonly after: Pick<TestKey, 'seq' | 'head' | 'running'> } {
  const last = sha256(utf8Encode(`receipt ${toHex(key.keyId)} ${key.seq + count}`));
  const running = key.running + earned;
  const { running: totals, ...rest } = over;
  const statement: Statement = {
    version: 1,
    chainId: CHAIN,
    keyId: key.keyId,
    batch:
      count === 0
        ? null
        : {
            firstSeq: key.seq + 1,
            count,
            prevReceiptHash: key.head,
            lastReceiptHash: last,
            receiptsRoot: sha256(last),
            running: totals ?? (running === 0n ? [] : [[USDC, credit(running)]]),
          },
    charges,
    ...rest,
  };
  const after = count === 0 ? key : { seq: key.seq + count, head: last, running };
  return { bytes: STATEMENT.sign(statement, key.signer.sign).bytes, after };
}

export function settleOp(statement: Uint8Array, vouchers: readonly Uint8Array[] = []): OpOf<'settle'> {
  return { kind: 'settle', statement, vouchers };
}

/** Settles the next `count` receipts, with charge lines; the key moves on where the chain accepted it. */
export function settle(
  world: World,
  key: TestKey,
  count: number,
  earned: bigint,
  charges: readonly ChargeLine[] = [],
  vouchers: readonly Uint8Array[] = [],
): TxResult {
  const { bytes, after } = statementOf(key, count, earned, charges);
  const result = world.run(key.node.operator, [settleOp(bytes, vouchers)]);
  if (result.codeName === 'OK')
    Object.assign(key, { seq: after.seq, head: after.head, running: after.running });
  return result;
}

export function line(
  channel: TestChannel,
  lane: number,
  seqs: readonly [fromSeq: number, atSeq: number],
  amounts: readonly [from: bigint, to: bigint],
): ChargeLine {
  return {
    channelId: channel.channelId,
    lane,
    fromSeq: seqs[0],
    atSeq: seqs[1],
    from: credit(amounts[0]),
    to: credit(amounts[1]),
  };
}

/** Codes of the charge lines of a settlement, in order; OK where paid. */
export function lineCodes(result: TxResult): readonly string[] {
  return result.events
    .filter(({ type }) => type === 'pay' || type === 'line-refused')
    .map(({ type, attributes }) =>
      type === 'pay' ? 'OK' : (attributes.find(([name]) => name === 'code')?.[1] ?? 'none'),
    );
}

export function attribute(result: TxResult, type: string, name: string): string | undefined {
  return result.events
    .find((event) => event.type === type)
    ?.attributes.find(([other]) => other === name)?.[1];
}

export function releaseOp(
  channelId: Uint8Array,
  node: TestNode,
  amount: bigint,
  allocationVersion: number,
  expiry: number,
  signer: Ed25519Signer = node.operator.signer,
): OpOf<'release'> {
  const release = { channelId, nodeId: node.nodeId, amount: credit(amount), allocationVersion, expiry };
  return {
    kind: 'release',
    ...release,
    operatorSignature: signer.sign(releaseMessage({ chainId: CHAIN, ...release })),
  };
}

/** A node with a `signed` key, a payer with a channel and an allocation there: the usual start of a test. */
export function market(options: WorldOptions & { readonly method?: 'tee' | 'signed' } = {}): {
  readonly world: World;
  readonly node: TestNode;
  readonly key: TestKey;
  readonly payer: Actor;
  readonly channel: TestChannel;
} {
  const world = createWorld(options);
  registerModel(world);
  const node = registerNode(world, funded(world, 'operator', 100_000n * OPG, 0n));
  const payer = funded(world, 'payer', 100n * OPG);
  const key = openKey(world, node, { method: options.method ?? 'signed' });
  const channel = openChannel(world, payer, [node]);
  return { world, node, key, payer, channel };
}
