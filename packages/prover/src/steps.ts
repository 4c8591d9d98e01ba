/** The steps of a program, executed by the prover in the order in which the verifier executes them. */
import type {
  AggregateStep,
  Claim,
  ContractDefinition,
  ContractStep,
  GatherStep,
  OutputStep,
  PlanTensor,
  Point,
  Program,
  SlotFill,
  Step,
  TieStep,
  WireStep,
} from '@haca/circuit';
import { COORDINATE_ONE, COORDINATE_ZERO } from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO, type Ext, extMul, LABELS } from '@haca/primitives/zk';
import type { CellMask, ProverBackend, Sumcheck, Vector } from './backend.ts';
import { evaluateOperand, evaluateTensor } from './operands.ts';
import type { ProofWriter } from './proof-writer.ts';
import { type AxisPoint, longWeights, pairWeights } from './relation-tables.ts';
import type { TensorStore } from './tensor-store.ts';

export interface ProofState {
  readonly program: Program;
  readonly backend: ProverBackend;
  readonly store: TensorStore;
  readonly writer: ProofWriter;
  readonly coordinates: (Ext | undefined)[];
}

export function createCoordinates(program: Program): (Ext | undefined)[] {
  const coordinates: (Ext | undefined)[] = new Array(program.coordinates);
  coordinates[COORDINATE_ZERO] = EXT_ZERO;
  coordinates[COORDINATE_ONE] = EXT_ONE;
  return coordinates;
}

/** @throws UsageError where the program reads a challenge before it is drawn */
export function pointOf({ coordinates }: ProofState, point: Point): Ext[] {
  return point.map((coordinate) => {
    const value = coordinates[coordinate];
    if (value === undefined) throw new UsageError(`coordinate ${coordinate} is not yet drawn`);
    return value;
  });
}

export function setCoordinates({ coordinates }: ProofState, point: Point, values: readonly Ext[]): void {
  point.forEach((coordinate, i) => {
    coordinates[coordinate] = values[i] as Ext;
  });
}

/** Runs `count` rounds: sends each message under `label` and binds the challenge that answers it. */
export function runRounds(
  { writer }: Pick<ProofState, 'writer'>,
  sumcheck: Pick<Sumcheck, 'round' | 'bind'>,
  label: number,
  count: number,
): Ext[] {
  const point: Ext[] = [];
  for (let round = 0; round < count; round++) {
    writer.sendExts(label, sumcheck.round());
    const challenge = writer.challengeExt(label);
    sumcheck.bind(challenge);
    point.push(challenge);
  }
  return point;
}

/** Values of many tensors, those at one point together. */
export function evaluateFills(state: ProofState, fills: readonly SlotFill[]): Ext[] {
  const { backend, store } = state;
  const values: Ext[] = new Array(fills.length);
  const byPoint = new Map<string, number[]>();
  fills.forEach(({ tensor, point }, i) => {
    const { storage, definition } = store.tensor(tensor);
    const lazy = storage === 'virtual' && (definition.kind === 'wire' || definition.kind === 'sum');
    if (lazy && !store.has(tensor)) {
      values[i] = evaluateTensor(state, tensor, pointOf(state, point));
      return;
    }
    const key = point.join();
    byPoint.set(key, [...(byPoint.get(key) ?? []), i]);
  });
  for (const indices of byPoint.values()) {
    const { point } = fills[indices[0] as number] as SlotFill;
    const vectors = indices.map((i) => store.vector((fills[i] as SlotFill).tensor));
    backend.evaluate(vectors, pointOf(state, point)).forEach((value, k) => {
      values[indices[k] as number] = value;
    });
  }
  return values;
}

/** Sends what is to be sent of `fills` as one message, or none. */
export function sendFills(state: ProofState, fills: readonly SlotFill[], label: number): void {
  const sent = fills.filter(({ from }) => from === 'sent');
  if (sent.length > 0) state.writer.sendExts(label, evaluateFills(state, sent));
}

/** Executes one step after the hand-over. */
export function proveStep(state: ProofState, step: Step): void {
  switch (step.kind) {
    case 'handover':
      throw new UsageError('a second hand-over');
    case 'sum':
      sendFills(state, step.fills, LABELS.OP_VALUES);
      break;
    case 'aggregate':
      proveAggregate(state, step);
      break;
    case 'contract':
      proveContract(state, step);
      break;
    case 'wire':
      proveWire(state, step);
      break;
    case 'gather':
      proveGather(state, step);
      break;
    case 'tie':
      proveTie(state, step);
      break;
    case 'output':
      proveOutput(state, step);
      break;
    case 'public':
      break;
  }
  state.store.releaseVirtual();
}

