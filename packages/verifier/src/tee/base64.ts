const SHARED = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const URL_SAFE = `${SHARED}-_`;
const STANDARD = `${SHARED}+/`;

/** RFC 4648 section 5 without padding; null where the text is not the one spelling of its bytes. */
export function base64urlBytes(text: string): Uint8Array | null {
  return decoded(text, URL_SAFE);
}

/** Either alphabet of RFC 4648, padded or not. */
export function base64Bytes(text: string): Uint8Array | null {
  const data = text.replace(/={1,2}$/, '');
  if (data.length !== text.length && text.length % 4 !== 0) return null;
  return decoded(data, /[+/]/.test(data) ? STANDARD : URL_SAFE);
}

function decoded(text: string, alphabet: string): Uint8Array | null {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let [group, bits, at] = [0, 0, 0];
  for (const character of text) {
    const value = alphabet.indexOf(character);
    if (value < 0) return null;
    group = ((group << 6) | value) & 0xfff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = group >> bits;
  }
  return bits < 6 && (group & ((1 << bits) - 1)) === 0 ? bytes : null;
}
