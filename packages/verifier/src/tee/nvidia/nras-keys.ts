/** Keys of NVIDIA's attestation service as it publishes them: a JWK set (RFC 7517) of P-384 keys. */
import { type CryptoProvider, concatBytes, MalformedError, utf8Encode } from '@haca/primitives';
import { base64UrlOf } from '../../file-forms/text-forms.ts';
import { type JsonObject, jsonArray, jsonObject, jsonText, parseStrictJson } from '../strict-json.ts';
import type { NrasKey } from './nras-token.ts';

const TEXT_MAX_CHARS = 256 * 1024;
const KEYS_MAX = 64;
const KID_MAX_CHARS = 256;
const COORDINATE_BYTES = 48;

/**
 * `{"keys": [{"kty": "EC", "crv": "P-384", "kid", "x", "y", "alg"?: "ES384", "use"?: "sig", ...}]}`. Keys of other types and curves are
 * left out; each `kid` once, no private key, and one key at least. Throws `MalformedError`.
 */
export function parseNrasKeys(text: string): readonly NrasKey[] {
  const path = 'jwks';
  if (text.length > TEXT_MAX_CHARS)
    throw new MalformedError(
      'jwks.too-large',
      path,
      `at most ${TEXT_MAX_CHARS} characters`,
      `${text.length}`,
    );
  const entries = jsonArray(jsonObject(parseStrictJson(text, path), path).get('keys'), `${path}.keys`);
  if (entries.length > KEYS_MAX)
    throw new MalformedError('jwks.keys', `${path}.keys`, `at most ${KEYS_MAX} keys`, `${entries.length}`);
  const keys = entries.flatMap((entry, i) =>
    readKey(jsonObject(entry, `${path}.keys.${i}`), `${path}.keys.${i}`),
  );
  const twice = keys.find(({ kid }, i) => keys.findIndex((other) => other.kid === kid) !== i);
  if (twice !== undefined || keys.length === 0)
    throw new MalformedError('jwks.keys', `${path}.keys`, 'P-384 keys, each kid once', twice?.kid ?? 'none');
  return keys;
}

function readKey(key: JsonObject, path: string): readonly NrasKey[] {
  if (key.has('d')) throw new MalformedError('jwks.private', path, 'a public key', 'a private one');
  if (key.get('kty') !== 'EC' || key.get('crv') !== 'P-384') return [];
  requireIfThere(key, 'alg', 'ES384', path);
  requireIfThere(key, 'use', 'sig', path);
  const kid = jsonText(key.get('kid'), `${path}.kid`);
  if (kid === '' || kid.length > KID_MAX_CHARS)
    throw new MalformedError('jwks.kid', `${path}.kid`, `1 to ${KID_MAX_CHARS} characters`, `${kid.length}`);
  const coordinates = ['x', 'y'].map((name) => coordinateOf(key, name, `${path}.${name}`));
  return [{ kid, publicKey: concatBytes(Uint8Array.of(4), ...coordinates) }];
}

function requireIfThere(key: JsonObject, name: string, value: string, path: string): void {
  const got = key.get(name);
  if (got !== undefined && got !== value)
    throw new MalformedError(
      'jwks.key',
      `${path}.${name}`,
      value,
      typeof got === 'string' ? got.slice(0, 64) : 'another',
    );
}

function coordinateOf(key: JsonObject, name: string, path: string): Uint8Array {
  const bytes = base64UrlOf(jsonText(key.get(name), path));
  if (bytes?.length === COORDINATE_BYTES) return bytes;
  throw new MalformedError('jwks.key', path, `${COORDINATE_BYTES} bytes in base64url`, 'others');
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** SHA-256 of a key by RFC 7638: what a policy names it by. 32 bytes. */
export function nrasKeyThumbprint(
  { publicKey }: NrasKey,
  crypto: Pick<CryptoProvider, 'sha256'>,
): Uint8Array {
  const x = base64UrlText(publicKey.subarray(1, 1 + COORDINATE_BYTES));
  const y = base64UrlText(publicKey.subarray(1 + COORDINATE_BYTES));
  return crypto.sha256(utf8Encode(`{"crv":"P-384","kty":"EC","x":"${x}","y":"${y}"}`));
}

/** Of a multiple of three bytes. */
function base64UrlText(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const group = (a << 16) | (b << 8) | c;
    for (const shift of [18, 12, 6, 0]) text += BASE64URL[(group >> shift) & 63];
  }
  return text;
}
