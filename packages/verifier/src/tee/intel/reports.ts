/** The two things a quote can be about: the report of an SGX enclave, and the report of a trust domain (TDX 1.0, 1.5, 1.5ex). */
import { FieldReader } from '../field-reader.ts';

export const SGX_REPORT_BYTES = 384;
export const TD_REPORT_10_BYTES = 584;
export const TD_REPORT_15_BYTES = 648;
export const TD_REPORT_15EX_BYTES = 885;

/** REPORTBODY of the Intel SDM, volume 3D, table 37-21. Byte fields are views. */
export interface SgxReport {
  readonly kind: 'sgx';
  /** All 384 bytes. */
  readonly bytes: Uint8Array;
  /** 16 bytes. */
  readonly cpuSvn: Uint8Array;
  /** 4 bytes, as in the report. */
  readonly miscSelect: Uint8Array;
  readonly isvExtProdId: Uint8Array;
  /** 16 bytes: flags and XFRM. */
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly configId: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly configSvn: number;
  readonly isvFamilyId: Uint8Array;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

/** What TDX 1.5ex adds (sgx_report2_body_v1_5_ex_t of Intel's sgx_quote_5.h). Byte fields are views. */
export interface TdExtension {
  /** 0: the whole TD; 1 to 3: a VM inside a partitioned one. */
  readonly vmId: number;
  /** 32 bytes: which launch of the TD this is. Zero where the host does not report it. */
  readonly tdId: Uint8Array;
  /** 48 bytes: hash of what devices are attached. */
  readonly deviceInfo: Uint8Array;
  /** Service TDs bound when the TD was made, and now: hash of 48 bytes, attributes of 8. Zero without SERVTD_EXT. */
  readonly initialServiceTd: Uint8Array;
  readonly initialServiceTdAttributes: Uint8Array;
  readonly currentServiceTd: Uint8Array;
  readonly currentServiceTdAttributes: Uint8Array;
  /** The platform that the TD was made on: CPUSVN, TEE_TCB_SVN (16 bytes each) and model (12). */
  readonly initialCpuSvn: Uint8Array;
  readonly initialTeeTcbSvn: Uint8Array;
  readonly initialModel: Uint8Array;
}

/** TDREPORT as quotes carry it (Intel TDX DCAP quote library, TD quote bodies 2, 3 and 4). Byte fields are views. */
export interface TdReport {
  readonly kind: 'tdx';
  readonly bytes: Uint8Array;
  /** 16 bytes: [0] and [1] are the minor and major SVN of the TDX module. */
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  /** 8 bytes. */
  readonly tdAttributes: Uint8Array;
  readonly xfam: Uint8Array;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  /** Four, of 48 bytes each. */
  readonly rtmrs: readonly Uint8Array[];
  readonly reportData: Uint8Array;
  /** From TDX 1.5 on: what the module was when the TD was asked, which may be newer than when it was launched; else null. */
  readonly teeTcbSvn2: Uint8Array | null;
  /** From TDX 1.5 on: the service TD bound to this one, zero without one; else null. */
  readonly mrServiceTd: Uint8Array | null;
  /** TDX 1.5ex only; else null. */
  readonly extension: TdExtension | null;
}

/** Exactly 384 bytes; reserved fields are zero. Throws `MalformedError`. */
export function parseSgxReport(bytes: Uint8Array, path: string): SgxReport {
  const cursor = new FieldReader(bytes, path, 'quote');
  const cpuSvn = cursor.take(16, 'cpuSvn');
  const miscSelect = cursor.take(4, 'miscSelect');
  cursor.zeros(12, 'reserved1');
  const isvExtProdId = cursor.take(16, 'isvExtProdId');
  const attributes = cursor.take(16, 'attributes');
  const mrEnclave = cursor.take(32, 'mrEnclave');
  cursor.zeros(32, 'reserved2');
  const mrSigner = cursor.take(32, 'mrSigner');
  cursor.zeros(32, 'reserved3');
  const configId = cursor.take(64, 'configId');
  const isvProdId = cursor.little(2, 'isvProdId');
  const isvSvn = cursor.little(2, 'isvSvn');
  const configSvn = cursor.little(2, 'configSvn');
  cursor.zeros(42, 'reserved4');
  const isvFamilyId = cursor.take(16, 'isvFamilyId');
  const reportData = cursor.take(64, 'reportData');
  cursor.end();
  return {
    kind: 'sgx',
    bytes,
    cpuSvn,
    miscSelect,
    isvExtProdId,
    attributes,
    mrEnclave,
    mrSigner,
    configId,
    isvProdId,
    isvSvn,
    configSvn,
    isvFamilyId,
    reportData,
  };
}

/** Exactly 584 bytes (TDX 1.0), 648 (1.5) or 885 (1.5ex). Throws `MalformedError`. */
export function parseTdReport(bytes: Uint8Array, path: string): TdReport {
  const cursor = new FieldReader(bytes, path, 'quote');
  const teeTcbSvn = cursor.take(16, 'teeTcbSvn');
  const mrSeam = cursor.take(48, 'mrSeam');
  const mrSignerSeam = cursor.take(48, 'mrSignerSeam');
  const seamAttributes = cursor.take(8, 'seamAttributes');
  const tdAttributes = cursor.take(8, 'tdAttributes');
  const xfam = cursor.take(8, 'xfam');
  const mrTd = cursor.take(48, 'mrTd');
  const mrConfigId = cursor.take(48, 'mrConfigId');
  const mrOwner = cursor.take(48, 'mrOwner');
  const mrOwnerConfig = cursor.take(48, 'mrOwnerConfig');
  const rtmrs = [0, 1, 2, 3].map((index) => cursor.take(48, `rtmr${index}`));
  const reportData = cursor.take(64, 'reportData');
  const isExtended = bytes.length === TD_REPORT_15EX_BYTES;
  const is15 = isExtended || bytes.length === TD_REPORT_15_BYTES;
  const teeTcbSvn2 = is15 ? cursor.take(16, 'teeTcbSvn2') : null;
  const mrServiceTd = is15 ? cursor.take(48, 'mrServiceTd') : null;
  const extension = isExtended ? readExtension(cursor) : null;
  cursor.end();
  return {
    kind: 'tdx',
    bytes,
    teeTcbSvn,
    mrSeam,
    mrSignerSeam,
    seamAttributes,
    tdAttributes,
    xfam,
    mrTd,
    mrConfigId,
    mrOwner,
    mrOwnerConfig,
    rtmrs,
    reportData,
    teeTcbSvn2,
    mrServiceTd,
    extension,
  };
}

function readExtension(cursor: FieldReader): TdExtension {
  const [vmId = 0] = cursor.take(1, 'vmId');
  const tdId = cursor.take(32, 'tdId');
  const deviceInfo = cursor.take(48, 'deviceInfo');
  const initialServiceTd = cursor.take(48, 'initialServiceTd');
  const initialServiceTdAttributes = cursor.take(8, 'initialServiceTdAttributes');
  const initialCpuSvn = cursor.take(16, 'initialCpuSvn');
  const initialTeeTcbSvn = cursor.take(16, 'initialTeeTcbSvn');
  const initialModel = cursor.take(12, 'initialModel');
  const currentServiceTd = cursor.take(48, 'currentServiceTd');
  const currentServiceTdAttributes = cursor.take(8, 'currentServiceTdAttributes');
  return {
    vmId,
    tdId,
    deviceInfo,
    initialServiceTd,
    initialServiceTdAttributes,
    initialCpuSvn,
    initialTeeTcbSvn,
    initialModel,
    currentServiceTd,
    currentServiceTdAttributes,
  };
}
