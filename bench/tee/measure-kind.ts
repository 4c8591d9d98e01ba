/**
 * Measures the appraisal of one kind of evidence in a process of its own, so that its memory is its own: `node measure-kind.ts
 * KIND [peer]`. Prints one JSON object. Every appraisal that is timed must accept; the portable provider must say the same.
 */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  nodeCrypto,
  openFastP384,
  openNodeCrypto,
  portableCrypto,
  rememberSignatures,
  withFastP384,
} from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';
import {
  appraiseGenuine,
  carriedCertificates,
  collateralJson,
  type GenuineDocument,
  genuineDocuments,
  isAccepted,
} from '../../interop/tee-documents/genuine.ts';
import { percentile } from '../measure.ts';
import { openDcapQvl } from '../peers/dcap-qvl/verify.ts';
import { bareSignatures, recurs, type Scheme, signaturesOf } from './bare-signatures.ts';
import { type Cost, costsOf } from './cpu-time.ts';

export interface KindFigures {
  readonly kind: string;
  readonly document: string;
  readonly documentBytes: number;
  readonly signatures: Readonly<Partial<Record<Scheme, number>>>;
  /** Signatures left where those of certificates and collateral are remembered. */
  readonly warmSignatures: number;
  /** By the clock, in a process that has appraised nothing yet. */
  readonly firstMs: number;
  readonly cold: Cost;
  /** Signatures of collateral and of those who sign it remembered, those of the document's own chain not; null without collateral. */
  readonly collateralKnown: Cost | null;
  readonly collateralSignatures: number;
  readonly warm: Cost;
  readonly bareCold: Cost;
  readonly bareWarm: Cost;
  /** Everything but the signatures. */
  readonly rest: Cost;
  readonly portable: Cost;
  /** The same with P-384 in WebAssembly. */
  readonly portableFast: Cost;
  /** Heap that one appraisal takes before anything is collected; and what is left per appraisal after many and a collection. */
  readonly takenBytes: number;
  readonly keptBytes: number;
  readonly peer: Cost | { readonly missing: string } | null;
}

const P384_MODULE = new URL('../../packages/platform/build/p384.wasm', import.meta.url);
const WARM_UP = 2_000;
const KEPT_AFTER = 500;

function accept(document: GenuineDocument, crypto: CryptoProvider): void {
  const appraisal = appraiseGenuine(document, document.bytes, crypto);
  if (!isAccepted(appraisal))
    throw new Error(
      `${document.id} is refused: ${JSON.stringify(appraisal.verdict.checks.filter(({ status }) => status === 'failed'))}`,
    );
}

/** Signatures over messages that are `known` answered from `memory`, the others by `fresh` each time. */
function partlyKnown(
  memory: CryptoProvider,
  fresh: CryptoProvider,
  known: (message: Uint8Array) => boolean,
): CryptoProvider {
  const through =
    (scheme: Scheme): CryptoProvider[Scheme] =>
    (publicKey, message, signature) =>
      (known(message) ? memory : fresh)[scheme](publicKey, message, signature);
  return {
    ...fresh,
    verifyEcdsaP256: through('verifyEcdsaP256'),
    verifyEcdsaP384: through('verifyEcdsaP384'),
    verifyRsaPssSha384: through('verifyRsaPssSha384'),
    verifyRsaPkcs1Sha256: through('verifyRsaPkcs1Sha256'),
  };
}

