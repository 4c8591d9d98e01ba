/**
 * AMD's revocation list of a product line: signed by its root key, over the certificates that this key issued (the ASK and the
 * ASVK). Endorsement keys are issued by those, so no list names them: AMD takes them back by raising the TCB.
 */
import { bytesEqual, toHex } from '@haca/primitives';
import { type Check, type CollateralOf, failed } from '@haca/protocol';
import type { Certificate } from '../../der/certificate.ts';
import type { RevokedCertificate } from '../../der/chain.ts';
import { crlFault, crlWindowFault, isOnList, parseCrl, type RevocationList } from '../../der/crl.ts';
import type { CheckRun } from '../check-run.ts';
import type { EvidenceTrust } from '../trust.ts';
import { AMD_SIGNATURE } from './chain-profile.ts';

/** Ids of the checks that ask for the list, in order. */
export const SNP_CRL_CHECKS = ['snp.crl.form', 'snp.crl.issuer', 'snp.crl.window', 'snp.chain.crl'] as const;
type CrlRun = CheckRun<(typeof SNP_CRL_CHECKS)[number]>;

/**
 * Notes the checks: that the list is one, that the root signed it, that it is current, and that no certificate of the chain is on
 * it. Returns its `nextUpdate`, or null where there is no genuine one.
 */
export function checkRevocationList(
  root: Certificate,
  chain: readonly RevokedCertificate[],
  trust: Pick<EvidenceTrust, 'crypto' | 'nowMs' | 'collateral' | 'collateralGraceMs'>,
  run: CrlRun,
): number | null {
  const found = trust.collateral({ kind: 'amd-crl', rootCertificate: root.der, scope: root.subject });
  if (found === null) {
    for (const id of SNP_CRL_CHECKS)
      run.skip(id, 'collateral.missing', 'no revocation list of the root is known');
    return null;
  }
  const list = run.parse('snp.crl.form', () => parseCrl(found.crl, 'crl'));
  if (list === null || !checkIssuer(list, found, root, trust, run)) return null;
  const window = crlWindowFault(list, trust.nowMs, trust.collateralGraceMs);
  run.note(faultCheck('snp.crl.window', window));
  run.note(entriesCheck(list, chain));
  return list.nextUpdateMs;
}

function checkIssuer(
  list: RevocationList,
  { issuerChain }: CollateralOf<'amd-crl'>,
  root: Certificate,
  { crypto }: Pick<EvidenceTrust, 'crypto'>,
  run: CrlRun,
): boolean {
  const isOwn = issuerChain.length === 0 || (issuerChain.length === 1 && isSame(issuerChain[0], root.der));
  if (!isOwn)
    return run.fail(
      'snp.crl.issuer',
      'snp.crl-root',
      'the root of the evidence',
      `${issuerChain.length} certificates of another`,
    );
  return run.note(faultCheck('snp.crl.issuer', crlFault(list, root, AMD_SIGNATURE, crypto)));
}

function isSame(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && bytesEqual(a, b);
}

function entriesCheck(list: RevocationList, chain: readonly RevokedCertificate[]): Check {
  const position = chain.findIndex(
    ({ issuer, serial }) => bytesEqual(issuer, list.issuer) && isOnList(list, serial),
  );
  const id = 'snp.chain.crl';
  if (position < 0) return { id, status: 'passed', got: `none of ${list.entries.length} entries` };
  const serial = toHex((chain[position] as RevokedCertificate).serial);
  return {
    ...failed(id, 'certificate.revoked', 'no certificate of the chain on the list', serial),
    reason: `certificate ${position} of ${chain.length - 1}`,
  };
}

function faultCheck(id: string, fault: ReturnType<typeof crlFault>): Check {
  return fault === null ? { id, status: 'passed' } : failed(id, fault.code, fault.expected, fault.got);
}
