/**
 * The evidence behind a node key, judged here as full nodes judge it: the documents as of the block that opened the key, and what
 * they hang on since then (collateral, revocations, TCB policy, measurements, chips) as of now, by proven records of the chain.
 */
import { bytesEqual, type CryptoProvider, encode, toHex } from '@haca/primitives';
import {
  type AssuranceTier,
  type ChainConfigRecord,
  type Check,
  check,
  type EvidenceEnvelope,
  failed,
  gpuEvidenceRootOf,
  hardwareIdOf,
  joinVerdicts,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  type Measurement,
  measurementIdOf,
  type NodeKeyRecord,
  notApplicable,
  passed,
  type RecordedEvidence,
  type RegistrationBinding,
  registrationBindingCodec,
  skipped,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { type Appraisal, appraiseEvidence, registrationContext, type TeeClaims } from '@haca/verifier';
import { type EvidenceRecords, type EvidenceTime, evidenceRules } from './evidence-records.ts';
import { type JudgedDocument, type JudgedPlatform, judgePlatform } from './judge-platform.ts';
import { measurementPhase, STANDINGS, type Standing } from './standing.ts';

/** The documents that a node gives, and what they are said to be over. Nothing of it is believed. */
export interface KeyEvidence {
  readonly envelope: EvidenceEnvelope;
  readonly binding: RegistrationBinding;
  /** Documents of kind `nvidia` in the order of the registration; left out where none were given. */
  readonly gpuEvidence?: readonly Uint8Array[];
}

/** What the documents of a key say: the part of a judgement that time does not change. */
export interface AppraisedDocuments {
  readonly own: Appraisal<TeeClaims>;
  readonly gpus: readonly Appraisal<TeeClaims>[];
}

export interface EvidenceRequest {
  readonly key: NodeKeyRecord;
  /** The chain's row of the key's evidence, believed for its hash in `key` alone; null where there is none. */
  readonly record: KeyEvidenceRecord | null;
  readonly evidence: KeyEvidence | null;
  readonly config: ChainConfigRecord;
  /** Time of the block that opened the key, by a verified header; null where none can be had. */
  readonly registeredAtMs: number | null;
  readonly records: EvidenceRecords;
  /** The block to judge as of, whose header proves the records; null without one, and then nothing of now is judged. */
  readonly time: EvidenceTime | null;
  /** Of an earlier judgement of the same key and documents that had the records of all measurements. */
  readonly appraised?: AppraisedDocuments | null;
}

export interface EvidenceJudgement {
  readonly verdict: Verdict;
  /** Also where nothing genuine was seen. */
  readonly simulated: boolean;
  /** Null for keys without evidence, and where it could not be judged. */
  readonly tier: AssuranceTier | null;
  readonly tcbStatus: string | null;
  /** As the chain would find it; null where it could not be judged. */
  readonly standing: Standing | null;
  /** Time from which the key backs nothing as things are; Unix milliseconds. */
  readonly effectiveEndMs: number | null;
  readonly appraised: AppraisedDocuments | null;
}

const NOTHING = {
  simulated: true,
  tier: null,
  tcbStatus: null,
  standing: null,
  effectiveEndMs: null,
  appraised: null,
} as const;

/**
 * Total for hostile documents. Where a record is missing its checks are skipped; `records.missing()` says then which ones to
 * fetch, all from one state, before it is judged again.
 */
export function judgeKeyEvidence(crypto: CryptoProvider, request: EvidenceRequest): EvidenceJudgement {
  const { key, record, evidence, registeredAtMs } = request;
  const row = recordCheck(key, record);
  if (key.evidence === null) return { ...NOTHING, verdict: verdictOf([noEvidenceCheck(key, evidence), row]) };
  if (record === null || row.status !== 'passed') return { ...NOTHING, verdict: verdictOf([row]) };
  const recorded: RecordedEvidence = { ...record, ...key.evidence };
  askNamedRecords(request.records, recorded);
  if (evidence === null || registeredAtMs === null) {
    const what =
      evidence === null
        ? 'the document was not given'
        : 'no verified header of the block that opened the key';
    const missing = skipped('evidence.document', 'evidence.unavailable', what);
    return { ...NOTHING, verdict: verdictOf([row, missing]) };
  }
  const appraised =
    request.appraised ?? appraiseDocuments(crypto, request, recorded, evidence, registeredAtMs);
  const claims = claimsOf(appraised);
  const own = [row, ...documentChecks(crypto, key, recorded, evidence)];
  if (claims === null) {
    own.push(failed('evidence.claims', 'E_EVIDENCE', toHex(recorded.claimsDigest), 'no authentic claims'));
    return { ...NOTHING, appraised, verdict: joined(own, appraised, null) };
  }
  return judgeClaims(crypto, request, recorded, appraised, claims, [
    ...own,
    ...recordedChecks(recorded, claims),
  ]);
}

function noEvidenceCheck({ method }: NodeKeyRecord, given: KeyEvidence | null): Check {
  const id = 'evidence.document';
  if (method === 'tee') return failed(id, 'E_EVIDENCE', 'evidence behind a tee key', 'none');
  return given === null
    ? notApplicable(id, `a '${method}' key carries no evidence`)
    : failed(id, 'E_EVIDENCE', `none behind a '${method}' key`, given.envelope.kind);
}

/** The row of evidence is the one that the key's row names, and is there exactly where that names one. */
function recordCheck({ method, evidence }: NodeKeyRecord, record: KeyEvidenceRecord | null): Check {
  const id = 'evidence.record';
  const code = 'E_EVIDENCE';
  if (record === null) {
    return evidence === null
      ? notApplicable(id, `a '${method}' key has no row of evidence`)
      : failed(id, code, toHex(evidence.recordHash), 'none');
  }
  const got = keyEvidenceHash(record);
  return evidence === null ? failed(id, code, 'none', toHex(got)) : equal(id, evidence.recordHash, got);
}

/** Asks for everything that the row of evidence names, so that it can be fetched in one go. */
export function askNamedRecords(
  records: EvidenceRecords,
  recorded: Pick<KeyEvidenceRecord, 'measurementId' | 'hardware' | 'gpus'>,
): void {
  records.policy();
  records.revoked();
  for (const id of measurementIdsOf(recorded)) records.measurement(id);
  for (const id of recorded.hardware) records.hardware(id);
}

function measurementIdsOf({
  measurementId,
  gpus,
}: Pick<KeyEvidenceRecord, 'measurementId' | 'gpus'>): readonly Uint8Array[] {
  return [measurementId, ...gpus.map((gpu) => gpu.measurementId)];
}

/** Without collateral: whatever hangs on it is judged as of now, or stays skipped. */
function appraiseDocuments(
  crypto: CryptoProvider,
  { key, config, records }: EvidenceRequest,
  recorded: RecordedEvidence,
  { envelope, gpuEvidence = [] }: KeyEvidence,
  registeredAtMs: number,
): AppraisedDocuments {
  const appraise = (kind: string, document: Uint8Array, id: Uint8Array | undefined): Appraisal<TeeClaims> => {
    const measurements = measurementsOf(records, id);
    const rules = evidenceRules(records, config, registeredAtMs, measurements ?? []);
    const context = registrationContext(crypto, key.binding, { ...rules, collateral: () => null });
    const appraisal = appraiseEvidence(kind, document, context);
    return measurements === undefined ? withoutMeasurement(appraisal) : appraisal;
  };
  return {
    own: appraise(envelope.kind, envelope.document, recorded.measurementId),
    gpus: gpuEvidence.map((document, i) => appraise('nvidia', document, recorded.gpus[i]?.measurementId)),
  };
}

/** Undefined where the record is not at hand. */
function measurementsOf(
  records: EvidenceRecords,
  id: Uint8Array | undefined,
): readonly Measurement[] | undefined {
  const record = id === undefined ? null : records.measurement(id);
  if (record === undefined) return undefined;
  return record === null || id === undefined || !bytesEqual(measurementIdOf(record.measurement), id)
    ? []
    : [record.measurement];
}

/** A measurement that is not known is no measurement that differs. */
function withoutMeasurement(appraisal: Appraisal<TeeClaims>): Appraisal<TeeClaims> {
  const checks = appraisal.verdict.checks.map((each) =>
    each.status === 'failed' && each.id === `${appraisal.claims?.kind}.measurement`
      ? skipped(each.id, 'records.missing', 'the record of the measurement is not at hand')
      : each,
  );
  return { ...appraisal, verdict: verdictOf(checks) };
}

/** Null unless every document is authentic. The claims of the key's own document come first. */
function claimsOf({ own, gpus }: AppraisedDocuments): readonly TeeClaims[] | null {
  const claims = [own, ...gpus].map((appraisal) => appraisal.claims).filter((each) => each !== null);
  return claims.length === 1 + gpus.length ? claims : null;
}

/** The documents are those of the registration. */
function documentChecks(
  crypto: CryptoProvider,
  key: NodeKeyRecord,
  recorded: RecordedEvidence,
  { envelope, binding, gpuEvidence }: KeyEvidence,
): Check[] {
  return [
    check('evidence.kind', 'evidence.kind', envelope.kind === recorded.kind, recorded.kind, envelope.kind),
    equal('evidence.document', recorded.documentHash, crypto.sha256(envelope.document)),
    equal(
      'evidence.binding',
      encode(registrationBindingCodec, key.binding),
      encode(registrationBindingCodec, binding),
    ),
    equal('evidence.signing-key', key.publicKey, key.binding.signPublicKey),
    equal('evidence.node', key.nodeId, key.binding.nodeId),
    ...gpuDocumentChecks(crypto, key, recorded, gpuEvidence),
  ];
}

function gpuDocumentChecks(
  crypto: CryptoProvider,
  { binding }: NodeKeyRecord,
  { gpus }: RecordedEvidence,
  given: readonly Uint8Array[] | undefined,
): readonly Check[] {
  const root = binding.gpuEvidenceRoot;
  if (root === null && gpus.length === 0 && (given === undefined || given.length === 0))
    return [notApplicable('evidence.gpu-root', 'the key shows no GPU')];
  if (given === undefined) {
    return [skipped('evidence.gpu-root', 'evidence.unavailable', 'the documents of the GPUs were not given')];
  }
  const count = check(
    'evidence.gpu-count',
    'E_EVIDENCE',
    given.length === gpus.length,
    `${gpus.length} documents`,
    `${given.length}`,
  );
  return [
    optionalEqual('evidence.gpu-root', root, gpuEvidenceRootOf(given)),
    count,
    ...gpus.map((gpu, i) => {
      const document = given[i];
      return optionalEqual(
        `evidence.gpu.${i}.document`,
        gpu.documentHash,
        document === undefined ? null : crypto.sha256(document),
      );
    }),
  ];
}

/** What the chain wrote down about the evidence is what it says. */
function recordedChecks(recorded: RecordedEvidence, claims: readonly TeeClaims[]): readonly Check[] {
  const [own, ...gpus] = claims as readonly [TeeClaims, ...TeeClaims[]];
  const endMs = Math.min(...claims.map(({ evidenceEndMs }) => evidenceEndMs));
  const simulated = claims.some(({ isSimulated }) => isSimulated);
  const hardware = hardwareOf(claims).map(({ id }) => id);
  return [
    equal('evidence.claims', recorded.claimsDigest, own.claimsDigest),
    equal('evidence.facts', recorded.facts, own.facts),
    check('evidence.end', 'E_EVIDENCE', recorded.endMs === endMs, `${recorded.endMs}`, `${endMs}`),
    check(
      'evidence.simulated',
      'E_EVIDENCE',
      recorded.simulated === simulated,
      `${recorded.simulated}`,
      `${simulated}`,
    ),
    check(
      'evidence.hardware-ids',
      'E_HARDWARE',
      hardware.map(toHex).join() === recorded.hardware.map(toHex).join(),
      shownIds(recorded.hardware),
      shownIds(hardware),
    ),
    ...gpus.flatMap((gpu, i) => {
      const kept = recorded.gpus[i];
      return [
        optionalEqual(`evidence.gpu.${i}.claims`, kept?.claimsDigest ?? null, gpu.claimsDigest),
        optionalEqual(`evidence.gpu.${i}.facts`, kept?.facts ?? null, gpu.facts),
      ];
    }),
  ];
}

function hardwareOf(claims: readonly TeeClaims[]) {
  return claims.flatMap(({ hardware, isSimulated }) =>
    hardware.map((chip) => ({ chip, isSimulated, id: hardwareIdOf(chip, isSimulated) })),
  );
}

function judgeClaims(
  crypto: CryptoProvider,
  { key, config, records, time }: EvidenceRequest,
  recorded: RecordedEvidence,
  appraised: AppraisedDocuments,
  claims: readonly TeeClaims[],
  own: readonly Check[],
): EvidenceJudgement {
  const simulated = recorded.simulated || claims.some(({ isSimulated }) => isSimulated);
  if (time === null) {
    const unknown = skipped('evidence.standing', 'records.missing', 'no proven records of the chain');
    return { ...NOTHING, simulated, appraised, verdict: joined([...own, unknown], appraised, null) };
  }
  const documents: readonly JudgedDocument[] = claims.map(({ kind, facts }) => ({ kind, facts }));
  const platform = judgePlatform(crypto, records, config, documents, recorded.endMs, time.timeMs);
  const phases = measurementChecks(records, recorded, key.openedAt, time.height);
  const chips = chipChecks(records, key, claims);
  const [derivedTier, tierCheck] = tierOf(records, recorded, claims);
  const standing = standingOf(phases, chips, platform, recorded.endMs, time.timeMs);
  const checks = [
    ...own,
    ...phases.map((each) => each.check),
    ...chips.map((each) => each.check),
    tierCheck,
    ...platform.checks,
    recordsCheck(records),
    standingCheck(records, standing, time),
  ];
  return {
    verdict: joined(checks, appraised, platform),
    simulated,
    tier: derivedTier,
    tcbStatus: platform.tcbStatus,
    standing: records.missing().length === 0 ? standing : null,
    effectiveEndMs: platform.endMs,
    appraised,
  };
}

interface PhaseCheck {
  readonly check: Check;
  readonly phase: ReturnType<typeof measurementPhase>;
}

/** Each was active when the key opened, and is not revoked. */
function measurementChecks(
  records: EvidenceRecords,
  recorded: RecordedEvidence,
  openedAt: number,
  height: number,
): readonly PhaseCheck[] {
  return measurementIdsOf(recorded).map((measurementId, i) => {
    const id = i === 0 ? 'evidence.measurement' : `evidence.gpu.${i - 1}.measurement`;
    const code = 'E_MEASUREMENT';
    const record = records.measurement(measurementId);
    if (record === undefined) {
      const reason = 'the record of the measurement is not at hand';
      return { phase: 'revoked', check: skipped(id, 'records.missing', reason) };
    }
    if (record === null) return { phase: 'revoked', check: failed(id, code, 'an approved one', 'none') };
    const phase = measurementPhase(record, height);
    const { measurement, activeFrom, deprecatedAt } = record;
    const isSame =
      bytesEqual(measurementIdOf(measurement), measurementId) &&
      (i > 0 || (measurement.name === recorded.measurement && measurement.kind === recorded.kind));
    const wasActive = activeFrom <= openedAt && openedAt <= (deprecatedAt ?? openedAt);
    const holds = isSame && wasActive && (phase === 'active' || phase === 'deprecated');
    const expected = `${i === 0 ? recorded.measurement : toHex(measurementId)}, active at ${openedAt} and not revoked`;
    return { phase, check: check(id, code, holds, expected, `${measurement.name}, ${phase}`) };
  });
}

interface ChipCheck {
  readonly check: Check;
  readonly isRevoked: boolean;
}

/** One chip, one operator. */
function chipChecks(
  records: EvidenceRecords,
  { binding, nodeId }: NodeKeyRecord,
  claims: readonly TeeClaims[],
): readonly ChipCheck[] {
  const chips = hardwareOf(claims);
  if (chips.length === 0) {
    return [{ isRevoked: false, check: notApplicable('evidence.hardware', 'the vendor hides the chip') }];
  }
  return chips.map(({ chip, isSimulated, id: hardwareId }, i) => {
    const id = `evidence.hardware.${i}`;
    const row = records.hardware(hardwareId);
    if (row === undefined) {
      const reason = 'the record of the chip is not at hand';
      return { isRevoked: false, check: skipped(id, 'records.missing', reason) };
    }
    const isRevoked = row?.revokedAt !== undefined;
    const holder = row?.holder;
    const isOfNode = chip.vendor !== 'nvidia' || equalOrNull(holder?.nodeId ?? null, nodeId);
    const isHeld = holder !== undefined && bytesEqual(holder.operator, binding.operator) && isOfNode;
    const isSame =
      row !== null &&
      row.simulated === isSimulated &&
      row.hardware.vendor === chip.vendor &&
      bytesEqual(row.hardware.id, chip.id);
    const got = isRevoked ? 'revoked' : holder === undefined ? 'no holder' : `of ${toHex(holder.operator)}`;
    const expected = `in standing, of operator ${toHex(binding.operator)}`;
    return { isRevoked, check: check(id, 'E_HARDWARE', isSame && isHeld && !isRevoked, expected, got) };
  });
}

/** What the evidence shows, with the registry as of now where that is less than it was when the key opened. */
function tierOf(
  records: EvidenceRecords,
  recorded: RecordedEvidence,
  claims: readonly TeeClaims[],
): readonly [AssuranceTier, Check] {
  const [own] = claims as readonly [TeeClaims, ...TeeClaims[]];
  const shown: AssuranceTier | null = claims.some(({ isSimulated }) => isSimulated)
    ? 'simulated'
    : own.cloud !== null
      ? 'cloud'
      : null;
  const isOpen =
    recorded.tier === 'registered-hardware' ? own.hardware.length > 0 : recorded.tier === 'unknown-host';
  const holds = shown === null ? isOpen : recorded.tier === shown;
  const expected = shown ?? 'registered-hardware | unknown-host';
  const isRegistered =
    recorded.tier === 'registered-hardware' &&
    own.hardware.length > 0 &&
    own.hardware.every((chip) => records.hardware(hardwareIdOf(chip, false))?.provider !== undefined);
  const tier = shown ?? (isRegistered ? 'registered-hardware' : 'unknown-host');
  return [tier, check('evidence.tier', 'E_EVIDENCE', holds, expected, recorded.tier)];
}

function standingOf(
  phases: readonly PhaseCheck[],
  chips: readonly ChipCheck[],
  { fault, endMs }: JudgedPlatform,
  evidenceEndMs: number,
  nowMs: number,
): Standing {
  if (phases.some(({ phase }) => phase === 'revoked')) return 'measurement-revoked';
  if (chips.some(({ isRevoked }) => isRevoked)) return 'hardware-revoked';
  if (nowMs >= evidenceEndMs) return 'expired';
  if (fault !== null) return fault;
  if (nowMs >= endMs) return 'stale-collateral';
  return phases.some(({ phase }) => phase === 'deprecated') ? 'measurement-deprecated' : 'good';
}

function recordsCheck(records: EvidenceRecords): Check {
  const [asked, missing] = [records.asked().length, records.missing().length];
  return missing === 0
    ? passed('evidence.records', `${asked} records of the chain`)
    : skipped('evidence.records', 'records.missing', `${missing} of ${asked} records are not at hand`);
}

const BACKING: readonly Standing[] = STANDINGS.slice(0, 2);

function standingCheck(records: EvidenceRecords, standing: Standing, time: EvidenceTime): Check {
  const id = 'evidence.standing';
  if (records.missing().length > 0)
    return skipped(id, 'records.missing', 'not all that evidence is judged by is at hand');
  const got = `${standing} as of block ${time.height}`;
  return check(id, `standing.${standing}`, BACKING.includes(standing), BACKING.join(' | '), got);
}

/** The checks of each document, those that are judged as of now in the place of those of the registration. */
function joined(own: readonly Check[], appraised: AppraisedDocuments, now: JudgedPlatform | null): Verdict {
  const documents = [appraised.own, ...appraised.gpus].map(({ verdict }, i) =>
    verdictOf(renewed(verdict.checks, now?.documents[i] ?? [])),
  );
  const [first, ...gpus] = documents as [Verdict, ...Verdict[]];
  return joinVerdicts([
    ['', verdictOf(own)],
    ['evidence', first],
    ...gpus.map((verdict, i) => [`evidence.gpu.${i}`, verdict] as const),
  ]);
}

function renewed(checks: readonly Check[], now: readonly Check[]): readonly Check[] {
  const byId = new Map(now.map((each) => [each.id, each]));
  const known = new Set(checks.map(({ id }) => id));
  return [...checks.map((each) => byId.get(each.id) ?? each), ...now.filter(({ id }) => !known.has(id))];
}

function equal(id: string, expected: Uint8Array, got: Uint8Array): Check {
  return check(id, 'E_EVIDENCE', bytesEqual(expected, got), shown(expected), shown(got));
}

function optionalEqual(id: string, expected: Uint8Array | null, got: Uint8Array | null): Check {
  const show = (bytes: Uint8Array | null): string => (bytes === null ? 'none' : shown(bytes));
  return check(id, 'E_EVIDENCE', equalOrNull(expected, got), show(expected), show(got));
}

function equalOrNull(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : bytesEqual(a, b);
}

function shownIds(ids: readonly Uint8Array[]): string {
  return ids.length === 0 ? 'none' : ids.map((id) => toHex(id).slice(0, 16)).join(', ');
}

function shown(bytes: Uint8Array): string {
  return bytes.length <= 32 ? toHex(bytes) : `${toHex(bytes.subarray(0, 32))}…`;
}
