/** One example of every state record, with the key it stands under. */
import { type Codec, encode, merkleRoot, toHex, utf8Encode } from '@haca/primitives';
import {
  accountRecordCodec,
  allocationRecordCodec,
  assetRecordCodec,
  chainConfigRecordCodec,
  channelRecordCodec,
  claimRecordCodec,
  collateralIdOf,
  collateralRecordCodec,
  credit,
  DEFAULT_PARAMS,
  evidencePolicyRecordCodec,
  governanceRecordCodec,
  type Hardware,
  hardwareIdOf,
  hardwareRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  laneRecordCodec,
  type Measurement,
  measurementIdOf,
  measurementIndexRecordCodec,
  measurementRecordCodec,
  modelRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  queueRecordCodec,
  recordKey,
  revokedCertificatesRecordCodec,
  sessionRecordCodec,
  statementLeafHash,
  toJsonView,
  totalsRecordCodec,
  unbondingRecordCodec,
  validatorRecordCodec,
  validatorSetRecordCodec,
  verifyingKeyRecordCodec,
} from '@haca/protocol';
import { EXAMPLE_CHAIN_ID, EXAMPLE_COLLATERAL, type Examples, exampleDigest } from './examples.ts';

const EXAMPLE_MEASUREMENT: Measurement = {
  name: 'example image',
  kind: 'nitro',
  registers: [{ register: 'pcr0', value: new Uint8Array(48).fill(1) }],
};
const EXAMPLE_GPU: Hardware = { vendor: 'nvidia', id: new Uint8Array(16).fill(9) };
/** The row of evidence of the example key. */
export const EXAMPLE_KEY_EVIDENCE: KeyEvidenceRecord = {
  documentHash: exampleDigest('document'),
  claimsDigest: exampleDigest('claims'),
  measurement: 'example image',
  measurementId: measurementIdOf(EXAMPLE_MEASUREMENT),
  facts: utf8Encode('facts'),
  hardware: [hardwareIdOf(EXAMPLE_GPU, true)],
  gpus: [
    {
      documentHash: exampleDigest('gpu document'),
      claimsDigest: exampleDigest('gpu claims'),
      measurementId: exampleDigest('gpu measurement'),
      facts: utf8Encode('gpu facts'),
    },
  ],
};

export interface RecordVector {
  readonly name: string;
  readonly key: string;
  readonly value: unknown;
  readonly encoding: string;
}

/** The record of the example key after its first batch, and one statement more, were settled. */
export function exampleKeyRecord({ receipts, binding, statement }: Examples): NodeKeyRecord {
  const [first, second] = receipts;
  return {
    nodeId: first.value.nodeId,
    keyEpoch: 1,
    publicKey: binding.signPublicKey,
    method: 'tee',
    modelId: null,
    modelIds: [first.value.modelId],
    binding,
    evidence: {
      kind: 'nitro',
      endMs: 1_800_010_800_000,
      simulated: true,
      tier: 'simulated',
      recordHash: keyEvidenceHash(EXAMPLE_KEY_EVIDENCE),
    },
    openedAt: 42,
    notAfter: 86_442,
    closingAt: 500,
    settledSeq: 2,
    headHash: second.hash,
    settled: second.value.running,
    verified: second.value.running,
    paid: [],
    logSize: 2,
    logFrontier: [merkleRoot([statementLeafHash(statement.hash), statementLeafHash(exampleDigest('later'))])],
    unpaidRanges: [],
    openClaims: [],
    c1Seq: 0,
    c1Due: 0,
    faults: 0,
    lastLane: { channelId: first.value.channelId, lane: 7 },
  };
}

