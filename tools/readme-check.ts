/**
 * Runs the commands of README.md and holds what they print against what it shows.
 *
 * A block that begins with ```console holds `$ command` lines, each followed by its output. `…` stands for anything within
 * a line, a line of only `…` for any lines. Blocks marked ```console network run while `npm start` is up.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

interface Command {
  readonly line: string;
  readonly expected: readonly string[];
  readonly needsNetwork: boolean;
}

const root = resolve(import.meta.dirname, '..');
const START_TIMEOUT_MS = 120_000;
const COMMAND_TIMEOUT_MS = 120_000;

const commands = parseCommands(readFileSync(join(root, 'README.md'), 'utf8'));
if (commands.length < 3)
  throw new Error(`README.md shows ${commands.length} commands: is the block format broken?`);
const home = mkdtempSync(join(tmpdir(), 'haca-readme-'));
const env = { ...process.env, HACA_HOME: home, NO_COLOR: '1' };
let failures = 0;
for (const command of commands.filter(({ needsNetwork }) => !needsNetwork)) check(command);
const network = commands.some(({ needsNetwork }) => needsNetwork) ? await startNetwork() : undefined;
for (const command of commands.filter(({ needsNetwork }) => needsNetwork)) check(command);
if (network !== undefined) await stopNetwork(network);
rmSync(home, { recursive: true, force: true });
process.stdout.write(
  `README: ${commands.length - failures} of ${commands.length} commands print what it shows\n`,
);
process.exitCode = failures === 0 ? 0 : 1;

function parseCommands(markdown: string): Command[] {
  const found: Command[] = [];
  for (const [, info, body] of markdown.matchAll(/^```console(.*)\n([\s\S]*?)^```$/gm)) {
    for (const part of (body as string).split(/^(?=\$ )/m)) {
      const [first, ...rest] = part.trimEnd().split('\n');
      if (first?.startsWith('$ ') !== true) continue;
      found.push({
        line: first.slice(2),
        expected: rest,
        needsNetwork: (info as string).includes('network'),
      });
    }
  }
  return found;
}

function check({ line, expected }: Command): void {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', line], {
    cwd: root,
    env,
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
  });
  const printed = stdout
    .trimEnd()
    .split('\n')
    .map((text) => text.trimEnd());
  const pattern = new RegExp(`^${expected.map(linePattern).join('')}$`);
  const matches = status === 0 && pattern.test(`${printed.join('\n')}\n`);
  process.stdout.write(`${matches ? 'ok      ' : 'FAILED  '}${line}\n`);
  if (matches) return;
  failures++;
  process.stdout.write(
    `  exit code ${status}\n  README shows:\n${expected.join('\n')}\n  it printed:\n${stdout}${stderr}\n`,
  );
}

function linePattern(line: string): string {
  if (line.trim() === '…') return '(?:.*\\n)*?';
  const escaped = line
    .trimEnd()
    .split('…')
    .map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return `${escaped.join('.*')}\\n`;
}

async function startNetwork(): Promise<ChildProcess> {
  const child = spawn('npm', ['start'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  await new Promise<void>((settle, fail) => {
    const timer = setTimeout(() => fail(new Error('npm start did not come up')), START_TIMEOUT_MS);
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (!text.includes('Ctrl-C stops everything')) return;
      clearTimeout(timer);
      settle();
    });
    child.once('exit', (code) => fail(new Error(`npm start ended with ${code}\n${text}`)));
  });
  return child;
}

async function stopNetwork(child: ChildProcess): Promise<void> {
  child.removeAllListeners('exit');
  const ended = new Promise((settle) => child.once('exit', settle));
  if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  await ended;
}
