/** The recorded Intel quotes with their collateral, and policies that waive everything but what a test is about. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, type CryptoProvider, fromHex, toHex, utf8Encode } from '@haca/primitives';
import type { Collateral, CollateralKind, CollateralOf, CollateralRef } from '@haca/protocol';
import {
  type Appraisal,
  appraiseSgx,
  appraiseTdx,
  type CollateralSource,
  INTEL_SGX_ROOT,
  parsePemCertificates,
  type RootedTrust,
  type SgxClaims,
  type SgxPolicy,
  stripQuotePadding,
  type TdxClaims,
  type TdxPolicy,
} from '../src/index.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why tests against recorded quotes can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = ['tdx', 'sgx'].every((kind) => existsSync(join(FOLDER, kind)))
  ? false
  : `no recorded vectors at ${FOLDER}`;

export interface IntelVector {
  readonly id: string;
  readonly kind: 'tdx' | 'sgx';
  readonly files: readonly { readonly file: string; readonly sha256: string }[];
  /** As recorded, with what may trail. */
  readonly recorded: Uint8Array;
  /** The bytes that the manifest says are the quote. */
  readonly quote: Uint8Array;
  readonly expect: Expectation;
}

export interface Expectation {
  readonly quote_version: number;
  readonly pck_chain_valid_from: string;
  readonly pck_chain_valid_to: string;
  readonly pck_ca: string;
  readonly fmspc: string;
  readonly pce_svn: number;
  readonly cpu_svn: string;
  readonly tee_tcb_svn?: string;
  readonly td_attributes?: string;
  readonly sgx_attributes?: string;
  readonly debug: boolean;
  readonly measurement: string;
  readonly report_data: string;
  readonly bytes_consumed: number;
  readonly trailing_bytes: number;
  readonly trailing_all_zero: boolean;
  readonly window_from: string;
  readonly window_to: string;
  readonly window_empty: boolean;
  readonly verify_at_s?: number;
  readonly tcb: {
    readonly platform: string;
    readonly tdx_module?: string;
    readonly qe: string;
    readonly converged: string;
    readonly tcb_date?: string;
    readonly advisories: readonly string[];
  };
  readonly crls?: readonly { readonly issuer: string; readonly revoked: number }[];
  readonly outcome: string;
}

function bytesOfFile(kind: string, file: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, kind, file)));
}

export function vectorFile(kind: 'tdx' | 'sgx', file: string): Uint8Array {
  return bytesOfFile(kind, file);
}

/** What has to be rejected, in words. */
export function mutationsFile(): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, 'mutations.json')));
}

/** Every genuine quote. */
export function readIntelVectors(): readonly IntelVector[] {
  if (vectorsMissing !== false) return [];
  return (['tdx', 'sgx'] as const).flatMap((kind) => {
    const manifest = JSON.parse(readFileSync(join(FOLDER, kind, 'manifest.json'), 'utf8')) as {
      readonly vectors: readonly Pick<IntelVector, 'id' | 'files' | 'expect'>[];
    };
    return manifest.vectors.flatMap(({ id, files, expect }) => {
      const name = files.find(({ file }) => file.endsWith('.quote.bin'))?.file;
      if (name === undefined) return [];
      const recorded = bytesOfFile(kind, name);
      return [{ id, kind, files, recorded, quote: recorded.subarray(0, expect.bytes_consumed), expect }];
    });
  });
}

export function intelVector(id: string): IntelVector {
  const found = readIntelVectors().find((each) => each.id === id);
  if (found === undefined) throw new Error(`no vector ${id}`);
  return found;
}

/** The root that all genuine collateral hangs on. */
export function intelRoot(): Uint8Array {
  return bytesOfFile('tdx', 'intel-sgx-root.der');
}

/** A piece of collateral with the reference it is asked for by. */
export interface Piece {
  readonly ref: CollateralRef;
  readonly item: Collateral;
}

