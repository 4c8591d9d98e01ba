/**
 * Peers of the prover, measured on this machine in this run. Each runs in a process of its own, so that
 * its memory is its own; nothing of them is imported here.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { install } from './install.ts';
import { type MlpSize, PEER_NAMES, type PeerName, type PeerResult } from './peer-result.ts';

export type { MeasuredPeer, MissingPeer, MlpSize, PeerName, PeerResult } from './peer-result.ts';
export { MLP_SIZES, PEER_NAMES } from './peer-result.ts';

export interface PeerOptions {
  /** Which peers, in this order; all by default. */
  readonly only?: readonly PeerName[];
  /** The perceptron EZKL and Noir prove; `784-64-10` by default, which takes EZKL about a minute. */
  readonly size?: MlpSize;
  /** Proofs each peer makes: by default 1 of EZKL, 3 of Noir, 5 of snarkjs. */
  readonly proofs?: number;
}

const PACKAGES: Readonly<Record<PeerName, readonly string[]>> = {
  ezkl: ['@ezkljs/engine', 'ffjavascript'],
  noir: ['@aztec/bb.js', '@noir-lang/noir_js', '@noir-lang/noir_wasm', 'ffjavascript'],
  snarkjs: ['snarkjs'],
};
const PEER_TIMEOUT_MS = 20 * 60_000;

/** Measures one peer after the other. Never fails: a peer that could not be measured says why. */
export async function measurePeers(options: PeerOptions = {}): Promise<PeerResult[]> {
  const results: PeerResult[] = [];
  for (const name of options.only ?? PEER_NAMES) {
    const reason = await install(PACKAGES[name]);
    if (reason === undefined) process.stderr.write(`measuring ${name} ...\n`);
    results.push(reason === undefined ? await measure(name, options) : { name, missing: reason });
  }
  return results;
}

function measure(name: PeerName, { size, proofs }: PeerOptions): Promise<PeerResult> {
  const args = [join(import.meta.dirname, 'process.ts'), name, size ?? '784-64-10', String(proofs ?? '')];
  return new Promise((settle) => {
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: PEER_TIMEOUT_MS,
    });
    const stop = (): void => void child.kill();
    process.once('exit', stop);
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.once('error', ({ message }) => settle({ name, missing: message }));
    child.once('close', (code, signal) => {
      process.off('exit', stop);
      settle(readResult(output) ?? { name, missing: `its process ended with ${signal ?? `code ${code}`}` });
    });
  });
}

/** The result is the last line: peers print to stdout themselves. */
function readResult(output: string): PeerResult | undefined {
  try {
    return JSON.parse(output.trim().split('\n').at(-1) ?? '') as PeerResult;
  } catch {
    return undefined;
  }
}
