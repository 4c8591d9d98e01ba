/** `haca zk import`, `prove` and `verify` as people run them: real processes, models of several exporters, files on disk. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeHzk, encodeProofFile, type ProofFile, parseHzk, parseProofFile } from '@haca/circuit';
import { runCli } from '@haca/cli';

const ROOT = resolve(import.meta.dirname, '../..');
const CLI = join(ROOT, 'packages/cli/src/main.ts');
const FIXTURES = join(ROOT, 'packages/compiler/test/fixtures');
const folder = mkdtempSync(join(tmpdir(), 'haca-zk-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const MODELS = [
  'torch-lenet-dynamo-20',
  'torch-two-inputs-dynamo-18',
  'sklearn-tanh-21',
  'keras-cnn-15',
] as const;
const SAMPLES = 40;

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** In processes of its own, in the folder of the files. */
function start(args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Outcome> } {
  const child = spawn(process.execPath, [CLI, 'zk', ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on('data', (bytes: Buffer) => void out.push(String(bytes)));
  child.stderr.on('data', (bytes: Buffer) => void err.push(String(bytes)));
  const ended = new Promise<Outcome>((settle) =>
    child.once('close', (code) => settle({ code, out: out.join(''), err: err.join('') })),
  );
  return { child, ended };
}

const file = (name: string): string => join(folder, name);
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(file(name)));

/** The same command line in this process, which starts others only to import and prove. Files are those of the folder. */
async function haca(...args: string[]): Promise<Outcome> {
  const [out, err]: [string[], string[]] = [[], []];
  const placed = args.map((arg) => (/\.(?:hzk|hzp|json|onnx)$/.test(arg) ? resolve(folder, arg) : arg));
  const code = await runCli(['zk', ...placed], {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
  });
  return { code, out: out.join('\n'), err: err.join('\n') };
}

// biome-ignore lint/suspicious/noExplicitAny: what the command prints, looked at member by member.
async function json(...args: string[]): Promise<{ readonly code: number | null; readonly view: any }> {
  const { code, out, err } = await haca(...args, '--json');
  assert.ok(out.startsWith('{'), `${args.join(' ')}: ${out}${err}`);
  return { code, view: JSON.parse(out) };
}

interface Digits {
  readonly images: string;
  readonly labels: string;
}

function digits(part: 'calibration' | 'heldOut'): { readonly images: number[][]; readonly labels: number[] } {
  const all = JSON.parse(readFileSync(join(FIXTURES, 'digits8.json'), 'utf8')) as Record<string, Digits>;
  const { images, labels } = all[part] as Digits;
  const pixels = [...Buffer.from(images, 'base64')];
  return {
    images: Array.from({ length: SAMPLES }, (_, i) => pixels.slice(64 * i, 64 * (i + 1))),
    labels: [...Buffer.from(labels, 'base64')].slice(0, SAMPLES),
  };
}

/** Sums of 2 x 2 blocks divided by 4. */
function tokensOf(image: readonly number[]): number[] {
  const corners = [0, 2, 4, 6].flatMap((y) => [0, 2, 4, 6].map((x) => 8 * y + x));
  return corners.map((at) => [0, 1, 8, 9].reduce((sum, step) => sum + (image[at + step] as number), 0) >> 2);
}

interface Fixture {
  readonly inputs: Readonly<Record<string, { readonly kind: string }>>;
  readonly outputs: Readonly<Record<string, { readonly values: readonly number[] }>>;
  readonly scores: string;
}

function rowsFor(model: string, images: readonly (readonly number[])[]): Record<string, number[][]> {
  const { inputs } = JSON.parse(readFileSync(join(FIXTURES, `${model}.json`), 'utf8')) as Fixture;
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { kind }]) => [
      name,
      images.map((image) => (kind === 'image' ? [...image] : tokensOf(image))),
    ]),
  );
}

function writeInputs(model: string): void {
  const [calibration, heldOut] = [digits('calibration'), digits('heldOut')];
  const data = { inputs: rowsFor(model, calibration.images), labels: calibration.labels };
  writeFileSync(file(`${model}.data.json`), JSON.stringify(data));
  writeFileSync(
    file(`${model}.input.json`),
    JSON.stringify({ inputs: rowsFor(model, heldOut.images.slice(0, 3)) }),
  );
}

