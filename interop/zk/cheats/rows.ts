/** Lies about softmax and routing, which look at whole rows. */
import { P } from '@haca/primitives/zk';
import { about, add, type Cheat, set, tensorOf, valueAt } from './cheat.ts';
import type { Forged, Lie } from './forged.ts';
import { EXPONENTIALS, probabilities, ROUTING_INPUT, routed, SOFTMAX_INPUT } from './networks.ts';

type Told = (honest: Forged) => Readonly<Record<string, Lie>>;

const cheat =
  (network: Cheat['network'], input: readonly number[]) =>
  (name: string, broken: Cheat['broken'], lies: Told, more: Partial<Cheat> = {}): Cheat => ({
    name,
    network,
    inputs: [input],
    broken,
    refusedBy: broken.lookups === undefined ? 'zk.step' : 'zk.gkr-root',
    lies: (honest) => about(honest, lies(honest)),
    ...more,
  });

const OP = 'op 1 softmax';
const part = (name: string): string => `${OP} ${name}`;
const lookup = (...names: readonly string[]): { lookups: string[] } => ({ lookups: names.map(part) });
const [E0, , E2] = EXPONENTIALS as [number, number, number];

/** 27 - 4 bits of the reciprocal are 9, 9 and 5: a limb of five bits could be four wider. */
export const looseReciprocal = (): ReturnType<typeof probabilities> => probabilities(false, { limbBits: 9 });

const soft = cheat(() => probabilities(false), SOFTMAX_INPUT);
const causal = cheat(() => probabilities(true), SOFTMAX_INPUT);
/** Exponentials 16, 1 and 0 in the last row. */
const loose = cheat(looseReciprocal, [3, 9, 5, 6, 6, 1, 15, 7, 2]);

// Rows of four cells, three of them real: [3, 9, 5], [6, 6, 1], [2, 15, 4].
const hidden = { hidden: true };

const NUMERATOR = 2 ** 27 - 1;

const none = (): number[] => [];

/**
 * The quotient of p more than the numerator: division and rounding hold mod p with rests in their ranges, and 16/17 and
 * 1/17 change places. Only the width of the reciprocal is in the way.
 */
export const WRAPPED_QUOTIENT: Cheat = loose(
  'the reciprocal of p more than the numerator',
  lookup('reciprocal limb 2'),
  (honest) => {
    const reciprocal = Math.floor((NUMERATOR + P) / valueAt(honest, part('sum'), 2));
    return {
      [part('reciprocal')]: set({ 2: reciprocal }),
      [part('reciprocal limb 2')]: set({ 2: Math.floor(reciprocal / 2 ** 18) }),
      [OP]: (cells, read) => {
        const exponentials = read(tensorOf(honest.program, part('exponential')).id);
        for (const cell of [8, 9, 10])
          cells[cell] = Math.floor((((exponentials[cell] as number) * reciprocal + 2 ** 19) % P) / 2 ** 20);
      },
    };
  },
);

