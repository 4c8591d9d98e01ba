import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { test } from 'node:test';
import {
  type CryptoProvider,
  concatBytes,
  fromHex,
  isAdmissibleEd25519,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import {
  ed25519SignerFromSeed,
  generateEd25519Signer,
  nodeCrypto,
  portableCrypto,
  verifySignatureAsync,
} from '../src/index.ts';

const PROVIDERS: readonly CryptoProvider[] = [nodeCrypto, portableCrypto];
const { Point } = ed25519;
const L = Point.Fn.ORDER;

function littleEndian(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, '0')).reverse();
}

function hashToScalar(...parts: readonly Uint8Array[]): bigint {
  return (
    BigInt(
      `0x${toHex(
        new Uint8Array(
          createHash('sha512')
            .update(concatBytes(...parts))
            .digest(),
        ).reverse(),
      )}`,
    ) % L
  );
}

/** Signs with an arbitrary scalar, key bytes and extra torsion on A and R: what an attacker can make. */
function craft(
  message: Uint8Array,
  options: { torsionA?: number; torsionR?: number; addOrderToS?: boolean } = {},
) {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const times = (n: number) => (n === 0 ? Point.ZERO : torsion.multiplyUnsafe(BigInt(n)));
  const a = 12345678901234567890n;
  const r = 98765432109876543210n;
  const publicKey = Point.BASE.multiply(a)
    .add(times(options.torsionA ?? 0))
    .toBytes();
  const bigR = Point.BASE.multiply(r)
    .add(times(options.torsionR ?? 0))
    .toBytes();
  const k = hashToScalar(bigR, publicKey, message);
  const s = ((r + k * a) % L) + (options.addOrderToS === true ? L : 0n);
  return { publicKey, signature: concatBytes(bigR, littleEndian(s)), k };
}

function verdicts(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean[] {
  return PROVIDERS.map((crypto) => crypto.verifyEd25519(publicKey, message, signature));
}

test('ED25519-1 RFC 8032 section 7.1: the test vectors verify, and keys from their seeds sign the same', () => {
  const vectors: readonly (readonly [seed: string, publicKey: string, message: string, signature: string])[] =
    [
      [
        '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
        'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
        '',
        'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
      ],
      [
        '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
        '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
        '72',
        '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
      ],
    ];
  for (const [seed, publicKey, message, signature] of vectors) {
    const signer = ed25519SignerFromSeed(fromHex(seed));
    assert.equal(toHex(signer.publicKey), publicKey);
    assert.equal(toHex(signer.sign(fromHex(message))), signature);
    assert.deepEqual(verdicts(fromHex(publicKey), fromHex(message), fromHex(signature)), [true, true]);
  }
});

test('ED25519-2 S at or above the group order is refused', () => {
  const message = utf8Encode('malleable');
  const honest = craft(message);
  assert.deepEqual(verdicts(honest.publicKey, message, honest.signature), [true, true]);
  const shifted = craft(message, { addOrderToS: true });
  assert.deepEqual(verdicts(shifted.publicKey, message, shifted.signature), [false, false]);
});

test('ED25519-3 keys and R of small order are refused, in every encoding', () => {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const good = craft(utf8Encode('x'));
  for (let i = 0; i < 8; i++) {
    const point = (i === 0 ? Point.ZERO : torsion.multiplyUnsafe(BigInt(i))).toBytes();
    assert.equal(isAdmissibleEd25519(point, good.signature), false, toHex(point));
    assert.equal(isAdmissibleEd25519(good.publicKey, concatBytes(point, good.signature.subarray(32))), false);
    // S = 0 and R = A = identity satisfy the bare equation for every message.
    assert.deepEqual(verdicts(point, utf8Encode('any'), concatBytes(point, new Uint8Array(32))), [
      false,
      false,
    ]);
  }
});

test('ED25519-4 encodings with y >= p, and of negative zero, are refused', () => {
  const good = craft(utf8Encode('x'));
  for (let low = 0xed; low <= 0xff; low++) {
    for (const top of [0x7f, 0xff]) {
      const encoded = new Uint8Array(32).fill(0xff);
      encoded[0] = low;
      encoded[31] = top;
      assert.equal(isAdmissibleEd25519(encoded, good.signature), false);
      assert.equal(
        isAdmissibleEd25519(good.publicKey, concatBytes(encoded, good.signature.subarray(32))),
        false,
      );
    }
  }
  for (const first of [0x01, 0xec]) {
    const negativeZero = new Uint8Array(32).fill(first === 1 ? 0 : 0xff);
    negativeZero[0] = first;
    negativeZero[31] = first === 1 ? 0x80 : 0xff;
    assert.equal(isAdmissibleEd25519(negativeZero, good.signature), false);
  }
});

test('ED25519-5 the equation is without cofactor: mixed-order keys and R get one answer from all providers', () => {
  let refused = 0;
  for (let torsionA = 0; torsionA < 8; torsionA++) {
    for (let torsionR = 0; torsionR < 8; torsionR++) {
      for (let i = 0; i < 4; i++) {
        const message = utf8Encode(`mixed ${torsionA} ${torsionR} ${i}`);
        const { publicKey, signature, k } = craft(message, { torsionA, torsionR });
        // S*B - k*A = R - T_R - k*T_A, which is R exactly when the torsion parts cancel.
        const cancels = (BigInt(torsionR) + k * BigInt(torsionA)) % 8n === 0n;
        assert.deepEqual(verdicts(publicKey, message, signature), [cancels, cancels]);
        if (!cancels) refused++;
      }
    }
  }
  assert.ok(refused > 100, 'a cofactored equation would accept all of these');
});

test('ED25519-6 all providers agree on every input', () => {
  const signer = generateEd25519Signer();
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.nat(96 * 8 - 1),
      fc.boolean(),
      (message, bit, change) => {
        const both = concatBytes(signer.publicKey, signer.sign(message));
        if (change) both[bit >> 3] = (both[bit >> 3] as number) ^ (1 << (bit & 7));
        const [native, portable] = verdicts(both.subarray(0, 32), message, both.subarray(32));
        assert.equal(native, portable);
        assert.equal(native, !change);
      },
    ),
    { numRuns: 60 },
  );
});

