/**
 * Evidence that is made up, judged as real evidence is: platforms of a level, collateral that says which levels are good, chips,
 * certificates that can be taken back. No signatures: who is authentic is written on it.
 */
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, sha256, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  type DecreeAction,
  decreeMessage,
  type EvidenceKind,
  failed,
  gpuEvidenceRootOf,
  gpuNonceOf,
  type Hardware,
  type Measurement,
  type OpOf,
  passed,
  registrationBindingHash,
  skipped,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { REVOKED_ISSUER_CHECK } from '@haca/verifier';
import {
  consensusAddress,
  type EvidenceFault,
  type EvidenceRescoring,
  type EvidenceVerifier,
  keyStandingOf,
  type StateEvidenceRules,
} from '../src/state-machine/index.ts';
import {
  type Actor,
  actor,
  CHAIN,
  createWorld,
  funded,
  governanceSerial,
  OPG,
  type OpenKeyOptions,
  openKeyOp,
  registerModel,
  registerNode,
  SHORT_PARAMS,
  TEST_MEASUREMENT,
  type TestKey,
  type TestNode,
  testGenesis,
  type World,
  type WorldOptions,
} from './state-machine-world.ts';

export const VENDOR_ROOT = utf8Encode('vendor root');
export const TEST_ROOT = utf8Encode('test root');

export const TD_MEASUREMENT = measurement('tdx', 'td');
export const GPU_MEASUREMENT = measurement('nvidia', 'gpu');

export function measurement(kind: EvidenceKind, name: string): Measurement {
  return { kind, name, registers: [{ register: 'mrtd', value: sha256(utf8Encode(name)) }] };
}

/** What a made-up document says. */
export interface TestDocument {
  /** The binding hash, or the nonce of a GPU; hex. */
  readonly bound: string;
  readonly measurement: string;
  readonly platform: string | null;
  readonly level: number;
  readonly root: string;
  readonly hardware: readonly string[];
  readonly cloud: string | null;
  readonly serial: number;
  readonly endMs: number;
}

export const ISSUER = utf8Encode('issuer');

interface TestCollateral {
  readonly root: string;
  readonly scope: string;
  readonly number: number;
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
  /** Levels from here on are up to date, those below the other are revoked. */
  readonly goodFrom: number;
  readonly revokedBelow: number;
  /** Of the certificate that signs it, issued by `ISSUER`. */
  readonly signer: number;
}

export function collateral(over: Partial<TestCollateral> = {}): Collateral {
  const body: TestCollateral = {
    root: 'vendor root',
    scope: 'TDX:p',
    number: 1,
    issuedMs: 1_700_000_000_000,
    nextUpdateMs: 1_700_001_000_000,
    goodFrom: 1,
    revokedBelow: 0,
    signer: 200,
    ...over,
  };
  return {
    kind: 'intel-tcb-info',
    body: utf8Encode(JSON.stringify(body)),
    signature: new Uint8Array(64),
    issuerChain: [],
  };
}

function readJson<T>(bytes: Uint8Array): T | null {
  try {
    return JSON.parse(utf8Decode(bytes, 'test')) as T;
  } catch {
    return null;
  }
}

function isRevoked(of: number, { revoked }: StateEvidenceRules): boolean {
  return revoked.some(
    ({ issuer, serial }) => bytesEqual(issuer, ISSUER) && bytesEqual(serial, Uint8Array.of(of)),
  );
}

