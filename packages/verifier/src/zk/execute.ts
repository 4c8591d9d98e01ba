/** The verifier of any program: it knows no op of any key, only the steps that `plan` lists. */
import {
  capDigests,
  FIRST_CHALLENGE,
  PROOF_HEADER_BYTES,
  type Program,
  registrationHeader,
  statementHeader,
  type VerifyingKey,
  type ZkStatement,
} from '@haca/circuit';
import {
  type Ext,
  LABELS,
  portableZkKernels,
  type TranscriptOptions,
  type ZkKernels,
} from '@haca/primitives/zk';
import type { Verdict } from '@haca/protocol';
import { type CheckName, createGate, type Gate, Rejection } from './checks.ts';
import { verifyFractionTree } from './fraction-tree.ts';
import { handOver } from './handover.ts';
import { verifyOpening } from './opening.ts';
import { createProofReader, type ProofReader } from './proof-reader.ts';
import { type PublicTensors, readPublicTensors } from './public-tensors.ts';
import { verifyQueries } from './queries.ts';
import { createState } from './state.ts';
import { handoverOf, verifySteps } from './steps/run.ts';

export interface ExecuteOptions {
  readonly kernels?: ZkKernels;
  /** Called for each absorb and squeeze of the transcript. */
  readonly record?: TranscriptOptions['record'];
  /** Checks that are not made: only for tests that show what a check stops. */
  readonly omit?: ReadonlySet<CheckName>;
}

const MAGIC = [0x48, 0x5a, 0x4b, 0x31];

/**
 * Verifies a proof under a program that the caller derived from `key`; `statement` is null for the program of a
 * registration. Total: whatever the bytes are, the answer is a verdict. The cost is known from the program, and the
 * length of the proof is compared before anything is read.
 */
export function executeVerifier(
  program: Program,
  key: VerifyingKey,
  statement: ZkStatement | null,
  proof: Uint8Array,
  { kernels = portableZkKernels, record, omit }: ExecuteOptions = {},
): Verdict {
  const gate = createGate(omit);
  gate.require('key', true, '');
  gate.close('zk.key');
  try {
    gate.require('length', proof.length === program.proofBytes, `${proof.length}, not ${program.proofBytes}`);
    gate.close('zk.length');
    checkHeader(proof, key.profile, program.batchSize, gate);
    checkStatement(program, statement, gate);
    // Sizes are checked before anything is hashed.
    const publics = readPublicTensors(program, statement ?? NO_TENSORS, gate, kernels);
    gate.close('zk.public');
    const options = record === undefined ? { kernels } : { kernels, record };
    const reader = createProofReader(proof, PROOF_HEADER_BYTES, gate, options);
    if (statement === null) reader.absorb(LABELS.REGISTRATION, registrationHeader(program, key));
    else reader.absorb(LABELS.HDR, statementHeader(program, key.profile, statement));
    verifyMessages(program, key.weightCap, reader, gate, publics, kernels);
    return gate.verdict();
  } catch (error) {
    return gate.verdict(rejectionOf(error));
  }
}

const NO_TENSORS = { inputs: [], outputs: [] };

/** Anything else that is thrown is a fault of this code; it is no reason to accept. */
export function rejectionOf(error: unknown): Rejection {
  if (error instanceof Rejection) return error;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown error';
  return new Rejection('plan', text, 'E_INTERNAL');
}

/** Magic, profile, batch size as four little-endian bytes. */
function checkHeader(proof: Uint8Array, profile: number, batchSize: number, gate: Gate): void {
  const isMagic = MAGIC.every((byte, i) => proof[i] === byte);
  gate.require('magic', isMagic, 'another magic');
  gate.require('profile', proof[4] === profile, `profile ${proof[4]}`);
  const batch = new DataView(proof.buffer, proof.byteOffset, proof.length).getUint32(5, true);
  gate.require('batch', batch === batchSize, `a batch of ${batch}`);
  gate.close('zk.header');
}

function checkStatement(program: Program, statement: ZkStatement | null, gate: Gate): void {
  gate.require('purpose', (statement === null) === (program.purpose === 'registration'), program.purpose);
  if (statement === null) return;
  const { chainId, claimId, nonce, verifyingKeyHash, batchSize } = statement;
  gate.require('batch-statement', batchSize === program.batchSize, `${batchSize}, not ${program.batchSize}`);
  for (const id of [chainId, claimId, nonce, verifyingKeyHash])
    gate.require('ids', id.length === 32, `${id.length} bytes`);
}

/** Everything after the first frame. */
function verifyMessages(
  program: Program,
  weightCap: Uint8Array,
  reader: ProofReader,
  gate: Gate,
  publics: PublicTensors,
  kernels: ZkKernels,
): void {
  const { opening, treeBits } = program;
  reader.absorb(LABELS.WCAP, weightCap);
  const witnessCap = reader.readDigests(LABELS.ZCAP, capDigests(opening.columnBits + opening.blowupBits));
  const [lambda, gamma] = reader.challengeExts(LABELS.LOGUP, 2) as readonly [Ext, Ext];
  const leaf = verifyFractionTree(reader, gate, treeBits);
  gate.close('zk.gkr-root', 'zk.gkr-layer');

  const state = createState(program.coordinates, program.slots);
  const treePoint = leaf.point.map((_, i) => FIRST_CHALLENGE + i);
  state.setCoordinates(treePoint, leaf.point);
  const context = { program, reader, gate, state, publics };
  handOver({ ...context, place: 'hand-over' }, handoverOf(program), leaf, { lambda, gamma }, kernels);
  gate.close('zk.lookup');
  const executed = 1 + verifySteps(context);
  gate.require('plan', executed === program.steps.length, `${executed} of ${program.steps.length} steps`);
  gate.require('plan', state.isComplete(), 'a slot or coordinate that no step wrote');
  gate.close('zk.step', 'zk.output', 'zk.public-evaluation', 'zk.degenerate');

  const folded = verifyOpening(program, reader, gate, state);
  verifyQueries(opening, reader, gate, { weightCap, witnessCap }, folded, kernels);
  gate.close('zk.encoding', 'zk.trailing', 'zk.internal');
}
