/** The processes of a full node on CometBFT: the supervisor and the two it keeps running. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface NodePids {
  readonly supervisor?: number;
  readonly application?: number;
  readonly cometBft?: number;
  /** How often the supervisor started the other two. */
  readonly starts: number;
}

export type ChildName = 'application' | 'cometBft';

const GONE_TIMEOUT_MS = 10_000;

/** What the supervisor wrote at its last start of a process. */
export function readPids(file: string): NodePids {
  if (!existsSync(file)) return { starts: 0 };
  return JSON.parse(readFileSync(file, 'utf8')) as NodePids;
}

/**
 * Processes that were started with one of these texts in their arguments: folders of a network are named after nothing else,
 * so these are its own, also those whose parent died before it could write their ids down.
 */
export function pidsOf(texts: readonly string[]): readonly number[] {
  const listing = execFileSync('ps', ['-ww', '-eo', 'pid=,args='], { encoding: 'utf8' });
  return listing
    .split('\n')
    .filter((line) => texts.some((text) => line.includes(text)))
    .map((line) => Number.parseInt(line, 10))
    .filter((pid) => pid !== process.pid);
}

/** False where it is gone already. */
export function send(pid: number | undefined, signal: NodeJS.Signals): boolean {
  try {
    return pid !== undefined && process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** Ends them at once and waits until none is left. */
export async function killAll(find: () => readonly number[]): Promise<void> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  for (let left = find(); left.length > 0; left = find()) {
    if (performance.now() > deadline) throw new Error(`processes ${left.join(', ')} do not die`);
    for (const pid of left) send(pid, 'SIGKILL');
    await sleep(20);
  }
}
