/** What fuzzing starts from: the genuine vectors where they lie, and shapes of our own making everywhere. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromHex } from '@haca/primitives';
import { parseNitroEnvelope, parseNitroPayload, parsePemCertificates } from '@haca/verifier';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why there are no genuine seeds. */
export const vectorsMissing: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

/** Files of the vectors of `kind` whose name ends so, largest names last; none where the folder is missing. */
export function vectorFiles(kind: string, ...endings: readonly string[]): readonly Uint8Array[] {
  if (vectorsMissing !== false) return [];
  return readdirSync(join(FOLDER, kind))
    .filter((file) => file !== 'manifest.json' && endings.some((ending) => file.endsWith(ending)))
    .sort()
    .map((file) => new Uint8Array(readFileSync(join(FOLDER, kind, file))));
}

export function vectorFile(kind: string, file: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, kind, file)));
}

/** A JSON file of the vectors; undefined where the folder is missing. */
export function vectorJson<T>(kind: string, file: string): T | undefined {
  if (vectorsMissing !== false) return undefined;
  return JSON.parse(readFileSync(join(FOLDER, kind, file), 'utf8')) as T;
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Text files of hexadecimal digits. */
export function fromHexFile(bytes: Uint8Array): Uint8Array {
  return fromHex(textOf(bytes).replaceAll(/\s/g, '').toLowerCase());
}

/** DER of the certificates inside PEM files of the vectors. */
export function pemCertificates(kind: string): readonly Uint8Array[] {
  return vectorFiles(kind, '.pem').flatMap((pem) => parsePemCertificates(textOf(pem), 'pem'));
}

export function nitroPayloads(): readonly Uint8Array[] {
  return vectorFiles('nitro', '.bin').map((document) => parseNitroEnvelope(document).payload);
}

/** Certificates of every vendor, one of each sort. */
export function certificates(): readonly Uint8Array[] {
  const nitro = nitroPayloads()
    .slice(0, 2)
    .flatMap((payload) => {
      const { cabundle, certificate } = parseNitroPayload(payload);
      return [...cabundle, certificate];
    });
  const others = ['tdx', 'snp', 'nvidia'].flatMap((kind) => pemCertificates(kind).slice(0, 6));
  const ders = [...vectorFiles('snp', '.der'), ...vectorFiles('tdx', '2018.der', '2025.der', 'root.der')];
  return [...nitro, ...others, ...ders];
}
