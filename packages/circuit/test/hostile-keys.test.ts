import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AxisRelation,
  encodeVerifyingKey,
  KeyError,
  LIMITS,
  type Op,
  type Program,
  parseVerifyingKey,
  plan,
  planRegistration,
  type VerifyingKey,
} from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { createRandom } from '@haca/testkit';
import fc from 'fast-check';
import { randomKey } from './random-graphs.ts';
import { changed, KEYS, layerKey, type MutableKey, opOf, range, refusalOf } from './support.ts';

/** A program, or null where the key is refused; anything else that is thrown is a fault. */
function planned(run: () => Program): Program | null {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof KeyError || error instanceof MalformedError, `${(error as Error).stack}`);
    return null;
  }
}

/** What must hold of any program that a key leads to. */
function checkBounds(program: Program): void {
  assert.ok(program.securityBits >= LIMITS.securityBits);
  assert.ok(program.proofBytes <= LIMITS.proofBytes);
  assert.ok(program.steps.length <= LIMITS.steps && program.openings.length <= LIMITS.claims);
  assert.ok(program.treeBits <= LIMITS.treeBits);
  assert.ok(Number.isSafeInteger(program.verificationWork) && program.verificationWork > program.proofBytes);
  for (const { lo, hi, bits, anyResidue } of program.tensors) {
    assert.ok(bits <= LIMITS.tensorBits);
    assert.ok(anyResidue || (Number.isSafeInteger(lo) && Number.isSafeInteger(hi) && lo <= hi));
  }
  const constants = program.tensors.flatMap(({ definition }) =>
    definition.kind === 'sum'
      ? [definition.constant, ...definition.terms.map(({ coefficient }) => coefficient)]
      : [],
  );
  for (const constant of constants) assert.ok(Number.isSafeInteger(constant) && constant >= 0);
}

const EXTREMES = [
  0, 1, 2, 3, 7, 8, 11, 12, 15, 16, 20, 24, 63, 127, 128, 255, 256, 1024, 4095, 4096, 65_535, 65_536,
];
const HUGE = [2 ** 20, 2 ** 24 - 1, 2 ** 24, 2 ** 29, 1_006_632_960, 2 ** 31];

/** Replaces one number, drops, doubles or swaps one entry, somewhere in the key. */
function mutate(value: unknown, random: () => number): void {
  const below = (count: number): number => Math.floor(random() * count);
  const places: { readonly holder: Record<string, unknown>; readonly name: string }[] = [];
  const visit = (holder: unknown): void => {
    if (typeof holder !== 'object' || holder === null || holder instanceof Uint8Array) return;
    const names = Object.keys(holder);
    // Of a long list a few entries stand for all.
    for (const name of names.length > 40 ? names.slice(0, 3) : names) {
      places.push({ holder: holder as Record<string, unknown>, name });
      visit((holder as Record<string, unknown>)[name]);
    }
  };
  visit(value);
  const { holder, name } = places[below(places.length)] as (typeof places)[number];
  const old = holder[name];
  if (Array.isArray(old) && old.length > 0) {
    const [from, to] = [below(old.length), below(old.length)];
    const change = below(4);
    if (change === 0) old.splice(from, 1);
    else if (change === 1) old.splice(to, 0, structuredClone(old[from]));
    else if (change === 2) [old[from], old[to]] = [old[to], old[from]];
    else old.push(structuredClone(old[from]));
  } else if (typeof old === 'number' || old === null) {
    const choices = [
      EXTREMES[below(EXTREMES.length)],
      HUGE[below(HUGE.length)],
      Number(old) + 1,
      Number(old) - 1,
      -Number(old),
    ];
    holder[name] = choices[below(choices.length)] as number;
  } else if (typeof old === 'string' && name !== 'kind') {
    holder[name] = [
      'virtual',
      'weight',
      'input',
      'output',
      'anchor',
      'saturating',
      'exact',
      'unsigned',
      'no',
      'yes',
    ][below(10)];
  } else if (typeof old === 'string') {
    holder[name] = ['i8', 'u8', 'i16', 'i32', 'id'][below(5)];
  }
}

test('ZK-12 mutated keys are refused, or planned within the limits; nothing else happens', () => {
  const bases = [
    ...Object.values(KEYS).map((key) => key()),
    ...range(12).flatMap((i) => randomKey(i, 6) ?? []),
  ];
  let passed = 0;
  fc.assert(
    fc.property(
      fc.nat({ max: bases.length - 1 }),
      fc.nat(),
      fc.integer({ min: 1, max: 4 }),
      (base, seed, count) => {
        const random = createRandom(seed);
        const key = structuredClone(bases[base]) as MutableKey;
        for (let i = 0; i < count; i++) mutate(key, random);
        // What no bytes say is nobody's key.
        let bytes: Uint8Array;
        try {
          bytes = encodeVerifyingKey(key);
        } catch {
          return;
        }
        const read = planned(() => ({ key: parseVerifyingKey(bytes) }) as never) as unknown as {
          key: VerifyingKey;
        } | null;
        if (read === null) return;
        for (const run of [
          (): Program => plan(read.key, 1),
          (): Program => plan(read.key, read.key.maxBatch),
          (): Program => planRegistration(read.key),
        ]) {
          const program = planned(run);
          if (program === null) continue;
          passed++;
          checkBounds(program);
        }
      },
    ),
    { numRuns: 1_500 },
  );
  assert.ok(passed > 200, `${passed} programs`);
});