/** As real facts are judged: revocation, then collateral, then the level. */
function judge(doc: TestDocument, rules: StateEvidenceRules): EvidenceRescoring {
  const none = { tcbStatus: null, collateralEndMs: null };
  if (isRevoked(doc.serial, rules)) return { ...none, fault: 'certificate-revoked' };
  if (doc.platform === null) return { ...none, fault: null };
  const item = rules.collateral({
    kind: 'intel-tcb-info',
    rootCertificate: utf8Encode(doc.root),
    scope: utf8Encode(`TDX:${doc.platform}`),
  });
  const info = item === null ? null : readJson<TestCollateral>(item.body);
  if (info === null || isRevoked(info.signer, rules)) return { ...none, fault: 'stale-collateral' };
  const { revokedBelow, goodFrom, nextUpdateMs } = info;
  const tcbStatus = doc.level < revokedBelow ? 'Revoked' : doc.level < goodFrom ? 'OutOfDate' : 'UpToDate';
  const accepted = rules.tcbStatuses.find(({ evidenceKind }) => evidenceKind === 'tdx')?.statuses ?? [];
  const isGood = accepted.some((status) => status === tcbStatus);
  const isStale = rules.nowMs >= nextUpdateMs + rules.collateralGraceMs;
  const fault: EvidenceFault | null = isStale ? 'stale-collateral' : isGood ? null : 'tcb-out-of-date';
  return { fault, tcbStatus, collateralEndMs: nextUpdateMs };
}

function refusal(id: string): Verdict {
  return verdictOf([failed(id, id, 'another', 'this')]);
}

export const MADE_UP_VERIFIER: EvidenceVerifier = {
  appraise: ({ kind, document }, expected) => {
    const doc = readJson<TestDocument>(document);
    if (doc === null) return { verdict: refusal('test.document'), claims: null, tcbStatus: null };
    const bound = kind === 'nvidia' ? gpuNonceOf(expected.binding) : expected.bindingHash;
    const { fault, tcbStatus, collateralEndMs } = judge(doc, expected);
    const approved = expected.measurements.find(
      (each) => each.kind === kind && each.name === doc.measurement,
    );
    const verdict =
      toHex(bound) !== doc.bound
        ? refusal('test.binding')
        : approved === undefined
          ? refusal('test.measurement')
          : fault === null
            ? verdictOf([passed('test.all')])
            : fault === 'stale-collateral'
              ? verdictOf([passed('test.bound'), skipped('test.collateral', 'collateral.missing', 'none')])
              : refusal(`test.${fault}`);
    if (!verdict.ok || approved === undefined) return { verdict, claims: null, tcbStatus };
    const claims = {
      claimsDigest: sha256(document),
      endMs: doc.endMs,
      collateralEndMs,
      simulated: doc.root === 'test root',
      measurement: approved,
      facts: document,
      cloud: doc.cloud,
      hardware: doc.hardware.map((name) => chip(kind === 'nvidia' ? 'nvidia' : 'intel', name)),
    };
    return { verdict, claims, tcbStatus };
  },
  rescore: (_kind, facts, rules) => judge(readJson<TestDocument>(facts) as TestDocument, rules),
  appraiseCollateral: (item, rules) => {
    const info = item.kind === 'intel-tcb-info' ? readJson<TestCollateral>(item.body) : null;
    const isKnown = info?.root === 'vendor root' || (info?.root === 'test root' && rules.simulated);
    if (info === null || !isKnown) return { verdict: refusal('test.collateral'), facts: null };
    if (isRevoked(info.signer, rules)) return { verdict: refusal(REVOKED_ISSUER_CHECK), facts: null };
    const { root, scope, number, issuedMs, nextUpdateMs } = info;
    const ref = { kind: item.kind, rootCertificate: utf8Encode(root), scope: utf8Encode(scope) };
    const facts = {
      ref,
      simulated: root === 'test root',
      version: [number, issuedMs] as const,
      nextUpdateMs,
    };
    return { verdict: verdictOf([passed('test.collateral')]), facts };
  },
};

export function chip(vendor: Hardware['vendor'], name: string): Hardware {
  return { vendor, id: sha256(utf8Encode(name)).subarray(0, 16) };
}

/** Delays and graces of a few blocks: one is a second. */
export const EVIDENCE_PARAMS = {
  ...SHORT_PARAMS,
  tcbGraceMs: 20_000,
  collateralGraceMs: 10_000,
  measurementDelay: 6,
  keyTtl: 150,
};

