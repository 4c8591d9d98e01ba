/**
 * Judges a platform by collateral: revocation lists, TCB information and the identity of the quoting enclave, each of which
 * authenticates itself under the root of the evidence. The same for a quote and, later, for what was kept of it. Every check
 * is noted and the rest goes on, but nothing is read that did not authenticate itself.
 */
import { bytesEqual, toHex, utf8Encode } from '@haca/primitives';
import { type CollateralRef, check, type SignedJson } from '@haca/protocol';
import type { Certificate } from '../../der/certificate.ts';
import { revocationFault, windowFault } from '../../der/chain.ts';
import { crlWindowFault, isOnList, type RevocationList, updateFault } from '../../der/crl.ts';
import type { CheckRun } from '../check-run.ts';
import type { RootedTrust } from '../trust.ts';
import { authenticCrl, type Fault, jsonSignatureFault, type Signer, verifySigner } from './authentic.ts';
import {
  debugFault,
  identityFault,
  moduleFault,
  qeIdentityScope,
  tcbInfoFault,
  tcbInfoScope,
} from './match.ts';
import { type PlatformFacts, pckChainOf } from './platform-facts.ts';
import { parseQeIdentity, type QeIdentity } from './qe-identity.ts';
import { parseTcbInfo, type TcbInfo } from './tcb-info.ts';
import { evaluateTcb, type QeTcb, svnLevelOf, type TcbClaims } from './tcb-level.ts';
import { isHopeless, type TcbStatus } from './tcb-status.ts';

/** Ids of the checks of this step without the kind before them, in order. */
export const JUDGE_CHECKS = [
  'chain.revocation',
  'root-crl',
  'root-crl.window',
  'root-crl.revocation',
  'pck-crl',
  'pck-crl.window',
  'pck-crl.revocation',
  'qe-identity.signer',
  'qe-identity.signer-window',
  'qe-identity.signer-revocation',
  'qe-identity.signature',
  'qe-identity.form',
  'qe-identity.window',
  'qe-identity.match',
  'qe.debug',
  'tcb-info.signer',
  'tcb-info.signer-window',
  'tcb-info.signer-revocation',
  'tcb-info.signature',
  'tcb-info.form',
  'tcb-info.window',
  'tcb-info.match',
  'tcb.level',
] as const;
/** For TDX one more. */
export const JUDGE_TDX_CHECKS = [...JUDGE_CHECKS.slice(0, -1), 'module', 'tcb.level'] as const;

export interface Judgement {
  /** Null where TCB information is missing, not authentic or of another platform. */
  readonly tcb: TcbClaims | null;
  /** The earliest `nextUpdate` of authentic collateral; null without any. */
  readonly collateralEndMs: number | null;
}

/** At most 6 signatures are verified: two lists, TCB information, QE identity, and their signers. */
export function judgePlatform(facts: PlatformFacts, trust: RootedTrust, run: CheckRun<string>): Judgement {
  const at = (name: string): string => `${facts.tee}.${name}`;
  const chain = pckChainOf(facts);
  run.chain(at('chain.revocation'), revocationFault(chain, trust.revoked), chain.length);
  const desk: Desk = { facts, trust, run, at, ends: [], known: null };
  const rootCrl = judgeCrl(desk, 'root-crl', facts.root, facts.pckCa.serial);
  judgeCrl(desk, 'pck-crl', facts.pckCa, facts.pckSerial);
  const identity = judgeSigned(desk, 'qe-identity', qeIdentityScope(facts), rootCrl, parseQeIdentity);
  const qe = identity === null ? null : judgeQe(desk, identity);
  noteFault(desk, 'qe.debug', debugFault(facts));
  const info = judgeSigned(desk, 'tcb-info', tcbInfoScope(facts), rootCrl, parseTcbInfo);
  const tcb = info === null ? null : judgeTcb(desk, info, qe);
  return { tcb, collateralEndMs: desk.ends.length === 0 ? null : Math.min(...desk.ends) };
}

interface Desk {
  readonly facts: PlatformFacts;
  readonly trust: RootedTrust;
  readonly run: CheckRun<string>;
  readonly at: (name: string) => string;
  readonly ends: number[];
  /** The signer that was verified last, good or not. */
  known: { readonly issuerChain: readonly Uint8Array[]; readonly signer: Signer } | null;
}

function noteFault({ run, at }: Desk, name: string, fault: Fault): boolean {
  if (fault === null) return run.pass(at(name));
  return run.fail(at(name), fault.code, fault.expected, fault.got);
}

function noteMissing({ run, at }: Desk, names: readonly string[], what: string): void {
  for (const name of names) run.skip(at(name), 'collateral.missing', `no ${what} to judge by`);
}

/** The list that `issuer` signed, if it is one; whatever its dates, `serial` must not be on it. */
function judgeCrl(desk: Desk, name: string, issuer: Certificate, serial: Uint8Array): RevocationList | null {
  const { facts, trust, run, at, ends } = desk;
  const { nowMs, crypto, collateralGraceMs } = trust;
  const ref = { kind: 'intel-crl', rootCertificate: facts.root.der, scope: issuer.subject } as const;
  const found = trust.collateral(ref);
  if (found === null) {
    noteMissing(desk, [name, `${name}.window`, `${name}.revocation`], 'revocation list');
    return null;
  }
  const crl = run.parse(at(name), () => authenticCrl(found.crl, name, issuer, crypto));
  if (crl === null) return null;
  ends.push(crl.nextUpdateMs);
  noteFault(desk, `${name}.window`, crlWindowFault(crl, nowMs, collateralGraceMs));
  noteFault(desk, `${name}.revocation`, isOnList(crl, serial) ? revokedFault(serial) : null);
  return crl;
}

