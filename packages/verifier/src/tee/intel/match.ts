/** Whether a piece of collateral is about the platform that is judged. */
import { bytesEqual, toHex } from '@haca/primitives';
import type { Fault } from './authentic.ts';
import type { PlatformFacts, QeFacts, TdFacts } from './platform-facts.ts';
import type { QeIdentity } from './qe-identity.ts';
import type { TeeKind } from './quote.ts';
import type { TcbInfo, TdxModule } from './tcb-info.ts';
import { findModuleIdentity, moduleVersion } from './tcb-level.ts';

/** Scopes of `CollateralRef`. */
export function tcbInfoScope({ tee, fmspc }: Pick<PlatformFacts, 'tee' | 'fmspc'>): string {
  return `${tee === 'tdx' ? 'TDX' : 'SGX'}:${toHex(fmspc)}`;
}

export function qeIdentityScope({ tee }: Pick<PlatformFacts, 'tee'>): string {
  return qeIdOf(tee);
}

function qeIdOf(tee: TeeKind): QeIdentity['id'] {
  return tee === 'tdx' ? 'TD_QE' : 'QE';
}

export function tcbInfoFault({ tee, fmspc, pceId }: PlatformFacts, info: TcbInfo): Fault {
  const id = tee === 'tdx' ? 'TDX' : 'SGX';
  if (info.id !== id) return { code: 'tcb-info.id', expected: id, got: info.id };
  return bytesFault('tcb-info.fmspc', fmspc, info.fmspc) ?? bytesFault('tcb-info.pce-id', pceId, info.pceId);
}

/** Intel's EnclaveReportVerifier: masked MISCSELECT and attributes, MRSIGNER, product id. */
export function identityFault(qe: QeFacts, tee: TeeKind, identity: QeIdentity): Fault {
  const id = qeIdOf(tee);
  if (identity.id !== id) return { code: 'qe-identity.id', expected: id, got: identity.id };
  const miscSelect = masked(qe.miscSelect, identity.miscSelectMask);
  const attributes = masked(qe.attributes, identity.attributesMask);
  return (
    bytesFault('qe-identity.misc-select', identity.miscSelect, miscSelect) ??
    bytesFault('qe-identity.attributes', identity.attributes, attributes) ??
    bytesFault('qe-identity.mr-signer', identity.mrSigner, qe.mrSigner) ??
    (identity.isvProdId === qe.isvProdId
      ? null
      : { code: 'qe-identity.isv-prod-id', expected: `${identity.isvProdId}`, got: `${qe.isvProdId}` })
  );
}

/**
 * The TDX module is Intel's: MRSIGNERSEAM is the one of its identity, and its attributes are zero and the identity's. A module
 * of major version 0 has its identity in `tdxModule`, any other in `tdxModuleIdentities`.
 */
export function moduleFault(td: TdFacts, info: TcbInfo): Fault {
  const version = moduleVersion(td.teeTcbSvn);
  const identity: TdxModule | null | undefined =
    version === 0 ? info.tdxModule : findModuleIdentity(info, version);
  if (identity === null || identity === undefined)
    return { code: 'module.unknown', expected: `an identity for modules of version ${version}`, got: 'none' };
  return (
    bytesFault('module.mr-signer', identity.mrSigner, td.mrSignerSeam) ??
    bytesFault('module.attributes', new Uint8Array(8), td.seamAttributes) ??
    bytesFault('module.attributes', identity.attributes, td.seamAttributes)
  );
}

const SGX_DEBUG_BIT = 0x02;

export function isDebugEnclave(attributes: Uint8Array): boolean {
  return ((attributes[0] as number) & SGX_DEBUG_BIT) !== 0;
}

/** A quoting enclave in debug mode has given its keys away. */
export function debugFault({ qe }: PlatformFacts): Fault {
  if (!isDebugEnclave(qe.attributes)) return null;
  return { code: 'qe.debug', expected: 'a quoting enclave without DEBUG', got: toHex(qe.attributes) };
}

function masked(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => byte & (mask[i] as number));
}

function bytesFault(code: string, expected: Uint8Array, got: Uint8Array): Fault {
  return bytesEqual(expected, got) ? null : { code, expected: toHex(expected), got: toHex(got) };
}
