/** Lowering of a registration: each weight is looked up with the mask of its real cells, over all its stored cells. */
import { toResidue } from '../integers.ts';
import type { VerifyingKey } from '../key.ts';
import { blocksOf } from '../layout.ts';
import { LIMITS } from '../limits.ts';
import type { PlanLookup, TupleEntry } from '../program.ts';
import { type Builder, type BuiltTensor, bitsOfExtent, createBuilder, overLimit, term } from './builder.ts';
import { checkSpec } from './lower-key.ts';
import { weightsTable } from './tables.ts';

/** Above this many values a weight is split in limbs instead of being looked up whole. */
const VALUES_MAX = 2 ** 12;
type StoredBlocks = Extract<PlanLookup['numerator'], { readonly kind: 'blocks' }>;

const MASK: TupleEntry = { kind: 'mask' };

/** @throws KeyError */
export function lowerWeights(key: VerifyingKey): Builder {
  const builder = createBuilder(1, key.limbBits);
  const weights = key.tensors.flatMap((spec, index) => {
    if (spec.role !== 'weight') return [];
    checkSpec(spec, index);
    const { lo, hi, extents, kind } = spec;
    return [
      builder.add({
        storage: 'weight',
        name: `weight ${index}`,
        extents,
        lo,
        hi,
        definition: { kind: 'given' },
        keyTensor: index,
        keyKind: kind,
      }),
    ];
  });
  let blocks = 0;
  for (const weight of weights) {
    const numerator = storedCells(weight, key.columnBits);
    if (weight.bits >= key.columnBits) blocks += numerator.blocks.length;
    if (blocks > LIMITS.columns) overLimit('columns', LIMITS.columns, blocks);
    if (weight.hi - weight.lo + 1 <= VALUES_MAX) {
      builder.lookup(
        weight.name,
        weightsTable(builder, weight.lo, weight.hi),
        weight,
        [weight.id, MASK],
        numerator,
      );
    } else splitInLimbs(builder, weight, numerator);
  }
  return builder;
}

/** Every cell of a tensor's blocks or part, padded cells included. */
function storedCells(weight: BuiltTensor, columnBits: number): StoredBlocks {
  const blockBits = Math.min(columnBits, weight.bits);
  const blocks = blocksOf(weight, blockBits).flatMap((real, block) => (real ? [block] : []));
  return { kind: 'blocks', blockBits, blocks };
}

/** weight - lo on real cells, 0 elsewhere, in limbs of exact total width; limb 0 is what the others leave. */
function splitInLimbs(builder: Builder, weight: BuiltTensor, numerator: PlanLookup['numerator']): void {
  const { limbBits } = builder;
  const bits = bitsOfExtent(weight.hi - weight.lo + 1);
  const look = (limb: BuiltTensor, width: number): void => {
    builder.lookup(limb.name, weightsTable(builder, 0, 2 ** width - 1), weight, [limb.id, MASK], numerator);
  };
  const upper = [];
  for (let from = limbBits; from < bits; from += limbBits) {
    const width = Math.min(limbBits, bits - from);
    const limb = builder.add({
      storage: 'witness',
      name: `${weight.name} limb ${from / limbBits}`,
      extents: weight.extents,
      lo: 0,
      hi: 2 ** width - 1,
      definition: { kind: 'digit', source: weight.id, add: -weight.lo, from, width },
    });
    look(limb, width);
    upper.push(term(limb, -(2 ** from)));
  }
  const lowest = builder.add({
    storage: 'virtual',
    name: `${weight.name} limb 0`,
    extents: weight.extents,
    lo: 0,
    hi: 2 ** limbBits - 1,
    anyResidue: true,
    degree: 1,
    definition: {
      kind: 'sum',
      constant: 0,
      functions: [{ coefficient: toResidue(-weight.lo), function: { kind: 'mask' } }],
      terms: [...upper, term(weight, 1)],
    },
  });
  look(lowest, Math.min(limbBits, bits));
}