const importModel = (model: string, ...more: string[]) =>
  json(
    'import',
    join(FIXTURES, `${model}.onnx`),
    '--calibration',
    `${model}.data.json`,
    '--out',
    `${model}.hzk`,
    ...more,
  );

const argmax = (values: readonly number[]): number => values.indexOf(Math.max(...values));

for (const model of MODELS) {
  test(`${model}: imported, proved and verified`, async () => {
    writeInputs(model);
    const imported = await importModel(model);
    assert.equal(imported.code, 0, JSON.stringify(imported.view));
    assert.equal(imported.view.samples, SAMPLES);
    assert.ok(imported.view.agreement >= 0.9, `agreement ${imported.view.agreement}`);
    assert.ok(imported.view.accuracy.integer >= 0.9);
    assert.ok(imported.view.proof.securityBits >= 100);

    const proved = await json(
      'prove',
      `${model}.hzk`,
      '--input',
      `${model}.input.json`,
      '--out',
      `${model}.hzp`,
    );
    assert.equal(proved.code, 0, JSON.stringify(proved.view));
    assert.equal(proved.view.batchSize, 3);
    assert.equal(proved.view.sizeBytes, read(`${model}.hzp`).length);
    const { labels } = digits('heldOut');
    const described = JSON.parse(readFileSync(join(FIXTURES, `${model}.json`), 'utf8')) as Fixture;
    const scores =
      proved.view.outputs.find(({ name }: { name: string }) => name === described.scores) ??
      proved.view.outputs[0];
    const reference = described.outputs[described.scores]?.values ?? [];
    for (const [i, { values }] of scores.rows.entries()) {
      const float = reference.slice(i * values.length, (i + 1) * values.length);
      assert.equal(argmax(values), argmax(float), `row ${i}, label ${labels[i]}`);
    }

    const pinned = await json('verify', `${model}.hzp`, '--model', `${model}.hzk`);
    assert.equal(pinned.code, 0, JSON.stringify(pinned.view));
    assert.equal(pinned.view.ok, true);
    assert.deepEqual(pinned.view.outputs[0].rows[0].values, proved.view.outputs[0].rows[0].values);
    const byHash = await json('verify', `${model}.hzp`, '--key', imported.view.verifyingKeyHash);
    assert.equal(byHash.code, 0);
    const unpinned = await json('verify', `${model}.hzp`);
    assert.equal(unpinned.code, 3);
    assert.equal(unpinned.view.ok, false);
    assert.deepEqual(
      unpinned.view.checks.flatMap(({ id, status }: { id: string; status: string }) =>
        status === 'skipped' ? [id] : [],
      ),
      ['statement.key'],
    );
  });
}

const MODEL = 'torch-mlp-dynamo-18';
const OTHER = 'sklearn-logistic-17';
const hzp = `${MODEL}.hzp`;

before(async () => {
  for (const model of [MODEL, OTHER]) {
    writeInputs(model);
    assert.equal((await importModel(model)).code, 0);
    const proved = await haca(
      'prove',
      `${model}.hzk`,
      '--input',
      `${model}.input.json`,
      '--out',
      `${model}.hzp`,
    );
    assert.equal(proved.code, 0, proved.err);
  }
});

/** The exit code and the codes of what failed. */
async function verifyChanged(change: (proof: ProofFile) => ProofFile, ...more: string[]): Promise<string> {
  writeFileSync(file('changed.hzp'), encodeProofFile(change(parseProofFile(read(hzp)))));
  const { code, view } = await json('verify', 'changed.hzp', '--model', `${MODEL}.hzk`, ...more);
  const failed = view.checks.filter(({ status }: { status: string }) => status === 'failed');
  return `${code} ${failed.map(({ id, code: why }: { id: string; code: string }) => `${id} ${why}`).join()}`;
}

const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] as number) ^ 1);