test('the thread pool answers as the main thread does, on honest, changed and malformed input', async () => {
  const ed25519Signer = generateEd25519Signer();
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const pointOf = ({ publicKey }: typeof p256) => {
    const jwk = publicKey.export({ format: 'jwk' }) as { x: string; y: string };
    return concatBytes(
      Uint8Array.of(4),
      Buffer.from(jwk.x, 'base64url'),
      new Uint8Array(Buffer.from(jwk.y, 'base64url')),
    );
  };
  const ecdsaSign =
    ({ privateKey }: typeof p256, hash: string) =>
    (message: Uint8Array) =>
      new Uint8Array(sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
  const signers = [
    {
      scheme: 'ed25519',
      publicKey: ed25519Signer.publicKey,
      sign: ed25519Signer.sign,
      now: nodeCrypto.verifyEd25519,
    },
    {
      scheme: 'ecdsa-p256',
      publicKey: pointOf(p256),
      sign: ecdsaSign(p256, 'sha256'),
      now: nodeCrypto.verifyEcdsaP256,
    },
    {
      scheme: 'ecdsa-p384',
      publicKey: pointOf(p384),
      sign: ecdsaSign(p384, 'sha384'),
      now: nodeCrypto.verifyEcdsaP384,
    },
  ] as const;
  let held = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...signers),
      fc.uint8Array({ maxLength: 64 }),
      fc.constantFrom('nothing', 'bit', 'cut', 'fill'),
      fc.nat(1 << 20),
      async (signer, message, change, at) => {
        const { scheme } = signer;
        let both = concatBytes(signer.publicKey, signer.sign(message));
        const keyBytes = change === 'cut' ? at % both.length : signer.publicKey.length;
        const bit = at % (both.length * 8);
        if (change === 'bit') both[bit >> 3] = (both[bit >> 3] as number) ^ (1 << (bit & 7));
        if (change === 'fill') both = both.fill(at & 0xff);
        const [publicKey, signature] = [both.subarray(0, keyBytes), both.subarray(keyBytes)];
        const expected = signer.now(publicKey, message, signature);
        assert.equal(await verifySignatureAsync({ scheme, publicKey, message, signature }), expected);
        if (change === 'nothing') assert.ok(expected);
        if (expected) held++;
      },
    ),
    { numRuns: 120 },
  );
  assert.ok(held > 5);
});

