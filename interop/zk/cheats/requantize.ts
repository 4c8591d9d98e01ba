/** Lies about requantizations: the value, the digits it comes from, the digits' ranges. */
import { P } from '@haca/primitives/zk';
import type { ZkExample } from '@haca/testkit';
import { about, add, type Cheat, set, valueAt } from './cheat.ts';
import type { Forged, Lies } from './forged.ts';
import {
  otherModes,
  RELU_3,
  REQUANTIZE_16_INPUT,
  REQUANTIZE_INPUT,
  requantized,
  signed,
  sixteenBits,
  twoLimbs,
} from './networks.ts';

const OP = 'op 1 requantize';
const window = { lookups: [`${OP} window`] };
const overflow = { lookups: [`${OP} overflow`] };
const remainder = { lookups: [`${OP} remainder limb 0`] };

const relu = (): ZkExample => requantized(false);
const reluOutput = (): ZkExample => requantized(true);
const root = 'zk.gkr-root';

const on =
  (network: () => ZkExample, inputs: readonly number[]) =>
  (
    name: string,
    broken: Cheat['broken'],
    lies: (honest: Forged) => Readonly<Record<string, Parameters<typeof about>[1][string]>>,
    more: Partial<Cheat> = {},
  ): Cheat => ({
    name,
    network,
    inputs: [inputs],
    broken,
    refusedBy: root,
    lies: (honest): Lies => about(honest, lies(honest)),
    ...more,
  });

const plain = on(relu, REQUANTIZE_INPUT);
const published = on(reluOutput, REQUANTIZE_INPUT);
const negative = on(signed, REQUANTIZE_INPUT);

/** U of a cell: 18 is the middle of the window, a multiple of 32 its size. */
const [SATURATED, BELOW, ZERO, TIE, PLAIN] = [0, 1, 2, 3, 4] as const;

/** Every result one higher and one lower; as a public output where the value stays inside its interval. */
const offByOne: Cheat[] = [3, 0, 0, 1, 1, 0].flatMap((value, cell) =>
  [1, -1].flatMap((by) => [
    plain(`cell ${cell} off by ${by}`, window, () => ({ [OP]: add(cell, by) })),
    ...(value + by < 0 || value + by > 3
      ? []
      : [published(`public cell ${cell} off by ${by}`, window, () => ({ [OP]: add(cell, by) }))]),
  ]),
);

/** The digits of U + turns · p. */
const wrapped = (turns: number): Cheat =>
  negative(`digits of U ${turns > 0 ? '+' : '-'} p`, overflow, () => {
    const value = 18 + turns * P;
    const above = Math.floor(value / 32);
    return {
      [`${OP} remainder limb 0`]: set({ [ZERO]: ((value % 4) + 4) % 4 }),
      [`${OP} overflow`]: set({ [ZERO]: above }),
      [OP]: set({ [ZERO]: turns > 0 ? 3 : -4 }),
    };
  });

export const REQUANTIZE_CHEATS: readonly Cheat[] = [
  ...offByOne,
  plain('a tie rounded down', remainder, () => ({
    [`${OP} remainder limb 0`]: set({ [TIE]: 4 }),
    [OP]: set({ [TIE]: 0 }),
  })),
  plain('a remainder of 2^shift and more', remainder, () => ({
    [`${OP} remainder limb 0`]: add(PLAIN, 4),
    [OP]: set({ [PLAIN]: 0 }),
  })),
  plain('a negative remainder', remainder, () => ({
    [`${OP} remainder limb 0`]: add(PLAIN, -4),
    [OP]: set({ [PLAIN]: 2 }),
  })),
  plain('saturation skipped: the sign of the overflow denied', overflow, () => ({
    [`${OP} overflow sign`]: set({ [SATURATED]: 0 }),
    [OP]: set({ [SATURATED]: RELU_3[3] as number }),
  })),
  plain('saturation skipped: all in the window digit', window, () => ({
    [`${OP} overflow`]: set({ [SATURATED]: 0 }),
    [OP]: set({ [SATURATED]: 19 }),
  })),
  plain('a negative value through the ReLU, its sign denied', overflow, () => ({
    [`${OP} overflow sign`]: set({ [BELOW]: 0 }),
    [OP]: set({ [BELOW]: RELU_3[5] as number }),
  })),
  plain('a negative value through the ReLU', window, () => ({ [OP]: set({ [BELOW]: 2 }) })),
  plain('the value before the activation', window, (honest) => ({
    [OP]: set({ [PLAIN]: valueAt(honest, 'op 0 sum', PLAIN) }),
  })),
  plain('a value that is not in the list', window, () => ({ [OP]: set({ [ZERO]: 9 }) })),
  negative('a negative sign where nothing overflows', overflow, () => ({
    [`${OP} overflow sign`]: set({ [ZERO]: -1 }),
    [OP]: set({ [ZERO]: -4 }),
  })),
  plain('a positive sign where nothing overflows', overflow, () => ({
    [`${OP} overflow sign`]: set({ [ZERO]: 1 }),
    [OP]: set({ [ZERO]: 3 }),
  })),
  plain('the opposite sign', overflow, () => ({
    [`${OP} overflow sign`]: set({ [BELOW]: 1 }),
    [OP]: set({ [BELOW]: 3 }),
  })),
  negative('window digit 2^w + 5 with sign -1', window, () => ({
    [`${OP} overflow`]: set({ [TIE]: -1 }),
    [OP]: set({ [TIE]: -4 }),
  })),
  negative('window digit 5 - 2^w with sign 1', window, () => ({
    [`${OP} overflow`]: set({ [TIE]: 1 }),
    [OP]: set({ [TIE]: 3 }),
  })),
  wrapped(1),
  wrapped(-1),
  plain(
    'another window digit, claimed to be the digit of the sum',
    { definition: `${OP} window` },
    (honest) => ({
      [OP]: set({ [PLAIN]: 2 }),
      [`${OP} window`]: set({ [PLAIN]: valueAt(honest, `${OP} window`, PLAIN) + 1 }),
    }),
    { refusedBy: 'zk.public-evaluation' },
  ),
  plain('another sum', { definition: 'op 0 sum' }, () => ({ 'op 0 sum': add(PLAIN, 4) }), {
    refusedBy: 'zk.public-evaluation',
  }),
  ...limbCheats(),
  ...modeCheats(),
  ...sixteenCheats(),
];

