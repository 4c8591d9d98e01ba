import assert from 'node:assert/strict';
import {
  constants,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  sign,
  X509Certificate,
} from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CryptoProvider, concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import { sha384 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { nodeCrypto, portableCrypto } from '../src/index.ts';

const PROVIDERS: readonly CryptoProvider[] = [nodeCrypto, portableCrypto];
type Scheme = 'verifyRsaPssSha384' | 'verifyRsaPkcs1Sha256';

/** The answer of all providers, which must be one. */
function verified(
  scheme: Scheme,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  what = '',
): boolean {
  const [answer, ...others] = PROVIDERS.map((provider) => provider[scheme](publicKey, message, signature));
  for (const other of others) assert.equal(other, answer, `${scheme} ${what}: the providers disagree`);
  return answer as boolean;
}

const pkcs1 = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ type: 'pkcs1', format: 'der' }));
const keys = new Map(
  [2048, 3072].map((bits) => [bits, generateKeyPairSync('rsa', { modulusLength: bits })] as const),
);
const MESSAGE = utf8Encode('what was signed');

function pssSignature(privateKey: KeyObject, saltLength: number): Uint8Array {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return new Uint8Array(sign('sha384', MESSAGE, { key: privateKey, padding, saltLength }));
}

/** signature^d of an encoded message of the attacker's choice. */
function rawSignature(key: KeyObject, encoded: Uint8Array): Uint8Array {
  return new Uint8Array(privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, encoded));
}

function mgf1(seed: Uint8Array, sizeBytes: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let i = 0; i * 48 < sizeBytes; i++) blocks.push(sha384(concatBytes(seed, Uint8Array.of(0, 0, 0, i))));
  return concatBytes(...blocks).subarray(0, sizeBytes);
}

interface Deviation {
  readonly saltBytes?: number;
  readonly trailer?: number;
  readonly separator?: number;
  readonly firstPadding?: number;
  readonly topBit?: boolean;
  readonly digest?: Uint8Array;
}

/** EMSA-PSS (RFC 8017 section 9.1.1) with whatever is to be wrong with it. */
function pssEncoding(sizeBytes: number, deviation: Deviation = {}): Uint8Array {
  const salt = new Uint8Array(deviation.saltBytes ?? 48).fill(0x5a);
  const digest = deviation.digest ?? sha384(concatBytes(new Uint8Array(8), sha384(MESSAGE), salt));
  const block = new Uint8Array(sizeBytes - 49);
  block[0] = deviation.firstPadding ?? 0;
  block[block.length - salt.length - 1] = deviation.separator ?? 1;
  block.set(salt, block.length - salt.length);
  const masked = mgf1(digest, block.length).map((byte, i) => byte ^ (block[i] as number));
  masked[0] = ((masked[0] as number) & 0x7f) | (deviation.topBit === true ? 0x80 : 0);
  return concatBytes(masked, digest, Uint8Array.of(deviation.trailer ?? 0xbc));
}