test('an answer on a thread is about the bytes at the time of the call, whatever becomes of them', async () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ed25519Signer = generateEd25519Signer();
  const message = new Uint8Array(5000).fill(7);
  const p1363 = { key: ec.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const checks = [
    ['ed25519', ed25519Signer.publicKey, ed25519Signer.sign(message)],
    [
      'ecdsa-p384',
      ec.publicKey.export({ format: 'der', type: 'spki' }).subarray(-97),
      sign('sha384', message, p1363),
    ],
    [
      'rsa-pkcs1-sha256',
      rsa.publicKey.export({ type: 'pkcs1', format: 'der' }),
      sign('sha256', message, rsa.privateKey),
    ],
  ] as const;
  for (const [scheme, key, signed] of checks) {
    const parts = [Uint8Array.from(key), message.slice(), Uint8Array.from(signed)] as const;
    const [publicKey, signedMessage, signature] = parts;
    const answer = verifySignatureAsync({ scheme, publicKey, message: signedMessage, signature });
    for (const part of parts) part.fill(0);
    assert.equal(await answer, true, scheme);
  }
});

test('ED25519-7 keys and signatures of other lengths are refused, never thrown on', () => {
  for (const crypto of PROVIDERS) {
    for (const length of [0, 31, 33, 64]) {
      assert.equal(
        crypto.verifyEd25519(new Uint8Array(length), new Uint8Array(1), new Uint8Array(64)),
        false,
      );
      assert.equal(
        crypto.verifyEd25519(new Uint8Array(32).fill(9), new Uint8Array(1), new Uint8Array(length)),
        false,
      );
    }
  }
});

test('ECDSA: native and portable agree on honest, changed and malformed input', () => {
  const curves = [
    { name: 'P-256', hash: 'sha256', width: 32, verify: 'verifyEcdsaP256' },
    { name: 'P-384', hash: 'sha384', width: 48, verify: 'verifyEcdsaP384' },
  ] as const;
  for (const { name, hash, width, verify } of curves) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: name });
    const jwk = publicKey.export({ format: 'jwk' }) as { x: string; y: string };
    const point = new Uint8Array(
      Buffer.concat([Buffer.of(4), Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')]),
    );
    const message = new Uint8Array(randomBytes(50));
    const signature = new Uint8Array(sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
    const inputs: readonly (readonly [Uint8Array, Uint8Array, boolean])[] = [
      [point, signature, true],
      [point, signature.with(3, (signature[3] as number) ^ 1), false],
      [point.with(70 % point.length, (point[70 % point.length] as number) ^ 1), signature, false],
      [point, new Uint8Array(2 * width), false],
      [point, new Uint8Array(2 * width).fill(0xff), false],
      [point, signature.subarray(1), false],
      [point.with(0, 2), signature, false],
      [new Uint8Array(2 * width + 1).fill(4), signature, false],
    ];
    for (const [key, sig, expected] of inputs) {
      for (const crypto of PROVIDERS)
        assert.equal(crypto[verify](key, message, sig), expected, `${name} ${crypto.name}`);
    }
  }
});

test('ECDSA: r and s of any size agree, with leading zeros and with the highest bit set', () => {
  for (const [name, hash, width, verify] of [
    ['P-256', 'sha256', 32, 'verifyEcdsaP256'],
    ['P-384', 'sha384', 48, 'verifyEcdsaP384'],
  ] as const) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: name });
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const point = new Uint8Array(spki.subarray(spki.length - 2 * width - 1));
    const seen = new Set<string>();
    // One signature in 128 has a zero in front.
    for (let i = 0; ![...seen].some((shape) => shape.includes('zero')) || !seen.has('high high'); i++) {
      const message = utf8Encode(`${name} ${i}`);
      const signature = new Uint8Array(sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
      const shape = `${kindOf(signature[0])} ${kindOf(signature[width])}`;
      if (seen.has(shape)) continue;
      seen.add(shape);
      for (const crypto of PROVIDERS) assert.ok(crypto[verify](point, message, signature), shape);
    }
    const message = utf8Encode('zero');
    const zeros = new Uint8Array(2 * width);
    for (const signature of [zeros, zeros.with(width - 1, 1), zeros.with(2 * width - 1, 1)]) {
      for (const crypto of PROVIDERS) assert.equal(crypto[verify](point, message, signature), false);
    }
  }
});

function kindOf(firstByte: number | undefined): string {
  if (firstByte === undefined || firstByte === 0) return 'zero';
  return firstByte >= 0x80 ? 'high' : 'plain';
}

test('hashes agree', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const name of ['sha256', 'sha384', 'sha512'] as const) {
        assert.equal(toHex(nodeCrypto[name](bytes)), toHex(portableCrypto[name](bytes)));
      }
    }),
  );
});
