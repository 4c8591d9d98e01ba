/** A stream of inputs for one parser: seeds, changed once or more often, as bytes and as trees. */
import { mutateBytes } from './byte-mutations.ts';
import type { Random } from './random.ts';
import { type Form, mutateTree, nodesOf, type Tree, treeOf } from './trees.ts';

interface Seed {
  readonly bytes: Uint8Array;
  readonly tree: Tree | null;
  readonly nodes: readonly Tree[];
}

const EMPTY = new Uint8Array(0);

/** The next input at every call. Inputs that equal a seed are rare and do no harm. */
export function openInputs(seeds: readonly Uint8Array[], form: Form, random: Random): () => Uint8Array {
  const prepared = seeds.map((bytes): Seed => {
    const tree = treeOf(bytes, form);
    return { bytes, tree, nodes: tree === null ? [] : nodesOf(tree) };
  });
  const all = seeds.length === 0 ? [EMPTY] : seeds;
  return () => {
    if (prepared.length === 0 || random.chance(0.02)) return mutateBytes(EMPTY, random, all);
    const { bytes, tree, nodes } = random.pick(prepared);
    const usesTree = tree !== null && nodes.length > 0 && random.chance(0.5);
    let input = usesTree ? mutateTree(tree, nodes, random) : mutateBytes(bytes, random, all);
    while (random.chance(0.4)) input = mutateBytes(input, random, all);
    return input;
  };
}
