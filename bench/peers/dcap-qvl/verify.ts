/** The peer for Intel quotes: `@phala/dcap-qvl`, the pure JavaScript verifier on npm. */
import { install, installedVersion, loadPeer } from '../install.ts';

export const DCAP_QVL = '@phala/dcap-qvl';

/** Collateral in one object, as its own tools write it. */
export type DcapQvlCollateral = Readonly<Record<string, string>>;

interface DcapQvl {
  readonly verify: (
    quote: Uint8Array,
    collateral: DcapQvlCollateral,
    nowSeconds: number,
  ) => { readonly status: string; readonly advisory_ids: readonly string[] };
}

const HERE = import.meta.dirname;

/** The version that is installed; undefined where none is. */
export function dcapQvlVersion(): string | undefined {
  return installedVersion(DCAP_QVL, HERE);
}

/** Resolves with the reason where that failed, with undefined otherwise. */
export function installDcapQvl(): Promise<string | undefined> {
  return install([DCAP_QVL], HERE);
}

/** Never throws: where it is not installed it says so. */
export function openDcapQvl(): Pick<DcapQvl, 'verify'> | { readonly missing: string } {
  if (dcapQvlVersion() === undefined) return { missing: `${DCAP_QVL} is not installed` };
  try {
    return loadPeer<DcapQvl>(DCAP_QVL, HERE);
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}
