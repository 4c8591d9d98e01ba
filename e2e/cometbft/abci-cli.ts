/**
 * CometBFT's own golden files against our ABCI server: its `abci-cli` drives a key-value store behind the server, and what it
 * prints must be what its authors have on file, byte for byte. `abci-cli test` is left out: it wants an application that
 * counts, and sends validator keys of 33 bytes, which no network of ours could have.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { buildCometBft, COMETBFT_VERSIONS, CometBftBuildError, type CometBftVersion } from '@haca/chain';

export interface GoldenResult {
  readonly version: CometBftVersion;
  readonly file: string;
  readonly transport: 'unix' | 'tcp';
  readonly ok: boolean;
  /** What was printed, where it is not what is on file. */
  readonly printed: string;
  readonly golden: string;
}

export interface AbciCliOptions {
  readonly versions?: readonly CometBftVersion[];
  readonly log?: (line: string) => void;
}

const KVSTORE = resolve(import.meta.dirname, '../../packages/chain/test/abci-kvstore-program.ts');
const GOLDEN_FILES = ['ex1.abci', 'ex2.abci'] as const;
const TIMEOUT_MS = 60_000;
const run = promisify(execFile);

/** One result for each version, file and transport. Throws `CometBftBuildError` where Go is missing or a build fails. */
export async function runAbciCli(options: AbciCliOptions = {}): Promise<readonly GoldenResult[]> {
  const log = options.log ?? (() => undefined);
  const results: GoldenResult[] = [];
  for (const version of options.versions ?? COMETBFT_VERSIONS) {
    const program = await buildCometBft({ version, program: 'abci-cli', log });
    const folder = await goldenFolder(version);
    for (const file of GOLDEN_FILES) {
      for (const transport of ['unix', 'tcp'] as const) {
        const commands = readFileSync(join(folder, file));
        const golden = readFileSync(join(folder, `${file}.out`), 'utf8');
        const printed = await withKvstore(transport, (address) => batch(program, address, commands));
        const ok = printed === golden && golden.length > 0;
        log(`abci-cli ${version}, ${file}, ${transport}: ${ok ? 'as on file' : 'DIFFERENT'}`);
        results.push({ version, file, transport, ok, printed, golden });
      }
    }
  }
  return results;
}

async function goldenFolder(version: CometBftVersion): Promise<string> {
  const args = ['mod', 'download', '-json', `github.com/cometbft/cometbft@v${version}`];
  const { stdout } = await run('go', args, { cwd: tmpdir(), timeout: TIMEOUT_MS }).catch((cause: unknown) => {
    throw new CometBftBuildError("the golden files lie in Go's module cache, which `go` cannot say", {
      cause,
    });
  });
  const { Dir: folder } = JSON.parse(stdout) as { readonly Dir: string };
  return join(folder, 'abci/tests/test_cli');
}

async function withKvstore<T>(transport: 'unix' | 'tcp', use: (address: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'haca-abci-'));
  const where = transport === 'unix' ? ['--path', join(folder, 'kv.sock')] : ['--port', '0'];
  const child = spawn(process.execPath, [KVSTORE, ...where], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [address] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return await use(address);
  } finally {
    child.kill('SIGKILL');
    await exitOf(child);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function batch(program: string, address: string, commands: Uint8Array): Promise<string> {
  const args = ['--address', address, '--log_level=error', '--verbose', 'batch'];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
  let printed = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  child.stdin.end(commands);
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0 ? printed : `${printed}abci-cli ended with ${code}: ${complaint}`;
}

async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
