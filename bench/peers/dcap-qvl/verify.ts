/** The peer for Intel quotes: `@phala/dcap-qvl`, the pure JavaScript verifier on npm. */
import { installedVersion, loadPeer } from '../install.ts';

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

/** Never throws: where it is not installed (`install([DCAP_QVL])` does that), it says so. */
export function openDcapQvl(): Pick<DcapQvl, 'verify'> | { readonly missing: string } {
  if (installedVersion(DCAP_QVL) === undefined) return { missing: `${DCAP_QVL} is not installed` };
  try {
    return loadPeer<DcapQvl>(DCAP_QVL);
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}
