import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { fromHex, toHex } from '@haca/primitives';
import { truncationsAndExtensions } from '@haca/testkit';
import { appraiseNvidia, type NvidiaClaims } from '../src/index.ts';
import {
  DEVICE_VECTORS,
  encoded,
  failures,
  recordedContext,
  vector,
  vectorsMissing,
} from './nvidia-vectors.ts';

/** Bytes of a genuine document that may change without notice: none. */
const ACCEPTED_FLIPS: readonly number[] = [];

for (const id of DEVICE_VECTORS.filter((each) => each !== 'hopper-badsig')) {
  test(`NVIDIA-1 NVIDIA-13 no byte of ${id} can change`, { skip: vectorsMissing }, () => {
    const document = encoded(vector(id).document);
    const context = recordedContext(rememberSignatures(nodeCrypto, 1024));
    const accepted: number[] = [];
    const codes = new Set<string>();
    for (let at = 0; at < document.length; at++) {
      const changed = document.slice();
      changed[at] = (changed[at] as number) ^ 1;
      const result = appraiseNvidia(changed, context);
      if (result.verdict.ok) accepted.push(at);
      for (const failure of failures(result)) codes.add(failure);
    }
    assert.deepEqual(accepted, ACCEPTED_FLIPS);
    assert.ok(codes.size >= 15, `failures came in ${codes.size} kinds only: ${[...codes].join(', ')}`);
  });
}

test('NVIDIA-1 the portable provider refuses the same', { skip: vectorsMissing }, () => {
  const document = encoded(vector('hopper-550').document);
  const native = recordedContext(rememberSignatures(nodeCrypto, 1024));
  const portable = recordedContext(rememberSignatures(portableCrypto, 1024));
  for (let bit = 0; bit < document.length * 8; bit += 1009) {
    const changed = document.slice();
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    const expected = failures(appraiseNvidia(changed, native));
    assert.ok(expected.length > 0, `bit ${bit}`);
    assert.deepEqual(failures(appraiseNvidia(changed, portable)), expected, `bit ${bit}`);
  }
});

test('NVIDIA-3 no part of a document and nothing behind it', { skip: vectorsMissing }, () => {
  const document = encoded(vector('switch-ls10-json').document);
  const context = recordedContext(rememberSignatures(nodeCrypto, 1024));
  for (const changed of truncationsAndExtensions(document)) {
    const result = appraiseNvidia(changed, context);
    assert.equal(result.verdict.ok, false);
    assert.equal(failures(result).length, 1);
  }
});

const P384_ORDER = BigInt(`0x${'f'.repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`);

test('NVIDIA-23 twins of signatures change bytes, not claims', { skip: vectorsMissing }, () => {
  const { report, certificates } = vector('hopper-550').document;
  const original = appraiseNvidia(encoded({ report, certificates }), recordedContext());
  const twin = report.slice();
  const s = report.subarray(report.length - 48);
  const other = P384_ORDER - BigInt(`0x${toHex(s)}`);
  twin.set(fromHex(other.toString(16).padStart(96, '0')), report.length - 48);
  const result = appraiseNvidia(encoded({ report: twin, certificates }), recordedContext());
  assert.equal(result.verdict.ok, true);
  assert.deepEqual(result.claims?.claimsDigest, original.claims?.claimsDigest);
  for (let position = 1; position < certificates.length; position++) {
    const changed = certificates.map((der, i) => (i === position ? certificateTwin(der) : der));
    const again = appraiseNvidia(encoded({ report, certificates: changed }), recordedContext());
    assert.equal(again.verdict.ok, true, `certificate ${position}`);
    const claims = again.claims as NvidiaClaims;
    assert.notDeepEqual(claims.certificateSha256, original.claims?.certificateSha256);
    assert.deepEqual(claims.claimsDigest, original.claims?.claimsDigest);
    assert.deepEqual(claims.facts, original.claims?.facts);
    assert.deepEqual(claims.hardware, original.claims?.hardware);
  }
  const foreign = appraiseNvidia(encoded(vector('hopper-590-json').document), recordedContext());
  assert.notDeepEqual(foreign.claims?.claimsDigest, original.claims?.claimsDigest);
});

/** The certificate with the other signature that verifies: outer length and signature written anew. */
function certificateTwin(der: Uint8Array): Uint8Array {
  const tbsLength = 4 + (((der[6] as number) << 8) | (der[7] as number));
  const headEnd = 4 + tbsLength + 12;
  const signature = der.subarray(headEnd);
  // BIT STRING, its length, no unused bits, SEQUENCE, its length.
  const rStart = 5;
  const rLength = signature[rStart + 1] as number;
  const sStart = rStart + 2 + rLength;
  const s = BigInt(`0x${toHex(signature.subarray(sStart + 2))}`);
  const hex = (P384_ORDER - s).toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  const magnitude = fromHex(Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even);
  const r = signature.subarray(rStart, sStart);
  const pair = [...r, 0x02, magnitude.length, ...magnitude];
  const bits = [0x03, pair.length + 3, 0x00, 0x30, pair.length, ...pair];
  const body = [...der.subarray(4, headEnd), ...bits];
  return Uint8Array.of(0x30, 0x82, body.length >> 8, body.length & 0xff, ...body);
}
