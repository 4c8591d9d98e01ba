import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blocksOf, LIMITS, type PlanTensor } from '@haca/circuit';
import fc from 'fast-check';
import { layOut } from '../src/layout.ts';
import { bitsOfExtent, createBuilder } from '../src/lowering/builder.ts';
import { layOutSegments } from '../src/schedule.ts';
import { range } from './support.ts';

const shapes = fc.array(fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 3 }), {
  minLength: 1,
  maxLength: 8,
});

function tensorsOf(extents: readonly (readonly number[])[]): readonly PlanTensor[] {
  const builder = createBuilder(1, 8);
  for (const each of extents)
    builder.add({
      storage: 'witness',
      name: '',
      extents: each,
      lo: 0,
      hi: 0,
      definition: { kind: 'given' },
    });
  return builder.tensors;
}

function isReal({ extents, axisBits }: PlanTensor, cell: number): boolean {
  let rest = cell;
  for (let axis = extents.length - 1; axis >= 0; axis--) {
    const size = 2 ** (axisBits[axis] as number);
    if (rest % size >= (extents[axis] as number)) return false;
    rest = Math.floor(rest / size);
  }
  return true;
}

test('every real cell has one place, no place has two cells, and no column is empty', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 4, max: 7 }), (extents, columnBits) => {
      const tensors = tensorsOf(extents);
      const { placements, columns } = layOut(tensors, columnBits);
      const size = 2 ** columnBits;
      const taken = new Map<number, number>();
      const enter = (place: number, tensor: number): void => {
        assert.ok(!taken.has(place), `place ${place} is taken twice`);
        assert.ok(place < columns * size);
        taken.set(place, tensor);
      };
      for (const [i, tensor] of tensors.entries()) {
        const placement = placements[i];
        assert.equal(placement?.tensor, tensor.id);
        for (let cell = 0; cell < 2 ** tensor.bits; cell++) {
          if (placement.at.kind === 'part') {
            assert.equal(placement.at.offset % 2 ** tensor.bits, 0);
            enter(placement.at.column * size + placement.at.offset + cell, tensor.id);
            continue;
          }
          const column = placement.at.columns[Math.floor(cell / size)];
          if (column === null) assert.ok(!isReal(tensor, cell), `a real cell in a void block`);
          else enter((column as number) * size + (cell % size), tensor.id);
        }
      }
      for (let column = 0; column < columns; column++)
        assert.ok(range(size).some((row) => taken.has(column * size + row)));
    }),
  );
});

test('blocks are void exactly where they hold no real cell', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 0, max: 5 }), (extents, columnBits) => {
      for (const tensor of tensorsOf(extents)) {
        if (tensor.bits < columnBits) continue;
        const size = 2 ** columnBits;
        for (const [block, real] of blocksOf(tensor, columnBits).entries())
          assert.equal(
            real,
            range(size, block * size).some((cell) => isReal(tensor, cell)),
          );
      }
    }),
  );
});

test('segments lie back to back in a tree that is the least that holds them', () => {
  const bits = fc.array(fc.record({ bits: fc.integer({ min: 0, max: 9 }) }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(bits, bits, (lookups, tables) => {
      const { segments, treeBits } = layOutSegments(lookups, tables);
      assert.deepEqual(
        segments.map(({ kind, index }) => `${kind}${index}`),
        [...lookups.map((_, i) => `lookup${i}`), ...tables.map((_, i) => `table${i}`)],
      );
      const inOrder = [...segments].sort((a, b) => a.offset - b.offset);
      let end = 0;
      for (const segment of inOrder) {
        assert.equal(segment.offset, end);
        assert.equal(segment.offset % 2 ** segment.bits, 0);
        end += 2 ** segment.bits;
      }
      assert.ok(2 ** treeBits >= end && treeBits >= 1 && (treeBits === 1 || 2 ** (treeBits - 1) < end));
    }),
  );
});

test('bits of an extent', () => {
  for (const [extent, bits] of [
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 2],
    [5, 3],
    [LIMITS.extent, 24],
    [LIMITS.extent - 1, 24],
  ] as const)
    assert.equal(bitsOfExtent(extent), bits);
});