function revokedFault(serial: Uint8Array): Fault {
  return { code: 'certificate.revoked', expected: 'a certificate not revoked', got: toHex(serial) };
}

interface Dated {
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
}

/** The signed object named `name`, read only once its signature held; its dates are noted, not demanded. */
function judgeSigned<T extends Dated>(
  desk: Desk,
  name: 'tcb-info' | 'qe-identity',
  scope: string,
  rootCrl: RevocationList | null,
  parse: (body: Uint8Array) => T,
): T | null {
  const { facts, trust, run, at, ends } = desk;
  const steps = ['signer', 'signer-window', 'signer-revocation', 'signature', 'form', 'window', 'match'];
  const found = trust.collateral({
    kind: `intel-${name}`,
    rootCertificate: facts.root.der,
    scope: utf8Encode(scope),
  } as CollateralRef & { readonly kind: 'intel-tcb-info' | 'intel-qe-identity' });
  if (found === null) {
    noteMissing(
      desk,
      steps.map((step) => `${name}.${step}`),
      scope,
    );
    return null;
  }
  const signer = signerOf(desk, found);
  if (!noteFault(desk, `${name}.signer`, 'fault' in signer ? signer.fault : null) || 'fault' in signer)
    return null;
  judgeSigner(desk, name, signer.certificate, rootCrl);
  if (!noteFault(desk, `${name}.signature`, jsonSignatureFault(found, signer.certificate, trust.crypto)))
    return null;
  const value = run.parse(at(`${name}.form`), () => parse(found.body));
  if (value === null) return null;
  const { issueDateMs, nextUpdateMs } = value;
  ends.push(nextUpdateMs);
  const fault = updateFault(issueDateMs, nextUpdateMs, trust.nowMs, trust.collateralGraceMs);
  noteFault(desk, `${name}.window`, fault);
  return value;
}

/** TCB information and QE identity mostly have one signer: it is verified once. */
function signerOf(desk: Desk, { issuerChain }: SignedJson): Signer {
  const { known } = desk;
  const isKnown =
    known !== null &&
    known.issuerChain.length === issuerChain.length &&
    known.issuerChain.every((der, i) => bytesEqual(der, issuerChain[i] as Uint8Array));
  if (isKnown) return known.signer;
  const signer = verifySigner(issuerChain, desk.facts.root, desk.trust.crypto);
  desk.known = { issuerChain, signer };
  return signer;
}

function judgeSigner(desk: Desk, name: string, signer: Certificate, rootCrl: RevocationList | null): void {
  const { facts, trust, run, at } = desk;
  run.chain(at(`${name}.signer-window`), windowFault([facts.root, signer], trust.nowMs), 2);
  const id = `${name}.signer-revocation`;
  const isRevoked = revocationFault([facts.root, signer], trust.revoked) !== null;
  if (isRevoked || (rootCrl !== null && isOnList(rootCrl, signer.serial)))
    noteFault(desk, id, revokedFault(signer.serial));
  else if (rootCrl !== null) noteFault(desk, id, null);
  else noteMissing(desk, [id], 'root revocation list');
}

function judgeQe(desk: Desk, identity: QeIdentity): QeTcb {
  const { qe, tee } = desk.facts;
  const { evaluationDataNumber } = identity;
  const level = svnLevelOf(identity.levels, qe.isvSvn);
  if (!noteFault(desk, 'qe-identity.match', identityFault(qe, tee, identity)) || level === undefined)
    return { status: 'Unsupported', advisoryIds: [], evaluationDataNumber };
  return { status: qeStatusOf(level.status), advisoryIds: level.advisoryIds, evaluationDataNumber };
}

const QE_STATUSES: readonly TcbStatus[] = ['UpToDate', 'ConfigurationNeeded', 'OutOfDate', 'Revoked'];

/**
 * Intel's library knows one more, which it then takes for nothing at all: what is out of date and in need of configuration is out of
 * date here.
 */
function qeStatusOf(status: TcbStatus): TcbStatus {
  if (status === 'OutOfDateConfigurationNeeded') return 'OutOfDate';
  return QE_STATUSES.includes(status) ? status : 'Unsupported';
}

function judgeTcb(desk: Desk, info: TcbInfo, qe: QeTcb | null): TcbClaims | null {
  const { facts } = desk;
  if (!noteFault(desk, 'tcb-info.match', tcbInfoFault(facts, info))) return null;
  if (facts.td !== null) noteFault(desk, 'module', moduleFault(facts.td, info));
  const tcb = evaluateTcb(facts, info, qe);
  const got = `${tcb.status} (platform ${tcb.platformStatus}, module ${tcb.moduleStatus ?? '-'}, quoting enclave ${tcb.qeStatus ?? '-'}, running now ${tcb.currentStatus ?? '-'})`;
  const isOk = !isHopeless(tcb.status);
  desk.run.note(
    check(desk.at('tcb.level'), 'tcb.level', isOk, 'a level that matches and is not revoked', got),
  );
  return tcb;
}
