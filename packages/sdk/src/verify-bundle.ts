import {
  DEFAULT_TRUST_LEVEL,
  type Header,
  headerHash,
  type LightBlock,
  timestampToMs,
  trustedStateOf,
  verifyHeader,
  verifyStateProof,
} from '@haca/light-client';
import { bytesEqual, type CryptoProvider, decode, MalformedError, toHex } from '@haca/primitives';
import {
  type Assurance,
  type AssuranceTier,
  type Bundle,
  type Check,
  chainConfigRecordCodec,
  check,
  claimRecordCodec,
  decodeBundle,
  decodeReceiptProof,
  failed,
  modelIdOf,
  modelRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  notApplicable,
  OFFER,
  type Offer,
  type ProvenRecord,
  passed,
  RECEIPT,
  type Receipt,
  recordKey,
  type SignedObject,
  sessionRecordCodec,
  skipped,
  type Verdict,
  VOUCHER,
  type Voucher,
  verifyingKeyRecordCodec,
  verifyReceiptProof,
} from '@haca/protocol';
import { decodeLightBlock } from './chain/light-block-json.ts';
import type { Trust } from './chain/trust.ts';
import { anchorHeight, trustedChainId, verifyAnchor } from './chain/trust-anchor.ts';
import { type EvidenceJudgement, judgeKeyEvidence, type KeyEvidence } from './evidence.ts';
import {
  EVIDENCE_RECORDS_AGE_MAX_BLOCKS,
  type EvidenceRecords,
  openEvidenceRecords,
} from './evidence-records.ts';
import { DEFAULT_POLICY, type Policy } from './policy.ts';
import { reserveOf } from './request/body.ts';
import type { Standing } from './standing.ts';
import { assuranceOf, judge, verifyAnswer } from './verify-answer.ts';
import { claimIdOfRecord, verifyZkReceipt } from './zk/verify.ts';

export interface BundleContext {
  readonly crypto: CryptoProvider;
  /** What the verifier trusts; nothing in the bundle is. */
  readonly trust: Trust;
  readonly nowMs: number;
  readonly policy?: Partial<Policy>;
  readonly trustingPeriodMs?: number;
}

export interface BundleVerification {
  readonly verdict: Verdict;
  readonly assurance: Assurance;
  /** What is known of who can touch the machine; null where no evidence backs the answer. */
  readonly tier: AssuranceTier | null;
  /** Intel's word for the platform, as of the bundle's records; null where the evidence has none. */
  readonly tcbStatus: string | null;
  /** Of the key, as of the bundle's records; null where it could not be judged. */
  readonly standing: Standing | null;
  readonly receipt: SignedObject<Receipt>;
  readonly modelName: string;
  /** The highest verified header, which everything final was proven against; null where none was. */
  readonly header: { readonly height: number; readonly hash: Uint8Array; readonly timeMs: number } | null;
}

const TRUSTING_PERIOD_MS = 9 * 86_400_000;
const CLOCK_DRIFT_MS = 30_000;

/**
 * Checks everything in a bundle without asking anybody. Throws `MalformedError` where the bytes are no bundle; any lie in
 * a well-formed one is a failed check.
 */
