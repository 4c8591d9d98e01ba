import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeVerifyingKey, type VerifyingKey, verifyingKeyHash, type ZkStatement } from '@haca/circuit';
import type { Verdict } from '@haca/protocol';
import fc from 'fast-check';
import { createZkVerifier, verifyZkProof, verifyZkRegistration, ZK_CHECK_IDS } from '../src/index.ts';
import { EXAMPLES, emptyProof, type Fixture, fixture } from './zk-fixtures.ts';

const failure = ({ ok, checks }: Verdict): string => {
  const failed = checks.filter(({ status }) => status === 'failed');
  assert.equal(ok, false);
  assert.equal(failed.length, 1, 'a verdict names one check that failed');
  assert.deepEqual(
    checks.map(({ id }) => id),
    [...ZK_CHECK_IDS],
  );
  return `${failed[0]?.id} ${failed[0]?.code}`;
};

const zeros = (length: number): Uint8Array => new Uint8Array(length);
const verify = (
  { keyBytes, statement }: Fixture,
  proof: Uint8Array,
  changes: Partial<ZkStatement> = {},
): string =>
  failure(verifyZkProof({ verifyingKey: keyBytes, statement: { ...statement, ...changes }, proof }));

const good = fixture('mlp 20-8-8-3', 2);

test('ZK-20: what is wrong with length, header and statement is named before anything is read', () => {
  const proof = emptyProof(good, zeros);
  assert.equal(verify(good, proof.subarray(1)), 'zk.length E_LENGTH');
  assert.equal(verify(good, new Uint8Array([...proof, 0])), 'zk.length E_LENGTH');
  assert.equal(verify(good, new Uint8Array(0)), 'zk.length E_LENGTH');
  for (const at of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
    const changed = proof.slice();
    changed[at] = (changed[at] as number) ^ 1;
    assert.equal(verify(good, changed), 'zk.header E_HEADER', `byte ${at}`);
  }
  const { inputs, outputs } = good.statement;
  assert.equal(verify(good, proof, { inputs: [] }), 'zk.public E_PUBLIC');
  assert.equal(verify(good, proof, { outputs: [...outputs, ...outputs] }), 'zk.public E_PUBLIC');
  assert.equal(
    verify(good, proof, { inputs: [(inputs[0] as Uint8Array).subarray(1)] }),
    'zk.public E_PUBLIC',
  );
  assert.equal(verify(good, proof, { outputs: [new Uint8Array(24).fill(0x80)] }), 'zk.public E_PUBLIC');
  assert.equal(verify(good, proof, { claimId: new Uint8Array(31) }), 'zk.public E_PUBLIC');
  assert.equal(verify(good, proof), 'zk.degenerate E_DEGENERATE');
});

test('a key that is not the one named, not canonical, or means nothing is refused', () => {
  const proof = emptyProof(good, zeros);
  const { key, keyBytes, statement } = good;
  assert.equal(verify(good, proof, { verifyingKeyHash: new Uint8Array(32) }), 'zk.key E_KEY');
  assert.equal(verify(good, proof, { verifyingKeyHash: new Uint8Array(0) }), 'zk.key E_KEY');
  const named = (bytes: Uint8Array): Fixture => ({
    ...good,
    keyBytes: bytes,
    statement: { ...statement, verifyingKeyHash: verifyingKeyHash(bytes) },
  });
  assert.equal(verify(named(new Uint8Array(0)), proof), 'zk.key E_KEY');
  assert.equal(verify(named(keyBytes.subarray(1)), proof), 'zk.key E_KEY');
  assert.equal(verify(named(new Uint8Array([...keyBytes, 0])), proof), 'zk.key E_KEY');
  assert.equal(verify(named(new Uint8Array(2 ** 18 + 1)), proof), 'zk.key E_LIMIT');
  const changed = (changes: Partial<VerifyingKey>): string =>
    verify(named(encodeVerifyingKey({ ...key, ...changes })), proof);
  assert.equal(changed({ columnBits: key.columnBits + 1 }), 'zk.key E_KEY');
  assert.equal(changed({ ops: key.ops.slice(1) }), 'zk.key E_KEY');
  assert.equal(changed({ weightCap: new Uint8Array(32) }), 'zk.key E_KEY');
});

