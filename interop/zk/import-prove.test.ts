/** Models from exporters that this repository does not know, imported, proved and verified: nothing but the key tells them apart. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ImportedKey, importOnnx } from '@haca/compiler';
import { wasmBackend } from '@haca/prover';
import {
  assertAccepted,
  assertRefused,
  openNetwork,
  proveHonestly,
  statementFor,
  verdictOn,
} from './prove-harness.ts';

const FIXTURES = join(import.meta.dirname, '..', '..', 'packages', 'compiler', 'test', 'fixtures');
const ROWS = 32;

interface Described {
  readonly inputs: Readonly<
    Record<string, { readonly kind: 'image' | 'tokens'; readonly shape: readonly number[] }>
  >;
}

function imported(name: string): Promise<ImportedKey> {
  const { inputs } = JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8')) as Described;
  const { calibration } = JSON.parse(readFileSync(join(FIXTURES, 'digits8.json'), 'utf8')) as {
    readonly calibration: { readonly images: string };
  };
  const images = Buffer.from(calibration.images, 'base64');
  const image = (row: number): number[] => [...images.subarray(64 * row, 64 * (row + 1))];
  const rows = (kind: 'image' | 'tokens'): number[][] =>
    Array.from({ length: ROWS }, (_, row) => (kind === 'image' ? image(row) : tokensOf(image(row))));
  return importOnnx({
    model: new Uint8Array(readFileSync(join(FIXTURES, `${name}.onnx`))),
    calibration: {
      inputs: Object.fromEntries(Object.entries(inputs).map(([key, { kind }]) => [key, rows(kind)])),
    },
    options: { activationBits: 8 },
  });
}

/** Sums of 2 x 2 blocks of an 8 x 8 image divided by 4. */
function tokensOf(image: readonly number[]): number[] {
  return Array.from({ length: 16 }, (_, i) => {
    const at = 16 * Math.floor(i / 4) + 2 * (i % 4);
    return [0, 1, 8, 9].reduce((sum, step) => sum + (image[at + step] as number), 0) >> 2;
  });
}

const names = readdirSync(FIXTURES)
  .filter((file) => file.endsWith('.onnx'))
  .map((file) => file.slice(0, -'.onnx'.length));
assert.ok(names.length >= 15, `${names.length} fixtures`);
const backend = wasmBackend();

for (const name of names)
  test(`${name}: imported, proved, verified; another answer is not`, async () => {
    const network = await openNetwork(await imported(name), backend);
    // Inputs from all of their intervals: what a stranger may send, not what the model was trained on.
    for (const batchSize of [1, 3]) {
      const statement = statementFor(network, batchSize, batchSize);
      const proof = await proveHonestly(network, statement);
      assertAccepted(verdictOn(network, statement, proof), `batch of ${batchSize}`);
      const [first, ...others] = statement.outputs as [Uint8Array, ...Uint8Array[]];
      const wrong = first.slice();
      wrong[0] = (wrong[0] as number) ^ 1;
      assertRefused(
        verdictOn(network, { ...statement, outputs: [wrong, ...others] }, proof),
        'another answer',
      );
    }
    network.committed.release();
  });
