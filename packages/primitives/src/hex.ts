/** Hexadecimal: the one reader and the one writer. */
import { MalformedError } from './errors.ts';

export interface HexForm {
  readonly digits: 'lower' | 'upper' | 'either';
  /** Spaces, tabs and line ends. */
  readonly blanks: 'forbidden' | 'skipped';
}

export type HexReading =
  | { readonly ok: true; readonly bytes: Uint8Array }
  /** `length`: an odd number of digits. `at`: index of the character that is no digit, or of the end; blanks skipped do not count. */
  | { readonly ok: false; readonly fault: 'digit' | 'length'; readonly at: number };

const NO_DIGIT = 255;

/** Values of character codes below 128. */
const VALUES: Readonly<Record<HexForm['digits'], Uint8Array>> = {
  lower: valuesOf('0123456789abcdef'),
  upper: valuesOf('0123456789ABCDEF'),
  either: valuesOf('0123456789abcdef', '0123456789ABCDEF'),
};

function valuesOf(...alphabets: readonly string[]): Uint8Array {
  const values = new Uint8Array(128).fill(NO_DIGIT);
  for (const alphabet of alphabets) {
    for (let value = 0; value < alphabet.length; value++) values[alphabet.charCodeAt(value)] = value;
  }
  return values;
}

/** Total. Time and memory are linear in the text, whose length is the caller's to bound. No text is no bytes. */
export function readHex(given: string, { digits, blanks }: HexForm): HexReading {
  const text = blanks === 'skipped' ? given.replaceAll(/[\t-\r ]+/g, '') : given;
  const values = VALUES[digits];
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++) {
    const high = values[text.charCodeAt(2 * i)] ?? NO_DIGIT;
    const low = values[text.charCodeAt(2 * i + 1)] ?? NO_DIGIT;
    if ((high | low) === NO_DIGIT) {
      return { ok: false, fault: 'digit', at: 2 * i + (high === NO_DIGIT ? 0 : 1) };
    }
    bytes[i] = (high << 4) | low;
  }
  if (text.length % 2 === 0) return { ok: true, bytes };
  return { ok: false, fault: 'length', at: text.length };
}

const HEX_DIGITS = '0123456789abcdef';
const BYTE_TO_HEX: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `${HEX_DIGITS[byte >> 4]}${HEX_DIGITS[byte & 15]}`,
);

/** Lower-case hexadecimal, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += BYTE_TO_HEX[bytes[i] as number];
  return text;
}

const LOWER: HexForm = { digits: 'lower', blanks: 'forbidden' };

/** Lower-case hexadecimal only, so that one byte string has one spelling. Throws `MalformedError` otherwise. */
export function fromHex(text: string, path = ''): Uint8Array {
  if (text.length % 2 !== 0)
    throw new MalformedError('hex.length', path, 'an even number of digits', `${text.length}`);
  const reading = readHex(text, LOWER);
  if (reading.ok) return reading.bytes;
  const start = reading.at - (reading.at % 2);
  throw new MalformedError('hex.digit', path, 'digits 0-9 and a-f', `'${text.slice(start, start + 2)}'`);
}
