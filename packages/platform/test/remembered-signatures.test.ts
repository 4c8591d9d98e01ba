import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { type CryptoProvider, utf8Encode } from '@haca/primitives';
import { generateEd25519Signer, nodeCrypto, openNodeCrypto, rememberSignatures } from '../src/index.ts';

const SCHEMES = [
  'verifyEd25519',
  'verifyEcdsaP256',
  'verifyEcdsaP384',
  'verifyRsaPssSha384',
  'verifyRsaPkcs1Sha256',
] as const;

/** `nodeCrypto`, counting what it is asked; with `answer`, it says that to everything. */
function counting(answer?: boolean): { readonly crypto: CryptoProvider; readonly asked: () => number } {
  let asked = 0;
  const counted = (scheme: (typeof SCHEMES)[number]): CryptoProvider['verifyEd25519'] => {
    return (...input) => {
      asked++;
      return answer ?? nodeCrypto[scheme](...input);
    };
  };
  const schemes = Object.fromEntries(SCHEMES.map((scheme) => [scheme, counted(scheme)]));
  return { crypto: { ...nodeCrypto, ...schemes }, asked: () => asked };
}

test('a signature that verified is not verified again; one that did not is, and any change is another', () => {
  const { crypto, asked } = counting();
  const remembering = rememberSignatures(crypto, 16);
  const signer = generateEd25519Signer();
  const message = utf8Encode('m');
  const signature = signer.sign(message);
  for (let i = 0; i < 3; i++)
    assert.equal(remembering.verifyEd25519(signer.publicKey, message, signature), true);
  assert.equal(asked(), 1);
  for (let i = 0; i < 3; i++)
    assert.equal(remembering.verifyEd25519(signer.publicKey, utf8Encode('n'), signature), false);
  assert.equal(asked(), 4);
  for (let bit = 0; bit < 8 * signature.length; bit += 7) {
    const changed = signature.slice();
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(remembering.verifyEd25519(signer.publicKey, message, changed), false, `bit ${bit}`);
  }
});

test('bytes moved from one part to another, or to another scheme, are another check', () => {
  const { crypto, asked } = counting(true);
  const remembering = rememberSignatures(crypto, 1000);
  const all = utf8Encode('abcdef');
  let expected = 0;
  for (const scheme of SCHEMES)
    for (let first = 0; first <= all.length; first++)
      for (let second = first; second <= all.length; second++) {
        const parts = [all.subarray(0, first), all.subarray(first, second), all.subarray(second)] as const;
        remembering[scheme](...parts);
        remembering[scheme](...parts);
        expected++;
      }
  assert.equal(asked(), expected);
});

test('no more is remembered than asked for, and the newest half stays', () => {
  const { crypto, asked } = counting(true);
  const remembering = rememberSignatures(crypto, 8);
  const check = (i: number): boolean =>
    remembering.verifyEcdsaP384(Uint8Array.of(i & 255), Uint8Array.of(i >> 8), new Uint8Array(0));
  for (let i = 0; i < 1000; i++) check(i);
  assert.equal(asked(), 1000);
  for (let i = 996; i < 1000; i++) check(i);
  assert.equal(asked(), 1000);
  for (let i = 0; i < 900; i++) check(i);
  assert.equal(asked(), 1900);
});

test('a fresh provider answers as the one that remembers its keys', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const point = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-97));
  const message = utf8Encode('message');
  const signature = new Uint8Array(sign('sha384', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
  for (const crypto of [nodeCrypto, openNodeCrypto(), openNodeCrypto()]) {
    assert.equal(crypto.verifyEcdsaP384(point, message, signature), true);
    assert.equal(crypto.verifyEcdsaP384(point, utf8Encode('another'), signature), false);
  }
});
