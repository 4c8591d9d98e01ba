/**
 * Collateral standing alone, as anybody may post it: whether it is what it says, under which root, and how new it is. It needs
 * no evidence and no trust in who brings it.
 */
import { type CryptoProvider, MalformedError, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRef,
  notApplicable,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import type { Certificate } from '../der/certificate.ts';
import { authorityFault, nameFault, P256_SHA256_PROFILE, signatureFault, windowFault } from '../der/chain.ts';
import { isOnList, updateFault } from '../der/crl.ts';
import { type CheckRun, openCheckRun } from './check-run.ts';
import type { CollateralSource } from './collateral.ts';
import { authenticCrl, type Fault, jsonSignatureFault, verifySigner } from './intel/authentic.ts';
import { PCK_CHAIN_PHRASES, phraseFault } from './intel/certificates.ts';
import { tcbInfoScope } from './intel/match.ts';
import { parseQeIdentity } from './intel/qe-identity.ts';
import { parseTcbInfo } from './intel/tcb-info.ts';
import { parseIntelCertificate } from './intel/verify.ts';
import { appraiseAmdCrl } from './snp/appraise-crl.ts';
import type { TrustRoot } from './trust-root.ts';

export interface CollateralTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch. */
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
  /** Where the root's own revocation list is, by which the other signers are judged. */
  readonly collateral: CollateralSource;
}

/** What collateral that holds says of itself. */
export interface CollateralFacts {
  readonly ref: CollateralRef;
  /** Signed under a test root. */
  readonly simulated: boolean;
  /** tcbEvaluationDataNumber or CRL number, then the time of issue. */
  readonly version: readonly [number: number, issuedMs: number];
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
}

export interface CollateralAppraisal {
  readonly verdict: Verdict;
  /** Null unless the verdict is ok. */
  readonly facts: CollateralFacts | null;
}

/** Whether `a` takes the place of `b`: never with a lower number, however late it was issued. */
export function isNewer(a: Pick<CollateralFacts, 'version'>, b: Pick<CollateralFacts, 'version'>): boolean {
  const [number, issuedMs] = a.version;
  const [otherNumber, otherIssuedMs] = b.version;
  return number > otherNumber || (number === otherNumber && issuedMs > otherIssuedMs);
}

/** Ids of the checks of Intel's collateral, in order. */
export const INTEL_COLLATERAL_CHECKS = [
  'collateral.root-certificate',
  'collateral.root',
  'collateral.issuer',
  'collateral.issuer-window',
  'collateral.issuer-revocation',
  'collateral.signature',
  'collateral.form',
  'collateral.window',
] as const;
type Run = CheckRun<(typeof INTEL_COLLATERAL_CHECKS)[number]>;

/** Total for every item. At most 3 signatures are verified: the issuer's certificate, the root's list, the item. */
export function appraiseCollateral(item: Collateral, trust: CollateralTrust): CollateralAppraisal {
  if (item.kind === 'amd-crl') return appraiseAmdCrl(item, trust);
  const run = openCheckRun(INTEL_COLLATERAL_CHECKS);
  const root = findRoot(item.issuerChain, trust, run);
  const facts = root === null ? null : factsUnder(item, root, trust, run);
  const verdict = verdictOf(run.checks());
  return { verdict, facts: verdict.ok ? facts : null };
}

interface Root {
  readonly certificate: Certificate;
  readonly simulated: boolean;
}

type IntelItem = CollateralOf<Exclude<CollateralKind, 'amd-crl'>>;

function findRoot([der]: readonly Uint8Array[], { crypto, roots }: CollateralTrust, run: Run): Root | null {
  const certificate = run.parse('collateral.root-certificate', () => parseRoot(der));
  if (certificate === null) return null;
  const sha256 = crypto.sha256(certificate.der);
  const pin = run.root('collateral.root', 'intel.root-untrusted', sha256, roots);
  return pin === null ? null : { certificate, simulated: pin.simulated };
}

function parseRoot(der: Uint8Array | undefined): Certificate {
  if (der === undefined)
    throw new MalformedError('collateral.chain', 'issuerChain', 'the root first', 'no certificates');
  return parseIntelCertificate(der, 'issuerChain.0');
}

function factsUnder(item: IntelItem, root: Root, trust: CollateralTrust, run: Run): CollateralFacts | null {
  const issuer =
    item.kind === 'intel-crl' ? listIssuer(item, root, trust, run) : jsonIssuer(item, root, trust, run);
  if (issuer === null) return null;
  run.chain('collateral.issuer-window', windowFault([root.certificate, issuer], trust.nowMs), 2);
  checkIssuerRevocation(issuer, root.certificate, trust, run);
  const content =
    item.kind === 'intel-crl' ? readList(item, issuer, trust, run) : readJson(item, issuer, trust, run);
  if (content === null) return null;
  const { scope, number, issuedMs, nextUpdateMs } = content;
  noteFault(run, 'collateral.window', updateFault(issuedMs, nextUpdateMs, trust.nowMs, 0));
  return {
    ref: { kind: item.kind, rootCertificate: root.certificate.der, scope },
    simulated: root.simulated,
    version: [number, issuedMs],
    issuedMs,
    nextUpdateMs,
  };
}