function limbCheats(): Cheat[] {
  const limbs = on(twoLimbs, [300, -300, 0, 1_999]);
  return [
    limbs(
      'a carry between limbs undone',
      remainder,
      () => ({ [`${OP} remainder limb 0`]: add(2, 256), [`${OP} remainder limb 1`]: add(2, -1) }),
      { hidden: true },
    ),
    limbs('the upper limb a whole shift too large', { lookups: [`${OP} remainder limb 1`] }, () => ({
      [`${OP} remainder limb 1`]: add(0, 2),
      [OP]: add(0, -1),
    })),
  ];
}

function modeCheats(): Cheat[] {
  const modes = on(otherModes, [30, 3, 0, 17]);
  const [exact, unsigned] = ['op 1 requantize', 'op 2 requantize'];
  return [
    modes('exact: a remainder of 2^shift', { lookups: [`${exact} remainder limb 0`] }, () => ({
      [`${exact} remainder limb 0`]: add(0, 4),
      [exact]: add(0, -1),
    })),
    modes('exact: another value', { lookups: [`${exact} window`] }, () => ({ [exact]: add(1, 1) })),
    modes(
      'unsigned: a negative overflow',
      { lookups: [`${unsigned} overflow`, `${unsigned} window`] },
      () => ({ [`${unsigned} overflow`]: set({ 1: -1 }), [`${unsigned} overflow sign`]: set({ 1: 0 }) }),
      { hidden: true },
    ),
    modes('unsigned: an overflow denied', { lookups: [`${unsigned} overflow`] }, (honest) => ({
      [`${unsigned} overflow sign`]: set({ 3: 0 }),
      [unsigned]: set({ 3: 7 - valueAt(honest, `${unsigned} window`, 3) }),
    })),
    modes('unsigned: another value', { lookups: [`${unsigned} window`] }, () => ({ [unsigned]: add(2, -1) })),
    modes('unsigned: a remainder of 2^shift', { lookups: [`${unsigned} remainder limb 0`] }, () => ({
      [`${unsigned} remainder limb 0`]: add(1, 2),
      [unsigned]: add(1, 1),
    })),
  ];
}

function sixteenCheats(): Cheat[] {
  const op = 'op 2 requantize16';
  const wide = on(sixteenBits, REQUANTIZE_16_INPUT);
  const [low, high] = [`${op} low`, `${op} high`];
  return [
    wide('16 bits: bytes swapped', { lookups: [low, high] }, (honest) => {
      const [first, second] = [valueAt(honest, `${op} byte 0`, 2), valueAt(honest, `${op} byte 1`, 2)];
      return { [`${op} byte 0`]: set({ 2: second }), [`${op} byte 1`]: set({ 2: first }) };
    }),
    wide('16 bits: the low byte off by one', { lookups: [low] }, () => ({ [`${op} byte 0`]: add(2, 1) })),
    wide('16 bits: the high byte off by one', { lookups: [high] }, () => ({ [`${op} byte 1`]: add(2, 1) })),
    wide('16 bits: a carry from the high to the low digit', { lookups: [low] }, () => ({
      [`${op} high digit`]: add(2, -1),
      [`${op} byte 1`]: add(2, -1),
    })),
    wide('16 bits: a borrow', { lookups: [high] }, () => ({
      [`${op} high digit`]: add(2, 256),
      [`${op} overflow`]: add(2, -1),
      [`${op} overflow sign`]: set({ 2: -1 }),
      [`${op} byte 0`]: set({ 2: 0 }),
      [`${op} byte 1`]: set({ 2: 0 }),
    })),
    wide('16 bits: saturation skipped', { lookups: [`${op} overflow`] }, (honest) => ({
      [`${op} overflow sign`]: set({ 1: 0 }),
      [`${op} byte 0`]: set({ 1: valueAt(honest, `${op} window`, 1) }),
      [`${op} byte 1`]: set({ 1: valueAt(honest, `${op} high digit`, 1) }),
    })),
    wide('16 bits: a remainder of 2^shift', { lookups: [`${op} remainder limb 0`] }, () => ({
      [`${op} remainder limb 0`]: add(3, 2),
      [`${op} byte 0`]: add(3, -1),
    })),
    wide(
      '16 bits: another low digit',
      { definition: `${op} window` },
      () => ({
        [`${op} window`]: add(2, 1),
        [`${op} byte 0`]: add(2, 1),
      }),
      { refusedBy: 'zk.public-evaluation' },
    ),
  ];
}
