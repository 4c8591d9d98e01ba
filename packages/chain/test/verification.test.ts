/** Verification ahead of need: the result never depends on what was known, guessed or late. */
import assert from 'node:assert/strict';
import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { ed25519SignerFromSeed, nodeCrypto, type SignatureCheck, verifySignatureAsync } from '@haca/platform';
import { type CryptoProvider, sha256, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { createArrivals } from '../src/application/arrivals.ts';
import { createVerdictTable, verdictName } from '../src/application/verdict-cache.ts';
import {
  createVerification,
  VERIFICATION_LIMITS,
  VerificationFailedError,
  type VerifyAsync,
} from '../src/application/verification.ts';

const SIGNER = ed25519SignerFromSeed(sha256(utf8Encode('verification')));

function signed(label: string, holds = true) {
  const message = utf8Encode(label);
  const signature = SIGNER.sign(message);
  return { publicKey: SIGNER.publicKey, message, signature: holds ? signature : signature.with(0, 1) };
}

type Signed = ReturnType<typeof signed>;

function ask(crypto: CryptoProvider, { publicKey, message, signature }: Signed): boolean {
  return crypto.verifyEd25519(publicKey, message, signature);
}

/** The thread pool, counted. */
function countedPool(verify: VerifyAsync = verifySignatureAsync) {
  const checks: SignatureCheck[] = [];
  let most = 0;
  let inside = 0;
  const verifyAsync: VerifyAsync = async (check) => {
    checks.push(check);
    most = Math.max(most, ++inside);
    try {
      return await verify(check);
    } finally {
      inside--;
    }
  };
  return { verifyAsync, checks, most: () => most };
}

/** Node's crypto, with what it verifies on this thread counted. */
function countedCrypto() {
  const messages: string[] = [];
  const crypto: CryptoProvider = {
    ...nodeCrypto,
    verifyEd25519: (publicKey, message, signature) => {
      messages.push(new TextDecoder().decode(message));
      return nodeCrypto.verifyEd25519(publicKey, message, signature);
    },
  };
  return { crypto, messages };
}

test('a run whose signatures are all good is the only run, and nothing is verified on this thread', async () => {
  const { crypto, messages } = countedCrypto();
  const pool = countedPool();
  const verification = createVerification(crypto, pool.verifyAsync);
  const checks = ['a', 'b', 'c', 'a'].map((label) => signed(label));
  let runs = 0;
  const run = (given: CryptoProvider): boolean[] => {
    runs++;
    return checks.map((check) => ask(given, check));
  };
  assert.deepEqual(await verification.ahead('block', run), [true, true, true, true]);
  assert.equal(runs, 1);
  assert.equal(pool.checks.length, 3, 'the same check is made once');
  assert.deepEqual(await verification.ahead('block', run), [true, true, true, true]);
  assert.equal(pool.checks.length, 3, 'what is known is not verified again');
  assert.ok(ask(verification.crypto, checks[0] as Signed));
  assert.deepEqual(messages, []);
});

test('a bad signature is never taken for good, whichever way the run goes on from it', async () => {
  for (const isWarm of [false, true]) {
    const verification = createVerification(nodeCrypto, verifySignatureAsync);
    const bad = signed('bad', false);
    if (isWarm) assert.equal(ask(verification.crypto, bad), false);
    const seen: boolean[] = [];
    const result = await verification.ahead('block', (crypto) => {
      const holds = ask(crypto, bad);
      seen.push(holds);
      // What is asked next hangs on the answer, as in a block.
      return holds ? ask(crypto, signed('after good')) : ask(crypto, signed('after bad', false)) ? 'x' : 'y';
    });
    assert.equal(result, 'y');
    assert.equal(seen.at(-1), false);
  }
});

test('property: whatever is asked in whatever order, the result is that of the plain provider', async () => {
  const pool = ['a', 'b', 'c', 'd', 'e'].flatMap((label) => [signed(label), signed(label, false)]);
  const shared = createVerification(nodeCrypto, verifySignatureAsync, {
    ...VERIFICATION_LIMITS,
    verdicts: 6,
  });
  /** A walk through the checks that turns by their answers. */
  const walk = (start: number, steps: number) => (crypto: CryptoProvider) => {
    const answers: boolean[] = [];
    for (let at = start, i = 0; i < steps; i++) {
      const holds = ask(crypto, pool[at % pool.length] as Signed);
      answers.push(holds);
      at = holds ? at + 1 : at * 3 + 1;
    }
    return answers;
  };
  await fc.assert(
    fc.asyncProperty(fc.nat(9), fc.integer({ min: 1, max: 12 }), fc.boolean(), async (start, steps, cold) => {
      const verification = cold ? createVerification(nodeCrypto, verifySignatureAsync) : shared;
      const expected = walk(start, steps)(nodeCrypto);
      assert.deepEqual(await verification.ahead('block', walk(start, steps)), expected);
      assert.deepEqual(walk(start, steps)(verification.crypto), expected);
      assert.deepEqual(walk(start, steps)(verification.tentative), expected);
      verification.keep(true);
    }),
    { numRuns: 60 },
  );
});

test('what a run throws counts only if it guessed right', async () => {
  const verification = createVerification(nodeCrypto, verifySignatureAsync);
  const throwing = (check: Signed) => (crypto: CryptoProvider) => {
    if (ask(crypto, check)) throw new Error('only if it holds');
    return 'refused';
  };
  assert.equal(await verification.ahead('block', throwing(signed('wrong guess', false))), 'refused');
  await assert.rejects(verification.ahead('block', throwing(signed('right guess'))), /only if it holds/);
});

test('verification starts while the run goes on, not after it', async () => {
  let started = 0;
  const verification = createVerification(nodeCrypto, (check) => {
    started++;
    return verifySignatureAsync(check);
  });
  await verification.ahead('block', (crypto) => {
    ask(crypto, signed('first'));
    assert.equal(started, 1);
  });
});

test('CHAIN-92: a check that could not be made is no verdict: it is made again, and in the end stops the process', async () => {
  let failures = 2;
  const flaky = createVerification(nodeCrypto, async (check) => {
    if (failures-- > 0) throw new Error('no thread');
    return verifySignatureAsync(check);
  });
  assert.equal(await flaky.ahead('block', (crypto) => ask(crypto, signed('flaky'))), true);

  const dead = createVerification(nodeCrypto, () => Promise.reject(new Error('no thread')), {
    ...VERIFICATION_LIMITS,
    attempts: 2,
  });
  for (const holds of [true, false]) {
    await assert.rejects(
      dead.ahead('block', (crypto) => ask(crypto, signed('dead', holds))),
      (error) => error instanceof VerificationFailedError && /2 attempts/.test(error.message),
    );
    assert.equal(ask(dead.crypto, signed('dead', holds)), holds, 'nothing was remembered of it');
  }
});

test('CHAIN-95 CHAIN-90 attack: refused transactions fill no cache, and the mempool pushes out nothing that blocks know', async () => {
  const { crypto, messages } = countedCrypto();
  const limits = { ...VERIFICATION_LIMITS, verdicts: 8 };
  const verification = createVerification(crypto, verifySignatureAsync, limits);
  const inBlock = signed('in a block');
  await verification.ahead('block', (given) => ask(given, inBlock));
  for (let i = 0; i < 50; i++) {
    ask(verification.tentative, signed(`accepted ${i}`));
    verification.keep(true);
  }
  // Nor do arrivals, whatever they bring.
  for (let i = 0; i < 50; i++)
    await verification.ahead('mempool', (given) => ask(given, signed(`arrival ${i}`)));
  assert.ok(ask(verification.tentative, inBlock));
  assert.ok(!messages.includes('in a block'));
  for (let i = 0; i < 2; i++) {
    ask(verification.tentative, signed(`accepted ${i + 48}`));
    verification.keep(true);
  }
  // Two accepted ones are remembered through any number of refused ones, whose signatures may even be good.
  for (let i = 0; i < 50; i++) {
    ask(verification.tentative, signed(`refused ${i}`));
    ask(verification.tentative, signed(`forged ${i}`, false));
    verification.keep(false);
  }
  const before = messages.length;
  ask(verification.tentative, signed('accepted 49'));
  ask(verification.tentative, signed('accepted 48'));
  assert.equal(messages.length, before);
  ask(verification.tentative, signed('refused 49'));
  assert.equal(messages.length, before + 1);
});

test('no more checks are with the pool at a time than it was said, and all are made', async () => {
  const pool = countedPool();
  const verification = createVerification(nodeCrypto, pool.verifyAsync, {
    ...VERIFICATION_LIMITS,
    inFlight: 3,
  });
  const checks = Array.from({ length: 20 }, (_, i) => signed(`many ${i}`));
  await verification.ahead('block', (crypto) => checks.map((check) => ask(crypto, check)));
  assert.equal(pool.most(), 3);
  assert.equal(pool.checks.length, 20);
  // The places are free again.
  await verification.ahead('block', (crypto) => ask(crypto, signed('one more')));
  assert.equal(pool.checks.length, 21);
});

test('a table of verdicts is bounded, keeps the newest half, and what is used stays', () => {
  const table = createVerdictTable(8);
  table.put('used', true);
  table.put('not', false);
  for (let i = 0; i < 100; i++) {
    table.put(`${i}`, i % 2 === 0);
    assert.equal(table.find('used'), true);
    assert.ok(table.size() <= 8);
    for (let back = 0; back < 2 && back <= i; back++)
      assert.equal(table.find(`${i - back}`), (i - back) % 2 === 0);
  }
  assert.equal(table.find('not'), undefined);
});

test('CHAIN-95: a verdict belongs to one scheme, key, signature and message, however their bytes are divided', () => {
  const bytes = (length: number) => new Uint8Array(length).fill(7);
  const names = new Set<string>();
  let count = 0;
  for (const scheme of ['ed25519', 'ecdsa-p256', 'ecdsa-p384'] as const) {
    for (let key = 0; key < 4; key++) {
      for (let signature = 0; signature < 4; signature++) {
        for (let message = 0; message < 4; message++) {
          const check = { publicKey: bytes(key), signature: bytes(signature), message: bytes(message) };
          names.add(verdictName(nodeCrypto.sha256, { scheme, ...check }));
          count++;
        }
      }
    }
  }
  assert.equal(names.size, count);
  const { publicKey, signature, message } = signed('scheme');
  const check = { scheme: 'ed25519', publicKey, signature, message } as const;
  const name = verdictName(nodeCrypto.sha256, check);
  for (const part of ['publicKey', 'signature', 'message'] as const) {
    const other = { ...check, [part]: check[part].with(0, (check[part][0] as number) ^ 1) };
    assert.notEqual(verdictName(nodeCrypto.sha256, other), name);
  }
});

test('arrivals are verified one at a time, in order, once, and never within the call that brings them', async () => {
  const log: string[] = [];
  let inside = 0;
  const arrivals = createArrivals(async (tx) => {
    assert.equal(++inside, 1);
    log.push(new TextDecoder().decode(tx));
    await nextTurn();
    inside--;
  });
  for (const name of ['a', 'b', 'a', 'c']) arrivals.add(name, utf8Encode(name));
  assert.deepEqual(log, []);
  assert.ok(!arrivals.isReady('a'));
  while (!arrivals.isReady('c')) await nextTurn();
  assert.deepEqual(log, ['a', 'b', 'c']);
  assert.ok(arrivals.isReady('a') && arrivals.isReady('b'));
  arrivals.add('a', utf8Encode('a'));
  await delay(5);
  assert.deepEqual(log, ['a', 'b', 'c'], 'what is ready is not verified again');
});

test('attack: the queue of arrivals is bounded in number and bytes, and what found no room may come again', async () => {
  const seen: string[] = [];
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const arrivals = createArrivals(
    async (tx) => {
      await gate;
      seen.push(new TextDecoder().decode(tx).trim());
    },
    { waiting: 3, waitingBytes: 20, ready: 2 },
  );
  for (let i = 0; i < 10; i++) arrivals.add(`${i}`, utf8Encode(`${i}`));
  go();
  while (seen.length < 3) await nextTurn();
  await delay(5);
  assert.deepEqual(seen, ['0', '1', '2']);
  assert.deepEqual(
    ['0', '1', '2'].map(arrivals.isReady),
    [false, true, true],
    'the oldest name is forgotten',
  );
  arrivals.add('large', utf8Encode('large'.padEnd(15)));
  arrivals.add('too', utf8Encode('too'.padEnd(15)));
  arrivals.add('3', utf8Encode('3'));
  while (!arrivals.isReady('3')) await nextTurn();
  assert.deepEqual(seen, ['0', '1', '2', 'large', '3']);
});

test('what could not be verified on arrival is not ready, stops nothing, and is tried again when it is asked for', async () => {
  let fails = true;
  let attempts = 0;
  const arrivals = createArrivals(async () => {
    attempts++;
    if (fails) throw new Error('no thread');
  });
  arrivals.add('a', utf8Encode('a'));
  while (attempts < 1) await nextTurn();
  await delay(5);
  assert.ok(!arrivals.isReady('a'));
  fails = false;
  arrivals.add('a', utf8Encode('a'));
  while (!arrivals.isReady('a')) await nextTurn();
  assert.equal(attempts, 2);
});

test('every kind of signature is verified ahead, remembered, and answered as the plain provider answers', async () => {
  const message = utf8Encode('signed');
  const checks = signaturesOfAllSchemes(message);
  for (const { verify, scheme } of checks) {
    const { verifyAsync, checks: asked } = countedPool();
    const verification = createVerification(nodeCrypto, verifyAsync);
    const run = (crypto: CryptoProvider): boolean[] => [
      verify(crypto, message),
      verify(crypto, utf8Encode('other')),
    ];
    for (let i = 0; i < 2; i++)
      assert.deepEqual(await verification.ahead('block', run), [true, false], scheme);
    assert.deepEqual(run(verification.crypto), [true, false]);
    assert.deepEqual(
      asked.map((check) => check.scheme),
      [scheme, scheme],
    );
    const plain = createVerification(nodeCrypto, async () => Promise.reject(new Error('no pool')));
    assert.deepEqual(run(plain.crypto), [true, false], 'on this thread');
  }
});

function signaturesOfAllSchemes(message: Uint8Array) {
  const bytes = (buffer: Buffer): Uint8Array => new Uint8Array(buffer);
  const point = (key: KeyObject, length: number): Uint8Array =>
    bytes(key.export({ format: 'der', type: 'spki' }).subarray(-length));
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rsaKey = bytes(rsa.publicKey.export({ format: 'der', type: 'pkcs1' }));
  const ecdsa = (hash: string, key: KeyObject): Uint8Array =>
    bytes(sign(hash, message, { key, dsaEncoding: 'ieee-p1363' }));
  const pss = { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 };
  const p256Signature = ecdsa('sha256', p256.privateKey);
  const p384Signature = ecdsa('sha384', p384.privateKey);
  const pssSignature = bytes(sign('sha384', message, pss));
  const pkcs1Signature = bytes(sign('sha256', message, rsa.privateKey));
  type Verify = (crypto: CryptoProvider, of: Uint8Array) => boolean;
  const of = (scheme: SignatureCheck['scheme'], verify: Verify) => ({ scheme, verify });
  return [
    of('ed25519', (crypto, m) => crypto.verifyEd25519(SIGNER.publicKey, m, SIGNER.sign(message))),
    of('ecdsa-p256', (crypto, m) => crypto.verifyEcdsaP256(point(p256.publicKey, 65), m, p256Signature)),
    of('ecdsa-p384', (crypto, m) => crypto.verifyEcdsaP384(point(p384.publicKey, 97), m, p384Signature)),
    of('rsa-pss-sha384', (crypto, m) => crypto.verifyRsaPssSha384(rsaKey, m, pssSignature)),
    of('rsa-pkcs1-sha256', (crypto, m) => crypto.verifyRsaPkcs1Sha256(rsaKey, m, pkcs1Signature)),
  ];
}
