/** The recorded vectors, read where they lie: whole, and the parts that are inside them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromHex } from '@haca/primitives';
import { parseNitroEnvelope, parseNitroPayload, parsePemCertificates } from '@haca/verifier';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why there are none. */
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

/** Every file of a kind but its manifest, by name: as a folder of collateral is handed over. */
export function namedVectorFiles(kind: string): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  if (vectorsMissing !== false) return [];
  return readdirSync(join(FOLDER, kind))
    .filter((file) => file !== 'manifest.json')
    .map((name) => ({ name, bytes: vectorFile(kind, name) }));
}

export interface ManifestEntry<Expect> {
  readonly id: string;
  readonly files: readonly { readonly file: string }[];
  readonly expect: Expect;
}

/** The vectors of `kind`, with what their manifest expects of them; none where the folder is missing. */
export function vectorManifest<Expect>(kind: string): readonly ManifestEntry<Expect>[] {
  if (vectorsMissing !== false) return [];
  const text = textOf(vectorFile(kind, 'manifest.json'));
  return (JSON.parse(text) as { readonly vectors: readonly ManifestEntry<Expect>[] }).vectors;
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Text files of hexadecimal digits. */
export function fromHexFile(bytes: Uint8Array): Uint8Array {
  return fromHex(textOf(bytes).replaceAll(/\s/g, '').toLowerCase());
}

/** DER of the certificates of one PEM file, in its order. */
export function pemChain(kind: string, file: string): readonly Uint8Array[] {
  return parsePemCertificates(textOf(vectorFile(kind, file)), file);
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