export function evidenceWorld(over: WorldOptions & { readonly isSimulated?: boolean } = {}): {
  readonly world: World;
  readonly node: TestNode;
} {
  const { isSimulated = false, ...options } = over;
  const genesis = {
    ...testGenesis({ ...EVIDENCE_PARAMS, ...options.params }, isSimulated),
    measurements: [TEST_MEASUREMENT, TD_MEASUREMENT, GPU_MEASUREMENT],
  };
  const world = createWorld({ genesis, evidence: MADE_UP_VERIFIER, ...options });
  registerModel(world);
  return { world, node: registerNode(world, funded(world, 'operator', 90_000n * OPG)) };
}

export interface DocumentOptions extends OpenKeyOptions {
  readonly doc?: Partial<TestDocument>;
  /** One document each. */
  readonly gpus?: readonly Partial<TestDocument>[];
  readonly kind?: EvidenceKind;
}

const DOCUMENT: TestDocument = {
  bound: '',
  measurement: 'td',
  platform: 'p',
  level: 5,
  root: 'vendor root',
  hardware: [],
  cloud: null,
  serial: 1,
  endMs: 1_800_000_000_000,
};

/** Opening a key with documents that are bound to it, but for what is said otherwise. */
export function openWithDocuments(
  world: World,
  node: TestNode,
  { doc, gpus = [], kind = 'tdx', ...options }: DocumentOptions = {},
): { readonly op: OpOf<'open-key'>; readonly key: TestKey } {
  const plain = openKeyOp(world, node, { ...options, method: 'tee' });
  const documents = gpus.map((gpu) =>
    utf8Encode(
      JSON.stringify({
        ...DOCUMENT,
        bound: toHex(gpuNonceOf(plain.op.binding)),
        measurement: 'gpu',
        platform: null,
        ...gpu,
      }),
    ),
  );
  const gpuEvidenceRoot = gpuEvidenceRootOf(documents);
  const binding = { gpuEvidenceRoot, ...options.binding };
  const { op, key } = openKeyOp(world, node, { ...options, method: 'tee', binding });
  const bound = toHex(registrationBindingHash(nodeCrypto, op.binding));
  const document = utf8Encode(JSON.stringify({ ...DOCUMENT, bound, ...doc }));
  return {
    op: {
      ...op,
      evidence: { kind, document },
      ...(documents.length === 0 ? {} : { gpuEvidence: documents }),
      ...options.op,
    },
    key,
  };
}

export function openDocumentKey(world: World, node: TestNode, options: DocumentOptions = {}): TestKey {
  const { op, key } = openWithDocuments(world, node, options);
  world.ok(node.operator, [op]);
  return key;
}

export function openCode(world: World, node: TestNode, options: DocumentOptions = {}): string {
  return world.run(node.operator, [openWithDocuments(world, node, options).op]).codeName;
}

export function post(world: World, by: Actor, ...items: readonly Collateral[]): string {
  return world.run(by, [{ kind: 'post-collateral', items }]).codeName;
}

/** By the first validator, who has all the power unless others have come. */
export function decreeOp(
  world: World,
  action: DecreeAction,
  signers: readonly Actor['signer'][] = [actor('validator').signer],
): OpOf<'decree'> {
  const serial = governanceSerial(world) + 1;
  const message = decreeMessage({ chainId: CHAIN, serial, action });
  const signatures = signers
    .map((signer) => ({
      validator: consensusAddress(signer.publicKey),
      signature: signer.sign(message),
    }))
    .sort((a, b) => (toHex(a.validator) < toHex(b.validator) ? -1 : 1));
  return { kind: 'decree', serial, action, signatures };
}

export function decree(world: World, by: Actor, action: DecreeAction): string {
  return world.run(by, [decreeOp(world, action)]).codeName;
}

/** As of the newest block. */
export function standingOf(world: World, key: TestKey) {
  return keyStandingOf(world, world.ctx, key.keyId, { height: world.height(), timeMs: world.timeMs() });
}
