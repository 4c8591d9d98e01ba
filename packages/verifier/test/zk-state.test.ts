import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXT_ONE, EXT_ZERO } from '@haca/primitives/zk';
import { Rejection } from '../src/zk/checks.ts';
import { createState } from '../src/zk/state.ts';

const isPlanFault = (error: unknown): boolean => error instanceof Rejection && error.check.code === 'E_PLAN';

test('ZK-19: coordinates and slots are written once, and read only after that', () => {
  const state = createState(4, 2);
  assert.deepEqual(state.pointOf([0, 1]), [EXT_ZERO, EXT_ONE]);
  assert.throws(() => state.pointOf([2]), isPlanFault);
  assert.throws(() => state.slot(0), isPlanFault);
  state.setCoordinates([3, 2], [EXT_ONE, EXT_ZERO]);
  assert.deepEqual(state.pointOf([2, 3]), [EXT_ZERO, EXT_ONE]);
  for (const coordinate of [0, 1, 2, 3, 4])
    assert.throws(() => state.setCoordinates([coordinate], [EXT_ONE]), isPlanFault);
  state.setSlot(1, EXT_ONE);
  assert.equal(state.isComplete(), false);
  assert.throws(() => state.setSlot(1, EXT_ONE), isPlanFault);
  assert.throws(() => state.setSlot(2, EXT_ONE), isPlanFault);
  state.setSlot(0, EXT_ONE);
  assert.equal(state.isComplete(), true);
});

test('a point takes as many values as it has coordinates', () => {
  assert.throws(() => createState(4, 0).setCoordinates([2, 3], [EXT_ONE]), isPlanFault);
});
