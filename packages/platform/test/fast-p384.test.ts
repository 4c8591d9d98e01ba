/** The module for P-384 against OpenSSL, against portable code, and limb by limb against big integers. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { concatBytes, fromHex, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { p384 } from '@noble/curves/nist.js';
import { sha384 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { nodeCrypto, openFastP384, portableCrypto, withFastP384 } from '../src/index.ts';
import { openP384File } from '../src/node-crypto.ts';
import { compileField, compileOrder, integerOf, LIMBS, R } from './p384-field.ts';

const MODULE = readFileSync(new URL('../build/p384.wasm', import.meta.url));
const verifyDigest = openFastP384(MODULE);
const P = p384.Point.Fp.ORDER;
const N = p384.Point.Fn.ORDER;
const G = p384.Point.BASE;
type Point = typeof G;

const bytesOf = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(96, '0'));
const mod = (value: bigint, order: bigint): bigint => ((value % order) + order) % order;

function inverse(value: bigint, order: bigint): bigint {
  let [a, b, x, y] = [mod(value, order), order, 1n, 0n];
  while (a > 1n) [a, b, x, y] = [b % a, a, y - (b / a) * x, x];
  return mod(x, order);
}

const keyOf = (point: Point): Uint8Array => point.toBytes(false);
const timesG = (k: bigint): Point => (mod(k, N) === 0n ? p384.Point.ZERO : G.multiply(mod(k, N)));

/** A signature that holds for u1 G + u2 Q, as FIPS 186-5 computes them; null where that sum or s or r is none. */
function signatureFor(
  u1: bigint,
  u2: bigint,
  q: bigint,
): { digest: Uint8Array; signature: Uint8Array } | null {
  const sum = timesG(u1 + u2 * q);
  if (sum.is0()) return null;
  const r = mod(sum.toAffine().x, N);
  if (r === 0n) return null;
  const s = mod(r * inverse(u2, N), N);
  return { digest: bytesOf(mod(u1 * s, N)), signature: concatBytes(bytesOf(r), bytesOf(s)) };
}

