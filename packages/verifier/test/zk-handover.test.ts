/** The formulas of the leaves against the leaves themselves, written out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlanLookup, PlanTable, Program, Segment } from '@haca/circuit';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  evaluateMultilinear,
  extAdd,
  extFromBase,
  extMul,
  extNeg,
  extScale,
  extSub,
  extVectorOf,
  fromSigned,
  P,
  portableZkKernels,
} from '@haca/primitives/zk';
import fc from 'fast-check';
import { createGate, Rejection } from '../src/zk/checks.ts';
import { handOver } from '../src/zk/handover.ts';
import { createState } from '../src/zk/state.ts';

const residue = fc.nat(P - 1);
const element: fc.Arbitrary<Ext> = fc.tuple(residue, residue, residue, residue, residue);

const treeBits = 6;
const lookup: PlanLookup = {
  name: 'toy',
  table: 0,
  tuple: [{ kind: 'tensor', tensor: 0 }, { kind: 'constant', value: -3 }, { kind: 'mask' }],
  extents: [3, 5],
  axisBits: [2, 3],
  bits: 5,
  numerator: { kind: 'real' },
};
const blocks: PlanLookup = {
  ...lookup,
  tuple: [{ kind: 'tensor', tensor: 1 }, { kind: 'mask' }, { kind: 'constant', value: 0 }],
  extents: [6],
  axisBits: [3],
  bits: 3,
  numerator: { kind: 'blocks', blockBits: 1, blocks: [0, 2] },
};
const column = (values: readonly number[]): Int32Array => Int32Array.from(values);
const table: PlanTable = {
  name: 'toy',
  kind: 'values',
  rows: 4,
  bits: 2,
  columns: [column([-2, 7, 9, 9]), column([1, -1, 0, 0]), column([0, 0, 0, 0])],
  multiplicity: 2,
  rowOf: () => -1,
};
const segments: Segment[] = [
  { kind: 'lookup', index: 0, bits: 5, offset: 0 },
  { kind: 'lookup', index: 1, bits: 3, offset: 32 },
  { kind: 'table', index: 0, bits: 2, offset: 40 },
];

/** All 64 leaves. */
function leaves(cells: readonly Ext[], lambda: Ext, gamma: Ext): { numerators: Ext[]; denominators: Ext[] } {
  const numerators: Ext[] = new Array(64).fill(EXT_ZERO);
  const denominators: Ext[] = new Array(64).fill(EXT_ONE);
  const pole = (tuple: readonly Ext[], id: number): Ext => {
    const square = extMul(lambda, lambda);
    const f = [
      extMul(lambda, tuple[1] as Ext),
      extMul(square, tuple[2] as Ext),
      extScale(extMul(square, lambda), id),
    ];
    return extSub(gamma, f.reduce(extAdd, tuple[0] as Ext));
  };
  for (let i = 0; i < 32; i++) {
    const mask = i >> 3 < 3 && (i & 7) < 5 ? EXT_ONE : EXT_ZERO;
    numerators[i] = mask;
    denominators[i] = pole([cells[i] as Ext, extFromBase(P - 3), mask], 1);
  }
  for (let i = 0; i < 8; i++) {
    const mask = i < 6 ? EXT_ONE : EXT_ZERO;
    numerators[32 + i] = i >> 1 === 0 || i >> 1 === 2 ? EXT_ONE : EXT_ZERO;
    denominators[32 + i] = pole([cells[32 + i] as Ext, mask, EXT_ZERO], 1);
  }
  for (let i = 0; i < 4; i++) {
    numerators[40 + i] = extNeg(cells[40 + i] as Ext);
    denominators[40 + i] = pole(
      table.columns.map((each) => extFromBase(fromSigned(each[i] as number))),
      1,
    );
  }
  return { numerators, denominators };
}

test('ZK-17: the leaves’ numerator and denominator at a point follow from values, masks and tables', () => {
  const challenges = fc.tuple(
    fc.array(element, { minLength: 44, maxLength: 44 }),
    fc.array(element, { minLength: treeBits, maxLength: treeBits }),
    element,
    element,
  );
  fc.assert(
    fc.property(challenges, ([cells, point, lambda, gamma]) => {
      const { numerators, denominators } = leaves(cells, lambda, gamma);
      const at = (values: readonly Ext[], bits: number): Ext =>
        evaluateMultilinear(extVectorOf(values), point.slice(treeBits - bits));
      const sent = [at(cells.slice(0, 32), 5), at(cells.slice(32, 40), 3), at(cells.slice(40, 44), 2)];
      const run = (numerator: Ext, denominator: Ext): void => {
        const gate = createGate();
        const step = {
          kind: 'handover' as const,
          fills: [0, 1, 2].map((slot) => ({ tensor: slot, point: [], slot, from: 'sent' as const })),
          lookupSlots: [
            [0, null, null],
            [1, null, null],
          ],
          tableSlots: [2],
        };
        const program = { treeBits, lookups: [lookup, blocks], tables: [table], segments };
        const context = {
          program: program as unknown as Program,
          reader: { readExts: () => sent, challengeExt: () => EXT_ZERO, challengeExts: () => [] },
          gate,
          state: createState(2, 3),
          publics: { evaluate: () => EXT_ZERO, selection: () => EXT_ZERO },
          place: 'hand-over',
        };
        handOver(context, step, { point, numerator, denominator }, { lambda, gamma }, portableZkKernels);
      };
      const [numerator, denominator] = [at(numerators, treeBits), at(denominators, treeBits)];
      run(numerator, denominator);
      assert.throws(() => run(extAdd(numerator, EXT_ONE), denominator), Rejection);
      assert.throws(() => run(numerator, extAdd(denominator, EXT_ONE)), Rejection);
    }),
    { numRuns: 20 },
  );
});
