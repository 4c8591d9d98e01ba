import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeProofFile,
  HZP_BYTES_MAX,
  isOfContext,
  offChainIds,
  type ProofFile,
  parseProofFile,
} from '@haca/circuit';
import { MalformedError, toHex } from '@haca/primitives';
import fc from 'fast-check';

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 1, maxLength });
const id = fc.uint8Array({ minLength: 32, maxLength: 32 });
const tensors = fc.array(bytes(20), { minLength: 1, maxLength: 3 });
const files: fc.Arbitrary<ProofFile> = fc
  .record({
    verifyingKey: bytes(50),
    chainId: id,
    claimId: id,
    nonce: id,
    batchSize: fc.integer({ min: 0, max: 1_024 }),
    inputs: tensors,
    outputs: tensors,
    proof: bytes(50),
    registration: fc.option(bytes(50), { nil: undefined }),
  })
  .map(({ registration, ...file }) => (registration === undefined ? file : { ...file, registration }));

const example: ProofFile = {
  verifyingKey: new Uint8Array([1, 2, 3]),
  ...offChainIds('a'),
  batchSize: 2,
  inputs: [new Uint8Array([4, 5])],
  outputs: [new Uint8Array([6])],
  proof: new Uint8Array([7, 8, 9]),
};

test('ZK-30 a proof file has one encoding, and comes back as it was', () => {
  fc.assert(
    fc.property(files, (file) => {
      const encoded = encodeProofFile(file);
      assert.deepEqual(parseProofFile(encoded), file);
      assert.deepEqual(encodeProofFile(parseProofFile(encoded)), encoded);
    }),
  );
});

test('ZK-30 cut, lengthened and foreign files are malformed', () => {
  const encoded = encodeProofFile(example);
  for (let size = 0; size < encoded.length; size++)
    assert.throws(() => parseProofFile(encoded.subarray(0, size)), MalformedError, `${size} bytes`);
  assert.throws(() => parseProofFile(new Uint8Array([...encoded, 0])), MalformedError);
  const text = new TextDecoder('latin1').decode(encoded);
  const at = text.indexOf('haca zk proof');
  assert.throws(() => parseProofFile(encoded.with(at, 'H'.charCodeAt(0))), /hzp\.format/);
  const versionAt = at + 'haca zk proof'.length + 1;
  assert.equal(encoded[versionAt], 1);
  assert.throws(() => parseProofFile(encoded.with(versionAt, 2)), /hzp\.version/);
  assert.throws(() => parseProofFile(new Uint8Array(HZP_BYTES_MAX + 1)), /hzp\.size/);
});

test('a changed byte is malformed or another file, never the same', () => {
  const encoded = encodeProofFile(example);
  for (const [at, byte] of encoded.entries()) {
    for (const mask of [1, 0x20, 0x80]) {
      const changed = encoded.with(at, byte ^ mask);
      try {
        assert.deepEqual(encodeProofFile(parseProofFile(changed)), changed);
      } catch (error) {
        assert.ok(error instanceof MalformedError, `byte ${at}: ${error}`);
      }
    }
  }
});

test('ZK-31 chain, claim and nonce belong to one context each', () => {
  assert.ok(isOfContext(example, 'a'));
  for (const other of ['', 'b', 'a ', 'A', '\u{1F600}']) assert.ok(!isOfContext(example, other), other);
  const { chainId, claimId, nonce } = offChainIds('a');
  assert.equal(new Set([chainId, claimId, nonce].map(toHex)).size, 3);
  for (const name of ['chainId', 'claimId', 'nonce'] as const)
    assert.ok(!isOfContext({ ...example, [name]: offChainIds('b')[name] }, 'a'), name);
});
