/**
 * Measures one network in a process of its own, so that its memory is its own: `node measure-network.ts NUMBER`. Prints
 * one JSON object. Every proof that is timed is verified, by both verifiers.
 */
import {
  chooseOpening,
  encodeTensor,
  encodeVerifyingKey,
  plan,
  publicTensorShapes,
  type TensorShape,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { nodeZkKernels } from '@haca/platform';
import { portableZkKernels, type ZkKernels } from '@haca/primitives/zk';
import {
  commitWeights,
  type ProverBackend,
  prove,
  referenceBackend,
  type WasmBackend,
  wasmBackend,
} from '@haca/prover';
import { assign, createIntegerModel, type IntegerModel, runModel } from '@haca/runtime';
import { createZkVerifier } from '@haca/verifier';
import { median } from './median.ts';
import { NETWORKS } from './networks.ts';

const RUNS = 5;
const VERIFICATIONS = 30;

export interface NetworkFigures {
  readonly weights: number;
  readonly runMs: number;
  readonly witnessMs: number;
  readonly commitMs: number;
  readonly referenceProveMs: number | null;
  readonly proveMs: { readonly one: number; readonly two: number };
  readonly verifyMs: { readonly portable: number; readonly wasm: number };
  readonly proofBytes: number;
  readonly securityBits: number;
  readonly treeBits: number;
  readonly columnBits: number;
  readonly peakMiB: number;
}

async function timed<T>(run: () => T | Promise<T>): Promise<readonly [number, T]> {
  const startedAt = performance.now();
  const result = await run();
  return [performance.now() - startedAt, result];
}

async function medianOf(count: number, run: () => unknown): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) samples.push((await timed(run))[0]);
  return median(samples);
}

/** Values over the whole interval, from a small generator. */
function inputRows(shape: TensorShape, rows: number): Uint8Array {
  const cells = shape.extents.reduce((product, extent) => product * extent, rows);
  let state = 1;
  const values = Array.from({ length: cells }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return shape.lo + Math.floor((state / 2 ** 32) * (shape.hi - shape.lo + 1));
  });
  return encodeTensor(shape, values);
}

function statementOf(
  key: VerifyingKey,
  keyBytes: Uint8Array,
  model: IntegerModel,
  batchSize: number,
): ZkStatement {
  const inputs = publicTensorShapes(key).inputs.map((shape) => inputRows(shape, batchSize));
  return {
    chainId: new Uint8Array(32).fill(1),
    claimId: new Uint8Array(32).fill(2),
    nonce: new Uint8Array(32).fill(3),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize,
    inputs,
    outputs: runModel(model, inputs, batchSize),
  };
}

async function opened(threads: number): Promise<WasmBackend> {
  const backend = wasmBackend({ threads });
  await backend.ready;
  return backend;
}

async function measure(number: number): Promise<NetworkFigures> {
  const network = NETWORKS[number];
  if (network === undefined) throw new RangeError(`network ${number} of ${NETWORKS.length}`);
  const { batchSize } = network;
  const { key: draft, weights } = network.make();
  const shaped = chooseOpening(draft, batchSize);
  const single = await opened(1);
  const [commitMs, committed] = await timed(() => commitWeights({ key: shaped, weights, backend: single }));
  const key = { ...shaped, weightCap: committed.cap };
  const keyBytes = encodeVerifyingKey(key);
  const model = createIntegerModel({ key, weights });
  const statement = statementOf(key, keyBytes, model, batchSize);
  const program = plan(key, batchSize);
  const witness = (): void => {
    const assignment = assign(program, model, statement.inputs);
    for (const tensor of program.tensors) if (tensor.storage === 'witness') assignment.values(tensor.id);
  };
  const proveWith = (backend: ProverBackend, own: typeof committed): Promise<Uint8Array> =>
    prove({ keyBytes, model, committed: own, statement, backend });

  await proveWith(single, committed);
  const one = await medianOf(network.proofs, () => proveWith(single, committed));
  const [, proof] = await timed(() => proveWith(single, committed));
  const two = await proveOnTwo(shaped, weights, proveWith, network.proofs, proof);
  const verify = async (kernels: ZkKernels): Promise<number> => {
    const verifier = createZkVerifier();
    const once = (): void => {
      const verdict = verifier.verify({ verifyingKey: keyBytes, statement, proof, kernels });
      if (!verdict.ok)
        throw new Error(
          `a proof was refused: ${JSON.stringify(verdict.checks.filter(({ status }) => status === 'failed'))}`,
        );
    };
    for (let i = 0; i < 5; i++) once();
    return medianOf(VERIFICATIONS, once);
  };
  const portable = await verify(portableZkKernels);
  const wasm = await verify(nodeZkKernels());
  const reference = network.reference ? await proveOnReference(shaped, weights, proveWith, proof) : null;
  return {
    weights: weights.reduce((sum, { length }) => sum + length, 0),
    runMs: await medianOf(RUNS, () => runModel(model, statement.inputs, batchSize)),
    witnessMs: await medianOf(RUNS, witness),
    commitMs,
    referenceProveMs: reference,
    proveMs: { one, two },
    verifyMs: { portable, wasm },
    proofBytes: proof.length,
    securityBits: program.securityBits,
    treeBits: program.treeBits,
    columnBits: program.opening.columnBits,
    peakMiB: process.resourceUsage().maxRSS / 1_024,
  };
}

type Weights = ReturnType<(typeof NETWORKS)[number]['make']>['weights'];
type ProveWith = (
  backend: ProverBackend,
  committed: Awaited<ReturnType<typeof commitWeights>>,
) => Promise<Uint8Array>;

async function proveOnTwo(
  key: VerifyingKey,
  weights: Weights,
  proveWith: ProveWith,
  proofs: number,
  expected: Uint8Array,
): Promise<number> {
  const backend = await opened(2);
  const committed = await commitWeights({ key, weights, backend });
  assertSame(await proveWith(backend, committed), expected, 'two threads');
  return medianOf(proofs, () => proveWith(backend, committed));
}

async function proveOnReference(
  key: VerifyingKey,
  weights: Weights,
  proveWith: ProveWith,
  expected: Uint8Array,
): Promise<number> {
  const backend = referenceBackend();
  const committed = await commitWeights({ key, weights, backend });
  await proveWith(backend, committed);
  const [ms, proof] = await timed(() => proveWith(backend, committed));
  assertSame(proof, expected, 'the reference');
  return ms;
}

function assertSame(proof: Uint8Array, expected: Uint8Array, who: string): void {
  if (Buffer.compare(proof, expected) !== 0) throw new Error(`${who} gives another proof`);
}

process.stdout.write(JSON.stringify(await measure(Number(process.argv[2]))));
