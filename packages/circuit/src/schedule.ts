/**
 * Runs the protocol on symbols: claims at symbolic points travel from the lookups and outputs to the committed tensors,
 * and what is sent, derived or checked on the way becomes the list of steps. Tensors are visited from the last to the
 * first, so that every claim on a tensor is there before it is reduced.
 */

import { isPowerOfTwo } from './integers.ts';
import { LIMITS } from './limits.ts';
import { type BuiltTensor, bitsOfExtent, overLimit, refuse } from './lowering/builder.ts';
import type { Lowered } from './lowering/lower-key.ts';
import {
  type Claim,
  COORDINATE_ONE,
  COORDINATE_ZERO,
  type ContractDefinition,
  type Coordinate,
  FIRST_CHALLENGE,
  type GatherDefinition,
  type PlanLookup,
  type Point,
  type Segment,
  type Slot,
  type SlotFill,
  type Step,
  type SumDefinition,
  type WireDefinition,
} from './program.ts';

export interface Schedule {
  readonly steps: readonly Step[];
  readonly openings: readonly Claim[];
  readonly slots: number;
  readonly coordinates: number;
  /** Field elements sent by all steps, rounds included. */
  readonly sentElements: number;
  /** Σ rounds · degree over all sumchecks of steps, and coordinates of fresh points, for the soundness bound. */
  readonly sumcheckDegrees: number;
  readonly freshCoordinates: number;
  /** Evaluations of public tensors, as cells. */
  readonly publicWork: number;
}

export interface SegmentLayout {
  readonly segments: readonly Segment[];
  readonly treeBits: number;
}

/** Segments by size descending, ties in order, back to back; the tree is the least power of two of at least 2 leaves. */
export function layOutSegments(
  lookups: readonly { readonly bits: number }[],
  tables: readonly { readonly bits: number }[],
): SegmentLayout {
  const all = [
    ...lookups.map(({ bits }, index) => ({ kind: 'lookup' as const, index, bits })),
    ...tables.map(({ bits }, index) => ({ kind: 'table' as const, index, bits })),
  ];
  const offsets: number[] = new Array(all.length);
  let end = 0;
  const order = all
    .map((_, i) => i)
    .sort((a, b) => (all[b] as Segment).bits - (all[a] as Segment).bits || a - b);
  for (const i of order) {
    offsets[i] = end;
    end += 2 ** (all[i] as { bits: number }).bits;
  }
  let treeBits = 1;
  while (2 ** treeBits < end) treeBits++;
  if (treeBits > LIMITS.treeBits) overLimit('tree', LIMITS.treeBits, treeBits);
  return { segments: all.map((each, i) => ({ ...each, offset: offsets[i] as number })), treeBits };
}

/** Everything the scheduling of one program carries along. */
interface Scheduler {
  readonly lowered: Pick<Lowered, 'virtualOutputs'>;
  readonly tensor: (id: number) => BuiltTensor;
  readonly steps: Step[];
  readonly openings: Claim[];
  readonly pending: Map<number, Claim[]>;
  readonly known: Map<string, Slot>;
  slots: number;
  coordinates: number;
  sentElements: number;
  sumcheckDegrees: number;
  freshCoordinates: number;
  publicWork: number;
}

export interface ScheduleInput {
  readonly tensors: readonly BuiltTensor[];
  readonly lookups: readonly PlanLookup[];
  readonly ties: readonly { readonly virtual: number; readonly equals: number | null }[];
  readonly virtualOutputs: Lowered['virtualOutputs'];
  readonly tables: readonly { readonly bits: number; readonly multiplicity: number }[];
  readonly treeBits: number;
}