function openssl(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const der = Buffer.concat([
      Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'),
      publicKey,
    ]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    return verify('sha384', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    return false;
  }
}

const KEYS = Array.from({ length: 40 }, () => generateKeyPairSync('ec', { namedCurve: 'P-384' }));

test('P384-1 signatures of OpenSSL verify, and no signature, key or message with a bit changed does', () => {
  for (const [i, { publicKey, privateKey }] of KEYS.entries()) {
    const key = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-97));
    const message = utf8Encode(`message ${i}`);
    const signature = new Uint8Array(sign('sha384', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
    const digest = sha384(message);
    assert.equal(verifyDigest(key, digest, signature), true);
    assert.equal(nodeCrypto.verifyEcdsaP384(key, message, signature), true);
    const twin = concatBytes(
      signature.subarray(0, 48),
      bytesOf(N - BigInt(`0x${toHex(signature.subarray(48))}`)),
    );
    assert.equal(verifyDigest(key, digest, twin), true, 'both s and n - s are valid');
    for (let bit = i; bit < 8 * 96; bit += 41) {
      const flip = (bytes: Uint8Array, at: number): Uint8Array => {
        const copy = bytes.slice();
        copy[at >> 3] = (copy[at >> 3] as number) ^ (1 << (at & 7));
        return copy;
      };
      assert.equal(verifyDigest(key, digest, flip(signature, bit)), false, `signature ${bit}`);
      assert.equal(verifyDigest(flip(key, bit + 8), digest, signature), false, `key ${bit}`);
      assert.equal(verifyDigest(key, flip(digest, bit % 384), signature), false, `digest ${bit}`);
    }
  }
});

test('P384-2 scalars at their limits, and keys that are small multiples of the base point', () => {
  const near = [
    0n,
    1n,
    2n,
    3n,
    15n,
    16n,
    63n,
    64n,
    N - 1n,
    N - 2n,
    N >> 1n,
    (N >> 1n) + 1n,
    (1n << 383n) + 1n,
  ];
  const runs = [
    (1n << 200n) - 1n,
    ((1n << 384n) - 1n) / 3n,
    ((1n << 384n) - 1n) / 31n,
    (1n << 383n) - (1n << 30n),
  ];
  const scalars = [...near, ...runs].map((value) => mod(value, N));
  let count = 0;
  for (const q of [
    1n,
    2n,
    3n,
    5n,
    7n,
    31n,
    63n,
    65n,
    N - 1n,
    N - 2n,
    N - 63n,
    N >> 1n,
    12345678901234567890n,
  ])
    for (const u1 of scalars)
      for (const u2 of scalars.filter((value, at) => value !== 0n && (Number(u1 % 3n) + at) % 3 === 0)) {
        const key = keyOf(timesG(q));
        const made = signatureFor(u1, u2, q);
        if (made === null) continue;
        const { digest, signature } = made;
        assert.equal(verifyDigest(key, digest, signature), true, `q ${q}, u1 ${u1}, u2 ${u2}`);
        const other = bytesOf(mod(BigInt(`0x${toHex(digest)}`) + 1n, N));
        assert.equal(verifyDigest(key, other, signature), false);
        count++;
      }
  assert.ok(count > 500, `${count} cases`);
});

test('P384-3 where u1 G + u2 Q is infinity nothing verifies', () => {
  for (const q of [1n, 2n, 77n, N - 1n]) {
    const key = keyOf(timesG(q));
    for (const u2 of [1n, 2n, N - 3n, 1n << 300n]) {
      const u1 = mod(-u2 * q, N);
      for (const r of [1n, 5n, N - 1n]) {
        const s = mod(r * inverse(u2, N), N);
        const digest = bytesOf(mod(u1 * s, N));
        assert.equal(verifyDigest(key, digest, concatBytes(bytesOf(r), bytesOf(s))), false);
      }
    }
  }
});

test('P384-4 r and s of 0, n and more, and coordinates of p and more, are refused', () => {
  const made = signatureFor(5n, 7n, 11n);
  assert.ok(made !== null);
  const key = keyOf(timesG(11n));
  const { digest, signature } = made;
  assert.equal(verifyDigest(key, digest, signature), true);
  const [r, s] = [signature.subarray(0, 48), signature.subarray(48)];
  const largest = (1n << 384n) - 1n;
  for (const value of [0n, N, N + 1n, N + 5n, P, largest]) {
    assert.equal(verifyDigest(key, digest, concatBytes(bytesOf(value), s)), false, `r ${value}`);
    assert.equal(verifyDigest(key, digest, concatBytes(r, bytesOf(value))), false, `s ${value}`);
  }
  for (const value of [0n, P, P + 1n, largest]) {
    assert.equal(
      verifyDigest(concatBytes(Uint8Array.of(4), bytesOf(value), key.subarray(49)), digest, signature),
      false,
    );
    assert.equal(verifyDigest(concatBytes(key.subarray(0, 49), bytesOf(value)), digest, signature), false);
  }
  for (const head of [0, 2, 3, 5, 6, 7]) {
    const other = key.slice();
    other[0] = head;
    assert.equal(verifyDigest(other, digest, signature), false, `head ${head}`);
  }
  for (const length of [0, 1, 49, 96, 98])
    assert.equal(verifyDigest(new Uint8Array(length).fill(4), digest, signature), false);
  for (const length of [0, 95, 97]) assert.equal(verifyDigest(key, digest, new Uint8Array(length)), false);
});

test('P384-5 r + n below p: the x of a sum that is no smaller than n', () => {
  let found = 0;
  for (let x = N; found < 6; x++) {
    const square = mod(x ** 3n - 3n * x + p384.Point.CURVE().b, P);
    let y: bigint;
    try {
      y = p384.Point.Fp.sqrt(square);
    } catch {
      continue;
    }
    const sum = p384.Point.fromAffine({ x, y });
    const r = x - N;
    if (r === 0n) continue;
    const s = 123456789n + BigInt(found);
    const e = 987654321n;
    // Q = (s R - e G) / r: the key under which this signature holds.
    const key = keyOf(sum.multiply(s).subtract(timesG(e)).multiply(inverse(r, N)));
    const signature = concatBytes(bytesOf(r), bytesOf(s));
    assert.equal(verifyDigest(key, bytesOf(e), signature), true);
    assert.equal(verifyDigest(key, bytesOf(e), concatBytes(bytesOf(r + 1n), bytesOf(s))), false);
    assert.equal(
      p384.verify(signature, bytesOf(e), key, { lowS: false, prehash: false, format: 'compact' }),
      true,
    );
    found++;
  }
});

test('P384-6 digests of n and more count modulo n', () => {
  const made = signatureFor(3n, 4n, 9n);
  assert.ok(made !== null);
  const key = keyOf(timesG(9n));
  const e = 17n;
  const u2 = 99n;
  for (let u1 = 1n; u1 < 30n; u1++) {
    const sum = timesG(u1 + u2 * 9n);
    const r = mod(sum.toAffine().x, N);
    const s = mod(r * inverse(u2, N), N);
    const digest = mod(u1 * s, N);
    const signature = concatBytes(bytesOf(r), bytesOf(s));
    assert.equal(verifyDigest(key, bytesOf(digest), signature), true);
    if (digest + N < 1n << 384n) assert.equal(verifyDigest(key, bytesOf(digest + N), signature), true);
  }
  // s = (e + r d) / k with e = 17 written as 17 + n.
  const k = 1234567n;
  const r = mod(timesG(k).toAffine().x, N);
  const s = mod((e + r * 9n) * inverse(k, N), N);
  assert.equal(verifyDigest(key, bytesOf(e + N), concatBytes(bytesOf(r), bytesOf(s))), true);
});

test('P384-7 keys off the curve are refused, whatever the signature', () => {
  const made = signatureFor(5n, 7n, 11n);
  assert.ok(made !== null);
  const { x, y } = timesG(11n).toAffine();
  const off = [
    [x, y + 1n],
    [x + 1n, y],
    [0n, 0n],
    [y, x],
    [x, 0n],
    [1n, 1n],
    [P - 1n, P - 1n],
  ] as const;
  for (const [a, b] of off)
    assert.equal(
      verifyDigest(concatBytes(Uint8Array.of(4), bytesOf(a), bytesOf(b)), made.digest, made.signature),
      false,
    );
});

test('P384-8 OpenSSL, the module and portable code agree on random and on damaged input', () => {
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 255));
  const [first] = KEYS;
  const pair = first as NonNullable<typeof first>;
  const key = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-97));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.tuple(fc.nat(96), byte), { maxLength: 2 }),
      fc.array(fc.tuple(fc.nat(95), byte), { maxLength: 2 }),
      (message, keyChanges, changes) => {
        const signature = new Uint8Array(
          sign('sha384', message, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' }),
        );
        const changedKey = key.slice();
        for (const [at, value] of keyChanges) changedKey[at] = value;
        for (const [at, value] of changes) signature[at] = value;
        const answers = [
          changedKey[0] === 4 && openssl(changedKey, message, signature),
          verifyDigest(changedKey, sha384(message), signature),
          nodeCrypto.verifyEcdsaP384(changedKey, message, signature),
          portableCrypto.verifyEcdsaP384(changedKey, message, signature),
        ];
        assert.equal(new Set(answers).size, 1, answers.join());
      },
    ),
    { numRuns: 150 },
  );
});

