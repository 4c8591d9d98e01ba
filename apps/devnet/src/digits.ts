/** The held-out digits that the demonstration classifies. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const FOLDER = resolve(import.meta.dirname, '../../../models/digits');
export const DIGITS_MODEL = join(FOLDER, 'digits.hzk');
export const DIGITS_SAMPLES = join(FOLDER, 'samples.bin');

export interface Digit {
  readonly label: number;
  /** 784 grey values, row by row. */
  readonly pixels: Uint8Array;
}

const SIDE = 28;
const HEAD_BYTES = 4;
const RECORD_BYTES = 1 + SIDE * SIDE;

/** One of the images in `models/digits/samples.bin`, which training never saw. */
export function readDigit(file: string, pick: (count: number) => number): Digit {
  const bytes = readFileSync(file);
  const count = bytes.readUInt32LE(0);
  if (bytes.length !== HEAD_BYTES + count * RECORD_BYTES) throw new Error(`${file} is not whole`);
  const at = HEAD_BYTES + pick(count) * RECORD_BYTES;
  return { label: bytes[at] as number, pixels: new Uint8Array(bytes.subarray(at + 1, at + RECORD_BYTES)) };
}

const SHADES = ' .:-=+*#%@';

/** The image in text, two rows of it a line, without its empty border. */
export function drawDigit({ pixels }: Digit): string[] {
  const at = (row: number, column: number): number => pixels[row * SIDE + column] ?? 0;
  const lines = Array.from({ length: SIDE / 2 }, (_, line) =>
    Array.from({ length: SIDE }, (_, column) => {
      const grey = Math.max(at(2 * line, column), at(2 * line + 1, column));
      return SHADES[Math.round((grey / 255) * (SHADES.length - 1))] as string;
    })
      .join('')
      .trimEnd(),
  );
  const first = lines.findIndex((line) => line !== '');
  const last = lines.findLastIndex((line) => line !== '');
  return lines.slice(Math.max(0, first), last + 1);
}

/** Position of the highest score. */
export function classOf(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if ((scores[i] as number) > (scores[best] as number)) best = i;
  return best;
}
