/**
 * `plan`: from a verifying key and a batch size to the program that prover and verifier execute, or to the reason why
 * the key is refused. Deterministic, bounded by `LIMITS`, the same on both sides.
 */
import { KEY_VERSION, type VerifyingKey } from './key.ts';
import { type Layout, layOut } from './layout.ts';
import { LIMITS } from './limits.ts';
import { type BuiltTensor, bitsOfExtent, overLimit, refuse } from './lowering/builder.ts';
import { type Lowered, lowerKey } from './lowering/lower-key.ts';
import { lowerWeights } from './lowering/lower-weights.ts';
import type { OpeningShape, Placement, PlanLookup, PlanTable, Program } from './program.ts';
import { layOutSegments, type Schedule, schedule } from './schedule.ts';
import { profileParameters, provenBits, type SecurityParameters } from './soundness.ts';
import { verificationWork, type WorkShape } from './work.ts';

export const CAP_BITS = 7;
export const EXT_BYTES = 20;
export const DIGEST_BYTES = 32;
/** Magic, profile, batch size. */
export const PROOF_HEADER_BYTES = 9;

/**
 * @throws KeyError when the key means nothing, is over a limit, or proves less than `LIMITS.securityBits`
 */
export function plan(key: VerifyingKey, batchSize: number): Program {
  return requireSecurity(planWith(key, batchSize, profileParameters(key.profile)));
}

/** @throws KeyError where less is proven than `LIMITS.securityBits` */
export function requireSecurity(program: Program): Program {
  if (program.securityBits < LIMITS.securityBits)
    refuse('security', `${program.securityBits} proven bits, at least ${LIMITS.securityBits} are needed`);
  return program;
}

/** As `plan`, with parameters of one's own and no least security: for tests of the bound itself. */
export function planWith(key: VerifyingKey, batchSize: number, parameters: SecurityParameters): Program {
  checkParameters(key);
  const lowered = lowerKey(key, batchSize);
  return assemble(key, parameters, { purpose: 'inference', batchSize, ...lowered });
}

/**
 * The program of a registration proof: every stored cell of the weights, padded ones included, is an integer of its
 * declared interval, or 0 in the padding. It is about the weights and their cap alone; the ops of the key play no part.
 *
 * @throws KeyError
 */
export function planRegistration(key: VerifyingKey): Program {
  checkParameters(key);
  const program = assemble(key, profileParameters(key.profile), {
    purpose: 'registration',
    batchSize: 1,
    builder: lowerWeights(key),
    inputs: [],
    outputs: [],
    virtualOutputs: [],
  });
  return requireSecurity(program);
}

function assemble(
  key: VerifyingKey,
  parameters: SecurityParameters,
  lowered: Lowered & Pick<Program, 'purpose' | 'batchSize'>,
): Program {
  const { builder } = lowered;
  if (builder.lookups.length === 0) refuse('coverage', 'no op needs a witness: nothing to commit');
  checkLookups(builder.lookups);
  const tables = builder.tables.map((table, index): PlanTable => {
    const multiplicity = builder.add({
      storage: 'witness',
      name: `multiplicities of ${table.name}`,
      extents: [2 ** table.bits],
      lo: 0,
      hi: 0,
      anyResidue: true,
      definition: { kind: 'multiplicity', table: index },
    });
    return { ...table, multiplicity: multiplicity.id };
  });
  const { segments, treeBits } = layOutSegments(builder.lookups, tables);
  const { tensors, lookups, ties } = builder;
  const { virtualOutputs, purpose, batchSize, inputs, outputs } = lowered;
  const scheduled = schedule({ tensors, lookups, ties, virtualOutputs, tables, treeBits });
  const stored = (storage: 'weight' | 'witness'): Layout =>
    layOut(
      tensors.filter((tensor) => tensor.storage === storage),
      key.columnBits,
    );
  const weights = stored('weight');
  const witness = stored('witness');
  if (weights.columns === 0) refuse('coverage', 'no weight');
  const opening = openingShape(key, weights.columns, witness.columns, parameters);
  checkCap(key, opening);
  checkPublic(tensors);
  const proofBytes = proofLength(opening, treeBits, scheduled);
  if (proofBytes > LIMITS.proofBytes) overLimit('proof-bytes', LIMITS.proofBytes, proofBytes);
  return {
    purpose,
    batchSize,
    tensors,
    inputs,
    outputs,
    lookups,
    tables,
    segments,
    treeBits,
    steps: scheduled.steps,
    openings: scheduled.openings,
    slots: scheduled.slots,
    coordinates: scheduled.coordinates,
    opening,
    weightPlacements: weights.placements,
    witnessPlacements: witness.placements,
    proofBytes,
    securityBits: provenBits({ ...opening, treeBits, claims: scheduled.openings.length, ...scheduled }),
    verificationWork: workOf(
      {
        opening,
        treeBits,
        tensors,
        lookups,
        tables,
        proofBytes,
        listEntries: key.lists.reduce((sum, list) => sum + list.length, 0),
        ...scheduled,
      },
      [...weights.placements, ...witness.placements],
    ),
  };
}