export function schedule(input: ScheduleInput): Schedule {
  const scheduler: Scheduler = {
    lowered: input,
    tensor: (id) => input.tensors[id] as BuiltTensor,
    steps: [],
    openings: [],
    pending: new Map(),
    known: new Map(),
    slots: 0,
    coordinates: FIRST_CHALLENGE + input.treeBits,
    sentElements: 0,
    sumcheckDegrees: 0,
    freshCoordinates: 0,
    publicWork: 0,
  };
  handOver(scheduler, input);
  const ties = new Map<number, (number | null)[]>();
  for (const { virtual, equals } of input.ties) ties.set(virtual, [...(ties.get(virtual) ?? []), equals]);
  const outputs = new Map(input.virtualOutputs.map(({ virtual, published }) => [virtual, published]));
  for (let id = input.tensors.length - 1; id >= 0; id--) {
    const tensor = input.tensors[id] as BuiltTensor;
    if (tensor.storage !== 'virtual') continue;
    const published = outputs.get(id);
    if (published !== undefined) obligeOutput(scheduler, tensor, published);
    for (const equals of ties.get(id) ?? []) tie(scheduler, tensor, equals);
    reduce(scheduler, tensor);
  }
  const { steps, openings, slots, coordinates, sentElements, sumcheckDegrees, freshCoordinates, publicWork } =
    scheduler;
  return { steps, openings, slots, coordinates, sentElements, sumcheckDegrees, freshCoordinates, publicWork };
}

/** `count` new challenge coordinates. */
function fresh(scheduler: Scheduler, count: number): Point {
  const first = scheduler.coordinates;
  scheduler.coordinates += count;
  return Array.from({ length: count }, (_, i) => first + i);
}

function push(scheduler: Scheduler, step: Step): void {
  if (scheduler.steps.length >= LIMITS.steps) overLimit('steps', LIMITS.steps, scheduler.steps.length + 1);
  scheduler.steps.push(step);
}

const keyOf = (tensor: number, point: Point): string => `${tensor}:${point.join()}`;

/** Lets a claim go where its tensor's storage sends it: to the opening, to the tensor's reduction, or to a comparison. */
function claim(scheduler: Scheduler, made: Claim): void {
  const { storage } = scheduler.tensor(made.tensor);
  if (storage === 'public') {
    countPublic(scheduler, made.tensor);
    push(scheduler, { kind: 'public', claim: made });
    return;
  }
  const list = storage === 'virtual' ? (scheduler.pending.get(made.tensor) ?? []) : scheduler.openings;
  list.push(made);
  if (storage === 'virtual') scheduler.pending.set(made.tensor, list);
  if (list.length > LIMITS.claims) overLimit('claims', LIMITS.claims, list.length);
}

function countPublic(scheduler: Scheduler, tensor: number): void {
  scheduler.publicWork += 2 ** scheduler.tensor(tensor).bits;
  if (scheduler.publicWork > LIMITS.publicWork)
    overLimit('public-work', LIMITS.publicWork, scheduler.publicWork);
}

/** The value of a tensor at a point: known, computed (public), or sent, and then claimed. */
function fill(scheduler: Scheduler, tensor: number, point: Point): SlotFill {
  const name = keyOf(tensor, point);
  const known = scheduler.known.get(name);
  if (known !== undefined) return { tensor, point, slot: known, from: 'known' };
  const slot = scheduler.slots++;
  scheduler.known.set(name, slot);
  if (scheduler.tensor(tensor).storage === 'public') {
    countPublic(scheduler, tensor);
    return { tensor, point, slot, from: 'public' };
  }
  scheduler.sentElements++;
  claim(scheduler, { tensor, point, slot });
  return { tensor, point, slot, from: 'sent' };
}

function handOver(scheduler: Scheduler, input: ScheduleInput): void {
  const tail = (bits: number): Point =>
    Array.from({ length: bits }, (_, i) => FIRST_CHALLENGE + input.treeBits - bits + i);
  const fills: SlotFill[] = [];
  const slotOf = (tensor: number, point: Point): Slot => {
    const filled = fill(scheduler, tensor, point);
    if (filled.from !== 'known') fills.push(filled);
    return filled.slot;
  };
  const lookupSlots = input.lookups.map((lookup) =>
    lookup.tuple.map((entry) => (entry.kind === 'tensor' ? slotOf(entry.tensor, tail(lookup.bits)) : null)),
  );
  const tableSlots = input.tables.map(({ bits, multiplicity }) => slotOf(multiplicity, tail(bits)));
  push(scheduler, { kind: 'handover', fills, lookupSlots, tableSlots });
}

