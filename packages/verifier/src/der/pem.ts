import { BASE64, MalformedError, readBase64 } from '@haca/primitives';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/**
 * DER of the certificates of a PEM text (RFC 7468, strict: certificates only, nothing around them but line ends, lines of up
 * to 64 characters, canonical base64). One at least. For files that people hand over, such as trusted roots; throws
 * `MalformedError`.
 */
export function parsePemCertificates(text: string, name: string): readonly Uint8Array[] {
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  const certificates: Uint8Array[] = [];
  let body: string[] | null = null;
  for (const line of lines) {
    if (body === null) {
      if (line !== BEGIN) fail(`${name}.${certificates.length}`, BEGIN, JSON.stringify(line.slice(0, 40)));
      body = [];
    } else if (line === END) {
      certificates.push(decodeBase64(body.join(''), `${name}.${certificates.length}`));
      body = null;
    } else {
      if (line.length > 64)
        fail(`${name}.${certificates.length}`, 'lines of 64 characters', `${line.length}`);
      body.push(line);
    }
  }
  if (body !== null || certificates.length === 0) fail(name, END, 'the end of the text');
  return certificates;
}

/** Canonical and padded. */
function decodeBase64(text: string, path: string): Uint8Array {
  const reading = readBase64(text, BASE64);
  return reading.ok && text.length > 0
    ? reading.bytes
    : fail(path, 'canonical base64 in groups of four', 'another text');
}

function fail(path: string, expected: string, got: string): never {
  throw new MalformedError('pem.malformed', path, expected, got);
}