for (const [bits, { publicKey, privateKey }] of keys) {
  const key = pkcs1(publicKey);
  const sizeBytes = bits / 8;

  test(`RSA-${bits}: PSS with SHA-384 and a salt of 48 bytes verifies, other salts do not`, () => {
    for (const saltLength of [0, 1, 20, 32, 47, 48, 49, 64, sizeBytes - 50]) {
      const holds = verified('verifyRsaPssSha384', key, MESSAGE, pssSignature(privateKey, saltLength));
      assert.equal(holds, saltLength === 48, `salt of ${saltLength}`);
    }
  });

  test(`RSA-${bits}: an encoding that differs anywhere from EMSA-PSS is refused`, () => {
    const answer = (deviation: Deviation): boolean =>
      verified(
        'verifyRsaPssSha384',
        key,
        MESSAGE,
        rawSignature(privateKey, pssEncoding(sizeBytes, deviation)),
      );
    assert.equal(answer({}), true);
    const trailers = [0x00, 0xbb, 0xbd, 0xcc].map((trailer) => ({ trailer }));
    const separators = [0x00, 0x02, 0x80].map((separator) => ({ separator }));
    const others = [{ firstPadding: 1 }, { firstPadding: 0x40 }, { saltBytes: 47 }, { saltBytes: 49 }];
    const zeroDigest = { digest: new Uint8Array(48) };
    for (const deviation of [...trailers, ...separators, ...others, zeroDigest])
      assert.equal(answer(deviation), false, JSON.stringify(deviation));
  });

  test(`RSA-${bits}: PKCS #1 v1.5 with SHA-256 has one encoding`, () => {
    const good = new Uint8Array(sign('sha256', MESSAGE, privateKey));
    assert.equal(verified('verifyRsaPkcs1Sha256', key, MESSAGE, good), true);
    for (const hash of ['sha1', 'sha384', 'sha512']) {
      const other = new Uint8Array(sign(hash, MESSAGE, privateKey));
      assert.equal(verified('verifyRsaPkcs1Sha256', key, MESSAGE, other), false, hash);
    }
    const digestInfo = concatBytes(
      fromHex('3031300d060960864801650304020105000420'),
      nodeCrypto.sha256(MESSAGE),
    );
    const withoutNull = concatBytes(fromHex('302f300b06096086480165030402010420'), digestInfo.subarray(19));
    const encoding = (tail: Uint8Array, ff = sizeBytes - tail.length - 3, behind = new Uint8Array(0)) =>
      concatBytes(Uint8Array.of(0, 1), new Uint8Array(ff).fill(0xff), Uint8Array.of(0), tail, behind);
    const answer = (encoded: Uint8Array): boolean =>
      verified('verifyRsaPkcs1Sha256', key, MESSAGE, rawSignature(privateKey, encoded));
    assert.equal(answer(encoding(digestInfo)), true);
    assert.equal(answer(encoding(withoutNull)), false, 'parameters left out');
    const rest = sizeBytes - digestInfo.length - 3;
    assert.equal(answer(encoding(digestInfo, 8, new Uint8Array(rest - 8))), false, 'garbage behind');
    const type2 = encoding(digestInfo);
    type2[1] = 2;
    assert.equal(answer(type2), false, 'block type 2');
    const shortened = encoding(digestInfo);
    shortened[10] = 0xfe;
    assert.equal(answer(shortened), false, 'a padding byte that is not ff');
  });

  test(`RSA-${bits}: changed, shortened and lengthened signatures are refused`, () => {
    for (const scheme of ['verifyRsaPssSha384', 'verifyRsaPkcs1Sha256'] as const) {
      const isPss = scheme === 'verifyRsaPssSha384';
      const good = isPss ? pssSignature(privateKey, 48) : new Uint8Array(sign('sha256', MESSAGE, privateKey));
      for (let bit = 0; bit < good.length * 8; bit += 61) {
        const flipped = good.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        assert.equal(verified(scheme, key, MESSAGE, flipped), false, `bit ${bit}`);
      }
      const zero = Uint8Array.of(0);
      const changed = [
        good.subarray(1),
        good.subarray(0, -1),
        concatBytes(zero, good),
        concatBytes(good, zero),
        new Uint8Array(0),
      ];
      for (const each of changed) assert.equal(verified(scheme, key, MESSAGE, each), false, `${each.length}`);
      assert.equal(verified(scheme, key, utf8Encode('another'), good), false);
    }
  });

  test(`RSA-${bits}: s = 0, 1, n - 1, n, n + 1, s + n and all ones are refused`, () => {
    const modulus = BigInt(`0x${toHex(key.subarray(9, 9 + sizeBytes))}`);
    const bytes = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(2 * sizeBytes, '0'));
    const values = [0n, 1n, modulus - 1n, modulus, modulus + 1n, (1n << BigInt(bits)) - 1n];
    for (const value of values)
      for (const scheme of ['verifyRsaPssSha384', 'verifyRsaPkcs1Sha256'] as const)
        assert.equal(verified(scheme, key, MESSAGE, bytes(value)), false, value.toString(16).slice(0, 8));
    const limit = 1n << BigInt(bits);
    for (let i = 0; i < 64; i++) {
      const again = BigInt(`0x${toHex(pssSignature(privateKey, 48))}`) + modulus;
      if (again >= limit) continue;
      assert.equal(verified('verifyRsaPssSha384', key, MESSAGE, bytes(again)), false, 's + n');
      return;
    }
  });
}

test('RSA: a signature whose first byte is zero verifies', () => {
  const { publicKey, privateKey } = keys.get(2048) as { publicKey: KeyObject; privateKey: KeyObject };
  for (let i = 0; i < 4000; i++) {
    const signature = pssSignature(privateKey, 48);
    if (signature[0] !== 0) continue;
    assert.equal(verified('verifyRsaPssSha384', pkcs1(publicKey), MESSAGE, signature), true);
    return;
  }
  assert.fail('no such signature in 4,000');
});