const virtual = (extents: readonly number[]): MutableKey['tensors'][number] => ({
  role: 'virtual',
  kind: 'i32',
  lo: 0,
  hi: 0,
  extents: [...extents],
});

/** Doubles the claims at each of `depth` sums of a tensor and its own transpose. */
function chain(depth: number): VerifyingKey {
  return changed(layerKey(), (key) => {
    key.tensors = [
      { role: 'input', kind: 'i8', lo: 0, hi: 0, extents: [4, 4] },
      { role: 'weight', kind: 'i8', lo: 0, hi: 0, extents: [4, 4] },
      ...range(depth).map(() => virtual([4, 4])),
      { role: 'output', kind: 'i8', lo: -128, hi: 127, extents: [4, 4] },
    ];
    key.ops = range(depth).map(
      (i): Op => ({
        kind: 'sum',
        y: 2 + i,
        constant: 0,
        terms:
          i === 0
            ? [
                { x: 0, coefficient: 1, bits: [2, 3, 4, 5] },
                { x: 1, coefficient: 1, bits: [2, 3, 4, 5] },
              ]
            : [
                { x: 1 + i, coefficient: 1, bits: [2, 3, 4, 5] },
                { x: 1 + i, coefficient: 1, bits: i % 2 === 0 ? [3, 4, 5, 2] : [4, 2, 5, 3] },
              ],
      }),
    ) as MutableKey['ops'];
    key.ops.push({ ...opOf(layerKey() as MutableKey, 'requantize'), x: 1 + depth, y: 2 + depth });
  });
}

test('ZK-12 a chain of sums whose claims would double thirty times merges them', () => {
  const program = plan(chain(30), 1);
  assert.ok(program.steps.length < 200, `${program.steps.length} steps`);
  assert.ok(program.steps.some(({ kind }) => kind === 'aggregate'));
  checkBounds(program);
  checkBounds(plan(chain(3), 1));
});

test('ZK-12 a thousand softmaxes are more claims than a proof may have', () => {
  const base = KEYS['softmaxKey']?.() as VerifyingKey;
  const key = changed(base, (copy) => {
    const op = opOf(copy, 'softmax');
    const last = copy.tensors.length;
    for (let i = 0; i < 1_000; i++) {
      copy.tensors.push(structuredClone(copy.tensors[3]) as (typeof copy.tensors)[number]);
      copy.ops.push({ ...op, y: last + i });
    }
  });
  assert.equal(refusalOf(() => plan(parseVerifyingKey(encodeVerifyingKey(key)), 1)).code, 'E_LIMIT');
});

test('ZK-12 extents of 2^24 on every axis of everything', () => {
  const key = changed(layerKey(), (copy) => {
    for (const tensor of copy.tensors) tensor.extents = range(6).map(() => 2 ** 24);
  });
  assert.equal(refusalOf(() => plan(key, 1)).rule, 'tensor-cells');
  assert.equal(refusalOf(() => planRegistration(key)).rule, 'tensor-cells');
});

test('ZK-12 one list looked up from sixty starts: the tables are counted before they are made', () => {
  const base = KEYS['tableKey']?.() as VerifyingKey;
  const key = changed(base, (copy) => {
    const op = opOf(copy, 'table');
    const output = structuredClone(copy.tensors[3]) as (typeof copy.tensors)[number];
    copy.lists = [range(2 ** 16).map((i) => i % 7)];
    Object.assign(output, { lo: 0, hi: 6 });
    copy.tensors[3] = output;
    for (let i = 0; i < 60; i++) {
      copy.tensors.push(structuredClone(output));
      copy.ops.push({ ...op, y: 4 + i, lo: -10 - i });
    }
  });
  assert.equal(refusalOf(() => plan(key, 1)).rule, 'table-rows');
});

test('ZK-12 a window of radix 4096 and of 2^24 positions', () => {
  const wire = KEYS['wireKey']?.() as VerifyingKey;
  for (const [extents, change] of [
    [[2 ** 24, 5, 3], {}],
    [[6, 5, 2 ** 20], { dilation: 4096 }],
  ] as const) {
    const key = changed(wire, (copy) => {
      for (const index of [3, 4]) Object.assign(copy.tensors[index] as object, { extents: [...extents] });
      Object.assign(opOf(copy, 'wire').relations[0] as AxisRelation, change);
    });
    assert.equal(refusalOf(() => plan(key, 1)).rule, 'relation-cells');
  }
  const far = changed(wire, (copy) => {
    Object.assign(opOf(copy, 'wire').relations[0] as AxisRelation, {
      stride: 4096,
      dilation: 4096,
      pad: 0,
      start: 65_536,
    });
  });
  checkBounds(plan(far, 1));
});

test('ZK-12 the largest batch is planned and the next one refused', () => {
  const key = changed(layerKey(), (copy) => {
    copy.maxBatch = LIMITS.maxBatch;
    Object.assign(copy, { columnBits: 8, folds: [4], finalBits: 4, weightCap: new Uint8Array(4096) });
  });
  checkBounds(plan(key, LIMITS.maxBatch));
  assert.equal(refusalOf(() => plan(key, LIMITS.maxBatch + 1)).rule, 'batch');
});

test('ZK-12 keys of random bytes after a valid head', () => {
  const bytes = encodeVerifyingKey(layerKey());
  fc.assert(
    fc.property(fc.nat({ max: 900 }), fc.uint8Array({ minLength: 1, maxLength: 40 }), (at, noise) => {
      const noisy = bytes.slice();
      noisy.set(noise, at);
      planned(() => plan(parseVerifyingKey(noisy), 1));
    }),
    { numRuns: 2_000 },
  );
});