function measureKind(kind: string, withPeer: boolean): KindFigures {
  const document = genuineDocuments().find((each) => each.kind === kind);
  if (document === undefined) throw new RangeError(`no genuine evidence of kind ${kind}`);
  const startedAt = performance.now();
  accept(document, nodeCrypto);
  const firstMs = performance.now() - startedAt;
  const native = appraiseGenuine(document, document.bytes, nodeCrypto);
  if (!isDeepStrictEqual(native, appraiseGenuine(document, document.bytes, portableCrypto)))
    throw new Error(`${document.id}: the portable provider gives another verdict`);
  const calls = signaturesOf((crypto) => accept(document, crypto));
  const answered = rememberSignatures(nodeCrypto, 4096);
  for (let i = 0; i < WARM_UP; i++) accept(document, answered);
  const peer = withPeer ? peerOf(document) : null;
  const memory = rememberSignatures(nodeCrypto, 4096);
  const warm = partlyKnown(memory, nodeCrypto, (message) => recurs({ message }));
  const own = new Set(
    carriedCertificates(document.bytes).map(({ tbs }) => Buffer.from(tbs).toString('latin1')),
  );
  const isCollateral = (message: Uint8Array): boolean =>
    recurs({ message }) && !own.has(Buffer.from(message).toString('latin1'));
  const collateralSignatures =
    own.size === 0 ? 0 : calls.filter(({ message }) => isCollateral(message)).length;
  const p384 = openFastP384(readFileSync(P384_MODULE));
  const portableFast = withFastP384(portableCrypto, () => p384);
  const bare = bareSignatures(calls);
  const bareWarm = bareSignatures(calls.filter((call) => !recurs(call)));
  const costs = costsOf<string>({
    cold: () => accept(document, openNodeCrypto()),
    bareCold: bare.cold,
    collateralKnown: () => accept(document, partlyKnown(memory, openNodeCrypto(), isCollateral)),
    warm: () => accept(document, warm),
    bareWarm: bareWarm.warm,
    rest: () => accept(document, answered),
    ...(typeof peer === 'function' ? { peer } : {}),
    portable: () => accept(document, portableCrypto),
    portableFast: () => accept(document, portableFast),
  }) as Costs;
  const { peer: peerCost, ...ownCosts } = costs;
  return {
    kind,
    document: document.id,
    documentBytes: document.bytes.length,
    signatures: countsOf(calls.map(({ scheme }) => scheme)),
    warmSignatures: calls.filter((call) => !recurs(call)).length,
    firstMs,
    ...ownCosts,
    collateralKnown: collateralSignatures === 0 ? null : costs.collateralKnown,
    collateralSignatures,
    ...memoryOf(document),
    peer: typeof peer === 'function' ? (peerCost ?? null) : peer,
  };
}

type Costs = Record<
  'cold' | 'bareCold' | 'collateralKnown' | 'warm' | 'bareWarm' | 'rest' | 'portable' | 'portableFast',
  Cost
> & {
  readonly peer?: Cost;
};

/** The same quote and collateral through the peer; it has to accept them too. */
function peerOf({ id, kind, bytes, context }: GenuineDocument): (() => void) | { readonly missing: string } {
  const peer = openDcapQvl();
  if ('missing' in peer) return peer;
  const collateral = collateralJson(kind, id);
  return () => {
    const { status } = peer.verify(bytes, collateral, Math.floor(context.nowMs / 1000));
    if (status === '') throw new Error('the peer gives no status');
  };
}

function countsOf(schemes: readonly Scheme[]): KindFigures['signatures'] {
  const counts: Partial<Record<Scheme, number>> = {};
  for (const scheme of schemes) counts[scheme] = (counts[scheme] ?? 0) + 1;
  return counts;
}

function memoryOf(document: GenuineDocument): Pick<KindFigures, 'takenBytes' | 'keptBytes'> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heapBytes = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const taken = Array.from({ length: 15 }, () => {
    collect();
    const before = heapBytes();
    accept(document, openNodeCrypto());
    return heapBytes() - before;
  });
  collect();
  collect();
  const before = heapBytes();
  for (let i = 0; i < KEPT_AFTER; i++) accept(document, openNodeCrypto());
  collect();
  collect();
  return { takenBytes: percentile(taken, 0.5), keptBytes: Math.max(0, heapBytes() - before) / KEPT_AFTER };
}

const [kind = '', peer] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(measureKind(kind, peer === 'peer'))}\n`);
