/** The local network as a person starts it, as a process of its own; the home folder is that of the environment. */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';

const ENTRY = join(resolve(import.meta.dirname, '..'), 'apps/devnet/src/main.ts');
const START_TIMEOUT_MS = 90_000;

export interface DevnetProcess {
  readonly stop: () => Promise<void>;
}

/** Resolves once it serves; throws with what it printed where it does not come to that. */
export async function startDevnet(): Promise<DevnetProcess> {
  const devnet = spawn(process.execPath, [ENTRY], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [devnet.stdout, devnet.stderr]) stream.on('data', (text) => (log += String(text)));
  const stop = async (): Promise<void> => {
    if (devnet.exitCode !== null) return;
    devnet.kill('SIGTERM');
    await new Promise((settle) => devnet.once('exit', settle));
  };
  for (let waitedMs = 0; !log.includes('Ctrl-C'); waitedMs += 100) {
    const isOver = devnet.exitCode !== null || waitedMs > START_TIMEOUT_MS;
    if (isOver) {
      await stop();
      throw new Error(`the local network did not start:\n${log}`);
    }
    await new Promise((settle) => setTimeout(settle, 100));
  }
  return { stop };
}
