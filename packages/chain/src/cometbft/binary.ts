/**
 * CometBFT's programs, built from the Go module by exact version into a cache folder of the user. Nothing is downloaded but
 * Go modules, whose content Go's checksum database vouches for.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { UsageError } from '@haca/primitives';

/** The first is what a node runs; the others are tested too. */
export const COMETBFT_VERSIONS = ['0.39.4', '0.38.25', '0.40.0'] as const;
export type CometBftVersion = (typeof COMETBFT_VERSIONS)[number];
export const COMETBFT_VERSION: CometBftVersion = COMETBFT_VERSIONS[0];

const MODULE = 'github.com/cometbft/cometbft';
const PACKAGES = { cometbft: 'cmd/cometbft', 'abci-cli': 'abci/cmd/abci-cli' } as const;
export type CometBftProgram = keyof typeof PACKAGES;

/** Go is missing or too old, or the build failed; the message says what to do. */
export class CometBftBuildError extends Error {
  override readonly name = 'CometBftBuildError';
}

export interface BuildOptions {
  readonly version?: CometBftVersion;
  readonly program?: CometBftProgram;
  /** `haca` below the user's cache folder if not said. */
  readonly cacheFolder?: string;
  /** Told what is going on when there is something to build. */
  readonly log?: (line: string) => void;
}

const PROGRESS_INTERVAL_MS = 15_000;
const run = promisify(execFile);

export function parseCometBftVersion(text: string): CometBftVersion {
  const known = COMETBFT_VERSIONS.find((version) => version === text);
  if (known !== undefined) return known;
  throw new UsageError(`CometBFT ${text} is not supported; supported are ${COMETBFT_VERSIONS.join(', ')}`);
}

function defaultCacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'haca');
}

/** Path of the program where it was built before. */
export function findCometBft(options: BuildOptions = {}): string | undefined {
  const path = join(programFolder(options), options.program ?? 'cometbft');
  return existsSync(path) ? path : undefined;
}

/** Path of the program; builds it where it was not built before. Throws `CometBftBuildError`. */
export async function buildCometBft(options: BuildOptions = {}): Promise<string> {
  const { version = COMETBFT_VERSION, program = 'cometbft' } = options;
  const known = findCometBft(options);
  if (known !== undefined) return known;
  const folder = programFolder(options);
  const path = join(folder, program);
  const log = options.log ?? (() => undefined);
  const goVersion = await goVersionOf();
  mkdirSync(folder, { recursive: true });
  // Built beside its place and moved in whole, so that a build that is cut short leaves nothing that looks finished.
  const temporary = mkdtempSync(join(folder, 'build-'));
  try {
    log(`building ${program} ${version} with ${goVersion}: one to three minutes, once`);
    await goInstall(`${MODULE}/${PACKAGES[program]}@v${version}`, temporary, log);
    const built = join(temporary, program);
    await requireVersion(built, version);
    renameSync(built, path);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return path;
}

function programFolder({
  version = COMETBFT_VERSION,
  cacheFolder = defaultCacheFolder(),
}: BuildOptions): string {
  return join(cacheFolder, `cometbft-${version}`);
}

async function goVersionOf(): Promise<string> {
  const { stdout } = await run('go', ['env', 'GOVERSION']).catch((cause: unknown) => {
    throw new CometBftBuildError(
      'CometBFT is built with Go, and there is no `go` on the PATH. Install Go 1.25 or newer (https://go.dev/dl), ' +
        'or use the embedded engine, which needs nothing.',
      { cause },
    );
  });
  return stdout.trim();
}

function goInstall(target: string, folder: string, log: (line: string) => void): Promise<void> {
  const startedAt = performance.now();
  const progress = setInterval(
    () => log(`still building, ${Math.round((performance.now() - startedAt) / 1000)} s`),
    PROGRESS_INTERVAL_MS,
  );
  const child = spawn('go', ['install', '-trimpath', target], {
    env: { ...process.env, GOBIN: folder, GOFLAGS: '', CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-2_000);
  });
  return new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new CometBftBuildError(`go install ${target} failed:\n${complaint.trim()}`));
    });
  }).finally(() => clearInterval(progress));
}

/** By what Go wrote into the program: v0.40.0 calls itself 0.39.0. */
async function requireVersion(path: string, version: string): Promise<void> {
  const { stdout } = await run('go', ['version', '-m', path]);
  const module = stdout.split('\n').find((line) => line.startsWith('\tmod\t'));
  if (module?.startsWith(`\tmod\t${MODULE}\tv${version}\t`) === true) return;
  throw new CometBftBuildError(`built CometBFT ${version}, but the program is of ${module?.trim()}`);
}