export function powersOf(base: Ext, count: number): Ext[] {
  const powers: Ext[] = [];
  let power = EXT_ONE;
  for (let i = 0; i < count; i++) {
    powers.push(power);
    power = extMul(power, base);
  }
  return powers;
}

function proveAggregate(state: ProofState, step: AggregateStep): void {
  const { backend, store, writer } = state;
  const powers = powersOf(writer.challengeExt(LABELS.AGGREGATE), step.claims.length);
  const weights = backend.combineEqs(
    step.claims.map(({ point }, j) => ({ point: pointOf(state, point), weight: powers[j] as Ext })),
  );
  const a = store.vector(step.tensor);
  const sumcheck = backend.productSumcheck({ eqPoint: [], format: 'SC2', a, c: weights, mask: null });
  setCoordinates(state, step.rounds, runRounds(state, sumcheck, LABELS.OP_ROUND, step.rounds.length));
  writer.sendExts(LABELS.OP_VALUES, [sumcheck.finals()[0] as Ext]);
  sumcheck.release();
}

/** Coordinates of a claim, axis by axis. */
function axisPoints(state: ProofState, { tensor, point }: Claim): Ext[][] {
  let at = 0;
  return state.store.tensor(tensor).axisBits.map((bits) => {
    at += bits;
    return pointOf(state, point.slice(at - bits, at));
  });
}

function proveContract(state: ProofState, step: ContractStep): void {
  const { backend, store, writer } = state;
  const definition = definitionOf(store.tensor(step.claim.tensor), 'contract');
  const ofLabel = axisPoints(state, step.claim);
  const isShared = (label: number): boolean =>
    typeof definition.c === 'number' &&
    definition.labelsA.includes(label) &&
    definition.labelsC.includes(label);
  const staying = [
    ...ofLabel.flatMap((_, label) => (isShared(label) ? [label] : [])),
    ...step.contracted.map(({ label }) => label),
  ];
  const operand = (tensor: number, labels: readonly number[]): Vector => {
    const points = labels.map(
      (label): AxisPoint => (staying.includes(label) ? null : (ofLabel[label] as Ext[])),
    );
    const order = staying.map((label) => labels.indexOf(label));
    return evaluateOperand(state, tensor, points, order).vector;
  };
  const a = operand(definition.a, definition.labelsA);
  const c = secondFactor(state, step, definition, operand);
  const sumcheck = backend.productSumcheck({
    eqPoint: pointOf(state, step.eqPoint),
    format: step.format,
    a,
    c,
    mask: contractedMask(step),
  });
  const { eqRounds } = step;
  const rounds = [...eqRounds, ...step.contracted.flatMap((label) => label.rounds)];
  setCoordinates(state, rounds, runRounds(state, sumcheck, LABELS.OP_ROUND, rounds.length));
  const finals = sumcheck.finals();
  const sent = [step.a, step.c].flatMap((fill, i) => (fill?.from === 'sent' ? [finals[i] as Ext] : []));
  if (sent.length > 0) writer.sendExts(LABELS.OP_VALUES, sent);
  sumcheck.release();
  // A tensor of integers is the store's; the list of an index was made here.
  if (c?.field === 'base' && typeof definition.c !== 'number') backend.release(c);
}

function secondFactor(
  { backend }: ProofState,
  step: ContractStep,
  definition: ContractDefinition,
  operand: (tensor: number, labels: readonly number[]) => Vector,
): Vector | null {
  if (typeof definition.c === 'number') return operand(definition.c, definition.labelsC);
  if (definition.c === 'ones') return null;
  const total = step.contracted.reduce((sum, { bits }) => sum + bits, 0);
  let below = total;
  for (const { label, bits } of step.contracted) {
    below -= bits;
    if (label !== definition.indexLabel) continue;
    const shift = below;
    return backend.upload(Int32Array.from({ length: 2 ** total }, (_, i) => (i >>> shift) % 2 ** bits));
  }
  throw new UsageError('an index along no contracted label');
}

/** The mask of the contracted labels that have one, over all rounds; null where none has. */
function contractedMask({ eqRounds, contracted }: ContractStep): CellMask | null {
  if (contracted.every(({ masked }) => !masked)) return null;
  return {
    extents: [2 ** eqRounds.length, ...contracted.map(({ extent }) => extent)],
    axisBits: [eqRounds.length, ...contracted.map(({ bits }) => bits)],
  };
}

