/** Base64 with one spelling for each byte string: what the encoder makes is all the decoder takes. */
import {
  BASE64,
  BASE64URL,
  type Base64Form,
  MalformedError,
  readBase64,
  writeBase64,
} from '@haca/primitives';

/** Standard base64 with padding, as CometBFT's JSON-RPC uses it. */
export function base64(bytes: Uint8Array): string {
  return writeBase64(bytes, BASE64);
}

/** Throws `MalformedError` for what `base64` would not make. */
export function fromBase64(text: string): Uint8Array {
  return decoded('base64', BASE64, text);
}

/** base64url without padding, as headers and JSON of this project use it. */
export function base64url(bytes: Uint8Array): string {
  return writeBase64(bytes, BASE64URL);
}

/** Strict: the alphabet of RFC 4648 section 5, no padding, no stray bits. Throws `MalformedError`. */
export function fromBase64url(text: string): Uint8Array {
  return decoded('base64url', BASE64URL, text);
}

function decoded(name: string, form: Base64Form, text: string): Uint8Array {
  const reading = readBase64(text, form);
  if (reading.ok) return reading.bytes;
  const got = JSON.stringify(text.slice(0, 40));
  throw reading.fault === 'stray-bits'
    ? new MalformedError(`${name}.stray-bits`, '', `canonical ${name}`, got)
    : new MalformedError(`${name}.invalid`, '', name, got);
}
