/**
 * Follows every claim of a program from where it arises to where it ends, from the definitions of the tensors alone. What
 * this finds missing is a claim that nobody checks.
 */
import assert from 'node:assert/strict';
import type {
  AggregateStep,
  Claim,
  ContractDefinition,
  ContractStep,
  GatherStep,
  HandoverStep,
  OutputStep,
  PlanTensor,
  Point,
  Program,
  SlotFill,
  Step,
  SumStep,
  TieStep,
  WireStep,
} from '@haca/circuit';
import { FIRST_CHALLENGE } from '@haca/circuit';

interface Ledger {
  readonly program: Program;
  /** Claims that arose and were not used yet. */
  readonly open: Claim[];
  /** Of which tensor at which point each slot is the value. */
  readonly meaning: Map<number, { readonly tensor: number; readonly point: Point } | 'mask'>;
  readonly coordinates: Set<number>;
}

/** Throws an AssertionError where a claim is lost, made up, used twice or about another point. */
export function assertClosed(program: Program): void {
  const ledger: Ledger = { program, open: [], meaning: new Map(), coordinates: new Set([0, 1]) };
  fresh(
    ledger,
    Array.from({ length: program.treeBits }, (_, i) => FIRST_CHALLENGE + i),
  );
  assert.equal(program.steps[0]?.kind, 'handover');
  for (const [index, step] of program.steps.entries()) {
    assert.equal(step.kind === 'handover', index === 0);
    follow(ledger, step);
  }
  assert.deepEqual(
    ledger.open,
    program.openings,
    'what is left are the openings, in the order in which they arose',
  );
  for (const { tensor } of program.openings) assert.match(tensorOf(ledger, tensor).storage, /weight|witness/);
  assert.equal(ledger.meaning.size, program.slots);
  assert.equal(ledger.coordinates.size, program.coordinates);
  assertOutputs(program);
}

/** Every public output is evaluated somewhere, or equals a virtual tensor by a step of its own. */
function assertOutputs(program: Program): void {
  const published = program.steps.flatMap((step) => (step.kind === 'output' ? [step.tensor] : []));
  assert.equal(new Set(published).size, published.length);
  const evaluated = new Set(
    program.steps.flatMap((step): number[] => {
      if (step.kind === 'public') return [step.claim.tensor];
      if (step.kind !== 'handover' && step.kind !== 'sum') return [];
      return step.fills.flatMap(({ from, tensor }) => (from === 'public' ? [tensor] : []));
    }),
  );
  for (const { tensor } of program.outputs) {
    const { definition } = program.tensors[tensor] as PlanTensor;
    assert.equal(published.includes(tensor), definition.kind === 'published', `output ${tensor}`);
    assert.ok(evaluated.has(tensor) || definition.kind === 'published', `output ${tensor} is bound`);
  }
}

const tensorOf = ({ program }: Ledger, id: number): PlanTensor => program.tensors[id] as PlanTensor;

function fresh(ledger: Ledger, point: Point): void {
  for (const coordinate of point) {
    assert.ok(!ledger.coordinates.has(coordinate), `coordinate ${coordinate} is fresh`);
    ledger.coordinates.add(coordinate);
  }
}

function arise(ledger: Ledger, claim: Claim): void {
  assert.equal(claim.point.length, tensorOf(ledger, claim.tensor).bits);
  ledger.open.push({ tensor: claim.tensor, point: claim.point, slot: claim.slot });
}

function use(ledger: Ledger, claim: Claim): void {
  const wanted = JSON.stringify({ tensor: claim.tensor, point: claim.point, slot: claim.slot });
  const at = ledger.open.findIndex((each) => JSON.stringify(each) === wanted);
  assert.ok(at >= 0, `a claim on ${tensorOf(ledger, claim.tensor).name} that nobody made`);
  ledger.open.splice(at, 1);
}

function define(ledger: Ledger, slot: number, tensor: number, point: Point): void {
  assert.ok(!ledger.meaning.has(slot), `slot ${slot} is new`);
  for (const coordinate of point)
    assert.ok(ledger.coordinates.has(coordinate), 'a coordinate that was drawn');
  ledger.meaning.set(slot, { tensor, point });
}