test('RSA: keys of other forms are refused', () => {
  const { publicKey, privateKey } = keys.get(2048) as { publicKey: KeyObject; privateKey: KeyObject };
  const key = pkcs1(publicKey);
  const good = pssSignature(privateKey, 48);
  const answer = (changed: Uint8Array): boolean => verified('verifyRsaPssSha384', changed, MESSAGE, good);
  assert.equal(answer(key), true);
  const changedAt = (at: number, value: number): Uint8Array => {
    const changed = key.slice();
    changed[at < 0 ? key.length + at : at] = value;
    return changed;
  };
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  const forms: readonly (readonly [string, Uint8Array])[] = [
    ['nothing', new Uint8Array(0)],
    ['SPKI', spki],
    ['a byte behind', concatBytes(key, Uint8Array.of(0))],
    ['a byte less', key.subarray(0, -1)],
    ['exponent 65539', changedAt(-1, 3)],
    ['exponent 3 in three bytes', concatBytes(key.subarray(0, -3), Uint8Array.of(0, 0, 3))],
    ['an even modulus', changedAt(-6, (key[key.length - 6] as number) & 0xfe)],
    ['a modulus without its top bit', changedAt(9, (key[9] as number) & 0x7f)],
    ['a negative modulus', concatBytes(fromHex('3082010902820100'), key.subarray(9))],
    ['another tag', changedAt(0, 0x31)],
    ['another length', changedAt(3, 0x0b)],
  ];
  for (const [what, changed] of forms) assert.equal(answer(changed), false, what);
  for (const modulusLength of [1024, 2056]) {
    const other = generateKeyPairSync('rsa', { modulusLength });
    const signature = new Uint8Array(sign('sha256', MESSAGE, other.privateKey));
    assert.equal(
      verified('verifyRsaPkcs1Sha256', pkcs1(other.publicKey), MESSAGE, signature),
      false,
      `${modulusLength} bits`,
    );
  }
  const three = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
  const signature = new Uint8Array(sign('sha256', MESSAGE, three.privateKey));
  assert.equal(verified('verifyRsaPkcs1Sha256', pkcs1(three.publicKey), MESSAGE, signature), false, 'e = 3');
});

test('RSA: bytes of any kind are an answer of false, never an exception', () => {
  const { publicKey } = keys.get(2048) as { publicKey: KeyObject };
  const key = pkcs1(publicKey);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 600 }), (a, b) => {
      for (const scheme of ['verifyRsaPssSha384', 'verifyRsaPkcs1Sha256'] as const) {
        assert.equal(verified(scheme, a, MESSAGE, b), false);
        assert.equal(verified(scheme, key, MESSAGE, b), false);
      }
    }),
    { numRuns: 60 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 256, maxLength: 256 }), (signature) => {
      for (const scheme of ['verifyRsaPssSha384', 'verifyRsaPkcs1Sha256'] as const)
        assert.equal(verified(scheme, key, MESSAGE, signature), false);
    }),
    { numRuns: 60 },
  );
});

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee/snp');
const skip: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

/** Certificates of AMD as PEM: the signed part, the signature, and the key that signed. */
function amdCertificates(): readonly { tbs: Uint8Array; signature: Uint8Array; key: Uint8Array }[] {
  return ['chain-milan.pem', 'chain-genoa.pem'].flatMap((file) => {
    const texts = readFileSync(join(FOLDER, file), 'utf8').match(
      /-----BEGIN[\s\S]*?-----END CERTIFICATE-----/g,
    );
    const [ask, ark] = (texts ?? []).map((text) => new X509Certificate(text));
    assert.ok(ask !== undefined && ark !== undefined);
    const key = pkcs1(ark.publicKey);
    return [ask, ark].map(({ raw }) => {
      const sizeBytes = raw.readUInt16BE(6) + 4;
      const der = new Uint8Array(raw);
      return { tbs: der.subarray(4, 4 + sizeBytes), signature: der.subarray(-512), key };
    });
  });
}

test('RSA-4096: genuine signatures of AMD verify, and no changed one does', { skip }, () => {
  const certificates = amdCertificates();
  assert.equal(certificates.length, 4);
  for (const { tbs, signature, key } of certificates) {
    assert.equal(verified('verifyRsaPssSha384', key, tbs, signature), true);
    assert.equal(verified('verifyRsaPkcs1Sha256', key, tbs, signature), false);
    for (let bit = 0; bit < 4096; bit += 97) {
      const flipped = signature.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(verified('verifyRsaPssSha384', key, tbs, flipped), false, `bit ${bit}`);
    }
    const changed = tbs.slice();
    changed[100] = (changed[100] as number) ^ 1;
    assert.equal(verified('verifyRsaPssSha384', key, changed, signature), false);
  }
  const [first, , third] = certificates;
  assert.ok(first !== undefined && third !== undefined);
  assert.equal(verified('verifyRsaPssSha384', third.key, first.tbs, first.signature), false, "another's key");
});