export const SOFTMAX_CHEATS: readonly Cheat[] = [
  soft('a maximum too high, at the place of the largest', lookup('exponential'), () => ({
    [part('maximum')]: add(1, 1),
    [part('place of the maximum')]: set({ 4: 1 }),
  })),
  soft('a maximum too high, at no place', { tie: part('places') }, () => ({ [part('maximum')]: add(1, 1) })),
  soft('a maximum too high, and places said to be one', { definition: part('places') }, () => ({
    [part('maximum')]: add(1, 1),
    [part('places')]: set({ 1: 1 }),
  })),
  soft('a maximum too low', lookup('exponential'), () => ({
    [part('maximum')]: set({ 0: 5 }),
    [part('exponential')]: set({ 0: E2, 1: E0, 2: E0 }),
  })),
  soft('the place of another entry', lookup('exponential'), () => ({
    [part('place of the maximum')]: set({ 0: 1, 1: 0 }),
    [part('exponential')]: set({ 0: E0 }),
  })),
  soft(
    'two ones at equal entries',
    { tie: part('places') },
    () => ({
      [part('place of the maximum')]: set({ 4: 1, 5: 1 }),
    }),
    { ...hidden, inputs: [[3, 9, 5, 6, 6, 1, 2, 15, 4]] },
  ),
  soft('two ones', { ...lookup('exponential'), tie: part('places') }, () => ({
    [part('place of the maximum')]: set({ 0: 1, 1: 1 }),
    [part('exponential')]: set({ 0: E0 }),
  })),
  soft('another exponential', lookup('exponential'), () => ({ [part('exponential')]: add(2, 3) })),
  soft(
    'no exponential at the maximum: a zero row',
    lookup('exponential'),
    () => ({
      [part('exponential')]: set({ 4: 0 }),
      [part('place of the maximum')]: set({ 4: 0, 5: 1 }),
    }),
    { inputs: [[3, 9, 5, 6, 6, 1, 2, 15, 4]] },
  ),
  causal('the place of a masked entry', lookup('exponential'), () => ({
    [part('maximum')]: set({ 0: 9 }),
    [part('place of the maximum')]: set({ 0: 0, 1: 1 }),
    [part('exponential')]: set({ 0: EXPONENTIALS[6] as number, 1: E0 }),
  })),
  causal('a masked entry with an exponential', lookup('exponential'), () => ({
    [part('exponential')]: set({ 1: E0 }),
  })),
  causal('a maximum so high that a masked entry seems unmasked', lookup('exponential'), () => ({
    [part('maximum')]: set({ 0: -23 }),
    [part('place of the maximum')]: set({ 0: 0, 1: 1 }),
    [part('exponential')]: set({ 0: 0, 1: E0 }),
  })),
  ...[1, -1].flatMap((by) => [
    soft(`a sum off by ${by}`, { tie: part('row sum') }, () => ({ [part('sum')]: add(0, by) }), {}),
    soft(`a sum off by ${by}, and so its definition`, { definition: part('row sum') }, () => ({
      [part('sum')]: add(0, by),
      [part('row sum')]: add(0, by),
    })),
  ]),
  soft(
    'a reciprocal one too low',
    lookup('division gap limb 0'),
    () => ({ [part('reciprocal')]: add(2, -1) }),
    hidden,
  ),
  soft(
    'a reciprocal one too high',
    lookup('division rest limb 0'),
    () => ({ [part('reciprocal')]: add(0, 1) }),
    hidden,
  ),
  soft('a reciprocal of half', lookup('division rest limb 0', 'division gap limb 0'), (honest) => ({
    [part('reciprocal')]: set({ 0: Math.floor(valueAt(honest, part('reciprocal'), 0) / 2) }),
  })),
  soft('a division of another number', { definition: part('division rest') }, (honest) => {
    const sum = valueAt(honest, part('sum'), 0);
    const rest = valueAt(honest, part('division rest'), 0);
    return {
      [part('reciprocal')]: add(0, -(2 ** 18)),
      [part('division rest')]: set({ 0: rest }),
      [part('division gap')]: set({ 0: sum - 1 - rest }),
    };
  }),
  soft(
    'a gap that does not belong to the rest',
    { definition: part('division gap') },
    (honest) => {
      const rest = NUMERATOR % valueAt(honest, part('sum'), 2);
      return {
        [part('reciprocal')]: add(2, -1),
        [part('division gap')]: set({ 2: 15 - rest }),
      };
    },
    hidden,
  ),
  soft(
    'a product of reciprocal and sum that is none',
    { definition: part('reciprocal times sum') },
    (honest) => ({
      [part('reciprocal')]: add(0, -(2 ** 18)),
      [part('reciprocal times sum')]: set({ 0: valueAt(honest, part('reciprocal times sum'), 0) }),
    }),
  ),
  ...['reciprocal limb 0', 'reciprocal limb 1'].map((name, i) =>
    soft(
      `${name} too wide`,
      lookup(name),
      () => ({
        [part(`reciprocal limb ${i + 1}`)]: add(1, -1),
        ...(i === 0 ? {} : { [part('reciprocal limb 1')]: add(1, 256) }),
      }),
      hidden,
    ),
  ),
  WRAPPED_QUOTIENT,
  soft('a probability one too high', lookup('rounding limb 0'), () => ({ [OP]: add(0, 1) })),
  soft('a probability one too low', lookup('rounding limb 0'), () => ({ [OP]: add(1, -1) })),
  soft('a probability one too low, with a rest of more than its width', lookup('rounding limb 2'), () => ({
    [OP]: add(1, -1),
    [part('rounding limb 2')]: add(1, 16),
  })),
  soft(
    'a limb of a rest too wide',
    lookup('rounding limb 1'),
    () => ({
      [part('rounding limb 1')]: add(1, 256),
      [part('rounding limb 2')]: add(1, -1),
    }),
    hidden,
  ),
  // Rests two higher and one lower stand for values of 2^-19 less and 2^-20 more; weights of 1 and 2 make up for it.
  soft(
    'probabilities of many bits, which divide mod p',
    lookup('probability'),
    () => ({
      [OP]: (cells) => {
        add(0, -2 * inverseOfTwoTo(20))(cells, none);
        add(1, inverseOfTwoTo(20))(cells, none);
      },
    }),
    hidden,
  ),
  soft('a product of exponential and reciprocal that is none', { definition: part('scaled') }, () => ({
    [OP]: add(0, 1),
    [part('scaled')]: add(0, 2 ** 20),
  })),
  soft(
    'a rest of a rounding that is none',
    { definition: part('rounding') },
    (honest) => ({
      [OP]: add(0, 1),
      [part('rounding')]: set({ 0: valueAt(honest, part('rounding'), 0) }),
    }),
    {},
  ),
];

