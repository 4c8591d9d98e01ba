/** The recorded evidence of NVIDIA devices, and a policy that waives everything but what a test is about. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import { type CryptoProvider, encode, utf8Decode } from '@haca/primitives';
import { type NvidiaDocument, nvidiaDocumentCodec, type Verdict } from '@haca/protocol';
import {
  NVIDIA_DEVICE_ROOT,
  type NvidiaContext,
  type NvidiaPolicy,
  parseNvidiaChainPem,
  parseNvidiaEvidenceJson,
  parseNvidiaReportHex,
} from '../src/index.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee/nvidia');

/** False, or why tests against recorded evidence can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

/** 2026-11-20T00:00:00Z, when the vectors were recorded. */
export const RECORDED_MS = 1_795_132_800_000;

export interface DeviceExpectation {
  readonly spdm_signature_es384: boolean;
  readonly cert_chain_signatures: boolean;
  readonly certs: number;
  readonly leaf_subject: string;
  readonly request_nonce: string;
  readonly driver_version?: string;
  readonly vbios_version_hex: string;
  readonly measurement_blocks: number;
  readonly fwid_in_leaf_certificate: boolean | null;
  readonly report_bytes: number;
}

export interface Manifest {
  readonly vectors: readonly {
    readonly id: string;
    readonly files: readonly { readonly file: string; readonly sha256: string }[];
    readonly expect: Readonly<Record<string, unknown>>;
  }[];
}

export function readManifest(): Manifest {
  return JSON.parse(utf8Decode(readVectorFile('manifest.json'))) as Manifest;
}

export function readVectorFile(file: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, file)));
}

function readText(file: string): string {
  return utf8Decode(readVectorFile(file));
}

export interface NvidiaVector {
  readonly id: string;
  readonly document: NvidiaDocument;
  /** What the file says beside the evidence. */
  readonly statedNonce: Uint8Array | null;
  readonly expect: DeviceExpectation;
}

const SAMPLES = ['hopper-550', 'blackwell-575', 'hopper-badsig'] as const;
const JSON_FILES = ['hopper-590-json', 'switch-ls10-json'] as const;
export const DEVICE_VECTORS = [...SAMPLES, ...JSON_FILES] as const;
export type DeviceVectorId = (typeof DEVICE_VECTORS)[number];

export function vector(id: DeviceVectorId): NvidiaVector {
  const entry = readManifest().vectors.find((each) => each.id === id);
  if (entry === undefined) throw new Error(`no vector ${id}`);
  const { expect } = entry;
  if ((SAMPLES as readonly string[]).includes(id)) {
    const report = parseNvidiaReportHex(readText(`${id}.report.hex.txt`));
    const certificates = parseNvidiaChainPem(readText(`${id}.chain.pem`));
    return { id, document: { report, certificates }, statedNonce: null, expect: expect as never };
  }
  const [first] = parseNvidiaEvidenceJson(readText(`${id}.json`));
  if (first === undefined) throw new Error(`vector ${id} has no device`);
  const { report, certificates, nonce } = first;
  return { id, document: { report, certificates }, statedNonce: nonce, expect: expect['first'] as never };
}

export function encoded(document: NvidiaDocument): Uint8Array {
  return encode(nvidiaDocumentCodec, document);
}

/** Waives every expectation; debug mode stays refused. */
export const OPEN_POLICY: NvidiaPolicy = {
  allowDebug: false,
  nonce: 'allow-any',
  revocation: 'allow-any',
  architectures: 'allow-any',
  modes: 'allow-any',
  measurements: 'allow-any',
  goldenMeasurements: 'allow-any',
  manifests: 'allow-any',
  serviceKeys: 'not-given',
};

export function recordedContext(crypto: CryptoProvider = nodeCrypto): NvidiaContext {
  return { crypto, nowMs: RECORDED_MS, roots: [NVIDIA_DEVICE_ROOT], revoked: [], policy: OPEN_POLICY };
}

/** `id:code` of the failed checks, in order. */
export function failures({ verdict }: { readonly verdict: Verdict }): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id, code }) => `${id}:${code}`);
}

/** `id:status` of one check. */
export function statusOf({ verdict }: { readonly verdict: Verdict }, id: string): string | undefined {
  return verdict.checks.find((check) => check.id === id)?.status;
}