/** All collateral that the manifest lists for a vector. */
export function collateralOf({ kind, files, expect }: IntelVector): readonly Piece[] {
  return files.flatMap(({ file }) => {
    if (file.endsWith('.collateral.json')) return bundlePieces(kind, file, expect);
    if (/crl.*\.der$/.test(file)) return [crlPiece(bytesOfFile(kind, file), crlIssuer(file, expect))];
    if (file.endsWith('.json'))
      return [signedPiece(kind, bytesOfFile(kind, file), signingCertificate(kind, files, expect))];
    return [];
  });
}

function crlIssuer(file: string, expect: Expectation): string {
  return file.startsWith('rootcrl') ? 'Intel SGX Root CA' : expect.pck_ca;
}

/** The TCB signing certificate of the day: the same key was certified anew in 2025. */
function signingCertificate(
  kind: string,
  files: IntelVector['files'],
  { verify_at_s: at = 1_760_000_000 }: Expectation,
): Uint8Array {
  const found = files.find(({ file }) => file.startsWith('intel-tcb-signing'));
  if (at >= 1_746_523_500) return bytesOfFile(kind, found?.file ?? 'intel-tcb-signing-2025.der');
  const pem = readFileSync(join(FOLDER, 'tdx/intel-tcb-signing-2018.pem'), 'utf8');
  const [signer] = parsePemCertificates(pem, 'signer');
  if (signer === undefined) throw new Error('no signing certificate');
  return signer;
}

const SIGNED = /^\{"(tcbInfo|enclaveIdentity)":(.*),"signature":"([0-9a-f]{128})"\}\s*$/s;

function signedPiece(kind: string, file: Uint8Array, signer: Uint8Array): Piece {
  const match = SIGNED.exec(Buffer.from(file).toString('latin1'));
  if (match === null) throw new Error(`unknown shape of collateral for ${kind}`);
  const [, , body = '', signature = ''] = match;
  return jsonPiece(body, signature, [intelRoot(), signer]);
}

export function jsonPiece(body: string, signature: string, issuerChain: readonly Uint8Array[]): Piece {
  const json = JSON.parse(body) as { readonly id: string; readonly fmspc?: string };
  const item = { body: utf8Encode(body), signature: fromHex(signature), issuerChain };
  const root = issuerChain[0] as Uint8Array;
  if (json.fmspc === undefined)
    return { ref: refOf('intel-qe-identity', json.id, root), item: { kind: 'intel-qe-identity', ...item } };
  const scope = `${json.id}:${json.fmspc.toLowerCase()}`;
  return { ref: refOf('intel-tcb-info', scope, root), item: { kind: 'intel-tcb-info', ...item } };
}

function refOf(kind: CollateralKind, scope: string, rootCertificate: Uint8Array): CollateralRef {
  return { kind, rootCertificate, scope: utf8Encode(scope) };
}

/** DER of the Names of Intel's certification authorities. */
export function intelName(commonName: string): Uint8Array {
  const set = (oid: string, tag: string, text: string): string => {
    const value = `${tag}${tlvLength(text.length)}${toHex(utf8Encode(text))}`;
    const attribute = `06 03 ${oid}`.replaceAll(' ', '') + value;
    const sequence = `30${tlvLength(attribute.length / 2)}${attribute}`;
    return `31${tlvLength(sequence.length / 2)}${sequence}`;
  };
  const content = [
    set('550403', '0c', commonName),
    set('55040a', '0c', 'Intel Corporation'),
    set('550407', '0c', 'Santa Clara'),
    set('550408', '0c', 'CA'),
    set('550406', '13', 'US'),
  ].join('');
  return fromHex(`30${tlvLength(content.length / 2)}${content}`);
}

function tlvLength(length: number): string {
  return length.toString(16).padStart(2, '0');
}

export function crlPiece(crl: Uint8Array, issuer: string): Piece {
  const ref = { kind: 'intel-crl', rootCertificate: intelRoot(), scope: intelName(issuer) } as const;
  return { ref, item: { kind: 'intel-crl', crl, issuerChain: [] } };
}

