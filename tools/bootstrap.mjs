#!/usr/bin/env node
/**
 * Runs a TypeScript entry point of this repository on the pinned Node, on a clone where nothing was installed.
 *
 *   node tools/bootstrap.mjs ENTRY.ts [ARG ...]
 *
 * Plain JavaScript that old Node versions understand: it is what runs before anything else is there. It installs the
 * dependencies when they are missing or the lock file changed since, compiles the WebAssembly kernels when they are
 * missing or their sources changed since, then hands over to Node 24 from `node_modules/node-<platform>`, or to the Node
 * that runs it where that is 24 or newer.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const stampFile = join(root, 'node_modules', '.haca-installed');

const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8');
const lockDigest = createHash('sha256').update(lockText).digest('hex');
const stamped = existsSync(stampFile) && readFileSync(stampFile, 'utf8') === lockDigest;
if (!stamped && !isInstalled()) await install();
if (!stamped) writeFileSync(stampFile, lockDigest);

const node = findNode();
await buildKernels();
const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) fail('bootstrap: usage: node tools/bootstrap.mjs ENTRY.ts [ARG ...]');
const child = spawn(node, [join(root, entry), ...args], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ''}` },
});
// Ctrl-C reaches the child through the terminal; a signal sent to this process alone is passed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
});

/**
 * Whether somebody ran `npm ci` already: npm writes down last what it installed. Packages for other platforms are optional,
 * and missing. Installing again would empty `node_modules` under everything that runs.
 */
function isInstalled() {
  let installed;
  try {
    installed = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
  } catch {
    return false;
  }
  const { '': _root, ...wanted } = JSON.parse(lockText).packages;
  const isSame = (name) => JSON.stringify(installed[name]) === JSON.stringify(wanted[name]);
  return (
    Object.keys(installed).every(isSame) &&
    Object.keys(wanted).every((name) => wanted[name].optional === true || isSame(name))
  );
}

async function install() {
  const startedAt = Date.now();
  const seconds = () => `${((Date.now() - startedAt) / 1000).toFixed(0)} s`;
  const message = 'haca: installing dependencies (npm ci), once per lock file';
  const isTerminal = process.stderr.isTTY === true;
  process.stderr.write(`${message} ...${isTerminal ? '' : '\n'}`);
  const timer = isTerminal
    ? setInterval(() => process.stderr.write(`\r${message} ... ${seconds()}`), 500)
    : undefined;
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const child = spawn(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // The inference engine's own install step would download GPU libraries from outside the package registry.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', npm_config_onnxruntime_node_install: 'skip' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const status = await new Promise((settle) => {
    child.once('error', () => settle(-1));
    child.once('close', settle);
  });
  clearInterval(timer);
  if (status !== 0) {
    process.stderr.write(`\n${output}`);
    fail(
      'haca: npm ci failed. Check that the package registry can be reached, then run the same command again.',
    );
  }
  process.stderr.write(
    `${isTerminal ? '\r' : ''}haca: dependencies installed in ${seconds()}${isTerminal ? '\x1b[K' : ''}\n`,
  );
}

async function buildKernels() {
  const script = join(root, 'tools', 'build-wasm.mjs');
  const { staleModules } = await import('./build-wasm.mjs');
  if (staleModules().length === 0) return;
  const { status } = spawnSync(node, [script], { cwd: root, stdio: 'inherit' });
  if (status !== 0) fail('haca: the WebAssembly kernels could not be built.');
}

function findNode() {
  const packaged = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (existsSync(packaged)) return packaged;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  return fail(
    `haca: needs Node ${NODE_MAJOR} or newer; this is ${process.version}, and no packaged Node exists for ` +
      `${process.platform}-${process.arch}. Install Node ${NODE_MAJOR} and run the same command again.`,
  );
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
