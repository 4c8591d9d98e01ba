import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import type { CryptoProvider } from '@haca/primitives';
import { appraiseSnp, SNP_VERIFY_CHECKS } from '../src/index.ts';
import {
  azureVector,
  contextAt,
  documentOf,
  failures,
  flipped,
  OPEN_POLICY,
  type SnpVector,
  vector,
  vectorsMissing,
} from './snp-vectors.ts';

const skip = vectorsMissing;
type Evidence = Pick<SnpVector, 'report' | 'certificates'>;

/** Failed checks of verification, of a document one byte of which was changed. */
function refusal(document: Uint8Array, at: number, mask: number, crypto: CryptoProvider): readonly string[] {
  const policy = { ...OPEN_POLICY, allowDebug: true, allowProvisionalFirmware: true };
  const result = appraiseSnp(flipped(document, at, mask), { ...contextAt(undefined, crypto), policy });
  return failures(result).filter((each) =>
    (SNP_VERIFY_CHECKS as readonly string[]).includes(each.split(':')[0] as string),
  );
}

const EVIDENCE: readonly (readonly [string, () => Evidence])[] = [
  ['milan-v2', () => vector('milan-v2')],
  ['milan-v2-debug', () => vector('milan-v2-debug')],
  ['the Azure report', azureVector],
];

for (const [name, evidence] of EVIDENCE) {
  test(`SNP-1 SNP-5 no byte of ${name} and of its certificates can change`, { skip }, () => {
    const crypto = rememberSignatures(nodeCrypto, 1024);
    const document = documentOf(evidence());
    const accepted: number[] = [];
    const seen = new Set<string>();
    for (let at = 0; at < document.length; at++) {
      for (const mask of new Set([1, 1 << (at % 8)])) {
        const failed = refusal(document, at, mask, crypto);
        if (failed.length === 0) accepted.push(at);
        for (const each of failed) seen.add(each);
      }
    }
    assert.deepEqual(accepted, []);
    assert.ok(seen.size >= 15, `failures came in ${seen.size} kinds only: ${[...seen].join(', ')}`);
  });
}

test('SNP-1 every bit of a genuine report counts', { skip }, () => {
  const crypto = rememberSignatures(nodeCrypto, 1024);
  const document = documentOf(vector('milan-v2'));
  for (let at = 0; at < 5 + 1184; at++)
    for (let bit = 0; bit < 8; bit++)
      assert.notDeepEqual(refusal(document, at, 1 << bit, crypto), [], `bit ${bit} of byte ${at}`);
});

test('SNP-1 the portable provider refuses the same flips with the same codes', { skip }, () => {
  const document = documentOf(vector('milan-v2'));
  const native = rememberSignatures(nodeCrypto, 1024);
  const portable = rememberSignatures(portableCrypto, 1024);
  for (let at = 0; at < document.length; at += 23) {
    const expected = refusal(document, at, 1, native);
    assert.equal(expected.length, 1, `byte ${at}`);
    assert.deepEqual(refusal(document, at, 1, portable), expected, `byte ${at}`);
  }
});