function filled(ledger: Ledger, fill: SlotFill, tensor: number, point: Point): void {
  assert.equal(fill.tensor, tensor);
  assert.deepEqual(fill.point, point);
  if (fill.from === 'known') {
    assert.deepEqual(ledger.meaning.get(fill.slot), { tensor, point });
    return;
  }
  define(ledger, fill.slot, tensor, point);
  assert.equal(fill.from === 'public', tensorOf(ledger, tensor).storage === 'public');
  if (fill.from === 'sent') arise(ledger, fill);
}

function follow(ledger: Ledger, step: Step): void {
  if (step.kind === 'handover') followHandover(ledger, step);
  else if (step.kind === 'sum') followSum(ledger, step);
  else if (step.kind === 'aggregate') followAggregate(ledger, step);
  else if (step.kind === 'contract') followContract(ledger, step);
  else if (step.kind === 'wire') followWire(ledger, step);
  else if (step.kind === 'gather') followGather(ledger, step);
  else if (step.kind === 'tie') followTie(ledger, step);
  else if (step.kind === 'output') followOutput(ledger, step);
  else {
    assert.equal(tensorOf(ledger, step.claim.tensor).storage, 'public');
    use(ledger, step.claim);
  }
}

function followHandover(ledger: Ledger, step: HandoverStep): void {
  const { lookups, tables, treeBits } = ledger.program;
  for (const fill of step.fills) filled(ledger, fill, fill.tensor, fill.point);
  const tail = (bits: number): Point =>
    Array.from({ length: bits }, (_, i) => FIRST_CHALLENGE + treeBits - bits + i);
  for (const [index, { tuple, bits }] of lookups.entries())
    for (const [coordinate, entry] of tuple.entries()) {
      const slot: number | null = step.lookupSlots[index]?.[coordinate] ?? null;
      if (entry.kind !== 'tensor') assert.equal(slot, null);
      else assert.deepEqual(ledger.meaning.get(slot ?? -1), { tensor: entry.tensor, point: tail(bits) });
    }
  for (const [index, { multiplicity, bits }] of tables.entries())
    assert.deepEqual(ledger.meaning.get(step.tableSlots[index] as number), {
      tensor: multiplicity,
      point: tail(bits),
    });
}

function followAggregate(ledger: Ledger, step: AggregateStep): void {
  for (const each of step.claims) {
    assert.equal(each.tensor, step.tensor);
    use(ledger, each);
  }
  fresh(ledger, step.rounds);
  assert.equal(step.out.tensor, step.tensor);
  assert.deepEqual(step.out.point, step.rounds);
  define(ledger, step.out.slot, step.tensor, step.rounds);
  arise(ledger, step.out);
}

function followTie(ledger: Ledger, step: TieStep): void {
  fresh(ledger, step.fresh);
  assert.deepEqual(step.claim.point, step.fresh);
  assert.equal(step.claim.slot, step.side.slot);
  if ('maskExtents' in step.side) {
    assert.deepEqual(step.side.maskExtents, tensorOf(ledger, step.claim.tensor).extents);
    ledger.meaning.set(step.side.slot, 'mask');
  } else filled(ledger, step.side, step.side.tensor, step.fresh);
  arise(ledger, step.claim);
}

function followOutput(ledger: Ledger, step: OutputStep): void {
  fresh(ledger, step.fresh);
  fresh(ledger, step.rounds);
  const { definition } = tensorOf(ledger, step.tensor);
  assert.deepEqual(definition, { kind: 'published', source: step.out.tensor });
  assert.deepEqual(step.out.point, step.rounds);
  define(ledger, step.out.slot, step.out.tensor, step.rounds);
  arise(ledger, step.out);
}

function followSum(ledger: Ledger, step: SumStep): void {
  use(ledger, step.claim);
  const { definition } = tensorOf(ledger, step.claim.tensor);
  assert.equal(definition.kind, 'sum');
  if (definition.kind !== 'sum') return;
  for (const fill of step.fills) filled(ledger, fill, fill.tensor, fill.point);
  assert.equal(step.slots.length, definition.terms.length);
  for (const [i, { tensor, bits, coefficient }] of definition.terms.entries()) {
    const point = bits.map((bit) => (bit < 2 ? bit : (step.claim.point[bit - 2] as number)));
    const slot = step.slots[i] as number;
    assert.notEqual(coefficient, 0);
    if (i === definition.terms.length - 1 && step.solvesLast) {
      define(ledger, slot, tensor, point);
      arise(ledger, { tensor, point, slot });
    } else assert.deepEqual(ledger.meaning.get(slot), { tensor, point });
  }
}

