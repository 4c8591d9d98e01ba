/** Evidence with the cost and shape of a real document: three ECDSA signatures on P-384 over the binding, one after the other. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { concatBytes, sha256 } from '@haca/primitives';
import { failed, passed, verdictOf } from '@haca/protocol';
import type { AppraiseEvidence, EvidenceVerifier } from '../src/state-machine/index.ts';
import { testClaims, verifierOf } from './state-machine-world.ts';

const SIGNATURES = 3;
const POINT_BYTES = 97;
const SIGNATURE_BYTES = 96;

const KEYS = Array.from({ length: SIGNATURES }, () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return { privateKey, point: new Uint8Array(spki.subarray(spki.length - POINT_BYTES)) };
});

/** What each signature covers. */
function signedBytes(bindingHash: Uint8Array, position: number): Uint8Array {
  return concatBytes(Uint8Array.of(position), bindingHash);
}

export function testEvidence(bindingHash: Uint8Array): Uint8Array {
  return concatBytes(
    ...KEYS.map(({ privateKey }, position) => {
      const message = signedBytes(bindingHash, position);
      return new Uint8Array(sign('sha384', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
    }),
  );
}

/** Every signature well formed, the one at `position` over something else. */
export function forgedEvidence(position: number): (bindingHash: Uint8Array) => Uint8Array {
  return (bindingHash) => {
    const [good, other] = [testEvidence(bindingHash), testEvidence(sha256(bindingHash))];
    const from = position * SIGNATURE_BYTES;
    good.set(other.subarray(from, from + SIGNATURE_BYTES), from);
    return good;
  };
}

/** Accepts what `testEvidence` makes; stops at the first signature that does not verify. */
export const appraiseSignatures: AppraiseEvidence = ({ document }, expected, crypto) => {
  const { bindingHash, nowMs, measurements } = expected;
  for (const [position, { point }] of KEYS.entries()) {
    const from = position * SIGNATURE_BYTES;
    const signature = document.subarray(from, from + SIGNATURE_BYTES);
    if (crypto.verifyEcdsaP384(point, signedBytes(bindingHash, position), signature)) continue;
    return {
      verdict: verdictOf([failed('test.signature', 'test.signature', 'a good one', `${position}`)]),
      claims: null,
      tcbStatus: null,
    };
  }
  const measurement = measurements[0];
  const isWhole = document.length === SIGNATURES * SIGNATURE_BYTES && measurement !== undefined;
  if (!isWhole) {
    const verdict = verdictOf([failed('test.end', 'test.end', 'the end', 'more')]);
    return { verdict, claims: null, tcbStatus: null };
  }
  const claims = testClaims(document, nowMs + 3_600_000, measurement);
  return { verdict: verdictOf([passed('test.signature')]), claims, tcbStatus: null };
};

export const SIGNATURES_VERIFIER: EvidenceVerifier = verifierOf(appraiseSignatures);
