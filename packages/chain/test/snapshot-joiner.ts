/** The process that is killed while it takes in a snapshot, again and again; prints `offered` and `restored`. */
import { writeSync } from 'node:fs';
import { createChunker } from '../src/snapshots/format.ts';
import { openStore } from '../src/storage/index.ts';
import { announce, type Entry, entriesOf, joiner, treeOf } from './snapshot-fixture.ts';

const [directory] = process.argv.slice(2) as [string];
const tree = treeOf(entriesOf(600));
const chunker = createChunker(4_000);
const chunks: Uint8Array[] = [];
const cut = (): number => chunks.push(chunker.cut(tree.prove((chunker.last() as Entry)[0]).proof));
for (const entry of tree.entries()) {
  if (chunker.add(entry)) continue;
  cut();
  chunker.add(entry);
}
cut();
const store = openStore(directory);
for (;;) {
  const node = joiner(store);
  const taken = announce(7, tree.root, chunks);
  writeSync(1, 'offered\n');
  const result = await node.run(taken, tree.root);
  writeSync(1, result === 'accept' ? 'restored\n' : `wrong: ${result}\n`);
}