export function verifyBundle(bytes: Uint8Array, context: BundleContext): BundleVerification {
  const bundle = decodeBundle(bytes);
  const { crypto } = context;
  const policy = { ...DEFAULT_POLICY, ...context.policy };
  const chain = verifyHeaders(bundle, context);
  const parts = decodeParts(bundle);
  const { receipt, key, node, model } = parts;
  const records = recordChecks(bundle, parts, chain.trusted);
  const evidence = judgeEvidence(bundle, parts, chain.trusted, records, crypto);
  const refHeader = chain.trusted.get(receipt.value.refHeight);
  const answer = verifyAnswer(
    crypto,
    receipt,
    {
      chainId: trustedChainId(context.trust),
      nodeId: receipt.value.nodeId,
      node,
      keyId: receipt.value.keyId,
      key,
      modelId: modelIdOf(model.manifest),
      nowMs: 0,
    },
    {
      request: bundle.request,
      response: bundle.response,
      form: null,
      offer: parts.offer,
      voucher: parts.voucher?.value ?? null,
      chargedBefore: chargedBefore(parts, bundle.request),
      idempotencyKey: undefined,
      refBlockHash: refHeader === undefined ? null : headerHash(refHeader),
      minRefHeight: null,
    },
  );
  const zk = verifyZk(bundle, parts, trustedChainId(context.trust));
  const signedAssurance = assuranceOf(receipt.value, key, evidence.judgement.simulated);
  const chainId = trustedChainId(context.trust);
  const checks = [
    check('bundle.chain-id', 'E_CHAIN', bundle.chainId === chainId, chainId, bundle.chainId),
    ...chain.checks,
    ...records,
    ...voucherChecks(crypto, bundle, parts),
    ...evidence.checks,
    ...answer,
    ...settlementChecks(crypto, bundle, receipt, key),
    ...zk,
  ];
  // Only what all checks stand behind is called proved.
  const isProved =
    zk.length > 0 && checks.every(({ status }) => status === 'passed' || status === 'not-applicable');
  const assurance = isProved ? 'zk' : signedAssurance;
  const { tier, tcbStatus, standing } = evidence.judgement;
  return {
    verdict: judge(checks, assurance, tier, policy),
    assurance,
    tier,
    tcbStatus,
    standing,
    receipt,
    modelName: model.manifest.name,
    header: newest(chain.trusted),
  };
}

interface BundleParts {
  readonly receipt: SignedObject<Receipt>;
  readonly offer: SignedObject<Offer>;
  readonly voucher: SignedObject<Voucher> | null;
  readonly key: NodeKeyRecord;
  readonly node: ReturnType<typeof decodeNode>;
  readonly model: ReturnType<typeof decodeModel>;
  readonly config: ReturnType<typeof decodeConfig>;
}

function decodeParts(bundle: Bundle): BundleParts {
  return {
    receipt: RECEIPT.decode(bundle.receipt),
    offer: OFFER.decode(bundle.offer),
    voucher: bundle.voucher === null ? null : VOUCHER.decode(bundle.voucher),
    key: decode(nodeKeyRecordCodec, present(bundle.key, 'key'), 'bundle.key'),
    node: decodeNode(bundle),
    model: decodeModel(bundle),
    config: decodeConfig(bundle),
  };
}

const decodeNode = (bundle: Bundle) => decode(nodeRecordCodec, present(bundle.node, 'node'), 'bundle.node');
const decodeModel = (bundle: Bundle) =>
  decode(modelRecordCodec, present(bundle.model, 'model'), 'bundle.model');
const decodeConfig = (bundle: Bundle) =>
  decode(chainConfigRecordCodec, present(bundle.config, 'config'), 'bundle.config');

function present({ value }: ProvenRecord, what: string): Uint8Array {
  if (value === null)
    throw new MalformedError('bundle.absent', `bundle.${what}`, 'a record', 'a proof of absence');
  return value;
}

interface VerifiedHeaders {
  readonly trusted: ReadonlyMap<number, Header>;
  readonly checks: readonly Check[];
}

