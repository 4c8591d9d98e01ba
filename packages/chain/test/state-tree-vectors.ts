/**
 * Golden vectors of the state tree, made by the slow model of state-tree-model.ts and by the tree's prover:
 * `node packages/chain/test/state-tree-vectors.ts --write` writes vectors/state-tree.json, a test holds the code to it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toHex } from '@haca/primitives';
import { createStateTree } from '../src/state-tree/index.ts';
import { type Bytes, type Entry, modelRoot, sha256Of } from './state-tree-model.ts';

const FILE = resolve(import.meta.dirname, '../../../vectors/state-tree.json');
const ABOUT =
  'State trees: entries, root, and proofs of keys that are there (value is hex) or not (value is null). Bytes are lower-case hex. Read with spec/state-tree.md.';

const text = (value: string): Bytes => new TextEncoder().encode(value);

function numbered(count: number): Entry[] {
  return Array.from({ length: count }, (_, i) => [text(`key ${i}`), text(`value ${i}`)]);
}

/** Two keys whose paths share `bits` bits, found by counting. */
function closePair(bits: number): Entry[] {
  const seen = new Map<string, Bytes>();
  for (let i = 0; ; i++) {
    const key = text(`close ${i}`);
    const hash = sha256Of(key);
    const prefix = [...hash.subarray(0, Math.ceil(bits / 8))]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('');
    const other = seen.get(prefix.slice(0, bits));
    if (other !== undefined) return [[other, text('first')] as const, [key, text('second')] as const];
    seen.set(prefix.slice(0, bits), key);
  }
}

interface Tree {
  readonly name: string;
  readonly entries: readonly Entry[];
  readonly asked: readonly Bytes[];
}

const absent = Array.from({ length: 8 }, (_, i) => text(`absent ${i}`));
const TREES: readonly Tree[] = [
  { name: 'empty', entries: [], asked: [text('absent')] },
  { name: 'one entry', entries: numbered(1), asked: [text('key 0'), text('absent')] },
  { name: 'an empty value', entries: [[text('key'), new Uint8Array(0)]], asked: [text('key')] },
  { name: 'two entries', entries: numbered(2), asked: [text('key 0'), text('key 1'), ...absent.slice(0, 2)] },
  {
    name: 'paths that share 16 bits',
    entries: closePair(16),
    asked: [closePair(16)[0]?.[0] as Bytes, ...absent],
  },
  { name: 'seven entries', entries: numbered(7), asked: [text('key 3'), ...absent] },
  { name: 'a hundred entries', entries: numbered(100), asked: [text('key 0'), text('key 99'), ...absent] },
  {
    name: 'longest key, long value',
    entries: [[new Uint8Array(1024).fill(0xab), new Uint8Array(2000).fill(0xcd)], ...numbered(3)],
    asked: [new Uint8Array(1024).fill(0xab)],
  },
];

export function stateTreeVectors() {
  const trees = TREES.map(({ name, entries, asked }) => {
    const tree = createStateTree();
    tree.load(1, entries);
    const proofs = asked.map((key) => {
      const { value, proof } = tree.prove(key);
      return { key: toHex(key), value: value === null ? null : toHex(value), proof: toHex(proof) };
    });
    const root = toHex(modelRoot(entries));
    return { name, entries: entries.map(([key, value]) => [toHex(key), toHex(value)]), root, proofs };
  });
  return { about: ABOUT, trees };
}

export function readStateTreeVectors(): ReturnType<typeof stateTreeVectors> {
  return JSON.parse(readFileSync(FILE, 'utf8'));
}

if (process.argv.includes('--write')) writeFileSync(FILE, `${JSON.stringify(stateTreeVectors(), null, 1)}\n`);
