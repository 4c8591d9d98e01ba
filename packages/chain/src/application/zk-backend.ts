/** The proof system of this software, as the application takes it: `@haca/circuit` for keys, `@haca/verifier` for proofs. */
import {
  decodeTensor,
  KeyError,
  parseVerifyingKey,
  plan,
  publicTensorShapes,
  type TensorShape,
  tensorRowBytes,
  type VerifyingKey,
  verifyingKeyHash,
  zkPlanningUnits,
  zkProgramGas,
  zkRegistrationGas,
} from '@haca/circuit';
import { nodeZkKernels } from '@haca/platform';
import { MalformedError, sha256, toHex } from '@haca/primitives';
import { type Verdict, ZK_BATCH_MAX, ZK_TENSORS_MAX, zkBatchIndex } from '@haca/protocol';
import { createZkVerifier, verifyZkRegistration } from '@haca/verifier';
import type { ZkKeyAppraisal, ZkKeyFacts, ZkKeyOutline, ZkProofSystem } from '../state-machine/index.ts';

export interface ZkBackend {
  /** Answers on this thread. */
  readonly system: ZkProofSystem;
  /** Module for worker threads: exports `verifyProofCheck`, which answers as `system` does. */
  readonly module: URL;
}

/** Keys whose rules were checked or whose tensors were read, by content. What is forgotten is derived again. */
const KEYS_REMEMBERED = 8;

/**
 * What a verifier that met a fault of its own says is no verdict: it may have run out of memory. A worker then ends, and others try.
 * When the last thread there is meets it as well, it is the proof's doing, and every node meets it: the proof is refused.
 */
export type OnFault = 'end' | 'refuse';

export function createZkProofSystem(onFault: OnFault): ZkProofSystem {
  const verifier = createZkVerifier();
  const kernels = onceAsked(nodeZkKernels);
  const appraised = remembering(KEYS_REMEMBERED, appraiseKey);
  const shapesOf = remembering(KEYS_REMEMBERED, (verifyingKey) =>
    publicTensorShapes(parseVerifyingKey(verifyingKey)),
  );
  return {
    outlineKey,
    appraiseKey: appraised,
    checkTensors: (verifyingKey, { inputs, outputs, batchSize }) => {
      const shapes = shapesOf(verifyingKey);
      return (
        misfit('input', shapes.inputs, inputs, batchSize) ??
        misfit('output', shapes.outputs, outputs, batchSize)
      );
    },
    verifyProof: (check) => holds(verifier.verify({ ...check, kernels: kernels() }), onFault),
    verifyRegistration: (check) => holds(verifyZkRegistration({ ...check, kernels: kernels() }), onFault),
  };
}

export const ZK_BACKEND: ZkBackend = {
  system: createZkProofSystem('refuse'),
  module: new URL('./zk-worker-module.ts', import.meta.url),
};

export function holds({ ok, checks }: Verdict, onFault: OnFault): boolean {
  const fault = checks.find(({ code }) => code === 'E_INTERNAL');
  if (fault !== undefined && onFault === 'end') throw new Error(`no verdict: ${fault.id} ${fault.got ?? ''}`);
  return ok;
}

function outlineKey(verifyingKey: Uint8Array): ZkKeyOutline | undefined {
  try {
    const key = parseVerifyingKey(verifyingKey);
    return { ops: zkPlanningUnits(key), tensors: key.tensors.length, batchMax: key.maxBatch };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return undefined;
  }
}

function appraiseKey(verifyingKey: Uint8Array): ZkKeyAppraisal {
  try {
    const key = parseVerifyingKey(verifyingKey);
    const { inputs, outputs } = publicTensorShapes(key);
    const isCarried = [inputs, outputs].every(({ length }) => length >= 1 && length <= ZK_TENSORS_MAX);
    if (!isCarried || key.maxBatch < 1 || key.maxBatch > ZK_BATCH_MAX) {
      return {
        ok: false,
        info: `1 to ${ZK_TENSORS_MAX} inputs and outputs, batches of 1 to ${ZK_BATCH_MAX}`,
      };
    }
    return {
      ok: true,
      hash: verifyingKeyHash(verifyingKey),
      facts: factsOf(key, inputs, outputs),
      registrationGas: zkRegistrationGas(key),
    };
  } catch (error) {
    if (error instanceof KeyError || error instanceof MalformedError)
      return { ok: false, info: error.message };
    throw error;
  }
}

/** Every batch size that has a cost of its own is planned, so a key that is refused for one of them is refused. */
function factsOf(
  key: VerifyingKey,
  inputs: readonly TensorShape[],
  outputs: readonly TensorShape[],
): ZkKeyFacts {
  const sizes = Array.from({ length: zkBatchIndex(key.maxBatch) + 1 }, (_, i) =>
    Math.min(2 ** i, key.maxBatch),
  );
  const costs = sizes.map((batchSize) => {
    const program = plan(key, batchSize);
    return { gas: zkProgramGas(program), proofBytes: program.proofBytes };
  });
  return {
    batchMax: key.maxBatch,
    verificationGas: costs.map(({ gas }) => gas),
    proofBytes: costs.map(({ proofBytes }) => proofBytes),
    inputRowBytes: inputs.map(tensorRowBytes),
    outputRowBytes: outputs.map(tensorRowBytes),
  };
}

function misfit(
  name: string,
  shapes: readonly TensorShape[],
  tensors: readonly Uint8Array[],
  batchSize: number,
): string | undefined {
  if (shapes.length !== tensors.length) return `${tensors.length} ${name} tensors`;
  try {
    for (const [i, shape] of shapes.entries()) {
      decodeTensor(shape, tensors[i] as Uint8Array, batchSize, `${name}.${i}`);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return error.message;
  }
}

function onceAsked<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function remembering<T>(max: number, derive: (bytes: Uint8Array) => T): (bytes: Uint8Array) => T {
  const known = new Map<string, T>();
  return (bytes) => {
    const name = toHex(sha256(bytes));
    const found = known.get(name) ?? derive(bytes);
    known.delete(name);
    known.set(name, found);
    for (const oldest of known.keys()) {
      if (known.size <= max) break;
      known.delete(oldest);
    }
    return found;
  };
}
