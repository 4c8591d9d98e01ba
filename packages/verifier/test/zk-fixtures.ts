/** Keys of many shapes, and statements and proofs that are well formed but prove nothing. */
import {
  encodeVerifyingKey,
  type Program,
  plan,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { createZkGraph, mlp, RELU_LIST, softmaxOnly, tinyConv, type ZkExample } from '@haca/testkit';

/** One that uses every op, axis relation and mode that the others leave out. */
export function oddments(): ZkExample {
  const g = createZkGraph({ maxBatch: 4 });
  const rows = 5;
  const ids = g.input('id', [3], 0, rows - 1);
  const table = g.weight('i8', [rows, 7], -20, 20);
  const embedded = g.gather(table, ids);
  const merged = g.wire(
    embedded,
    [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, stride: 7, dilation: 1, pad: 0, start: 0 }],
    [21],
  );
  const sliced = g.wire(
    merged,
    [{ kind: 'pool', x: 0, y: 0, taps: 2, stride: 3, dilation: 2, pad: 1, start: 0 }],
    [6],
  );
  const y = g.requantize(sliced, { shift: 0, offset: 128, window: 8, values: RELU_LIST });
  const z = g.requantize16(g.contract({ a: y, c: y, labelsA: [0], labelsC: [0], extents: [6] }), {
    shift: 2,
    zero: 0,
  });
  const squares = g.contract({ a: z, labelsA: [0], extents: [] });
  return g.finish([g.top1(y), squares, y]);
}

export const EXAMPLES: Readonly<Record<string, () => ZkExample>> = {
  'mlp 5-3-2': () => mlp([5, 3, 2]),
  'mlp 20-8-8-3': () => mlp([20, 8, 8, 3], { maxBatch: 8 }),
  convolution: () => tinyConv({ maxBatch: 4 }),
  softmax: () => softmaxOnly(5),
  'causal softmax': () => softmaxOnly(4, true),
  oddments,
};

export interface Fixture {
  readonly key: VerifyingKey;
  readonly keyBytes: Uint8Array;
  readonly program: Program;
  readonly statement: ZkStatement;
}

const made = new Map<string, VerifyingKey>();

/** All tensor bytes are zero. */
export function fixture(name: string, batchSize = 1): Fixture {
  const key = made.get(name) ?? (EXAMPLES[name] as () => ZkExample)().key;
  made.set(name, key);
  const keyBytes = encodeVerifyingKey(key);
  const program = plan(key, batchSize);
  const zeros = (tensors: Program['inputs']): Uint8Array[] =>
    tensors.map(({ tensor, kind }) => {
      const cells = (program.tensors[tensor]?.extents ?? []).reduce((product, extent) => product * extent, 1);
      return new Uint8Array(cells * { i8: 1, u8: 1, i16: 2, i32: 4, id: 4 }[kind]);
    });
  const id = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
  const statement = {
    chainId: id(1),
    claimId: id(2),
    nonce: id(3),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize,
    inputs: zeros(program.inputs),
    outputs: zeros(program.outputs),
  };
  return { key, keyBytes, program, statement };
}

/** The right length and header; the rest as `fill` says. */
export function emptyProof({ key, program }: Fixture, fill: (length: number) => Uint8Array): Uint8Array {
  const proof = fill(program.proofBytes);
  proof.set([0x48, 0x5a, 0x4b, 0x31, key.profile, program.batchSize, 0, 0, 0]);
  return proof;
}