test('P384-9 without a module the provider answers itself', () => {
  const asked: string[] = [];
  const crypto = {
    ...portableCrypto,
    verifyEcdsaP384: () => {
      asked.push('own');
      return true;
    },
  };
  const nothing = new Uint8Array(0);
  assert.equal(withFastP384(crypto, () => null).verifyEcdsaP384(nothing, nothing, nothing), true);
  assert.equal(withFastP384(crypto, () => verifyDigest).verifyEcdsaP384(nothing, nothing, nothing), false);
  assert.deepEqual(asked, ['own']);
});

const FACTOR = 1n << 28n;
const field = compileField();

/** Limbs of at most `bound` 2^28 in absolute value, with all limbs at either end more often than chance has it. */
function limbsWithin(bound: number): fc.Arbitrary<bigint[]> {
  const most = BigInt(bound) * FACTOR - 1n;
  const top = 1n << 25n;
  const limb = fc.oneof(
    fc.constantFrom(0n, 1n, -1n, most, -most, FACTOR - 1n),
    fc.bigInt({ min: -most, max: most }),
  );
  const ends = fc.constantFrom(most, -most, 0n).map((value) => Array<bigint>(LIMBS - 1).fill(value));
  return fc
    .tuple(
      fc.oneof(ends, fc.array(limb, { minLength: LIMBS - 1, maxLength: LIMBS - 1 })),
      fc.bigInt({ min: -top, max: top }),
    )
    .map(([low, high]) => [...low, high]);
}

function assertReduced(limbs: readonly bigint[], what: string): void {
  for (const limb of limbs.slice(0, -1)) assert.ok(limb >= 0n && limb < FACTOR, what);
}

