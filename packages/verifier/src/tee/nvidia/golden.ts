/**
 * Measurements of a report against NVIDIA's reference manifests (RIM), and as one digest for approved measurements. A manifest
 * is XML whose signature is checked where it is fetched, never here: what comes here is its values.
 */
import { bytesEqual, CborWriter, type CryptoProvider, concatBytes, domainPrefix } from '@haca/primitives';
import { type Check, check, failed } from '@haca/protocol';
import { checkWithoutExpectation, type Expected } from '../expected.ts';
import type { MeasurementBlock } from './report.ts';

/** A measurement that a reference manifest marks active. */
export interface GoldenMeasurement {
  /** As the manifest counts: 0 for the first. */
  readonly index: number;
  /** The alternatives it allows, one at least. */
  readonly values: readonly Uint8Array[];
}

/** Firmware of NVDEC0, which NVIDIA leaves out of the comparison where NVDEC0 is off. */
export const NVDEC0_INDEX = 35;

interface Measured {
  readonly blocks: readonly MeasurementBlock[];
  readonly nvdec0Disabled: boolean;
}

function isJudged(index: number, { nvdec0Disabled }: Measured): boolean {
  return index !== NVDEC0_INDEX || !nvdec0Disabled;
}

/**
 * SHA-384 over domain `haca/nvidia-measurements/1` and the deterministic CBOR of `[index, type, value]` for every measurement
 * but that of a disabled NVDEC0: 48 bytes.
 */
export function nvidiaMeasurementsDigest(crypto: CryptoProvider, measured: Measured): Uint8Array {
  const judged = measured.blocks.filter(({ index }) => isJudged(index, measured));
  const writer = new CborWriter(4096);
  writer.arrayHead(judged.length);
  for (const { index, type, value } of judged) {
    writer.arrayHead(3);
    writer.uint(index);
    writer.uint(type);
    writer.bytes(value);
  }
  return crypto.sha384(concatBytes(domainPrefix('haca/nvidia-measurements/1'), writer.finish()));
}

/** Id of the check is `nvidia.golden`. A list that compares nothing fails: nothing was shown. */
export function checkGolden(measured: Measured, expected: Expected<readonly GoldenMeasurement[]>): Check {
  const id = 'nvidia.golden';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const twice = expected.find(({ index }, i) => expected.findIndex((other) => other.index === index) !== i);
  if (twice !== undefined)
    return failed(id, 'nvidia.golden-conflict', 'each index once', `index ${twice.index} twice`);
  const judged = expected.filter(({ index }) => isJudged(index, measured));
  if (judged.length === 0)
    return failed(id, 'nvidia.golden-empty', 'a measurement to compare', 'none is given');
  const wrong = judged.filter((golden) => !matches(golden, measured.blocks)).map(({ index }) => index);
  const got = wrong.length === 0 ? 'all' : `others at index ${wrong.join(', ')}`;
  return check(id, id, wrong.length === 0, `${judged.length} golden measurements`, got);
}

function matches({ index, values }: GoldenMeasurement, blocks: readonly MeasurementBlock[]): boolean {
  const measured = blocks.find((block) => block.index === index);
  return measured !== undefined && values.some((value) => bytesEqual(value, measured.value));
}