function obligeOutput(scheduler: Scheduler, tensor: BuiltTensor, published: number): void {
  const point = fresh(scheduler, tensor.bits);
  const rounds = fresh(scheduler, tensor.bits);
  const slot = scheduler.slots++;
  scheduler.freshCoordinates += tensor.bits;
  scheduler.sumcheckDegrees += 2 * tensor.bits;
  scheduler.sentElements += 2 * tensor.bits + 1;
  countPublic(scheduler, published);
  const out = { tensor: tensor.id, point: rounds, slot };
  push(scheduler, { kind: 'output', tensor: published, fresh: point, rounds, out });
  scheduler.known.set(keyOf(tensor.id, rounds), slot);
  claim(scheduler, out);
}

function tie(scheduler: Scheduler, tensor: BuiltTensor, equals: number | null): void {
  const point = fresh(scheduler, tensor.bits);
  scheduler.freshCoordinates += tensor.bits;
  const side =
    equals === null
      ? { maskExtents: tensor.extents, slot: scheduler.slots++ }
      : fill(scheduler, equals, point);
  const made = { tensor: tensor.id, point, slot: side.slot };
  push(scheduler, { kind: 'tie', fresh: point, side, claim: made });
  claim(scheduler, made);
}

function reduce(scheduler: Scheduler, tensor: BuiltTensor): void {
  const claims = scheduler.pending.get(tensor.id) ?? [];
  if (claims.length === 0) refuse('coverage', `${tensor.name} is never read`);
  const { definition } = tensor;
  if (definition.kind === 'sum') {
    // Forwarded one by one, claims would double with every layer of sums.
    const few = claims.length <= LIMITS.forwardedClaims ? claims : [aggregate(scheduler, tensor, claims)];
    for (const each of few) reduceSum(scheduler, definition, each);
    return;
  }
  const first = claims[0] as Claim;
  const single =
    claims.length === 1 && !hasZero(tensor, first) ? first : aggregate(scheduler, tensor, claims);
  if (definition.kind === 'contract') reduceContract(scheduler, tensor, definition, single);
  else if (definition.kind === 'wire') reduceWire(scheduler, definition, single, tensor);
  else if (definition.kind === 'gather') reduceGather(scheduler, definition, single);
  else refuse('form', `${tensor.name} is virtual and has no definition`);
}

/**
 * Whether a coordinate that the reduction runs EQ rounds against is the constant 0, which leaves a round's value at 1
 * free: a slice of a product was read. The claim is moved to a fresh point first.
 */
function hasZero({ definition, axisBits }: BuiltTensor, { point }: Claim): boolean {
  if (definition.kind !== 'contract' || !point.includes(COORDINATE_ZERO)) return false;
  const shared = sharedLabels(definition, axisBits.length);
  const ofLabel = axisPoints(point, axisBits);
  return shared.some((label) => ofLabel[label]?.includes(COORDINATE_ZERO));
}

/** Labels of the result along which both operands are tensors: the product is elementwise there. */
function sharedLabels({ c, labelsA, labelsC }: ContractDefinition, results: number): number[] {
  if (typeof c !== 'number') return [];
  return labelsA.filter((label) => label < results && labelsC.includes(label)).sort((a, b) => a - b);
}

function aggregate(scheduler: Scheduler, tensor: BuiltTensor, claims: readonly Claim[]): Claim {
  if (claims.length > LIMITS.aggregatedClaims)
    overLimit('aggregated-claims', LIMITS.aggregatedClaims, claims.length);
  const rounds = fresh(scheduler, tensor.bits);
  const out = { tensor: tensor.id, point: rounds, slot: scheduler.slots++ };
  scheduler.sumcheckDegrees += 2 * tensor.bits;
  scheduler.freshCoordinates += claims.length - 1;
  scheduler.sentElements += 2 * tensor.bits + 1;
  push(scheduler, { kind: 'aggregate', tensor: tensor.id, claims, rounds, out });
  return out;
}

function reduceSum(scheduler: Scheduler, definition: SumDefinition, made: Claim): void {
  const points = definition.terms.map(({ bits }) =>
    bits.map(
      (bit): Coordinate =>
        bit === 0 ? COORDINATE_ZERO : bit === 1 ? COORDINATE_ONE : (made.point[bit - 2] as Coordinate),
    ),
  );
  const fills: SlotFill[] = [];
  const last = definition.terms.length - 1;
  const slots = definition.terms.slice(0, last).map(({ tensor }, i) => {
    const filled = fill(scheduler, tensor, points[i] as Point);
    if (filled.from !== 'known') fills.push(filled);
    return filled.slot;
  });
  const tensor = (definition.terms[last] as SumDefinition['terms'][number]).tensor;
  const point = points[last] as Point;
  const known = scheduler.known.get(keyOf(tensor, point));
  const solvesLast = known === undefined;
  const slot = known ?? scheduler.slots++;
  push(scheduler, { kind: 'sum', claim: made, fills, slots: [...slots, slot], solvesLast });
  if (!solvesLast) return;
  scheduler.known.set(keyOf(tensor, point), slot);
  claim(scheduler, { tensor, point, slot });
}

