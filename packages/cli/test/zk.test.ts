import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodeProofFile, offChainIds, type ProofFile } from '@haca/circuit';
import { runCli } from '@haca/cli';
import { progressText } from '../src/progress-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'haca-cli-zk-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await runCli(args, {
    out: (line) => void lines.out.push(line),
    err: (line) => void lines.err.push(line),
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('flags that can not be meant are exit code 2, before anything is started', async () => {
  const some = write('some.json', '{}');
  const cases = [
    [['zk'], /zk import, zk prove, zk verify, zk inspect/],
    [['zk', 'prov'], /did you mean zk prove\?/],
    [['zk', 'import'], /MODEL\.onnx/],
    [['zk', 'import', some], /--calibration is needed/],
    [['zk', 'import', some, some, '--calibration', some], /takes one MODEL\.onnx/],
    [['zk', 'import', '/nowhere.onnx', '--calibration', some], /no file \/nowhere\.onnx/],
    [['zk', 'import', some, '--calibration', '/nowhere.json'], /no file \/nowhere\.json/],
    [['zk', 'import', some, '--calibration', some, '--activations', '7'], /8 to 12, not 7/],
    [['zk', 'import', some, '--calibration', some, '--activations', 'int8'], /8 to 12, not int8/],
    [['zk', 'import', some, '--calibration', some, '--weights', '8.5'], /8 to 12, not 8\.5/],
    [['zk', 'import', some, '--calibration', some, '--agreement', '2'], /0 to 1, not 2/],
    [['zk', 'import', some, '--calibration', some, '--batch', '0'], /1 to 1024, not 0/],
    [['zk', 'import', some, '--calibration', some, '--profile', '3'], /1 to 2, not 3/],
    [['zk', 'import', some, '--calibration', some, '--threads', '1e1'], /1 to 64/],
    [['zk', 'import', some, '--calibraton', some], /did you mean --calibration\?/],
    [['zk', 'prove', some], /--input is needed/],
    [['zk', 'prove', '/nowhere.hzk', '--input', some], /no file \/nowhere\.hzk/],
    [['zk', 'verify'], /what to verify/],
    [['zk', 'verify', some, some], /what to verify/],
    [['zk', 'verify', some, '--key', 'abc'], /64 hex digits/],
    [['zk', 'verify', some, '--key', '00'.repeat(32), '--model', some], /not both/],
    [['zk', 'verify', '/nowhere.hzp'], /nowhere/],
    [['zk', 'verify', some], /cbor\./],
    [['zk', 'verify', some, '--model', some], /hzk\.magic/],
    [['zk', 'inspect'], /what to inspect/],
    [['zk', 'inspect', some], /hzk\.magic/],
  ] as const;
  for (const [args, expected] of cases) {
    const { code, err } = await run(...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, expected, args.join(' '));
  }
  const { code, out } = await run('zk', 'verify', some, '--json');
  assert.equal(code, 2);
  assert.match((JSON.parse(out) as { error: { code: string } }).error.code, /^cbor\./);
});

const nonsense: ProofFile = {
  verifyingKey: new Uint8Array([1, 2, 3]),
  ...offChainIds('haca zk prove'),
  batchSize: 1,
  inputs: [new Uint8Array(1)],
  outputs: [new Uint8Array(1)],
  proof: new Uint8Array([7]),
};

test('a file of nonsense is a failed check, pinned or not', async () => {
  const path = write('nonsense.hzp', encodeProofFile(nonsense));
  for (const more of [[], ['--key', '00'.repeat(32)], ['--context', 'other'], ['--checks']]) {
    const { code, out } = await run('zk', 'verify', path, ...more);
    assert.equal(code, 1, more.join(' '));
    assert.match(out, /^NOT verified/m);
    assert.doesNotMatch(out, /^output/m);
  }
  const { code, out } = await run('zk', 'verify', path, '--json');
  assert.equal(code, 1);
  const view = JSON.parse(out) as { ok: boolean; outputs: unknown; keyPinned: boolean };
  assert.deepEqual([view.ok, view.outputs, view.keyPinned], [false, null, false]);
});

test('progress says how much is done, and for how much longer once that can be told', () => {
  assert.equal(progressText('calibrate', 0, 0), `calibrate            [${' '.repeat(20)}]   0%`);
  assert.equal(
    progressText('calibrate', 0.25, 30_000),
    `calibrate            [${'='.repeat(5)}${' '.repeat(15)}]  25%  1 min 30 s left`,
  );
  assert.ok(progressText('opening', 1, 9_000).endsWith('100%'));
  assert.ok(!progressText('opening', 0.5, 500).includes('left'));
});
