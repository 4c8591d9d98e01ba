/** Commands that start other programs of this repository: they run in processes of their own, as they would in production. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, CommandLineError } from '../command.ts';

const ROOT = resolve(import.meta.dirname, '../../../..');

export const devnetCommand: Command = {
  name: 'devnet',
  summary: 'Runs the local network (the same as npm start); flags go to it: see haca devnet --help.',
  operands: '',
  flags: {},
  examples: ['haca devnet', 'haca devnet --once --json'],
  passThrough: true,
  run: ({ raw }) => runApp('apps/devnet/src/main.ts', raw),
};

export const nodeFullCommand: Command = {
  name: 'node full',
  summary:
    'Runs a full node, which verifies and orders; or prepares one to join a network: haca node full init.',
  operands: '',
  flags: {},
  examples: ['haca node full --config full.json', 'haca node full init --help'],
  passThrough: true,
  run: async ({ raw }) => {
    if (raw.length > 0) return await runApp('apps/full-node/src/main.ts', raw);
    throw new CommandLineError('node full what? --config FILE runs one, init prepares one; --help says more');
  },
};
export const nodeInferenceCommand = nodeCommand(
  'inference',
  'an inference node: serves and settles',
  'apps/inference-node/src/main.ts',
);

export const evidencePageCommand: Command = {
  name: 'evidence page',
  summary:
    'Writes one HTML file that judges evidence of every kind in a browser, offline, as evidence verify does.',
  operands: '',
  flags: {},
  examples: ['haca evidence page', 'haca evidence page --out verify-evidence.html'],
  passThrough: true,
  run: ({ raw }) => runApp('apps/verify-evidence/src/main.ts', raw),
};

function nodeCommand(kind: string, what: string, entry: string): Command {
  return {
    name: `node ${kind}`,
    summary: `Runs ${what}. Prints one JSON line when it is ready.`,
    operands: '',
    flags: { config: { value: 'FILE', help: 'its configuration, JSON' } },
    examples: [`haca node ${kind} --config ${kind}.json`],
    run: async (call) => {
      const config = call.text('config');
      if (config === undefined) throw new CommandLineError('--config FILE is needed');
      if (!existsSync(config)) throw new CommandLineError(`there is no file ${config}`);
      return runApp(entry, [resolve(config)]);
    },
  };
}

/** Runs an app to its end with this process's own terminal; signals are passed on. */
function runApp(entry: string, args: readonly string[]): Promise<number> {
  const path = resolve(ROOT, entry);
  if (!existsSync(path)) throw new CommandLineError(`${entry} is not part of this checkout`);
  const child = spawn(process.execPath, [path, ...args], { stdio: 'inherit' });
  const forward = (signal: NodeJS.Signals): boolean => child.kill(signal);
  process.on('SIGTERM', forward);
  process.on('SIGINT', () => {
    // A terminal sends Ctrl-C to the child too.
    if (!process.stdin.isTTY) child.kill('SIGINT');
  });
  return new Promise((settle, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => settle(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}