test('ZK-31 what was changed in a proof file is found, and what is missing is a skipped check', async () => {
  const first = (tensors: readonly Uint8Array[]): Uint8Array[] => [
    flipped(tensors[0] as Uint8Array, 0),
    ...tensors.slice(1),
  ];
  const other = parseProofFile(read(`${OTHER}.hzp`));
  assert.equal(await verifyChanged((proof) => proof), '0 ');
  assert.match(await verifyChanged((proof) => ({ ...proof, outputs: first(proof.outputs) })), /^1 zk\./);
  assert.match(await verifyChanged((proof) => ({ ...proof, inputs: first(proof.inputs) })), /^1 zk\./);
  assert.match(await verifyChanged((proof) => ({ ...proof, batchSize: 2 })), /^1 zk\./);
  assert.match(await verifyChanged((proof) => ({ ...proof, batchSize: 0 })), /^1 zk\./);
  for (const at of [0, 4, 10, 5_000, 50_000])
    assert.match(await verifyChanged((proof) => ({ ...proof, proof: flipped(proof.proof, at) })), /^1 zk\./);
  const registration = parseProofFile(read(hzp)).registration as Uint8Array;
  for (const at of [10, 30_000])
    assert.match(
      await verifyChanged((proof) => ({ ...proof, registration: flipped(registration, at) })),
      /^1 weights\.zk\./,
    );
  assert.match(await verifyChanged((proof) => ({ ...proof, registration: proof.proof })), /^1 weights\.zk\./);
  assert.match(await verifyChanged((proof) => ({ ...proof, proof: other.proof })), /^1 zk\./);
  assert.match(
    await verifyChanged((proof) => ({ ...proof, verifyingKey: flipped(proof.verifyingKey, 40) })),
    /^1 statement\.key E_KEY/,
  );
  for (const name of ['chainId', 'claimId', 'nonce'] as const)
    assert.equal(
      await verifyChanged((proof) => ({ ...proof, [name]: flipped(proof[name], 5) })),
      '1 statement.context E_CONTEXT',
    );
  const { registration: _, ...without } = parseProofFile(read(hzp));
  assert.equal(await verifyChanged(() => without), '3 ');
});

test('another model, key or context is exit code 1', async () => {
  const wrong = await json('verify', hzp, '--model', `${OTHER}.hzk`);
  assert.equal(wrong.code, 1);
  assert.equal(wrong.view.model, null);
  assert.equal((await haca('verify', hzp, '--key', '00'.repeat(32))).code, 1);
  assert.equal((await haca('verify', hzp, '--model', `${MODEL}.hzk`, '--context', 'mine')).code, 1);
  const input = ['--input', `${MODEL}.input.json`];
  const mine = await haca('prove', `${MODEL}.hzk`, ...input, '--out', 'mine.hzp', '--context', 'mine');
  assert.equal(mine.code, 0);
  assert.equal((await haca('verify', 'mine.hzp', '--model', `${MODEL}.hzk`)).code, 1);
  assert.equal((await haca('verify', 'mine.hzp', '--model', `${MODEL}.hzk`, '--context', 'mine')).code, 0);
});

test('ZK-29 ZK-30 what is no proof file or model file is exit code 2, with a name', async () => {
  const good = read(hzp);
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['empty', new Uint8Array(0), /cbor\./],
    ['cut', good.subarray(0, good.length - 1), /cbor\./],
    ['long', new Uint8Array([...good, 0]), /cbor\.trailing/],
    ['model', read(`${MODEL}.hzk`), /cbor\./],
    ['text', new TextEncoder().encode('{"proof": 1}'), /cbor\./],
  ];
  for (const [name, bytes, pattern] of cases) {
    writeFileSync(file('bad.hzp'), bytes);
    const { code, err } = await haca('verify', 'bad.hzp');
    assert.equal(code, 2, name);
    assert.match(err, pattern, name);
  }
  const model = read(`${MODEL}.hzk`);
  for (const [name, bytes, pattern] of [
    ['magic', flipped(model, 0), /hzk\.magic/],
    ['cut', model.subarray(0, model.length - 1), /hzk\.length/],
    ['proof', good, /hzk\.magic/],
  ] as const) {
    writeFileSync(file('bad.hzk'), bytes);
    for (const args of [
      ['verify', hzp, '--model', 'bad.hzk'],
      ...(name === 'cut' ? [['prove', 'bad.hzk', '--input', `${MODEL}.input.json`, '--out', 'bad.hzp']] : []),
      ['inspect', 'bad.hzk'],
    ]) {
      const { code, err } = await haca(...args);
      assert.equal(code, 2, `${name}: ${args.join(' ')}`);
      assert.match(err, pattern, name);
    }
  }
});

