/**
 * Measurements of a report against golden ones, be they of NVIDIA's reference manifests (RIM) or a policy's, and as one digest
 * for approved measurements.
 */
import { bytesEqual, CborWriter, type CryptoProvider, concatBytes, domainPrefix } from '@haca/primitives';
import { type Check, check } from '@haca/protocol';
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

/** Id of the check is `nvidia.golden`. */
export function checkGolden(measured: Measured, expected: Expected<readonly GoldenMeasurement[]>): Check {
  const id = 'nvidia.golden';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const { code, expected: wanted, got } = compareGolden(measured, expected, id);
  return check(id, code ?? id, code === null, wanted, got);
}

/** Null as code where all are as they should be. A list that compares nothing fails: nothing was shown. */
export function compareGolden(
  measured: Measured,
  golden: readonly GoldenMeasurement[],
  code: 'nvidia.golden' | 'nvidia.rim',
): { readonly code: string | null; readonly expected: string; readonly got: string } {
  const [conflict, empty, other] =
    code === 'nvidia.golden'
      ? ['nvidia.golden-conflict', 'nvidia.golden-empty', 'nvidia.golden']
      : ['nvidia.rim.conflict', 'nvidia.rim.empty', 'nvidia.rim.measurements'];
  const twice = golden.find(({ index }, i) => golden.findIndex((each) => each.index === index) !== i);
  if (twice !== undefined)
    return { code: conflict, expected: 'each index once', got: `index ${twice.index} twice` };
  const judged = golden.filter(({ index }) => isJudged(index, measured));
  if (judged.length === 0) return { code: empty, expected: 'a measurement to compare', got: 'none is given' };
  const wrong = judged.filter((each) => !matches(each, measured.blocks)).map(({ index }) => index);
  const expected = `${judged.length} golden measurements`;
  return wrong.length === 0
    ? { code: null, expected, got: 'all' }
    : { code: other, expected, got: `others at index ${wrong.join(', ')}` };
}

function matches({ index, values }: GoldenMeasurement, blocks: readonly MeasurementBlock[]): boolean {
  const measured = blocks.find((block) => block.index === index);
  return measured !== undefined && values.some((value) => bytesEqual(value, measured.value));
}
