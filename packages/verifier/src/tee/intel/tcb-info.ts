/**
 * TCB information, the signed object as the Intel Provisioning Certification Service sends it: version 3, and version 2, which
 * older interfaces of the service gave out for SGX.
 */
import { compareBytes } from '@haca/primitives';
import {
  failAt,
  hasMember,
  type JsonObject,
  parseCanonicalJson,
  readHex,
  readObject,
  readObjects,
  readOneOf,
  readText,
  readTexts,
  readTime,
  readUint,
} from './canonical-json.ts';
import { TCB_LEVEL_STATUSES, type TcbLevelStatus } from './tcb-status.ts';

export interface TcbLevel {
  /** SVNs of the 16 SGX components that a platform must have at least. */
  readonly sgxComponents: Uint8Array;
  readonly pceSvn: number;
  /** Of TDX; null in information on SGX. */
  readonly tdxComponents: Uint8Array | null;
  readonly tcbDateMs: number;
  readonly status: TcbLevelStatus;
  readonly advisoryIds: readonly string[];
}

/** Level of a TDX module or of a quoting enclave. */
export interface SvnLevel {
  readonly isvSvn: number;
  readonly tcbDateMs: number;
  readonly status: TcbLevelStatus;
  readonly advisoryIds: readonly string[];
}

export interface TdxModule {
  /** 48 bytes. */
  readonly mrSigner: Uint8Array;
  /** 8 bytes. */
  readonly attributes: Uint8Array;
}

export interface TdxModuleIdentity extends TdxModule {
  /** `TDX_` and the major SVN of the module, two hexadecimal digits in upper case. */
  readonly id: string;
  /** In the order given. */
  readonly levels: readonly SvnLevel[];
}

export interface TcbInfo {
  readonly id: 'SGX' | 'TDX';
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
  readonly fmspc: Uint8Array;
  readonly pceId: Uint8Array;
  readonly evaluationDataNumber: number;
  /** Highest first, as Intel's library sorts them: by SGX components, PCE SVN, TDX components. */
  readonly levels: readonly TcbLevel[];
  /** Null in information on SGX. */
  readonly tdxModule: TdxModule | null;
  readonly tdxModuleIdentities: readonly TdxModuleIdentity[];
}

const COMPONENTS = 16;

/** `body` is the signed object alone. Throws `MalformedError`. Version 2 knows SGX alone. */
export function parseTcbInfo(body: Uint8Array): TcbInfo {
  const info = parseCanonicalJson(body, 'tcbInfo');
  const version = readUint(info, 'version', 0xffff);
  if (version !== 2 && version !== 3) failAt(info, 'version', 'tcb-info.version', '2 | 3', `${version}`);
  const id = version === 2 ? 'SGX' : readOneOf(info, 'id', ['SGX', 'TDX']);
  const tcbType = readUint(info, 'tcbType', 255);
  if (tcbType !== 0) failAt(info, 'tcbType', 'tcb-info.type', '0', `${tcbType}`);
  if (id === 'SGX' && (hasMember(info, 'tdxModule') || hasMember(info, 'tdxModuleIdentities')))
    failAt(info, 'tdxModule', 'tcb-info.tdx-module', 'none in information on SGX', 'one');
  return {
    id,
    issueDateMs: readTime(info, 'issueDate'),
    nextUpdateMs: readTime(info, 'nextUpdate'),
    fmspc: readHex(info, 'fmspc', 6),
    pceId: readHex(info, 'pceId', 2),
    evaluationDataNumber: readUint(info, 'tcbEvaluationDataNumber', 0xffff_ffff),
    levels: sortedLevels(info, version, id),
    tdxModule: id === 'TDX' ? readModule(readObject(info, 'tdxModule')) : null,
    tdxModuleIdentities: hasMember(info, 'tdxModuleIdentities') ? readIdentities(info) : [],
  };
}

function sortedLevels(info: JsonObject, version: number, id: TcbInfo['id']): readonly TcbLevel[] {
  const levels = readObjects(info, 'tcbLevels').map((level) => readLevel(level, version, id));
  levels.sort((a, b) => compareLevels(b, a));
  const isRepeated = levels.some(
    (level, i) => i > 0 && compareLevels(levels[i - 1] as TcbLevel, level) === 0,
  );
  if (isRepeated) failAt(info, 'tcbLevels', 'tcb-info.duplicate-level', 'each level once', 'one twice');
  return levels;
}

function compareLevels(a: TcbLevel, b: TcbLevel): number {
  const bySgx = compareBytes(a.sgxComponents, b.sgxComponents) || a.pceSvn - b.pceSvn;
  if (bySgx !== 0 || a.tdxComponents === null || b.tdxComponents === null) return bySgx;
  return compareBytes(a.tdxComponents, b.tdxComponents);
}

function readLevel(level: JsonObject, version: number, id: TcbInfo['id']): TcbLevel {
  const tcb = readObject(level, 'tcb');
  return {
    sgxComponents: version === 2 ? readNumberedComponents(tcb) : readComponents(tcb, 'sgxtcbcomponents'),
    pceSvn: readUint(tcb, 'pcesvn', 0xffff),
    tdxComponents: id === 'TDX' ? readComponents(tcb, 'tdxtcbcomponents') : null,
    ...readJudgement(level),
  };
}

/** What every level says beside its SVNs. */
export function readJudgement(level: JsonObject): Pick<SvnLevel, 'tcbDateMs' | 'status' | 'advisoryIds'> {
  return {
    tcbDateMs: readTime(level, 'tcbDate'),
    status: readOneOf(level, 'tcbStatus', TCB_LEVEL_STATUSES),
    advisoryIds: hasMember(level, 'advisoryIDs') ? readTexts(level, 'advisoryIDs') : [],
  };
}

function readComponents(tcb: JsonObject, name: string): Uint8Array {
  const components = readObjects(tcb, name);
  if (components.length !== COMPONENTS)
    failAt(tcb, name, 'tcb-info.components', `${COMPONENTS} components`, `${components.length}`);
  return Uint8Array.from(components, (component) => readUint(component, 'svn', 255));
}

/** Version 2 has a member for each: `sgxtcbcomp01svn` to `sgxtcbcomp16svn`. */
function readNumberedComponents(tcb: JsonObject): Uint8Array {
  return Uint8Array.from({ length: COMPONENTS }, (_, i) =>
    readUint(tcb, `sgxtcbcomp${`${i + 1}`.padStart(2, '0')}svn`, 255),
  );
}

function readModule(module: JsonObject): TdxModule {
  // The mask is read for its form alone: Intel's library takes only zero attributes, so there is nothing left to mask.
  readHex(module, 'attributesMask', 8);
  return { mrSigner: readHex(module, 'mrsigner', 48), attributes: readHex(module, 'attributes', 8) };
}

function readIdentities(info: JsonObject): readonly TdxModuleIdentity[] {
  const identities = readObjects(info, 'tdxModuleIdentities').map((identity) => ({
    ...readModule(identity),
    id: readText(identity, 'id').toUpperCase(),
    levels: readObjects(identity, 'tcbLevels').map(readSvnLevel),
  }));
  const ids = new Set(identities.map(({ id }) => id));
  if (ids.size !== identities.length)
    failAt(info, 'tdxModuleIdentities', 'tcb-info.duplicate-identity', 'each id once', 'one twice');
  return identities;
}

export function readSvnLevel(level: JsonObject): SvnLevel {
  return { isvSvn: readUint(readObject(level, 'tcb'), 'isvsvn', 0xffff), ...readJudgement(level) };
}