function definitionOf<K extends PlanTensor['definition']['kind']>(
  tensor: PlanTensor,
  kind: K,
): Extract<PlanTensor['definition'], { readonly kind: K }> {
  if (tensor.definition.kind !== kind) throw new UsageError(`${tensor.name} is no ${kind}`);
  return tensor.definition as Extract<PlanTensor['definition'], { readonly kind: K }>;
}

function proveWire(state: ProofState, step: WireStep): void {
  const { backend, store, writer } = state;
  const definition = definitionOf(store.tensor(step.claim.tensor), 'wire');
  const onY = axisPoints(state, step.claim);
  const x = store.tensor(definition.x);
  const summed = step.summed.map(({ axis }) => axis);
  const points: AxisPoint[] = x.axisBits.map(() => null);
  const tables: { readonly vector: Vector; readonly axes: number[] }[] = [];
  for (const relation of definition.relations) {
    if (relation.kind === 'same') {
      points[relation.x] = onY[relation.y] as Ext[];
      continue;
    }
    const merged = relation.kind === 'merge';
    const { long, position, tap } = relation;
    const table = merged
      ? pairWeights(relation, onY[long.axis] as Ext[])
      : longWeights(
          relation,
          onY[position.axis] as Ext[],
          tap.side === 'summed' ? null : (onY[tap.axis] as Ext[]),
        );
    const axes = merged ? [position.axis, tap.axis] : [long.axis];
    tables.push({
      vector: backend.uploadExtension(table),
      axes: axes.map((axis) => summed.indexOf(axis)),
    });
  }
  const a = evaluateOperand(state, definition.x, points, summed).vector;
  const c = backend.outerProduct(
    summed.map((axis) => x.axisBits[axis] as number),
    tables,
  );
  for (const { vector } of tables) backend.release(vector);
  const sumcheck = backend.productSumcheck({ eqPoint: [], format: 'SC2', a, c, mask: null });
  const rounds = step.summed.flatMap((each) => each.rounds);
  setCoordinates(state, rounds, runRounds(state, sumcheck, LABELS.OP_ROUND, rounds.length));
  if (step.x.from === 'sent') writer.sendExts(LABELS.OP_VALUES, [sumcheck.finals()[0] as Ext]);
  sumcheck.release();
}

function proveGather(state: ProofState, step: GatherStep): void {
  const { backend, store, writer } = state;
  const definition = definitionOf(store.tensor(step.claim.tensor), 'gather');
  const table = store.tensor(definition.table);
  const ids = store.tensor(definition.ids);
  const idAxes = ids.axisBits.length;
  const onY = axisPoints(state, step.claim);
  const points = table.axisBits.map(
    (_, axis): AxisPoint => (axis === 0 ? null : (onY[idAxes + axis - 1] as Ext[])),
  );
  const a = evaluateOperand(state, definition.table, points, [0]).vector;
  const c = backend.scatterEq({
    ids: store.vector(definition.ids),
    mask: { extents: ids.extents, axisBits: ids.axisBits },
    point: pointOf(state, step.idPoint),
    rowBits: table.axisBits[0] as number,
  });
  const sumcheck = backend.productSumcheck({ eqPoint: [], format: 'SC2', a, c, mask: null });
  setCoordinates(state, step.rounds, runRounds(state, sumcheck, LABELS.OP_ROUND, step.rounds.length));
  if (step.table.from === 'sent') writer.sendExts(LABELS.OP_VALUES, [sumcheck.finals()[0] as Ext]);
  sumcheck.release();
}

function drawFresh(state: ProofState, fresh: Point): Ext[] {
  const values = fresh.length === 0 ? [] : state.writer.challengeExts(LABELS.OBLIGATION, fresh.length);
  setCoordinates(state, fresh, values);
  return values;
}

function proveTie(state: ProofState, step: TieStep): void {
  drawFresh(state, step.fresh);
  if (!('maskExtents' in step.side)) sendFills(state, [step.side], LABELS.OBLIGATION);
}

function proveOutput(state: ProofState, step: OutputStep): void {
  const { backend, store, writer } = state;
  const eqPoint = drawFresh(state, step.fresh);
  const { extents, axisBits } = store.tensor(step.out.tensor);
  const sumcheck = backend.productSumcheck({
    eqPoint,
    format: 'SC2',
    a: store.vector(step.out.tensor),
    c: null,
    mask: { extents, axisBits },
  });
  setCoordinates(state, step.rounds, runRounds(state, sumcheck, LABELS.OP_ROUND, step.rounds.length));
  writer.sendExts(LABELS.OBLIGATION, [sumcheck.finals()[0] as Ext]);
  sumcheck.release();
}
