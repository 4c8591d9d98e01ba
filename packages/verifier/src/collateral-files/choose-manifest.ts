/** Chooses from a library the manifests that a report asks for. Whatever is chosen is verified afterwards. */
import { toHex } from '@haca/primitives';
import type { NvidiaManifestRef, NvidiaManifestSource } from '../tee/nvidia/rim-checks.ts';
import { type NvidiaManifestTrust, verifyNvidiaManifest } from '../tee/nvidia/rim-verify.ts';
import type { CollateralLibrary, ManifestEntry } from './library.ts';

/** Manifests of one kind, version and chip that are looked into. */
const TRIED_MAX = 16;

export interface ChosenManifests {
  readonly source: NvidiaManifestSource;
  /** Where those that were asked for stood. */
  readonly used: () => readonly string[];
}

/**
 * Of those for kind, version and chip (else kind and version) the first that holds at the time, else the first that is authentic,
 * else the first: NVIDIA signs a manifest anew when its signer ends. Where none is for that version and `isAsked`, the only one of
 * its kind, else one that is damaged: it was meant, and its failure says why.
 */
export function manifestSource(
  { manifests }: CollateralLibrary,
  isAsked: boolean,
  trust: NvidiaManifestTrust,
): ChosenManifests {
  const used: string[] = [];
  const source = (ref: NvidiaManifestRef): Uint8Array | null => {
    const chosen = bestOf(candidates(distinct(manifests), ref, isAsked), trust);
    if (chosen !== null && !used.includes(chosen.origin)) used.push(chosen.origin);
    return chosen?.bytes ?? null;
  };
  return { source, used: () => used };
}

function candidates(
  all: readonly ManifestEntry[],
  ref: NvidiaManifestRef,
  isAsked: boolean,
): readonly ManifestEntry[] {
  const ofKind = all.filter(({ about }) => about?.kind === ref.kind);
  const ofVersion = ofKind.filter(({ about }) => same(about?.version, ref.version));
  const ofChip = ofVersion.filter(({ about }) => same(about?.product, ref.product));
  if (ofVersion.length > 0) return ofChip.length > 0 ? ofChip : ofVersion;
  if (!isAsked) return [];
  return ofKind.length === 1 ? ofKind : all.filter(({ about }) => about === null).slice(0, 1);
}

function bestOf(entries: readonly ManifestEntry[], trust: NvidiaManifestTrust): ManifestEntry | null {
  const [first, ...others] = entries;
  if (first === undefined || others.length === 0) return first ?? null;
  const judged = entries.slice(0, TRIED_MAX).map((entry) => {
    const { checks, claims } = verifyNvidiaManifest(entry.bytes, trust);
    return { entry, isAuthentic: claims !== null, holds: checks.every(({ status }) => status === 'passed') };
  });
  const best = judged.find(({ holds }) => holds) ?? judged.find(({ isAuthentic }) => isAuthentic);
  return best?.entry ?? first;
}

/** The same file in two folders is one. */
function distinct(entries: readonly ManifestEntry[]): readonly ManifestEntry[] {
  return [...new Map(entries.toReversed().map((entry) => [toHex(entry.bytes), entry])).values()].reverse();
}

function same(a: string | undefined, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}