export function recordVectors(examples: Examples): readonly RecordVector[] {
  const { keyId, nodeId, channelId, modelId } = examples.receipts[0].value;
  const { operator, signPublicKey } = examples.binding;
  const operatorKey = { algorithm: 'ed25519', publicKey: signPublicKey } as const;
  const address = exampleDigest('validator').slice(0, 20);
  const vector = <T>(name: string, key: Uint8Array, codec: Codec<T>, value: T): RecordVector => ({
    name: `record-${name}`,
    key: toHex(key),
    value: toJsonView(value),
    encoding: toHex(encode(codec, value)),
  });
  return [
    vector('totals', recordKey.totals(), totalsRecordCodec, exampleTotals()),
    vector('params', recordKey.params(), chainConfigRecordCodec, {
      chainId: EXAMPLE_CHAIN_ID,
      genesisTimeMs: 1_800_000_000_000,
      simulated: true,
      params: DEFAULT_PARAMS,
      testRoots: [exampleDigest('root')],
    }),
    vector('account', recordKey.account(operator), accountRecordCodec, {
      nopg: nopg(7_000_000_000n),
      credits: [[1, credit(5_000_000_000n)]],
      nonceHigh: 12,
      nonceBits: 0xfffn,
    }),
    vector('asset', recordKey.asset(1), assetRecordCodec, { symbol: 'CREDIT', issuer: operator }),
    vector('channel', recordKey.channel(channelId), channelRecordCodec, {
      payer: exampleDigest('payer'),
      asset: 1,
      free: credit(3_000_000_000n),
      allocations: 1,
      sessions: 1,
      version: 2,
    }),
    vector('session', recordKey.session(channelId, 0), sessionRecordCodec, {
      publicKey: signPublicKey,
      expiryHeight: 200_000,
      revokedAt: 900,
    }),
    vector('allocation', recordKey.allocation(channelId, nodeId), allocationRecordCodec, {
      amount: credit(2_000_000_000n),
      paid: credit(4_000n),
      withdrawing: credit(1_000n),
      readyAt: 4_100,
      version: 3,
    }),
    vector('lane', recordKey.lane(keyId, channelId, 7), laneRecordCodec, {
      mark: credit(4_000n),
      seq: 2,
      previous: null,
    }),
    vector('model', recordKey.model(modelId), modelRecordCodec, {
      manifest: examples.manifest,
      registrant: operator,
      height: 3,
    }),
    vector('node', recordKey.node(nodeId), nodeRecordCodec, {
      operator,
      operatorKey,
      name: 'example node',
      endpoint: 'https://node.example',
      payout: operator,
      bond: nopg(50_000_000_000_000n),
      unbonding: nopg(0n),
      keyEpoch: 1,
      keys: [keyId],
      laneRows: 1,
      bucketGas: 399_000,
      bucketHeight: 44,
      unbondingDue: [],
    }),
    vector('node-key', recordKey.nodeKey(keyId), nodeKeyRecordCodec, exampleKeyRecord(examples)),
    vector('key-evidence', recordKey.keyEvidence(keyId), keyEvidenceRecordCodec, EXAMPLE_KEY_EVIDENCE),
    vector('unbonding', recordKey.unbonding(nodeId, 1_209_700), unbondingRecordCodec, {
      amount: nopg(1_000_000_000n),
      sinceHeight: 100,
      sinceMs: 1_800_000_100_000,
    }),
    vector('validator', recordKey.validator(address), validatorRecordCodec, {
      consensusKey: signPublicKey,
      operator,
      selfBond: nopg(1_000_000_000_000_000n),
      power: 1_000,
      rewards: nopg(2_000n),
      tombstoned: true,
      faultHeight: 90,
      unbondingDue: [1_209_700],
    }),
    vector('validator-unbonding', recordKey.validatorUnbonding(address, 1_209_700), unbondingRecordCodec, {
      amount: nopg(3_000_000_000n),
      sinceHeight: 100,
      sinceMs: 1_800_000_100_000,
    }),
    vector('validator-set', recordKey.validatorSet(), validatorSetRecordCodec, {
      epoch: 1,
      blocks: 9,
      members: [{ address, signed: 9, leastPower: 1_000 }],
    }),
    vector('queue', recordKey.queue(86_942), queueRecordCodec, [
      { task: 'drain-key', subject: keyId, due: 86_942 },
    ]),
    vector('claim', recordKey.claim(exampleDigest('claim')), claimRecordCodec, {
      keyId,
      firstSeq: 3,
      count: 2,
      receiptsRoot: exampleDigest('receipts'),
      delta: [[1, credit(4_000n)]],
      openedAt: 50,
      nonce: exampleDigest('block 50'),
      due: 650,
      baseFee: 2_000n,
      extensions: 0,
      verificationGas: 15_000,
    }),
    vector('verifying-key', recordKey.verifyingKey(exampleDigest('key hash')), verifyingKeyRecordCodec, {
      verifyingKey: utf8Encode('a verifying key'),
      batchMax: 2,
      verificationGas: [14_000, 15_000],
      proofBytes: [100_000, 101_000],
      inputRowBytes: [784],
      outputRowBytes: [40],
      height: 3,
    }),
    ...evidenceVectors(vector, examples),
    vector('governance', recordKey.governance(), governanceRecordCodec, { serial: 1, disabledKinds: ['zk'] }),
  ];
}

