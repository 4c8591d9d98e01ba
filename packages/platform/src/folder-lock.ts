/** One process per folder: two nodes on the data of one would undo each other. */
import { createHash } from 'node:crypto';
import { realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 100;

/** Another process uses the folder. Stop it, or give this one a folder of its own. */
export class FolderBusyError extends Error {
  override readonly name = 'FolderBusyError';
}

export interface FolderLock {
  readonly release: () => Promise<void>;
}

/**
 * Held by a listening socket named after the folder: it ends with the process, however that ends. Waits `waitMs` for another
 * process to be gone before it rejects with `FolderBusyError`.
 */
export async function lockFolder(dir: string, waitMs = 0): Promise<FolderLock> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const server = await tryLock(dir);
    if (server !== undefined) return { release: () => new Promise((settle) => server.close(() => settle())) };
    if (performance.now() >= deadline) throw new FolderBusyError(`another process uses ${dir}`);
    await delay(POLL_MS);
  }
}

async function tryLock(dir: string): Promise<Server | undefined> {
  const name = `haca-node-${createHash('sha256').update(realpathSync(dir)).digest('hex').slice(0, 32)}`;
  const isAbstract = process.platform === 'linux';
  const path = isAbstract ? `\0${name}` : join(tmpdir(), `${name}.sock`);
  return (
    (await listen(path)) ?? (isAbstract || (await isAnswered(path)) ? undefined : await listenAgain(path))
  );
}

/** Undefined where the name is taken. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((settle, fail) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? settle(undefined) : fail(error),
    );
    server.listen(path, () => settle(server.unref()));
  });
}

/** Where names are files, one can outlive its process. */
function listenAgain(path: string): Promise<Server | undefined> {
  rmSync(path, { force: true });
  return listen(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(path);
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
    socket.once('close', () => socket.destroy());
  });
}