test('weights that are not those of the key are not proved with', async () => {
  const model = parseHzk(read(`${MODEL}.hzk`));
  const [weights, ...rest] = model.weights;
  const changed = (weights as Int8Array).slice();
  changed[0] = changed[0] === 0 ? 1 : 0;
  writeFileSync(file('swapped.hzk'), encodeHzk({ ...model, weights: [changed, ...rest] }));
  const args = ['--input', `${MODEL}.input.json`, '--out', 'swapped.hzp'];
  const { code, err } = await haca('prove', 'swapped.hzk', ...args);
  assert.equal(code, 2);
  assert.match(err, /hzk\.weights/);
  assert.ok(!existsSync(file('swapped.hzp')));
});

test('what can not be imported is named: 1 for models beyond reach, 2 for what can not be read', async () => {
  const onnx = new Uint8Array(readFileSync(join(FIXTURES, `${MODEL}.onnx`)));
  const attempt = async (model: Uint8Array, data: string): Promise<string> => {
    writeFileSync(file('broken.onnx'), model);
    writeFileSync(file('broken.json'), data);
    const { code, view } = await json(
      'import',
      'broken.onnx',
      '--calibration',
      'broken.json',
      '--out',
      'broken.hzk',
    );
    assert.equal(view.ok, false);
    assert.ok(!existsSync(file('broken.hzk')), 'a file was written');
    const operators = (view.error.unsupported ?? []) as readonly { operator: string; places: string[] }[];
    return [
      code,
      view.error.code,
      ...operators.map(({ operator, places }) => `${operator} ${places.length}`),
    ].join(' ');
  };
  const good = readFileSync(file(`${MODEL}.data.json`), 'utf8');
  assert.match(await attempt(onnx.subarray(0, onnx.length >> 1), good), /^2 onnx\./);
  assert.match(await attempt(new Uint8Array(100).fill(0xff), good), /^2 onnx\.protobuf/);
  assert.match(await attempt(new Uint8Array(0), good), /^2 onnx\.model/);
  assert.equal(await attempt(onnx, 'no json'), '2 calibration.json');
  assert.equal(await attempt(onnx, '{"inputs": {}}'), '2 calibration.input');
  assert.equal(await attempt(onnx, JSON.stringify({ inputs: { x: [[1, 2, 3]] } })), '2 calibration.shape');
  const foreign = Buffer.from(onnx).toString('latin1').replaceAll('Relu', 'Rexu').replaceAll('Gemm', 'Gexx');
  const renamed = new Uint8Array(Buffer.from(foreign, 'latin1'));
  assert.equal(await attempt(renamed, good), '1 onnx.unsupported-op Gexx 3 Rexu 1 LeakyRexu 1');
});

test('as processes of their own, with files beside them', async () => {
  writeInputs(MODEL);
  const run = (...args: string[]): Promise<Outcome> => start(args).ended;
  const onnx = join(FIXTURES, `${MODEL}.onnx`);
  const classes = 'zero,one,two,three,four,five,six,seven,eight,nine';
  const imported = await run('import', onnx, '--calibration', `${MODEL}.data.json`, '--classes', classes);
  assert.equal(imported.code, 0, imported.err);
  assert.match(imported.out, /^agreement {2}\d+(?:\.\d+)?% of 40 rows/m);
  assert.match(imported.err, /^calibrate/m);
  const proved = await run('prove', `${MODEL}.hzk`, '--input', `${MODEL}.input.json`, '--out', 'own.hzp');
  assert.equal(proved.code, 0, proved.err);
  const verified = await run('verify', 'own.hzp', '--model', `${MODEL}.hzk`);
  assert.equal(verified.code, 0, verified.err);
  assert.match(verified.out, /^output {5}.*row 1: (?:zero|one|two|three|four|five|six|seven|eight|nine): /m);
  assert.match(verified.out, /^verified in /m);
  const unpinned = await run('verify', 'own.hzp');
  assert.equal(unpinned.code, 3);
  assert.match(unpinned.out, /NOT KNOWN/);
  const inspected = await run('inspect', `${MODEL}.hzk`);
  assert.equal(inspected.code, 0);
  assert.match(inspected.out, /^0 +\w+ +t\d/m);
});

test('a stopped proof leaves nothing behind', async () => {
  writeFileSync(file('stop.json'), JSON.stringify(digits('heldOut').images));
  const args = ['prove', `${MODEL}.hzk`, '--input', 'stop.json', '--out', 'stop.hzp', '--threads', '1'];
  const { child, ended } = start(args);
  child.stderr?.once('data', () => child.kill('SIGINT'));
  const { code } = await ended;
  assert.equal(code, 130);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('stop.hzp')),
    [],
  );
});
