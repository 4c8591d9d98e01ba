/**
 * The process that the crash test kills: a full node on the folder it is given. Prints its RPC address, then one line for
 * every block that was made durable.
 */
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseGenesisDocument } from '@haca/light-client';
import { toHex } from '@haca/primitives';
import { startFullNode } from '../src/full-node.ts';
import { VALIDATOR_SEED } from './engine-fixture.ts';

const [folder] = process.argv.slice(2) as [string];

function print(line: string): void {
  writeSync(1, `${line}\n`);
}

const node = await startFullNode({
  home: join(folder, 'home'),
  genesis: parseGenesisDocument(JSON.parse(readFileSync(join(folder, 'genesis.json'), 'utf8'))),
  validatorSeed: VALIDATOR_SEED,
  blockIntervalMs: 1,
  emptyBlockIntervalMs: 3,
});
const printBlock = (height: number, blockHash: Uint8Array, appHash: Uint8Array): void =>
  print(`B ${height} ${toHex(blockHash)} ${toHex(appHash)}`);
const { height, blockId, appHash } = node.engine.tip();
printBlock(height, blockId.hash, appHash);
node.engine.onBlock(({ block, blockId: id, results }) =>
  printBlock(block.header.height, id.hash, results.appHash),
);
print(`R ${node.rpcUrl}`);