function checkParameters(key: VerifyingKey): void {
  if (key.version !== KEY_VERSION) refuse('form', `key version ${key.version}`);
  if (key.limbBits < 8 || key.limbBits > 12)
    refuse('parameters', `limbs of ${key.limbBits} bits; 8 to 12 are allowed`);
  if (key.profile !== 1 && key.profile !== 2) refuse('parameters', `profile ${key.profile}`);
  if (key.maxBatch < 1) refuse('batch', 'a batch has at least one inference');
  const { columnBits, folds, finalBits } = key;
  if (folds.some((fold) => fold < 1) || finalBits < 1)
    refuse('parameters', 'fold layers and the final vector have at least one bit');
  if (folds.reduce((sum, fold) => sum + fold, 0) + finalBits !== columnBits)
    refuse('parameters', `folds [${folds}] and ${finalBits} do not add up to ${columnBits}`);
}

function checkLookups(lookups: readonly PlanLookup[]): void {
  // The pole of a tuple outside its table has the number of its occurrences as residue: below p it can't vanish.
  const count = lookups.reduce((sum, lookup) => sum + lookupCells(lookup), 0);
  if (count >= LIMITS.lookups) overLimit('lookups', LIMITS.lookups, count);
}

function lookupCells({ numerator, extents }: PlanLookup): number {
  if (numerator.kind === 'blocks') return numerator.blocks.length * 2 ** numerator.blockBits;
  return extents.reduce((cells, extent) => cells * extent, 1);
}

function openingShape(
  key: VerifyingKey,
  weightColumns: number,
  witnessColumns: number,
  parameters: SecurityParameters,
): OpeningShape {
  if (key.columnBits + parameters.blowupBits > LIMITS.codewordBits)
    overLimit('codeword', LIMITS.codewordBits, key.columnBits + parameters.blowupBits);
  return {
    columnBits: key.columnBits,
    blowupBits: parameters.blowupBits,
    weightColumns,
    witnessColumns,
    selectorBits: Math.max(1, bitsOfExtent(weightColumns + witnessColumns)),
    folds: key.folds,
    finalBits: key.finalBits,
    queries: parameters.queries,
    grindingBits: parameters.grindingBits,
    capBits: CAP_BITS,
  };
}

/** Digests in the cap of a tree with 2^depth leaves. */
export const capDigests = (depth: number): number => 2 ** Math.min(CAP_BITS, depth);

function checkCap(key: VerifyingKey, opening: OpeningShape): void {
  const expected = DIGEST_BYTES * capDigests(opening.columnBits + opening.blowupBits);
  if (key.weightCap.length !== expected)
    refuse('weight-cap', `${key.weightCap.length} bytes, expected ${expected}`);
}

