/** The models of `fixtures/` with the data they were trained for. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Tensor, tensorOf } from '../src/float/tensor.ts';

const FOLDER = join(import.meta.dirname, 'fixtures');

export interface Digits {
  readonly count: number;
  /** 64 grey values 0-16 each. */
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
}

export interface Fixture {
  readonly name: string;
  readonly onnx: Uint8Array;
  readonly exporter: string;
  readonly inputs: Readonly<
    Record<string, { readonly kind: 'image' | 'tokens'; readonly shape: readonly number[] }>
  >;
  /** Of the first held-out images, as onnxruntime computes them. */
  readonly outputs: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly values: readonly number[] }>
  >;
  /** Name of the output whose largest entry is the class. */
  readonly scores: string;
  readonly heldOutAccuracy: number;
}

export const FIXTURE_NAMES: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.onnx'))
  .map((file) => file.slice(0, -'.onnx'.length))
  .sort();

export function readFixture(name: string): Fixture {
  const described = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Omit<
    Fixture,
    'name' | 'onnx'
  >;
  return { ...described, name, onnx: new Uint8Array(readFileSync(join(FOLDER, `${name}.onnx`))) };
}

export function readDigits(part: 'heldOut' | 'calibration'): Digits {
  const file = JSON.parse(readFileSync(join(FOLDER, 'digits8.json'), 'utf8')) as Record<
    string,
    { readonly count: number; readonly images: string; readonly labels: string }
  >;
  const { count, images, labels } = file[part] as { count: number; images: string; labels: string };
  return {
    count,
    images: new Uint8Array(Buffer.from(images, 'base64')),
    labels: new Uint8Array(Buffer.from(labels, 'base64')),
  };
}

/** The inputs of a model for rows `from` to `to`: one tensor each with a leading axis of that many. */
export function inputsOf(fixture: Fixture, digits: Digits, from: number, to: number): Map<string, Tensor> {
  const rows = to - from;
  return new Map(
    Object.entries(fixture.inputs).map(([name, { kind, shape }]) => {
      const image = digits.images.subarray(64 * from, 64 * to);
      if (kind === 'image') return [name, tensorOf('float', [rows, ...shape], image)];
      return [name, tensorOf('int', [rows, ...shape], tokensOf(image))];
    }),
  );
}

/** Sums of 2 x 2 blocks divided by 4: 16 tokens an image. */
function tokensOf(images: Uint8Array): number[] {
  const tokens: number[] = [];
  for (let image = 0; image < images.length; image += 64) {
    for (let y = 0; y < 8; y += 2) {
      for (let x = 0; x < 8; x += 2) {
        let sum = 0;
        for (const at of [0, 1, 8, 9]) sum += images[image + 8 * y + x + at] as number;
        tokens.push(sum >> 2);
      }
    }
  }
  return tokens;
}