/** From the caller's trust forward over the bundle's headers, and back over headers that adjoin. */
function verifyHeaders(bundle: Bundle, context: BundleContext): VerifiedHeaders {
  const { crypto, trust, nowMs } = context;
  const blocks = bundle.headers.map((bytes, i) => decodeLightBlock(bytes, `bundle.headers.${i}`));
  const start = blocks.findIndex(({ signedHeader }) => signedHeader.header.height === anchorHeight(trust));
  if (start < 0) {
    const heights = blocks.map(({ signedHeader }) => signedHeader.header.height).join(', ');
    const none = failed(
      'chain.anchor',
      'chain.no-anchor',
      `a header of height ${anchorHeight(trust)}`,
      heights,
    );
    return { trusted: new Map(), checks: [none] };
  }
  const first = blocks[start] as LightBlock;
  const anchored = verifyAnchor(crypto, trust, first);
  if (!anchored.ok) return { trusted: new Map(), checks: anchored.checks };
  const trusted = new Map<number, Header>([[first.signedHeader.header.height, first.signedHeader.header]]);
  const forward = followForward(blocks.slice(start), trusted, context);
  linkBackward(blocks.slice(0, start), first.signedHeader.header, trusted);
  const last = newest(trusted) as NonNullable<BundleVerification['header']>;
  return {
    trusted,
    checks: [
      ...anchored.checks,
      ...forward,
      check(
        'chain.clock',
        'header.from-future',
        last.timeMs <= nowMs + CLOCK_DRIFT_MS,
        `at most ${nowMs + CLOCK_DRIFT_MS}`,
        `${last.timeMs}`,
      ),
      trustPeriodCheck(first.signedHeader.header, last, context),
    ],
  };
}

function followForward(
  blocks: readonly LightBlock[],
  trusted: Map<number, Header>,
  { crypto, trust, trustingPeriodMs }: BundleContext,
): Check[] {
  const options = {
    chainId: trustedChainId(trust),
    trustingPeriodNs: BigInt(trustingPeriodMs ?? TRUSTING_PERIOD_MS) * 1_000_000n,
    clockDriftNs: BigInt(CLOCK_DRIFT_MS) * 1_000_000n,
    trustLevel: DEFAULT_TRUST_LEVEL,
  };
  let from = blocks[0] as LightBlock;
  for (const block of blocks.slice(1)) {
    const { header } = block.signedHeader;
    // Judged as it was when the header was new; how old all of it is now is a check of its own.
    const { outcome, verdict } = verifyHeader(crypto, trustedStateOf(from), block, options, header.time);
    if (outcome !== 'trusted') return [...verdict.checks];
    trusted.set(header.height, header);
    from = block;
  }
  const { height } = from.signedHeader.header;
  return [
    passed('chain.headers', `${blocks.length} headers up to ${height}, > 2/3 of the voting power each`),
  ];
}

function linkBackward(blocks: readonly LightBlock[], anchor: Header, trusted: Map<number, Header>): void {
  let above = anchor;
  for (const { signedHeader } of [...blocks].reverse()) {
    const { header } = signedHeader;
    const isLinked =
      header.height === above.height - 1 && bytesEqual(headerHash(header), above.lastBlockId.hash);
    if (!isLinked) return;
    trusted.set(header.height, header);
    above = header;
  }
}

function trustPeriodCheck(
  anchor: Header,
  last: { readonly height: number },
  { nowMs, trustingPeriodMs }: BundleContext,
): Check {
  const id = 'chain.trust-period';
  const ageMs = nowMs - timestampToMs(anchor.time);
  const limitMs = trustingPeriodMs ?? TRUSTING_PERIOD_MS;
  if (last.height === anchor.height) return passed(id, 'the trusted header itself');
  if (ageMs <= limitMs) return passed(id, `trusted header ${ageMs} ms old`);
  return skipped(
    id,
    'chain.trust-old',
    'the trusted header is older than the trusting period: validators who have left since could have forged later ones; give a recent trusted header',
  );
}

function recordChecks(bundle: Bundle, parts: BundleParts, trusted: ReadonlyMap<number, Header>): Check[] {
  const { nodeId, keyId, modelId } = parts.receipt.value;
  const wanted: readonly (readonly [string, ProvenRecord, Uint8Array])[] = [
    ['node', bundle.node, recordKey.node(nodeId)],
    ['key', bundle.key, recordKey.nodeKey(keyId)],
    ['model', bundle.model, recordKey.model(modelId)],
    ['config', bundle.config, recordKey.params()],
    ...sessionRecord(bundle, parts),
    ...evidenceRecords(bundle),
    ...zkRecords(bundle, parts),
  ];
  return wanted.flatMap(([name, record, key]) => {
    const header = trusted.get(record.stateHeight + 1);
    const subject = check(
      `${name}.record`,
      'store.other-key',
      bytesEqual(record.key, key),
      toHex(key),
      toHex(record.key),
    );
    if (header === undefined) {
      const why = `no verified header of height ${record.stateHeight + 1}`;
      return [subject, failed(`${name}.proof`, 'chain.no-header', 'a verified header', why)];
    }
    const problem = verifyStateProof({ header, ...record }).checks.find(({ status }) => status !== 'passed');
    const proof =
      problem === undefined
        ? passed(`${name}.proof`, `state ${record.stateHeight}`)
        : { ...problem, id: `${name}.proof` };
    return [subject, proof];
  });
}