function checkPublic(tensors: readonly BuiltTensor[]): void {
  const cells = tensors.reduce((sum, { storage, bits }) => sum + (storage === 'public' ? 2 ** bits : 0), 0);
  if (cells > LIMITS.publicCells) overLimit('public-cells', LIMITS.publicCells, cells);
}

/** Depth of the tree of fold layer l: its leaves hold 2^folds[l] values each. */
export function foldDepths(opening: OpeningShape): number[] {
  let depth = opening.columnBits + opening.blowupBits;
  return opening.folds.map((fold) => {
    depth -= fold;
    return depth;
  });
}

const pathDigests = (depth: number): number => Math.max(0, depth - CAP_BITS);

function proofLength(opening: OpeningShape, treeBits: number, scheduled: Schedule): number {
  const depth = opening.columnBits + opening.blowupBits;
  const columns = opening.weightColumns + opening.witnessColumns;
  const depths = foldDepths(opening);
  const tree = 4 + (((treeBits - 1) * treeBits) / 2) * 2 + 4 * (treeBits - 1);
  const folded = opening.columnBits - opening.finalBits;
  const elements =
    tree + scheduled.sentElements + 2 * opening.columnBits + columns + 2 * folded + 2 ** opening.finalBits;
  const caps = capDigests(depth) + depths.reduce((sum, each) => sum + capDigests(each), 0);
  const perQuery =
    4 * columns +
    DIGEST_BYTES * 2 * pathDigests(depth) +
    opening.folds.reduce(
      (sum, fold, l) => sum + EXT_BYTES * (2 ** fold - 1) + DIGEST_BYTES * pathDigests(depths[l] as number),
      0,
    );
  return PROOF_HEADER_BYTES + EXT_BYTES * elements + DIGEST_BYTES * caps + 8 + opening.queries * perQuery;
}

function workOf(
  shape: Omit<WorkShape, 'placements' | 'pathDigests'>,
  placements: readonly Placement[],
): number {
  const { opening } = shape;
  const row = pathDigests(opening.columnBits + opening.blowupBits);
  const folds = foldDepths(opening).reduce((sum, depth) => sum + pathDigests(depth), 0);
  return Math.ceil(verificationWork({ ...shape, placements, pathDigests: { row, folds } }));
}

/**
 * Every predicate a key must meet before the chain registers it: its form and meaning at every batch size that matters
 * (powers of two and the largest). The weights' own intervals are the registration proof's. @throws KeyError
 */
export function validateVerifyingKey(key: VerifyingKey): void {
  for (let batchSize = 1; batchSize < key.maxBatch; batchSize *= 2) plan(key, batchSize);
  plan(key, Math.max(1, key.maxBatch));
}

/** One unit of the chain's verification gas is about 27 multiplications of field elements (0.67 µs). */
const WORK_PER_GAS = 27;

export function zkVerificationGas(key: VerifyingKey, batchSize: number): number {
  return zkProgramGas(plan(key, batchSize));
}

/** The same where the program is there already. */
export function zkProgramGas({ verificationWork }: Program): number {
  return Math.ceil(verificationWork / WORK_PER_GAS);
}

const TERMS_OF_ONE_UNIT = 2;
const SOFTMAX_UNITS = 6;

/**
 * What planning a key once takes, in ops as they commonly are: each term of a sum beyond the second is as much work as an op
 * of its own (up to four claims pass through it), and a softmax becomes some thirty tensors.
 */
export function zkPlanningUnits({ ops }: Pick<VerifyingKey, 'ops'>): number {
  return ops.reduce((units, op) => {
    if (op.kind === 'softmax') return units + SOFTMAX_UNITS;
    return units + 1 + (op.kind === 'sum' ? Math.max(0, op.terms.length - TERMS_OF_ONE_UNIT) : 0);
  }, 0);
}

/** What verifying the registration proof of a key costs, planning it included. @throws KeyError */
export function zkRegistrationGas(key: VerifyingKey): number {
  return Math.ceil(planRegistration(key).verificationWork / WORK_PER_GAS);
}
