/** The tensors of one proof as vectors of the backend: uploaded when first needed, virtual ones released after a step. */

import type { Placement, PlanTensor, Program } from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import type { BaseValues } from '@haca/primitives/zk';
import type { Column, ProverBackend, Vector } from './backend.ts';

/** Cells of every tensor over its padded cube. See `assign` of the runtime. */
export interface Assignment {
  /** Integers, or residues as a `Uint32Array`. */
  readonly values: (tensor: number) => BaseValues;
  /** Forgets what can be computed again. */
  readonly release?: (tensor: number) => void;
}

export interface TensorStore {
  readonly tensor: (id: number) => PlanTensor;
  /** Whether the tensor is uploaded already. */
  readonly has: (id: number) => boolean;
  /** The tensor as a base vector, whatever its storage. */
  readonly vector: (id: number) => Vector;
  /** Releases the virtual tensors that were materialised since the last call. */
  readonly releaseVirtual: () => void;
  readonly release: () => void;
}

/** `weightVectors`: those of the committed weights, in order; they stay their owner's. */
export function createTensorStore(
  backend: ProverBackend,
  program: Program,
  assignment: Assignment,
  weightVectors: readonly Vector[],
): TensorStore {
  const weights = new Map<number, Vector>();
  for (const { id, storage } of program.tensors)
    if (storage === 'weight') weights.set(id, weightVectors[weights.size] as Vector);
  const owned = new Map<number, Vector>();
  const tensor = (id: number): PlanTensor => program.tensors[id] as PlanTensor;
  const releaseWhere = (chosen: (id: number) => boolean): void => {
    for (const [id, vector] of owned) {
      if (!chosen(id)) continue;
      backend.release(vector);
      owned.delete(id);
      if (tensor(id).storage === 'virtual') assignment.release?.(id);
    }
  };
  return {
    tensor,
    has: (id) => weights.has(id) || owned.has(id),
    vector: (id) => {
      const found = weights.get(id) ?? owned.get(id);
      if (found !== undefined) return found;
      const values = assignment.values(id);
      if (values.length !== 2 ** tensor(id).bits)
        throw new UsageError(`${values.length} cells for ${tensor(id).name} of ${tensor(id).bits} bits`);
      const vector = backend.upload(values);
      owned.set(id, vector);
      return vector;
    },
    releaseVirtual: () => releaseWhere((id) => tensor(id).storage === 'virtual'),
    release: () => releaseWhere(() => true),
  };
}

/** The columns of one root, as the placements lay the tensors out. */
export function columnsOf(
  placements: readonly Placement[],
  count: number,
  columnBits: number,
  vector: (tensor: number) => Vector,
): Column[] {
  const pieces = Array.from({ length: count }, (): Column['pieces'][number][] => []);
  const size = 2 ** columnBits;
  for (const { tensor, at } of placements) {
    const from = vector(tensor);
    if (at.kind === 'part')
      pieces[at.column]?.push({ vector: from, from: 0, length: from.length, offset: at.offset });
    else
      at.columns.forEach((column, block) => {
        if (column !== null)
          pieces[column]?.push({ vector: from, from: block * size, length: size, offset: 0 });
      });
  }
  return pieces.map((each) => ({ pieces: each }));
}