function evidenceVectors(
  vector: <T>(name: string, key: Uint8Array, codec: Codec<T>, value: T) => RecordVector,
  { binding }: Examples,
): readonly RecordVector[] {
  const collateralId = collateralIdOf({
    kind: EXAMPLE_COLLATERAL.kind,
    rootCertificate: utf8Encode('root'),
    scope: utf8Encode('TDX:00806f050000'),
  });
  const measurementId = measurementIdOf(EXAMPLE_MEASUREMENT);
  const version = { number: 18, issuedMs: 1_799_000_000_000 };
  return [
    vector('collateral', recordKey.collateral(collateralId), collateralRecordCodec, {
      item: EXAMPLE_COLLATERAL,
      version,
      nextUpdateMs: 1_801_592_000_000,
      simulated: true,
      height: 40,
      superseded: [
        { item: EXAMPLE_COLLATERAL, version: { ...version, number: 17 }, atMs: 1_800_000_040_000 },
      ],
    }),
    vector('measurement', recordKey.measurement(measurementId), measurementRecordCodec, {
      measurement: EXAMPLE_MEASUREMENT,
      release: {
        sourceCommit: '00112233445566778899aabbccddeeff00112233',
        recipe: 'build/enclave.nix',
        rebuilds: [exampleDigest('rebuild')],
      },
      proposedAt: 30,
      activeFrom: 172_830,
      deprecatedAt: 900_000,
      revokedAt: 950_000,
    }),
    vector('measurement-index', recordKey.measurementIndex(), measurementIndexRecordCodec, [
      { kind: 'nitro', measurementId },
    ]),
    vector('hardware', recordKey.hardware(hardwareIdOf(EXAMPLE_GPU, true)), hardwareRecordCodec, {
      hardware: EXAMPLE_GPU,
      simulated: true,
      holder: { operator: binding.operator, nodeId: binding.nodeId, keys: 1 },
      provider: 'example hosting',
      revokedAt: 70,
    }),
    vector('evidence-policy', recordKey.evidencePolicy(), evidencePolicyRecordCodec, {
      version: exampleDigest('version'),
      tcbStatuses: [{ evidenceKind: 'tdx', statuses: ['UpToDate'] }],
      tcbFloors: [
        { product: 'turin', floor: { bootloader: 1, tee: 2, snp: 3, microcode: 4, fmc: 5 } },
        { product: 'genoa', floor: { bootloader: 1, tee: 2, snp: 3, microcode: 4, fmc: null } },
      ],
    }),
    vector('revoked-certificates', recordKey.revokedCertificates(), revokedCertificatesRecordCodec, [
      { issuer: utf8Encode('issuer'), serial: Uint8Array.of(1, 2) },
    ]),
  ];
}

function exampleTotals() {
  const none = nopg(0n);
  return {
    liquid: nopg(899_999_990_000_000_000n),
    nodeBond: nopg(50_000_000_000_000n),
    nodeUnbonding: none,
    valPool: nopg(1_000_000_000_000_000n),
    valUnbonding: none,
    deposit: none,
    restitution: none,
    rewards: none,
    reserve: nopg(98_950_000_000_000_000n),
    burnedFees: nopg(10_000_000_000n),
    burnedSlash: none,
    burnedDeposit: none,
    assets: [
      [
        1,
        {
          liquid: credit(5_000_000_000n),
          channelFree: credit(3_000_000_000n),
          allocUnpaid: credit(2_000_000_000n),
          issued: 10_000_000_000n,
          retired: 0n,
        },
      ],
    ] as const,
    baseFee: 2_000n,
    baseFeeHeight: 44,
    baseFeeGasUsed: 1_513,
    rewardedEpoch: 0,
  };
}
