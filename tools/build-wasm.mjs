/**
 * Compiles the AssemblyScript kernels to WebAssembly, where they are missing or older than their sources.
 *
 *   node tools/build-wasm.mjs            what is stale
 *   node tools/build-wasm.mjs --force    all
 *
 * Plain JavaScript, run by `tools/bootstrap.mjs` before anything else. A stamp beside each module holds the digest of
 * its sources, of the compiler's version and of its options; a module is written under another name and renamed, so two
 * builds at the same time do no harm.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Higher levels reorder the arithmetic by expression, which makes the engine spill registers: slower by a third. */
const COMMON = ['-O2', '--noAssert', '--runtime', 'stub', '--enable', 'simd'];

const MODULES = [
  {
    name: 'the verifier',
    sources: ['packages/platform/assembly'],
    entry: 'packages/platform/assembly/index.ts',
    out: 'packages/platform/build/zk-kernels.wasm',
    options: COMMON,
  },
  {
    name: 'P-384',
    sources: ['packages/platform/assembly/p384'],
    entry: 'packages/platform/assembly/p384/index.ts',
    out: 'packages/platform/build/p384.wasm',
    options: COMMON,
  },
  {
    name: 'the integer engine',
    sources: ['packages/runtime/assembly'],
    entry: 'packages/runtime/assembly/index.ts',
    out: 'packages/runtime/build/matrix-product.wasm',
    options: COMMON,
  },
  {
    name: 'the prover',
    sources: ['packages/prover/assembly', 'packages/platform/assembly'],
    entry: 'packages/prover/assembly/index.ts',
    out: 'packages/prover/build/kernels.wasm',
    // The first kilobytes hold constants, the rest of the memory is laid out by the host.
    options: [
      ...COMMON,
      ...['--enable', 'relaxed-simd', '--enable', 'threads', '--importMemory', '--sharedMemory'],
      ...['--initialMemory', '1', '--maximumMemory', '65536', '--memoryBase', '1024'],
    ],
  },
];

/** The modules whose stamp differs from what a build now would give. */
export function staleModules() {
  const manifest = readFileSync(join(root, 'node_modules/assemblyscript/package.json'), 'utf8');
  const { version } = JSON.parse(manifest);
  return MODULES.map((module) => ({ ...module, digest: digestOf(module, version) })).filter(
    ({ out, digest }) =>
      !existsSync(join(root, out)) ||
      !existsSync(join(root, `${out}.stamp`)) ||
      readFileSync(join(root, `${out}.stamp`), 'utf8') !== digest,
  );
}

function digestOf({ sources, entry, options }, version) {
  const hash = createHash('sha256').update(JSON.stringify([version, entry, options]));
  for (const folder of sources) {
    for (const file of readdirSync(join(root, folder)).sort()) {
      if (!file.endsWith('.ts')) continue;
      const text = readFileSync(join(root, folder, file));
      hash.update(`${folder}/${file}\n${text.length}\n`).update(text);
    }
  }
  return hash.digest('hex');
}

async function build({ name, entry, out, options, digest }) {
  const startedAt = Date.now();
  const compiler = join(root, 'node_modules/assemblyscript/dist/asc.js');
  const asc = await import(pathToFileURL(compiler).href);
  const target = join(root, out);
  const partial = `${target}.${process.pid}.partial`;
  mkdirSync(dirname(target), { recursive: true });
  let messages = '';
  const stream = { write: (text) => (messages += text) };
  const { error } = await asc.main([entry, '--baseDir', root, '--outFile', partial, ...options], {
    stdout: stream,
    stderr: stream,
  });
  if (error) {
    rmSync(partial, { force: true });
    throw new Error(`the kernels of ${name} do not compile\n${messages}`);
  }
  renameSync(partial, target);
  writeFileSync(`${partial}.stamp`, digest);
  renameSync(`${partial}.stamp`, `${target}.stamp`);
  process.stderr.write(
    `haca: kernels of ${name} built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`,
  );
}

async function main() {
  const stale = staleModules();
  for (const module of process.argv.includes('--force') ? allModules() : stale) await build(module);
}

function allModules() {
  for (const { out } of MODULES) rmSync(join(root, `${out}.stamp`), { force: true });
  return staleModules();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
