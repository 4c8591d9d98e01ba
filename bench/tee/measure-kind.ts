/**
 * Measures the appraisal of one kind of evidence in a process of its own, so that its memory is its own: `node measure-kind.ts
 * KIND [peer]`. Prints one JSON object. Every appraisal that is timed must accept; the portable provider must say the same.
 */
import { isDeepStrictEqual } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { nodeCrypto, openNodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';
import {
  appraiseGenuine,
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
  readonly warm: Cost;
  readonly bareCold: Cost;
  readonly bareWarm: Cost;
  /** Everything but the signatures. */
  readonly rest: Cost;
  readonly portable: Cost;
  /** Heap that one appraisal takes before anything is collected; and what is left per appraisal after many and a collection. */
  readonly takenBytes: number;
  readonly keptBytes: number;
  readonly peer: Cost | { readonly missing: string } | null;
}

const WARM_UP = 2_000;
const KEPT_AFTER = 500;

function accept(document: GenuineDocument, crypto: CryptoProvider): void {
  const appraisal = appraiseGenuine(document, document.bytes, crypto);
  if (!isAccepted(appraisal))
    throw new Error(
      `${document.id} is refused: ${JSON.stringify(appraisal.verdict.checks.filter(({ status }) => status === 'failed'))}`,
    );
}

/** Signatures of certificates and collateral answered from memory, the others verified each time. */
function warmCrypto(): CryptoProvider {
  const remembering = rememberSignatures(nodeCrypto, 4096);
  const through =
    (scheme: Scheme): CryptoProvider[Scheme] =>
    (publicKey, message, signature) =>
      (recurs({ message }) ? remembering : nodeCrypto)[scheme](publicKey, message, signature);
  return {
    ...nodeCrypto,
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
  const warm = warmCrypto();
  const bare = bareSignatures(calls);
  const bareWarm = bareSignatures(calls.filter((call) => !recurs(call)));
  const costs = costsOf<string>({
    cold: () => accept(document, openNodeCrypto()),
    bareCold: bare.cold,
    warm: () => accept(document, warm),
    bareWarm: bareWarm.warm,
    rest: () => accept(document, answered),
    ...(typeof peer === 'function' ? { peer } : {}),
    portable: () => accept(document, portableCrypto),
  }) as Costs;
  const { peer: peerCost, ...own } = costs;
  return {
    kind,
    document: document.id,
    documentBytes: document.bytes.length,
    signatures: countsOf(calls.map(({ scheme }) => scheme)),
    warmSignatures: calls.filter((call) => !recurs(call)).length,
    firstMs,
    ...own,
    ...memoryOf(document),
    peer: typeof peer === 'function' ? (peerCost ?? null) : peer,
  };
}

type Costs = Record<'cold' | 'bareCold' | 'warm' | 'bareWarm' | 'rest' | 'portable', Cost> & {
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