test('P384-10 no column overflows at the bounds that the field promises: products against big integers', async () => {
  const { multiply, square } = await field;
  for (const [a, b] of [
    [1, 9],
    [9, 1],
    [3, 3],
    [2, 4],
  ] as const)
    fc.assert(
      fc.property(limbsWithin(a), limbsWithin(b), (x, y) => {
        const product = multiply(x, y);
        assertReduced(product, 'multiply');
        assert.equal(mod(integerOf(product) * R - integerOf(x) * integerOf(y), P), 0n);
        const size = integerOf(x) * integerOf(y);
        assert.ok(integerOf(product) * R >= size && integerOf(product) <= size / R + P + 1n);
      }),
      { numRuns: 400 },
    );
  fc.assert(
    fc.property(limbsWithin(3), (x) => {
      const product = square(x);
      assertReduced(product, 'square');
      assert.deepEqual(product, multiply(x, x));
    }),
    { numRuns: 800 },
  );
});

test('P384-11 sums, multiples and the test for zero, against big integers', async () => {
  const { add, subtract, addTimes, isZero } = await field;
  const factor = fc.constantFrom(-8, -2, -1, 1, 2);
  fc.assert(
    fc.property(limbsWithin(4), limbsWithin(4), factor, (x, y, times) => {
      assert.equal(integerOf(add(x, y)), integerOf(x) + integerOf(y));
      assert.equal(integerOf(subtract(x, y)), integerOf(x) - integerOf(y));
      const sum = addTimes(x, y, times);
      assertReduced(sum, 'addTimes');
      assert.equal(integerOf(sum), integerOf(x) + BigInt(times) * integerOf(y));
      assert.equal(isZero(x), mod(integerOf(x), P) === 0n);
    }),
    { numRuns: 500 },
  );
  for (let times = -31n; times <= 31n; times++) {
    const multiple = times * P;
    for (const difference of [-1n, 0n, 1n, 1n << 200n]) {
      const value = multiple + difference;
      const limbs = Array.from({ length: LIMBS }, (_, i) =>
        i < LIMBS - 1 ? mod(value >> (28n * BigInt(i)), FACTOR) : value >> (28n * BigInt(i)),
      );
      assert.equal(integerOf(limbs), value);
      assert.equal(isZero(limbs), difference === 0n, `${times} p + ${difference}`);
    }
  }
});

/** Positions and digits of the width-w non-adjacent form, the highest first: what the module adds, and when. */
function digitsOf(scalar: bigint, width: number): Map<number, bigint> {
  const digits = new Map<number, bigint>();
  const all = 1n << BigInt(width);
  let rest = scalar;
  for (let at = 0; rest !== 0n; at++, rest >>= 1n) {
    if ((rest & 1n) === 0n) continue;
    const low = rest % all;
    const digit = low < all / 2n ? low : low - all;
    digits.set(at, digit);
    rest -= digit;
  }
  return digits;
}

/** For each addition of the module, the key q for which the sum until there is `sign` times what is added. */
function collidingKeys(u1: bigint, u2: bigint, sign: bigint): bigint[] {
  const [g, q] = [digitsOf(u1, 7), digitsOf(u2, 5)];
  const keys: bigint[] = [];
  let [sumG, sumQ] = [0n, 0n];
  const meet = (value: bigint, factor: bigint): void => {
    if (mod(value, N) !== 0n && mod(factor, N) !== 0n) keys.push(mod(value * inverse(factor, N), N));
  };
  for (let at = 392; at >= 0; at--) {
    [sumG, sumQ] = [2n * sumG, 2n * sumQ];
    const digitG = g.get(at) ?? 0n;
    // sumG + sumQ q = +- digit, then +- digit q.
    if (digitG !== 0n) meet(sign * digitG - sumG, sumQ);
    sumG += digitG;
    const digitQ = q.get(at) ?? 0n;
    if (digitQ !== 0n) meet(-sumG, sumQ - sign * digitQ);
    sumQ += digitQ;
  }
  return keys;
}

test('P384-12 keys for which a sum on the way is what is added to it, or its opposite', () => {
  let count = 0;
  const scalars = [
    [BigInt(`0x${toHex(sha384(utf8Encode('u1')))}`) % N, BigInt(`0x${toHex(sha384(utf8Encode('u2')))}`) % N],
    [N - 12345n, (1n << 383n) / 7n],
    [1n << 300n, N >> 1n],
  ] as const;
  for (const [u1, u2] of scalars)
    for (const sign of [1n, -1n])
      for (const [i, q] of collidingKeys(u1, u2, sign).entries()) {
        if (i > 4 && i % 9 !== 0) continue;
        const made = signatureFor(u1, u2, q);
        if (made === null) continue;
        const key = keyOf(timesG(q));
        assert.equal(verifyDigest(key, made.digest, made.signature), true, `u1 ${u1}, u2 ${u2}, q ${q}`);
        const other = bytesOf(mod(BigInt(`0x${toHex(made.digest)}`) + 1n, N));
        assert.equal(verifyDigest(key, other, made.signature), false);
        count++;
      }
  assert.ok(count > 60, `${count} cases`);
});

