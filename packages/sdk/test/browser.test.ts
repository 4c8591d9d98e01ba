import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { portableCrypto } from '@haca/platform/portable';
import { portableSignerFromSeed } from '@haca/platform/portable-keys';
import { memoryWalletStore, openHaca, parseGenesisDocument } from '@haca/sdk';
import { startFakeNetwork, WORDS } from './fake-node.ts';

const PACKAGES = resolve(import.meta.dirname, '../..');

/** Every module that `entry` pulls in at run time, following relative imports and those of this repository's packages. */
function importedModules(
  entry: string,
  seen = new Map<string, readonly string[]>(),
): Map<string, readonly string[]> {
  if (seen.has(entry)) return seen;
  const text = readFileSync(entry, 'utf8');
  const names = [...text.matchAll(/^(?:import|export)(?! type)[^;]*?from\s+'([^']+)'/gms)].map(
    ([, name]) => name as string,
  );
  seen.set(entry, names);
  for (const name of names) {
    if (name.startsWith('.')) importedModules(join(dirname(entry), name), seen);
    const own = /^@haca\/([^/]+)(?:\/(.+))?$/.exec(name);
    if (own === null) continue;
    const [, folder, path] = own;
    const { exports } = JSON.parse(
      readFileSync(join(PACKAGES, folder as string, 'package.json'), 'utf8'),
    ) as {
      exports: Record<string, string>;
    };
    const target = exports[path === undefined ? '.' : `./${path}`] as string;
    importedModules(join(PACKAGES, folder as string, target), seen);
  }
  return seen;
}

test('nothing that the core imports is there in Node only', () => {
  const modules = importedModules(join(PACKAGES, 'sdk/src/index.ts'));
  assert.ok(modules.size > 60, `saw ${modules.size} modules`);
  const builtins = [...modules].flatMap(([file, names]) =>
    names.filter((name) => name.startsWith('node:')).map((name) => `${file}: ${name}`),
  );
  assert.deepEqual(builtins, []);
});

test('the client pays and verifies with portable code alone', async () => {
  const node = startFakeNetwork();
  const haca = await openHaca({
    rpcUrl: 'fake:',
    rpc: node.chain.rpc,
    platform: { crypto: portableCrypto, signerFromSeed: portableSignerFromSeed },
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    wallet: { signer: portableSignerFromSeed(new Uint8Array(32).fill(2)), store: memoryWalletStore() },
    policy: { minAssurance: 'signed' },
    fetch: node.fetch,
    clock: node.chain.timeMs,
  });
  const { text, answer } = await haca.chat({ prompt: 'hi', onText: () => undefined });
  assert.equal(text, WORDS.join(''));
  assert.ok(answer.verdict.ok);
});