test('batch sizes that are none, or not the key’s, are refused', () => {
  const proof = emptyProof(good, zeros);
  for (const batchSize of [0, -1, 1.5, Number.NaN, 9, 2 ** 32, Number.POSITIVE_INFINITY])
    assert.equal(verify(good, proof, { batchSize }), 'zk.key E_KEY', `${batchSize}`);
  assert.equal(verify(good, proof, { batchSize: 1 }), 'zk.length E_LENGTH');
});

for (const name of Object.keys(EXAMPLES))
  test(`ZK-25: ${name}: random bytes of the right length are rejected without an exception`, () => {
    const made = fixture(name);
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(255)), fc.boolean(), (bytes, canonical) => {
        const proof = emptyProof(made, (length) => {
          const random = Uint8Array.from({ length }, () => bytes.next().value);
          // With a small top byte every word is canonical, so that the reader lets it through.
          if (canonical)
            for (let i = made.program.proofBytes % 4; i < length; i++)
              random[i] = (random[i] as number) & 0x3f;
          return random;
        });
        assert.match(verify(made, proof), canonical ? /^zk\.gkr-root/ : /^zk\.(encoding|gkr-root)/);
      }),
      { numRuns: 4 },
    );
  });

test('ZK-25: random bytes as keys, statements and registration proofs are rejected without an exception', () => {
  const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
  fc.assert(
    fc.property(bytes(300), bytes(64), bytes(64), fc.integer(), (verifyingKey, id, proof, batchSize) => {
      const statement = {
        chainId: id,
        claimId: id,
        nonce: id,
        verifyingKeyHash: verifyingKeyHash(verifyingKey),
        batchSize,
        inputs: [id],
        outputs: [],
      };
      assert.match(failure(verifyZkProof({ verifyingKey, statement, proof })), /^zk\.key E_KEY/);
      assert.match(failure(verifyZkRegistration({ verifyingKey, proof })), /^zk\.key E_KEY/);
    }),
    { numRuns: 300 },
  );
});

test('ZK-25: one byte of a key changed never leads to an exception', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(EXAMPLES)), fc.nat(), fc.nat(255), (name, position, byte) => {
      const { keyBytes, statement, program } = fixture(name);
      const verifyingKey = keyBytes.slice();
      verifyingKey[position % keyBytes.length] = byte;
      const changed = { ...statement, verifyingKeyHash: verifyingKeyHash(verifyingKey) };
      const proof = zeros(program.proofBytes);
      assert.doesNotMatch(failure(verifyZkProof({ verifyingKey, statement: changed, proof })), /internal/);
      assert.doesNotMatch(failure(verifyZkRegistration({ verifyingKey, proof })), /internal/);
    }),
    { numRuns: 400 },
  );
});

test('a verifier that remembers programs answers as a fresh one', () => {
  const made = ['mlp 20-8-8-3', 'convolution'].flatMap((name) => [1, 2].map((size) => fixture(name, size)));
  for (const plans of [1, 3, 8]) {
    const verifier = createZkVerifier({ plans });
    for (const i of [0, 1, 2, 3, 3, 0, 2, 1, 1, 3]) {
      const { keyBytes, statement } = made[i] as Fixture;
      const proof = emptyProof(made[i] as Fixture, zeros);
      const request = { verifyingKey: keyBytes, statement, proof };
      assert.deepEqual(verifier.verify(request), verifyZkProof(request));
      assert.equal(failure(verifier.verify(request)), 'zk.degenerate E_DEGENERATE');
    }
  }
});
