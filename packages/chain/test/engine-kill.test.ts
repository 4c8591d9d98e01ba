import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { headerHash, verifyCommit } from '@haca/light-client';
import { connectRpc, nodeCrypto } from '@haca/platform';
import { decode, sha256, toHex } from '@haca/primitives';
import { accountRecordCodec, recordKey } from '@haca/protocol';
import { createBlockReader } from '../src/engine/block-reader.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import { openStore, restoreStateTree } from '../src/storage/index.ts';
import { FAUCET, temporaryFolder, transfer } from './engine-fixture.ts';
import { actor, CHAIN, OPG, SHORT_PARAMS, testGenesis } from './state-machine-world.ts';

const KILLS = 22;
const CHILD = new URL('engine-kill-child.ts', import.meta.url).pathname;
const ALICE = actor('alice');

interface Seen {
  /** Height to block hash and app hash, as printed by any life of the process. */
  readonly blocks: Map<number, string>;
  /** Hashes of transactions that a node said are in a block. */
  readonly committed: Map<string, number>;
}

interface Life {
  readonly child: ChildProcess;
  /** Resolves when it is ready, with its RPC address; never where it is killed before. */
  readonly url: Promise<string>;
  /** Resolves when it is gone, with what ended it. */
  readonly exited: Promise<NodeJS.Signals | number | null>;
}

function startChild(folder: string, seen: Seen): Life {
  const child = spawn(process.execPath, [CHILD, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<NodeJS.Signals | number | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? code));
  });
  const url = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.startsWith('R ')) resolve(line.slice(2));
      const match = /^B (\d+) ([0-9a-f]{64} [0-9a-f]{64})$/.exec(line);
      if (match === null) return;
      const [height, hashes] = [Number(match[1]), match[2] as string];
      assert.equal(seen.blocks.get(height) ?? hashes, hashes, `two blocks or two states at height ${height}`);
      seen.blocks.set(height, hashes);
    });
  });
  return { child, url, exited };
}

/** Sends transfers until the node is gone, and notes which of them it confirmed. */
async function load(url: string, nonces: { next: number }, seen: Seen): Promise<void> {
  const rpc = connectRpc(url);
  try {
    for (;;) {
      const sent = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const { code, hash } = await rpc.broadcastTx(transfer(FAUCET, nonces.next++, ALICE, OPG));
          return code === 0 ? hash : null;
        }),
      );
      await delay(6);
      for (const hash of sent) {
        const result = hash === null ? null : await rpc.tx(hash);
        if (hash !== null && result !== null) seen.committed.set(toHex(hash), result.height);
      }
    }
  } catch {
    // It was killed.
  } finally {
    rpc.close();
  }
}

test(`${KILLS} kills at random moments under load: one block per height, nothing confirmed is lost, the chain goes on`, async (t) => {
  const folder = temporaryFolder(t);
  const app = testGenesis({ ...SHORT_PARAMS, validUntilAhead: 1_000_000 });
  const genesis = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: Date.now(), app });
  writeFileSync(join(folder, 'genesis.json'), JSON.stringify(genesis));
  const seen: Seen = { blocks: new Map(), committed: new Map() };
  const nonces = { next: 0 };
  for (let kill = 0; kill < KILLS; kill++) {
    const { child, url, exited } = startChild(folder, seen);
    // Some die while they start and recover, most under load.
    const isEarly = kill % 4 === 3;
    const loading = isEarly ? Promise.resolve() : url.then((ready) => load(ready, nonces, seen));
    if (!isEarly) await Promise.race([url, exited]);
    await delay(randomInt(isEarly ? 400 : 120));
    child.kill('SIGKILL');
    assert.equal(await exited, 'SIGKILL', 'it ended by itself');
    await loading;
  }
  const highest = Math.max(...seen.blocks.keys());
  const last = startChild(folder, seen);
  const loading = load(await last.url, nonces, seen);
  // A busy machine kills the node before it confirmed much; the last one lives until enough was confirmed to mean something.
  const isEnough = (): boolean =>
    Math.max(...seen.blocks.keys()) >= highest + 10 && seen.committed.size > KILLS;
  while (!isEnough()) await delay(5);
  last.child.kill('SIGKILL');
  await last.exited;
  await loading;
  t.diagnostic(
    `${seen.blocks.size} blocks seen, ${seen.committed.size} transactions confirmed, ${nonces.next} sent`,
  );

  const store = openStore(join(folder, 'home', 'data'));
  t.after(() => store.close());
  const reader = createBlockReader(store);
  const tree = restoreStateTree(store);
  assert.ok(reader.latest() >= highest + 10, 'the chain goes on');
  let applied = 0;
  for (let height = 1; height <= reader.latest(); height++) {
    const { block, blockId } = reader.block(height);
    const results = reader.results(height);
    const hashes = `${toHex(blockId.hash)} ${toHex(results.appHash)}`;
    assert.equal(seen.blocks.get(height) ?? hashes, hashes);
    const validators = reader.validators(height);
    const expected = { chainId: CHAIN, height, blockId, validators };
    assert.ok(verifyCommit(nodeCrypto, expected, reader.commit(height)).verdict.ok);
    if (height > 1) {
      assert.deepEqual(block.header.lastBlockId.hash, headerHash(reader.block(height - 1).block.header));
      assert.deepEqual(block.header.appHash, reader.results(height - 1).appHash);
    }
    for (const [i, { code }] of results.txResults.entries()) {
      assert.equal(code, 0);
      assert.equal(reader.txPlace(sha256(block.txs[i] as Uint8Array))?.height, height);
      applied++;
    }
  }
  for (const [hash, height] of seen.committed) {
    assert.equal(reader.txPlace(Uint8Array.from(Buffer.from(hash, 'hex')))?.height, height, `lost ${hash}`);
  }
  const account = decode(accountRecordCodec, tree.get(recordKey.account(ALICE.id)) as Uint8Array, 'account');
  assert.equal(account.nopg, BigInt(applied) * OPG, 'the state is what the blocks say');
});
