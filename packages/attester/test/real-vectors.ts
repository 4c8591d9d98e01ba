/** Recorded evidence of real hardware, to be carried, not judged. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why tests with recorded evidence can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

export function vectorPath(name: string): string {
  return join(FOLDER, name);
}

export function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(vectorPath(name)));
}

/** An Intel quote that nobody signed, of the form of version 4 or 5, followed by `padding` zero bytes. The body is of TDX 1.5 in 5. */
export function unsignedQuote(
  reportData: Uint8Array,
  version: 4 | 5 = 4,
  padding = 0,
  signatureBytes = 200,
  [type, bodyBytes]: readonly [type: number, bytes: number] = version === 4 ? [2, 584] : [3, 648],
): Uint8Array {
  const bodyAt = version === 4 ? 48 : 54;
  const end = bodyAt + bodyBytes + 4 + signatureBytes;
  const bytes = new Uint8Array(end + padding);
  const view = new DataView(bytes.buffer);
  bytes.fill(0x5a, bodyAt, end);
  view.setUint16(0, version, true);
  view.setUint16(2, 2, true);
  view.setUint32(4, 0x81, true);
  if (version === 5) {
    view.setUint16(48, type, true);
    view.setUint32(50, bodyBytes, true);
  }
  view.setUint32(bodyAt + bodyBytes, signatureBytes, true);
  bytes.set(reportData, bodyAt + 520);
  return bytes;
}

export const ASKED = {
  bindingHash: Uint8Array.from({ length: 64 }, (_, i) => i + 1),
  signPublicKey: new Uint8Array(32).fill(0xa1),
  refBlockHash: new Uint8Array(32).fill(0xb2),
};
