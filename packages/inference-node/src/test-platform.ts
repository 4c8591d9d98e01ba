/** A test enclave whose platform stands in a file, so that it outlives the process, can be shared, and can be patched under it. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  type Attester,
  createTdxTestEnclave,
  type IntelTestRoot,
  type TdxTestMeasurement,
} from '@haca/attester';
import { fromHex } from '@haca/primitives';
import { ConfigError } from './config.ts';

interface Platform {
  readonly seed: Uint8Array;
  readonly patches: number;
}

/** The file is made where there is none. It is read for each document: what stands there then is what is quoted. */
export function openTdxTestEnclave(
  root: IntelTestRoot,
  measurement: TdxTestMeasurement,
  file: string,
): Attester {
  if (!existsSync(file)) {
    const fresh = { seed: randomBytes(32).toString('hex'), patches: 0 };
    writeFileSync(file, `${JSON.stringify(fresh)}\n`, { mode: 0o600 });
  }
  // Of this boot; the platform below it may change.
  const seed = randomBytes(32);
  const enclaveNow = (): Attester => {
    const { seed: platformSeed, patches } = readPlatform(file);
    return createTdxTestEnclave({ root, measurement, seed, platformSeed, patches });
  };
  const { kind, isSimulated } = enclaveNow();
  return { kind, isSimulated, attest: (request) => enclaveNow().attest(request) };
}

function readPlatform(file: string): Platform {
  const { seed, patches } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const isCount = typeof patches === 'number' && Number.isInteger(patches) && patches >= 0 && patches < 100;
  if (typeof seed !== 'string' || !/^[0-9a-f]{64}$/.test(seed) || !isCount)
    throw new ConfigError(`${file} must hold a seed of 64 hexadecimal digits and patches, 0 to 99`);
  return { seed: fromHex(seed), patches };
}
