import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MalformedError } from '@haca/primitives';
import fc from 'fast-check';
import { parseTokenizer, type Tokenizer } from '../src/onnx/tokenizer.ts';
import { MODEL_DIR } from './answer.ts';

interface Spec {
  readonly type: string;
  readonly version: number;
  readonly vocabSize: number;
  readonly split: string;
  readonly special: Record<string, number>;
  readonly merges: [number, number][];
}

const spec = JSON.parse(readFileSync(join(MODEL_DIR, 'tokenizer.json'), 'utf8')) as Spec;
const vectors = JSON.parse(readFileSync(join(MODEL_DIR, 'tokenizer-vectors.json'), 'utf8')) as {
  readonly vectors: readonly { readonly text: string; readonly ids: readonly number[] }[];
};
const tokenizer = parseTokenizer(spec);
const specialIds = new Set(Object.values(spec.special));

function decodeIds(of: Tokenizer, ids: readonly number[]): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
    Uint8Array.from(ids.flatMap((id) => [...of.bytesOf(id)])),
  );
}

/** The algorithm as the model's README words it, without any shortcut. */
function encodePlainly(text: string): number[] {
  const latin1 = Buffer.from(text, 'utf8').toString('latin1');
  const rank = new Map(spec.merges.map(([a, b], index) => [`${a},${b}`, index]));
  return (latin1.match(new RegExp(spec.split, 'g')) ?? []).flatMap((piece) => {
    const ids = [...Buffer.from(piece, 'latin1')];
    for (;;) {
      let best = -1;
      let bestRank = Number.POSITIVE_INFINITY;
      for (let at = 0; at + 1 < ids.length; at++) {
        const found = rank.get(`${ids[at]},${ids[at + 1]}`);
        if (found !== undefined && found < bestRank) {
          best = at;
          bestRank = found;
        }
      }
      if (best < 0) return ids;
      ids.splice(best, 2, 256 + bestRank);
    }
  });
}

test('all published vectors give their ids, and back', () => {
  assert.ok(vectors.vectors.length >= 50);
  for (const { text, ids } of vectors.vectors) {
    assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    assert.equal(decodeIds(tokenizer, ids), text);
  }
});

const anyText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }).filter((text) => text.isWellFormed()),
  fc
    .array(fc.constantFrom('the', ' the', 'ing', ' HACA', 'aaa', ' ', '  ', '1', 'é', '😀', '\n'), {
      maxLength: 30,
    })
    .map((parts) => parts.join('')),
);

test('encoding is the plain algorithm, round-trips and never yields a special token', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const ids = tokenizer.encode(text);
      assert.deepEqual(ids, encodePlainly(text));
      assert.equal(decodeIds(tokenizer, ids), text);
      assert.ok(!ids.some((id) => specialIds.has(id)));
    }),
    { numRuns: 400 },
  );
});

test('special tokens typed by a user are ordinary characters', () => {
  for (const name of Object.keys(spec.special)) {
    const ids = tokenizer.encode(`a${name}b`);
    assert.ok(!ids.some((id) => specialIds.has(id)), name);
    assert.equal(decodeIds(tokenizer, ids), `a${name}b`);
  }
});

test('a lone surrogate is encoded as U+FFFD', () => {
  assert.equal(decodeIds(tokenizer, tokenizer.encode('a\ud800b')), 'a\ufffdb');
});

test('one very long word is encoded as the plain algorithm would, in reasonable work', () => {
  const word = 'theinging'.repeat(200);
  assert.deepEqual(tokenizer.encode(word), encodePlainly(word));
  const ids = tokenizer.encode('theinging'.repeat(100_000));
  assert.equal(
    ids.reduce((sum, id) => sum + tokenizer.bytesOf(id).length, 0),
    900_000,
  );
});

test('ids outside the text vocabulary stand for no bytes', () => {
  for (const id of [...specialIds, -1, tokenizer.vocabSize, 1.5])
    assert.equal(tokenizer.bytesOf(id).length, 0);
});

test('a malformed tokenizer is refused', () => {
  const doubling = Array.from({ length: 20 }, (_, i) => [i === 0 ? 97 : 255 + i, i === 0 ? 97 : 255 + i]);
  const bad: readonly (readonly [string, unknown])[] = [
    ['no object', null],
    ['a list', []],
    ['another type', { ...spec, type: 'bpe' }],
    ['another version', { ...spec, version: 2 }],
    ['another way to split', { ...spec, split: '.' }],
    ['a wrong size', { ...spec, vocabSize: 1023 }],
    ['no merges', { ...spec, merges: undefined }],
    ['a merge of an id that comes later', { ...spec, merges: [[256, 97], ...spec.merges.slice(1)] }],
    ['a merge of three', { ...spec, merges: [[1, 2, 3], ...spec.merges.slice(1)] }],
    ['a fractional id', { ...spec, merges: [[1.5, 2], ...spec.merges.slice(1)] }],
    ['a repeated merge', { ...spec, merges: [spec.merges[0], ...spec.merges.slice(0, -1)] }],
    ['tokens that grow without bound', { ...spec, merges: doubling }],
    ['a special id among the text ids', { ...spec, special: { ...spec.special, '<|end|>': 97 } }],
    ['no special tokens', { ...spec, special: null }],
  ];
  for (const [what, json] of bad) assert.throws(() => parseTokenizer(json), MalformedError, what);
});
