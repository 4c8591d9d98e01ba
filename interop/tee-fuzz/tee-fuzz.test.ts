import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MalformedError } from '@haca/primitives';
import * as verifier from '@haca/verifier';
import { vectorsMissing } from '../tee-documents/vector-files.ts';
import { appraiseMutations } from './appraisals.ts';
import { mutateBytes } from './byte-mutations.ts';
import { fuzzParser } from './fuzz-parser.ts';
import { compareP384 } from './p384.ts';
import { PARSERS } from './parsers.ts';
import { createRandom } from './random.ts';
import { fuzzInThreads } from './threads.ts';
import { nodesOf, treeOf } from './trees.ts';

const SEED = 5;
const INPUTS = 200;
const READS_INPUT = /^(parse|read|decode|strip|unwrap)[A-Z]/;

test('every parser that the verifier exports is in the table, and nothing that it does not', () => {
  const exported = Object.keys(verifier).filter((name) => READS_INPUT.test(name));
  const covered = new Set(PARSERS.flatMap(({ exports }) => exports));
  assert.deepEqual(
    exported.filter((name) => !covered.has(name)),
    [],
    'exported and not fuzzed',
  );
  assert.deepEqual(
    [...covered].filter((name) => !(name in verifier)),
    [],
    'fuzzed and not exported',
  );
  assert.equal(new Set(PARSERS.map(({ name }) => name)).size, PARSERS.length);
});

for (const parser of PARSERS) {
  test(`fuzz: ${parser.name} takes an input or refuses it, in bounded time and memory (seed ${SEED})`, () => {
    const { faults, inputs, codes } = fuzzParser(parser, { seed: SEED, inputs: INPUTS });
    assert.deepEqual(faults, []);
    assert.equal(inputs, INPUTS);
    assert.equal(codes > 0, parser.isTotal !== true, `${codes} codes of refusal`);
  });
}

test('fuzz: every seed of every parser is taken as it is', { skip: vectorsMissing }, () => {
  for (const { name, seeds, parse } of PARSERS) {
    assert.ok(seeds().length > 0, name);
    for (const [at, seed] of seeds().entries()) assert.doesNotThrow(() => parse(seed), `${name}, seed ${at}`);
  }
});

test(
  `fuzz: no changed document is accepted with other claims (seed ${SEED})`,
  { skip: vectorsMissing },
  () => {
    const figures = appraiseMutations({ seed: SEED, inputs: 700 });
    assert.ok(figures.length > 0);
    for (const { faults, accepted, kind } of figures) {
      assert.deepEqual(faults, [], kind);
      assert.equal(accepted, 0, kind);
    }
  },
);

test(`fuzz: the P-384 module answers as OpenSSL does (seed ${SEED})`, () => {
  const { faults, valid, signatures } = compareP384({ seed: SEED, signatures: 400 });
  assert.deepEqual(faults, []);
  assert.ok(valid > signatures / 4 && valid < (3 * signatures) / 4, `${valid} of ${signatures}`);
});

test('inputs are the same for the same seed, and differ in most of their kinds', () => {
  const seeds = [Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x05), new Uint8Array(100).fill(7)];
  const stream = (seed: number): readonly string[] => {
    const random = createRandom(seed, 'x');
    return Array.from({ length: 500 }, () =>
      Buffer.from(mutateBytes(random.pick(seeds), random, seeds)).toString('hex'),
    );
  };
  assert.deepEqual(stream(1), stream(1));
  assert.notDeepEqual(stream(1), stream(2));
  assert.ok(new Set(stream(1)).size > 300);
});

test('trees read what they can and write it back', () => {
  const write = (form: 'der' | 'cbor' | 'json', hex: string): readonly [nodes: number, hex: string] => {
    const tree = treeOf(Buffer.from(hex, 'hex'), form);
    assert.ok(tree !== null, hex);
    const contents = (each: typeof tree): Uint8Array =>
      each.children === null
        ? each.write(each.bytes, 0)
        : each.write(Buffer.concat(each.children.map(contents)), each.children.length);
    return [nodesOf(tree).length, Buffer.from(contents(tree)).toString('hex')];
  };
  const json = Buffer.from('{"a":[1,"},",{"b":null}],"c":{}}').toString('hex');
  assert.deepEqual(write('der', '30080201050403020107'), [4, '30080201050403020107']);
  assert.deepEqual(write('cbor', 'a2004101189f9f0102ff'), [7, 'a2004101189f9f0102ff']);
  assert.deepEqual(write('json', json), [7, json]);
});

const silent = { exports: [], form: 'bytes', seeds: () => [new Uint8Array(8)] } as const;

test('a crash, a growing heap and a refusal of another type are faults', () => {
  const of = (parse: (bytes: Uint8Array) => unknown) =>
    fuzzParser({ name: 'probe', ...silent, parse }, { seed: 1, inputs: 2_000 }).faults.map(
      ({ what }) => what,
    );
  const refuse = (): never => {
    throw new MalformedError('probe', '', '', '');
  };
  assert.deepEqual(of(refuse), []);
  assert.match(
    of((bytes) => bytes.length > 100 && (null as unknown as Uint8Array).length)[0] ?? '',
    /TypeError/,
  );
  assert.match(of(() => Promise.reject)[0] ?? 'none', /none/);
  const kept: Uint8Array[] = [];
  assert.match(of(() => kept.push(new Uint8Array(20_000)))[0] ?? '', /heap grew/);
});

test('threads report what each parser did', async () => {
  const parsers = PARSERS.slice(0, 2);
  const lines: string[] = [];
  const figures = await fuzzInThreads(parsers, {
    seed: SEED,
    inputs: 200,
    threads: 2,
    say: (line) => lines.push(line),
  });
  assert.deepEqual(
    figures.map(({ parser, inputs, faults }) => [parser, inputs, faults.length]),
    parsers.map(({ name }) => [name, 200, 0]),
  );
  assert.equal(lines.length, 2);
});
