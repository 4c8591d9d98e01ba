/** PEM inside other text (RFC 7468 as it is found in the field): descriptions around blocks, URL-encoded in HTTP headers. */
import { base64Of } from './text-forms.ts';

const LABELS = { certificate: 'CERTIFICATE', crl: 'X509 CRL' } as const;
const BLOCKS_MAX = 256;

export interface PemBlocks {
  /** DER in the order of the text. */
  readonly certificates: readonly Uint8Array[];
  readonly crls: readonly Uint8Array[];
  /** Blocks whose content is no base64. */
  readonly brokenCount: number;
}

const NONE: PemBlocks = { certificates: [], crls: [], brokenCount: 0 };

/** At most 256 blocks are read. Line ends may be missing or written as `\n` or `%0A`. */
export function pemBlocks(given: string): PemBlocks {
  const text = plainText(given);
  if (!text.includes('-----BEGIN ')) return NONE;
  const found = { certificates: [] as Uint8Array[], crls: [] as Uint8Array[], brokenCount: 0 };
  const blocks = text.matchAll(/-----BEGIN ([A-Z0-9 ]{1,32})-----([^-]*)-----END \1-----/g);
  let count = 0;
  for (const [, label, body] of blocks) {
    if (++count > BLOCKS_MAX) break;
    const der = base64Of(body as string);
    if (der === null) found.brokenCount++;
    else if (label === LABELS.crl) found.crls.push(der);
    else if (label === LABELS.certificate || label === `TRUSTED ${LABELS.certificate}`)
      found.certificates.push(der);
  }
  return found;
}

function plainText(text: string): string {
  const isUrlEncoded = /-----BEGIN(?:%20|\+)/.test(text);
  const decoded = isUrlEncoded ? urlDecoded(text) : text;
  return decoded.includes('\\n') ? decoded.replaceAll('\\r', '').replaceAll('\\n', '\n') : decoded;
}

/** Escapes of ASCII only: PEM has no others. A `+` stays, unless it stands where PEM has a blank. */
function urlDecoded(text: string): string {
  return text
    .replaceAll(/%([0-7][0-9A-Fa-f])/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
    .replaceAll(/-----(BEGIN|END)\+/g, '-----$1 ')
    .replaceAll('X509+CRL-----', 'X509 CRL-----');
}