test('P384-13 a coordinate has one encoding: x + p and y + p are refused for points that have room for it', () => {
  const room = (1n << 384n) - P;
  const smallY = BigInt(
    '0x2261b2bf605c22f2f3aef6338719b2c486388ad5240719a5257315969ef01ba27f0a104c89704773a81fdabee6ab5c78',
  );
  const points = [p384.Point.fromAffine({ x: smallY, y: 1n })];
  for (let x = 0n; points.length < 5; x++) {
    try {
      const y = p384.Point.Fp.sqrt(mod(x ** 3n - 3n * x + p384.Point.CURVE().b, P));
      points.push(p384.Point.fromAffine({ x, y }));
    } catch {}
  }
  for (const [i, point] of points.entries()) {
    const [u1, u2] = [BigInt(i) + 3n, N >> 2n];
    const r = mod(timesG(u1).add(point.multiply(u2)).toAffine().x, N);
    const s = mod(r * inverse(u2, N), N);
    const [digest, signature] = [bytesOf(mod(u1 * s, N)), concatBytes(bytesOf(r), bytesOf(s))];
    assert.equal(verifyDigest(keyOf(point), digest, signature), true);
    const { x, y } = point.toAffine();
    const twin = i === 0 ? [x, y + P] : [x + P, y];
    assert.ok((i === 0 ? y : x) < room);
    const key = concatBytes(Uint8Array.of(4), bytesOf(twin[0] as bigint), bytesOf(twin[1] as bigint));
    assert.equal(verifyDigest(key, digest, signature), false);
  }
});

test('P384-14 r + n of p and more is no x: a sum of small x has one r', () => {
  let found = 0;
  for (let x = 0n; found < 4; x++) {
    let y: bigint;
    try {
      y = p384.Point.Fp.sqrt(mod(x ** 3n - 3n * x + p384.Point.CURVE().b, P));
    } catch {
      continue;
    }
    const sum = p384.Point.fromAffine({ x, y });
    const [r, s, e] = [P - N + x, 1234n, 5678n];
    const key = keyOf(sum.multiply(s).subtract(timesG(e)).multiply(inverse(r, N)));
    assert.equal(verifyDigest(key, bytesOf(e), concatBytes(bytesOf(r), bytesOf(s))), false);
    found++;
  }
});

const limbsOf = (value: bigint): bigint[] =>
  Array.from({ length: LIMBS }, (_, i) => (value >> (28n * BigInt(i))) % FACTOR);

test('P384-15 products and inverses modulo the order, against big integers', async () => {
  const { multiply, invert } = await compileOrder();
  const most = (1n << 384n) - 1n;
  const power = fc.nat(383).map((bit) => 1n << BigInt(bit));
  const number = fc.oneof(
    fc.bigInt({ min: 0n, max: most }),
    fc.constantFrom(0n, 1n, N - 1n, N, N + 1n, N >> 1n, most),
    power,
    power.map((value) => value - 1n),
    power.map((value) => most ^ value),
    power.map((value) => mod(N - value, N)),
  );
  fc.assert(
    fc.property(number, number, (x, y) => {
      const product = multiply(limbsOf(x), limbsOf(y));
      assertReduced(product, 'multiplyN');
      assert.equal(mod(integerOf(product) * R - x * y, N), 0n);
      assert.ok(integerOf(product) <= N + (x * y) / R);
      const positive = mod(x, N) || 1n;
      assert.equal(integerOf(invert(limbsOf(positive))), inverse(positive, N));
    }),
    { numRuns: 500 },
  );
});

test('P384-16 no other module is opened: one that is damaged, cut or of another kind, and OpenSSL then answers', () => {
  const damaged = Uint8Array.from(MODULE);
  damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] as number) ^ 1;
  const other = readFileSync(new URL('../build/zk-kernels.wasm', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'p384-'));
  const file = join(folder, 'p384.wasm');
  try {
    assert.equal(openP384File(pathToFileURL(file)), null);
    for (const bytes of [damaged, MODULE.subarray(0, 3000), other, new Uint8Array(0)]) {
      assert.throws(() => openFastP384(bytes), UsageError);
      writeFileSync(file, bytes);
      assert.equal(openP384File(pathToFileURL(file)), null);
    }
    writeFileSync(file, MODULE);
    assert.notEqual(openP384File(pathToFileURL(file)), null);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