/** Each says by its key what it is; whether it is one that is needed is seen when the evidence is judged. */
function evidenceRecords({
  evidenceRecords: records = [],
}: Bundle): readonly (readonly [string, ProvenRecord, Uint8Array])[] {
  return records.map((record, i) => [`evidence-record.${i}`, record, record.key]);
}

interface BundleEvidence {
  readonly judgement: EvidenceJudgement;
  readonly checks: readonly Check[];
}

/** As of the one state that the bundle's records are proven in. */
function judgeEvidence(
  bundle: Bundle,
  { key, config, receipt }: BundleParts,
  trusted: ReadonlyMap<number, Header>,
  recordVerdicts: readonly Check[],
  crypto: CryptoProvider,
): BundleEvidence {
  const given = bundle.evidenceRecords ?? [];
  const proven = new Set(recordVerdicts.filter(({ status }) => status === 'passed').map(({ id }) => id));
  // What the chain did not write is not even read.
  const records = openEvidenceRecords(given.filter((_, i) => proven.has(`evidence-record.${i}.proof`)));
  const registered = trusted.get(key.openedAt);
  const stateHeight = given[0]?.stateHeight;
  const header = stateHeight === undefined ? undefined : trusted.get(stateHeight + 1);
  const judgement = judgeKeyEvidence(crypto, {
    key,
    record: bundle.keyEvidence ?? null,
    evidence: keyEvidenceOf(bundle),
    config,
    registeredAtMs: registered === undefined ? null : timestampToMs(registered.time),
    records,
    time: header === undefined ? null : { height: header.height, timeMs: timestampToMs(header.time) },
  });
  const own = given.length === 0 ? [] : setChecks(given, records, receipt.value.refHeight);
  const stray = bundle.evidence === null && bundle.gpuEvidence !== undefined;
  const gpus = stray
    ? [failed('bundle.gpu-evidence', 'E_EVIDENCE', 'the evidence that it goes with', 'none')]
    : [];
  return { judgement, checks: [...own, ...gpus, ...judgement.verdict.checks] };
}

function keyEvidenceOf({ evidence, gpuEvidence }: Bundle): KeyEvidence | null {
  if (evidence === null) return null;
  return { ...evidence, ...(gpuEvidence === undefined ? {} : { gpuEvidence }) };
}

/** One state, not older than the answer, and nothing beside what the evidence is judged by. */
function setChecks(
  given: readonly ProvenRecord[],
  records: EvidenceRecords,
  refHeight: number,
): readonly Check[] {
  const heights = [...new Set(given.map(({ stateHeight }) => stateHeight))];
  const asked = new Set(records.asked().map(toHex));
  const names = given.map(({ key }) => toHex(key));
  const foreign = names.filter((name, i) => !asked.has(name) || names.indexOf(name) !== i);
  const [first = 0] = heights;
  return [
    check(
      'evidence-records.state',
      'evidence-records.state',
      heights.length === 1,
      'records of one state',
      heights.join(', '),
    ),
    check(
      'evidence-records.fresh',
      'evidence-records.stale',
      refHeight - first <= EVIDENCE_RECORDS_AGE_MAX_BLOCKS,
      `a state of height ${refHeight - EVIDENCE_RECORDS_AGE_MAX_BLOCKS} or above`,
      `${first}`,
    ),
    check(
      'evidence-records.needed',
      'evidence-records.foreign',
      foreign.length === 0,
      'only records that the evidence is judged by, each once',
      foreign.length === 0 ? `${names.length}` : `also ${foreign.slice(0, 3).join(', ')}`,
    ),
  ];
}

