/** Genuine files of every kind, judged the way a person hands them over. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { nodeCrypto } from '@haca/platform';
import type { Check, CheckStatus, EvidenceKind } from '@haca/protocol';
import { appraiseEvidenceFile, type CollateralFile, type EvidenceFileReport } from '../src/index.ts';

const root = process.env['HACA_VECTORS'] ?? resolve(import.meta.dirname, '../../../../shared/vectors');
export const folder = join(root, 'tee');
export const vectorsMissing: string | false = existsSync(folder) ? false : `no genuine evidence at ${folder}`;

/** `path` below the folder of all kinds, e.g. `tdx/tdqe-2023-06.json`. */
export function bytesOf(path: string): Uint8Array {
  return new Uint8Array(readFileSync(join(folder, path)));
}

export function fileOf(path: string): CollateralFile {
  return { name: path.slice(path.lastIndexOf('/') + 1), bytes: bytesOf(path) };
}

export function allFiles(kind: string): readonly CollateralFile[] {
  return readdirSync(join(folder, kind)).map((name) => fileOf(`${kind}/${name}`));
}

export function textFile(name: string, text: string): CollateralFile {
  return { name, bytes: new TextEncoder().encode(text) };
}

/** Everything waived that evidence alone cannot show. */
export const WAIVED = { others: 'any' } as const;

export function judge(
  kind: EvidenceKind,
  evidence: Uint8Array,
  atMs: number,
  collateral: readonly CollateralFile[],
  policy: unknown = WAIVED,
): EvidenceFileReport {
  return appraiseEvidenceFile({ crypto: nodeCrypto, kind, evidence, atMs, collateral, policy });
}

export function statusOf({ verdict }: EvidenceFileReport, id: string): CheckStatus | undefined {
  return verdict.checks.find((check) => check.id === id)?.status;
}

export function failedOf({ verdict }: EvidenceFileReport): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
}

/** Checks for want of collateral. */
export function skippedOf({ verdict }: EvidenceFileReport): readonly Check[] {
  return verdict.checks.filter(({ status }) => status === 'skipped');
}

export const UP_TO_DATE = {
  quote: 'tdx/v4-uptodate-2025-06.quote.bin',
  bundle: 'tdx/v4-uptodate-2025-06.collateral.json',
  atMs: 1_750_332_747_000,
} as const;
