import { MalformedError } from '@haca/primitives';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

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

function decodeBase64(text: string, path: string): Uint8Array {
  const data = text.replace(/={1,2}$/, '');
  if (text.length === 0 || text.length % 4 !== 0 || data.length % 4 === 1)
    fail(path, 'groups of four base64 characters', `${text.length} characters`);
  const bytes = new Uint8Array(Math.floor((data.length * 3) / 4));
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  for (const character of data) {
    const value = ALPHABET.indexOf(character);
    if (value < 0) fail(path, 'base64 characters', JSON.stringify(character));
    bits = ((bits << 6) | value) & 0xffff;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[at++] = (bits >> bitCount) & 0xff;
  }
  if ((bits & ((1 << bitCount) - 1)) !== 0) fail(path, 'unused bits of zero', 'others');
  return bytes;
}

function fail(path: string, expected: string, got: string): never {
  throw new MalformedError('pem.malformed', path, expected, got);
}