function sessionRecord(
  { session }: Bundle,
  { voucher }: BundleParts,
): readonly (readonly [string, ProvenRecord, Uint8Array])[] {
  if (session === null) return [];
  const slot = voucher?.value;
  const key = slot === undefined ? new Uint8Array(0) : recordKey.session(slot.channelId, slot.session);
  return [['session', session, key]];
}

/** Without a voucher there is nothing to say; with one, the chain's record of the session key must back it. */
function voucherChecks(crypto: CryptoProvider, { session }: Bundle, { voucher }: BundleParts): Check[] {
  if (voucher === null) return [notApplicable('voucher.signature', 'no voucher in the bundle')];
  if (session === null || session.value === null) {
    return [failed('voucher.signature', 'E_SESSION', 'the record of the session key', 'none')];
  }
  const { publicKey } = decode(sessionRecordCodec, session.value, 'bundle.session');
  return [
    check(
      'voucher.signature',
      'E_SIG',
      VOUCHER.verify(crypto, voucher, publicKey),
      `a signature by ${toHex(publicKey)}`,
      'see status',
    ),
  ];
}

/** The lane's charge before this request, from the payer's own voucher and the price list. */
function chargedBefore({ voucher, offer, receipt }: BundleParts, request: Uint8Array | null): bigint | null {
  if (voucher === null || request === null) return null;
  const reserve = reserveOf(offer.value, receipt.value.method, request);
  if (reserve === null) return null;
  const before = voucher.value.cumulative - reserve;
  return before < 0n ? null : before;
}

/** The proof behind a receipt of method `zk`; nothing where the receipt is of another, or the bundle has none. */
function verifyZk(bundle: Bundle, { receipt, key, model }: BundleParts, chainId: string): readonly Check[] {
  if (bundle.zk === undefined) return [];
  const { claim, verifyingKey, transaction } = bundle.zk;
  return verifyZkReceipt({
    chainId,
    receipt,
    key,
    claim: decode(claimRecordCodec, present(claim, 'zk.claim'), 'bundle.zk.claim'),
    verifyingKeyHash: model.manifest.weights.digest,
    verifying: decode(verifyingKeyRecordCodec, present(verifyingKey, 'zk.key'), 'bundle.zk.key'),
    transaction,
  }).verdict.checks;
}

/** Claim and verifying key of the bundle, each under the only key that says what it has to. */
function zkRecords(
  { zk, chainId }: Bundle,
  { model }: BundleParts,
): readonly (readonly [string, ProvenRecord, Uint8Array])[] {
  if (zk === undefined) return [];
  const claim = decode(claimRecordCodec, present(zk.claim, 'zk.claim'), 'bundle.zk.claim');
  return [
    ['claim', zk.claim, recordKey.claim(claimIdOfRecord(chainId, claim))],
    ['verifying-key', zk.verifyingKey, recordKey.verifyingKey(model.manifest.weights.digest)],
  ];
}

function settlementChecks(
  crypto: CryptoProvider,
  bundle: Bundle,
  receipt: SignedObject<Receipt>,
  key: NodeKeyRecord,
): readonly Check[] {
  if (bundle.receiptProof === null) {
    return [skipped('settlement.proof', 'receipt.not-settled', 'made before the receipt was settled')];
  }
  return verifyReceiptProof(crypto, decodeReceiptProof(bundle.receiptProof), key, receipt.hash).checks;
}

function newest(trusted: ReadonlyMap<number, Header>): BundleVerification['header'] {
  let best: Header | undefined;
  for (const header of trusted.values()) if (header.height > (best?.height ?? -1)) best = header;
  if (best === undefined) return null;
  return { height: best.height, hash: headerHash(best), timeMs: timestampToMs(best.time) };
}
