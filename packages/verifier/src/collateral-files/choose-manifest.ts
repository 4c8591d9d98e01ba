/** Chooses from a library the manifests that a report asks for. Whatever is chosen is verified afterwards. */
import type { NvidiaManifestRef, NvidiaManifestSource } from '../tee/nvidia/rim-checks.ts';
import type { CollateralLibrary, ManifestEntry } from './library.ts';

export interface ChosenManifests {
  readonly source: NvidiaManifestSource;
  /** Where those that were asked for stood. */
  readonly used: () => readonly string[];
}

/**
 * The one for kind, version and chip; else for kind and version. Where there is none and `isAsked`, the only one of its kind, or
 * the only one of which it cannot be told: it was meant, and its failure says why. Of several that fit the last one that holds
 * longest cannot be told without verifying, so the first is given.
 */
export function manifestSource({ manifests }: CollateralLibrary, isAsked: boolean): ChosenManifests {
  const used: string[] = [];
  const source = (ref: NvidiaManifestRef): Uint8Array | null => {
    const chosen = choose(manifests, ref, isAsked);
    if (chosen !== null && !used.includes(chosen.origin)) used.push(chosen.origin);
    return chosen?.bytes ?? null;
  };
  return { source, used: () => used };
}

function choose(
  all: readonly ManifestEntry[],
  ref: NvidiaManifestRef,
  isAsked: boolean,
): ManifestEntry | null {
  const ofKind = all.filter(({ about }) => about?.kind === ref.kind);
  const fitting = ofKind.filter(({ about }) => same(about?.version, ref.version));
  const best = fitting.find(({ about }) => same(about?.product, ref.product)) ?? fitting[0];
  if (best !== undefined || !isAsked) return best ?? null;
  const unread = all.filter(({ about }) => about === null);
  const meant = ofKind.length > 0 ? ofKind : unread;
  return meant.length === 1 ? (meant[0] as ManifestEntry) : null;
}

function same(a: string | undefined, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}
