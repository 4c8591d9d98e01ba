import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '@haca/primitives';
import { EVIDENCE_KINDS, type EvidenceKind } from '@haca/protocol';
import { genesisTrustRoots, vendorRoots } from '../src/index.ts';

/** SHA-256 of DER, as the vendors publish their roots. */
const AWS = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b';
const INTEL = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';
const NVIDIA = '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48';
const AMD = [
  '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
  '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
  '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
];
const PUBLISHED: Readonly<Record<EvidenceKind, readonly string[]>> = {
  nitro: [AWS],
  tdx: [INTEL],
  sgx: [INTEL],
  snp: AMD,
  nvidia: [NVIDIA],
  dstack: [INTEL],
  azure: [INTEL, ...AMD],
};

test('the roots of every kind are the published ones, and no others', () => {
  for (const kind of EVIDENCE_KINDS) {
    const roots = vendorRoots(kind);
    assert.deepEqual(
      roots.map(({ sha256 }) => toHex(sha256)),
      PUBLISHED[kind],
      kind,
    );
    assert.ok(
      roots.every(({ simulated }) => !simulated),
      kind,
    );
  }
});

test('a genesis that is not simulated adds no root to them, whatever it lists', () => {
  const testRoots = [new Uint8Array(32).fill(7)];
  for (const kind of EVIDENCE_KINDS) {
    assert.deepEqual(genesisTrustRoots(kind, { simulated: false, testRoots }), vendorRoots(kind), kind);
    const added = genesisTrustRoots(kind, { simulated: true, testRoots }).slice(vendorRoots(kind).length);
    assert.deepEqual(added, [{ sha256: testRoots[0], simulated: true }], kind);
  }
});