/** Coordinates of a claim, axis by axis. */
function axisPoints(point: Point, axisBits: readonly number[]): Point[] {
  let at = 0;
  return axisBits.map((bits) => {
    at += bits;
    return point.slice(at - bits, at);
  });
}

function reduceContract(
  scheduler: Scheduler,
  tensor: BuiltTensor,
  definition: ContractDefinition,
  made: Claim,
): void {
  const results = tensor.extents.length;
  const ofLabel: Point[] = axisPoints(made.point, tensor.axisBits);
  const shared = sharedLabels(definition, results);
  const eqPoint = shared.flatMap((label) => ofLabel[label] as Point);
  for (const label of shared) ofLabel[label] = fresh(scheduler, (ofLabel[label] as Point).length);
  const eqRounds = shared.flatMap((label) => ofLabel[label] as Point);
  const contracted = definition.extents.slice(results).map((extent, i) => {
    const bits = bitsOfExtent(extent);
    const rounds = fresh(scheduler, bits);
    ofLabel.push(rounds);
    return { label: results + i, extent, bits, masked: !isPowerOfTwo(extent), rounds };
  });
  const cubic = definition.c !== 'ones' && contracted.some(({ masked }) => masked);
  const inner = contracted.reduce((sum, { bits }) => sum + bits, 0);
  scheduler.sumcheckDegrees += 2 * eqRounds.length + (cubic ? 3 : 2) * inner;
  scheduler.sentElements += 2 * eqRounds.length + (cubic ? 3 : 2) * inner;
  const pointOf = (labels: readonly number[]): Point => labels.flatMap((label) => ofLabel[label] as Point);
  const a = fill(scheduler, definition.a, pointOf(definition.labelsA));
  const c =
    typeof definition.c === 'number' ? fill(scheduler, definition.c, pointOf(definition.labelsC)) : null;
  push(scheduler, {
    kind: 'contract',
    claim: made,
    eqPoint,
    eqRounds,
    contracted,
    format: cubic ? 'SC3' : 'SC2',
    a,
    c,
  });
}

function reduceWire(
  scheduler: Scheduler,
  definition: WireDefinition,
  made: Claim,
  tensor: BuiltTensor,
): void {
  const x = scheduler.tensor(definition.x);
  const ofY = axisPoints(made.point, tensor.axisBits);
  const summed: { readonly axis: number; readonly rounds: Point }[] = [];
  const point = x.axisBits.flatMap((bits, axis) => {
    const same = definition.relations.find((relation) => relation.kind === 'same' && relation.x === axis);
    if (same?.kind === 'same') return ofY[same.y] as Point;
    const rounds = fresh(scheduler, bits);
    summed.push({ axis, rounds });
    return rounds;
  });
  const rounds = summed.reduce((sum, each) => sum + each.rounds.length, 0);
  scheduler.sumcheckDegrees += 2 * rounds;
  scheduler.sentElements += 2 * rounds;
  push(scheduler, { kind: 'wire', claim: made, summed, x: fill(scheduler, definition.x, point) });
}

function reduceGather(scheduler: Scheduler, definition: GatherDefinition, made: Claim): void {
  const ids = scheduler.tensor(definition.ids);
  const table = scheduler.tensor(definition.table);
  const rowBits = table.axisBits[0] as number;
  const rounds = fresh(scheduler, rowBits);
  scheduler.sumcheckDegrees += 2 * rowBits;
  scheduler.sentElements += 2 * rowBits;
  countPublic(scheduler, definition.ids);
  const idPoint = made.point.slice(0, ids.bits);
  const filled = fill(scheduler, definition.table, [...rounds, ...made.point.slice(ids.bits)]);
  push(scheduler, { kind: 'gather', claim: made, idPoint, rounds, table: filled });
}
