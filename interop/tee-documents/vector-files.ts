/** The recorded vectors, read where they lie: whole, and the parts that are inside them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { utf8Encode } from '@haca/primitives';
import { parseNitroEnvelope, parseNitroPayload, parsePemCertificates, parseQuotePem } from '@haca/verifier';

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
export function namedVectorFiles(
  kind: string,
): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
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

/** DER of the certificates of one PEM file, in its order. */
export function pemChain(kind: string, file: string): readonly Uint8Array[] {
  return parsePemCertificates(textOf(vectorFile(kind, file)), file);
}

/** DER of certificates of a vendor, or of the PCK chains inside quotes; a few of each. */
export function certificatesOf(
  ...kinds: readonly ('nitro' | 'tdx' | 'snp' | 'nvidia' | 'pck')[]
): readonly Uint8Array[] {
  return kinds.flatMap((kind) => {
    if (kind === 'nitro') return nitroCertificates();
    if (kind === 'pck')
      return quotePemTexts()
        .flatMap((pem) => parseQuotePem(pem))
        .slice(0, 9);
    const chains = vectorFiles(kind, '.pem').flatMap((pem) => parsePemCertificates(textOf(pem), 'pem'));
    const singles = vectorFiles(kind, 'vek.der', 'vcek.der', 'signing-2025.der');
    return [...chains.slice(0, 8), ...singles];
  });
}

function nitroCertificates(): readonly Uint8Array[] {
  return nitroPayloads()
    .slice(0, 2)
    .flatMap((payload) => {
      const { cabundle, certificate } = parseNitroPayload(payload);
      return [...cabundle, certificate];
    });
}

export function nitroPayloads(): readonly Uint8Array[] {
  return vectorFiles('nitro', '.bin').map((document) => parseNitroEnvelope(document).payload);
}

/** CRLs, DER. */
export function revocationLists(): readonly Uint8Array[] {
  return ['tdx', 'sgx'].flatMap((kind) =>
    namedVectorFiles(kind).flatMap(({ name, bytes }) => (/crl.*\.der$/i.test(name) ? [bytes] : [])),
  );
}

/** The PEM chains inside the recorded quotes, as they stand there. */
export function quotePemTexts(): readonly Uint8Array[] {
  return ['tdx', 'sgx'].flatMap((kind) =>
    vectorFiles(kind, '.quote.bin').map((quote) => {
      const text = new TextDecoder('latin1').decode(quote);
      return quote.slice(text.indexOf('-----BEGIN'), text.lastIndexOf('-----END CERTIFICATE-----') + 26);
    }),
  );
}

const SIGNED = /"(tcbInfo|enclaveIdentity)":(\{.*\}),"signature"/s;

/** The texts that Intel signed, out of files and bundles. */
export function signedBodies(name: 'tcbInfo' | 'enclaveIdentity'): readonly Uint8Array[] {
  return ['tdx', 'sgx'].flatMap((kind) =>
    namedVectorFiles(kind).flatMap((file) => {
      // Intel's own sample states numbers that its schema does not allow.
      const isJson = file.name.endsWith('.json') && !file.name.startsWith('inteltest');
      const match = isJson ? SIGNED.exec(textOf(file.bytes)) : null;
      return match?.[1] === name && match[2] !== undefined ? [utf8Encode(match[2])] : [];
    }),
  );
}
