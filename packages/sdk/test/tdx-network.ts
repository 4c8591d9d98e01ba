/** A fake network whose node shows a TDX quote, with every row of the chain that such a key is judged by. */
import { nodeCrypto } from '@haca/platform';
import { encode } from '@haca/primitives';
import {
  type CollateralRecord,
  collateralIdOf,
  collateralRecordCodec,
  type EvidencePolicyRecord,
  evidencePolicyRecordCodec,
  type HardwareRecord,
  hardwareIdOf,
  hardwareRecordCodec,
  keyEvidenceHash,
  type MeasurementRecord,
  measurementIdOf,
  measurementRecordCodec,
  type NodeKeyRecord,
  type RecordedEvidence,
  recordKey,
  registrationBindingHash,
  revokedCertificatesRecordCodec,
  ZERO_DIGEST,
} from '@haca/protocol';
import { createTdxPlatform, type TdxCollateralOptions, type TdxPlatform } from '@haca/testkit';
import { NO_COLLATERAL, registrationContext, verifyTdx } from '@haca/verifier';
import { GENESIS_MS } from './fake-chain.ts';
import { type FakeNode, operatorId, startFakeNetwork } from './fake-node.ts';

export const DAY_MS = 86_400_000;
export const platform: TdxPlatform = createTdxPlatform(GENESIS_MS);
export const measurementId = measurementIdOf(platform.measurement);
export const hardwareId = hardwareIdOf(platform.hardware, true);

type Row = readonly [Uint8Array, Uint8Array];

/** Rows of collateral as the chain writes them, in the order of the platform's pieces. */
export function collateralRows(
  options: Partial<TdxCollateralOptions> = {},
  change: (record: CollateralRecord, index: number) => CollateralRecord = (record) => record,
): readonly Row[] {
  const given = { issuedMs: GENESIS_MS - DAY_MS, ...options };
  const { issuedMs, lifeMs = 30 * DAY_MS, evaluation = 17, crlNumber = 1 } = given;
  return platform.collateral(given).map(({ ref, item }, index) => {
    const record: CollateralRecord = {
      item,
      version: { number: item.kind === 'intel-crl' ? crlNumber : evaluation, issuedMs },
      nextUpdateMs: issuedMs + lifeMs,
      simulated: true,
      height: 1,
      superseded: [],
    };
    return [
      recordKey.collateral(collateralIdOf(ref)),
      encode(collateralRecordCodec, change(record, index)),
    ] as const;
  });
}

export function measurementRow(change: Partial<MeasurementRecord> = {}): Row {
  const record = {
    measurement: platform.measurement,
    release: null,
    proposedAt: 0,
    activeFrom: 0,
    ...change,
  };
  return [recordKey.measurement(measurementId), encode(measurementRecordCodec, record)];
}

export function hardwareRow(change: Partial<HardwareRecord> = {}): Row {
  const record: HardwareRecord = {
    hardware: platform.hardware,
    simulated: true,
    holder: { operator: operatorId, nodeId: null, keys: 1 },
    ...change,
  };
  return [recordKey.hardware(hardwareId), encode(hardwareRecordCodec, record)];
}

export function policyRow(change: Partial<EvidencePolicyRecord> = {}): Row {
  const record = { version: new Uint8Array(32).fill(1), tcbStatuses: [], tcbFloors: [], ...change };
  return [recordKey.evidencePolicy(), encode(evidencePolicyRecordCodec, record)];
}

export function revokedRow(
  certificates: readonly { readonly issuer: Uint8Array; readonly serial: Uint8Array }[],
): Row {
  return [recordKey.revokedCertificates(), encode(revokedCertificatesRecordCodec, certificates)];
}

export interface TdxNetworkOptions {
  readonly recorded?: (evidence: RecordedEvidence) => RecordedEvidence;
  /** Hash of the row of evidence that the key's row says; that of `recorded` by default. */
  readonly recordHash?: Uint8Array;
  readonly rows?: (rows: readonly Row[]) => readonly Row[];
  readonly gpu?: { readonly documents: readonly Uint8Array[]; readonly root: Uint8Array };
  /** The node gives the documents of its GPUs. */
  readonly hidesGpus?: boolean;
  readonly isUntrusted?: boolean;
}

export function startTdxNetwork(options: TdxNetworkOptions = {}): FakeNode {
  const { gpu, hidesGpus, isUntrusted, recorded = (each) => each, rows = (all) => all } = options;
  const named = (evidence: RecordedEvidence): RecordedEvidence => ({
    ...evidence,
    recordHash: options.recordHash ?? keyEvidenceHash(evidence),
  });
  return startFakeNetwork({
    method: 'tee',
    makeEvidence: (plain) => {
      const binding = gpu === undefined ? plain : { ...plain, gpuEvidenceRoot: gpu.root };
      const document = platform.quote(registrationBindingHash(nodeCrypto, binding));
      return {
        evidence: named(recorded(recordedEvidence(document, binding))),
        document,
        binding,
        testRoots: isUntrusted === true ? [] : [platform.rootSha256],
        records: rows([...collateralRows(), measurementRow(), hardwareRow(), policyRow()]),
        ...(gpu === undefined || hidesGpus === true ? {} : { gpuEvidence: gpu.documents }),
      };
    },
  });
}

/** As the chain writes it down. */
function recordedEvidence(document: Uint8Array, binding: NodeKeyRecord['binding']): RecordedEvidence {
  const context = registrationContext(nodeCrypto, binding, {
    simulated: true,
    testRoots: [platform.rootSha256],
    measurements: [],
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    tcbStatuses: [],
    tcbFloors: [],
    evidenceAgeMaxMs: 1,
    evidenceSkewMaxMs: 1,
    nowMs: GENESIS_MS,
  });
  const { roots } = context.tdx as NonNullable<typeof context.tdx>;
  const { claims } = verifyTdx(document, { ...context, roots });
  if (claims === null) throw new Error('the quote is authentic');
  return {
    kind: 'tdx',
    documentHash: nodeCrypto.sha256(document),
    claimsDigest: claims.claimsDigest,
    endMs: claims.evidenceEndMs,
    simulated: true,
    measurement: platform.measurement.name,
    measurementId,
    facts: claims.facts,
    tier: 'simulated',
    hardware: [hardwareId],
    gpus: [],
    recordHash: ZERO_DIGEST,
  };
}
