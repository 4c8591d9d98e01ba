/** A revocation list of AMD's standing alone, as somebody posts it: who signed it, how new it is, whether it holds now. */
import { type CryptoProvider, MalformedError } from '@haca/primitives';
import {
  type CollateralOf,
  type CollateralRef,
  check,
  failed,
  passed,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { AMD_DEVIATIONS, type Certificate, parseCertificate } from '../../der/certificate.ts';
import { crlFault, crlWindowFault, parseCrl, type RevocationList } from '../../der/crl.ts';
import { type CheckRun, openCheckRun } from '../check-run.ts';
import type { TrustRoot } from '../trust-root.ts';
import { AMD_SIGNATURE } from './chain-profile.ts';

/** Ids of its checks, in order. */
export const AMD_CRL_CHECKS = [
  'amd-crl.chain',
  'amd-crl.root',
  'amd-crl.form',
  'amd-crl.signature',
  'amd-crl.window',
] as const;
type Run = CheckRun<(typeof AMD_CRL_CHECKS)[number]>;

/** What a list that holds says of itself. */
export interface AmdCrlFacts {
  readonly ref: CollateralRef;
  /** Signed under a test root. */
  readonly simulated: boolean;
  /** CRL number, then `thisUpdate` in Unix milliseconds: newer is what is greater in this order. */
  readonly version: readonly [number, number];
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
}

/** Total: `facts` is null unless every check passed. One signature is verified at most. */
export function appraiseAmdCrl(
  item: CollateralOf<'amd-crl'>,
  trust: { readonly crypto: CryptoProvider; readonly nowMs: number; readonly roots: readonly TrustRoot[] },
): { readonly verdict: Verdict; readonly facts: AmdCrlFacts | null } {
  const run = openCheckRun(AMD_CRL_CHECKS);
  const facts = runChecks(item, trust, run);
  const verdict = verdictOf(run.checks());
  return { verdict, facts: verdict.ok ? facts : null };
}

function runChecks(
  { crl, issuerChain }: CollateralOf<'amd-crl'>,
  { crypto, nowMs, roots }: Parameters<typeof appraiseAmdCrl>[1],
  run: Run,
): AmdCrlFacts | null {
  const root = run.parse('amd-crl.chain', () => parseRoot(issuerChain));
  if (root === null) return null;
  const pin = run.root('amd-crl.root', 'snp.root-untrusted', crypto.sha256(root.der), roots);
  if (pin === null) return null;
  const list = run.parse('amd-crl.form', () => parseList(crl));
  if (list === null) return null;
  const fault = crlFault(list, root, AMD_SIGNATURE, crypto);
  run.note(
    fault === null
      ? passed('amd-crl.signature')
      : failed('amd-crl.signature', fault.code, fault.expected, fault.got),
  );
  if (fault !== null) return null;
  checkWindow(list, root, nowMs, run);
  return factsOf(list, root, pin.simulated);
}

/** The root signs its list itself. */
function parseRoot(issuerChain: readonly Uint8Array[]): Certificate {
  const [root, ...others] = issuerChain;
  if (root === undefined || others.length > 0)
    throw new MalformedError(
      'amd-crl.chain',
      'issuerChain',
      'the root alone',
      `${issuerChain.length} certificates`,
    );
  return parseCertificate(root, 'issuerChain.0', AMD_DEVIATIONS);
}

function parseList(crl: Uint8Array): RevocationList {
  const list = parseCrl(crl, 'crl');
  if (list.number !== null && list.number > BigInt(Number.MAX_SAFE_INTEGER))
    throw new MalformedError('crl.number', 'crl.number', 'a number below 2^53', 'a larger one');
  return list;
}

function checkWindow(
  list: RevocationList,
  { notBeforeMs, notAfterMs }: Certificate,
  nowMs: number,
  run: Run,
): void {
  const fault = crlWindowFault(list, nowMs, 0);
  if (fault !== null) {
    run.fail('amd-crl.window', fault.code, fault.expected, fault.got);
    return;
  }
  const isRootValid = notBeforeMs <= nowMs && nowMs <= notAfterMs;
  const expected = `within ${notBeforeMs} and ${notAfterMs}`;
  run.note(check('amd-crl.window', 'certificate.expired', isRootValid, expected, `${nowMs}`));
}

function factsOf(list: RevocationList, root: Certificate, simulated: boolean): AmdCrlFacts {
  const { thisUpdateMs, nextUpdateMs, number } = list;
  return {
    ref: { kind: 'amd-crl', rootCertificate: root.der, scope: root.subject },
    simulated,
    version: [Number(number ?? 0n), thisUpdateMs],
    issuedMs: thisUpdateMs,
    nextUpdateMs,
  };
}
