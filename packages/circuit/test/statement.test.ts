import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeTensor,
  encodeTensor,
  padTensor,
  plan,
  planRegistration,
  programDigest,
  publicTensorShapes,
  registrationHeader,
  registrationStatement,
  statementHeader,
  type TensorKind,
  type TensorShape,
  tensorRowBytes,
  unpadTensor,
  type VerifyingKey,
  type ZkStatement,
} from '@haca/circuit';
import { MalformedError, toHex, UsageError } from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import fc from 'fast-check';
import { bitsOfExtent } from '../src/lowering/builder.ts';
import { changed, layerKey, type MutableKey, range, sumKey, tensorOf } from './support.ts';

const RANGES: Readonly<Record<TensorKind, readonly [number, number]>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32_768, 32_767],
  i32: [-1_006_632_960, 1_006_632_960],
  id: [0, 2 ** 24 - 1],
};
const kinds = fc.constantFrom<TensorKind>('i8', 'u8', 'i16', 'i32', 'id');

test('ZK-23 tensor bytes come back, at the ends of every kind too', () => {
  fc.assert(
    fc.property(
      kinds,
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
      fc.nat(),
      (kind, extents, seed) => {
        const [lo, hi] = RANGES[kind];
        const shape = { kind, lo, hi, extents };
        const cells = extents.reduce((product, extent) => product * extent, 1);
        const values = range(2 * cells).map(
          (i) => [lo, hi, lo + ((seed + i) % (hi - lo + 1))][i % 3] as number,
        );
        const bytes = encodeTensor(shape, values);
        assert.equal(bytes.length, 2 * tensorRowBytes(shape));
        assert.deepEqual([...decodeTensor(shape, bytes, 2, 'x')], values);
      },
    ),
  );
});

const refusedAs = (code: string) => (error: unknown) =>
  error instanceof MalformedError && error.code === code;

test('ZK-23 a wrong length, or a value outside the interval, is refused', () => {
  for (const kind of ['i8', 'u8', 'i16', 'i32', 'id'] as const) {
    const shape: TensorShape = { kind, lo: 1, hi: 100, extents: [3] };
    const wide = { ...shape, lo: RANGES[kind][0], hi: RANGES[kind][1] };
    const good = encodeTensor(shape, [1, 50, 100]);
    for (const bytes of [good.subarray(1), Uint8Array.of(...good, 0), new Uint8Array(0)])
      assert.throws(() => decodeTensor(shape, bytes, 1, 'x'), refusedAs('zk.tensor-length'));
    assert.throws(() => decodeTensor(shape, good, 2, 'x'), refusedAs('zk.tensor-length'));
    for (const value of [0, 101])
      assert.throws(
        () => decodeTensor(shape, encodeTensor(wide, [1, 2, value]), 1, 'x'),
        refusedAs('zk.tensor-value'),
      );
    for (const value of [0, 101, 1.5, Number.NaN])
      assert.throws(() => encodeTensor(shape, [value]), UsageError);
  }
});

test('ZK-23 an output less the modulus has no second spelling', () => {
  const shape: TensorShape = { kind: 'i32', lo: RANGES.i32[0], hi: RANGES.i32[1], extents: [1] };
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, 5 - 2_013_265_921, true);
  assert.throws(() => decodeTensor(shape, bytes, 1, 'x'), refusedAs('zk.tensor-value'));
});

test('padding is zeros around the real cells, and comes off again', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 4 }), (extents) => {
      const axisBits = extents.map(bitsOfExtent);
      const bits = axisBits.reduce((sum, each) => sum + each, 0);
      const dense = Int32Array.from(
        range(
          extents.reduce((product, each) => product * each, 1),
          1,
        ),
      );
      const tensor = { extents, axisBits, bits };
      const padded = padTensor(tensor, dense) as Int32Array;
      assert.deepEqual(unpadTensor(tensor, padded), dense);
      for (let cell = 0; cell < padded.length; cell++) {
        let rest = cell;
        let place = 0;
        let scale = 1;
        let real = true;
        for (let axis = extents.length - 1; axis >= 0; axis--) {
          const index = rest % 2 ** (axisBits[axis] as number);
          rest = Math.floor(rest / 2 ** (axisBits[axis] as number));
          if (index >= (extents[axis] as number)) real = false;
          place += index * scale;
          scale *= extents[axis] as number;
        }
        assert.equal(padded[cell], real ? dense[place] : 0);
      }
    }),
  );
});

test('public tensors are listed in key order, without the batch', () => {
  const { inputs, outputs } = publicTensorShapes(layerKey());
  assert.deepEqual(inputs, [{ kind: 'i8', lo: -128, hi: 127, extents: [4] }]);
  assert.deepEqual(outputs, [{ kind: 'i8', lo: -128, hi: 127, extents: [3] }]);
});