function inverseOfTwoTo(exponent: number): number {
  let value = 1;
  for (let i = 0; i < exponent; i++) value = value % 2 === 0 ? value / 2 : (value + P) / 2;
  return value;
}

const route = cheat(routed, ROUTING_INPUT);
const ROUTER = 'op 1 top1';
const of = (name: string): string => `${ROUTER} ${name}`;
const routing = (...names: readonly string[]): { lookups: string[] } => ({ lookups: names.map(of) });
/** 90, 90 and 89 have keys 726, 724 and 715 with the index in the low three bits. */
const keyOf = (value: number, index: number): number => 8 * value + 7 - index;

export const ROUTING_CHEATS: readonly Cheat[] = [
  route('a tie to the higher index', routing('limb 0'), () => ({ [ROUTER]: set({ 1: 0, 3: 1 }) })),
  route('a tie to the higher index, called the maximum', routing('limb 1'), () => ({
    [of('maximum')]: set({ 0: keyOf(90, 3) }),
    [ROUTER]: set({ 1: 0, 3: 1 }),
    [of('limb 1')]: set({ 1: -1 }),
  })),
  route('the second largest', routing('limb 0'), () => ({ [ROUTER]: set({ 1: 0, 4: 1 }) })),
  route('the smallest', routing('limb 0', 'limb 1'), () => ({ [ROUTER]: set({ 1: 0, 2: 1 }) })),
  route('two ones', { ...routing('limb 0'), tie: of('places') }, () => ({ [ROUTER]: set({ 3: 1 }) })),
  route('no one', { tie: of('places') }, () => ({ [ROUTER]: set({ 1: 0 }) })),
  route('no one, and places said to be one', { definition: of('places') }, () => ({
    [ROUTER]: set({ 1: 0 }),
    [of('places')]: set({ 0: 1 }),
  })),
  route('a maximum too high, and nowhere', { tie: of('places') }, () => ({ [of('maximum')]: add(0, 1) })),
  route('a one where the upper limb is not zero', routing('limb 1'), () => ({
    [ROUTER]: set({ 0: 1, 1: 0 }),
    // The lower limb is zero: the upper one is whatever that leaves.
    [of('limb 1')]: set({ 0: quotient(keyOf(90, 1) - keyOf(4, 0), 8) }),
  })),
  route(
    'keys in which another entry is the largest',
    { definition: of('keys') },
    () => ({
      [of('keys')]: set({ 4: keyOf(91, 4) }),
    }),
    { refusedBy: 'zk.public-evaluation' },
  ),
  route(
    'a difference that is none',
    { definition: of('difference') },
    () => ({
      [ROUTER]: set({ 1: 0, 4: 1 }),
      [of('difference')]: set({ 4: 0 }),
    }),
    { refusedBy: 'zk.public-evaluation' },
  ),
  route(
    'a lower limb that is none',
    { definition: of('limb 0') },
    () => ({
      [ROUTER]: set({ 1: 0, 4: 1 }),
      [of('limb 0')]: set({ 4: 0 }),
    }),
    { refusedBy: 'zk.public-evaluation' },
  ),
  route('another number than the place', { definition: 'op 2 contract' }, () => ({
    'op 2 contract': add(0, 1),
  })),
];

/** value / 2^bits mod p. */
function quotient(value: number, bits: number): number {
  let found = value;
  for (let i = 0; i < bits; i++) found = found % 2 === 0 ? found / 2 : (found + P) / 2;
  return found;
}
