/** Which attesters a configuration makes. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseNodeConfig } from '@haca/inference-node';
import { openParts } from '../src/parts.ts';

const ASKED = {
  bindingHash: new Uint8Array(64).fill(1),
  signPublicKey: new Uint8Array(32).fill(2),
  refBlockHash: new Uint8Array(32).fill(3),
};

test('a configuration makes the attester it names, and GPUs beside it', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'haca-parts-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  writeFileSync(join(home, 'operator.json'), JSON.stringify({ version: 1, seed: '07'.repeat(32) }));
  writeFileSync(join(home, 'root.hex'), `${'11'.repeat(32)}\n`);
  const open = async (attester: object) => {
    const config = {
      dataDir: 'data',
      rpcUrl: 'http://127.0.0.1:1',
      operatorFile: 'operator.json',
      name: 'test',
      attester,
      engines: [{ kind: 'upstream', baseUrl: 'http://127.0.0.1:1/v1', models: [{ name: 'm' }] }],
      prices: { inputPrice: '2', cachedInputPrice: '1', outputPrice: '6' },
    };
    const parts = await openParts(parseNodeConfig(config, join(home, 'config.json')));
    parts.rpc.close();
    const { attester: made, gpuAttester } = parts;
    return { made, gpuAttester };
  };
  const none = await open({ kind: 'none' });
  assert.deepEqual([none.made, none.gpuAttester], [null, null]);
  const enclave = { kind: 'test-enclave', rootSeedFile: 'root.hex', image: 'image' };
  for (const shape of ['nitro', 'tdx', 'snp']) {
    const { made, gpuAttester } = await open({ ...enclave, shape, gpu: { testGpus: 2 } });
    assert.deepEqual([made?.kind, made?.isSimulated, gpuAttester?.isSimulated], [shape, true, true]);
    assert.ok(((await made?.attest(ASKED))?.length ?? 0) > 1_000, shape);
    assert.equal((await gpuAttester?.attest(new Uint8Array(32)))?.length, 2);
  }
  for (const [kind, attester] of [
    ['tdx', { kind: 'tsm', guest: 'tdx' }],
    ['snp', { kind: 'tsm', guest: 'snp', privlevel: 1, certificatesDir: 'amd' }],
    ['dstack', { kind: 'dstack', socketPath: '/nowhere/dstack.sock' }],
    ['nitro', { kind: 'nitro', bridge: ['/nowhere/nsm-bridge'], gpu: { command: ['/nowhere/gpus'] } }],
  ] as const) {
    const { made, gpuAttester } = await open(attester);
    assert.deepEqual([made?.kind, made?.isSimulated], [kind, false]);
    assert.equal(gpuAttester?.isSimulated ?? null, kind === 'nitro' ? false : null);
    // None of the platforms is this machine, or none has it at this place.
    if (kind === 'nitro' || kind === 'dstack')
      await assert.rejects(made?.attest(ASKED) ?? Promise.resolve(), { code: 'attester.missing' });
  }
});
