import { DerReader } from './reader.ts';

/**
 * ECDSA-Sig-Value (RFC 3279 section 2.2.3), strict DER, to r || s of `coordinateBytes` each. Throws `MalformedError`; the
 * range of r and s is the verifying code's to check.
 */
export function ecdsaSignatureFromDer(der: Uint8Array, coordinateBytes: number, name: string): Uint8Array {
  const input = new DerReader(der, name);
  const pair = input.sequence('value');
  input.end();
  const r = pair.unsigned('r', coordinateBytes);
  const s = pair.unsigned('s', coordinateBytes);
  pair.end();
  const raw = new Uint8Array(2 * coordinateBytes);
  raw.set(r, coordinateBytes - r.length);
  raw.set(s, 2 * coordinateBytes - s.length);
  return raw;
}