/** One file with everything, as several tools write it. */
function bundlePieces(kind: string, file: string, expect: Expectation): readonly Piece[] {
  const bundle = JSON.parse(readFileSync(join(FOLDER, kind, file), 'utf8')) as Readonly<
    Record<string, string>
  >;
  const chain = (name: string): readonly Uint8Array[] =>
    [...parsePemCertificates(bundle[name] ?? '', name)].reverse();
  return [
    crlPiece(fromHex(bundle['root_ca_crl'] ?? ''), 'Intel SGX Root CA'),
    crlPiece(fromHex(bundle['pck_crl'] ?? ''), expect.pck_ca),
    jsonPiece(bundle['tcb_info'] ?? '', bundle['tcb_info_signature'] ?? '', chain('tcb_info_issuer_chain')),
    jsonPiece(
      bundle['qe_identity'] ?? '',
      bundle['qe_identity_signature'] ?? '',
      chain('qe_identity_issuer_chain'),
    ),
  ];
}

/** A source that has these pieces and no others; of two for one reference the first. */
export function sourceOf(pieces: readonly Piece[]): CollateralSource {
  return <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
    const found = pieces.find(
      (piece) =>
        piece.ref.kind === ref.kind &&
        bytesEqual(piece.ref.rootCertificate, ref.rootCertificate) &&
        bytesEqual(piece.ref.scope, ref.scope),
    );
    return found === undefined ? null : (found.item as CollateralOf<K>);
  };
}

/** The manifest's instant; the start of its window where there is none. */
export function recordedTimeMs({ expect }: IntelVector): number {
  return expect.verify_at_s === undefined ? Date.parse(expect.window_from) : expect.verify_at_s * 1000;
}

const OPEN = {
  allowDebug: false,
  measurements: 'allow-any',
  reportData: 'allow-any',
  tcbStatuses: 'allow-any',
  minTcbEvaluationDataNumber: 'allow-any',
} as const;

/** Waives every expectation; debug mode and hopeless TCBs stay refused. */
export const OPEN_TDX: TdxPolicy = {
  ...OPEN,
  septVeDisable: 'allow-any',
  migratable: 'allow-any',
  xfam: 'allow-any',
  serviceTd: 'allow-any',
};
export const OPEN_SGX: SgxPolicy = { ...OPEN, provisionKey: 'allow-any' };

export interface Change {
  readonly quote?: Uint8Array;
  readonly pieces?: readonly Piece[];
  readonly crypto?: CryptoProvider;
  readonly nowMs?: number;
  readonly trust?: Partial<RootedTrust>;
  readonly tdx?: Partial<TdxPolicy>;
  readonly sgx?: Partial<SgxPolicy>;
}

export function trustFor(vector: IntelVector, change: Change = {}): RootedTrust {
  return {
    crypto: change.crypto ?? nodeCrypto,
    nowMs: change.nowMs ?? recordedTimeMs(vector),
    roots: [INTEL_SGX_ROOT],
    revoked: [],
    collateral: sourceOf(change.pieces ?? collateralOf(vector)),
    collateralGraceMs: 0,
    ...change.trust,
  };
}

/** Appraises at the recorded time with the recorded collateral under the open policy, but for the change. */
export function appraiseVector(vector: IntelVector, change: Change = {}): Appraisal<TdxClaims | SgxClaims> {
  const trust = trustFor(vector, change);
  const quote = change.quote ?? vector.quote;
  return vector.kind === 'tdx'
    ? appraiseTdx(quote, { ...trust, policy: { ...OPEN_TDX, ...change.tdx } })
    : appraiseSgx(quote, { ...trust, policy: { ...OPEN_SGX, ...change.sgx } });
}

/** `id:code` of the failed checks, in order. */
export function failures({ verdict }: Pick<Appraisal<unknown>, 'verdict'>): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id, code }) => `${id}:${code}`);
}

/** Ids of the skipped checks, in order. */
export function skips({ verdict }: Pick<Appraisal<unknown>, 'verdict'>): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'skipped').map(({ id, code }) => `${id}:${code}`);
}

/** As a submitter prepares it. */
export function stripped(vector: IntelVector): Uint8Array {
  return stripQuotePadding(vector.recorded);
}
