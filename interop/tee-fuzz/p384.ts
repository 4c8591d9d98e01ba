/** The P-384 module of `nodeCrypto` against OpenSSL: random keys and messages, signatures whole and damaged. */
import { createECDH, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { nodeCrypto } from '@haca/platform';
import { concatBytes } from '@haca/primitives';
import type { Fault } from './fuzz-parser.ts';
import { createRandom, type Random } from './random.ts';

export interface P384Figures {
  readonly signatures: number;
  readonly valid: number;
  readonly faults: readonly Fault[];
}

const SIGNATURES_OF_A_KEY = 16;

export function compareP384({ seed, signatures }: { seed: number; signatures: number }): P384Figures {
  const random = createRandom(seed, 'P-384');
  const faults: Fault[] = [];
  let valid = 0;
  let pair = keyPair(random);
  for (let number = 0; number < signatures; number++) {
    if (number % SIGNATURES_OF_A_KEY === 0) pair = keyPair(random);
    const message = random.bytes(random.below(100));
    const options = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    const signature = damaged(new Uint8Array(sign('sha384', message, options)), random);
    const expected = verify('sha384', message, { key: pair.publicKey, dsaEncoding: 'ieee-p1363' }, signature);
    if (expected) valid++;
    if (nodeCrypto.verifyEcdsaP384(pair.point, message, signature) !== expected)
      faults.push({
        parser: 'P-384',
        number,
        what: `OpenSSL says ${expected}`,
        input: concatBytes(pair.point, signature, message),
      });
  }
  return { signatures, valid, faults };
}

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly point: Uint8Array;
}

function keyPair(random: Random): KeyPair {
  const ecdh = createECDH('secp384r1');
  ecdh.setPrivateKey(Buffer.from([0, ...random.bytes(47)]));
  const point = new Uint8Array(ecdh.getPublicKey());
  const coordinate = (from: number): string =>
    Buffer.from(point.subarray(from, from + 48)).toString('base64url');
  const jwk = { kty: 'EC', crv: 'P-384', x: coordinate(1), y: coordinate(49) };
  const d = ecdh.getPrivateKey().toString('base64url');
  return {
    privateKey: createPrivateKey({ key: { ...jwk, d }, format: 'jwk' }),
    publicKey: createPublicKey({ key: jwk, format: 'jwk' }),
    point,
  };
}

/** Half of them have a bit changed, a byte at either end, or a half of another value. */
function damaged(signature: Uint8Array, random: Random): Uint8Array {
  const changed = signature.slice();
  const at = random.below(changed.length);
  switch (random.below(8)) {
    case 0:
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      return changed;
    case 1:
      changed[at] = random.pick([0, 0xff]);
      return changed;
    case 2:
      changed.fill(random.pick([0, 0xff]), random.pick([0, 48]), random.pick([48, 96]));
      return changed;
    case 3:
      changed.set(random.bytes(48), random.pick([0, 48]));
      return changed;
    default:
      return changed;
  }
}
