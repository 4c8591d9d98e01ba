/** The networks whose proofs are measured: weights are random, sizes are those that others publish. */
import { lenet5, mlp, transformerBlock, vgg16Size, type ZkExample } from '@haca/testkit';

export interface NetworkCase {
  readonly name: string;
  readonly batchSize: number;
  readonly make: () => ZkExample;
  /** Proofs timed on each number of threads. */
  readonly proofs: number;
  /** Also proved by the plain TypeScript reference. */
  readonly reference: boolean;
  readonly targets: { readonly proveMs?: number; readonly verifyMs?: number; readonly proofBytes?: number };
}

/** Four projections of 256 × 256 and two of 256 × 1,024: 0.79M weights, and 0.26M of vocabulary. */
const BLOCK = { tokens: 64, width: 256, heads: 4, vocabulary: 512 };

export const NETWORKS: readonly NetworkCase[] = [
  {
    name: 'MLP 784-64-10',
    batchSize: 1,
    make: () => mlp([784, 64, 10]),
    proofs: 20,
    reference: true,
    targets: { verifyMs: 10 },
  },
  {
    name: 'MLP 784-512-512-10',
    batchSize: 1,
    make: () => mlp([784, 512, 512, 10]),
    proofs: 10,
    reference: true,
    targets: { proveMs: 150, verifyMs: 10, proofBytes: 190_000 },
  },
  {
    name: 'LeNet-5',
    batchSize: 1,
    make: () => lenet5(),
    proofs: 10,
    reference: true,
    targets: { proveMs: 50, verifyMs: 10, proofBytes: 130_000 },
  },
  {
    name: 'MLP 784-512-512-10, batch of 64',
    batchSize: 64,
    make: () => mlp([784, 512, 512, 10], { maxBatch: 64 }),
    proofs: 5,
    reference: false,
    targets: { verifyMs: 15, proofBytes: 200_000 },
  },
  {
    name: 'transformer block, 1M weights, 64 tokens',
    batchSize: 1,
    make: () => transformerBlock(BLOCK, { maxBatch: 1 }),
    proofs: 3,
    reference: false,
    targets: {},
  },
  {
    name: 'VGG-16 size, 32 x 32',
    batchSize: 1,
    make: () => vgg16Size(),
    proofs: 3,
    reference: false,
    targets: { proveMs: 2_000, verifyMs: 10, proofBytes: 320_000 },
  },
];
