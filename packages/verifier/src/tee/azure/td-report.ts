/**
 * The TDREPORT inside an HCL report. Its MAC means something to its own CPU only; what makes it worth anything is a quote over
 * the same report. So each of its fields either equals the quote's, or follows from others, or is zero.
 */
import { bytesEqual, type CryptoProvider } from '@haca/primitives';
import { shortHex } from '../expected.ts';
import type { TdReport } from '../intel/reports.ts';
import { TDREPORT_UNCHECKABLE } from './hcl-report.ts';

/** Type 0x81 (TDX), subtype 0, version 0. */
const REPORT_TYPE = Uint8Array.of(0x81, 0, 0, 0);
const TCB_INFO: Span = [256, 495];
const TD_INFO: Span = [512, 1024];

type Span = readonly [start: number, end: number];
type Field = readonly [name: string, span: Span, quoted: (report: TdReport) => Uint8Array | null];

/** Fields that quotes carry too, in the layout of the Intel TDX module ABI (TDREPORT_STRUCT). */
const QUOTED: readonly Field[] = [
  ['report data', [128, 192], ({ reportData }) => reportData],
  ['TEE_TCB_SVN', [264, 280], ({ teeTcbSvn }) => teeTcbSvn],
  ['MRSEAM', [280, 328], ({ mrSeam }) => mrSeam],
  ['MRSIGNERSEAM', [328, 376], ({ mrSignerSeam }) => mrSignerSeam],
  ['SEAM attributes', [376, 384], ({ seamAttributes }) => seamAttributes],
  ['TEE_TCB_SVN2', [384, 400], ({ teeTcbSvn2 }) => teeTcbSvn2],
  ['TD attributes', [512, 520], ({ tdAttributes }) => tdAttributes],
  ['XFAM', [520, 528], ({ xfam }) => xfam],
  ['MRTD', [528, 576], ({ mrTd }) => mrTd],
  ['MRCONFIGID', [576, 624], ({ mrConfigId }) => mrConfigId],
  ['MROWNER', [624, 672], ({ mrOwner }) => mrOwner],
  ['MROWNERCONFIG', [672, 720], ({ mrOwnerConfig }) => mrOwnerConfig],
  ['RTMR0', [720, 768], ({ rtmrs }) => rtmrs[0] ?? null],
  ['RTMR1', [768, 816], ({ rtmrs }) => rtmrs[1] ?? null],
  ['RTMR2', [816, 864], ({ rtmrs }) => rtmrs[2] ?? null],
  ['RTMR3', [864, 912], ({ rtmrs }) => rtmrs[3] ?? null],
  ['SERVTD_HASH', [912, 960], ({ mrServiceTd }) => mrServiceTd],
];

/** Reserved in every version so far. SERVTD_HASH has its own rule. */
const RESERVED: readonly Span[] = [
  [4, 16],
  [192, 224],
  [400, 512],
  [960, 1024],
];

export interface TdReportFault {
  readonly expected: string;
  readonly got: string;
}

/** Null if the report (1,024 bytes) is the one that was quoted. */
export function tdReportFault(
  report: Uint8Array,
  quoted: TdReport,
  { sha384 }: CryptoProvider,
): TdReportFault | null {
  const at = ([start, end]: Span): Uint8Array => report.subarray(start, end);
  const differs = (name: string, expected: Uint8Array, span: Span): TdReportFault | null =>
    bytesEqual(expected, at(span))
      ? null
      : { expected: `${name} ${shortHex(expected)}`, got: shortHex(at(span)) };
  const fields = QUOTED.map(([name, span, quotedValue]) => {
    const value = quotedValue(quoted);
    return value === null ? null : differs(name, value, span);
  });
  const zeros = [...RESERVED, ...TDREPORT_UNCHECKABLE].map((span) =>
    differs(`bytes ${span[0]} to ${span[1] - 1} as`, new Uint8Array(span[1] - span[0]), span),
  );
  const faults = [
    differs('report type', REPORT_TYPE, [0, 4]),
    ...fields,
    ...zeros,
    differs('hash of TEE_TCB_INFO', sha384(at(TCB_INFO)), [32, 80]),
    differs('hash of TDINFO', sha384(at(TD_INFO)), [80, 128]),
  ];
  return faults.find((fault) => fault !== null) ?? null;
}
