/** Verification of a dstack document, in the order of spec/tee-dstack.md: the quote first, then the log against its registers. */
import { bytesEqual, toHex } from '@haca/primitives';
import { EVIDENCE_MAX_BYTES } from '@haca/protocol';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import { notReached } from '../inner-checks.ts';
import { TDX_VERIFY_CHECKS, type TdxClaims, verifyTdx } from '../intel/tdx.ts';
import type { RootedTrust } from '../trust.ts';
import { applicationLogFault, imageLogFault, type LogFault, splitLog } from './boot-log.ts';
import { type DstackClaims, dstackClaimsOf } from './claims.ts';
import { type DstackLog, parseDstackDocument, replayedRegisters } from './document.ts';

/** What the quote is verified against. */

const FORM_CHECKS = ['dstack.size', 'dstack.document'] as const;
const LOG_CHECKS = ['dstack.replay', 'dstack.image-log', 'dstack.application-log'] as const;
const OWN_CHECKS = [...FORM_CHECKS, ...LOG_CHECKS] as const;

/** Ids of the checks of this step, in order: those of the quote stand between the document's form and its log. */
export const DSTACK_VERIFY_CHECKS: readonly string[] = [...FORM_CHECKS, ...TDX_VERIFY_CHECKS, ...LOG_CHECKS];

type Run = CheckRun<(typeof OWN_CHECKS)[number]>;

/** Total for every byte string. As many signatures as `verifyTdx`, and 2 hashes for each of at most 256 events. */
export function verifyDstack(bytes: Uint8Array, trust: RootedTrust): Verification<DstackClaims> {
  const run = openCheckRun(OWN_CHECKS);
  const log = readDocument(bytes, run);
  const tdx = log === null ? null : verifyTdx(log.quote, trust);
  const claims =
    log === null || tdx === null || tdx.claims === null ? null : checkLog(log, tdx.claims, trust, run);
  const own = run.checks();
  const quote = tdx?.checks ?? notReached(TDX_VERIFY_CHECKS);
  return {
    checks: [...own.slice(0, FORM_CHECKS.length), ...quote, ...own.slice(FORM_CHECKS.length)],
    claims,
  };
}

function readDocument(bytes: Uint8Array, run: Run): DstackLog | null {
  const got = `${bytes.length} bytes`;
  if (bytes.length > EVIDENCE_MAX_BYTES) {
    run.fail('dstack.size', 'dstack.too-large', `at most ${EVIDENCE_MAX_BYTES} bytes`, got);
    return null;
  }
  run.pass('dstack.size', got);
  return run.parse('dstack.document', () => parseDstackDocument(bytes));
}

function checkLog(log: DstackLog, tdx: TdxClaims, { crypto }: RootedTrust, run: Run): DstackClaims | null {
  const replayed = replayedRegisters(log, crypto);
  const wrong = replayed.findIndex(
    (register, index) => !bytesEqual(register, tdx.rtmrs[index] as Uint8Array),
  );
  if (wrong >= 0) {
    const [expected, got] = [tdx.rtmrs, replayed].map((each) => toHex(each[wrong] as Uint8Array));
    run.fail('dstack.replay', 'dstack.replay', `rtmr${wrong}=${expected}`, `rtmr${wrong}=${got}`);
    return null;
  }
  run.pass('dstack.replay', `${log.boot.flat().length + log.runtime.length} events`);
  const split = splitLog(log.runtime);
  const isWhole =
    noteFault('dstack.image-log', imageLogFault(split.image), run) &&
    noteFault('dstack.application-log', applicationLogFault(split), run);
  return isWhole ? dstackClaimsOf(tdx, split, crypto) : null;
}

function noteFault(id: (typeof LOG_CHECKS)[number], fault: LogFault | null, run: Run): boolean {
  return fault === null ? run.pass(id) : run.fail(id, fault.code, fault.expected, fault.got);
}
