/** From a statement and a model to a proof: runs the program that the verifier will run. */
import {
  encodeTensor,
  type HandoverStep,
  type Program,
  parseVerifyingKey,
  plan,
  planRegistration,
  registrationHeader,
  statementHeader,
  type TensorValues,
  unpadTensor,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { bytesEqual, concatBytes, UsageError, utf8Encode } from '@haca/primitives';
import { LABELS, type TranscriptOptions } from '@haca/primitives/zk';
import { assign, type IntegerModel } from '@haca/runtime';
import type { ProverBackend } from './backend.ts';
import type { CommittedWeights } from './commit-weights.ts';
import { proveLookups } from './lookups.ts';
import { proveOpenings } from './openings.ts';
import { createCheckpoint, type ProgressOptions } from './progress.ts';
import { createProofWriter } from './proof-writer.ts';
import { createCoordinates, type ProofState, proveStep } from './steps.ts';
import { type Assignment, columnsOf, createTensorStore } from './tensor-store.ts';

/** The model does not give the outputs that a proof is asked for. */
export class OutputMismatchError extends Error {
  override readonly name = 'OutputMismatchError';
  /** Number of the output, in key order. */
  readonly output: number;

  constructor(output: number) {
    super(`output ${output} is not what the model gives for these inputs`);
    this.output = output;
  }
}

interface ProofRequest extends ProgressOptions {
  readonly program: Program;
  readonly key: VerifyingKey;
  readonly assignment: Assignment;
  /** Committed with the same backend and the program's layout. */
  readonly committed: CommittedWeights;
  readonly backend: ProverBackend;
  /** Called for each frame of the transcript, for tests of the order. */
  readonly record?: TranscriptOptions['record'];
}

export interface AssignmentRequest extends ProofRequest {
  readonly statement: ZkStatement;
}

export interface ProveRequest extends ProgressOptions {
  readonly keyBytes: Uint8Array;
  readonly model: IntegerModel;
  readonly committed: CommittedWeights;
  readonly statement: ZkStatement;
  readonly backend: ProverBackend;
}

/**
 * Proves that the key's network, run on the statement's inputs, gives its outputs. `program.proofBytes` bytes; the same
 * statement always gives the same proof.
 *
 * Memory, in bytes, beside the committed weights: the witness in the width of its integers; codewords of
 * 4 · witnessColumns · 2^(columnBits + blowupBits); the fraction tree, about 80 · 2^treeBits; at the opening
 * 40 · 2^columnBits for each group of claims and 50 · 2^(columnBits + blowupBits) for the first fold. Steps take one at a
 * time 20 bytes a cell of their sumcheck's factors, and 4 a cell of a virtual tensor that has to be built. Tree and
 * codewords of the witness stay until the queries, the tree of fractions goes before the steps.
 *
 * @throws MalformedError, KeyError where the key is none, UsageError where key, weights or statement do not belong
 * together, OutputMismatchError where the outputs are not the model's, the reason of `signal` once it is aborted
 */
export async function prove(request: ProveRequest): Promise<Uint8Array> {
  const { keyBytes, model, committed, statement, backend, ...options } = request;
  const key = parseVerifyingKey(keyBytes);
  if (!bytesEqual(verifyingKeyHash(keyBytes), statement.verifyingKeyHash))
    throw new UsageError('a statement about another verifying key');
  if (!bytesEqual(committed.cap, key.weightCap)) throw new UsageError('weights of another verifying key');
  const checkpoint = createCheckpoint(options);
  await checkpoint('witness', 0);
  const program = plan(key, statement.batchSize);
  const assignment = assign(program, model, statement.inputs);
  checkOutputs(program, assignment, statement);
  await checkpoint('witness', 1);
  return proveAssignment({ program, key, assignment, committed, statement, backend, ...options });
}

/** @throws OutputMismatchError */
function checkOutputs(program: Program, assignment: Assignment, { outputs }: ZkStatement): void {
  program.outputs.forEach(({ tensor, kind, lo, hi }, i) => {
    const planned = program.tensors[tensor] as Program['tensors'][number];
    const cells = unpadTensor(planned, assignment.values(tensor) as TensorValues);
    const bytes = encodeTensor({ kind, lo, hi, extents: planned.extents }, cells);
    if (!bytesEqual(bytes, outputs[i] ?? new Uint8Array(0))) throw new OutputMismatchError(i);
  });
  if (outputs.length !== program.outputs.length) throw new OutputMismatchError(program.outputs.length);
}

/**
 * Proves whatever the assignment says, true or not: every value sent is that of the assignment's tensors, so that a
 * false one is refused at the check that it breaks. For tests of the verifier.
 */
export function proveAssignment(request: AssignmentRequest): Promise<Uint8Array> {
  const { program, key, statement } = request;
  const header = statementHeader(program, key.profile, statement);
  return runProgram(request, LABELS.HDR, header, statement.batchSize);
}

/** The proof that the committed weights are integers of their declared intervals. See `planRegistration`. */
export function proveRegistration(
  request: Omit<ProofRequest, 'program'> & { readonly program?: Program },
): Promise<Uint8Array> {
  const program = request.program ?? planRegistration(request.key);
  const header = registrationHeader(program, request.key);
  return runProgram({ ...request, program }, LABELS.REGISTRATION, header, program.batchSize);
}

async function runProgram(
  request: ProofRequest,
  headerLabel: number,
  header: Uint8Array,
  batchSize: number,
): Promise<Uint8Array> {
  const { program, key, assignment, committed, backend, record } = request;
  if (committed.backend !== backend) throw new UsageError('weights committed by another backend');
  const checkpoint = createCheckpoint(request);
  const writer = createProofWriter(program.proofBytes, record === undefined ? {} : { record });
  writer.write(proofHeader(key.profile, batchSize));
  writer.absorb(headerLabel, header);
  writer.absorb(LABELS.WCAP, key.weightCap);
  const store = createTensorStore(backend, program, assignment, committed.vectors);
  const state: ProofState = { program, backend, store, writer, coordinates: createCoordinates(program) };
  await checkpoint('commit', 0);
  const { columnBits, blowupBits, capBits, witnessColumns } = program.opening;
  const columns = columnsOf(program.witnessPlacements, witnessColumns, columnBits, store.vector);
  const tree = backend.commitColumns({ columns, columnBits, blowupBits, capBits });
  try {
    writer.sendBytes(LABELS.ZCAP, tree.cap);
    await checkpoint('commit', 1);
    const [handover, ...steps] = program.steps;
    await proveLookups(state, handover as HandoverStep, checkpoint);
    for (const [i, step] of steps.entries()) {
      proveStep(state, step);
      await checkpoint('operations', (i + 1) / steps.length);
    }
    await proveOpenings(state, committed, { columns, tree }, checkpoint);
    return writer.finish();
  } finally {
    tree.release();
    store.release();
  }
}

/** "HZK1", profile, batch size. */
function proofHeader(profile: number, batchSize: number): Uint8Array {
  const numbers = new Uint8Array(5);
  numbers[0] = profile;
  new DataView(numbers.buffer).setUint32(1, batchSize, true);
  return concatBytes(utf8Encode('HZK1'), numbers);
}
