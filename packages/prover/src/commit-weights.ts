/** The weights of a model as columns, their codewords and the cap that stands in the verifying key. */
import {
  capDigests,
  type Program,
  padTensor,
  plan,
  profileParameters,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { DIGEST_BYTES } from '@haca/primitives/zk';
import type { Column, CommittedTree, ProverBackend, Vector } from './backend.ts';
import { createCheckpoint, type ProgressOptions } from './progress.ts';
import { columnsOf } from './tensor-store.ts';

/** Kept by whoever proves: one per model and backend. */
export interface CommittedWeights {
  /** The weight cap of the key. */
  readonly cap: Uint8Array;
  /** Over their padded cubes, in the order of the key's weights. */
  readonly vectors: readonly Vector[];
  readonly columns: readonly Column[];
  readonly tree: CommittedTree;
  readonly backend: ProverBackend;
  readonly release: () => void;
}

export interface CommitWeightsRequest extends ProgressOptions {
  /** Its weight cap may be empty or of zeros: it is what is computed here. */
  readonly key: VerifyingKey;
  /** Dense, row-major, in the order of the key's tensors of role weight. */
  readonly weights: readonly TensorValues[];
  readonly backend: ProverBackend;
}

/**
 * Memory: 4 · 2^(columnBits + blowupBits) bytes a column for the codewords, twice 32 bytes a row for the tree, and the
 * weights themselves in the width in which they came.
 *
 * @throws KeyError where the key means nothing, UsageError where weights do not fit it
 */
export async function commitWeights(request: CommitWeightsRequest): Promise<CommittedWeights> {
  const { key } = request;
  const depth = key.columnBits + profileParameters(key.profile).blowupBits;
  const program = plan({ ...key, weightCap: new Uint8Array(DIGEST_BYTES * capDigests(depth)) }, 1);
  return commitProgramWeights({ ...request, program });
}

/** As `commitWeights`, with the layout and the rate of a program of one's own (`planWith`, `planRegistration`). */
export async function commitProgramWeights({
  program,
  weights,
  backend,
  ...options
}: Omit<CommitWeightsRequest, 'key'> & { readonly program: Program }): Promise<CommittedWeights> {
  const checkpoint = createCheckpoint(options);
  await checkpoint('commit', 0);
  const tensors = program.tensors.filter(({ storage }) => storage === 'weight');
  if (tensors.length !== weights.length)
    throw new UsageError(`${weights.length} weight tensors, the key has ${tensors.length}`);
  const vectors = tensors.map((tensor, i) => {
    const dense = weights[i] as TensorValues;
    const cells = tensor.extents.reduce((product, extent) => product * extent, 1);
    if (dense.length !== cells)
      throw new UsageError(`${dense.length} values for ${tensor.name} of ${cells} cells`);
    return backend.upload(padTensor(tensor, dense));
  });
  const { columnBits, blowupBits, weightColumns, capBits } = program.opening;
  const columns = columnsOf(
    program.weightPlacements,
    weightColumns,
    columnBits,
    (tensor) => vectors[tensors.findIndex(({ id }) => id === tensor)] as Vector,
  );
  const tree = backend.commitColumns({ columns, columnBits, blowupBits, capBits });
  await checkpoint('commit', 1);
  const release = (): void => {
    tree.release();
    for (const vector of vectors) backend.release(vector);
  };
  return { cap: tree.cap, vectors, columns, tree, backend, release };
}