const id = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const STATEMENT: ZkStatement = {
  chainId: id(1),
  claimId: id(2),
  nonce: id(3),
  verifyingKeyHash: id(4),
  batchSize: 2,
  inputs: [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
  outputs: [Uint8Array.of(9, 8, 7, 6, 5, 4)],
};
const words = (...values: number[]): number[] => values.flatMap((v) => [v & 255, (v >> 8) & 255, v >> 16, 0]);

test('ZK-22 the header is what the specification says, byte by byte', () => {
  const program = plan(layerKey(), 2);
  const digest = (bytes: Uint8Array): Uint8Array => deriveKey('haca zkml v1 tensor', bytes);
  assert.deepEqual(
    [...statementHeader(program, 1, STATEMENT)],
    [
      ...[1, 1, 3, 16, 7, ...words(102)],
      ...[...id(1), ...id(2), ...id(3), ...id(4)],
      ...words(2, 1),
      ...digest(STATEMENT.inputs[0] as Uint8Array),
      ...words(1),
      ...digest(STATEMENT.outputs[0] as Uint8Array),
      ...programDigest(program),
    ],
  );
});

test('ZK-22 everything a proof is about changes the header', () => {
  const program = plan(layerKey(), 2);
  const header = (statement: ZkStatement, profile = 1, of = program): string =>
    toHex(statementHeader(of, profile, statement));
  const others = [
    header({ ...STATEMENT, chainId: id(9) }),
    header({ ...STATEMENT, claimId: id(9) }),
    header({ ...STATEMENT, nonce: id(9) }),
    header({ ...STATEMENT, verifyingKeyHash: id(9) }),
    header({ ...STATEMENT, batchSize: 3 }),
    header({ ...STATEMENT, inputs: [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 9)] }),
    header({ ...STATEMENT, outputs: [] }),
    header({ ...STATEMENT, inputs: STATEMENT.outputs, outputs: STATEMENT.inputs }),
    header(STATEMENT, 2),
    header(STATEMENT, 1, plan(layerKey(), 3)),
    header(STATEMENT, 1, { ...program, opening: { ...program.opening, queries: 101 } }),
    header(STATEMENT, 1, { ...program, opening: { ...program.opening, grindingBits: 15 } }),
    header(STATEMENT, 1, { ...program, opening: { ...program.opening, blowupBits: 2 } }),
  ];
  assert.equal(new Set([header(STATEMENT), ...others]).size, others.length + 1);
});

test('ZK-22 ids of another length than 32 bytes are a mistake of the caller', () => {
  const program = plan(layerKey(), 2);
  for (const name of ['chainId', 'claimId', 'nonce', 'verifyingKeyHash'])
    assert.throws(
      () => statementHeader(program, 1, { ...STATEMENT, [name]: new Uint8Array(31) }),
      UsageError,
    );
});

test('ZK-26 a registration is about weights and their opening alone', () => {
  const base = sumKey();
  const of = (change: (key: MutableKey) => void): string =>
    toHex(registrationStatement(changed(base, change) as VerifyingKey));
  const same = of(() => {});
  for (const change of [
    (key: MutableKey): void => {
      key.maxBatch = 1;
    },
    (key: MutableKey): void => {
      key.ops.length = 0;
    },
    (key: MutableKey): void => {
      key.lists.length = 0;
    },
    (key: MutableKey): void => {
      tensorOf(key, 0).hi = 5;
    },
  ])
    assert.equal(of(change), same);
  const others = [
    (key: MutableKey): void => {
      key.profile = 2;
    },
    (key: MutableKey): void => {
      key.columnBits++;
    },
    (key: MutableKey): void => {
      key.folds = [...key.folds, 1];
    },
    (key: MutableKey): void => {
      key.finalBits++;
    },
    (key: MutableKey): void => {
      key.limbBits++;
    },
    (key: MutableKey): void => {
      tensorOf(key, 1).kind = 'i16';
    },
    (key: MutableKey): void => {
      tensorOf(key, 1).hi++;
    },
    (key: MutableKey): void => {
      tensorOf(key, 1).lo++;
    },
    (key: MutableKey): void => {
      tensorOf(key, 1).extents = [2, 2];
    },
    (key: MutableKey): void => {
      key.weightCap[5] = 1;
    },
  ].map(of);
  assert.equal(new Set([same, ...others]).size, others.length + 1);
});

test('ZK-26 headers of registrations and inferences differ from the third field on', () => {
  const key = layerKey();
  const registration = registrationHeader(planRegistration(key), key);
  assert.equal(registration.length, 9 + 32 + 32);
  assert.deepEqual(registration.subarray(9, 41), registrationStatement(key));
});
