/** The recorded Nitro documents, and a policy that waives everything but what a test is about. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';
import {
  type Appraisal,
  AWS_NITRO_ROOT_G1,
  appraiseNitro,
  type NitroClaims,
  type NitroContext,
  type NitroPolicy,
} from '../src/index.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee/nitro');

/** False, or why tests against recorded documents can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

export interface NitroVector {
  readonly id: string;
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly expect: {
    readonly verify_at_ms: number;
    readonly chain_valid_from: string;
    readonly chain_valid_to: string;
    readonly payload_map_encoding: string;
    readonly module_id: string;
    readonly digest: string;
    readonly pcrs_nonzero: Readonly<Record<string, string>>;
    readonly user_data: string | null;
    readonly nonce: string | null;
    readonly public_key: string | null;
    readonly outcome: string;
  };
}

interface ManifestEntry extends Pick<NitroVector, 'id' | 'expect'> {
  readonly files: readonly { readonly file: string; readonly sha256: string }[];
}

export function readVectors(): readonly NitroVector[] {
  if (vectorsMissing !== false) return [];
  const manifest = JSON.parse(readFileSync(join(FOLDER, 'manifest.json'), 'utf8')) as {
    readonly vectors: readonly ManifestEntry[];
  };
  return manifest.vectors.map(({ id, expect, files }) => {
    const [first] = files;
    if (first === undefined) throw new Error(`vector ${id} has no file`);
    return {
      id,
      expect,
      sha256: first.sha256,
      bytes: new Uint8Array(readFileSync(join(FOLDER, first.file))),
    };
  });
}

export function vector(id: string): NitroVector {
  const found = readVectors().find((each) => each.id === id);
  if (found === undefined) throw new Error(`no vector ${id}`);
  return found;
}

/** Waives every expectation; debug mode stays refused. */
export const OPEN_POLICY: NitroPolicy = {
  allowDebug: false,
  measurements: 'allow-any',
  maxAgeMs: 'allow-any',
  maxFutureSkewMs: 'allow-any',
  userData: 'allow-any',
  nonce: 'allow-any',
  publicKey: 'allow-any',
};

export function contextAt(nowMs: number, crypto: CryptoProvider = nodeCrypto): NitroContext {
  return { crypto, nowMs, roots: [AWS_NITRO_ROOT_G1], revoked: [], policy: OPEN_POLICY };
}

/** `id:code` of the failed checks, in order. */
export function failures({ verdict }: Pick<Appraisal<unknown>, 'verdict'>): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id, code }) => `${id}:${code}`);
}

/** Appraises at the recorded time under the open policy, after a change to the bytes. */
export function appraiseChanged(
  from: NitroVector,
  bytes: Uint8Array,
  crypto?: CryptoProvider,
): Appraisal<NitroClaims> {
  return appraiseNitro(bytes, contextAt(from.expect.verify_at_ms, crypto));
}