function noteFault(run: Run, id: (typeof INTEL_COLLATERAL_CHECKS)[number], fault: Fault): boolean {
  if (fault === null) return run.pass(id);
  return run.fail(id, fault.code, fault.expected, fault.got);
}

function jsonIssuer(
  { issuerChain }: CollateralOf<'intel-tcb-info' | 'intel-qe-identity'>,
  root: Root,
  { crypto }: CollateralTrust,
  run: Run,
): Certificate | null {
  const signer = verifySigner(issuerChain, root.certificate, crypto);
  if ('certificate' in signer) {
    run.pass('collateral.issuer');
    return signer.certificate;
  }
  noteFault(run, 'collateral.issuer', signer.fault);
  return null;
}

/** The root itself, or one CA under it. */
function listIssuer(
  { issuerChain }: CollateralOf<'intel-crl'>,
  { certificate: root }: Root,
  { crypto }: CollateralTrust,
  run: Run,
): Certificate | null {
  return run.parse('collateral.issuer', () => {
    const chain = [
      root,
      ...issuerChain.slice(1).map((der, i) => parseIntelCertificate(der, `issuerChain.${i + 1}`)),
    ];
    const issuer = chain[chain.length - 1] as Certificate;
    const fault =
      chain.length > 2
        ? { code: 'collateral.chain', expected: 'the root, and one CA', got: `${chain.length} certificates` }
        : (authorityFault(issuer, P256_SHA256_PROFILE) ??
          phraseFault(chain, PCK_CHAIN_PHRASES.slice(0, chain.length)) ??
          (chain.length === 1
            ? null
            : (nameFault(chain) ?? signatureFault(chain, P256_SHA256_PROFILE, crypto))));
    if (fault !== null) throw new MalformedError(fault.code, 'issuerChain', fault.expected, fault.got);
    return issuer;
  });
}

/** The root can't revoke itself; every other issuer is looked for on its list. */
function checkIssuerRevocation(
  issuer: Certificate,
  root: Certificate,
  { collateral, crypto }: CollateralTrust,
  run: Run,
): void {
  const id = 'collateral.issuer-revocation';
  if (issuer === root) {
    run.note(notApplicable(id, 'the root signed it'));
    return;
  }
  const found = collateral({ kind: 'intel-crl', rootCertificate: root.der, scope: root.subject });
  if (found === null) {
    run.skip(id, 'collateral.missing', "no revocation list of the root's to judge the issuer by");
    return;
  }
  run.parse(id, () => {
    const list = authenticCrl(found.crl, 'rootCrl', root, crypto);
    if (isOnList(list, issuer.serial))
      throw new MalformedError(
        'certificate.revoked',
        'issuerChain',
        'an issuer not revoked',
        'a revoked one',
      );
  });
}

interface Content {
  readonly scope: Uint8Array;
  readonly number: number;
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
}

function readList(
  { crl }: CollateralOf<'intel-crl'>,
  issuer: Certificate,
  { crypto }: CollateralTrust,
  run: Run,
): Content | null {
  const list = run.parse('collateral.signature', () => authenticCrl(crl, 'crl', issuer, crypto));
  if (list === null) return null;
  const { number, thisUpdateMs, nextUpdateMs } = list;
  if (number === null || number > BigInt(Number.MAX_SAFE_INTEGER)) {
    run.fail('collateral.form', 'crl.number', 'a number below 2^53', `${number}`);
    return null;
  }
  run.pass('collateral.form');
  return { scope: list.issuer, number: Number(number), issuedMs: thisUpdateMs, nextUpdateMs };
}

function readJson(
  item: CollateralOf<'intel-tcb-info' | 'intel-qe-identity'>,
  issuer: Certificate,
  { crypto }: CollateralTrust,
  run: Run,
): Content | null {
  if (!noteFault(run, 'collateral.signature', jsonSignatureFault(item, issuer, crypto))) return null;
  return run.parse('collateral.form', () =>
    item.kind === 'intel-tcb-info' ? tcbInfoContent(item.body) : qeIdentityContent(item.body),
  );
}

function tcbInfoContent(body: Uint8Array): Content {
  const { id, fmspc, evaluationDataNumber: number, issueDateMs: issuedMs, nextUpdateMs } = parseTcbInfo(body);
  const scope = tcbInfoScope({ tee: id === 'TDX' ? 'tdx' : 'sgx', fmspc });
  return { scope: utf8Encode(scope), number, issuedMs, nextUpdateMs };
}

function qeIdentityContent(body: Uint8Array): Content {
  const { id, evaluationDataNumber: number, issueDateMs: issuedMs, nextUpdateMs } = parseQeIdentity(body);
  return { scope: utf8Encode(id), number, issuedMs, nextUpdateMs };
}