function axes(point: Point, bits: readonly number[]): Point[] {
  let at = 0;
  return bits.map((count) => {
    at += count;
    return point.slice(at - count, at);
  });
}

function followContract(ledger: Ledger, step: ContractStep): void {
  use(ledger, step.claim);
  const y = tensorOf(ledger, step.claim.tensor);
  assert.equal(y.definition.kind, 'contract');
  const definition = y.definition as ContractDefinition;
  const ofLabel = axes(step.claim.point, y.axisBits);
  const isShared = (label: number): boolean =>
    typeof definition.c === 'number' &&
    definition.labelsA.includes(label) &&
    definition.labelsC.includes(label);
  const shared = ofLabel.flatMap((_, label) => (isShared(label) ? [label] : []));
  assert.deepEqual(
    step.eqPoint,
    shared.flatMap((label) => ofLabel[label] as Point),
  );
  fresh(ledger, step.eqRounds);
  let at = 0;
  for (const label of shared) {
    const count = (ofLabel[label] as Point).length;
    ofLabel[label] = step.eqRounds.slice(at, at + count);
    at += count;
  }
  assert.equal(at, step.eqRounds.length);
  assert.deepEqual(
    step.contracted.map(({ label, extent }) => [label, extent]),
    definition.extents.flatMap((extent, label) => (label < y.extents.length ? [] : [[label, extent]])),
  );
  for (const { extent, masked, rounds } of step.contracted) {
    fresh(ledger, rounds);
    assert.equal(masked, extent !== 2 ** rounds.length, 'an axis that is no power of two has its mask');
    assert.ok(extent <= 2 ** rounds.length);
    ofLabel.push(rounds);
  }
  const degree =
    1 + (definition.c === 'ones' ? 0 : 1) + (step.contracted.some(({ masked }) => masked) ? 1 : 0);
  assert.ok(degree <= (step.format === 'SC3' ? 3 : 2));
  filled(
    ledger,
    step.a,
    definition.a,
    definition.labelsA.flatMap((label) => ofLabel[label] as Point),
  );
  if (typeof definition.c === 'number')
    filled(
      ledger,
      step.c as SlotFill,
      definition.c,
      definition.labelsC.flatMap((label) => ofLabel[label] as Point),
    );
  else assert.equal(step.c, null);
}

function followWire(ledger: Ledger, step: WireStep): void {
  use(ledger, step.claim);
  const y = tensorOf(ledger, step.claim.tensor);
  assert.equal(y.definition.kind, 'wire');
  if (y.definition.kind !== 'wire') return;
  const x = tensorOf(ledger, y.definition.x);
  const onY = axes(step.claim.point, y.axisBits);
  const usedX: number[] = [];
  const usedY: number[] = [];
  const point: Point[] = new Array(x.extents.length);
  for (const { axis, rounds } of step.summed) {
    fresh(ledger, rounds);
    point[axis] = rounds;
  }
  for (const relation of y.definition.relations) {
    if (relation.kind === 'same') {
      assert.equal(point[relation.x], undefined);
      point[relation.x] = onY[relation.y] as Point;
      usedX.push(relation.x);
      usedY.push(relation.y);
      continue;
    }
    for (const { side, axis, extent } of [relation.long, relation.position, relation.tap]) {
      if (side === 'summed') continue;
      assert.equal(extent, (side === 'x' ? x : y).extents[axis]);
      (side === 'x' ? usedX : usedY).push(axis);
    }
  }
  const all = (tensor: PlanTensor): number[] => tensor.extents.map((_, axis) => axis);
  assert.deepEqual(
    usedX.sort((a, b) => a - b),
    all(x),
  );
  assert.deepEqual(
    usedY.sort((a, b) => a - b),
    all(y),
  );
  filled(ledger, step.x, x.id, point.flat());
}

function followGather(ledger: Ledger, step: GatherStep): void {
  use(ledger, step.claim);
  const { definition } = tensorOf(ledger, step.claim.tensor);
  assert.equal(definition.kind, 'gather');
  if (definition.kind !== 'gather') return;
  const ids = tensorOf(ledger, definition.ids);
  fresh(ledger, step.rounds);
  assert.deepEqual(step.idPoint, step.claim.point.slice(0, ids.bits));
  filled(ledger, step.table, definition.table, [...step.rounds, ...step.claim.point.slice(ids.bits)]);
}
